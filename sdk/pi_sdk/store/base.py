"""What every store offers, and what is known of a blob beside its name."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..codec import sha256 as digest
from ..errors import BlobCorrupt, StoreError, UsageError

Kind = Literal["artifact", "evidence"]
TREE = ".tree"
"""Suffix of the key beside a blob under which a store may offer its part hashes (see `Parts`)."""
_NAME = re.compile(r"[0-9a-f]{64}")


def check_name(sha256: str) -> str:
    """The name itself when it is 64 lower-case hex digits, else `UsageError`: names become paths and URLs."""
    if not _NAME.fullmatch(sha256):
        raise UsageError(
            f"{sha256[:80]!r} is no blob name", "64 lower-case hex digits, the sha256 of the bytes"
        )
    return sha256


def check_key(key: str) -> str:
    """A blob's name, or that of its part hashes."""
    check_name(key.removesuffix(TREE))
    return key


def verified(sha256: str, data: bytes, source: object) -> bytes:
    """`data` itself when it is what the name says, else `BlobCorrupt`."""
    if digest(data).hex() != sha256:
        raise BlobCorrupt(f"{source} has other bytes under the name {sha256}", "try another location")
    return data


class RangeRefused(StoreError):
    """A source says that a blob has no bytes from the asked place on."""


@dataclass(frozen=True)
class Reading:
    """An answer on its way. Nothing of it is verified."""

    chunks: Iterator[bytes]
    start: int
    """Where in the blob the chunks begin: where they were asked for, or 0 from a server that knows no
    ranges."""
    size: int | None
    """Bytes of the whole blob, where the source says it."""


class Source(Protocol):
    """Where bytes can be read from."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reading]:
        """The bytes [start, stop) under `key`, to the end without a stop. `StoreError`, also while the chunks
        are read: `BlobNotFound`, `RangeRefused`, and others where the source fails."""
        ...


class Parts(Protocol):
    """A blob that can be checked part by part, since a tree over its contents has a trusted root.

    A name is a plain sha256: it says nothing before the last byte is here, and a list of part hashes that
    comes from a mirror is worth as much as the mirror. But a checkpoint's Merkle root is on chain, and one
    level of that tree, which anybody may hand out, either leads to this root or is thrown away. So the level
    is asked for first, and each part is checked against it as it arrives.
    """

    size: int
    """Bytes of the blob, exactly."""
    head: bytes
    """What the blob begins with, which is no part's."""
    list_bytes: int
    """Bytes of the level of part hashes, exactly; 0 where the root itself is the only one."""

    def __len__(self) -> int: ...

    def load(self, listed: bytes) -> bool:
        """Takes the level; False, and nothing taken, when it does not lead to the root."""
        ...

    def ranges(self, i: int) -> Sequence[tuple[int, int]]:
        """Where part i lies in the blob: ranges [start, stop)."""
        ...

    def check(self, i: int, pieces: Sequence[bytes]) -> bool:
        """Whether these bytes, one piece per range, are part i. The level has been loaded."""
        ...


class Store(Protocol):
    """What every store offers. `get` and `fetch` raise `BlobNotFound`, `BlobCorrupt`, `BlobTooLarge` or
    another `StoreError`."""

    def get(self, sha256: str, max_bytes: int) -> bytes: ...

    def fetch(self, sha256: str, path: Path, max_bytes: int, parts: Parts | None = None) -> None:
        """Brings the blob to the file `path`; see `fetching.fetch`."""
        ...

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str: ...
    def has(self, sha256: str) -> bool: ...


class SourceStore(Store, Source, Protocol):
    """A store that can be read from in ranges as well."""
