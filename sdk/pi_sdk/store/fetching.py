"""Downloads to disk: resumable, from several sources, in bounded memory.

    fetch(sources, sha256, path, max_bytes)           a plain blob: in order, hashed on the way
    fetch(sources, sha256, path, max_bytes, parts)    a checkpoint: part by part from all sources at once

**Plain.** The name is a sha256 of the whole, so nobody can say which byte of a file is wrong before the last
one has come. The bytes are appended to `{path}.part`, which a killed process finds again and goes on from;
when a source dies or becomes slow, the next one is asked for the rest. Where the whole does not hash to its
name and came from more than one source or process, it is begun anew and no longer mixed, so that each liar
convicts itself: it costs one download. The RunSpec cuts the data into shards, which keeps that small.

**In parts.** Where something trusted says more than the name (`base.Parts`), the first source whose part
hashes lead to the trusted root is believed about them, and each part is checked when it arrives: a bad one
condemns its source at once, and is asked from another. The file `{path}.sparse` has its full length from the
start. What a killed process left in it needs no bookkeeping: each part that is there checks, and the others
do not.

A source that fails is asked again after the others, `tries` times in all; where bytes of several are mixed, a
failure after a mebibyte of progress does not count. One that has no such blob, or too large a one, or lied,
is not asked again.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError
from .base import TREE, Parts, RangeRefused, Source, Store, check_name

CHUNK = 1 << 20
_PROGRESS = 1 << 20
"""Bytes after which a failure does not count."""
_SOURCES_AT_ONCE = 8
_PAUSE = 0.5
"""Seconds before the source that just failed is asked again."""


def fetch(
    sources: Sequence[Source],
    sha256: str,
    path: Path,
    max_bytes: int,
    parts: Parts | None = None,
    *,
    tries: int = 3,
) -> None:
    """Brings the blob to the file `path`, whole and verified, or raises and leaves what it has for the next
    call. Raises `BlobNotFound`, `BlobCorrupt`, `BlobTooLarge` or another `StoreError` when no source has it.

    Where another thread or process fetches into the same folder, this one waits for it.
    """
    check_name(sha256)
    assert parts is None or parts.size <= max_bytes
    candidates = [_Candidate(source, tries) for source in sources]
    partial, sparse = (path.with_name(path.name + end) for end in (".part", ".sparse"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            if path.exists():
                if _file_hash(path) == sha256:
                    return
                path.unlink()
            done = None
            if parts is not None and _in_parts(candidates, sha256, sparse, parts):
                done = sparse
            elif _in_order(candidates, sha256, partial, max_bytes):
                done = partial
            if done is None:
                raise _worst(candidates)
            os.replace(done, path)
            _sync(path.parent)
            for left_over in (partial, sparse):
                left_over.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}", "is the disk full?") from error


class _Candidate:
    """A source, and how it has done in one fetch."""

    def __init__(self, source: Source, tries: int):
        self.source = source
        self.left = tries
        self.failures = 0
        self.problem: StoreError | None = None

    @property
    def usable(self) -> bool:
        return self.left > 0

    def failed(self, error: StoreError, received: int = 0) -> None:
        """Counts a failure after so many bytes."""
        self.problem = error
        self.failures += 1
        if isinstance(error, BlobNotFound | BlobTooLarge | BlobCorrupt):
            self.left = 0
        elif received < _PROGRESS:
            self.left -= 1


def _worst(candidates: Sequence[_Candidate]) -> StoreError:
    """That one source does not have a blob says less than how another one failed."""
    problems = [c.problem for c in candidates if c.problem is not None]
    return next((p for p in problems if not isinstance(p, BlobNotFound)), problems[-1])


# --- plain --------------------------------------------------------------------------------------------------


def _in_order(candidates: Sequence[_Candidate], name: str, partial: Path, max_bytes: int) -> bool:
    """Appends to `partial` until it is the blob."""
    with partial.open("a+b") as file:
        growing = _Growing(file, max_bytes)
        if growing.size and growing.hexdigest() == name:
            growing.sync()
            return True
        # Whose bytes the file holds; None: an earlier process's, or several sources'.
        author: _Candidate | None = None
        mixing, last = True, None
        while usable := [c for c in candidates if c.usable]:
            best = min(usable, key=lambda c: c.failures)
            if best is last:
                time.sleep(_PAUSE)
            last = best
            if not mixing and author is not best:
                growing.clear()
            author = best if growing.size == 0 or author is best else None
            before = growing.size
            try:
                growing.append_from(best.source, name)
            except RangeRefused:
                pass  # it has no more: then this is the whole
            except StoreError as error:
                best.failed(error, growing.size - before if mixing else 0)
                if isinstance(error, BlobTooLarge) and author is best:
                    growing.clear()
                continue
            if growing.hexdigest() == name:
                growing.sync()
                return True
            if author is best:
                best.failed(BlobCorrupt(f"{best.source} has other bytes under the name {name}"))
            mixing, last = False, None
            growing.clear()
    if growing.size == 0:
        partial.unlink()
    return False


class _Growing:
    """A file that bytes are appended to, and their hash."""

    def __init__(self, file: BinaryIO, max_bytes: int):
        self._file, self._max = file, max_bytes
        self._hash = hashlib.sha256()
        self.size = 0
        file.seek(0)
        while chunk := file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)
        if self.size > max_bytes:
            self.clear()

    def clear(self) -> None:
        self._file.truncate(0)
        self._hash, self.size = hashlib.sha256(), 0

    def append_from(self, source: Source, name: str) -> None:
        """Adds what the source has beyond what is here, `max_bytes` in all."""
        too_large = BlobTooLarge(f"blob {name} at {source} is larger than {self._max} bytes")
        with source.read(name, self.size) as reading:
            if reading.size is not None and reading.size > self._max:
                raise too_large
            skip = self.size - reading.start
            for chunk in reading.chunks:
                fresh, skip = chunk[skip:], max(0, skip - len(chunk))
                if self.size + len(fresh) > self._max:
                    raise too_large
                self._file.write(fresh)
                self._hash.update(fresh)
                self.size += len(fresh)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


# --- in parts -----------------------------------------------------------------------------------------------


def _in_parts(candidates: Sequence[_Candidate], name: str, sparse: Path, parts: Parts) -> bool:
    """Fills `sparse` from all sources at once. False when no source has the part hashes, or too few know
    ranges; the sources that have lied are not usable any more."""
    if not _load(candidates, name, parts):
        return False
    with open(os.open(sparse, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        fresh = os.fstat(file.fileno()).st_size != parts.size
        file.truncate(0 if fresh else parts.size)
        file.truncate(parts.size)
        os.pwrite(file.fileno(), parts.head, 0)
        missing = [i for i in range(len(parts)) if fresh or not _is_there(file, parts, i)]
        work = _Work(missing)
        with ThreadPoolExecutor(_SOURCES_AT_ONCE, "fetch") as threads:
            runs = [threads.submit(_run, c, name, file.fileno(), parts, work) for c in candidates if c.usable]
        for run in runs:
            run.result()
        if work.missing:
            return False
        os.fsync(file.fileno())
    if _file_hash(sparse) != name:
        # No source can have changed these contents; the two hashes were never of the same file.
        sparse.unlink()
        raise BlobCorrupt(f"the file that has the trusted root is not the one that is named {name}")
    return True


def _load(candidates: Sequence[_Candidate], name: str, parts: Parts) -> bool:
    if parts.list_bytes == 0:
        return parts.load(b"")
    for candidate in candidates:
        try:
            listed = _exactly(candidate.source, name + TREE, 0, parts.list_bytes)
        except StoreError as error:
            candidate.problem = error  # it may have the blob all the same
            continue
        if parts.load(listed):
            return True
        candidate.failed(
            BlobCorrupt(f"the part hashes of {name} at {candidate.source} do not lead to its root")
        )
    return False


def _is_there(file: BinaryIO, parts: Parts, i: int) -> bool:
    return parts.check(i, [os.pread(file.fileno(), b - a, a) for a, b in parts.ranges(i)])


class _Work:
    """Parts that are missing, shared by the threads of the sources."""

    def __init__(self, missing: Sequence[int]):
        self.missing = set(missing)
        self._waiting = list(reversed(missing))
        self._changed = threading.Condition()

    def take(self) -> int | None:
        """A part to bring; None when all are here, or nobody will bring the rest. Waits while another source
        may still give one back."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self.missing)
            return self._waiting.pop() if self._waiting else None

    def give_back(self, part: int) -> None:
        with self._changed:
            self._waiting.append(part)
            self._changed.notify_all()

    def done(self, part: int) -> None:
        with self._changed:
            self.missing.remove(part)
            self._changed.notify_all()


