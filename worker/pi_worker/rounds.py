"""One node's part in a round: train, commit, reveal. What the round starts from is `following.py`'s.

What to do next follows from the chain and the journal alone, so a step that failed, or a process that was
killed anywhere, goes on where it was: a commitment is opened from the journal, a round without one is trained
again with the same result.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pi_sdk.client import Client
from pi_sdk.codec import ZERO
from pi_sdk.errors import ChainError, ContractError, StoreError
from pi_sdk.eventlog import EventLog
from pi_sdk.results import MemberInfo, PoolInfo, RecordInfo
from pi_sdk.store import HttpStore
from pi_sdk.types import DeterminismClass, Phase, PoolParams, RecordStatus, Reveal, RunSpec
from pi_train import determinism
from pi_train.data import Corpus
from pi_train.outer import Checkpoint
from pi_train.throughput import utilisation

from .evidence import EvidenceServer
from .following import Following
from .journal import Entry, Journal
from .trainer import Abandoned, SlotJob, Trainer, TrainingAhead
from .width import AutoWidth, Pace

if TYPE_CHECKING:
    from pi_train.slot import SlotResult

log = logging.getLogger(__name__)

COMMITMENT_PREFIX = 27
"""Bytes of a commitment that a record keeps."""


def is_expected(member: MemberInfo, round_: int) -> bool:
    """Whether a round expects, or expected, this node: since its latest membership began, and before it
    left.
    """
    return member.active_from <= round_ and (member.next_width > 0 or round_ < member.change_at)


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
    wake: threading.Event
    """Set when a slot that was trained ahead is ready."""
    following: Following
    auto: AutoWidth | None = None
    """Told how long the rounds take."""
    has_bucket: bool = False
    """Whether the pool's store keeps an S3 bucket that updates go to as well."""

    trained_seconds: float = 0.0
    revealed: int = 0
    _given_up: set[int] = field(default_factory=set)
    _began: tuple[int, float, float] = (-1, 0.0, 0.0)
    """The round that this process trained last, the chain time at which it began, and for how many seconds
    it had been at it, or ready, when the round asked for it."""
    _trained_in: float = 0.0
    _ahead: TrainingAhead | None = None
    """The next round's slot, where it need not wait for its checkpoint (`outer.delay`)."""
    _committed_at: int = 0

    # --- the running round ------------------------------------------------------------------------------

    def work(self, pool: PoolInfo, member: MemberInfo) -> bool:
        """Does what the running round asks of this node now. True while a commitment of it can still be
        opened.
        """
        round_ = pool.next_round - 1
        if self._ahead is not None and self._ahead.job.round < round_ + (pool.phase != Phase.COMMIT):
            self._drop_ahead()
        if round_ < 0 or pool.phase not in (Phase.COMMIT, Phase.REVEAL) or not is_expected(member, round_):
            return False
        if member.last_revealed == round_ + 1:
            return False
        record = self.chain.record(self.pool_id, round_, self.node)
        if record.status == RecordStatus.NONE:
            if pool.phase != Phase.COMMIT or self.stop.is_set() or round_ in self._given_up:
                return False
            entry = self._confirmed(round_, member) if pool.last else self._trained(round_, member)
            return entry is not None and self._commit(entry)
        entry = self.committed_entry(round_, record)
        if entry is None:
            if round_ not in self._given_up:
                log.error(
                    "round %d: committed, but the journal of it is not in %s", round_, self.journal.root
                )
            self._given_up.add(round_)
            return False
        if not entry.confirms_only:
            self._train_ahead(round_ + 1, entry.width, bytes.fromhex(entry.state))
        if pool.phase == Phase.COMMIT:
            return True
        return round_ not in self._given_up and self._reveal(entry)

    def committed_entry(self, round_: int, record: RecordInfo) -> Entry | None:
        """The journal's entry that the commitment of the running round hides, if it is here."""
        entry = self.journal.load(round_)
        if entry is None:
            return None
        own = self.chain.commitment(self.pool_id, round_, self.node, entry.reveal())
        return entry if own[:COMMITMENT_PREFIX] == record.commitment[:COMMITMENT_PREFIX] else None

    def _trained(self, round_: int, member: MemberInfo) -> Entry | None:
        """The round's entry: from the journal when a whole one is there, else trained now. None: broken
        off, or still being trained.
        """
        checkpoint, root = self.following.start(round_)
        entry = self.journal.load(round_)
        if entry is not None and (entry.start_root, entry.width) == (root.hex(), member.width):
            if entry.state_in in (ZERO.hex(), member.state_out.hex()):
                return entry
        delayed = self.spec.outer.delay > 0 and round_ > 0
        data_root = self.following.log.start_of(round_ - 1) if delayed else root
        gone_back = round_ in self.following.log.rolled_back  # then the state comes from what was given up
        state_root = ZERO if gone_back else member.state_out
        if self._ahead is not None and not self._ahead.fits(round_, member.width, state_root, data_root):
            self._drop_ahead()
        if self._ahead is not None:
            if not self._ahead.done:
                return None
            ahead, self._ahead = self._ahead, None
            self._began = (round_, self.chain.now() - ahead.age, ahead.age)
            return self._kept(round_, root, member.width, ahead.result)
        state = self.journal.state(state_root)
        if state is None and state_root != ZERO:
            log.warning(
                "the private state of the last reveal is not in %s: starting from zeros", self.journal.root
            )
        self._began = (round_, self.chain.now(), 0.0)
        job = self._job(round_, checkpoint, member.width, state, data_root)
        job = replace(job, progress=self._watchdog(round_))
        self.events.write("training", round=round_)
        return self._kept(round_, root, member.width, lambda: self.trainer(job))

    def _job(
        self, round_: int, checkpoint: Checkpoint, width: int, state: bytes | None, data_root: bytes
    ) -> SlotJob:
        determinism.pin(self.cls)
        return SlotJob(
            spec=self.spec,
            corpus=self.corpus,
            checkpoint=checkpoint,
            data_root=data_root,
            node=self.node,
            round=round_,
            width=width,
            state=state,
            class_id=self.cls.id,
            borders=self.journal.begin(round_),
            progress=lambda *_: None,
            peers=lambda: self.following.peers(round_ - 1),
        )

    def _train_ahead(self, round_: int, width: int, state_root: bytes, state: bytes | None = None) -> None:
        """Starts on the round after the one that was just trained, in a thread, from the private state with
        this hash. Of C_{r+1} it needs nothing that C_r does not have: what comes back and what leaves next
        are other fragments than the one that the round moves."""
        if not self.spec.outer.delay or round_ >= self.spec.rounds:
            return
        if self._ahead is not None or self.stop.is_set() or self.journal.load(round_) is not None:
            return
        checkpoint, root = self.following.start(round_ - 1)
        state = self.journal.state(state_root) if state is None else state
        job = self._job(round_, checkpoint, width, state, root)
        self.events.write("training", round=round_)
        self._ahead = TrainingAhead(self.trainer, replace(job, peers=list), state_root, self.stop, self.wake)

    def _drop_ahead(self) -> None:
        assert self._ahead is not None
        log.info("round %d: what was trained of it ahead of time is of no use", self._ahead.job.round)
        self._ahead.drop()
        self._ahead = None

    def _kept(
        self, round_: int, root: bytes, width: int, trained: Callable[[], "SlotResult"]
    ) -> Entry | None:
        """Makes a trained slot durable; its entry, or None where training was broken off."""
        try:
            result = trained()
        except Abandoned as why:
            log.warning("round %d: training abandoned: %s", round_, why)
            self._given_up.add(round_)
            return None
        self._train_ahead(round_ + 1, width, result.state_out, result.state)
        self._trained_in = result.seconds
        self.trained_seconds += result.seconds
        opened = Reveal(
            salt=os.urandom(32),
            start_root=root,
            update_root=result.update_root,
            trace_root=result.trace_root,
            state_in=result.state_in,
            state_out=result.state_out,
            norm=result.norm,
            width=width,
        )
        entry = self.journal.write(
            opened, round_, update=result.update, trace=result.trace, state=result.state
        )
        first, last = result.losses[0], result.losses[-1]
        speed = result.tokens / result.seconds
        mfu = utilisation(self.spec, self.cls, speed)
        self.events.write(
            "trained",
            round=round_,
            seconds=result.seconds,
            tokens=result.tokens,
            loss_first=first,
            loss_last=last,
            tokens_per_second=speed,
            mfu=mfu,
        )
        log.info(
            "round %d: trained in %.1f s, loss %.3f to %.3f; %.0f tokens/s, MFU %.1f %%",
            round_,
            result.seconds,
            first,
            last,
            speed,
            100 * mfu,
        )
        return entry

    def _confirmed(self, round_: int, member: MemberInfo) -> Entry:
        """The confirm-only round's entry: this node's vote on the last close, and no work."""
        _, root = self.following.start(round_)
        entry = self.journal.load(round_)
        if entry is not None and entry.confirms_only:
            if (entry.start_root, entry.width) == (root.hex(), member.width):
                return entry
        opened = Reveal(
            salt=os.urandom(32),
            start_root=root,
            update_root=ZERO,
            trace_root=ZERO,
            state_in=ZERO,
            state_out=ZERO,
            norm=0,
            width=member.width,
        )
        return self.journal.write_confirmation(opened, round_)

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
            if error.name not in ("WrongPhase", "AlreadyCommitted", "NotExpected", "NodeConvicted"):
                raise
            log.warning("round %d: not committed: %s", entry.round, error)
            return False
        self._committed_at = self.chain.now()
        self.events.write("committed", round=entry.round, tx=receipt.tx)
        log.info("round %d: committed", entry.round)
        return True

    def _reveal(self, entry: Entry) -> bool:
        """Uploads the update, then opens the commitment. True when it is to be tried again."""
        locations = "" if entry.confirms_only else self._upload(entry)
        try:
            self.chain.reveal(self.pool_id, entry.reveal(), entry.update, locations)
        except ContractError as error:
            member = self.chain.member(self.pool_id, self.node)
            if member is None or member.last_revealed != entry.round + 1:
                record = self.chain.record(self.pool_id, entry.round, self.node)
                if record.status == RecordStatus.NONE:  # the chain went back: `work` commits it again
                    log.warning("round %d: the chain has forgotten the commitment", entry.round)
                    return False
                early = error.name == "WrongPhase" and error.args_ == (Phase.COMMIT,)
                if early or error.name == "CommitmentMismatch":  # `work` has seen that neither is so
                    log.warning(
                        "round %d: too early for the reveal, the chain went back or lags", entry.round
                    )
                    return True
                log.error("round %d: not revealed: %s", entry.round, error)
                self._given_up.add(entry.round)
                return False
        if entry.confirms_only:
            self.events.write("confirmed", round=entry.round, root=entry.start_root)
            log.info("round %d: confirmed %s as the result of the run", entry.round, entry.start_root[:16])
            return False
        self.revealed += 1
        self._note_pace(entry.round)
        size = len(self.journal.update(entry))
        self.events.write("revealed", round=entry.round, bytes=size)
        log.info("round %d: revealed %d bytes", entry.round, size)
        self.evidence.add(entry)
        return False

    def _note_pace(self, round_: int) -> None:
        """What a round that this process trained took, for the width."""
        number, began, age = self._began
        if self.auto is not None and number == round_:
            waited = max(0, age - self._trained_in)  # it lay ready
            ended = self.chain.round(self.pool_id, round_).commit_deadline
            own, slack = self._committed_at - began - waited, ended - self._committed_at + waited
            self.auto.note(Pace(self._trained_in, own, max(0, slack)))

    def _upload(self, entry: Entry) -> str:
        """Puts the update where the pool wants it; the locations to announce."""
        info = self.chain.round(self.pool_id, entry.round)
        try:
            self.store.put(self.journal.update(entry), kind="artifact", round=entry.round)
        except StoreError as error:
            # A reveal without its file is excluded and unpaid; no reveal at all is a miss on top of that.
            if self.chain.now() < info.reveal_deadline - self.params.reveal_window // 3:
                raise
            log.error("round %d: revealing without an upload: %s", entry.round, error)
        locations = [self.store.url]
        if self.has_bucket:
            try:
                seconds = self.params.reveal_window / 8  # a second place is not worth the reveal
                update = self.journal.update(entry)
                locations.append(self.store.put_in_bucket(update, entry.round, seconds))
            except StoreError as error:
                log.warning("round %d: the update is not in the pool's bucket: %s", entry.round, error)
        return ",".join(locations)
