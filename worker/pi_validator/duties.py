"""What a seat owes: verdicts about a round (`RoundDuty`) and a vote in a case (`CaseDuty`).

Both follow one order: judge, write result and salt to the journal, commit the hash, open it once nobody may
commit any more. `serve` does what can be done now and never waits; the agent calls it again. All times are
the chain's, in seconds.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from pi_sdk.client import Client
from pi_sdk.codec import ZERO
from pi_sdk.errors import ContractError
from pi_sdk.results import CaseInfo, Verdict, VerdictRoundInfo
from pi_sdk.types import CaseStatus, PoolParams

from .audit import Bench, SlotAudit
from .evidence import Slot
from .journal import Journal

log = logging.getLogger(__name__)

MAX_VERDICTS = 64
"""Verdicts that the court takes from one validator about one round."""
GIVE_UP = 0.6
"""Share of a window after which evidence that is not there counts as withheld."""
COMMIT_BY = 0.9
"""Share of a window after which a validator commits what it has."""


@dataclass
class Duties:
    """What all duties of one seat share."""

    chain: Client
    bench: Bench
    journal: Journal
    params: PoolParams
    pool_id: int
    seeds_after: float
    """Seconds of chain time after the seal from which this validator captures a seed that nobody captured."""
    audits: dict[tuple[bytes, Slot], SlotAudit] = field(default_factory=dict)
    """By audit seed and slot; kept when the chain is read anew."""

    @property
    def node(self) -> str:
        return self.bench.node

    def audit(self, slot: Slot, seed: bytes, *, again: bool = False) -> SlotAudit:
        """The audit of a slot, started at the first call; `again` starts another one."""
        if again or (seed, slot) not in self.audits:
            self.audits[seed, slot] = SlotAudit(self.bench, slot, seed)
        return self.audits[seed, slot]


def attempt(action: Callable[[], object], *expected: str) -> bool:
    """Whether a transaction went through. Contract errors in `expected` mean "not now" or "somebody else
    did".
    """
    try:
        action()
    except ContractError as error:
        if error.name not in expected:
            raise
        log.debug("%s", error)
        return False
    return True


@dataclass
class RoundDuty:
    """The verdicts of one round, from the seal of its reveals on. The agent feeds it the round's events."""

    number: int
    start_root: bytes
    slots: dict[str, Slot] = field(default_factory=dict)
    """On-time reveals by node."""
    sealed: bool = False
    seed: bytes = ZERO
    committed: bool = False
    revealed: bool = False
    over: bool = False
    """Nothing is left to do: revealed, or too late, or nothing to judge."""
    drawn: list[SlotAudit] | None = None
    deadline: int = 1 << 62

    def serve(self, duties: Duties, now: int) -> None:
        if self.over or not self.sealed:
            return
        if self.seed == ZERO:
            self._seek_seed(duties, now)
            return
        chain, pool_id = duties.chain, duties.pool_id
        if chain.is_final(pool_id, self.number):
            self.over = True
            return
        info = chain.verdict_round(pool_id, self.number)
        if not self.committed:
            self.deadline = info.commit_deadline
            self._judge(duties, info, now)
        elif info.committed == info.seats or now > info.commit_deadline:
            self.deadline = info.reveal_deadline
            self._reveal(duties)

    def _seek_seed(self, duties: Duties, now: int) -> None:
        info = duties.chain.round(duties.pool_id, self.number)
        self.seed = info.seed
        if info.opened_at == 0 or info.revealed == 0:
            self.over = True
        elif self.seed == ZERO and now >= info.sealed_at + duties.seeds_after:
            attempt(lambda: duties.chain.capture_seed(duties.pool_id, self.number), "SeedNotReady")

    def _judge(self, duties: Duties, info: VerdictRoundInfo, now: int) -> None:
        """Commits the journal's entry, or what the audits found once they are done or time is running out."""
        if now > info.commit_deadline:
            log.warning("round %d: too late to commit verdicts", self.number)
            self.over = True
            return
        entry = duties.journal.verdicts(duties.pool_id, self.number, self.seed)
        if entry is None:
            if self.drawn is None:
                self.drawn = [duties.audit(slot, self.seed) for slot in self._drawn_slots(duties)]
            window = duties.params.verdict_window
            sealed_at = info.commit_deadline - window
            for audit in self.drawn:
                audit.advance(give_up=now >= sealed_at + GIVE_UP * window, deadline=info.commit_deadline)
            if not all(audit.done for audit in self.drawn) and now < sealed_at + COMMIT_BY * window:
                return
            for audit in self.drawn:
                audit.cancel()
            found = [(a.slot.node, a.report) for a in self.drawn if a.report is not None]
            verdicts = [(node, report.outcome, report.digest) for node, report in found[:MAX_VERDICTS]]
            if left_out := len(self.drawn) - len(verdicts):
                log.warning(
                    "round %d: abstaining from %d of %d verdicts", self.number, left_out, len(self.drawn)
                )
            entry = duties.journal.write_verdicts(duties.pool_id, self.number, self.seed, verdicts)
        verdicts = [Verdict(node=n, outcome=o, digest=d) for n, o, d in entry.verdicts]
        hash_ = duties.chain.verdicts_commitment(
            duties.pool_id, self.number, duties.node, verdicts, entry.salt
        )
        if attempt(
            lambda: duties.chain.commit_verdicts(duties.pool_id, self.number, hash_),
            "AlreadyDone",
            "WrongPhase",
        ):
            self.committed = True
            duties.bench.events.write("verdicts_committed", round=self.number, verdicts=len(verdicts))

    def _drawn_slots(self, duties: Duties) -> list[Slot]:
        chain = duties.chain
        return [
            slot
            for node, slot in sorted(self.slots.items())
            if duties.node in chain.auditors_of(duties.pool_id, self.number, node)
        ]

    def _reveal(self, duties: Duties) -> None:
        entry = duties.journal.verdicts(duties.pool_id, self.number, self.seed)
        if entry is None:
            log.error("round %d: the journal has lost what was committed; it cannot be revealed", self.number)
            self.over = True
            return
        verdicts = [Verdict(node=n, outcome=o, digest=d) for n, o, d in entry.verdicts]
        if attempt(
            lambda: duties.chain.reveal_verdicts(duties.pool_id, self.number, verdicts, entry.salt),
            "WrongPhase",
            "AlreadyDone",
        ):
            self.revealed = self.over = True
            duties.bench.events.write(
                "verdicts_revealed",
                round=self.number,
                verdicts=[{"node": v.node, "outcome": v.outcome.name.lower()} for v in verdicts],
            )
            log.info("round %d: %d verdicts revealed", self.number, len(verdicts))


