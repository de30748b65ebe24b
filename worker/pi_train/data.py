"""Training data: the creator's shards as one byte array, and which windows of it a node's slot trains on.

Bytes are tokens. A window is `sequence + 1` bytes from its id on: inputs, and targets one further.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pi_sdk.codec import batch_digest, round_seed, sample_ids, sha256
from pi_sdk.errors import BlobCorrupt, SpecMismatch
from pi_sdk.types import DataSpec, RunSpec, Shard


@dataclass(frozen=True)
class Corpus:
    """`train` and `validation` are uint8 arrays, mapped from files."""

    train: np.ndarray
    validation: np.ndarray


def load_corpus(data: DataSpec, get: Callable[[str, int], bytes], cache: Path) -> Corpus:
    """Maps the corpus, fetching what `cache` lacks with `get(sha256 hex, max bytes)`.

    Every shard is hashed on every load, since a rotten cache would make an honest worker train on the wrong
    data. Raises what `get` raises, and `BlobCorrupt`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return Corpus(_concatenated(data.train, get, cache), _concatenated(data.validation, get, cache))


def _concatenated(shards: Sequence[Shard], get: Callable[[str, int], bytes], cache: Path) -> np.ndarray:
    path = cache / f"{sha256(''.join(s.sha256 for s in shards).encode()).hex()}.bin"
    if path.exists() and _intact(shards, mapped := _map(path)):
        return mapped
    handle, temporary = tempfile.mkstemp(dir=cache)
    try:
        with open(handle, "wb") as file:
            for shard in shards:
                blob = get(shard.sha256, shard.bytes)
                if len(blob) != shard.bytes or sha256(blob).hex() != shard.sha256:
                    raise BlobCorrupt(f"data shard {shard.sha256} has other bytes than its name says")
                file.write(blob)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return _map(path)


def _map(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return np.frombuffer(mapped, np.uint8)


def _intact(shards: Sequence[Shard], mapped: np.ndarray) -> bool:
    if len(mapped) != sum(s.bytes for s in shards):
        return False
    at = 0
    for shard in shards:
        if sha256(mapped[at : at + shard.bytes].data).hex() != shard.sha256:
            return False
        at += shard.bytes
    return True


@dataclass(frozen=True)
class Batch:
    """One inner step's data: window ids and uint8[batch, sequence + 1] tokens."""

    ids: list[int]
    tokens: np.ndarray

    def digest(self) -> bytes:
        return batch_digest(self.ids, self.tokens.tobytes())


def windows_at(tokens: np.ndarray, ids: Sequence[int], sequence: int) -> np.ndarray:
    """uint8[len(ids), sequence + 1] of the windows with these ids."""
    return tokens[np.asarray(ids)[:, None] + np.arange(sequence + 1)]


def batches(
    spec: RunSpec, corpus: Corpus, root: bytes, *, node: str, round_: int, width: int
) -> Iterator[Batch]:
    """The batches of a node's slots in a round that starts from the checkpoint `root`, one per inner step.

    A node of width w trains on the batches of slots 0..w-1, one after another in one batch.
    """
    windows = len(corpus.train) - spec.inner.sequence
    if windows < 1:
        raise SpecMismatch(f"the training data has {len(corpus.train)} bytes, less than one window")
    seed = round_seed(spec.seed, round_, root)
    for step in range(spec.inner.steps):
        ids = [
            i for slot in range(width) for i in sample_ids(seed, node, slot, step, spec.inner.batch, windows)
        ]
        yield Batch(ids, windows_at(corpus.train, ids, spec.inner.sequence))
