"""What a seat owes about a round: its verdicts (`RoundDuty`). Votes in cases are in `cases.py`.

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
from pi_sdk.results import Verdict, VerdictRoundInfo
from pi_sdk.types import PoolParams

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
    operator: Client | None
    """The operator's own client, where its key is here: it alone may appeal."""
    bench: Bench
    journal: Journal
    params: PoolParams
    pool_id: int
    seeds_after: float
    """Seconds of chain time after the seal from which this validator captures a seed that nobody captured."""
    kind: type[SlotAudit] = SlotAudit
    """How slots are judged; another one for research: see `cheats.py`."""
    audits: dict[tuple[bytes, Slot], SlotAudit] = field(default_factory=dict)
    """By audit seed and slot; kept when the chain is read anew."""

    @property
    def node(self) -> str:
        return self.bench.node

    def audit(self, slot: Slot, seed: bytes, *, again: bool = False) -> SlotAudit:
        """The audit of a slot, started at the first call; `again` starts another one."""
        if again or (seed, slot) not in self.audits:
            self.audits[seed, slot] = self.kind(self.bench, slot, seed)
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
    """The posted one, or from the seal on the one that the votes put in its place."""
    slots: dict[str, Slot] = field(default_factory=dict)
    """On-time reveals by node."""
    excluded: set[str] = field(default_factory=set)
    """Nodes that the close left out of the mean."""
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
        chain, pool_id = duties.chain, duties.pool_id
        if chain.is_final(pool_id, self.number):  # nothing to judge, or too late
            self.over = True
            return
        self.seed = chain.verdict_round(pool_id, self.number).seed
        sealed_at = chain.round(pool_id, self.number).sealed_at
        if self.seed == ZERO and now >= sealed_at + duties.seeds_after:
            attempt(lambda: chain.capture_seed(pool_id, self.number), "SeedNotReady")

    def counting(self) -> list[Slot]:
        """The slots that started from the round's root. Only these are judged, and may count in the mean."""
        return [slot for _, slot in sorted(self.slots.items()) if slot.reveal.start_root == self.start_root]

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
            for slot in self.counting()
            if duties.node in chain.auditors_of(duties.pool_id, self.number, slot.node)
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
