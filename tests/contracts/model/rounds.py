"""Membership and rounds of one pool: `Pools.join` and `RoundLedger`.

Nothing is thrown away here: every round and all work of a node stay, so that what the contracts keep in rings
and packed words can be checked against it. Roots and states are small numbers; 0 is the zero word.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pi_sdk.types import Phase
from pi_sdk.types import RecordStatus as Status

from .basics import NOBODY, RING, require
from .money import TREASURY

if TYPE_CHECKING:
    from .world import World

FOREVER = 2**64 - 1


class Params(NamedTuple):
    """`PoolParams`, in its order. The orchestrator is an actor."""

    price: int
    stake: int
    max_slots: int
    min_slots: int
    min_seats: int
    max_width: int
    orchestrator: int
    reveal_window: int
    grace_window: int
    rounds: int
    slash_miss: int
    close_bond: int
    min_train: int
    max_train: int
    verdict_fee: int
    seat_stake: int
    verdict_window: int
    verdict_reveal_window: int
    slash_false: int
    slash_absence: int
    audit_rate: int
    probation: int
    verdict_budget: int
    auditors: int
    jury_size: int
    slash_conviction: int
    slash_overturned: int
    vote_window: int
    vote_reveal_window: int
    appeal_bond: int
    appeal_window: int
    finder_fee: int


class Opened(NamedTuple):
    """`Reveal`; `update` stands for update and trace root."""

    salt: int
    root: int
    update: int
    state_in: int
    state_out: int
    norm: int
    width: int


@dataclass
class Commitment:
    """A node's latest one. It can be opened if it is about this very node and round."""

    round: int
    width: int
    node: int
    of_round: int
    opening: Opened
    opened: bool = False


@dataclass
class Work:
    """An on-time reveal whose pay is not settled."""

    width: int
    root: int
    excluded: bool = False
    contested: bool = False


@dataclass
class Member:
    operator: int
    width_before: int = 0
    width_after: int = 0
    change_at: int = 0
    active_from: int = 0
    last_revealed: int = 0  # round + 1
    missed: int = 0
    missed_up_to: int = 0
    convicted_from: int | None = None
    state_out: int = 0
    contests: int = 0
    accrued: int = 0
    latest: Commitment | None = None
    work: dict[int, Work] = field(default_factory=dict)
    displaced: dict[int, Work] = field(default_factory=dict)
    """Contested work whose ring place was taken by a later reveal."""
    proven: set[int] = field(default_factory=set)

    def width_at(self, number: int) -> int:
        """Slots that a round expects. Exact for the last two declared widths, which is all that is kept."""
        return self.width_after if number >= self.change_at else self.width_before

    def declare(self, width: int, since: int) -> None:
        self.width_before = 0 if since == 0 else self.width_at(since - 1)
        self.width_after, self.change_at = width, since

    def committed_in(self, number: int) -> bool:
        return self.latest is not None and self.latest.round == number


