"""Content-addressed files on disk, with the reasons to keep each of them in the database.

A file is whole before it has its name, and has its name before anything refers to it, so a crash leaves no
half blob: only files in `.incoming`, which the next start removes. Several owners, rounds and pools may
need one file; it goes with the last.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pi_sdk.errors import BlobCorrupt, StoreError
from pi_sdk.store import LocalStore
from pi_train.checkpoint_file import part_hashes

from .db import Database

_DISK_RESERVE = 1 << 30  # bytes of free disk that uploads leave alone


class OverQuota(StoreError):
    """An owner's stored and arriving blobs would exceed the quota."""


class DiskFull(StoreError):
    """Too little free disk for a further blob."""


@dataclass(frozen=True)
class Reason:
    """Why a blob is kept. Sizes count against the quota of (pool, owner, kind)."""

    pool: int
    kind: str
    round: int
    owner: str


class BlobStore:
    """Thread-safe: the HTTP server writes while the scheduler prunes."""

    def __init__(self, root: Path, db: Database):
        self._files = LocalStore(root)
        self._db = db
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._arriving: Counter[tuple[int, str, str]] = Counter()
        self._incoming = root / ".incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True)

    def get(self, name: str, max_bytes: int) -> bytes:
        """The verified bytes; raises as `LocalStore.get` does."""
        return self._files.get(name, max_bytes)

    def has(self, name: str) -> bool:
        return self._files.has(name)

    def size(self, name: str) -> int | None:
        """Bytes of a blob; None when it is not here."""
        path = self.path(name)
        return path.stat().st_size if path.is_file() else None

    def path(self, name: str) -> Path:
        return self._files.path_of(name)

    def tree(self, name: str) -> Path | None:
        """The file of a checkpoint's part hashes, made when it is first asked for; None where the blob is not
        here, or not one of several parts.
        """
        path, tree = self.path(name), self._files.tree_path(name)
        if not path.is_file():
            return None
        with self._hashing:  # one at a time: hashing is what a stranger could make us do
            if not tree.exists():
                hashes = part_hashes(path)
                if hashes is None:
                    return None
                handle, temporary = tempfile.mkstemp(dir=self._incoming)
                with os.fdopen(handle, "wb") as file:
                    file.write(hashes)
                os.replace(temporary, tree)
        return tree

    def put(self, data: bytes, pool: int, owner: str) -> str:
        """Stores an artifact of our own, outside all quotas; its name."""
        with self._lock:
            name = self._files.put(data)
            self._db.add_blob(name, pool, "artifact", 0, owner, len(data))
        return name

    def artifacts(self) -> set[str]:
        """Names of what is kept for a pool's whole time, here or in the bucket."""
        return self._db.artifacts()

    def reserve(self, name: str, size: int, reason: Reason, quota: int) -> None:
        """Counts an upload that goes to the bucket instead of here. `OverQuota`."""
        with self._lock:
            if self._db.has_blob(name, reason.pool, reason.kind, reason.round, reason.owner):
                return
            self._check_quota(size, reason, quota)
            self._db.add_blob(name, reason.pool, reason.kind, reason.round, reason.owner, size)

    def _check_quota(self, size: int, reason: Reason, quota: int) -> None:
        account = (reason.pool, reason.owner, reason.kind)
        used = self._db.stored_bytes(*account) + self._arriving[account]
        if used + size > quota:
            raise OverQuota(f"{used} of {quota} bytes are used by this address, {size} more do not fit")

    def knows(self, name: str, reason: Reason) -> bool:
        """Whether this very upload is here already."""
        with self._lock:
            return self._files.has(name) and self._db.has_blob(
                name, reason.pool, reason.kind, reason.round, reason.owner
            )

    def receive(self, name: str, size: int, reason: Reason, quota: int) -> "Incoming":
        """Sets room aside for an upload of `size` bytes. `OverQuota`, `DiskFull`."""
        account = (reason.pool, reason.owner, reason.kind)
        with self._lock:
            self._check_quota(size, reason, quota)
            if shutil.disk_usage(self._incoming).free < sum(self._arriving.values()) + size + _DISK_RESERVE:
                raise DiskFull("the store's disk is full")
            self._arriving[account] += size
        return Incoming(self, name, size, reason)

    def drop(self, pool: int, kind: str, round_: int | None = None) -> None:
        """Lets go of a pool's blobs of a kind (of one round), and deletes the files that nothing else
        needs.
        """
        with self._lock:
            for name in self._db.drop_blobs(pool, kind, round_):
                self.path(name).unlink(missing_ok=True)
                self._files.tree_path(name).unlink(missing_ok=True)

    def _finish(self, incoming: "Incoming", temporary: str) -> bool:
        reason, target = incoming.reason, self.path(incoming.name)
        with self._lock:
            target.parent.mkdir(exist_ok=True)
            os.replace(temporary, target)  # the same bytes, or a repair of a damaged file
            return self._db.add_blob(
                incoming.name, reason.pool, reason.kind, reason.round, reason.owner, incoming.size
            )

    def _release(self, reason: Reason, size: int) -> None:
        account = (reason.pool, reason.owner, reason.kind)
        with self._lock:
            self._arriving[account] -= size
            if not self._arriving[account]:
                del self._arriving[account]


class Incoming:
    """An upload on its way: a context that leaves nothing behind unless `commit` was reached."""

    def __init__(self, store: BlobStore, name: str, size: int, reason: Reason):
        self.name, self.size, self.reason = name, size, reason
        self._store = store
        self._hash = hashlib.sha256()
        self._received = 0

    def __enter__(self) -> Self:
        handle, self._temporary = tempfile.mkstemp(dir=self._store._incoming)
        self._file = os.fdopen(handle, "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        Path(self._temporary).unlink(missing_ok=True)
        self._store._release(self.reason, self.size)

    def write(self, data: bytes) -> None:
        """Takes the next bytes; `StoreError` when there are more than were announced."""
        self._received += len(data)
        if self._received > self.size:
            raise StoreError("the body is longer than its Content-Length")
        self._hash.update(data)
        self._file.write(data)

    def commit(self) -> bool:
        """Gives the blob its name; whether it is new. `BlobCorrupt` when the bytes are not what was
        announced.
        """
        if self._received != self.size or self._hash.hexdigest() != self.name:
            raise BlobCorrupt(f"the {self._received} bytes received do not hash to {self.name}")
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._store._finish(self, self._temporary)