@dataclass
class CaseDuty:
    """One case that this validator opened or judges. `number` is the case id."""

    number: int
    slot: Slot
    seed: bytes
    juror: bool
    committed: bool = False
    revealed: bool = False
    over: bool = False
    audit: SlotAudit | None = None
    inherited: bool = False
    """Whether `audit` was made for this validator's own verdict."""
    deadline: int = 1 << 62

    def serve(self, duties: Duties, now: int) -> None:
        if self.over:
            return
        info = duties.chain.case(self.number)
        if info.status != CaseStatus.OPEN:
            self.over = True
            duties.bench.events.write(
                "resolved",
                case=self.number,
                round=info.round,
                node=info.node,
                status=info.status.name.lower(),
            )
            log.info("case %d about %s: %s", self.number, info.node, info.status.name.lower())
            return
        commits_over = info.committed == info.jurors or now > info.commit_deadline
        self.deadline = info.reveal_deadline if commits_over else info.commit_deadline
        if self.juror and not commits_over and not self.committed:
            self._judge(duties, info, now)
        elif (
            self.juror
            and commits_over
            and self.committed
            and not self.revealed
            and now < info.reveal_deadline
        ):
            self._reveal(duties)
        elif commits_over and (info.guilty + info.innocent == info.committed or now >= info.reveal_deadline):
            attempt(lambda: duties.chain.resolve_case(self.number), "WrongPhase")

    def _judge(self, duties: Duties, info: CaseInfo, now: int) -> None:
        vote = duties.journal.vote(duties.pool_id, self.number, self.seed)
        if vote is None:
            audit = self._look(duties)
            opened_at = info.commit_deadline - duties.params.vote_window
            give_up = now >= opened_at + GIVE_UP * duties.params.vote_window
            audit.advance(give_up=give_up, deadline=info.commit_deadline)
            if audit.report is None or (self.inherited and not audit.decided):
                return
            report = audit.report
            vote = duties.journal.write_vote(
                duties.pool_id, self.number, self.seed, report.outcome, report.digest
            )
        hash_ = duties.chain.vote_commitment(self.number, duties.node, vote.outcome, vote.digest, vote.salt)
        if attempt(lambda: duties.chain.commit_vote(self.number, hash_), "AlreadyDone", "WrongPhase"):
            self.committed = True
            duties.bench.events.write(
                "voted", case=self.number, round=info.round, node=info.node, outcome=vote.outcome.name.lower()
            )

    def _look(self, duties: Duties) -> SlotAudit:
        """The audit that this vote rests on. What was missing for the verdict may be there by now, so an own
        audit that found nothing is made once more.
        """
        if self.audit is None:
            self.inherited = (self.seed, self.slot) in duties.audits
            self.audit = duties.audit(self.slot, self.seed)
        if self.inherited and self.audit.done and not self.audit.decided:
            self.inherited = False
            self.audit = duties.audit(self.slot, self.seed, again=True)
        return self.audit

    def _reveal(self, duties: Duties) -> None:
        vote = duties.journal.vote(duties.pool_id, self.number, self.seed)
        if vote is None:
            log.error(
                "case %d: the journal has lost this validator's vote; it cannot be revealed", self.number
            )
            self.revealed = True
            return
        self.revealed = attempt(
            lambda: duties.chain.reveal_vote(self.number, vote.outcome, vote.digest, vote.salt), "WrongPhase"
        )
