"""The orchestrator's state machine: `step(state, event) -> (state, actions)`, pure: no I/O, no clock."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from statistics import median
from typing import Any

from pi_sdk.types import RING

from .model import (
    Action,
    CaptureSeed,
    Case,
    CloseRound,
    Deferred,
    Event,
    Fact,
    Member,
    OpenRound,
    Pool,
    PunishClose,
    ReleaseBond,
    ReportMiss,
    ResolveCase,
    Revealed,
    Round,
    SealReveals,
    State,
    Tick,
)

_AGAIN = 5.0
"""Seconds after which an action that was done and is still due is handed out again. A close can be disproved
before anybody has read it: then it is due as if it had never been.
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
            ready = tuple(a for a in due if state.pending.get(a, event.clock) <= event.clock)
            pending = {a: state.pending.get(a, 0.0) for a in due}
            pending |= dict.fromkeys(ready, event.clock + _AGAIN)
            return replace(state, pending=pending), ready


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
        if current and not current.sealed_at and not pool.ended_at:
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
    if fact.name in ("VoteCommitted", "VoteRevealed", "CaseDecided", "CaseEscalated", "CaseResolved"):
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
        case = Case(pool.id, args["round"], args["node"], len(args["jury"]), _votes_over(fact, pool.params))
        return replace(state, cases={**state.cases, args["case_id"]: case})
    folded = _fold_pool(pool, fact)
    return state if folded is pool else _put_pool(state, folded)


def _put_pool(state: State, pool: Pool) -> State:
    return replace(state, pools={**state.pools, pool.id: pool})


def _votes_over(fact: Fact, params: Mapping[str, Any]) -> int:
    """When the votes of the jury that this fact names are over at the latest."""
    return fact.time + params["vote_window"] + params["vote_reveal_window"]


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
        case "CaseDecided":
            return replace(case, deadline=fact.args["appeal_deadline"] + 1)
        case "CaseEscalated":
            jurors, deadline = len(fact.args["jury"]), _votes_over(fact, params)
            return replace(case, jurors=jurors, committed=0, revealed=0, deadline=deadline)
        case _:
            return replace(case, resolved=True)


def _fold_pool(pool: Pool, fact: Fact) -> Pool:
    args = fact.args
    match fact.name:
        case "Joined":
            member = Member(args["operator"], args["width"], args["active_from"])
            return replace(pool, members={**pool.members, args["node"]: member})
        case "WidthChanged" if args["node"] in pool.members:
            member = replace(pool.members[args["node"]], width=args["width"])
            return replace(pool, members={**pool.members, args["node"]: member})
        case "Left":
            member = pool.members.get(args["node"])
            if member is None:
                return pool
            # Zero would mean "still in": who leaves before the first round was active in [1, 1).
            since = member.active_from if args["left_at"] else 1
            left = replace(member, left_at=args["left_at"] or 1, active_from=since)
            return pool if left == member else replace(pool, members={**pool.members, args["node"]: left})
        case "Convicted":  # `Left` comes beside it, as it does with the second miss in a row
            return replace(pool, convicted=pool.convicted | {args["node"]})
        case "SeatTaken":
            return replace(pool, seats={**pool.seats, args["seat"]: (args["operator"], args["node"])})
        case "BondPosted" | "BondReleased" if args["poster"] == pool.params["orchestrator"]:
            return replace(pool, bonded=fact.name == "BondPosted")
        case "PoolEnded":
            return replace(pool, ended_at=fact.time)
        case "RolledBack":
            return replace(pool, rollbacks={**pool.rollbacks, args["round"]: args["to_round"]})
        case "CloseOverruled":
            return _fold_overruled(pool, args["round"], args["root"])
        case "CloseDisproved" if args["round"] != pool.next_round - 1:
            return pool  # too late to close it again: only the bond is gone
        case "RoundOpened":
            if args["round"] != pool.next_round:
                return pool
            pool = _fold_start(pool, args["start_root"])
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


def _fold_start(pool: Pool, root: str) -> Pool:
    """Where the creator has gone back, the last result is an older one again, and nobody answers for it."""
    last, to = pool.current, pool.rollbacks.get(pool.next_round)
    if last is None or to is None:
        return pool
    file = pool.rounds[to - 1].file if to else ""
    gone_back = replace(last, root=root, file=file, punished=True)
    return replace(pool, rounds={**pool.rounds, last.number: gone_back})


def _fold_overruled(pool: Pool, number: int, root: str) -> Pool:
    """The votes replaced a result, and with it what the round that voted starts from."""
    before, voted = pool.rounds.get(number), pool.rounds.get(number + 1)
    if before is None or voted is None or before.overruled:
        return pool
    before = replace(before, root=root, file="", overruled=True)
    rounds = {**pool.rounds, number: before, number + 1: replace(voted, start_root=root)}
    return replace(pool, rounds=rounds)


