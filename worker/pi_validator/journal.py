"""What this validator has bound itself to: verdict lists and votes with their salts, on disk before their
hash is sent.

A hash on chain that cannot be opened costs the fee and leaves a cheat unaccused; a second, different hash
would be a lie. So an entry is written once, fsynced, and from then on is the only thing that is ever
committed or revealed for its key. A key holds the audit seed of its round, so that entries of another chain
at the same addresses are never taken for this one's.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pi_sdk.types import Outcome


@dataclass(frozen=True)
class Verdicts:
    """The verdicts about one round, in the order in which they are revealed."""

    verdicts: tuple[tuple[str, Outcome, bytes], ...]
    """(node, outcome, 32-byte digest) of every slot that was judged."""
    salt: bytes


@dataclass(frozen=True)
class Vote:
    outcome: Outcome
    digest: bytes
    salt: bytes


class Journal:
    """Entries of one validator node, one JSON file each, in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def verdicts(self, pool_id: int, round_: int, seed: bytes) -> Verdicts | None:
        """What was written for this round, or None."""
        entry = self._read(f"verdicts-{pool_id}-{round_}-{seed.hex()}")
        if entry is None:
            return None
        verdicts = tuple((node, Outcome(o), bytes.fromhex(digest)) for node, o, digest in entry["verdicts"])
        return Verdicts(verdicts, bytes.fromhex(entry["salt"]))

    def write_verdicts(
        self, pool_id: int, round_: int, seed: bytes, verdicts: list[tuple[str, Outcome, bytes]]
    ) -> Verdicts:
        """Binds this validator to a list; returns the earlier one where there is one."""
        entry = {
            "verdicts": [[node, int(outcome), digest.hex()] for node, outcome, digest in verdicts],
            "salt": secrets.token_hex(32),
        }
        self._write(f"verdicts-{pool_id}-{round_}-{seed.hex()}", entry)
        written = self.verdicts(pool_id, round_, seed)
        assert written is not None
        return written

    def vote(self, pool_id: int, case_id: int, level: int, seed: bytes) -> Vote | None:
        """The vote that was written for the jury of this level in a case about a slot of the round with this
        audit seed, or None.
        """
        entry = self._read(f"vote-{pool_id}-{case_id}-{level}-{seed.hex()}")
        if entry is None:
            return None
        return Vote(Outcome(entry["outcome"]), bytes.fromhex(entry["digest"]), bytes.fromhex(entry["salt"]))

    def write_vote(
        self, pool_id: int, case_id: int, level: int, seed: bytes, outcome: Outcome, digest: bytes
    ) -> Vote:
        """Binds this validator to a vote; returns the earlier one where there is one."""
        entry = {"outcome": int(outcome), "digest": digest.hex(), "salt": secrets.token_hex(32)}
        self._write(f"vote-{pool_id}-{case_id}-{level}-{seed.hex()}", entry)
        written = self.vote(pool_id, case_id, level, seed)
        assert written is not None
        return written

    def _read(self, key: str) -> dict | None:
        path = self.folder / f"{key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def _write(self, key: str, entry: dict) -> None:
        """Durable once this returns. An existing entry stays as it is: link(2) refuses to replace it."""
        temporary = self.folder / f"{key}.{os.getpid()}.tmp"
        with open(temporary, "w") as f:
            json.dump(entry, f)
            f.flush()
            os.fsync(f.fileno())
        try:
            os.link(temporary, self.folder / f"{key}.json")
        except FileExistsError:
            pass
        temporary.unlink()
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
