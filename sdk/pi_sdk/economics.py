"""What cheating and laziness are worth under a pool's numbers, per slot and round, in tokens. No chain.

A cheat saves at most what the slot is paid for, since nobody trains at a loss: with a share `saved` of the
work left out it gains `saved * price` at most over honest work. It loses pay and stake when it is audited,
when a bad segment is among the replayed ones, and when one auditor at least is honest:

    p = chance of an audit * P(a bad segment is drawn) * P(an honest auditor is drawn)
    value = saved * price - p * (price + slash)

The chance is the least one, of a node with a long clean record. Convictions are taken as certain once an
honest auditor accuses: an acquittal is appealed up to the jury of all seats, two thirds of which are honest.
Pay that a conviction also takes (later rounds, others not settled yet) and the lost node are not counted.

A lazy validator saves a replay, which costs a verdict's fee at most. It loses `slash_overturned` when the
slot was bad and another auditor, who replays, accuses it. So where no slot is ever bad, laziness pays: hence
planted slots (`plants.py`), a share `audit.planted` of all audited ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

from .cheats import CHEATS
from .errors import UsageError
from .types import TOKEN, PoolParams, RunSpec


@dataclass(frozen=True)
class Line:
    """One row: the probability to be caught per round, and the expected value in tokens."""

    who: str
    name: str
    what: str
    probability: float
    value: float


def honest_auditor(params: PoolParams, dishonest: float) -> float:
    """Probability that one of a slot's auditors is honest, with that share of dishonest seats."""
    return 1 - dishonest**params.auditors


def caught(params: PoolParams, found: float, dishonest: float = 0.0) -> float:
    """Probability per round that a cheat with a long clean record is convicted. `found`: `Cheat.found`."""
    return params.audit_rate / 10_000 * found * honest_auditor(params, dishonest)


def payoff(params: PoolParams, probability: float, saved: float) -> float:
    """Expected tokens that a cheat gains over honest work, per slot and round, at the most."""
    price, slash = params.price_per_slot / TOKEN, params.slash_conviction / TOKEN
    return saved * price - probability * (price + slash)


def evaluate(params: PoolParams, spec: RunSpec, dishonest: float = 1 / 3) -> Iterator[Line]:
    """Every cheat and every laziness, with that share of dishonest seats."""
    for name, cheat in CHEATS.items():
        p = caught(params, cheat.found(spec.segments, spec.audit.segments), dishonest)
        yield Line("worker", name, cheat.does, p, payoff(params, p, cheat.spared(spec.segments)))
    fee, overturned = params.verdict_fee / TOKEN, params.slash_overturned / TOKEN
    planted = spec.audit.planted / 10_000
    p = planted * _another_honest(params, dishonest)
    yield Line("validator", "lazy", "accepts without a replay", p, fee - p * overturned)
    yield Line("validator", "absent", "commits no verdicts", 1.0, -params.slash_absence / TOKEN)
    said = "commits another's verdicts, which it cannot open"
    yield Line("validator", "copier", said, 1.0, -params.slash_absence / TOKEN)
    fault = params.slash_false_accusation / TOKEN
    finder = params.finder_fee / 10_000 * params.slash_conviction / TOKEN
    yield Line(
        "validator",
        "false-accuser",
        "accuses without a replay",
        1 - planted,
        fee + planted * finder - (1 - planted) * fault,
    )


def _another_honest(params: PoolParams, dishonest: float) -> float:
    return 1 - dishonest ** (params.auditors - 1)


def least_planted(params: PoolParams, dishonest: float = 1 / 3) -> int | None:
    """Basis points of planted slots from which laziness does not pay; None where no share is enough."""
    weight = params.slash_overturned * _another_honest(params, dishonest)
    share = floor(10_000 * params.verdict_fee / weight) + 1 if weight else 10_001
    return share if share <= 10_000 else None


def check(params: PoolParams, spec: RunSpec) -> None:
    """`UsageError` where some cheat or laziness is worth its while."""
    gains = [line for line in evaluate(params, spec) if line.value > 0]
    if gains:
        said = ", ".join(f"{line.name} gains {line.value:.2g}" for line in gains)
        raise UsageError(
            f"in this pool dishonesty pays, in tokens per slot or verdict: {said}",
            f"see pi pool economics{_planting(params, gains)}; `unsound` creates it all the same",
        )


def _planting(params: PoolParams, gains: list[Line]) -> str:
    least = least_planted(params)
    lazy = any(line.name == "lazy" for line in gains)
    return f"; audit.planted of {least} basis points ends laziness" if lazy and least else ""