@dataclass
class Round:
    start_root: int
    commit_deadline: int
    reveal_deadline: int
    expected: int
    seats: int
    live_seats: int
    committed: int = 0
    revealed: int = 0
    slots: int = 0
    votes: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Slots by the start root that they name."""
    reveals: list[tuple[int, Opened]] = field(default_factory=list)
    sealed_at: int | None = None
    seed_block: int = 0
    overruled: bool = False
    """The votes of this round replaced the root that the last close posted."""
    closed_at: int | None = None
    poster: int = NOBODY
    excluded: int = 0
    punished: bool = False
    reopened: bool = False


class Pool:
    """One pool's side of the ledger."""

    def __init__(self, world: "World", number: int, creator: int, genesis: int, params: Params):
        self.world = world
        self.id = number
        self.creator = creator
        self.params = params
        self.created_at = world.clock.now
        self.root = genesis
        self.members: dict[int, Member] = {}
        self.rounds: list[Round] = []
        self.last = False
        self.ended = False
        self.last_closed: dict[int, int] = {}
        self.rolls_back_to: int | None = None

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.world.clock.now

    @property
    def next(self) -> int:
        return len(self.rounds)

    @property
    def running(self) -> Round:
        return self.rounds[-1]

    @property
    def phase(self) -> Phase:
        if not self.rounds or self.running.closed_at is not None:
            return Phase.IDLE
        r = self.running
        if r.sealed_at is not None:
            return Phase.SEALED
        waiting = r.committed < r.expected and self.now <= r.commit_deadline
        return Phase.COMMIT if waiting else Phase.REVEAL

    def slots(self) -> int:
        return sum(m.width_after for m in self.members.values())

    def in_ring(self, number: int) -> bool:
        return number < self.next <= number + RING

    def is_closed(self, number: int) -> bool:
        return self.rounds[number].closed_at is not None

    def is_over(self, number: int) -> bool:
        if number + RING < self.next:
            return True
        return self.is_closed(number) and self.world.court.is_final(self.id, number)

    def is_overruled(self, number: int) -> bool:
        return number + 1 < self.next and self.rounds[number + 1].overruled

    def started_right(self, number: int, work: Work) -> bool:
        return work.root == self.rounds[number].start_root

    def is_paid(self, number: int, work: Work) -> bool:
        """An exclusion by a close that was overruled is void."""
        return self.started_right(number, work) and (not work.excluded or self.is_overruled(number))

    def status(self, number: int, node: int) -> Status:
        m = self.members.get(node)
        if m is None:
            return Status.NONE
        work = m.work.get(number) if self.in_ring(number) else None
        if work is None:
            waits = self.in_ring(number) and m.committed_in(number) and m.last_revealed != number + 1
            return Status.COMMITTED if waits else Status.NONE
        if not self.started_right(number, work):
            return Status.OUTVOTED
        if work.contested:
            return Status.CONTESTED
        return Status.EXCLUDED if work.excluded else Status.REVEALED

    def disprovable_until(self, number: int) -> int:
        if not self.in_ring(number) or not self.is_closed(number):
            return 0
        since = self.rounds[number].closed_at
        if number + 1 < self.next:
            since = self.rounds[number + 1].sealed_at
            if since is None:
                return FOREVER
        assert since is not None
        return since + self.params.grace_window + self.params.verdict_window

    def is_undecided(self, number: int, work: Work) -> bool:
        """A close that is overruled loses its exclusions, so these wait for the next round; one that is
        disproved before it opens is done again, and may exclude others."""
        newest = number + 1 == self.next
        if work.excluded and newest and not self.ended:
            return True
        return (work.excluded or newest) and self.now <= self.disprovable_until(number)

    def result_root(self, number: int) -> int:
        if not self.in_ring(number) or not self.is_closed(number) or self.is_overruled(number):
            return 0
        return self.root if number + 1 == self.next else self.rounds[number + 1].start_root

    def lock_name(self, node: int) -> tuple:
        return ("node", self.id, node)

    def bond_name(self) -> tuple:
        return ("bond", self.id)

    # --- membership -----------------------------------------------------------------------------------------

    def _member(self, node: int) -> Member:
        require(node in self.members, "not a member")
        return self.members[node]

    def _require_room(self, width: int, before: int) -> None:
        require(width, "width")
        require(not self.ended, "ended")
        require(width <= self.params.max_width, "width")
        require(self.slots() - before + width <= self.params.max_slots, "full")

    def join(self, operator: int, node: int, width: int) -> None:
        m = self.members.get(node) or Member(operator)
        require(m.width_after == 0, "member already")
        require(m.convicted_from is None, "convicted")
        self._require_room(width, 0)
        stakes, wanted = self.world.stakes, self.params.stake * width
        stakes.lock(operator, self.lock_name(node), stakes.missing(operator, self.lock_name(node), wanted))
        self.members[node] = m
        m.declare(width, self.next)
        m.active_from, m.missed = self.next, 0

    def set_width(self, who: int, node: int, width: int) -> None:
        m = self._member(node)
        require(who == m.operator, "operator")
        require(m.width_after, "left")
        self._require_room(width, m.width_after)
        stakes, wanted = self.world.stakes, self.params.stake * width
        stakes.lock(who, self.lock_name(node), stakes.missing(who, self.lock_name(node), wanted))
        m.declare(width, self.next)

    def leave(self, who: int, node: int) -> None:
        m = self._member(node)
        require(m.width_after, "left")
        require(who in (m.operator, node), "operator")
        self._take_out(m)

    def eject(self, who: int, node: int) -> None:
        require(who == self.creator, "creator")
        m = self._member(node)
        require(m.width_after, "left")
        m.declare(0, self.next)

    def _take_out(self, m: Member) -> None:
        """Of the next rounds, and of the running one where that still waits for the commitment."""
        number = self.next - 1
        if self.phase == Phase.COMMIT and m.width_at(number) and not m.committed_in(number):
            m.declare(0, number)
            self.running.expected -= 1
            self._end_commits_if_complete()
        else:
            m.declare(0, self.next)

    def release_lock(self, node: int) -> None:
        m = self._member(node)
        require(m.contests == 0, "contested")
        for number in range(max(0, self.next - RING), min(m.change_at, self.next)):
            require(self.is_over(number), "still needed")
        self.settle(node)
        self.world.stakes.keep(m.operator, self.lock_name(node), m.width_after * self.params.stake)

    def report_miss(self, number: int, node: int) -> None:
        require(self.in_ring(number), "round")
        require(self.is_closed(number), "not closed")
        m = self._member(node)
        width = m.width_at(number)
        require(width and m.active_from <= number, "not expected")
        require(number >= m.last_revealed and number >= m.missed_up_to, "nothing missed")
        m.missed, m.missed_up_to = min(m.missed + 1, 255), number + 1
        if m.missed >= 2:
            if m.width_after:
                self._take_out(m)
            self.world.stakes.slash(m.operator, self.lock_name(node), self.params.slash_miss * width)

    # --- rounds ---------------------------------------------------------------------------------------------

    def end(self, who: int) -> None:
        require(who == self.creator, "creator")
        require(not self.ended and self.phase == Phase.IDLE, "phase")
        self.last = True
        self.ended = not self.rounds

    def roll_back(self, who: int, to: int) -> None:
        require(who == self.creator, "creator")
        require(not self.ended, "ended")
        require(to < self.next < to + RING, "round")
        self.rolls_back_to = to

    def _require_turn(self, who: int, since: int) -> None:
        mine = who == self.params.orchestrator
        require(mine or self.now >= since + self.params.grace_window, "too early")

    def open_round(self, who: int, window: int) -> None:
        p, court = self.params, self.world.court
        require(not self.ended and self.phase == Phase.IDLE, "phase")
        closed_at = self.running.closed_at if self.rounds else self.created_at
        assert closed_at is not None
        self._require_turn(who, closed_at)
        old = self.next - RING
        require(old < 0 or court.is_final(self.id, old), "the ring's oldest round is not final")
        expected = sum(1 for m in self.members.values() if m.width_after)
        cost = 0 if self.last else p.price * p.max_slots + p.verdict_fee * p.verdict_budget
        live = court.live_seats(self.id)
        if not self.last:
            require(self.slots() >= (p.min_slots if self.next == 0 else 1), "slots")
            require(live >= p.min_seats, "seats")
            require(p.min_train <= window <= p.max_train, "window")
            free = self.world.rewards.budgets[self.id].free + court.unused_reserve(self.id, old)
            require(cost <= free, "budget")
        court.release_reserve(self.id, old)
        if not self.last:
            self._open(window, expected, court.seat_count(self.id), live)
            self.world.rewards.reserve(self.id, cost)
        elif expected:
            self._open(p.min_train, expected, 0, 0)
        else:
            self.ended = True

    def _open(self, window: int, expected: int, seats: int, live_seats: int) -> None:
        deadline = self.now + window
        if self.rolls_back_to is not None:
            self.root = self.rounds[self.rolls_back_to].start_root
            self.running.punished = True
            self.rolls_back_to = None
        r = Round(self.root, deadline, deadline + self.params.reveal_window, expected, seats, live_seats)
        self.rounds.append(r)

    def _end_commits_if_complete(self) -> None:
        r = self.running
        if r.committed == r.expected:
            r.commit_deadline = self.now
            r.reveal_deadline = self.now + self.params.reveal_window

    def commit(self, node: int, of_node: int, of_round: int, opening: Opened) -> None:
        require(self.phase == Phase.COMMIT, "phase")
        number = self.next - 1
        m = self._member(node)
        require(m.width_at(number), "not expected")
        require(not m.committed_in(number), "committed")
        m.latest = Commitment(number, m.width_at(number), of_node, of_round, opening)
        self.running.committed += 1
        self._end_commits_if_complete()

    def reveal(self, node: int, opening: Opened) -> None:
        m = self._member(node)
        c = m.latest
        require(c is not None, "no commitment")
        assert c is not None
        require((c.node, c.of_round, c.opening) == (node, c.round, opening), "mismatch")
        require(not c.opened and m.last_revealed != c.round + 1, "revealed")
        require(m.convicted_from is None, "convicted")
        require(opening.width == c.width, "width")
        if c.round != self.next - 1 or self.running.sealed_at is not None:
            c.opened = True  # late
            return
        r = self.running
        require(self.phase == Phase.REVEAL and self.now <= r.reveal_deadline, "phase")
        if self.last:
            nothing = not (opening.update or opening.state_in or opening.state_out or opening.norm)
            require(nothing, "confirm only")
        else:
            require(opening.state_in in (0, m.state_out), "state chain")
            m.state_out = opening.state_out
        r.revealed += 1
        r.slots += opening.width
        r.votes[opening.root] += opening.width
        r.reveals.append((node, opening))
        self._make_room(m, c.round)
        if not self.last:
            m.work[c.round] = Work(opening.width, opening.root)
        m.last_revealed, m.missed = c.round + 1, 0
        if r.revealed == r.committed:
            self._seal()

    def _make_room(self, m: Member, number: int) -> None:
        """Work of rounds out of the ring: what is paid accrues, what is contested waits for its case."""
        for old in [n for n in m.work if n <= number - RING]:
            work = m.work.pop(old)
            if work.contested:
                m.displaced[old] = work
            elif self.is_paid(old, work):
                m.accrued += work.width
            else:
                self._release(work.width)

    def seal(self) -> None:
        require(self.phase == Phase.REVEAL, "phase")
        r = self.running
        require(r.revealed == r.committed or self.now > r.reveal_deadline, "too early")
        self._seal()

    def _seal(self) -> None:
        r = self.running
        r.sealed_at, r.seed_block = self.now, self.world.clock.block + 1
        if self.next > 1:
            for root, slots in r.votes.items():
                if root != r.start_root and 3 * slots >= 2 * r.slots:
                    r.start_root = self.root = root
                    r.overruled = True
                    break
        if self.last:
            r.closed_at = self.now
            self.ended = True

    def close(self, who: int, root: int, exclusions: list[int]) -> None:
        p, r, number = self.params, self.running if self.rounds else None, self.next - 1
        require(r is not None and self.phase == Phase.SEALED, "phase")
        assert r is not None and r.sealed_at is not None
        self._require_turn(who, r.sealed_at)
        require(self.world.stakes.locks[who, self.bond_name()] >= p.close_bond, "bond")
        included = r.votes.get(r.start_root, 0)
        seen = set()
        for node in exclusions:
            work = self.members[node].work.get(number) if node in self.members else None
            require(work is not None and node not in seen, "exclusion")
            assert work is not None
            require(self.started_right(number, work), "exclusion")
            seen.add(node)
            included -= work.width
        require(root != 0 and (included or root == r.start_root), "root")
        for node in exclusions:
            self.members[node].work[number].excluded = True
        if not r.reopened:
            self._release(p.max_slots - r.slots)
        r.closed_at, r.poster, r.excluded, r.punished = self.now, who, len(exclusions), False
        self.root = root
        self.last_closed[who] = number
        self.last = self.last or self.next == p.rounds

    # --- bonds ----------------------------------------------------------------------------------------------

    def post_bond(self, who: int) -> None:
        stakes = self.world.stakes
        stakes.lock(who, self.bond_name(), stakes.missing(who, self.bond_name(), self.params.close_bond))

    def release_bond(self, who: int) -> None:
        number = self.last_closed.get(who)
        if number is not None and self.in_ring(number):
            require(not self.is_overruled(number) or self.rounds[number].punished, "unpunished")
            require(self.now > self.disprovable_until(number), "disprovable")
        self.world.stakes.keep(who, self.bond_name(), 0)

    def punish_close(self, number: int) -> None:
        require(self.in_ring(number) and self.is_overruled(number), "not punishable")
        r = self.rounds[number]
        require(not r.punished, "punished")
        r.punished = True
        self.world.stakes.slash(r.poster, self.bond_name(), self.params.close_bond)

    def disprove(self, number: int, excluded: list[int], finder: int, fee_bps: int) -> None:
        until = self.disprovable_until(number)
        require(until and self.now <= until, "too late")
        r = self.rounds[number]
        require(r.poster != NOBODY and not r.punished and not self.is_overruled(number), "not punishable")
        require(len(excluded) == r.excluded, "exclusions")
        require(self.world.ascending(excluded), "exclusions")
        works = [self.members[n].work.get(number) if n in self.members else None for n in excluded]
        require(all(work is not None and work.excluded for work in works), "exclusions")
        r.punished = True
        if number + 1 == self.next:
            for work in works:
                assert work is not None
                work.excluded = False
            r.closed_at, r.reopened = None, True
            self.root = r.start_root
        self.world.stakes.slash(r.poster, self.bond_name(), self.params.close_bond, finder, fee_bps)

    # --- pay ------------------------------------------------------------------------------------------------

    def _release(self, slots: int) -> None:
        self.world.rewards.release(self.id, slots * self.params.price)

    def _credit(self, who: int, slots: int) -> None:
        self.world.rewards.credit(self.id, who, slots * self.params.price)

    def _is_forfeited(self, m: Member, number: int) -> bool:
        return m.convicted_from is not None and number >= m.convicted_from

    def _pay(self, m: Member, number: int, work: Work) -> None:
        if not self.is_paid(number, work):
            self._release(work.width)
        else:
            self._credit(TREASURY if self._is_forfeited(m, number) else m.operator, work.width)

    def settle(self, node: int) -> None:
        m = self._member(node)
        if m.contests:
            return  # a conviction would forfeit it
        self._credit(m.operator, m.accrued)
        m.accrued = 0
        for number, work in list(m.work.items()):
            if self.is_over(number) and not work.contested and not self.is_undecided(number, work):
                self._pay(m, number, m.work.pop(number))

    def contest(self, number: int, node: int) -> tuple[int, int]:
        m = self.members[node]
        m.work[number].contested = True
        m.contests += 1
        return m.operator, m.work[number].width

    def resolve(self, number: int, node: int, convicted: bool) -> None:
        m = self.members[node]
        if convicted:
            self._convict(number, m)
        m.contests -= 1
        if number in m.work:
            m.work[number].contested = False
        else:
            self._pay(m, number, m.displaced.pop(number))

    def convict_proven(self, number: int, node: int, penalty: int, finder: int, fee_bps: int) -> None:
        require(self.in_ring(number), "round")
        m = self._member(node)
        require(number in m.work and number not in m.proven, "no work")
        m.proven.add(number)
        width = m.work[number].width
        self._convict(number, m)
        self.world.stakes.slash(m.operator, self.lock_name(node), penalty * width, finder, fee_bps)

    def _convict(self, number: int, m: Member) -> None:
        """Out of everything, also of a running round; its commitment is void, and nobody waits for it."""
        if m.width_after:
            self._take_out(m)
        m.convicted_from = number if m.convicted_from is None else min(number, m.convicted_from)
        r, running = self.running, self.next - 1
        if r.sealed_at is not None:
            return
        committing, committed = self.phase == Phase.COMMIT, m.committed_in(running)
        if committed and m.last_revealed != running + 1:
            m.latest = None
            r.committed -= 1
        if (committed and m.latest is None) or (committing and m.width_at(running)):
            m.declare(0, running)
            r.expected -= 1
            if committing:
                self._end_commits_if_complete()
        if self.phase == Phase.REVEAL and r.committed and r.revealed == r.committed:
            self._seal()
