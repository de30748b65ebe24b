"""Invents traces: mostly what people would do next, partly anything at all, valid or not."""

import random
from collections.abc import Callable, Iterator

from pi_sdk.types import CaseStatus, Outcome, Phase

from .basics import NOBODY, RING
from .court import Audit, Case, Seat
from .moves import MOVES, Move, play
from .rounds import Opened, Params, Pool, Status
from .world import CREATOR, GUARDIAN, NODES, OPERATORS, ORCHESTRATOR, PROOFS, STRANGER, World

GENESIS = 1
EASY = ("warp", "roll", "create_pool")
"""Moves that are not tried with wild arguments."""
PEOPLE = [CREATOR, ORCHESTRATOR, STRANGER, GUARDIAN, PROOFS, *OPERATORS, *NODES]


def trace(seed: int) -> list[Move]:
    """The moves of one trace."""
    return list(Chance(seed).moves())


def ending(world: World) -> Iterator[Move]:
    """Brings all pools and cases to their end and gets everybody's money out. Each move must be made before
    the next is asked for; all succeed."""
    for p in world.pools.values():
        yield from _end_rounds(world, p)
    for case in world.court.cases:
        while not case.is_ended:
            yield Move("warp", [200])
            yield Move("resolve_case", [STRANGER, case.id])
    yield Move("warp", [1000])
    for p in world.pools.values():
        yield from _leave(world, p)


def _end_rounds(world: World, p: Pool) -> Iterator[Move]:
    while not p.ended:
        yield Move("warp", [200])
        if p.phase == Phase.IDLE:
            if not p.last:
                yield Move("end_pool", [CREATOR, p.id])
            if not p.ended:
                yield Move("open_round", [STRANGER, p.id, 0])
        elif p.phase == Phase.SEALED:
            if world.stakes.locks[ORCHESTRATOR, p.bond_name()] < p.params.close_bond:
                yield Move("stake", [ORCHESTRATOR, p.params.close_bond])
                yield Move("post_bond", [ORCHESTRATOR, p.id])
            yield Move("close", [ORCHESTRATOR, p.id, p.running.start_root])
        else:
            yield Move("seal", [STRANGER, p.id])


def _leave(world: World, p: Pool) -> Iterator[Move]:
    for number in range(p.next):
        if p.in_ring(number) and p.is_overruled(number) and not p.rounds[number].punished:
            yield Move("punish_close", [STRANGER, p.id, number])
        yield Move("release_verdict_reserve", [STRANGER, p.id, number])
    for node, member in p.members.items():
        if member.width_after:
            yield Move("leave", [node, p.id, node])
        yield Move("release_lock", [STRANGER, p.id, node])
    for place, seat in list(world.court.benches[p.id].seats()):
        if seat.left_at == 0:
            yield Move("leave_seat", [seat.node, p.id, place])
        yield Move("release_seat", [STRANGER, p.id, place])
    for who in [ORCHESTRATOR, STRANGER, *OPERATORS]:
        yield Move("release_bond", [who, p.id])


