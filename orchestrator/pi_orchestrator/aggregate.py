"""From revealed updates to the next checkpoint: fetches and checks the files, takes the outer step, keeps
the result.

Nothing here is remembered that cannot be found again: the latest checkpoint of a pool is cached, and after
a restart comes from its file, or is recomputed from the round before.
"""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pi_sdk import (
    BlobNotFound,
    BlobTooLarge,
    HttpStore,
    MalformedArtifact,
    PoolParams,
    RunSpec,
    StoreError,
    UsageError,
)
from pi_sdk.codec import Trace, parse_run_spec
from pi_train.checkpoint_file import out_of_memory
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step, was_skipped

from .blobs import BlobStore
from .model import Pool, Revealed, Round

MAX_SPEC_BYTES = 4 << 20
UNAVAILABLE, MALFORMED, WRONG_NORM = 1, 2, 3  # reasons of an exclusion, as the ledger numbers them

Falsify = Callable[[Checkpoint], Checkpoint]

log = logging.getLogger(__name__)

_FETCH_SECONDS = 10.0  # for all files of a close together
_LOCATIONS = 4  # announced base URLs that are tried per file


class Missing(NamedTuple):
    """A file that a pool's rounds need, of at most `most` bytes."""

    what: str
    name: str
    most: int

    def __str__(self) -> str:
        return f"{self.what} {self.name}"


