"""Reports what other validators failed to do: absent seats and jurors, and verdicts and votes that were
overturned.

Everything here can be proved by anybody, so it is done once, best effort, and somebody else may always be
first.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pi_sdk.client import Client
from pi_sdk.errors import ContractError, TransactionFailed
from pi_sdk.results import Event, SeatInfo, Verdict
from pi_sdk.types import RING, CaseStatus, Outcome, PoolParams

log = logging.getLogger(__name__)

Report = tuple[tuple, Callable[[], object]]
"""What is reported, and the call that does it."""
LOOK_SECONDS = 2
"""Chain time between two looks."""
_SALT = slice(4 + 3 * 32, 4 + 4 * 32)
"""Where the salt stands in the calldata of `revealVerdicts`: it is in no event."""


@dataclass
class _Case:
    round: int
    node: str
    level: int
    juries: dict[int, list[str]]
    votes: dict[tuple[int, str], Outcome] = field(default_factory=dict)
    """(level, juror) -> opened vote."""
    status: CaseStatus | None = None


@dataclass
class Housekeeping:
    """The watch of one validator over its pool. `delay`: seconds of chain time for which others go first."""

    chain: Client
    node: str
    pool_id: int
    params: PoolParams
    delay: int

    def __post_init__(self) -> None:
        self._tried: set[tuple] = set()
        self._seen: dict[tuple, int] = {}
        self._next_look = 0
        self.forget()

    def forget(self) -> None:
        """The chain is read anew; what was reported stays known."""
        self._sealed: set[int] = set()
        self._revealed: dict[int, dict[str, Event]] = {}
        self._cases: dict[int, _Case] = {}
        self._next_round = 0

    def note(self, event: Event) -> None:
        """One event of the pool, in order."""
        args = event.args
        match event.name:
            case "RoundOpened":
                self._next_round = args["round"] + 1
            case "RevealsSealed" if args["revealed"]:
                self._sealed.add(args["round"])
            case "VerdictsRevealed":
                self._revealed.setdefault(args["round"], {})[args["validator"]] = event
            case "CaseOpened":
                self._cases[args["case_id"]] = _Case(args["round"], args["node"], 0, {0: args["jury"]})
            case "CaseEscalated":
                case = self._cases[args["case_id"]]
                case.level = args["level"]
                case.juries[case.level] = args["jury"]
            case "VoteRevealed":
                case = self._cases[args["case_id"]]
                case.votes[case.level, args["juror"]] = args["outcome"]
            case "CaseResolved":
                self._cases[args["case_id"]].status = args["status"]

    def serve(self, now: int) -> None:
        """Reports what is due. A seat stays locked for a while after the last verdict and case: time for
        this.
        """
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for key, report in list(self._found()):
            if now >= self._seen.setdefault(key, now) + self.delay:
                self._tried.add(key)
                self._send(key, report)

    def _send(self, key: tuple, report: Callable[[], object]) -> None:
        try:
            report()
            log.info("reported: %s", " ".join(map(str, key)))
        except (ContractError, TransactionFailed) as error:
            log.debug("%s: %s", key, error)  # somebody else was first, or it is not to be punished

    def _found(self) -> Iterator[Report]:
        """What can be reported and was not tried yet. Reports name seats by their places."""
        oldest = self._next_round - RING
        rounds = [n for n in sorted(self._sealed) if n >= oldest and ("round", n) not in self._tried]
        final = [n for n in rounds if self.chain.is_final(self.pool_id, n)]
        ended = {
            n: c for n, c in self._cases.items() if c.status is not None and ("case", n) not in self._tried
        }
        if not final and not ended:
            return
        seats = [s for s in self.chain.seats(self.pool_id) if s.node != self.node]
        found: dict[tuple, list[Report]] = {("round", n): [*self._absent_seats(n, seats)] for n in final}
        for number, case in ended.items():
            found["case", number] = [*self._jurors(number, case, seats), *self._verdicts(case, seats)]
        for whole, reports in found.items():
            left = [report for report in reports if report[0] not in self._tried]
            if not left:
                self._tried.add(whole)
            yield from left

    def _absent_seats(self, round_: int, seats: list[SeatInfo]) -> Iterator[Report]:
        present = self._revealed.get(round_, {})
        for seat in seats if self.params.slash_absence else ():
            live = seat.active_from <= round_ and (not seat.left_at or round_ < seat.left_at)
            if live and seat.node not in present:
                key = ("absent seat", seat.node, round_)
                yield key, lambda i=seat.index: self.chain.report_absence(self.pool_id, round_, i)

    def _jurors(self, number: int, case: _Case, seats: list[SeatInfo]) -> Iterator[Report]:
        wrong = {
            CaseStatus.CONVICTED: {Outcome.ACCEPT},
            CaseStatus.ACQUITTED: {Outcome.MISMATCH, Outcome.WITHHELD},
        }.get(case.status or CaseStatus.NONE, set())
        for level, jury in case.juries.items():
            for seat in (s for s in seats if s.node in jury):
                vote, place = case.votes.get((level, seat.node)), (number, level, seat.index)
                if vote is None and self.params.slash_absence:
                    yield ("absent juror", *place), lambda p=place: self.chain.report_absent_juror(*p)
                elif vote in wrong and self.params.slash_overturned:
                    yield ("overturned vote", *place), lambda p=place: self.chain.report_overturned_vote(*p)

    def _verdicts(self, case: _Case, seats: list[SeatInfo]) -> Iterator[Report]:
        """Those who accepted the slot that was convicted."""
        if case.status != CaseStatus.CONVICTED or not self.params.slash_overturned:
            return
        revealed = self._revealed.get(case.round, {})
        for seat in (s for s in seats if s.node in revealed):
            event = revealed[seat.node]
            verdicts = [Verdict(**v) for v in event.args["verdicts"]]
            for which, verdict in enumerate(verdicts):
                if (verdict.node, verdict.outcome) == (case.node, Outcome.ACCEPT):
                    key = ("overturned verdict", seat.node, case.round, case.node)
                    yield key, lambda e=event, v=verdicts, w=which, i=seat.index: self._overturned(e, i, v, w)

    def _overturned(self, event: Event, index: int, verdicts: list[Verdict], which: int) -> None:
        data = bytes.fromhex(self.chain.rpc.call("eth_getTransactionByHash", event.tx)["input"][2:])
        self.chain.report_overturned_verdict(
            self.pool_id, event.args["round"], index, verdicts, data[_SALT], which
        )
