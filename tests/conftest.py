"""For all tests: their order, and signals."""

import signal

import pytest

# A shell that starts us in the background has us ignore Ctrl-C; programs under test would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files go to the processes of `pytest -n`, each as a whole; those that run forge, which share its build
    folder, to one of them."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "contracts" if nodeid.startswith("tests/contracts/") else super()._split_scope(nodeid)

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with a slow test come first, so that none of them is left to one process at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
