"""A directory of blobs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..codec import sha256 as digest
from ..errors import BlobNotFound, BlobTooLarge, StoreError
from .base import TREE, Kind, Parts, RangeRefused, Reading, check_key, check_name, verified
from .fetching import CHUNK, fetch


class LocalStore:
    """A directory; a blob is the file `{first two digits}/{sha256}`. A blob that is there is complete."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.path)!r})"

    def path_of(self, sha256: str) -> Path:
        """Where a blob is, or would be."""
        return self.path / check_name(sha256)[:2] / sha256

    def tree_path(self, sha256: str) -> Path:
        """Where a blob's part hashes are, if anybody put them there."""
        return self.path_of(sha256).with_name(sha256 + TREE)

    def get(self, sha256: str, max_bytes: int) -> bytes:
        with self._open(sha256) as file:
            try:
                size = os.fstat(file.fileno()).st_size  # what is asked for is set aside before it is read
                data = file.read(min(size, max_bytes) + 1)
            except OSError as error:
                raise StoreError(f"cannot read {self.path_of(sha256)}: {error.strerror}") from error
        if len(data) > max_bytes:
            raise BlobTooLarge(f"blob {sha256} is larger than {max_bytes} bytes")
        return verified(sha256, data, self)

    def fetch(self, sha256: str, path: Path, max_bytes: int, parts: Parts | None = None) -> None:
        fetch([self], sha256, path, max_bytes, parts, tries=1)

    @contextmanager
    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[Reading]:
        with self._open(key) as file:
            size = os.fstat(file.fileno()).st_size
            if start > size:
                raise RangeRefused(f"{key} has {size} bytes")
            file.seek(start)
            end = size if stop is None else min(stop, size)
            yield Reading(self._chunks(file, end - start), start, size)

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Stores `data` and returns its name. A directory keeps everything: `kind` and `round` matter to
        servers."""
        name = digest(data).hex()
        path = self.path_of(name)
        if path.exists():
            return name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
            try:
                with os.fdopen(file, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error
        return name

    def has(self, sha256: str) -> bool:
        return self.path_of(sha256).is_file()

    def _open(self, key: str) -> BinaryIO:
        name = check_key(key).removesuffix(TREE)
        path = self.path_of(name) if key == name else self.tree_path(name)
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise BlobNotFound(f"no blob {key} in {self.path}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error

    @staticmethod
    def _chunks(file: BinaryIO, left: int) -> Iterator[bytes]:
        try:
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
        except OSError as error:
            raise StoreError(f"cannot read {file.name}: {error.strerror}") from error
