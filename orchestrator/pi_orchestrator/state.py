"""The orchestrator's state machine: `step(state, event) -> (state, actions)`, pure, with no I/O and no clock.

A `Fact` is what happened for good (a log of our contracts, or a round seen to be final); facts are stored,
and the state is rebuilt by folding them again. A `Tick` carries the time and asks what is to be done now.
Which actions are in flight is the only thing in the state that no fact holds: every action may be repeated
without harm, so a restart forgets it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

RING = 16
"""Rounds that the ledger remembers; a miss can be reported and a seed captured only inside it."""

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """A chain log with its arguments in snake case (bytes as 0x hex), or `RoundFinal` as seen by us.

    `PoolCreated` has the pool's parameters under `params` besides what the log says.
    """

    name: str
    block: int
    time: int
    """Timestamp of the block, unix seconds."""
    args: dict[str, Any]


@dataclass(frozen=True)
class Tick:
    """Asks for what is due. `now` and `block` are the chain's head; `clock` is ours, for retries only, in
    seconds.
    """

    now: int
    block: int
    clock: float


# --- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenRound:
    pool: int
    round: int


@dataclass(frozen=True)
class SealReveals:
    pool: int
    round: int


@dataclass(frozen=True)
class CaptureSeed:
    pool: int
    round: int


@dataclass(frozen=True)
class CloseRound:
    pool: int
    round: int


@dataclass(frozen=True)
class ReportMiss:
    pool: int
    round: int
    node: str


@dataclass(frozen=True)
class ResolveCase:
    case: int


Action = OpenRound | SealReveals | CaptureSeed | CloseRound | ReportMiss | ResolveCase


@dataclass(frozen=True)
class Deferred:
    """An action that could not be done: it is due again from `until` on (our clock)."""

    action: Action
    until: float


Event = Fact | Tick | Deferred

# --- state ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    operator: str
    width: int
    active_from: int
    left_at: int = 0
    """First round that no longer expects the node; 0 while it is in."""


@dataclass(frozen=True)
class Revealed:
    """What the aggregation needs of a reveal. Hashes are 0x hex."""

    width: int
    norm: int
    update_root: str
    update_file: str
    locations: str


@dataclass(frozen=True)
class Round:
    number: int
    opened_at: int
    start_root: str
    commit_deadline: int
    reveal_deadline: int
    expected: int
    """Nodes, when it opened."""
    committed: tuple[str, ...] = ()
    reveals: Mapping[str, Revealed] = field(default_factory=dict)
    """By node, in the order of the reveals."""
    late: tuple[str, ...] = ()
    sealed_at: int = 0
    seed_block: int = 0
    seed: str = ""
    closed_at: int = 0
    root: str = ""
    file: str = ""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Reason by node: 1 unavailable, 2 malformed, 3 wrong norm."""
    missed: tuple[str, ...] = ()
    final_at: int = 0

    @property
    def included(self) -> dict[str, Revealed]:
        """The reveals that the mean was taken over."""
        return {node: r for node, r in self.reveals.items() if node not in self.excluded}


@dataclass(frozen=True)
class Pool:
    id: int
    creator: str
    run_spec_hash: str
    genesis_root: str
    params: Mapping[str, Any]
    """`PoolParams`, dumped."""
    rounds: Mapping[int, Round] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    """Everybody who ever joined, by node; the latest membership of each."""
    seats: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """(operator, node) by seat index, seats given up included."""
    convicted: frozenset[str] = frozenset()
    ended_at: int = 0

    @property
    def current(self) -> Round | None:
        return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def next_round(self) -> int:
        return max(self.rounds, default=-1) + 1

    def uploaders(self) -> set[str]:
        """Addresses that may store files for this pool."""
        people = {self.creator, self.params["orchestrator"]}
        for node, member in self.members.items():
            people |= {node, member.operator}
        return people.union(*self.seats.values())

    def phase(self, now: int) -> str:
        """idle, commit, reveal, sealed or ended, at the chain time `now`."""
        current = self.current
        if current is None or current.closed_at:
            return "ended" if self.ended_at else "idle"
        if current.sealed_at:
            return "sealed"
        complete = len(current.committed) >= current.expected
        return "reveal" if complete or now > current.commit_deadline else "commit"


@dataclass(frozen=True)
class Case:
    pool: int
    round: int
    node: str
    jurors: int
    deadline: int
    """Chain time at which the votes are over."""
    committed: int = 0
    revealed: int = 0
    resolved: bool = False


@dataclass(frozen=True)
class State:
    pools: Mapping[int, Pool] = field(default_factory=dict)
    cases: Mapping[int, Case] = field(default_factory=dict)
    pending: Mapping[Action, float | None] = field(default_factory=dict)
    """Due actions that were handed out: None while in flight (or done, until the chain shows it), else when
    to retry.
    """


