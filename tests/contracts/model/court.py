"""Seats, verdicts and cases: `Court`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pi_sdk import codec
from pi_sdk.types import CaseStatus, Outcome

from .basics import NOBODY, RING, require
from .rounds import Params, Pool, Status

if TYPE_CHECKING:
    from .world import World

MAX_SEATS = 256
TOP = 2
"""The level of the largest jury."""
BLOCKS_KEPT = 8191

auditor_draw = cache(codec.auditor_draw)
audit_draw = cache(codec.audit_draw)
juror_draw = codec.juror_draw


class Verdict(NamedTuple):
    node: int
    outcome: int
    digest: int


@dataclass
class Verdicts:
    """What a validator committed about a round."""

    verdicts: tuple[Verdict, ...]
    salt: int
    opened: bool = False
    punished: bool = False


@dataclass
class Seat:
    operator: int
    node: int
    active_from: int
    left_at: int = 0
    verdicts: dict[int, Verdicts] = field(default_factory=dict)
    latest: int = -1
    """The round of the latest commitment."""
    kept: dict[int, int] = field(default_factory=dict)
    """Which round's commitment a ring place has, so that it can be proved after the next one."""

    def is_live(self, number: int) -> bool:
        return self.active_from <= number and (self.left_at == 0 or number < self.left_at)


@dataclass
class Audit:
    """A round before its validators. Kept in a ring; a later round takes its place."""

    seeded: bool = False
    seed: bytes = bytes(32)
    seed_block: int = 0
    commit_deadline: int = 0
    reveal_deadline: int = 0
    seats: int = 0
    live_seats: int = 0
    committed: int = 0
    revealed: int = 0
    paid: int = 0
    open_cases: int = 0
    last_ended: int = 0
    released: bool = False
    marked: set[int] = field(default_factory=set)
    """Places that revealed, or were punished for not having done so."""
    in_ring: bool = True
    stored: bool = True
    """In the ring, or moved aside because of an open case."""


@dataclass
class Jury:
    places: list[int]
    votes: dict[int, tuple] = field(default_factory=dict)
    guilty: set[int] = field(default_factory=set)
    innocent: set[int] = field(default_factory=set)
    punished: set[int] = field(default_factory=set)


@dataclass
class Case:
    id: int
    pool: int
    round: int
    node: int
    operator: int
    accuser: int
    accuser_place: int
    fault: int
    width: int
    status: CaseStatus = CaseStatus.OPEN
    level: int = 0
    larger: bool = False
    """Whether the next jury would have more seats than the present one."""
    found_guilty: bool = False
    commit_deadline: int = 0
    reveal_deadline: int = 0
    appeal_deadline: int = 0
    juries: list[Jury] = field(default_factory=list)
    appeals: dict[int, bool] = field(default_factory=dict)
    """By level: whether the appeal was against a conviction."""

    @property
    def jury(self) -> Jury:
        return self.juries[-1]

    @property
    def is_ended(self) -> bool:
        return self.status not in (CaseStatus.OPEN, CaseStatus.DECIDED)


class Bench:
    """A pool's side of the court."""

    def __init__(self) -> None:
        self.places: list[Seat | None] = []
        self.audits: dict[int, Audit] = {}
        self.case_about: dict[tuple[int, int], int] = {}
        self.displaced_ended = 0
        self.watched: set[tuple[int, int]] = set()
        self.watchers: set[tuple[int, int]] = set()
        """Nodes, and validators that had one watched, by round."""
        self.hidden: dict[tuple[int, int, int], int] = {}
        """Plants (round, node, salt), and the first round that each may be in."""
        self.planted: set[tuple[int, int]] = set()

    def seats(self) -> Iterator[tuple[int, Seat]]:
        return ((place, seat) for place, seat in enumerate(self.places) if seat is not None)

    def place_of(self, node: int) -> int | None:
        return next((place for place, seat in self.seats() if seat.node == node), None)


