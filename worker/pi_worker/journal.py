"""What a worker must not forget: one folder per round, complete on disk before its commitment is sent.

    pool-{id}/round-{r}/journal.json   written last; names the hashes of the files beside it
                        update.bin     what the reveal announces
                        trace.bin      border hashes, batch digests, losses, activation proofs
                        state.bin      private state after the round (moments, error feedback)
                        borders/{j}.bin
               checkpoint-{r}-{basis}.bin   C_r as this node recomputed it, for the last two rounds

A folder without a whole `journal.json`, or with a file that does not hash to what it says, does not exist for
the agent: the round is trained again. A whole one wins, so a round never has two different updates.

The confirm-only round has a journal.json and no other file. Why checkpoints are kept: a commitment names the
root that the node itself recomputed, and a restart must not change its mind in favour of a wrong posted one.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Literal

from pi_sdk.codec import ZERO, sha256
from pi_sdk.types import Hash, Model, Reveal
from pydantic import Field, ValidationError

_FILES = {"update": "update.bin", "trace": "trace.bin", "state": "state.bin"}


class Entry(Model):
    """The content of `journal.json`. Hashes are hex; zeros mean the zero root."""

    version: Literal[1] = 1
    round: int = Field(ge=0)
    salt: Hash
    start_root: Hash
    update_root: Hash
    trace: Hash
    """sha256 of trace.bin; the commitment's traceRoot."""
    state_in: Hash
    state: Hash
    """sha256 of state.bin; the commitment's stateOut."""
    norm: int = Field(ge=0, lt=1 << 128)
    width: int = Field(ge=1, lt=1 << 16)
    update: Hash
    """sha256 of update.bin."""

    @property
    def confirms_only(self) -> bool:
        """Whether it is of the confirm-only round: there is no update and no file."""
        return self.update_root == ZERO.hex()

    def reveal(self) -> Reveal:
        """What the commitment hides."""
        return Reveal(
            salt=bytes.fromhex(self.salt),
            start_root=bytes.fromhex(self.start_root),
            update_root=bytes.fromhex(self.update_root),
            trace_root=bytes.fromhex(self.trace),
            state_in=bytes.fromhex(self.state_in),
            state_out=bytes.fromhex(self.state),
            norm=self.norm,
            width=self.width,
        )