# --- transitions ----------------------------------------------------------------------------------


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """One transition. A fact that changes nothing gives back the very same state object."""
    match event:
        case Fact():
            return _fold(state, event), ()
        case Deferred(action, until):
            if action not in state.pending:
                return state, ()
            return replace(state, pending={**state.pending, action: until}), ()
        case Tick():
            due = list(_due(state, event))
            ready = []
            for action in due:
                retry = state.pending.get(action, 0.0)
                if retry is not None and retry <= event.clock:
                    ready.append(action)
            pending = {a: state.pending.get(a) for a in due} | dict.fromkeys(ready)
            return replace(state, pending=pending), tuple(ready)


def replay(facts: Iterable[Fact]) -> State:
    """The state after `facts`, with nothing in flight."""
    state = State()
    for fact in facts:
        state, _ = step(state, fact)
    return state


def deadlines(state: State) -> Iterator[int]:
    """Chain times at which something may become due by time alone."""
    for pool in state.pools.values():
        current = pool.current
        if current and not current.sealed_at:
            yield (current.reveal_deadline if current.committed else current.commit_deadline) + 1
    for case in state.cases.values():
        if not case.resolved:
            yield case.deadline


def _fold(state: State, fact: Fact) -> State:
    args = fact.args
    if fact.name == "PoolCreated":
        if args["pool_id"] in state.pools:
            return state
        pool = Pool(
            args["pool_id"], args["creator"], args["run_spec_hash"], args["genesis_root"], args["params"]
        )
        return _put_pool(state, pool)
    if fact.name in ("VoteCommitted", "VoteRevealed", "CaseResolved"):
        case = state.cases.get(args["case_id"])
        if case is None or case.resolved:
            return state
        params = state.pools[case.pool].params
        return replace(state, cases={**state.cases, args["case_id"]: _fold_case(case, fact, params)})
    pool = state.pools.get(args.get("pool_id", 0))
    if pool is None:
        return state
    if fact.name == "CaseOpened":
        if args["case_id"] in state.cases:
            return state
        over = fact.time + pool.params["vote_window"] + pool.params["vote_reveal_window"]
        case = Case(pool.id, args["round"], args["node"], len(args["jury"]), over)
        return replace(state, cases={**state.cases, args["case_id"]: case})
    folded = _fold_pool(pool, fact)
    return state if folded is pool else _put_pool(state, folded)


def _put_pool(state: State, pool: Pool) -> State:
    return replace(state, pools={**state.pools, pool.id: pool})


def _fold_case(case: Case, fact: Fact, params: Mapping[str, Any]) -> Case:
    match fact.name:
        case "VoteCommitted":
            committed = case.committed + 1
            # The contract moves the deadline forward when all have voted.
            early = fact.time + params["vote_reveal_window"] if committed == case.jurors else case.deadline
            return replace(case, committed=committed, deadline=min(early, case.deadline))
        case "VoteRevealed":
            revealed = case.revealed + 1
            return replace(
                case, revealed=revealed, deadline=fact.time if revealed == case.jurors else case.deadline
            )
        case _:
            return replace(case, resolved=True)


def _fold_pool(pool: Pool, fact: Fact) -> Pool:
    args = fact.args
    match fact.name:
        case "Joined":
            member = Member(args["operator"], args["width"], args["active_from"])
            return replace(pool, members={**pool.members, args["node"]: member})
        case "Left":
            member = pool.members.get(args["node"])
            if member is None or member.left_at == args["left_at"]:
                return pool
            member = replace(member, left_at=args["left_at"])
            return replace(pool, members={**pool.members, args["node"]: member})
        case "Convicted":  # `Left` comes beside it, as it does with the second miss in a row
            return replace(pool, convicted=pool.convicted | {args["node"]})
        case "SeatTaken":
            return replace(pool, seats={**pool.seats, args["seat"]: (args["operator"], args["node"])})
        case "PoolEnded":
            return replace(pool, ended_at=fact.time)
        case "RoundOpened":
            if args["round"] != pool.next_round:
                return pool
            round_ = Round(
                number=args["round"],
                opened_at=fact.time,
                start_root=args["start_root"],
                commit_deadline=args["commit_deadline"],
                reveal_deadline=args["commit_deadline"] + pool.params["reveal_window"],
                expected=args["expected"],
            )
        case _:
            round_ = pool.rounds.get(args.get("round", -1))
            if round_ is None:
                return pool
            folded = _fold_round(round_, fact, pool.params)
            if folded is round_:
                return pool
            round_ = folded
    return replace(pool, rounds={**pool.rounds, round_.number: round_})


