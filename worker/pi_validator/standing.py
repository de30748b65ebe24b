"""Where a validator stands in a pool: seat, stake, what it still owes, what may be claimed."""

from pi_sdk.client import Client
from pi_sdk.results import StakeAccount
from pi_sdk.types import TOKEN, Model


class Standing(Model):
    """Amounts in wei. `seat` is None without a seat."""

    pool: int
    node: str
    operator: str | None
    seat: int | None
    active_from: int
    left_at: int
    """First round that no longer draws the seat; 0 = still in."""
    locked: int
    open_rounds: list[int]
    """Rounds that keep the seat's stake: not over yet, or with a case open."""
    open_cases: list[int]
    """Cases that this validator opened, or judges."""
    stake: StakeAccount | None
    claimable: int
    total_earned: int
    gas: int


def standing(client: Client, pool_id: int, node: str) -> Standing:
    """Reads it from the chain. Raises `NotFound` for an unknown pool."""
    found = client.exit_state(pool_id, node)
    seat, operator = found.seat, found.operator
    return Standing(
        pool=pool_id,
        node=node,
        operator=operator,
        seat=seat.index if seat else None,
        active_from=seat.active_from if seat else 0,
        left_at=seat.left_at if seat else 0,
        locked=found.seat_lock,
        open_rounds=list(found.pending_rounds) if seat else [],
        open_cases=list(found.open_cases) if seat else [],
        stake=found.stake,
        claimable=found.earned,
        total_earned=client.total_earned(operator) if operator else 0,
        gas=client.gas_balance(node),
    )


def lines(s: Standing) -> list[str]:
    """The standing as a person reads it."""
    out = [f"node      {s.node}", f"operator  {s.operator or 'none: not registered'}"]
    if s.seat is None:
        out.append(f"seat      none in pool {s.pool}")
    else:
        until = f", given up from round {s.left_at} on" if s.left_at else ""
        out.append(f"seat      {s.seat} of pool {s.pool}, since round {s.active_from}{until}")
        out.append(f"rounds    {_numbers(s.open_rounds)} not over")
        out.append(f"cases     {_numbers(s.open_cases)} open")
    if s.stake is not None:
        free = f"{s.stake.free / TOKEN:g} free, {s.stake.unbonding / TOKEN:g} unbonding"
        out.append(f"stake     {s.locked / TOKEN:g} tokens locked here, {free}")
    out.append(f"pay       {s.claimable / TOKEN:g} tokens to claim, {s.total_earned / TOKEN:g} earned so far")
    return [*out, f"gas       {s.gas / 10**18:.6f} ether on the node key"]


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