class Chance:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.world = World()
        # What is true of a slot: most validators and jurors find it.
        self.honesty = self.random.choice([0.6, 0.9, 1.0])
        self.guilt = self.random.choice([0.0, 0.2, 0.7])
        self.dissent = self.random.choice([0.0, 0.1, 0.4])
        self.wild = self.random.choice([0.02, 0.1, 0.4])
        """Share of moves whose arguments are anything."""
        self.steps = self.random.choice([80, 150, 250])
        self.clumsy = self.random.choice([0.2, 1.0])
        """How often people get an argument wrong, or are late."""
        self.hurry = self._often(0.5)
        """Little time passes, so that many rounds go by while a case waits."""
        self.lazy = self._often(0.3)
        """Cases are left alone."""
        self.marathon = self._often(0.12)
        """Long enough for the rings to go round, with few people."""
        if self.marathon:
            self.wild, self.clumsy, self.steps, self.hurry = 0.02, 0.2, 500, self._often(0.8)
        self.then: list[Move] = []
        """What somebody does next in any case."""
        self.failed = False
        """The last move did not succeed; somebody would not just try again."""

    def moves(self) -> Iterator[Move]:
        for move in self._prologue():
            play(self.world, move)
            yield move
        for _ in range(self.steps):
            if all(p.ended for p in self.world.pools.values()) and self._often(0.03):
                break
            if self.then:
                move = self.then.pop()
            else:
                move = self._wild() if self._often(self.wild) else self._next()
            self.failed = not play(self.world, move)
            yield move
        if self._often(0.25):
            for move in ending(self.world):
                play(self.world, move)
                yield move

    # --- arguments ------------------------------------------------------------------------------------------

    def _one(self, things):
        return self.random.choice(list(things))

    def _up_to(self, most: int) -> int:
        return self.random.randint(0, most)

    def _often(self, share: float) -> bool:
        return self.random.random() < share

    def _node(self) -> int:
        return self._one(NODES)

    def _owner(self, node: int) -> int:
        return self.world.operator_of(node) or STRANGER

    def _number(self, p: Pool | None) -> int:
        """Of a round, perhaps of none."""
        newest = 0 if p is None else p.next
        return max(0, newest - self._one([0, 1, 1, 1, 2, 2, 3, 4, 15, 16, 17, 18]))

    def _slip(self, share: float) -> bool:
        """A mistake, or a delay."""
        return self._often(share * self.clumsy)

    def _salt(self) -> int:
        return self._up_to(1000) + 1

    def _params(self) -> Params:
        r, one = self.random.randint, self._one
        max_slots, stake, seat_stake = r(2, 12), r(50, 200), r(20, 100)
        min_train = r(5, 40)
        return Params(
            price=r(0, 20),
            stake=stake,
            max_slots=max_slots,
            min_slots=r(1, min(2, max_slots)),
            min_seats=one([0, 0, 1, 2]),
            max_width=r(1, min(4, max_slots)),
            orchestrator=ORCHESTRATOR,
            reveal_window=r(5, 40),
            grace_window=r(5, 30),
            rounds=40 if self.marathon else one([1, 3, 40, 40, 40, 40]),
            slash_miss=r(0, stake // 10),
            close_bond=one([0, r(1, 50)]),
            min_train=min_train,
            max_train=r(min_train, 80),
            verdict_fee=r(0, 9),
            seat_stake=seat_stake,
            verdict_window=r(10, 80),
            verdict_reveal_window=r(5, 40),
            slash_false=r(0, seat_stake),
            slash_absence=r(0, seat_stake // 10),
            audit_rate=one([1, 3000, 10_000, 10_000]),
            probation=one([0, 1, 3]),
            verdict_budget=one([0, 1, 3, 20]),
            auditors=r(1, 3),
            jury_size=r(1, 3),
            slash_conviction=r(0, stake),
            slash_overturned=r(0, seat_stake),
            vote_window=r(20, 80),
            vote_reveal_window=r(20, 60),
            appeal_bond=r(0, 40),
            appeal_window=r(5, 20),
            finder_fee=r(0, 2000),
        )

    # --- beginning ------------------------------------------------------------------------------------------

    def _prologue(self) -> Iterator[Move]:
        for pool in range(1, self._one([1, 1, 1, 2]) + 1):
            params = self._params()
            yield Move("create_pool", [CREATOR, GENESIS, *params])
            yield Move("fund", [CREATOR, pool, 100_000 if self.marathon else self._one([500, 5000, 100_000])])
            for who in [ORCHESTRATOR, *self._some([STRANGER], 0.3)]:
                yield Move("stake", [who, 100])
                yield Move("post_bond", [who, pool])
        for operator in OPERATORS:
            yield Move("stake", [operator, self._one([100, 1000, 2000, 2000])])
        for pool, p in list(self.world.pools.items()):
            nodes = self._some(NODES, 0.15 if self.marathon else self._one([0.2, 0.4]))
            for node in nodes:
                yield Move(
                    "join", [self._owner(node), pool, node, self.random.randint(1, p.params.max_width)]
                )
            if self._often(0.75):
                for node in self._some(set(NODES) - set(nodes), 0.5):
                    yield Move("take_seat", [self._owner(node), pool, node])

    def _some(self, things, share: float) -> list:
        return [thing for thing in things if self._often(share)]

    # --- anything -------------------------------------------------------------------------------------------

    def _wild(self) -> Move:
        pool = self._one([*self.world.pools, *self.world.pools, *self.world.pools, 0, 9])
        p = self.world.pools.get(pool)
        who, node, number = self._one(PEOPLE), self._node(), self._number(p)
        if self._often(0.5):
            who = self._owner(node)
        place, case = self._up_to(6), self._up_to(len(self.world.court.cases) + 1)
        amount, salt = self._one([0, 1, 37, 150, 1000, 2_000_000]), self._salt()
        name = self._one([m for m in MOVES if m not in EASY])
        arguments: dict[str, list[int]] = {
            "stake": [who, amount],
            "request_unbond": [who, amount],
            "rebond": [who],
            "withdraw": [who],
            "pay_treasury": [who],
            "fund": [who, pool, amount],
            "claim": [who, self._one(PEOPLE)],
            "refund": [self._one([who, CREATOR]), pool],
            "pause": [self._one([who, GUARDIAN]), self._up_to(1)],
            "revoke": [who, node],
            "join": [who, pool, node, self._up_to(5)],
            "set_width": [who, pool, node, self._up_to(5)],
            "leave": [who, pool, node],
            "eject": [self._one([who, CREATOR]), pool, node],
            "release_lock": [who, pool, node],
            "settle": [who, pool, node],
            "report_miss": [who, pool, number, node],
            "end_pool": [who, pool],
            "roll_back": [self._one([who, CREATOR]), pool, number],
            "open_round": [self._one([who, ORCHESTRATOR]), pool, self._up_to(90)],
            "commit": [node, pool, self._node(), number, salt, GENESIS, *[self._up_to(2) for _ in range(5)]],
            "reveal": [node, pool, salt, GENESIS, *[self._up_to(2) for _ in range(5)]],
            "seal": [who, pool],
            "close": [self._one([who, ORCHESTRATOR]), pool, self._up_to(3), *self._some(NODES, 0.1)],
            "post_bond": [who, pool],
            "release_bond": [self._one([who, ORCHESTRATOR]), pool],
            "punish_close": [who, pool, number],
            "convict_proven": [
                self._one([who, PROOFS]),
                pool,
                number,
                node,
                self._up_to(150),
                self._one([NOBODY, who]),
                1500,
            ],
            "disprove": [self._one([who, PROOFS]), pool, number, self._one([NOBODY, who]), 2000],
            "take_seat": [who, pool, node],
            "leave_seat": [who, pool, place],
            "release_seat": [who, pool, place],
            "watch": [node, pool, self._node()],
            "plant": [self._one([who, CREATOR]), pool, number, node, salt],
            "open_plant": [who, pool, number, node, salt],
            "capture_seed": [who, pool, number],
            "commit_verdicts": [node, pool, number, salt, self._node(), self._up_to(3), salt],
            "reveal_verdicts": [node, pool, number, salt, self._node(), self._up_to(3), salt],
            "release_verdict_reserve": [who, pool, number],
            "commit_vote": [node, case, self._up_to(3), salt, salt],
            "reveal_vote": [node, case, self._up_to(3), salt, salt],
            "resolve_case": [who, case],
            "appeal": [who, case],
            "report_absence": [who, pool, number, place],
            "report_absent_juror": [who, case, self._up_to(3), place],
            "report_overturned_vote": [who, case, self._up_to(3), place],
            "report_overturned_verdict": [who, pool, number, place, self._up_to(1), salt],
        }
        return Move(name, arguments[name])

    # --- what people would do -------------------------------------------------------------------------------

    def _next(self) -> Move:
        p = self._one(self.world.pools.values())
        ways: list[tuple[int, Callable[[Pool], Move | None]]] = [
            (60, self._work),
            (8 if self.world.court.benches[p.id].places else 1, self._judge),
            ((10 if self.lazy else 250) if self.world.court.open_cases(p.id) else 4, self._try_case),
            (5, self._membership),
            (8, self._tidy),
            (5, self._money),
            (1 if self.hurry else 6, self._pass_time),
        ]
        while True:
            ((_, way),) = self.random.choices(ways, [weight for weight, _ in ways])
            move = way(p)
            if move is not None:
                return move

    def _pass_time(self, p: Pool) -> Move:
        if self._often(0.4):
            return Move("roll", [self._one([1, 2, 2, 5, 300, 9000 if self._often(0.1) else 2])])
        seconds = [1, 2, 5, 10] if self.hurry else [1, 5, 10, 30, 30, 100, 300 if self._often(0.3) else 60]
        return Move("warp", [self._one(seconds)])

    def _until(self, deadline: int) -> Move:
        """Waits for a deadline, often exactly to its last or first second."""
        left = max(0, deadline - self.world.clock.now)
        return Move("warp", [left + self._one([0, 1, 1, 1, 5])])

    def _work(self, p: Pool) -> Move | None:
        if p.ended:
            return self._one([self._membership, self._money, self._tidy, self._tidy, self._pass_time])(p)
        if p.phase == Phase.IDLE:
            return self._open(p)
        if p.phase == Phase.COMMIT:
            return self._commit(p)
        if p.phase == Phase.REVEAL:
            return self._reveal(p)
        return self._close(p)

    def _open(self, p: Pool) -> Move:
        oldest = p.next - RING
        if oldest >= 0 and not self.world.court.is_final(p.id, oldest):
            return self._pass_time(p)
        if self.world.rewards.budgets[p.id].free < 100 and self._often(0.5):
            return Move("fund", [CREATOR, p.id, 1000])
        if p.rounds and self._often(0.03):
            # A watcher has proved the last close wrong.
            number = p.next - 1
            out = [node for node, m in p.members.items() if number in m.work and m.work[number].excluded]
            out.sort(key=lambda node: int(self.world.address(node), 16))
            return Move("disprove", [PROOFS, p.id, number, self._one([NOBODY, STRANGER]), 1000, *out])
        if self._often(0.006):
            return Move("end_pool", [CREATOR, p.id])
        if p.rounds and self._often(0.02):
            back = min(p.next, 1 + self._up_to(RING + 1))
            return Move("roll_back", [CREATOR, p.id, p.next - back])
        if p.slots() < p.params.min_slots and not p.last:
            return self._join(p)
        if self.world.court.live_seats(p.id) < p.params.min_seats:
            node = self._node()
            return Move("take_seat", [self._owner(node), p.id, node])
        who = self._one([ORCHESTRATOR] * 9 + [STRANGER])
        return Move("open_round", [who, p.id, self.random.randint(p.params.min_train, p.params.max_train)])

    def _roots(self, p: Pool) -> int:
        """The root that a node names: this round's, or one of two others."""
        return self._one([900 + p.next, 950 + p.next]) if self._often(self.dissent) else p.running.start_root

    def _commit(self, p: Pool) -> Move:
        number = p.next - 1
        waiting = [n for n, m in p.members.items() if m.width_at(number) and not m.committed_in(number)]
        if not waiting or self._slip(0.05):
            return self._until(p.running.commit_deadline)
        node = self._one(waiting)
        m = p.members[node]
        if p.last and not self._slip(0.1):
            opening = Opened(self._salt(), self._roots(p), 0, 0, 0, 0, m.width_at(number))
        else:
            opening = Opened(
                salt=self._salt(),
                root=self._roots(p),
                update=self._up_to(10_000) + 1,
                state_in=self._one([0, 77]) if self._slip(0.1) else m.state_out,
                state_out=self._up_to(10_000) + 1,
                norm=self._up_to(10**6),
                width=m.width_at(number) + self._slip(0.02),
            )
        of_node = self._node() if self._slip(0.02) else node
        return Move("commit", [node, p.id, of_node, number, *opening])

    def _reveal(self, p: Pool) -> Move:
        number = p.next - 1
        waiting = [
            n for n, m in p.members.items() if m.committed_in(number) and m.last_revealed != number + 1
        ]
        if waiting and not self._slip(0.05) and self.world.clock.now <= p.running.reveal_deadline:
            if not self.failed or self._often(0.5):
                return self._reveal_of(p, self._one(waiting))
        if waiting and self.world.clock.now <= p.running.reveal_deadline:
            return self._until(p.running.reveal_deadline)
        return Move("seal", [STRANGER, p.id])

    def _reveal_of(self, p: Pool, node: int) -> Move:
        commitment = p.members[node].latest
        assert commitment is not None
        return Move("reveal", [node, p.id, *commitment.opening])

    def _close(self, p: Pool) -> Move | None:
        number, r = p.next - 1, p.running
        if r.live_seats and r.revealed and not self.world.court.is_final(p.id, number) and self._often(0.85):
            return self._judge(p)
        if self._slip(0.1):
            late = [n for n, m in p.members.items() if m.latest is not None and number not in m.work]
            return self._reveal_of(p, self._one(late)) if late else None
        revealed = [n for n, m in p.members.items() if number in m.work]
        out = [n for n in revealed if p.status(number, n) == Status.REVEALED and self._often(0.08)]
        included = r.votes.get(r.start_root, 0) - sum(p.members[n].width_at(number) for n in out)
        root = 100 + p.next if included else r.start_root
        who = self._one([ORCHESTRATOR] * 9 + [STRANGER])
        if self.world.stakes.locks[who, p.bond_name()] < p.params.close_bond and self._often(0.8):
            return Move("post_bond", [who, p.id]) if self._often(0.7) else Move("stake", [who, 60])
        return Move("close", [who, p.id, root, *out])

    # --- courts ---------------------------------------------------------------------------------------------

    def _judge(self, p: Pool) -> Move | None:
        court = self.world.court
        bench = court.benches[p.id]
        if not bench.places and not self._often(0.1):
            return None
        numbers = [
            n for n in range(max(0, p.next - 3), p.next) if p.rounds[n].revealed and p.rounds[n].live_seats
        ]
        open_ = [n for n in numbers if not court.is_final(p.id, n)]
        if not numbers or (not open_ and self._often(0.5)):
            return None
        number = self._one(open_ or numbers)
        if p.rounds[number].sealed_at is None:
            return None
        audit = bench.audits.get(number)
        if audit is None or not audit.seeded:
            block = p.rounds[number].seed_block if audit is None else audit.seed_block
            if self.world.clock.block <= block:
                return Move("roll", [2])
            return Move("capture_seed", [STRANGER, p.id, number])
        return self._verdict(p, number, audit)

    def _finding(self, p: Pool, number: int, node: int) -> int:
        truth = random.Random(f"{p.id} {number} {node}")
        guilty = truth.random() < self.guilt
        if not self._often(self.honesty):
            guilty = not guilty
        return self._one([Outcome.MISMATCH, Outcome.MISMATCH, Outcome.WITHHELD]) if guilty else Outcome.ACCEPT

    def _verdict(self, p: Pool, number: int, audit: Audit) -> Move | None:
        court = self.world.court
        seats = [(place, s) for place, s in court.benches[p.id].seats() if s.is_live(number)]
        if not court.commits_over(audit):
            waiting = [(place, s) for place, s in seats if number not in s.verdicts]
            if not waiting or self._slip(0.08):
                return self._until(audit.commit_deadline)
            place, seat = self._one(waiting)
            drawn = [node for node in p.members if place in court.drawn(p.id, number, node)]
            list_ = [x for node in drawn for x in (node, self._finding(p, number, node), self._salt())]
            if self._slip(0.05):
                list_ += [self._node(), Outcome.ACCEPT, 1]
            return Move("commit_verdicts", [seat.node, p.id, number, self._salt(), *list_])
        if not court.is_audit_over(audit):
            waiting = [s for _, s in seats if number in s.verdicts and not s.verdicts[number].opened]
            if not waiting or self._slip(0.08):
                return self._until(audit.reveal_deadline)
            return self._reveal_verdicts(p, number, self._one(waiting))
        absent = [place for place, s in seats if place not in audit.marked]
        if absent and self._often(0.3):
            return Move("report_absence", [STRANGER, p.id, number, self._one(absent)])
        return self._report_verdict(p, number, seats) if self._often(0.5) else None

    def _reveal_verdicts(self, p: Pool, number: int, seat: Seat) -> Move:
        kept = seat.verdicts[number]
        flat = [x for verdict in kept.verdicts for x in verdict]
        return Move("reveal_verdicts", [seat.node, p.id, number, kept.salt, *flat])

    def _report_verdict(self, p: Pool, number: int, seats: list[tuple[int, Seat]]) -> Move | None:
        court = self.world.court
        convicted = {c.node for c in court.cases if c.round == number and c.status == CaseStatus.CONVICTED}
        for place, seat in seats:
            kept = seat.verdicts.get(number)
            for which, v in enumerate(kept.verdicts if kept is not None else ()):
                if v.node in convicted and v.outcome == Outcome.ACCEPT and self._often(0.7):
                    assert kept is not None
                    flat = [x for verdict in kept.verdicts for x in verdict]
                    start = [STRANGER, p.id, number, place, which, kept.salt]
                    return Move("report_overturned_verdict", [*start, *flat])
        return None

    def _try_case(self, p: Pool) -> Move | None:
        cases = [c for c in self.world.court.cases if c.pool == p.id]
        running = [c for c in cases if not c.is_ended]
        if running and self._often(0.8):
            return self._jury(self._one(running))
        ended = [c for c in cases if c.is_ended]
        return self._report_juror(self._one(ended)) if ended and self._often(0.5) else None

    def _jury(self, case: Case) -> Move:
        court, jury = self.world.court, case.jury
        resolve = Move("resolve_case", [STRANGER, case.id])
        if case.status == CaseStatus.DECIDED:
            if self.world.clock.now <= case.appeal_deadline and self._often(0.5):
                loser = court._loser(case, case.found_guilty)
                return Move("appeal", [loser if self._often(0.9) else self._one(PEOPLE), case.id])
            over = self.world.clock.now > case.appeal_deadline
            return resolve if over else self._until(case.appeal_deadline)
        seats = dict(court.benches[case.pool].seats())
        if not court.votes_over(case):
            waiting = [place for place in jury.places if place not in jury.votes]
            if not waiting or self._slip(0.1):
                return self._until(case.commit_deadline)
            outcome = self._finding(self.world.pools[case.pool], case.round, case.node)
            return Move(
                "commit_vote",
                [seats[self._one(waiting)].node, case.id, outcome, self._salt(), self._salt()],
            )
        waiting = [place for place in jury.votes if place not in jury.guilty | jury.innocent]
        if waiting and self.world.clock.now < case.reveal_deadline and not self._slip(0.1):
            place = self._one(waiting)
            return Move("reveal_vote", [seats[place].node, case.id, *jury.votes[place]])
        if waiting and self.world.clock.now < case.reveal_deadline and self._often(0.8):
            return self._until(case.reveal_deadline)
        return resolve

    def _report_juror(self, case: Case) -> Move | None:
        level = self._up_to(len(case.juries) - 1)
        jury = case.juries[level]
        if not jury.places:
            return None
        name = self._one(["report_absent_juror", "report_overturned_vote"])
        return Move(name, [STRANGER, case.id, level, self._one(jury.places)])

    # --- membership and money -------------------------------------------------------------------------------

    def _join(self, p: Pool) -> Move:
        if self.world.paused and self._often(0.5):
            return Move("pause", [GUARDIAN, 0])
        node = self._node()
        return Move("join", [self._owner(node), p.id, node, self.random.randint(1, p.params.max_width)])

    def _membership(self, p: Pool) -> Move:
        if not p.members or self._often(0.4):
            return self._join(p)
        node = self._one(p.members)
        owner, name = (
            self._owner(node),
            self._one(["set_width", "set_width", "leave", "eject", "seat", "leave_seat"]),
        )
        if name == "set_width":
            return Move("set_width", [owner, p.id, node, self.random.randint(1, p.params.max_width)])
        if name == "leave":
            return Move("leave", [self._one([owner, node]), p.id, node])
        if name == "eject":
            return Move("eject", [CREATOR, p.id, node])
        if name == "seat":
            seat = self._node()
            return Move("take_seat", [self._owner(seat), p.id, seat])
        return self._seats(p)

    def _seats(self, p: Pool) -> Move:
        seats = list(self.world.court.benches[p.id].seats())
        left = [place for place, s in seats if s.left_at]
        if left and self._often(0.7):
            return Move("release_seat", [STRANGER, p.id, self._one(left)])
        if self._often(0.3):
            return self._plants(p)
        if seats and self._often(0.5):
            return Move("watch", [self._one(seats)[1].node, p.id, self._node()])
        if seats and self._often(0.5):
            place, seat = self._one(seats)
            return Move("leave_seat", [self._one([seat.node, seat.operator]), p.id, place])
        return self._join(p)

    def _plants(self, p: Pool) -> Move:
        hidden = list(self.world.court.benches[p.id].hidden)
        if hidden and self._often(0.6):
            return Move("open_plant", [STRANGER, p.id, *self._one(hidden)])
        number = max(0, p.next + self._one([-1, 0, 0, 1]))
        return Move("plant", [CREATOR, p.id, number, self._node(), 1])

    def _tidy(self, p: Pool) -> Move | None:
        """Settle, report, release."""
        name = self._one(
            ["settle", "settle", "miss", "miss", "lock", "bond", "punish", "reserve", "proof", "seat"]
        )
        number = max(0, p.next - self._one([1, 2, 2, 3]))
        if name == "seat":
            return self._seats(p)
        if name == "bond":
            return Move("release_bond", [self._one([ORCHESTRATOR, STRANGER]), p.id])
        if name == "punish":
            overruled = [n for n in range(max(0, p.next - RING), p.next) if p.is_overruled(n)]
            return Move("punish_close", [STRANGER, p.id, self._one(overruled)]) if overruled else None
        if name == "reserve":
            return Move("release_verdict_reserve", [STRANGER, p.id, number])
        if not p.members:
            return None
        node = self._one(p.members)
        if name == "settle":
            return Move("settle", [STRANGER, p.id, node])
        if name == "lock":
            return Move("release_lock", [STRANGER, p.id, node])
        if name == "miss":
            last = p.members[node].last_revealed
            return Move("report_miss", [STRANGER, p.id, self._one([number, last, last + 1]), node])
        if not self._often(0.3):
            return None
        number, fee = self._one([number, *p.members[node].work]), self._one([0, 2000])
        finder = self._one([NOBODY, STRANGER])
        proof = Move("convict_proven", [PROOFS, p.id, number, node, 80, finder, fee])
        if self._often(0.7):
            return proof
        # An ejected node still works in the running round, where a proof finds it.
        self.then.append(proof)
        return Move("eject", [CREATOR, p.id, node])

    def _money(self, p: Pool) -> Move | None:
        world, who = self.world, self._one(OPERATORS)
        account = world.stakes.accounts[who]
        name = self._one(
            ["stake", "claim", "claim", "unbond", "withdraw", "withdraw", "rebond", "refund", "treasury"]
        )
        if name == "stake":
            return Move("stake", [who, self._one([50, 200, 1000])])
        if name == "claim":
            return Move("claim", [who, self._one([who, STRANGER])]) if world.rewards.earned[who] else None
        if name == "unbond":
            return Move(
                "request_unbond",
                [who, self._one([account.free, max(1, account.free // 2), account.free + 1])],
            )
        if name == "refund":
            return Move("refund", [CREATOR, p.id]) if p.ended and world.rewards.budgets[p.id].free else None
        if name == "treasury":
            return Move("pay_treasury", [STRANGER]) if world.stakes.seized else None
        if not account.unbonding:
            return None
        if name == "withdraw":
            waits = world.clock.now < account.ready_at and self._often(0.05)
            return self._until(account.ready_at) if waits else Move("withdraw", [who])
        return Move("rebond", [who]) if self._often(0.3) else None