class Aggregator:
    """Checkpoints of all pools. The scheduler's one thread owns it; `evidence_limit` may be asked by any."""

    def __init__(self, blobs: BlobStore, falsify: Falsify | None = None):
        """`falsify` changes the first round's result, for research: see `cheats.py`."""
        self._blobs, self._falsify = blobs, falsify
        self._specs: dict[int, RunSpec] = {}
        self._latest: dict[int, tuple[int, str, Checkpoint]] = {}

    def spec(self, pool: Pool) -> RunSpec:
        """The pool's RunSpec out of the store. `BlobNotFound` until its creator has stored it,
        `MalformedArtifact`.
        """
        if pool.id not in self._specs:
            data = self._blobs.get(pool.run_spec_hash[2:], MAX_SPEC_BYTES)
            try:
                self._specs[pool.id] = parse_run_spec(data)
            except MalformedArtifact as error:
                raise MalformedArtifact(f"pool {pool.id}: {error.message}") from error
        return self._specs[pool.id]

    def missing(self, pool: Pool) -> list[Missing]:
        """What its creator still has to store before the first round can be trained; empty when all is there.

        Raises `MalformedArtifact` or `SpecMismatch` when what is stored does not fit what is on chain.
        """
        try:
            spec = self.spec(pool)
        except BlobNotFound:
            return [Missing("RunSpec", pool.run_spec_hash[2:], MAX_SPEC_BYTES)]
        if spec.genesis_root != pool.genesis_root[2:]:
            raise MalformedArtifact(f"the RunSpec of pool {pool.id} names another genesis root than the pool")
        wanted = [Missing("genesis checkpoint", spec.genesis_file, checkpoint_bytes(*spec.checkpoint_shape))]
        wanted += [
            Missing("data shard", s.sha256, s.bytes) for s in (*spec.data.train, *spec.data.validation)
        ]
        wanted += [Missing("model file", file.sha256, file.bytes) for file in spec.files]
        lacking = [file for file in wanted if not self._blobs.has(file.name)]
        if not lacking and not pool.rounds:
            PoolParams.model_construct(**pool.params).check(spec)
            self.checkpoint(pool, 0)
        return lacking

    def evidence_limit(self, pool_id: int) -> int | None:
        """Bytes that no honest evidence blob of a pool exceeds; None while its RunSpec was not needed yet.

        A private state is as large as a border, or larger; a trace is counted by its own shape.
        """
        spec = self._specs.get(pool_id)
        if spec is None:
            return None
        trace = Trace.size(spec.inner.steps, spec.segments, spec.proofs_per_step)
        arrays = 4 if spec.outer.keeps_parameters else 3  # of a private state
        return max(arrays * 4 * spec.model.parameters, trace) + (1 << 20)

    def forget(self) -> None:
        """Drops what is cached about pools: the chain went back."""
        self._specs.clear()
        self._latest.clear()

    # --- checkpoints ------------------------------------------------------------------------------

    def checkpoint(self, pool: Pool, number: int) -> Checkpoint:
        """C_number, whose root is the chain's. `StoreError` when neither it nor what it follows from is to
        be had.
        """
        root, back = _root(pool, number), pool.rollbacks.get(number)
        if back is not None and root == _root(pool, back):
            return self.checkpoint(pool, back)
        cached, of, checkpoint = self._latest.get(pool.id, (-1, "", None))
        if checkpoint is not None and (cached, of) == (number, root):
            return checkpoint
        start, found = number, self._stored(pool, number)
        while found is None and start > 0:  # back to a checkpoint that is there, then forward again
            start -= 1
            found = self._stored(pool, start)
        if found is None:
            raise BlobNotFound(
                f"no checkpoint of pool {pool.id} is in the store", "its creator must store the genesis"
            )
        for n in range(start, number):
            found = self._next(pool, pool.rounds[n], found)
        self._latest[pool.id] = (number, root, found)
        return found

    def _stored(self, pool: Pool, number: int) -> Checkpoint | None:
        """C_number from its file, or None when that is absent or not what the chain says."""
        spec = self.spec(pool)
        name = pool.rounds[number - 1].file[2:] if number else spec.genesis_file
        if not name:  # the votes replaced what was posted, and named no file
            return None
        size = checkpoint_bytes(*spec.checkpoint_shape)
        if self._blobs.size(name) != size:  # a RunSpec may claim any size; only a file that is there has one
            return None
        try:
            checkpoint = Checkpoint.from_bytes(self._blobs.get(name, size), *spec.checkpoint_shape)
        except (StoreError, MalformedArtifact):
            return None
        return checkpoint if checkpoint.root().hex() == _root(pool, number)[2:] else None

    def _next(self, pool: Pool, round_: Round, start: Checkpoint) -> Checkpoint:
        """The checkpoint that a closed round led to, recomputed."""
        updates, bad = self._gather(self.spec(pool), round_.number, round_.included)
        if bad:
            raise BlobNotFound(
                f"updates of round {round_.number} of pool {pool.id} are gone: {', '.join(bad)}"
            )
        weighted = [(u, round_.reveals[node].width) for node, u in updates.items()]
        result = outer_step(self.spec(pool), start, weighted, round_.number)
        if result.root().hex() != round_.root[2:]:
            raise StoreError(
                f"round {round_.number} of pool {pool.id} was closed with a root that its updates do not give"
            )
        self._keep(pool, result)
        return result

    def _keep(self, pool: Pool, checkpoint: Checkpoint) -> str:
        return self._blobs.put(checkpoint.to_bytes(), pool.id, pool.params["orchestrator"])

    # --- closing ----------------------------------------------------------------------------------

    def close(self, pool: Pool, round_: Round) -> tuple[bytes, str, dict[str, int]]:
        """Root and stored file of C_{r+1}, and the excluded nodes with their reasons, out of the reveals that
        started from the round's root. `StoreError`, `MalformedArtifact`.
        """
        spec, start = self.spec(pool), self.checkpoint(pool, round_.number)
        updates, excluded = self._gather(spec, round_.number, round_.counting)
        weighted = [(u, round_.reveals[node].width) for node, u in updates.items()]
        result = outer_step(spec, start, weighted, round_.number)
        if was_skipped(start, result):
            log.warning("round %d of pool %d: skipped, its updates are far too large", round_.number, pool.id)
        if self._falsify is not None and round_.number == 0 and not round_.disproved:
            result = self._falsify(result)
        return result.root(), self._keep(pool, result), excluded

    def _gather(
        self, spec: RunSpec, round_: int, reveals: Mapping[str, Revealed]
    ) -> tuple[dict[str, UpdateFile], dict[str, int]]:
        """The updates that hold what their reveals say, and the reasons against the others."""
        n = spec.update_values(round_)
        size = max_update_bytes(spec.codec, n)
        deadline = time.monotonic() + _FETCH_SECONDS
        with ThreadPoolExecutor(8) as threads:
            files = dict(
                zip(
                    reveals,
                    threads.map(lambda r: self._fetch(r, size, deadline), reveals.values()),
                    strict=True,
                )
            )
        updates, excluded = {}, {}
        for node, reveal in reveals.items():
            data = files[node]
            if data is None:
                excluded[node] = UNAVAILABLE
                continue
            try:
                update = UpdateFile(spec.codec, data, n)
            except MalformedArtifact:
                excluded[node] = MALFORMED
                continue
            if update.root.hex() != reveal.update_root[2:]:
                excluded[node] = MALFORMED
            elif update.norm != reveal.norm:
                excluded[node] = WRONG_NORM
            else:
                updates[node] = update
        return updates, excluded

    def _fetch(self, reveal: Revealed, size: int, deadline: float) -> bytes | memoryview | None:
        """An update file from our store or from where its worker says that it is, a large one mapped; None
        when it is not to be had.

        A file that is larger than every update comes back empty: it is malformed.
        """
        name = reveal.update_file[2:]
        try:
            return out_of_memory(self._blobs.get(name, size), self._blobs.path(name).parent)
        except BlobTooLarge:
            return b""
        except StoreError:
            pass  # not here, or damaged on our disk: the announced locations may have it
        for base in reveal.locations.split(",")[:_LOCATIONS]:
            data = _download(base.strip(), name, size, deadline)
            if data is not None:
                return out_of_memory(data, self._blobs.path(name).parent)
        return None


def _root(pool: Pool, number: int) -> str:
    """The root of C_number on chain, 0x hex."""
    return pool.rounds[number - 1].root if number else pool.genesis_root


def _download(base: str, name: str, size: int, deadline: float) -> bytes | None:
    """`base`/blobs/`name` if it is there, hashes to its name and has at most `size` bytes.

    The URL is a stranger's: only http(s), only this one path, no redirects, bounded in bytes and in time,
    and what comes back goes nowhere unless it is the file that was asked for.
    """
    left = deadline - time.monotonic()
    if len(base) > 512 or left <= 0:
        return None
    try:
        with HttpStore(base, tries=1, deadline=left) as store:
            return store.get(name, size)
    except (StoreError, UsageError):
        return None
