"""The journal: what is on disk before a commitment is sent, and what a crash may leave behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pi_sdk.codec import ZERO, sha256
from pi_sdk.types import Reveal
from pi_worker.journal import Journal

UPDATE, TRACE, STATE = b"update" * 100, b"trace" * 100, b"state" * 1000


def opened(state: bytes = STATE, state_in: bytes = ZERO) -> Reveal:
    return Reveal(
        salt=bytes(range(32)),
        start_root=sha256(b"C_r"),
        update_root=sha256(b"root"),
        trace_root=sha256(TRACE),
        state_in=state_in,
        state_out=sha256(state),
        norm=12345,
        width=2,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "pool-1")


def write(journal: Journal, round_: int, state: bytes = STATE) -> None:
    borders = journal.begin(round_)
    for j in range(3):
        (borders / f"{j}.bin").write_bytes(bytes([j]) * 64)
    journal.write(opened(state), round_, update=UPDATE, trace=TRACE, state=state)


def test_an_entry_opens_the_very_commitment_that_was_written(journal: Journal):
    write(journal, 4)
    entry = Journal(journal.root).load(4)
    assert entry is not None and entry.reveal() == opened()
    assert entry.update == hashlib.sha256(UPDATE).hexdigest()
    assert (journal.update(entry), journal.trace(entry)) == (UPDATE, TRACE)
    assert journal.border(4, 2) == b"\x02" * 64
    assert journal.load(3) is None


@pytest.mark.parametrize("keep", [0, 1, 50, -1])
def test_a_truncated_journal_does_not_exist(journal: Journal, keep: int):
    write(journal, 0)
    path = journal.folder(0) / "journal.json"
    path.write_bytes(path.read_bytes()[:keep])
    assert journal.load(0) is None
    assert journal.state(sha256(STATE)) is None


@pytest.mark.parametrize("name", ["update.bin", "trace.bin"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_an_entry_whose_files_are_damaged_does_not_exist(journal: Journal, name: str, damage: str):
    write(journal, 0)
    path = journal.folder(0) / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    assert journal.load(0) is None


def test_an_entry_of_another_round_does_not_count(journal: Journal):
    write(journal, 0)
    journal.folder(0).rename(journal.folder(1))
    assert journal.load(1) is None


@pytest.mark.parametrize("change", [{"extra": 1}, {"version": 2}, {"width": 0}, {"salt": "00"}])
def test_a_journal_that_says_something_else_does_not_exist(journal: Journal, change: dict):
    write(journal, 0)
    path = journal.folder(0) / "journal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert journal.load(0) is None


def test_a_kill_before_the_entry_is_whole_leaves_none(tmp_path: Path):
    """The process dies at the moment at which the last file would be put in its place."""
    code = f"""
import os, signal
from pathlib import Path
import test_journal
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
test_journal.write(test_journal.Journal(Path({str(tmp_path)!r})), 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    died = subprocess.run([sys.executable, "-c", code], env=environment)
    assert died.returncode == -signal.SIGKILL
    journal = Journal(tmp_path)
    assert (journal.folder(0) / "state.bin").exists() and journal.load(0) is None
    journal.begin(0)
    assert list(journal.folder(0).iterdir()) == [journal.borders(0)]


def test_state_is_chosen_by_what_the_chain_says(journal: Journal):
    for round_ in range(3):
        write(journal, round_, state=b"state %d" % round_)
    assert journal.state(sha256(b"state 1")) == b"state 1"
    assert journal.state(sha256(b"state 2")) == b"state 2"
    assert journal.state(ZERO) is None
    assert journal.state(sha256(b"of another machine")) is None
    (journal.folder(2) / "state.bin").write_bytes(b"rotten")
    assert journal.state(sha256(b"state 2")) is None


def test_pruning_keeps_the_states_that_are_still_needed(journal: Journal):
    states = [b"state %d" % r for r in range(4)]
    for round_, state in enumerate(states):
        write(journal, round_, state=state)
    journal.prune(2, keep={sha256(states[1])})
    # of round 2 itself too: the next round starts from it
    assert [journal.state(sha256(s)) for s in states] == [None, states[1], states[2], states[3]]
    assert [journal.borders(r).exists() for r in range(4)] == [True, True, False, True]
    assert all(journal.load(r) is not None for r in range(4))


def test_a_confirmation_is_kept_without_files(journal: Journal):
    confirmed = opened().model_copy(
        update={"update_root": ZERO, "trace_root": ZERO, "state_in": ZERO, "state_out": ZERO, "norm": 0}
    )
    journal.write_confirmation(confirmed, 7)
    entry = Journal(journal.root).load(7)
    assert entry is not None and entry.confirms_only and entry.reveal() == confirmed
    assert entry.update == ZERO.hex()


def test_a_kept_checkpoint_is_found_by_what_it_follows_from(journal: Journal):
    basis, other = sha256(b"reveals"), sha256(b"other reveals")
    journal.keep_checkpoint(3, basis, b"C_3")
    again = Journal(journal.root)
    assert again.checkpoint(3, basis) == b"C_3"
    assert again.checkpoint(3, other) is None and again.checkpoint(2, basis) is None
    journal.keep_checkpoint(4, other, b"C_4")
    assert again.checkpoint(3, basis) == b"C_3"
    journal.keep_checkpoint(5, basis, b"C_5")
    assert again.checkpoint(3, basis) is None and again.checkpoint(4, other) == b"C_4"
    path = next(journal.root.glob("checkpoint-5-*.bin"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert again.checkpoint(5, basis) is None
