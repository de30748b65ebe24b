"""Every cheat of a worker against audits: how often one that looks finds it, and what that makes per round.

Slots of a tiny model with the default RunSpec's shape (20 inner steps in 5 segments, 2 of them replayed) are
trained by each cheat, in two runs with other data and weights, and audited by real replay with `SEEDS` audit
seeds. An audit finds a cheat when it draws a segment that was faked, so the chance follows from the numbers
alone (`pi_sdk.cheats.Cheat.found`); what is measured is that the share of audits that found it is compatible
with that, by its 95 % interval (Wilson). `margin` is the smallest error of a found segment over the limit of
the pair of classes.

`p_round` = audit probability x P(found | audited), `p_low` and `p_high` its interval, at the default
PoolParams' lowest audit probability, which a node reaches with a clean record; in its first rounds every slot
is audited. `rounds_to_detect` is expected from then on, `rounds_from_start` of a node that cheats from its
first round on. `payoff` is in tokens per slot and round at that probability (`pi_sdk.economics.payoff`).

    python -m benchmarks attacks
"""

import sys
import tempfile
from fractions import Fraction
from math import sqrt
from pathlib import Path

from pi_sdk import economics
from pi_sdk.cheats import CHEATS, Cheat
from pi_sdk.codec import sha256
from pi_sdk.types import AuditSpec, InnerSpec, Outcome, PoolParams, TraceSpec
from pi_train.determinism import default_class, pin

from .common import publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the stage of the tests

SEEDS = 60
_RUNS = 2
_Z = 1.96
PARAMS = PoolParams(orchestrator="0x" + "00" * 20, rounds=1)


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    p, spread = found / of, _Z * _Z / of
    middle, half = p + spread / 2, _Z * sqrt(p * (1 - p) / of + spread / of / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return low if found else 0.0, high if found < of else 1.0


def from_start(found: float) -> float:
    """Expected rounds until a node that cheats from its first round on is found."""
    rounds, hidden = 0.0, 1.0
    for age in range(10_000):
        rounds += hidden
        hidden *= 1 - PARAMS.audit_chance(age) / 10_000 * found
    return rounds


def measured(name: str, cheat: Cheat, stages: list, slots: list, node: str) -> dict:
    """One row: `SEEDS` audits of a cheat's slots, one of each stage, as those of `node`."""
    margins, found = [], 0
    for i in range(SEEDS):
        report = stages[i % _RUNS].audit(slots[i % _RUNS], sha256(f"{name} {i}".encode()), node)
        assert report.outcome in (Outcome.ACCEPT, cheat.outcome), report
        found += report.outcome == cheat.outcome
        if report.outcome != Outcome.ACCEPT and report.worst_error is not None:
            margins.append(report.worst_error / report.limit)
    spec, rate = stages[0].spec, PARAMS.audit_chance(10**6) / 10_000
    chance, (low, high) = cheat.found(spec.segments, spec.audit.segments), wilson(found, SEEDS)
    return {
        "name": name,
        "seeds": SEEDS,
        "detected": found,
        "p_audit": rate,
        "p_found": chance,
        "compatible": low <= chance <= high,
        "p_round": rate * chance,
        "p_low": rate * low,
        "p_high": rate * high,
        "payoff": economics.payoff(PARAMS, rate * chance, cheat.spared(spec.segments)),
        "rounds_to_detect": 1 / (rate * chance),
        "rounds_from_start": from_start(chance),
        "margin": round(min(margins), 1) if margins else None,
    }


def main() -> None:
    pin(default_class())
    from attacks.slots import NODE, PEER, Stage

    shape = {
        "inner": InnerSpec(batch=2, sequence=32),
        "trace": TraceSpec(),
        "audit": AuditSpec(),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stages = []
        for seed in range(_RUNS):
            home = Path(folder) / str(seed)
            home.mkdir()
            stages.append(Stage(home, segments=5, drawn=2, seed=seed, **shape))
        for name, cheat in CHEATS.items():
            slots = [stage.cheated(name) for stage in stages]
            rows.append(measured(name, cheat, stages, slots, NODE))
            print(f"{name}: {rows[-1]['detected']} of {SEEDS}", file=sys.stderr)
        sybil = Cheat("hands in one computation for two nodes", bad=Fraction(1), saved=0.5)
        rows.append(measured("sybil", sybil, stages, [stage.sybil() for stage in stages], PEER))
    note = (
        f"p_round = {rows[0]['p_audit']:.2f} (lowest audit probability) x P(found | audited); margin:"
        " smallest error over the limit, none where the bytes alone show it"
    )
    title = "Cheats of a worker against audits at the default RunSpec's shape"
    shown = (
        "name",
        "seeds",
        "detected",
        "p_found",
        "p_round",
        "p_low",
        "p_high",
        "rounds_to_detect",
        "margin",
    )
    publish("attacks", title, rows, note, shown)


if __name__ == "__main__":
    main()