def _fold_round(round_: Round, fact: Fact, params: Mapping[str, Any]) -> Round:
    args = fact.args
    match fact.name:
        case "Committed" if args["node"] not in round_.committed:
            return replace(round_, committed=(*round_.committed, args["node"]))
        case "CommitPhaseEnded":
            return replace(
                round_,
                commit_deadline=min(round_.commit_deadline, fact.time),
                reveal_deadline=min(round_.reveal_deadline, fact.time + params["reveal_window"]),
            )
        case "Revealed" if not round_.sealed_at:
            opened = args["reveal"]
            reveal = Revealed(
                opened["width"], opened["norm"], opened["update_root"], args["update_file"], args["locations"]
            )
            return replace(round_, reveals={**round_.reveals, args["node"]: reveal})
        case "RevealedLate" if args["node"] not in round_.late:
            return replace(round_, late=(*round_.late, args["node"]))
        case "RevealsSealed" if not round_.sealed_at:
            return replace(round_, sealed_at=fact.time, seed_block=args["seed_block"])
        case "SeedRepinned" if not round_.seed:
            return replace(round_, seed_block=args["seed_block"])
        case "SeedCaptured" if not round_.seed:
            return replace(round_, seed=args["seed"])
        case "Excluded":
            return replace(round_, excluded={**round_.excluded, args["node"]: args["reason"]})
        case "RoundClosed" if not round_.closed_at:
            return replace(round_, closed_at=fact.time, root=args["root"], file=args["checkpoint_file"])
        case "Missed" if args["node"] not in round_.missed:
            return replace(round_, missed=(*round_.missed, args["node"]))
        case "RoundFinal" if not round_.final_at:
            return replace(round_, final_at=fact.time)
    return round_


# --- what is due ----------------------------------------------------------------------------------


def _due(state: State, tick: Tick) -> Iterator[Action]:
    for pool in state.pools.values():
        yield from _due_in_pool(pool, tick)
    for case_id, case in state.cases.items():
        if not case.resolved and tick.now >= case.deadline:
            yield ResolveCase(case_id)


def _due_in_pool(pool: Pool, tick: Tick) -> Iterator[Action]:
    current = pool.current
    recent = [pool.rounds[n] for n in sorted(pool.rounds) if n > pool.next_round - RING]
    for round_ in recent:
        # Our transaction comes a block later than the head, when the pinned block's hash can be read.
        if round_.sealed_at and not round_.seed and tick.block >= round_.seed_block:
            yield CaptureSeed(pool.id, round_.number)
    if current and not current.closed_at:
        if current.sealed_at:
            yield CloseRound(pool.id, current.number)
        elif tick.now > (current.reveal_deadline if current.committed else current.commit_deadline):
            yield SealReveals(pool.id, current.number)
    # Before the next opening, so that a node that is gone no longer holds up its commit phase.
    for round_ in recent:
        if round_.closed_at:
            for node in _absent(pool, round_):
                yield ReportMiss(pool.id, round_.number, node)
    idle = current is None or current.closed_at
    if idle and not pool.ended_at and pool.next_round < pool.params["rounds"]:
        yield OpenRound(pool.id, pool.next_round)


def _absent(pool: Pool, round_: Round) -> Iterator[str]:
    """Nodes that a closed round expected and that neither revealed in time nor were reported."""
    for node, member in pool.members.items():
        expected = member.active_from <= round_.number and not 0 < member.left_at <= round_.number
        if (
            expected
            and node not in round_.reveals
            and node not in round_.missed
            and node not in pool.convicted
        ):
            yield node


# --- retention ------------------------------------------------------------------------------------


def evidence_over(state: State, pool_id: int, round_: int, now: int, margin: int) -> bool:
    """Whether the evidence of a round can go: final for `margin` seconds, and no case is open about it."""
    found = state.pools[pool_id].rounds.get(round_)
    if found is None or not found.final_at or now < found.final_at + margin:
        return False
    return all(c.resolved or (c.pool, c.round) != (pool_id, round_) for c in state.cases.values())


def artifacts_over(state: State, pool_id: int, now: int, keep: int) -> bool:
    """Whether the artifacts of a pool can go: it ended, and its last round has been final for `keep`
    seconds.
    """
    pool = state.pools[pool_id]
    if not pool.ended_at or any(not r.final_at for r in pool.rounds.values()):
        return False
    if any(not c.resolved for c in state.cases.values() if c.pool == pool_id):
        return False
    return now >= max([pool.ended_at, *(r.final_at for r in pool.rounds.values())]) + keep
