"""What must be the same at the end of a trace, as a list of labelled words of up to 128 bits.

`Replay.t.sol` collects the same list from the contracts' views. Hashes are cut to their first 16 bytes.
"""

from collections.abc import Iterator
from functools import cache

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from pi_sdk import codec

from .basics import NOBODY, RING
from .court import Case
from .rounds import Member, Pool, Round
from .world import CREATOR, NODES, OPERATORS, ORCHESTRATOR, STRANGER, TREASURY, World

Words = Iterator[tuple[str, int]]


@cache
def word32(kind: str, number: int) -> bytes:
    """The root, state and so on that a small number stands for."""
    return keccak(encode(["string", "uint256"], [kind, number])) if number else bytes(32)


def _cut(value: bytes) -> int:
    return int.from_bytes(value[:16])


def _pack(bits: int, *values: int) -> int:
    """Values side by side, the first one lowest."""
    packed = 0
    for i, value in enumerate(values):
        assert 0 <= value < 1 << bits, (value, bits)
        packed |= value << bits * i
    assert packed < 1 << 128
    return packed


def words(world: World) -> list[tuple[str, int]]:
    return list(_words(world))


def _words(world: World) -> Words:
    for who in [CREATOR, ORCHESTRATOR, STRANGER, TREASURY, *OPERATORS]:
        account = world.stakes.accounts[who]
        yield f"actor {who} tokens", world.tokens[who]
        yield f"actor {who} bonded", account.bonded
        yield f"actor {who} locked", account.locked
        yield (
            f"actor {who} unbonding, ready at, open cases",
            _pack(40, account.unbonding, account.ready_at, account.open_cases),
        )
        yield (
            f"actor {who} earned, ever",
            _pack(64, world.rewards.earned[who], world.rewards.earned[who] + world.rewards.claimed[who]),
        )
    accounts = world.stakes.accounts.values()
    yield "total bonded", sum(account.bonded for account in accounts)
    yield "total unbonding", sum(account.unbonding for account in accounts)
    yield "seized", world.stakes.seized
    yield "pools, cases", _pack(64, len(world.pools), len(world.court.cases))
    for pool in world.pools.values():
        yield from _pool(world, pool)
    for case in world.court.cases:
        yield from _case(world, case)


def _pool(world: World, p: Pool) -> Words:
    name, budget = f"pool {p.id}", world.rewards.budgets[p.id]
    yield f"{name} funded, reserved", _pack(64, budget.funded, budget.reserved)
    yield f"{name} credited, refunded", _pack(64, budget.credited, budget.refunded)
    yield f"{name} root", _cut(word32("root", p.root))
    members = sum(1 for m in p.members.values() if m.width_after)
    yield (
        f"{name} next, members, slots, ended, last, phase",
        _pack(16, p.next, members, p.slots(), p.ended, p.last, p.phase),
    )
    for number in range(max(0, p.next - RING), p.next):
        yield from _round(world, p, number)
    for node in NODES:
        if node in p.members:
            yield from _member(world, p, node, p.members[node])
    court = world.court
    yield (
        f"{name} seats, live, open cases",
        _pack(32, court.seat_count(p.id), court.live_seats(p.id), court.open_cases(p.id)),
    )
    for place, seat in enumerate(court.benches[p.id].places):
        yield f"{name} seat {place} node", 0 if seat is None else int(world.address(seat.node), 16) >> 32
        if seat is not None:
            lock = world.stakes.locks[seat.operator, ("seat", p.id, seat.node)]
            yield f"{name} seat {place} from, left, lock", _pack(40, seat.active_from, seat.left_at, lock)
    for who in [ORCHESTRATOR, STRANGER, *OPERATORS]:
        yield f"{name} bond of {who}", world.stakes.locks[who, p.bond_name()]


def _accumulator(world: World, r: Round) -> bytes:
    value = bytes(32)
    for node, o in r.reveals:
        roots = word32("root", o.root), word32("update", o.update)
        value = codec.accumulate(value, world.address(node), *roots, o.norm, o.width)
    return value


def _round(world: World, p: Pool, number: int) -> Words:
    r, name = p.rounds[number], f"pool {p.id} round {number}"
    running = number + 1 == p.next
    closed = r.closed_at is not None
    counts = r.expected, r.committed, r.revealed, r.slots, r.excluded if closed else 0, r.seats, r.live_seats
    yield f"{name} expected, committed, revealed, slots, excluded, seats, live", _pack(16, *counts)
    deadlines = (r.commit_deadline, r.reveal_deadline) if running else (0, 0)
    yield f"{name} deadlines, sealed at", _pack(40, *deadlines, r.sealed_at or 0)
    by = 0 if r.poster == NOBODY or not closed else r.poster + 1
    yield f"{name} closed at, seed block, poster", _pack(40, r.closed_at or 0, r.seed_block, by)
    yield f"{name} start root", _cut(word32("root", r.start_root))
    yield f"{name} accumulator", _cut(_accumulator(world, r))
    yield f"{name} result", _cut(word32("root", p.result_root(number)))
    yield f"{name} disprovable until", p.disprovable_until(number)
    final = world.court.is_final(p.id, number)
    audit = world.court.benches[p.id].audits.get(number)
    counts = (
        (0, 0, 0, 0) if audit is None else (audit.committed, audit.revealed, audit.paid, audit.open_cases)
    )
    yield f"{name} final, verdicts committed, revealed, paid, cases", _pack(16, final, *counts)
    seed = audit.seed if audit is not None and audit.seeded else bytes(32)
    yield f"{name} seed", _cut(seed)


def _member(world: World, p: Pool, node: int, m: Member) -> Words:
    name = f"pool {p.id} node {node}"
    width = m.width_at(p.next - 1) if p.next else 0
    left = 0 if m.width_after else m.change_at or 1
    yield (
        f"{name} widths, since, from, left, last, missed, convicted",
        _pack(
            14,
            width,
            m.width_after,
            m.change_at,
            m.active_from,
            left,
            m.last_revealed,
            m.missed,
            m.convicted_from is not None,
        ),
    )
    yield f"{name} state", _cut(word32("state", m.state_out))
    lock = world.stakes.locks[m.operator, p.lock_name(node)]
    yield f"{name} lock, accrued", _pack(64, lock, m.accrued)
    numbers = range(max(0, p.next - RING), p.next)
    yield f"{name} work", _pack(8, *(p.status(number, node) for number in numbers))


def _case(world: World, case: Case) -> Words:
    name, jury = f"case {case.id}", case.jury
    yield f"{name} node", int(world.address(case.node), 16) >> 32
    yield f"{name} accuser", int(world.address(case.accuser), 16) >> 32
    yield (
        f"{name} pool, round, fault, status, width, level, jurors, commits",
        _pack(
            14,
            case.pool,
            case.round,
            case.fault,
            case.status,
            case.width,
            case.level,
            len(jury.places),
            len(jury.votes),
        ),
    )
    yield f"{name} deadlines", _pack(40, case.commit_deadline, case.reveal_deadline, case.appeal_deadline)
    yield f"{name} guilty, innocent", _pack(16, len(jury.guilty), len(jury.innocent))