def _fold_round(round_: Round, fact: Fact, params: Mapping[str, Any]) -> Round:
    args = fact.args
    match fact.name:
        case "Committed" if args["node"] not in round_.committed:
            return replace(round_, committed={**round_.committed, args["node"]: fact.time})
        case "CommitPhaseEnded":
            return replace(
                round_,
                commit_deadline=min(round_.commit_deadline, fact.time),
                reveal_deadline=min(round_.reveal_deadline, fact.time + params["reveal_window"]),
            )
        case "Revealed" if not round_.sealed_at:
            opened = args["reveal"]
            reveal = Revealed(
                width=opened["width"],
                norm=opened["norm"],
                start_root=opened["start_root"],
                update_root=opened["update_root"],
                update_file=args["update_file"],
                locations=args["locations"],
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
            file, poster = args["checkpoint_file"], args["poster"]
            return replace(round_, closed_at=fact.time, poster=poster, root=args["root"], file=file)
        case "CloseDisproved" if round_.closed_at:
            disproved = round_.disproved | {round_.root}
            return replace(round_, closed_at=0, root="", file="", excluded={}, disproved=disproved)
        case "ClosePunished" if round_.overruled and not round_.punished:
            return replace(round_, punished=True)
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
    # Outside the ring of the ledger no miss can be reported and no seed captured.
    recent = [pool.rounds[n] for n in sorted(pool.rounds) if n > pool.next_round - RING]
    for round_ in recent:
        judged = round_.sealed_at and round_.reveals and not pool.is_confirmation(round_)
        # Our transaction comes a block later than the head, when the pinned block's hash can be read.
        if judged and not round_.seed and tick.block >= round_.seed_block:
            yield CaptureSeed(pool.id, round_.number)
        if round_.overruled and not round_.punished and round_.poster != pool.params["orchestrator"]:
            yield PunishClose(pool.id, round_.number)
    if pool.ended_at and pool.bonded:
        yield ReleaseBond(pool.id)
    if current and not current.closed_at and not pool.ended_at:
        if current.sealed_at:
            yield CloseRound(pool.id, current.number)
        elif tick.now > (current.reveal_deadline if current.committed else current.commit_deadline):
            yield SealReveals(pool.id, current.number)
    # Before the next opening, so that a node that is gone no longer holds up its commit phase.
    for round_ in recent:
        if round_.closed_at:
            for node in _absent(pool, round_):
                yield ReportMiss(pool.id, round_.number, node)
    # One more than the training rounds: the confirm-only one.
    idle = current is None or current.closed_at
    if idle and not pool.ended_at and pool.next_round <= pool.params["rounds"]:
        yield OpenRound(pool.id, pool.next_round)


def _absent(pool: Pool, round_: Round) -> Iterator[str]:
    """Nodes that a closed round expected and that neither revealed in time nor were reported."""
    for node in pool.expected(round_.number):
        if node not in round_.reveals and node not in round_.missed and node not in pool.convicted:
            yield node


# --- deadlines ------------------------------------------------------------------------------------

RECENT_ROUNDS = 8
_MADS = 8
_OWN_LEAST, _ALL_LEAST = 1 / 16, 1 / 4
"""Of a median: what a deviation counts as at least."""


def usual_window(times: Collection[Sequence[float]]) -> float:
    """Seconds in which every node is ready whose round is like its recent ones. `times` has the seconds that
    each node took for those, at least one each.

    Every node has its own median + k·MAD, so half as long again as its own usual is in time, whoever is
    fast or slow; but nobody has more than the median + k·MAD of all of them, three times that median or so.
    """
    everyone = [seconds for each in times for seconds in each]
    return min(max(_unusual(each, _OWN_LEAST) for each in times), _unusual(everyone, _ALL_LEAST))


def _unusual(times: Sequence[float], least: float) -> float:
    middle = median(times)
    return middle + _MADS * max(median(abs(t - middle) for t in times), least * middle)


def train_window(pool: Pool, ahead: bool = False) -> int:
    """Seconds for the commit phase of the next round: `usual_window` of the recent ones, inside the pool's
    bounds.

    Who was not in time counts with all the time that it had. A node that has not committed lately, or not
    since it joined, may still have to load everything: then the window is the longest. Where nodes train
    `ahead` (`outer.delay`), a round takes them the time since their commitment to the one before, so that
    there is enough of it for whoever has to train it again.
    """
    shortest, longest = pool.params["min_train_window"], pool.params["max_train_window"]
    times: dict[str, list[int]] = {node: [] for node in pool.expected(pool.next_round)}
    known = set()
    for number in sorted(pool.rounds)[-RECENT_ROUNDS:]:
        round_, before = pool.rounds[number], pool.rounds.get(number - 1) if ahead else None
        for node in times.keys() & set(pool.expected(number)):
            if node in round_.committed:
                known.add(node)
            began = before.committed.get(node, round_.opened_at) if before else round_.opened_at
            times[node].append(max(0, round_.committed.get(node, round_.commit_deadline) - began))
    if not times or not times.keys() <= known:
        return longest
    return min(max(ceil(usual_window(times.values())), shortest), longest)


# --- retention ------------------------------------------------------------------------------------


def evidence_over(state: State, pool_id: int, round_: int, now: int | None = None, margin: int = 0) -> bool:
    """Whether nobody needs the evidence of a round any more: it is final, by `now` for `margin` seconds, and
    no case is open about it.
    """
    found = state.pools[pool_id].rounds.get(round_)
    if found is None or not found.final_at or (now is not None and now < found.final_at + margin):
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
