"""Checkpoint files without reading them whole: part by part while they are fetched, mapped once they are
here; and updates out of memory. Numpy only, no network: whoever fetches asks `CheckpointParts` what to ask
for, and whether it is right.

The root that is on chain is that of a tree, so one level of the tree can be checked before any data, and each
part of the file against its node. A part is the subtree of 1,024 leaves, 262,144 values: 1 MiB of theta and,
with momentum, the 2 MiB further on that belong to the same values. Its level has 32 bytes per part: 72e9
values are 274,659 parts, 8.8 MB.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pi_sdk.codec import merkle_level, merkle_top
from pi_sdk.errors import MalformedArtifact

from .outer import GUARD_BYTES, Checkpoint, checkpoint_bytes, checkpoint_head

_HEIGHT = 10
_VALUES = 256 << _HEIGHT
_SMALL = 1 << 20  # bytes that may stay in memory


class CheckpointParts:
    """The parts of the checkpoint whose root is `root`, as `pi_sdk.store.Parts`. Its shape is that of
    `RunSpec.checkpoint_shape`; the guards' leaf is the last one of the last part."""

    def __init__(self, root: bytes, n: int, has_momentum: bool, guards: int = 0):
        self.size = checkpoint_bytes(n, has_momentum, guards)
        self.head = checkpoint_head(n, has_momentum, guards)
        self._root, self._n, self._has_momentum, self._guards = root, n, has_momentum, guards
        self._nodes: list[bytes] = []
        self.list_bytes = 32 * len(self) if len(self) > 1 else 0

    def __len__(self) -> int:
        leaves = -(-self._n // 256) + (self._guards > 0)
        return -(-leaves // (1 << _HEIGHT))

    def load(self, listed: bytes) -> bool:
        """Takes the level of the tree, 32 bytes per part; nothing where there is one part. False when it does
        not lead to the root."""
        if len(listed) != self.list_bytes:
            return False
        nodes = [listed[i : i + 32] for i in range(0, len(listed), 32)]
        if nodes and merkle_top(nodes, _HEIGHT) != self._root:
            return False
        self._nodes = nodes
        return True

    def ranges(self, i: int) -> list[tuple[int, int]]:
        """Bytes [start, stop) of part i's theta, of its momentum and of the guards, where it has them."""
        first, last = i * _VALUES, min((i + 1) * _VALUES, self._n)
        theta, found = len(self.head), []
        if first < last:
            found.append((theta + 4 * first, theta + 4 * last))
        if first < last and self._has_momentum:
            momentum = theta + 4 * self._n
            found.append((momentum + 8 * first, momentum + 8 * last))
        if self._has_guards(i):
            found.append((self.size - GUARD_BYTES * self._guards, self.size))
        return found

    def _has_guards(self, i: int) -> bool:
        return self._guards > 0 and i == len(self) - 1

    def check(self, i: int, pieces: Sequence[bytes]) -> bool:
        """Whether these bytes are part i."""
        left = list(pieces)
        guard = np.frombuffer(left.pop(), "<u8").reshape(-1, 4) if self._has_guards(i) else None
        theta = np.frombuffer(left[0] if left else b"", "<i4")
        momentum = np.frombuffer(left[1] if left else b"", "<i8") if self._has_momentum else None
        part = Checkpoint(theta, momentum, guard)
        if not self._nodes:
            return part.root() == self._root
        return merkle_level(part.leaves(), _HEIGHT) == [self._nodes[i]]


def part_hashes(path: Path) -> bytes | None:
    """What `CheckpointParts.load` takes, of a checkpoint file. None for another file, and for one of a single
    part. The file's values are not judged."""
    with path.open("rb") as file:
        head, size = file.read(16), os.fstat(file.fileno()).st_size
    if len(head) < 16:
        return None
    shape = int.from_bytes(head[8:]), head[5] == 1, int.from_bytes(head[6:8])
    if head != checkpoint_head(*shape) or size != checkpoint_bytes(*shape):
        return None
    if len(CheckpointParts(b"", *shape)) == 1:
        return None
    return b"".join(merkle_level(_mapped(path, *shape).leaves(), _HEIGHT))


def map_checkpoint(path: Path, n: int, has_momentum: bool, guards: int = 0) -> Checkpoint:
    """The checkpoint in a file, whose pages are read when they are needed. The file may be deleted, but not
    changed, while it is in use. `MalformedArtifact`, as `Checkpoint.from_bytes`."""
    size, expected = path.stat().st_size, checkpoint_bytes(n, has_momentum, guards)
    if size != expected:
        raise MalformedArtifact(f"checkpoint has {size} bytes, expected {expected}")
    return Checkpoint.from_bytes(_view(path), n, has_momentum, guards)


def out_of_memory(data: bytes, folder: Path) -> bytes | memoryview:
    """The same bytes, mapped from a file in `folder` that has no name, where they are more than a MiB: the
    dense updates of a round are larger than the model. On a full disk they stay where they are."""
    if len(data) <= _SMALL:
        return data
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(data)
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError:
        return data


def _view(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _mapped(path: Path, n: int, has_momentum: bool, guards: int) -> Checkpoint:
    data, theta = _view(path), len(checkpoint_head(n, has_momentum, guards))
    momentum = np.frombuffer(data, "<i8", n, theta + 4 * n) if has_momentum else None
    end = len(data) - GUARD_BYTES * guards
    guard = np.frombuffer(data, "<u8", 4 * guards, end).reshape(-1, 4) if guards else None
    return Checkpoint(np.frombuffer(data, "<i4", n, theta), momentum, guard)
