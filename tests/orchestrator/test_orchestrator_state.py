"""The state machine alone: any order of events, and a toy ledger that does what it asks for."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pi_orchestrator.db import Database
from pi_orchestrator.model import (
    CaptureSeed,
    CloseRound,
    Deferred,
    Fact,
    OpenRound,
    PunishClose,
    ReleaseBond,
    ReportMiss,
    ResolveCase,
    SealReveals,
    State,
    Tick,
)
from pi_orchestrator.state import artifacts_over, deadlines, evidence_over, replay, step, train_window

NODES = ("0xA", "0xB", "0xC")
PARAMS = {
    "orchestrator": "0xOrchestrator",
    "rounds": 3,
    "min_train_window": 8,
    "max_train_window": 100,
    "reveal_window": 10,
    "vote_window": 20,
    "vote_reveal_window": 5,
}
REVEAL = {"width": 1, "norm": 5, "start_root": "0x", "update_root": "0x01"}


def created(pool: int, **params: int) -> Fact:
    args = {"pool_id": pool, "creator": "0xCreator", "run_spec_hash": "0x02", "genesis_root": "0x03"}
    return Fact("PoolCreated", 1, 1, {**args, "params": {**PARAMS, **params}})


def fact_args(name: str, pool: int, number: int, node: str, small: int) -> dict:
    args = {"pool_id": pool, "round": number, "node": node, "operator": node + "o", "case_id": small}
    args |= {"width": 1, "active_from": number, "left_at": number + 1, "seat": small, "root": "0x04"}
    args |= {"start_root": "0x05", "commit_deadline": 100 + small, "expected": 3, "commitment": "0x06"}
    args |= {"reveal": REVEAL, "update_file": "0x07", "locations": "", "revealed": small, "seed": "0x08"}
    args |= {
        "seed_block": small,
        "checkpoint_file": "0x09",
        "reason": 1,
        "in_a_row": small,
        "jury": ["0xJ"] * small,
        "poster": ("0xOrchestrator", "0xSomebody")[small % 2],
        "posted": "0x04",
        "finder": "0xF",
        "appeal_deadline": 150 + small,
    }
    return args


NAMES = """Joined WidthChanged Left Convicted SeatTaken PoolEnded RoundOpened Committed CommitPhaseEnded
    Revealed RevealedLate RevealsSealed SeedCaptured SeedRepinned Excluded RoundClosed CloseOverruled
    CloseDisproved ClosePunished BondPosted BondReleased Missed CaseOpened VoteCommitted VoteRevealed
    CaseDecided CaseEscalated CaseResolved RoundFinal""".split()


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    name = draw(st.sampled_from(NAMES))
    args = fact_args(
        name,
        draw(st.integers(1, 3)),
        draw(st.integers(0, 3)),
        draw(st.sampled_from(NODES)),
        draw(st.integers(0, 4)),
    )
    time = draw(st.integers(0, 200))
    return Fact(name, time, time, args)


ticks = st.builds(Tick, now=st.integers(0, 300), block=st.integers(0, 300), clock=st.floats(0, 4))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(facts(), ticks), max_size=60))
def test_any_order_of_events(events: list[Fact | Tick]):
    state, kept, opened = State(), [created(1), created(2)], Counter()
    for fact in kept:
        state, _ = step(state, fact)
    for event in events:
        before = state
        state, actions = step(state, event)
        if isinstance(event, Fact):
            assert actions == ()
            if state is not before:
                kept.append(event)
        for action in actions:
            assert action in state.pending
            if isinstance(action, ResolveCase):
                assert event.now >= state.cases[action.case].deadline
                continue
            pool = state.pools[action.pool]
            current = pool.current
            match action:
                case OpenRound(_, number):
                    opened[action] += 1
                    assert not pool.ended_at and number <= PARAMS["rounds"]
                    assert number == (current.number + 1 if current else 0)
                    assert current is None or current.closed_at
                    assert all(8 <= train_window(pool, ahead) <= 100 for ahead in (False, True))
                case SealReveals(_, number):
                    assert (
                        not pool.rounds[number].sealed_at and event.now > pool.rounds[number].commit_deadline
                    )
                case CloseRound(_, number):
                    assert pool.rounds[number].sealed_at and not pool.rounds[number].closed_at
                    assert not pool.ended_at
                case PunishClose(_, number):
                    assert pool.rounds[number].overruled and not pool.rounds[number].punished
                    assert pool.rounds[number].poster != PARAMS["orchestrator"]
                case ReleaseBond():
                    assert pool.ended_at and pool.bonded
                case CaptureSeed(_, number):
                    assert pool.rounds[number].sealed_at and not pool.rounds[number].seed
                case ReportMiss(_, number, node):
                    assert pool.rounds[number].closed_at and node not in pool.rounds[number].reveals
    # Nothing was deferred, and no clock comes as far as a second try: each round is opened once, unless the
    # one before it had to be closed again.
    if not any(isinstance(e, Fact) and e.name == "CloseDisproved" for e in events):
        assert not opened or max(opened.values()) == 1
    assert replay(kept) == replace(state, pending={})
    assert set(state.pools) == {1, 2}


def test_a_deferred_action_comes_back_when_its_time_has_come():
    state = replay([created(1)])
    action = OpenRound(1, 0)
    state, actions = step(state, Tick(5, 5, 0.0))
    assert actions == (action,)
    state, actions = step(state, Tick(6, 6, 1.0))
    assert actions == ()
    state, _ = step(state, Deferred(action, 2.0))
    assert step(state, Tick(7, 7, 1.9))[1] == ()
    assert step(state, Tick(7, 7, 2.0))[1] == (action,)
    # An action that is no longer due is forgotten, and its late deferral changes nothing.
    state, _ = step(state, Fact("PoolEnded", 8, 8, {"pool_id": 1}))
    state, actions = step(state, Tick(9, 9, 9.0))
    assert actions == () and state.pending == {}
    assert step(state, Deferred(action, 10.0))[0] is state


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_run_on_a_toy_ledger_comes_to_its_end(seed: int):
    """Whoever commits or reveals, every round is opened, sealed and closed, again where the close was
    disproved, every miss is reported, every overruled close of others punished, and the bond comes back.
    """
    chance = random.Random(seed)
    crashes = chance.choice((0, 0.1))
    ledger = _ToyLedger(chance)
    state = replay([created(1)])
    log = [created(1)]

    def take(new: list[Fact]) -> None:
        nonlocal state
        log.extend(new)
        for fact in new:
            state, _ = step(state, fact)

    take([ledger.fact("Joined", node=node, operator=node, width=1, active_from=0) for node in NODES])
    for _ in range(400):
        state, actions = step(state, Tick(ledger.now, ledger.block, float(ledger.block)))
        for action in actions:
            if chance.random() < 0.2:
                state, _ = step(state, Deferred(action, ledger.block + 2.0))
            else:
                take(ledger.execute(action))
        take(ledger.workers(state))
        if chance.random() < crashes:  # only the log is left
            state = replay(log)
        waits = [t for t in deadlines(state) if t > ledger.now]
        ledger.pass_time(min(waits) if waits and chance.random() < 0.3 else ledger.now + 1)
        if state.pools[1].ended_at and not step(state, Tick(ledger.now, ledger.block, 1e9))[1]:
            break
    pool = state.pools[1]
    assert pool.ended_at and sorted(pool.rounds) == [0, 1, 2, 3] and not pool.bonded
    assert ledger.done[OpenRound] == 4 and ledger.done[ReleaseBond] == 1
    assert ledger.done[CloseRound] == 3 + ledger.disproved
    for round_ in list(pool.rounds.values())[:3]:
        assert round_.closed_at and (round_.seed or not round_.reveals)
        assert set(round_.missed) == set(NODES) - set(round_.reveals)
        assert round_.punished == (round_.overruled and round_.poster != PARAMS["orchestrator"])
        assert not round_.overruled or round_.root == "0xVoted" == pool.rounds[round_.number + 1].start_root
    confirmed = pool.rounds[3]
    assert not (confirmed.closed_at or confirmed.seed or confirmed.missed)


class _ToyLedger:
    """Rounds as the contract has them, as far as the state machine can see."""

    def __init__(self, chance: random.Random):
        self.chance, self.now, self.block = chance, 10, 10
        self.done: Counter[type] = Counter()
        self.plans: dict[int, dict[str, int]] = {}
        self.disproved = 0

    def pass_time(self, until: int) -> None:
        self.block += max(1, until - self.now)
        self.now = until

    def fact(self, name: str, **args: object) -> Fact:
        return Fact(name, self.block, self.now, {"pool_id": 1, **args})

    def execute(self, action: object) -> list[Fact]:
        self.done[type(action)] += 1
        self.pass_time(self.now + 1)
        match action:
            case OpenRound(_, number):
                self.plans[number] = {n: self.chance.randrange(3) for n in NODES}
                return [
                    self.fact("BondPosted", poster=PARAMS["orchestrator"], amount=0),
                    self.fact(
                        "RoundOpened",
                        round=number,
                        start_root="0x",
                        commit_deadline=self.now + 20,
                        expected=3,
                    ),
                ]
            case SealReveals(_, number):
                return self.seal(number)
            case CaptureSeed(_, number):
                return [self.fact("SeedCaptured", round=number, seed="0x11")]
            case CloseRound(_, number):
                poster = self.chance.choice((PARAMS["orchestrator"], "0xSomebody"))
                args = {"round": number, "root": "0x", "checkpoint_file": "0x", "poster": poster}
                facts = [self.fact("RoundClosed", **args)]
                if self.chance.random() < 0.2:
                    self.disproved += 1
                    facts.append(self.fact("CloseDisproved", round=number, finder="0xF"))
                    facts.append(self.fact("ClosePunished", round=number, poster=poster, slashed=1))
                return facts
            case PunishClose(_, number):
                return [self.fact("ClosePunished", round=number, poster="0xSomebody", slashed=1)]
            case ReleaseBond():
                return [self.fact("BondReleased", poster=PARAMS["orchestrator"], amount=1)]
            case ReportMiss(_, number, node):
                return [self.fact("Missed", round=number, node=node, in_a_row=1, penalty=0)]
        raise AssertionError(action)

    def seal(self, number: int) -> list[Fact]:
        """The end of the reveals: sometimes two thirds name another root than the one that was posted."""
        facts = [self.fact("RevealsSealed", round=number, revealed=0, seed_block=self.block + 1)]
        if number and self.chance.random() < 0.3:
            facts.append(self.fact("CloseOverruled", round=number - 1, posted="0x", root="0xVoted"))
        return facts + ([self.fact("PoolEnded")] if number == PARAMS["rounds"] else [])

    def workers(self, state: State) -> list[Fact]:
        """One thing that a worker does: plan 0 stays away, 1 commits, 2 commits and reveals."""
        current = state.pools[1].current
        if current is None or current.sealed_at:
            return []
        plan = self.plans[current.number]
        waiting = [n for n in NODES if plan[n] and n not in current.committed]
        if waiting and self.now <= current.commit_deadline:
            fact = [self.fact("Committed", round=current.number, node=waiting[0], commitment="0x")]
            if len(current.committed) == 2:
                fact.append(self.fact("CommitPhaseEnded", round=current.number, committed=3))
            return fact
        in_reveal = len(current.committed) == 3 or self.now > current.commit_deadline
        waiting = [n for n in current.committed if plan[n] == 2 and n not in current.reveals]
        if waiting and in_reveal and self.now <= current.reveal_deadline:
            args = {"reveal": REVEAL, "update_file": "0x", "locations": ""}
            fact = [self.fact("Revealed", round=current.number, node=waiting[0], **args)]
            if len(current.reveals) + 1 == len(current.committed):
                fact += self.seal(current.number)
            return fact
        return []


def test_retention_waits_for_finality_and_cases():
    opened = Fact("RoundOpened", 5, 5, fact_args("RoundOpened", 1, 0, "0xA", 1))
    case = Fact("CaseOpened", 6, 6, fact_args("CaseOpened", 1, 0, "0xA", 3))
    final = Fact("RoundFinal", 8, 100, {"pool_id": 1, "round": 0})
    resolved = Fact("CaseResolved", 9, 110, {"case_id": 3, "status": 2})
    ended = Fact("PoolEnded", 9, 90, {"pool_id": 1})
    log = [created(1), opened, ended]
    assert not evidence_over(replay(log), 1, 0, 10_000, 60)
    assert not artifacts_over(replay(log), 1, 10_000, 500)
    assert not evidence_over(replay([*log, case, final]), 1, 0, 10_000, 60)
    assert not artifacts_over(replay([*log, case, final]), 1, 10_000, 500)
    over = replay([*log, case, final, resolved])
    assert not evidence_over(over, 1, 0, 159, 60) and evidence_over(over, 1, 0, 160, 60)
    assert not artifacts_over(over, 1, 599, 500) and artifacts_over(over, 1, 600, 500)


def test_votes_bring_a_case_to_its_end_early():
    case = Fact("CaseOpened", 6, 100, fact_args("CaseOpened", 1, 0, "0xA", 2))
    state = replay([created(1), case])
    assert list(deadlines(state)) == [125]
    votes = [Fact("VoteCommitted", 7, t, {"case_id": 2, "juror": "0xJ"}) for t in (101, 103)]
    assert list(deadlines(replay([created(1), case, *votes]))) == [108]
    votes += [Fact("VoteRevealed", 7, t, {"case_id": 2, "juror": "0xJ"}) for t in (104, 105)]
    state = replay([created(1), case, *votes])
    assert ResolveCase(2) in step(state, Tick(105, 9, 0.0))[1]

    # The time for an appeal, a larger jury, its end.
    decided = Fact("CaseDecided", 8, 106, {"case_id": 2, "level": 0, "appeal_deadline": 130})
    assert list(deadlines(replay([created(1), case, *votes, decided]))) == [131]
    jury = {"case_id": 2, "level": 1, "appellant": "0xA", "jury": ["0xJ"] * 3}
    further = Fact("CaseEscalated", 9, 120, jury)
    log = [created(1), case, *votes, decided, further]
    assert list(deadlines(replay(log))) == [145]
    assert ResolveCase(2) not in step(replay(log), Tick(144, 9, 0.0))[1]
    log.append(Fact("CaseResolved", 9, 150, {"case_id": 2, "status": 2}))
    assert not list(deadlines(replay(log)))


def test_the_window_follows_what_nodes_took_and_waits_for_newcomers():
    log = [created(1)]

    def window() -> int:
        return train_window(replay(log).pools[1])

    def play(number: int, opened: int, given: int, took: dict[str, int]) -> None:
        args = fact_args("RoundOpened", 1, number, "", 1)
        log.append(Fact("RoundOpened", 5, opened, args | {"commit_deadline": opened + given}))
        for node, seconds in took.items():
            log.append(Fact("Committed", 6, opened + seconds, fact_args("Committed", 1, number, node, 1)))

    log += [Fact("Joined", 2, 2, fact_args("Joined", 1, 0, node, 1)) for node in NODES]
    assert window() == 100, "nobody is known yet"
    play(0, 1000, 100, dict(zip(NODES, (10, 11, 12), strict=True)))
    assert window() == 18, "half as long again as the slowest usually takes"
    play(1, 2000, 18, {"0xA": 10})
    assert window() == 35, "two had 18 seconds: three times the median of all, 11.5, is the most"
    log.append(Fact("Joined", 7, 2050, fact_args("Joined", 1, 2, "0xD", 1)))
    assert window() == 100, "it may still have to load everything"
    play(2, 3000, 100, {"0xA": 1, "0xB": 1, "0xC": 1, "0xD": 1})
    for number in range(3, 11):
        play(number, 1000 * number, 34, dict.fromkeys((*NODES, "0xD"), 1))
    assert window() == 8, "what is long ago no longer counts, and no window is shorter than the pool's"
    for number in range(11, 19):
        play(number, 1000 * number, 100, dict(zip((*NODES, "0xD"), (20, 20, 20, 40), strict=True)))
    assert window() == 60, "a slow node has its own half"
    for number in range(19, 27):
        play(number, 1000 * number, 100, dict(zip((*NODES, "0xD"), (10, 10, 10, 40), strict=True)))
    assert window() == 30, "but nobody is waited for longer than three times the others"
    for number in range(27, 35):
        play(number, 1000 * number, 100, dict(zip((*NODES, "0xD"), (1, 2, 40, 41), strict=True)))
    assert window() == 62, "with half of them slow, the slow ones are waited for"
    for number in range(35, 43):
        took = dict(zip((*NODES, "0xD"), (80, 80, 80, 85), strict=True))
        play(number, 1000 * number, 100, took)
    assert window() == 100, "nor longer than the pool's"
    play(43, 43_000, 100, dict.fromkeys((*NODES, "0xD"), 10))
    log.append(Fact("Left", 8, 43_200, fact_args("Left", 1, 43, "0xD", 1)))
    log.append(Fact("Joined", 9, 43_300, fact_args("Joined", 1, 44, "0xD", 1)))
    assert window() == 100, "who comes back may have to load everything too"
    for number in range(44, 52):
        play(number, 1000 * number, 100, dict.fromkeys(NODES, 10))
    assert window() == 100, "and is still at it"


def test_a_node_that_has_vanished_delays_its_rounds_by_half_a_round():
    log = [created(1)]
    log += [Fact("Joined", 2, 2, fact_args("Joined", 1, 0, node, 1)) for node in NODES]
    given = [100]
    for number in range(8):
        args = fact_args("RoundOpened", 1, number, "", 1)
        opened = 1000 * number
        log.append(Fact("RoundOpened", 5, opened, args | {"commit_deadline": opened + given[-1]}))
        for node in NODES[: 2 if number > 5 else 3]:
            log.append(Fact("Committed", 6, opened + 20, fact_args("Committed", 1, number, node, 1)))
        given.append(train_window(replay(log).pools[1]))
    assert given[1:] == [30] * 8


def test_where_nodes_train_ahead_there_is_time_to_train_a_round_again():
    log = [created(1), *(Fact("Joined", 2, 2, fact_args("Joined", 1, 0, node, 1)) for node in NODES)]
    for number in range(8):
        args = fact_args("RoundOpened", 1, number, "", 1) | {"commit_deadline": 40 * number + 1100}
        log.append(Fact("RoundOpened", 5, 1000 + 40 * number, args))
        for node in NODES:  # it lay ready
            log.append(Fact("Committed", 6, 1002 + 40 * number, fact_args("Committed", 1, number, node, 1)))
    pool = replay(log).pools[1]
    assert train_window(pool, ahead=True) == 60 and train_window(pool) == 8


def test_a_reveal_counts_when_it_started_from_the_root_that_holds():
    log = [created(1)]
    for number in range(2):
        log.append(
            Fact("RoundOpened", 5, 5, fact_args("RoundOpened", 1, number, "", 1) | {"start_root": "0xP"})
        )
        for node, root in zip(NODES, ("0xP", "0xV", "0xV"), strict=True):
            args = fact_args("Revealed", 1, number, node, 1) | {"reveal": REVEAL | {"start_root": root}}
            log.append(Fact("Revealed", 6, 6, args))
        log.append(Fact("RevealsSealed", 7, 7, fact_args("RevealsSealed", 1, number, "", 3)))
        if number == 0:
            log.append(Fact("Excluded", 8, 8, fact_args("Excluded", 1, 0, "0xA", 1)))
            log.append(Fact("RoundClosed", 8, 8, fact_args("RoundClosed", 1, 0, "", 1)))
    before = replay(log).pools[1]
    assert [list(r.counting) for r in before.rounds.values()] == [["0xA"], ["0xA"]]
    assert list(before.rounds[0].included) == [] and before.rounds[0].file == "0x09"
    log.append(Fact("CloseOverruled", 7, 7, {"pool_id": 1, "round": 0, "posted": "0x04", "root": "0xV"}))
    after = replay(log).pools[1]
    assert list(after.rounds[1].counting) == ["0xB", "0xC"] and after.rounds[1].start_root == "0xV"
    assert (after.rounds[0].root, after.rounds[0].file) == ("0xV", "")
    # Only a disproof before the next round has opened asks for another close.
    disproved = Fact("CloseDisproved", 9, 9, {"pool_id": 1, "round": 0, "finder": "0xF"})
    assert replay([*log, disproved]).pools[1] == after


def test_a_disproved_close_is_done_again():
    facts = ("RoundOpened", "Revealed", "RevealsSealed", "Excluded", "RoundClosed", "CloseDisproved")
    state = replay([created(1)] + [Fact(n, 5, 5, fact_args(n, 1, 0, "0xA", 1)) for n in facts])
    round_ = state.pools[1].rounds[0]
    assert (round_.closed_at, round_.excluded, round_.disproved) == (0, {}, {"0x04"})
    actions = step(state, Tick(9, 9, 0.0))[1]
    assert CloseRound(1, 0) in actions and OpenRound(1, 1) not in actions


def test_the_database_gives_back_what_it_took_and_forgets_what_was_rewound(tmp_path: Path):
    log = [created(1)] + [
        Fact("RoundOpened", b, b, fact_args("RoundOpened", 1, b - 5, "0xA", 1)) for b in (5, 6, 7)
    ]
    db = Database(tmp_path / "db")
    db.append(log[:2], (5, "0xfive"))
    db.append(log[2:], (7, "0xseven"))
    db.close()
    db = Database(tmp_path / "db")
    assert db.facts() == log and replay(db.facts()) == replay(log)
    assert db.cursors() == [(7, "0xseven"), (5, "0xfive")]
    db.rewind(5)
    assert db.facts() == log[:2] and db.cursors() == [(5, "0xfive")]
    db.append(log[2:3], (6, "0xother"))
    assert db.facts() == log[:3]
    db.close()