class Court:
    def __init__(self, world: "World"):
        self.world = world
        self.benches: dict[int, Bench] = {}
        self.cases: list[Case] = []

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.world.clock.now

    def bench(self, pool: int) -> Bench:
        require(pool in self.benches, "unknown pool")
        return self.benches[pool]

    def params(self, pool: int) -> Params:
        return self.world.pools[pool].params

    def seat_count(self, pool: int) -> int:
        return len(self.benches[pool].places)

    def live_seats(self, pool: int) -> int:
        return sum(1 for _, seat in self.benches[pool].seats() if seat.left_at == 0)

    def open_cases(self, pool: int) -> int:
        return sum(audit.open_cases for audit in self.benches[pool].audits.values())

    def commits_over(self, audit: Audit) -> bool:
        return audit.committed == audit.live_seats or self.now > audit.commit_deadline

    def is_audit_over(self, audit: Audit) -> bool:
        if audit.committed == 0:
            return self.now > audit.commit_deadline
        return self.now >= audit.reveal_deadline

    def is_final(self, pool: int, number: int) -> bool:
        p = self.world.pool(pool)
        audit = self.benches[pool].audits.get(number)
        if audit is not None and audit.seeded:
            return self.is_audit_over(audit)
        if number + RING < p.next:
            return True
        if number >= p.next or p.rounds[number].sealed_at is None:
            return False
        r = p.rounds[number]
        if r.revealed == 0 or r.live_seats == 0:
            return True
        assert r.sealed_at is not None
        return self.now > r.sealed_at + p.params.verdict_window

    def is_audited(self, p: Pool, number: int, node: int) -> bool:
        audit = self.benches[p.id].audits.get(number)
        if audit is None or not audit.seeded or p.status(number, node) < Status.REVEALED:
            return False
        if (number, node) in self.benches[p.id].watched:
            return True
        age, rate = max(0, number - p.members[node].active_from), p.params.audit_rate
        if p.params.probation:
            rate = max(rate, 10_000 // 2 ** (age // p.params.probation))
        return audit_draw(audit.seed, self.world.address(node)) < rate

    def drawn(self, pool: int, number: int, node: int) -> list[int]:
        """Places of the validators of a slot: none of the worker's own operator."""
        p = self.world.pools[pool]
        if not self.is_audited(p, number, node):
            return []
        audit = self.benches[pool].audits[number]
        eligible = self._eligible(pool, number, audit.seats, {p.members[node].operator})
        address = self.world.address(node)
        starts = (auditor_draw(audit.seed, address, k, audit.seats) for k in range(p.params.auditors))
        return self._draw(eligible, audit.seats, starts)

    def _eligible(self, pool: int, number: int, n: int, without: set[int]) -> set[int]:
        return {
            place
            for place, seat in self.benches[pool].seats()
            if place < n and seat.is_live(number) and seat.operator not in without
        }

    @staticmethod
    def _draw(eligible: set[int], n: int, starts: Iterator[int]) -> list[int]:
        """Without replacement: from each start forward to the next that is left. `eligible` loses them."""
        taken = []
        for start in starts:
            if not eligible:
                break
            place = next(p % n for p in range(start, start + n) if p % n in eligible)
            eligible.remove(place)
            taken.append(place)
        return taken

    # --- seats ----------------------------------------------------------------------------------------------

    def take_seat(self, pool: int, operator: int, node: int) -> None:
        p, bench = self.world.pool(pool), self.benches[pool]
        require(not p.ended, "ended")
        require(bench.place_of(node) is None, "seated")
        require(None in bench.places or len(bench.places) < MAX_SEATS, "seats")
        self.world.stakes.lock(operator, self._lock_name(pool, node), p.params.seat_stake)
        seat = Seat(operator, node, p.next)
        if None in bench.places:
            bench.places[bench.places.index(None)] = seat
        else:
            bench.places.append(seat)

    @staticmethod
    def _lock_name(pool: int, node: int) -> tuple:
        return ("seat", pool, node)

    def _seat(self, pool: int, place: int) -> Seat:
        bench = self.bench(pool)
        require(place < len(bench.places) and bench.places[place] is not None, "unknown seat")
        seat = bench.places[place]
        assert seat is not None
        return seat

    def leave_seat(self, who: int, pool: int, place: int) -> None:
        seat = self._seat(pool, place)
        require(who in (seat.operator, seat.node), "operator")
        require(seat.left_at == 0, "left")
        self._leave(pool, seat)

    def _leave(self, pool: int, seat: Seat) -> None:
        seat.left_at = self.world.pools[pool].next
        if seat.left_at == 0:
            seat.active_from = seat.left_at = 1

    def watch(self, who: int, pool: int, node: int) -> None:
        p, bench = self.world.pool(pool), self.bench(pool)
        place = bench.place_of(who)
        require(place is not None and self._seat(pool, place).left_at == 0, "seat")
        require((p.next, who) not in bench.watchers and (p.next, node) not in bench.watched, "once")
        bench.watchers.add((p.next, who))
        bench.watched.add((p.next, node))

    def release_seat(self, pool: int, place: int) -> None:
        seat, p, bench = self._seat(pool, place), self.world.pools[pool], self.benches[pool]
        require(seat.left_at, "in")
        for number in range(max(seat.active_from, p.next - RING), seat.left_at):
            require(self.is_final(pool, number), "still needed")
        since = max(0, self.now - p.params.appeal_window)
        require(bench.displaced_ended <= since, "still needed")
        for number, audit in bench.audits.items():
            if not audit.in_ring:
                require(audit.open_cases == 0, "still needed")
            elif seat.active_from <= number < seat.left_at:
                quiet = max(audit.last_ended, audit.reveal_deadline) <= since
                require(audit.open_cases == 0 and quiet, "still needed")
        bench.places[place] = None
        self.world.stakes.keep(seat.operator, self._lock_name(pool, seat.node), 0)

    def _slash_seat(self, pool: int, place: int, amount: int) -> None:
        """A seat that could not pay for the worst that it may do next leaves."""
        seat, p = self._seat(pool, place), self.params(pool)
        name = self._lock_name(pool, seat.node)
        self.world.stakes.slash(seat.operator, name, amount)
        worst = max(p.slash_false, p.slash_overturned, p.slash_absence)
        if seat.left_at == 0 and self.world.stakes.locks[seat.operator, name] < worst:
            self._leave(pool, seat)

    # --- verdicts -------------------------------------------------------------------------------------------

    def _claim(self, pool: int, number: int) -> Audit:
        """The round's entry; a new one takes the ring place of the round `RING` before it."""
        bench = self.benches[pool]
        if number not in bench.audits:
            for old, audit in bench.audits.items():
                if audit.in_ring and old % RING == number % RING:
                    audit.in_ring, audit.stored = False, audit.open_cases > 0
                    bench.displaced_ended = max(bench.displaced_ended, audit.last_ended)
            bench.audits[number] = Audit()
        return bench.audits[number]

    def capture_seed(self, pool: int, number: int) -> None:
        bench, p = self.bench(pool), self.world.pool(pool)
        old = bench.audits.get(number)
        if old is not None and old.seeded and old.stored:
            return
        require(p.in_ring(number), "round")
        r, block = p.rounds[number], self.world.clock.block
        require(r.sealed_at is not None and r.revealed and r.live_seats, "nothing to judge")
        assert r.sealed_at is not None
        require(self.now <= r.sealed_at + p.params.verdict_window, "too late")
        seed_block = r.seed_block if old is None or old.seed_block == 0 else old.seed_block
        require(block > seed_block, "not yet")
        audit = self._claim(pool, number)
        audit.seats, audit.live_seats = r.seats, r.live_seats
        audit.commit_deadline = r.sealed_at + p.params.verdict_window
        audit.reveal_deadline = audit.commit_deadline + p.params.verdict_reveal_window
        if block - seed_block > BLOCKS_KEPT:
            audit.seed_block = block + 1
        else:
            audit.seed_block, audit.seed, audit.seeded = seed_block, self.world.block_hash(seed_block), True

    def commit_verdicts(
        self, node: int, pool: int, number: int, verdicts: tuple[Verdict, ...], salt: int
    ) -> None:
        bench = self.bench(pool)
        place = bench.place_of(node)
        require(place is not None, "seat")
        assert place is not None
        seat, audit = self._seat(pool, place), bench.audits.get(number)
        require(seat.is_live(number), "seat")
        require(number not in seat.verdicts, "committed")
        require(audit is not None and audit.seeded and audit.in_ring, "seed")
        assert audit is not None
        require(not self.commits_over(audit), "phase")
        seat.verdicts[number] = Verdicts(verdicts, salt)
        if number < seat.latest:
            seat.kept[number % RING] = number
        else:
            if seat.latest >= 0 and not seat.verdicts[seat.latest].opened:
                seat.kept[seat.latest % RING] = seat.latest
            seat.latest = number
        audit.committed += 1
        if self.commits_over(audit):
            audit.commit_deadline = self.now
            audit.reveal_deadline = self.now + self.params(pool).verdict_reveal_window

    def reveal_verdicts(
        self, node: int, pool: int, number: int, verdicts: tuple[Verdict, ...], salt: int
    ) -> None:
        bench = self.bench(pool)
        place = bench.place_of(node)
        require(place is not None, "seat")
        assert place is not None
        seat, audit = self._seat(pool, place), bench.audits.get(number)
        kept = seat.verdicts.get(number)
        require(kept is not None and (kept.verdicts, kept.salt) == (verdicts, salt), "mismatch")
        assert kept is not None and audit is not None
        require(not kept.opened, "revealed")
        require(audit.in_ring and self.commits_over(audit) and not self.is_audit_over(audit), "phase")
        require(len({v.node for v in verdicts}) == len(verdicts), "twice")
        for v in verdicts:
            require(v.outcome, "outcome")
            require(place in self.drawn(pool, number, v.node), "not drawn")
        kept.opened = True
        if verdicts or number != seat.latest:
            seat.kept[number % RING] = number
        audit.marked.add(place)
        self._pay_fees(pool, number, seat, len(verdicts))
        for v in verdicts:
            if v.outcome != Outcome.ACCEPT and (number, v.node) not in bench.case_about:
                self._open_case(pool, number, place, seat, v)
        # Only now is the round final: a case without jurors ends at once, the others' jurors are to be paid.
        audit.revealed += 1
        if audit.revealed == audit.committed:
            audit.reveal_deadline = self.now
            self.release_reserve(pool, number)

    def _pay_fees(self, pool: int, number: int, seat: Seat, wanted: int) -> None:
        """While the round's budget lasts."""
        p, audit = self.params(pool), self.benches[pool].audits[number]
        assert not audit.released
        fees = min(wanted, p.verdict_budget - audit.paid)
        audit.paid += fees
        self.world.rewards.credit(pool, seat.operator, fees * p.verdict_fee)

    def unused_reserve(self, pool: int, number: int) -> int:
        """What a round has set aside and nobody can earn any more; its cases keep all of it."""
        if number < 0:
            return 0
        p, r = self.params(pool), self.world.pools[pool].rounds[number]
        audit = self.benches[pool].audits.get(number) or Audit()
        confirm_only = r.closed_at is not None and r.poster == NOBODY
        if confirm_only or audit.released or audit.open_cases:
            return 0
        return (p.verdict_budget - audit.paid) * p.verdict_fee

    def release_reserve(self, pool: int, number: int) -> None:
        p = self.world.pools[pool]
        if number < 0 or (number not in self.benches[pool].audits and not p.in_ring(number)):
            return
        r = p.rounds[number]
        if r.closed_at is not None and r.poster == NOBODY:
            return
        unused = self.unused_reserve(pool, number)
        audit = self._claim(pool, number)
        if audit.open_cases == 0:
            audit.released = True
        self.world.rewards.release(pool, unused)

    def release_verdict_reserve(self, pool: int, number: int) -> None:
        require(self.is_final(pool, number), "not final")
        self.release_reserve(pool, number)

    # --- cases ----------------------------------------------------------------------------------------------

    def case(self, case_id: int) -> Case:
        require(0 < case_id <= len(self.cases), "unknown case")
        return self.cases[case_id - 1]

    def _accuser(self, case: Case) -> int:
        return self._seat(case.pool, case.accuser_place).operator

    def _open_case(self, pool: int, number: int, place: int, seat: Seat, verdict: Verdict) -> None:
        bench = self.benches[pool]
        operator, width = self.world.pools[pool].contest(number, verdict.node)
        case = Case(
            id=len(self.cases) + 1,
            pool=pool,
            round=number,
            node=verdict.node,
            operator=operator,
            accuser=seat.node,
            accuser_place=place,
            fault=verdict.outcome,
            width=width,
        )
        self.cases.append(case)
        bench.case_about[number, verdict.node] = case.id
        bench.audits[number].open_cases += 1
        self.world.stakes.accounts[operator].open_cases += 1
        self._summon(case, 0)
        if not case.jury.places:
            self._conclude(case, CaseStatus.HUNG)

    def _summon(self, case: Case, level: int) -> None:
        p, audit = self.params(case.pool), self.benches[case.pool].audits[case.round]
        n = audit.seats
        eligible = self._eligible(case.pool, case.round, n, {self._accuser(case), case.operator})
        if level == TOP:
            jury, eligible = sorted(eligible), set()
        else:
            wanted = p.jury_size if level == 0 else 2 * p.jury_size + 1
            starts = (juror_draw(audit.seed, case.id, (level << 8) + k, n) for k in range(wanted))
            jury = self._draw(eligible, n, starts)
        case.status, case.level, case.larger = CaseStatus.OPEN, level, bool(eligible)
        case.commit_deadline = self.now + p.vote_window
        case.reveal_deadline = case.commit_deadline + p.vote_reveal_window
        case.appeal_deadline = 0
        case.juries.append(Jury(jury))

    def votes_over(self, case: Case) -> bool:
        return len(case.jury.votes) == len(case.jury.places) or self.now > case.commit_deadline

    def _juror(self, case: Case, node: int) -> int:
        place = self.benches[case.pool].place_of(node)
        require(place is not None and place in case.jury.places, "juror")
        assert place is not None
        return place

    def commit_vote(self, node: int, case_id: int, vote: tuple) -> None:
        case = self.case(case_id)
        place = self._juror(case, node)
        require(case.status == CaseStatus.OPEN, "phase")
        require(place not in case.jury.votes, "committed")
        require(not self.votes_over(case), "phase")
        case.jury.votes[place] = vote
        if self.votes_over(case):
            case.commit_deadline = self.now
            case.reveal_deadline = self.now + self.params(case.pool).vote_reveal_window

    def reveal_vote(self, node: int, case_id: int, outcome: int, digest: int, salt: int) -> None:
        case = self.case(case_id)
        place, jury = self._juror(case, node), case.jury
        require(case.status == CaseStatus.OPEN, "phase")
        require(place not in jury.guilty | jury.innocent, "revealed")
        require(self.votes_over(case) and self.now < case.reveal_deadline, "phase")
        require(outcome, "outcome")
        require(jury.votes.get(place) == (outcome, digest, salt), "mismatch")
        (jury.innocent if outcome == Outcome.ACCEPT else jury.guilty).add(place)
        self._pay_fees(case.pool, case.round, self._seat(case.pool, place), 1)

    def resolve_case(self, case_id: int) -> None:
        case = self.case(case_id)
        if case.status == CaseStatus.DECIDED:
            require(self.now > case.appeal_deadline, "phase")
            self._finish(case, CaseStatus.CONVICTED if case.found_guilty else CaseStatus.ACQUITTED)
            return
        jury = case.jury
        opened = len(jury.guilty) + len(jury.innocent)
        require(case.status == CaseStatus.OPEN and self.votes_over(case), "phase")
        require(opened == len(jury.votes) or self.now >= case.reveal_deadline, "phase")
        # Two thirds of the jury as drawn: a silent juror counts for neither side.
        quorum = 2 * len(jury.places)
        if quorum and 3 * len(jury.guilty) >= quorum:
            self._conclude(case, CaseStatus.CONVICTED)
        elif quorum and 3 * len(jury.innocent) >= quorum:
            self._conclude(case, CaseStatus.ACQUITTED)
        else:
            self._conclude(case, CaseStatus.HUNG)

    def _conclude(self, case: Case, finding: CaseStatus) -> None:
        if not case.larger:
            self._finish(case, finding)
        elif finding == CaseStatus.HUNG:
            self._summon(case, case.level + 1)
        else:
            case.status = CaseStatus.DECIDED
            case.found_guilty = finding == CaseStatus.CONVICTED
            case.appeal_deadline = self.now + self.params(case.pool).appeal_window

    def appeal(self, who: int, case_id: int) -> None:
        case = self.case(case_id)
        require(case.status == CaseStatus.DECIDED and self.now <= case.appeal_deadline, "phase")
        require(who == self._loser(case, case.found_guilty), "appellant")
        name = ("appeal", case.id, case.level)
        self.world.stakes.lock(who, name, self.params(case.pool).appeal_bond)
        case.appeals[case.level] = case.found_guilty
        self._summon(case, case.level + 1)

    def _loser(self, case: Case, guilty: bool) -> int:
        return case.operator if guilty else self._accuser(case)

    def _finish(self, case: Case, status: CaseStatus) -> None:
        p, stakes, bench = self.params(case.pool), self.world.stakes, self.benches[case.pool]
        pool, audit = self.world.pools[case.pool], bench.audits[case.round]
        case.status, case.appeal_deadline = status, 0
        audit.open_cases -= 1
        audit.last_ended = self.now
        if not audit.in_ring:
            bench.displaced_ended = self.now
        guilty = status == CaseStatus.CONVICTED and (case.round, case.node) not in bench.planted
        if guilty:
            amount = p.slash_conviction * case.width
            finder = self._accuser(case)
            stakes.slash(case.operator, pool.lock_name(case.node), amount, finder, p.finder_fee)
        elif status == CaseStatus.ACQUITTED:
            # "Withheld" may have been true when it was said.
            amount = p.slash_overturned if case.fault == Outcome.WITHHELD else p.slash_false
            self._slash_seat(case.pool, case.accuser_place, amount)
        for level, against_conviction in case.appeals.items():
            appellant = self._loser(case, against_conviction)
            lost = CaseStatus.CONVICTED if against_conviction else CaseStatus.ACQUITTED
            name = ("appeal", case.id, level)
            if status == lost:
                stakes.slash(appellant, name, p.appeal_bond)
            else:
                stakes.keep(appellant, name, 0)
        stakes.accounts[case.operator].open_cases -= 1
        pool.resolve(case.round, case.node, guilty)
        if self.is_final(case.pool, case.round):
            self.release_reserve(case.pool, case.round)

    # --- reports --------------------------------------------------------------------------------------------

    def report_absence(self, pool: int, number: int, place: int) -> None:
        seat, audit = self._seat(pool, place), self.benches[pool].audits.get(number)
        require(audit is not None and audit.seeded and audit.in_ring, "no audit")
        assert audit is not None
        require(seat.is_live(number) and place not in audit.marked, "not absent")
        require(self.is_audit_over(audit), "not final")
        audit.marked.add(place)
        self._slash_seat(pool, place, self.params(pool).slash_absence)

    def _report_juror(self, case_id: int, level: int, place: int, absent: bool) -> None:
        case = self.case(case_id)
        require(case.is_ended, "phase")
        require(level < len(case.juries), "no jury")
        jury = case.juries[level]
        if absent:
            accused = set(jury.places) - jury.guilty - jury.innocent
        elif case.status == CaseStatus.CONVICTED:
            accused = jury.innocent
        elif case.status == CaseStatus.ACQUITTED and case.fault != Outcome.WITHHELD:
            accused = jury.guilty
        else:
            accused = set()
        require(place in accused and place not in jury.punished, "not guilty")
        # Else the seat was released, and somebody else may have its place.
        require(self._seat(case.pool, place).is_live(case.round), "released")
        jury.punished.add(place)
        p = self.params(case.pool)
        self._slash_seat(case.pool, place, p.slash_absence if absent else p.slash_overturned)

    def report_absent_juror(self, case_id: int, level: int, place: int) -> None:
        self._report_juror(case_id, level, place, absent=True)

    def report_overturned_vote(self, case_id: int, level: int, place: int) -> None:
        self._report_juror(case_id, level, place, absent=False)

    def report_overturned_verdict(
        self, pool: int, number: int, place: int, verdicts: tuple[Verdict, ...], salt: int, which: int
    ) -> None:
        bench = self.bench(pool)
        require(which < len(verdicts) and verdicts[which].outcome == Outcome.ACCEPT, "no accept")
        case_id = bench.case_about.get((number, verdicts[which].node))
        require(case_id is not None, "no case")
        assert case_id is not None
        require(self.case(case_id).status == CaseStatus.CONVICTED, "not convicted")
        seat = self._seat(pool, place)
        kept = seat.verdicts.get(number)
        require(kept is not None and (kept.verdicts, kept.salt) == (verdicts, salt), "mismatch")
        assert kept is not None
        require(seat.kept.get(number % RING) == number, "not kept")
        require(kept.opened and not kept.punished and seat.is_live(number), "not open")
        kept.punished = True
        self._slash_seat(pool, place, self.params(pool).slash_overturned)
