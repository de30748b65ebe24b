"""One node's part in a round: train, commit, reveal, recompute the next checkpoint.

What to do next follows from the chain and the journal alone, so a step that failed, or a process that was
killed anywhere, goes on where it was: a commitment is opened from the journal, a round without one is trained
again with the same result.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pi_sdk.client import Client
from pi_sdk.codec import ZERO
from pi_sdk.errors import ChainError, ContractError, MalformedArtifact, StoreError
from pi_sdk.eventlog import EventLog
from pi_sdk.results import MemberInfo, PoolInfo, RecordInfo
from pi_sdk.store import HttpStore
from pi_sdk.types import DeterminismClass, Phase, PoolParams, RecordStatus, Reveal, RunSpec
from pi_train import determinism
from pi_train.codecs import UpdateFile
from pi_train.data import Corpus
from pi_train.outer import Checkpoint

from .artifacts import Announced, Checkpoints, PoolLog
from .evidence import EvidenceServer
from .journal import Entry, Journal
from .trainer import SlotJob, Trainer

log = logging.getLogger(__name__)

ON_TIME = (RecordStatus.REVEALED, RecordStatus.EXCLUDED, RecordStatus.CONTESTED, RecordStatus.SETTLED)
COMMITMENT_PREFIX = 27
"""Bytes of a commitment that a record keeps."""
FETCH_TRIES = 5
"""Times that a round's updates are asked for before the posted checkpoint is taken instead."""


class Abandoned(Exception):
    """Training was broken off: the process is to stop, or the commit phase is over."""


def is_expected(member: MemberInfo, round_: int) -> bool:
    """Whether the chain expects this node's commitment in a round."""
    return (
        member.width > 0 and member.active_from <= round_ and (not member.left_at or round_ < member.left_at)
    )


