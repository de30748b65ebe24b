"""The journal: what was written once is what is committed and revealed, whatever happens in between."""

import os
import subprocess
import sys

import pytest
from pi_sdk.types import Outcome
from pi_validator.journal import Journal

SEED, OTHER = b"\x01" * 32, b"\x02" * 32
NODE = "0x00000000000000000000000000000000000000AA"


def test_an_entry_is_written_once(tmp_path):
    journal = Journal(tmp_path)
    first = journal.write_verdicts(1, 4, SEED, [(NODE, Outcome.MISMATCH, b"\x03" * 32)])
    again = journal.write_verdicts(1, 4, SEED, [(NODE, Outcome.ACCEPT, b"\x04" * 32)])
    assert again == first == Journal(tmp_path).verdicts(1, 4, SEED)
    assert first.verdicts == ((NODE, Outcome.MISMATCH, b"\x03" * 32),)
    assert len(first.salt) == 32

    vote = journal.write_vote(1, 7, 0, SEED, Outcome.WITHHELD, b"\x05" * 32)
    assert journal.write_vote(1, 7, 0, SEED, Outcome.ACCEPT, b"\x06" * 32) == vote
    assert Journal(tmp_path).vote(1, 7, 0, SEED) == vote


def test_a_larger_jury_is_voted_before_anew(tmp_path):
    journal = Journal(tmp_path)
    first = journal.write_vote(1, 7, 0, SEED, Outcome.WITHHELD, bytes(32))
    assert journal.vote(1, 7, 1, SEED) is None
    second = journal.write_vote(1, 7, 1, SEED, Outcome.ACCEPT, bytes(32))
    assert second.outcome == Outcome.ACCEPT and second.salt != first.salt
    assert journal.vote(1, 7, 0, SEED) == first


def test_an_entry_of_another_chain_is_not_taken_for_this_ones(tmp_path):
    journal = Journal(tmp_path)
    journal.write_verdicts(1, 4, SEED, [])
    journal.write_vote(1, 7, 0, SEED, Outcome.ACCEPT, bytes(32))
    assert journal.verdicts(1, 4, OTHER) is None
    assert journal.vote(1, 7, 0, OTHER) is None
    assert journal.verdicts(2, 4, SEED) is None


def test_salts_differ(tmp_path):
    journal = Journal(tmp_path)
    salts = {journal.write_verdicts(1, r, SEED, []).salt for r in range(4)}
    assert len(salts) == 4


@pytest.mark.parametrize("call", ["os.link", "os.fsync"])
def test_a_crash_in_the_middle_leaves_no_half_written_entry(tmp_path, call):
    """The process dies where the entry is about to become visible; the next one can still write its own."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pi_validator.journal import Journal\n"
        f"{call} = lambda *_: os._exit(9)\n"
        f"Journal(Path(sys.argv[1])).write_verdicts(1, 0, {SEED!r}, [])"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(tmp_path)])
    assert done.returncode == 9
    journal = Journal(tmp_path)
    assert journal.verdicts(1, 0, SEED) is None
    entry = journal.write_verdicts(1, 0, SEED, [(NODE, Outcome.ACCEPT, bytes(32))])
    assert journal.verdicts(1, 0, SEED) == entry
