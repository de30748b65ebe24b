"""Watches results: recomputes every close of the pool and every revealed norm, and proves on chain what is
wrong.

Such a proof is arithmetic (`pi_train/fraud.py`), so one honest watcher is enough, and whoever is first gets
the finder's fee, in its stake account. What cannot be proved, since nobody has the files, is left to the
votes of the next round.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from pi_sdk.client import Client
from pi_sdk.errors import ContractError, MalformedArtifact, StoreError, TransactionFailed
from pi_sdk.proofs import NO_PROGRESS
from pi_train.codecs import max_update_bytes
from pi_train.fraud import (
    OuterStepProof,
    RevealedUpdate,
    find_fault,
    norm_proof,
    outer_step_proof,
    progress_after,
)
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint

from .audit import Bench
from .checkpoints import fetched
from .evidence import Slot

log = logging.getLogger(__name__)

REVEALS_AT_ONCE = 128
"""Reveals that one transaction of a proof goes through."""
RETRY_SECONDS = 5
"""Chain time between two looks at a close whose files are not all there."""


@dataclass(frozen=True)
class Close:
    """A posted result, and what it has to follow from."""

    round: int
    start: bytes
    """Root of C_r."""
    posted: bytes
    """Root that was posted for C_{r+1}."""
    slots: tuple[Slot, ...]
    """All on-time reveals, in the order of the chain."""
    excluded: frozenset[str]


@dataclass(frozen=True)
class _Found:
    """What a check gives: proofs to send, and why it was not complete."""

    outer_step: OuterStepProof | None = None
    norms: tuple[tuple, ...] = ()
    missing: str | None = None


@dataclass
class Closes:
    """The watch of one validator over its pool. `chain` sends the proofs and gets the fee."""

    chain: Client
    bench: Bench
    pool_id: int
    _open: dict[Close, int] = field(default_factory=dict)
    """Closes to check -> chain time of the next try."""
    _checks: dict[Close, Future[_Found]] = field(default_factory=dict)
    _done: set[Close] = field(default_factory=set)
    _sent: set[tuple] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "closes")
        self._n = parameter_count(self.bench.spec.model)

    def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """The chain is read anew; what was checked stays known."""
        self._open.clear()

    def note(self, close: Close) -> None:
        if close not in self._done:
            self._open[close] = 0

    def serve(self, now: int) -> None:
        """Starts checks and sends what they found, without waiting for them."""
        for close, due in list(self._open.items()):
            check = self._checks.get(close)
            if check is not None and check.done():
                del self._checks[close]
                try:
                    found = check.result()
                except Exception:  # strangers' files must not end the validator
                    log.exception("round %d: its close cannot be checked", close.round)
                    self._end(close)
                else:
                    self._act(close, found, now)
            elif check is None and now >= due:
                if now > self.chain.disprovable_until(self.pool_id, close.round):
                    self._end(close)
                else:
                    self._checks[close] = self._thread.submit(self._check, close)

    def _end(self, close: Close) -> None:
        self._open.pop(close, None)
        self._done.add(close)

    # --- checking, in the thread ----------------------------------------------------------------------------

    def _check(self, close: Close) -> _Found:
        reveals = [self._revealed(slot) for slot in close.slots]
        codec, n = self.bench.spec.codec, self.bench.spec.update_values(close.round)
        norms = []
        for i, reveal in enumerate(reveals):
            if reveal.file is not None and len(reveal.file) == max_update_bytes(codec, n):
                proof = norm_proof(codec, self.pool_id, close.round, reveals, i, n)
                norms += [] if proof is None else [(reveal.node, *proof)]
        try:
            return _Found(self._wrong_result(close, reveals), tuple(norms))
        except (StoreError, MalformedArtifact) as error:
            return _Found(norms=tuple(norms), missing=str(error))

    def _wrong_result(self, close: Close, reveals: list[RevealedUpdate]) -> OuterStepProof | None:
        spec = self.bench.spec
        before, posted = self._checkpoint(close.start), self._checkpoint(close.posted)
        fault = find_fault(spec, close.round, before, reveals, close.excluded, posted)
        if fault is None:
            return None
        log.error("round %d: the posted result is wrong at leaf %d", close.round, fault.leaf)
        return outer_step_proof(
            spec, self.pool_id, close.round, before, reveals, close.excluded, posted, fault
        )

    def _checkpoint(self, root: bytes) -> Checkpoint:
        data = self.bench.checkpoints.read(root)
        checkpoint = Checkpoint.from_bytes(data, *self.bench.spec.checkpoint_shape)
        if checkpoint.root() != root:
            raise MalformedArtifact(f"the file of checkpoint {root.hex()} has another root")
        return checkpoint

    def _revealed(self, slot: Slot) -> RevealedUpdate:
        try:
            spec = self.bench.spec
            limit = max_update_bytes(spec.codec, spec.update_values(slot.round))
            file = fetched(slot, self.bench.store, limit)
        except StoreError as error:
            log.debug("round %d: the update of %s: %s", slot.round, slot.node, error)
            file = None
        r = slot.reveal
        return RevealedUpdate(slot.node, r.start_root, r.update_root, r.norm, r.width, file)

    # --- proving --------------------------------------------------------------------------------------------

    def _act(self, close: Close, found: _Found, now: int) -> None:
        for node, norm, reveals in found.norms:
            self._prove(close.round, f"norm of {node}", [(self.chain.prove_norm, norm, reveals)])
        if found.outer_step is not None:
            self._prove(close.round, "result", self._steps(close, found.outer_step))
        if found.missing is None:
            self._end(close)
            self.bench.events.write("close_checked", round=close.round, wrong=found.outer_step is not None)
        else:
            log.info("round %d: its close cannot be checked yet: %s", close.round, found.missing)
            self._open[close] = now + RETRY_SECONDS

    def _steps(self, close: Close, proof: OuterStepProof) -> Iterator[tuple]:
        """The calls that carry a proof, one where it fits."""
        leaf, reveals, excluded = proof.leaf, proof.reveals, proof.excluded
        if len(reveals) <= REVEALS_AT_ONCE:
            yield self.chain.prove_outer_step, leaf, reveals, excluded
            return
        progress = NO_PROGRESS
        for at in range(0, len(reveals), REVEALS_AT_ONCE):
            part = reveals[at : at + REVEALS_AT_ONCE]
            yield self.chain.continue_outer_step, leaf, progress, part, excluded
            progress = progress_after(self.bench.spec, close.start, self._n, proof, at + len(part))
        yield self.chain.finish_outer_step, leaf, progress, excluded

    def _prove(self, round_: int, what: str, calls: Iterator[tuple] | list[tuple]) -> None:
        if (round_, what) in self._sent:
            return
        try:
            for call, *args in calls:
                call(*args)
        except (ContractError, TransactionFailed) as error:
            log.info("round %d: no proof about the %s: %s", round_, what, error)  # somebody was first
        else:
            log.warning("round %d: proved that the %s is wrong", round_, what)
            self.bench.events.write("proved", round=round_, what=what)
        self._sent.add((round_, what))
