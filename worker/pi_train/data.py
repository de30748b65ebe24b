"""What a run fetches by hash: the creator's shards as one array of tokens, and the model's files; and which
windows of the tokens a node's slot trains on.

Without a tokenizer bytes are tokens. A window is `sequence + 1` tokens from its id on: inputs, and targets
one further.
"""

import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pi_sdk.codec import batch_digest, round_seed, sample_ids, sha256
from pi_sdk.errors import BlobCorrupt, MalformedArtifact, SpecMismatch
from pi_sdk.types import RunSpec, Shard

DTYPES = {"uint8": "u1", "uint16": "<u2", "uint32": "<u4"}
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Corpus:
    """`train` and `validation` are arrays of token ids (uint8, or little-endian uint16 or uint32), mapped
    from files; `files` the verified paths of the run's tokenizer and frozen weights by their sha256."""

    train: np.ndarray
    validation: np.ndarray
    files: dict[str, Path] = field(default_factory=dict)


def load_corpus(spec: RunSpec, get: Callable[[str, int], bytes], cache: Path) -> Corpus:
    """Maps the corpus, fetching what `cache` lacks with `get(sha256 hex, max bytes)`.

    Everything is hashed on every load, since a rotten cache would make an honest worker train on the wrong
    data. Raises what `get` raises, `BlobCorrupt`, and `MalformedArtifact` for tokens that the model does not
    know.
    """
    cache.mkdir(parents=True, exist_ok=True)
    train, validation = (
        _concatenated(shards, get, cache).view(DTYPES[spec.data.dtype])
        for shards in (spec.data.train, spec.data.validation)
    )
    for tokens in (train, validation):
        check_tokens(tokens, spec.model.vocab)
    return Corpus(train, validation, {f.sha256: _file(f, get, cache) for f in spec.files})


def check_tokens(tokens: np.ndarray, vocab: int) -> None:
    """`MalformedArtifact` where an id is not below `vocab`."""
    if vocab > np.iinfo(tokens.dtype).max:
        return
    highest = max(int(tokens[at : at + _BLOCK].max()) for at in range(0, len(tokens), _BLOCK))
    if highest >= vocab:
        raise MalformedArtifact(
            f"the run's data have token {highest}, its model's vocabulary ends at {vocab - 1}"
        )


def _file(shard: Shard, get: Callable[[str, int], bytes], cache: Path) -> Path:
    path = cache / shard.sha256
    if not (path.exists() and path.stat().st_size == shard.bytes and _digest(path) == shard.sha256):
        _write(path, [shard], get)
    return path


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _concatenated(shards: Sequence[Shard], get: Callable[[str, int], bytes], cache: Path) -> np.ndarray:
    path = cache / f"{sha256(''.join(s.sha256 for s in shards).encode()).hex()}.bin"
    if not (path.exists() and _intact(shards, _map(path))):
        _write(path, shards, get)
    return _map(path)


def _write(path: Path, shards: Sequence[Shard], get: Callable[[str, int], bytes]) -> None:
    """Shards one after another, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
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
    """One inner step's data: window ids, and tokens [batch, sequence + 1] in the corpus's dtype."""

    ids: list[int]
    tokens: np.ndarray

    def digest(self) -> bytes:
        return batch_digest(self.ids, self.tokens.tobytes())


def windows_at(tokens: np.ndarray, ids: Sequence[int], sequence: int) -> np.ndarray:
    """Tokens [len(ids), sequence + 1] of the windows with these ids."""
    return tokens[np.asarray(ids)[:, None] + np.arange(sequence + 1)]


def batches(
    spec: RunSpec, corpus: Corpus, root: bytes, *, node: str, round_: int, width: int
) -> Iterator[Batch]:
    """The batches of a node's slots in a round that starts from the checkpoint `root`, one per inner step.

    A node of width w trains on the batches of slots 0..w-1, one after another in one batch.
    """
    windows = len(corpus.train) - spec.inner.sequence
    if windows < 1:
        raise SpecMismatch(f"the training data has {len(corpus.train)} tokens, less than one window")
    seed = round_seed(spec.seed, round_, root)
    for step in range(spec.inner.steps):
        ids = [
            i for slot in range(width) for i in sample_ids(seed, node, slot, step, spec.inner.batch, windows)
        ]
        yield Batch(ids, windows_at(corpus.train, ids, spec.inner.sequence))


def ahead(steps: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each read in a thread while the one before is trained on: data on a slow disk cost
    no time."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, steps, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, steps, None)
            yield batch