@dataclass
class RoundWorker:
    """The work of one node in one pool. Every method may raise `ChainError` or `StoreError` and be called
    again.
    """

    chain: Client
    store: HttpStore
    events: EventLog
    journal: Journal
    evidence: EvidenceServer
    spec: RunSpec
    params: PoolParams
    cls: DeterminismClass
    corpus: Corpus
    trainer: Trainer
    pool_id: int
    node: str
    stop: threading.Event

    at: int = -1
    """The round that `checkpoint` starts; -1 before the first one is known."""
    checkpoint: Checkpoint | None = None
    trained_seconds: float = 0.0
    revealed: int = 0
    missed: int = 0
    _given_up: set[int] = field(default_factory=set)
    _tries: int = 0

    def __post_init__(self) -> None:
        self.log = PoolLog(self.chain, self.pool_id)
        self.checkpoints = Checkpoints(self.spec, self.log, self.store, self._own_update)

    # --- following the closes ---------------------------------------------------------------------------

    def follow(self, pool: PoolInfo, member: MemberInfo) -> None:
        """Brings `checkpoint` up to the round that runs, or that would open next."""
        running = pool.next_round if pool.phase == Phase.IDLE else pool.next_round - 1
        if self.checkpoint is None or self.at > running:  # a node that restarted may have forgotten a close
            self.log.refresh()
            self.checkpoint, self.at = self.checkpoints.posted(running), running
            self.log.done(running)
        while self.at < running:
            self._close(self.at, self.checkpoint)
            self._look_back(self.at - 1, member)

    def _close(self, round_: int, start: Checkpoint) -> None:
        """Recomputes C_{r+1} and compares it with what the chain says."""
        self.log.refresh()
        if round_ not in self.log.closed:
            raise ChainError(f"the close of round {round_} is not among the node's events yet")
        try:
            checkpoint, recomputed = self.checkpoints.recompute(round_, start), True
        except (StoreError, MalformedArtifact) as error:
            self._tries += 1
            if isinstance(error, StoreError) and self._tries < FETCH_TRIES:
                raise
            log.error("round %d: cannot recompute its close: %s; taking the posted checkpoint", round_, error)
            checkpoint, recomputed = self.checkpoints.posted(round_ + 1), False
        root = checkpoint.root()
        agrees = recomputed and root == self.log.closed[round_].root
        self.events.write("closed", round=round_, root=root, agrees=agrees)
        if recomputed and not agrees:
            posted = self.log.closed[round_].root.hex()
            log.error(
                "round %d: the posted checkpoint is wrong: %s, not %s", round_, posted[:16], root.hex()[:16]
            )
            log.error("going on from the recomputed one")
        self.checkpoint, self.at, self._tries = checkpoint, round_ + 1, 0
        self.log.done(self.at)

    def _look_back(self, round_: int, member: MemberInfo) -> None:
        """Says what became of this node's work in a closed round, where it was not taken."""
        if not is_expected(member, round_):
            return
        status = self.chain.record(self.pool_id, round_, self.node).status
        if status == RecordStatus.EXCLUDED:
            reason = self.log.excluded.get(round_, {}).get(self.node)
            log.error(
                "round %d: this node's update was left out of the mean, reason %s; no pay", round_, reason
            )
        elif status not in ON_TIME:
            self.missed += 1
            self.events.write("missed", round=round_)
            log.warning("round %d: missed; no pay, and the second miss in a row costs stake", round_)

    # --- the running round ------------------------------------------------------------------------------

    def work(self, pool: PoolInfo, member: MemberInfo) -> bool:
        """Does what the running round asks of this node now. True while a commitment of it can still be
        opened.
        """
        round_ = pool.next_round - 1
        if round_ < 0 or pool.phase not in (Phase.COMMIT, Phase.REVEAL) or not is_expected(member, round_):
            return False
        record = self.chain.record(self.pool_id, round_, self.node)
        if record.status == RecordStatus.NONE:
            if pool.phase != Phase.COMMIT or self.stop.is_set() or round_ in self._given_up:
                return False
            entry = self._trained(round_, member)
            return entry is not None and self._commit(entry)
        entry = self.committed_entry(round_, record)
        if entry is None:
            if round_ not in self._given_up:
                log.error(
                    "round %d: committed, but the journal of it is not in %s", round_, self.journal.root
                )
            self._given_up.add(round_)
            return False
        if record.status in ON_TIME:
            self.evidence.add(entry)
            return False
        if pool.phase == Phase.COMMIT:
            return True
        return round_ not in self._given_up and self._reveal(entry)

    def committed_entry(self, round_: int, record: RecordInfo) -> Entry | None:
        """The journal's entry that the record's commitment hides, if it is here."""
        entry = self.journal.load(round_)
        if entry is None:
            return None
        own = self.chain.commitment(self.pool_id, round_, self.node, entry.reveal())
        return entry if own[:COMMITMENT_PREFIX] == record.commitment[:COMMITMENT_PREFIX] else None

    def _trained(self, round_: int, member: MemberInfo) -> Entry | None:
        """The round's entry: from the journal when a whole one is there, else trained now. None: broken
        off.
        """
        checkpoint = self.checkpoint
        assert checkpoint is not None and self.at == round_
        root = checkpoint.root()
        entry = self.journal.load(round_)
        if entry is not None and (entry.start_root, entry.width) == (root.hex(), member.width):
            if entry.state_in in (ZERO.hex(), member.state_out.hex()):
                return entry
        state = self.journal.state(member.state_out)
        if state is None and member.state_out != ZERO:
            log.warning(
                "the private state of the last reveal is not in %s: starting from zeros", self.journal.root
            )
        determinism.pin(self.cls)
        self.events.write("training", round=round_)
        try:
            result = self.trainer(
                SlotJob(
                    spec=self.spec,
                    corpus=self.corpus,
                    checkpoint=checkpoint,
                    node=self.node,
                    round=round_,
                    width=member.width,
                    state=state,
                    class_id=self.cls.id,
                    borders=self.journal.begin(round_),
                    progress=self._watchdog(round_),
                    peers=lambda: self._peers(round_ - 1),
                )
            )
        except Abandoned as why:
            log.warning("round %d: training abandoned: %s", round_, why)
            self._given_up.add(round_)
            return None
        self.trained_seconds += result.seconds
        opened = Reveal(
            salt=os.urandom(32),
            start_root=root,
            update_root=result.update_root,
            trace_root=result.trace_root,
            state_in=result.state_in,
            state_out=result.state_out,
            norm=result.norm,
            width=member.width,
        )
        entry = self.journal.write(
            opened, round_, update=result.update, trace=result.trace, state=result.state
        )
        first, last = result.losses[0], result.losses[-1]
        self.events.write(
            "trained",
            round=round_,
            seconds=result.seconds,
            tokens=result.tokens,
            loss_first=first,
            loss_last=last,
        )
        log.info("round %d: trained in %.1f s, loss %.3f to %.3f", round_, result.seconds, first, last)
        return entry

    def _watchdog(self, round_: int) -> Callable[..., None]:
        """A progress hook that breaks training off when its result could not be committed any more."""
        looked = time.monotonic()

        def check(*_: object) -> None:
            nonlocal looked
            if self.stop.is_set():
                raise Abandoned("asked to stop")
            if time.monotonic() - looked < 1:
                return
            looked = time.monotonic()
            try:
                late = self.chain.now() > self.chain.round(self.pool_id, round_).commit_deadline
            except ChainError:
                return  # a node that is away for a while is no reason to lose the work
            if late:
                raise Abandoned("the commit deadline has passed")

        return check

    def _commit(self, entry: Entry) -> bool:
        if self.stop.is_set():
            return False
        hidden = self.chain.commitment(self.pool_id, entry.round, self.node, entry.reveal())
        try:
            receipt = self.chain.commit(self.pool_id, hidden)
        except ContractError as error:
            if error.name not in ("WrongPhase", "AlreadyCommitted", "NotExpected"):
                raise
            log.warning("round %d: not committed: %s", entry.round, error)
            return False
        self.events.write("committed", round=entry.round, tx=receipt.tx)
        log.info("round %d: committed", entry.round)
        return True

    def _reveal(self, entry: Entry) -> bool:
        """Uploads the update, then opens the commitment. True when it is to be tried again."""
        info = self.chain.round(self.pool_id, entry.round)
        update = self.journal.update(entry)
        try:
            self.store.put(update, kind="artifact", round=entry.round)
        except StoreError as error:
            # A reveal without its file is excluded and unpaid; no reveal at all is a miss on top of that.
            if self.chain.now() < info.reveal_deadline - self.params.reveal_window // 3:
                raise
            log.error("round %d: revealing without an upload: %s", entry.round, error)
        try:
            self.chain.reveal(self.pool_id, entry.reveal(), entry.update, self.store.url)
        except ContractError as error:
            status = self.chain.record(self.pool_id, entry.round, self.node).status
            if status not in ON_TIME:
                log.error("round %d: not revealed: %s", entry.round, error)
                self._given_up.add(entry.round)
                return False
        self.revealed += 1
        self.events.write("revealed", round=entry.round, bytes=len(update))
        log.info("round %d: revealed %d bytes", entry.round, len(update))
        self.evidence.add(entry)
        return False

    def _own_update(self, announced: Announced) -> bytes | None:
        """What this node itself revealed in round `at`, without a download."""
        entry = self.journal.load(self.at) if announced.node == self.node else None
        return self.journal.update(entry) if entry and entry.update == announced.update_file else None

    def _peers(self, round_: int) -> list[UpdateFile]:
        self.log.refresh()
        return [self.checkpoints.update(a) for a in self.log.included(round_) if a.node != self.node]
