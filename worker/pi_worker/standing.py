"""Where a node stands in a pool: stake, membership, its last rounds, what may be claimed, what is locked
until when.
"""

import time

from pi_sdk.client import Client
from pi_sdk.results import StakeAccount
from pi_sdk.types import RING, TOKEN, Model, PoolParams, RecordStatus

from .rounds import is_expected


class RoundStanding(Model):
    """One round of a node. `final_by` is the latest time (unix seconds) at which it is final, cases aside."""

    round: int
    status: str
    """none (also: settled), committed, outvoted, revealed, excluded or contested."""
    final: bool
    final_by: int | None
    case: int | None
    """Id of the open case about it."""


class Standing(Model):
    """Everything that `pi-worker status` says. Money in token wei, `gas` in wei."""

    pool: int
    node: str
    operator: str | None
    member: bool
    width: int
    """In the running round."""
    next_width: int
    """From round `change_at` on; 0 = out."""
    change_at: int
    accrued: int
    """Slots whose pay the next claim settles, beside those of rounds that are final since."""
    active_from: int
    left_at: int | None
    missed: int
    convicted: bool
    rounds: list[RoundStanding]
    locked: int
    """Stake behind this node in this pool."""
    locked_until: int | None
    """Unix seconds at which the lock can be released at the latest; None while the node is in."""
    stake: StakeAccount | None
    claimable: int
    total_earned: int
    gas: int


def standing(client: Client, pool_id: int, node: str) -> Standing:
    """Reads it from the chain. Raises `NotFound` for an unknown pool."""
    pool, params = client.pool(pool_id), client.pool_params(pool_id)
    member = client.member(pool_id, node)
    operator = client.operator_of(node)
    rounds = []
    for number in range(max(0, pool.next_round - RING), pool.next_round):
        known = client.record(pool_id, number, node).status != RecordStatus.NONE
        if known or (member is not None and is_expected(member, number)):
            rounds.append(_round(client, params, pool_id, number, node))
    exit_ = client.exit_state(pool_id, node)
    left = member is not None and member.left_at > 0
    return Standing(
        pool=pool_id,
        node=node,
        operator=operator,
        member=member is not None and member.next_width > 0,
        width=member.width if member else 0,
        next_width=member.next_width if member else 0,
        change_at=member.change_at if member else 0,
        accrued=member.accrued if member else 0,
        active_from=member.active_from if member else 0,
        left_at=member.left_at if member and left else None,
        missed=member.missed if member else 0,
        convicted=member is not None and member.convicted,
        rounds=rounds,
        locked=exit_.worker_lock,
        locked_until=exit_.unlocks_by if exit_.worker_lock else None,
        stake=exit_.stake,
        claimable=exit_.earned,
        total_earned=client.total_earned(operator) if operator else 0,
        gas=client.gas_balance(node),
    )


def _round(client: Client, params: PoolParams, pool_id: int, number: int, node: str) -> RoundStanding:
    info = client.round(pool_id, number)
    case = client.case_about(pool_id, number, node)
    is_open = case != 0 and client.case(case).is_open
    final = info.closed_at > 0 and client.is_final(pool_id, number)
    sealed_by = info.sealed_at or info.reveal_deadline
    return RoundStanding(
        round=number,
        status=RecordStatus(client.record(pool_id, number, node).status).name.lower(),
        final=final,
        final_by=None if final else sealed_by + params.verdict_window + params.verdict_reveal_window,
        case=case if is_open else None,
    )


def lines(s: Standing) -> list[str]:
    """The standing as a person reads it."""
    place = (
        f"member of pool {s.pool} with width {s.next_width} since round {s.active_from}" if s.member else ""
    )
    if s.member and s.width and s.width != s.next_width:
        place += f" (width {s.width} before round {s.change_at})"
    if s.convicted:
        place = f"convicted in pool {s.pool}"
    elif s.left_at is not None:
        place = f"left pool {s.pool} before round {s.left_at}"
    out = [f"node      {s.node}", f"operator  {s.operator or 'none: not registered'}"]
    out.append(
        f"standing  {place or f'no member of pool {s.pool}'}" + (f", {s.missed} missed" if s.missed else "")
    )
    for r in s.rounds:
        final = "final" if r.final else f"final by {_clock(r.final_by)}"
        out.append(f"round {r.round:<4}{r.status}, {f'case {r.case} is open' if r.case else final}")
    if s.stake is not None:
        free = f"{s.stake.free / TOKEN:g} free, {s.stake.unbonding / TOKEN:g} unbonding"
        out.append(f"stake     {s.locked / TOKEN:g} tokens locked here, {free}")
    if s.locked_until is not None:
        out.append(f"unlocks   by {_clock(s.locked_until)}: pi-worker leave")
    out.append(f"pay       {s.claimable / TOKEN:g} tokens to claim, {s.total_earned / TOKEN:g} earned so far")
    return [*out, f"gas       {s.gas / 10**18:.6f} ether on the node key"]


def _clock(when: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
