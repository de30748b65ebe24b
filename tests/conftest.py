"""For all tests: Ctrl-C works, and what runs side by side does not meet."""

import signal

import pytest

# A shell that starts us in the background has us ignore Ctrl-C, and every program under test would inherit
# that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs forge shares its folders, so it stays in one process of `pytest -n 2 --dist loadgroup`."""
    for item in items:
        if item.path.parent.name == "contracts" or item.path.name == "test_deploy.py":
            item.add_marker(pytest.mark.xdist_group("forge"))