def _run(candidate: _Candidate, name: str, file: int, parts: Parts, work: _Work) -> None:
    """One source brings parts until none is missing or it is not usable any more."""
    while candidate.usable and (i := work.take()) is not None:
        brought = False
        try:
            pieces = [_exactly(candidate.source, name, a, b) for a, b in parts.ranges(i)]
            if not parts.check(i, pieces):
                raise BlobCorrupt(f"{candidate.source} has other bytes in part {i} of {name}")
            for (start, _), piece in zip(parts.ranges(i), pieces, strict=True):
                os.pwrite(file, piece, start)
            brought = True
        except _NoRanges as error:
            candidate.problem = error
            return  # usable still, but not here
        except StoreError as error:
            candidate.failed(error)
            if candidate.usable:
                time.sleep(_PAUSE)
        finally:
            work.done(i) if brought else work.give_back(i)


class _NoRanges(StoreError):
    """A server that answers a range with the whole: asked for part after part, it would send the blob as
    often."""


def _exactly(source: Source, key: str, start: int, stop: int) -> bytes:
    """The bytes [start, stop). `StoreError` when they are fewer or more."""
    data = bytearray()
    with source.read(key, start, stop) as reading:
        if reading.start != start:
            raise _NoRanges(f"{source} knows no ranges")
        for chunk in reading.chunks:
            data += chunk
            if len(data) > stop - start:
                raise _NoRanges(f"{source} answers with more than the range that was asked for")
    if len(data) != stop - start:
        raise StoreError(f"{source} answers with {len(data)} bytes of {stop - start}")
    return bytes(data)


# --- files --------------------------------------------------------------------------------------------------


def through_disk(store: Store, folder: Path) -> Callable[[str, int], bytes]:
    """A `get` whose downloads lie in `folder` until somebody deletes it, so that a process which is killed
    between two blobs, or in the middle of one, goes on from there."""

    def get(sha256: str, max_bytes: int) -> bytes:
        path = folder / check_name(sha256)
        store.fetch(sha256, path, max_bytes)
        return path.read_bytes()

    return get


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a folder against other threads and processes; a process that dies lets go of it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
