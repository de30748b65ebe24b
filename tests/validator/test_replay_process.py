"""The replay process: right answers, and whatever happens to the child is this validator's failure, never a
verdict.
"""

import os
import shutil
import signal
import threading
from pathlib import Path

import psutil
import pytest
from pi_sdk.errors import SpecMismatch
from pi_sdk.store import LocalStore
from pi_sdk.types import Outcome
from pi_train.determinism import admitted
from pi_validator.replay_process import ReplayConfig, ReplayFailed, ReplayProcess


def config_of(trained, folder: Path, **changes) -> ReplayConfig:
    values = {
        "run_spec": trained.folder / "run_spec.json",
        "corpus": trained.folder / "corpus",
        "cls": admitted(trained.spec)[0],
        "memory": 1 << 30,
        "log": folder / "replay.log",
    }
    return ReplayConfig(**(values | changes))


@pytest.fixture(scope="module")
def process(trained, tmp_path_factory):
    process = ReplayProcess(config_of(trained, tmp_path_factory.mktemp("process")))
    yield process
    process.kill()


@pytest.fixture
def evidence(trained, tmp_path) -> Path:
    """A copy of the slot's evidence that a test may spoil."""
    return shutil.copytree(trained.folder / "evidence", tmp_path / "evidence")


def pid_of(process: ReplayProcess) -> int:
    process.start()
    assert process.process is not None
    return process.process.pid


def test_honest_work_is_accepted_bit_for_bit(process, trained):
    answer = process.ask(trained.request(), 60)
    assert (answer["outcome"], answer["bitwise"], answer["worst_error"]) == (Outcome.ACCEPT, True, 0.0)
    other = process.ask(trained.request(validator="0x" + "cc" * 20), 60)
    assert other["digest"] != answer["digest"], "a digest is bound to its validator"


def test_missing_evidence_is_withheld(process, trained, evidence):
    LocalStore(evidence).path_of(trained.reveal.trace_root.hex()).unlink()
    assert process.ask(trained.request(evidence), 60)["outcome"] == Outcome.WITHHELD


@pytest.mark.parametrize(
    ("size", "outcome"),
    [(0, Outcome.MISMATCH), (-1, Outcome.MISMATCH), ("exact", Outcome.MISMATCH), (1 << 16, Outcome.WITHHELD)],
)
def test_a_garbage_trace_is_a_verdict(process, trained, evidence, size, outcome):
    """What is larger than a trace can be is not even read: such a trace is not to be had."""
    store = LocalStore(evidence)
    exact = len(store.get(trained.reveal.trace_root.hex(), 1 << 20))
    size = {"exact": exact, -1: exact - 1}.get(size, size)
    reveal = [v.hex() if isinstance(v, bytes) else v for v in trained.reveal.to_abi()]
    reveal[3] = store.put(bytes(i % 251 for i in range(size)))  # trace_root
    pid = pid_of(process)
    answer = process.ask(trained.request(evidence, reveal=reveal), 60)
    assert answer["outcome"] == outcome and answer["reasons"]
    assert pid_of(process) == pid, "hostile bytes must not cost the process"


def test_a_damaged_own_copy_is_no_verdict(process, trained, evidence):
    path = LocalStore(evidence).path_of(trained.update)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ReplayFailed, match="own copy"):
        process.ask(trained.request(evidence), 60)


def test_a_checkpoint_with_another_root_is_no_verdict(process, trained):
    with pytest.raises(ReplayFailed, match="root"):
        process.ask(trained.request(root="22" * 32, checkpoint=trained.spec.genesis_file), 60)


def test_a_killed_child_is_replaced_and_asked_again(process, trained):
    pid = pid_of(process)
    os.kill(pid, signal.SIGSTOP)  # so that the request is surely under way when it is killed
    killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
    killer.start()
    answer = process.ask(trained.request(), 60)
    killer.join()
    assert answer["outcome"] == Outcome.ACCEPT
    assert pid_of(process) != pid


def test_a_hanging_child_is_killed_and_the_failure_told(process, trained):
    pid = pid_of(process)
    os.kill(pid, signal.SIGSTOP)
    assert process.ask(trained.request(), 5)["outcome"] == Outcome.ACCEPT
    assert not psutil.pid_exists(pid)
    with pytest.raises(ReplayFailed, match="no answer"):
        process.ask(trained.request(), 0)


def test_memory_is_bounded(trained, tmp_path):
    process = ReplayProcess(config_of(trained, tmp_path, memory=1 << 16))
    try:
        with pytest.raises(ReplayFailed):
            process.ask(trained.request(), 60)
    finally:
        process.kill()


def test_the_child_has_no_keys_and_dies_with_its_parent(process, trained, monkeypatch):
    monkeypatch.setenv("PI_NODE_KEY", "secret")
    process.kill()
    child = psutil.Process(pid_of(process))
    assert "PI_NODE_KEY" not in child.environ()
    process._pipe.close()  # what the end of the parent does
    child.wait(30)


def test_a_class_that_this_machine_is_not_of_is_refused(trained, tmp_path):
    cls = admitted(trained.spec)[0].model_copy(update={"torch": "0.0.1"})
    with pytest.raises(SpecMismatch):
        ReplayProcess(config_of(trained, tmp_path, cls=cls)).start()


def test_held_out_loss(process, trained):
    request = trained.request() | {"op": "evaluate"}
    loss = process.ask(request, 60)["loss"]
    assert loss == process.ask(request, 60)["loss"]
    assert 4 < loss < 7, "an untrained byte model is near ln 256 = 5.5"