class Journal:
    """The rounds of one node in one pool, below `root`."""

    def __init__(self, root: Path):
        self.root = root
        self._whole: dict[int, Entry] = {}
        """Entries whose files `load` has read: they may be as large as the model."""

    def folder(self, round_: int) -> Path:
        return self.root / f"round-{round_}"

    def borders(self, round_: int) -> Path:
        """Where the slot's border states are written while it is trained."""
        return self.folder(round_) / "borders"

    def begin(self, round_: int) -> Path:
        """Clears what an unfinished attempt left behind; returns the folder for the borders."""
        shutil.rmtree(self.folder(round_), ignore_errors=True)
        self.borders(round_).mkdir(parents=True)
        return self.borders(round_)

    def write(self, opened: Reveal, round_: int, *, update: bytes, trace: bytes, state: bytes) -> Entry:
        """Makes a trained round durable: all files and their folders are on disk when this returns."""
        folder = self.folder(round_)
        for name, data in (("update.bin", update), ("trace.bin", trace), ("state.bin", state)):
            _write_durably(folder / name, data)
        return self._write(opened, round_, sha256(update))

    def write_confirmation(self, opened: Reveal, round_: int) -> Entry:
        """Makes what the confirm-only round commits to durable; there is nothing but the reveal."""
        shutil.rmtree(self.folder(round_), ignore_errors=True)
        self.folder(round_).mkdir(parents=True)
        return self._write(opened, round_, ZERO)

    def _write(self, opened: Reveal, round_: int, update: bytes) -> Entry:
        entry = Entry(
            round=round_,
            salt=opened.salt.hex(),
            start_root=opened.start_root.hex(),
            update_root=opened.update_root.hex(),
            trace=opened.trace_root.hex(),
            state_in=opened.state_in.hex(),
            state=opened.state_out.hex(),
            norm=opened.norm,
            width=opened.width,
            update=update.hex(),
        )
        folder = self.folder(round_)
        _write_durably(folder / "journal.json.new", entry.model_dump_json(indent=1).encode())
        os.replace(folder / "journal.json.new", folder / "journal.json")
        for directory in (folder, self.root):
            _sync(directory)
        return entry

    def load(self, round_: int) -> Entry | None:
        """The round's entry, or None when there is none that is whole. (`state.bin` may be pruned: see
        `prune`.)
        """
        entry = self._entry(round_)
        if entry is None or entry.confirms_only or entry == self._whole.get(round_):
            return entry
        if any(self._read(round_, name, getattr(entry, name)) is None for name in ("update", "trace")):
            return None
        self._whole[round_] = entry
        return entry

    def update(self, entry: Entry) -> bytes:
        return (self.folder(entry.round) / "update.bin").read_bytes()

    def trace(self, entry: Entry) -> bytes:
        return (self.folder(entry.round) / "trace.bin").read_bytes()

    def border(self, round_: int, index: int) -> bytes:
        return (self.borders(round_) / f"{index}.bin").read_bytes()

    def state(self, root: bytes) -> bytes | None:
        """The private state whose sha256 is `root`; None for the zero root, and when no round here has it."""
        if root == ZERO:
            return None
        for round_ in reversed(self.rounds()):
            entry = self._entry(round_)
            if entry is not None and entry.state == root.hex():
                return self._read(round_, "state", entry.state)
        return None

    def rounds(self) -> list[int]:
        """Rounds that have a folder, ascending."""
        if not self.root.is_dir():
            return []
        names = (re.fullmatch(r"round-(\d+)", path.name) for path in self.root.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def make_borders_durable(self, round_: int) -> None:
        """Flushes the borders to disk; kept out of the hot path between training and the commit."""
        for path in sorted(self.borders(round_).iterdir()):
            _sync(path)

    def prune(self, round_: int, keep: set[bytes]) -> None:
        """Forgets the borders of a round that is final, and of older ones the states not in `keep` (hashes).

        The round's own state stays: the next round starts from it, and may be revealed this very moment.
        Journal, update and trace stay: they are small, and they are the worker's own record.
        """
        shutil.rmtree(self.borders(round_), ignore_errors=True)
        for old in self.rounds():
            entry = self._entry(old)
            if old < round_ and entry is not None and bytes.fromhex(entry.state) not in keep:
                (self.folder(old) / "state.bin").unlink(missing_ok=True)

    # --- checkpoints ------------------------------------------------------------------------------------

    def keep_checkpoint(self, round_: int, basis: bytes, data: bytes) -> None:
        """Keeps C_round durably, and only the one before it. `basis` (32 bytes) names what it follows
        from.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self._checkpoint(round_, basis)
        _write_durably(path.with_suffix(".new"), sha256(data) + data)
        os.replace(path.with_suffix(".new"), path)
        _sync(self.root)
        for old in self.root.glob("checkpoint-*.bin"):
            if int(old.name.split("-")[1]) < round_ - 1:
                old.unlink()

    def checkpoint(self, round_: int, basis: bytes) -> bytes | None:
        """C_round as it was kept, where it follows from `basis` and is whole."""
        try:
            data = self._checkpoint(round_, basis).read_bytes()
        except FileNotFoundError:
            return None
        return data[32:] if sha256(data[32:]) == data[:32] else None

    def _checkpoint(self, round_: int, basis: bytes) -> Path:
        return self.root / f"checkpoint-{round_}-{basis.hex()}.bin"

    # --- files ------------------------------------------------------------------------------------------

    def _entry(self, round_: int) -> Entry | None:
        try:
            entry = Entry.model_validate_json((self.folder(round_) / "journal.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return entry if entry.round == round_ else None

    def _read(self, round_: int, name: str, digest: str) -> bytes | None:
        try:
            data = (self.folder(round_) / _FILES[name]).read_bytes()
        except FileNotFoundError:
            return None
        return data if sha256(data).hex() == digest else None


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
