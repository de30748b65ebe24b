"""What a seat owes in cases: its vote on each jury that it sits on, and an appeal where it knows better.

A jury decides; who lost may take the case to a larger one, at last to all seats. Each jury votes anew: a
juror fetches and replays again what was missing before, and writes its vote to the journal before the hash
is sent.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pi_sdk.results import CaseInfo
from pi_sdk.types import TOKEN, CaseStatus, Outcome

from .audit import SlotAudit
from .duties import GIVE_UP, Duties, attempt
from .evidence import Slot

log = logging.getLogger(__name__)

LAST_LEVEL = 2
"""The jury of all seats; nothing is above it."""


@dataclass
class CaseDuty:
    """One case in this seat's pool. `number` is the case id. The agent feeds it the case's events."""

    number: int
    slot: Slot
    seed: bytes
    accuser: bool
    """Whether this validator opened it."""
    juror: bool
    """Whether it sits on the present jury."""
    level: int = 0
    committed: bool = False
    revealed: bool = False
    involved: bool = False
    """Whether it accused, or sat on any of the juries."""
    appealed: bool = False
    """Whether its operator has appealed, or cannot."""
    status: CaseStatus | None = None
    """How it ended."""
    over: bool = False
    audit: SlotAudit | None = None
    inherited: bool = False
    """Whether `audit` was made for an earlier verdict or vote."""
    deadline: int = 1 << 62

    def __post_init__(self) -> None:
        self.involved = self.accuser or self.juror

    def escalate(self, level: int, juror: bool) -> None:
        """A further jury was drawn."""
        self.level, self.juror, self.committed, self.revealed = level, juror, False, False
        self.involved = self.involved or juror
        self.audit, self.inherited = None, False

    def end(self, status: CaseStatus) -> None:
        """The case has ended; the next `serve` says so."""
        self.status = status
        self.over = not self.involved

    def serve(self, duties: Duties, now: int) -> None:
        if self.over:
            return
        if self.status is not None:
            self.over = True
            name, slot = self.status.name.lower(), self.slot
            duties.bench.events.write(
                "resolved", case=self.number, round=slot.round, node=slot.node, status=name
            )
            log.info("case %d about %s: %s", self.number, slot.node, name)
            return
        info = duties.chain.case(self.number)
        if info.level != self.level:
            return  # a jury that we have not read of yet
        if info.status == CaseStatus.DECIDED:
            self._after_decision(duties, info, now)
        elif info.status == CaseStatus.OPEN:
            self._before_jury(duties, info, now)

    def _before_jury(self, duties: Duties, info: CaseInfo, now: int) -> None:
        commits_over = info.committed == info.jurors or now > info.commit_deadline
        self.deadline = info.reveal_deadline if commits_over else info.commit_deadline
        if self.juror and not commits_over and not self.committed:
            self._judge(duties, info, now)
            return
        waiting = self.juror and self.committed and not self.revealed
        if waiting and commits_over and now < info.reveal_deadline:
            self._reveal(duties)
        elif commits_over and (info.guilty + info.innocent == info.committed or now >= info.reveal_deadline):
            attempt(lambda: duties.chain.resolve_case(self.number), "WrongPhase")

    def _judge(self, duties: Duties, info: CaseInfo, now: int) -> None:
        key = (duties.pool_id, self.number, self.level, self.seed)
        vote = duties.journal.vote(*key)
        if vote is None:
            audit = self._look(duties)
            opened_at = info.commit_deadline - duties.params.vote_window
            give_up = now >= opened_at + GIVE_UP * duties.params.vote_window
            audit.advance(give_up=give_up, deadline=info.commit_deadline)
            if audit.report is None or (self.inherited and not audit.decided):
                return
            vote = duties.journal.write_vote(*key, audit.report.outcome, audit.report.digest)
        hash_ = duties.chain.vote_commitment(self.number, duties.node, vote.outcome, vote.digest, vote.salt)
        if attempt(lambda: duties.chain.commit_vote(self.number, hash_), "AlreadyDone", "WrongPhase"):
            self.committed = True
            duties.bench.events.write(
                "voted",
                case=self.number,
                level=self.level,
                round=info.round,
                node=info.node,
                outcome=vote.outcome.name.lower(),
            )

    def _look(self, duties: Duties) -> SlotAudit:
        """The audit that this vote rests on. What was missing earlier may be there by now, so an own audit
        that found nothing is made once more for each jury.
        """
        if self.audit is None:
            self.inherited = (self.seed, self.slot) in duties.audits
            self.audit = duties.audit(self.slot, self.seed)
        if self.inherited and self.audit.done and not self.audit.decided:
            self.inherited = False
            self.audit = duties.audit(self.slot, self.seed, again=True)
        return self.audit

    def _reveal(self, duties: Duties) -> None:
        vote = duties.journal.vote(duties.pool_id, self.number, self.level, self.seed)
        if vote is None:
            log.error(
                "case %d: the journal has lost this validator's vote; it cannot be revealed", self.number
            )
            self.revealed = True
            return
        self.revealed = attempt(
            lambda: duties.chain.reveal_vote(self.number, vote.outcome, vote.digest, vote.salt), "WrongPhase"
        )

    def _after_decision(self, duties: Duties, info: CaseInfo, now: int) -> None:
        self.deadline = info.appeal_deadline
        if now > info.appeal_deadline:
            attempt(lambda: duties.chain.resolve_case(self.number), "WrongPhase")
        elif self.accuser and not info.guilty_outcome and not self.appealed and self.level < LAST_LEVEL:
            self.appealed = True  # once per case, whatever comes of it
            self._appeal(duties)

    def _appeal(self, duties: Duties) -> None:
        """Against an acquittal, where this validator's own replay found a mismatch: that anybody can
        repeat.
        """
        entry = duties.journal.verdicts(duties.pool_id, self.slot.round, self.seed)
        own: Sequence = entry.verdicts if entry else ()
        if not any((node, outcome) == (self.slot.node, Outcome.MISMATCH) for node, outcome, _ in own):
            return
        bond, operator = duties.params.appeal_bond, duties.operator
        if operator is None or operator.stake_account().free < bond:
            log.warning(
                "case %d: no appeal against the acquittal: it needs the operator's key here and %g tokens of"
                " free stake",
                self.number,
                bond / TOKEN,
            )
            return
        if attempt(lambda: operator.appeal(self.number), "WrongPhase", "NoAppeal", "AlreadyDone"):
            duties.bench.events.write("appealed", case=self.number, level=self.level)
            log.info("case %d: appealed against the acquittal", self.number)
