"""Verification's figures in one place: results/verification.json and, with plots, results/verification.html.

python -m benchmarks verification
"""

from .assembly import COLOURS, assemble, chart


def main() -> None:
    assemble("verification", "Verification, measured", _SECTIONS, _plots)


_CAUGHT = {"expected": "p_round", "measured, at least": "p_low", "measured, at most": "p_high"}
"""Of an attack's row; the last two are the ends of the 95 % interval."""


def _one(rows: list[dict]) -> dict:
    return rows[0]


_SECTIONS = {
    "attacks": list,
    "honest": _one,
    "toploc": list,
    "cost": _one,
    "audit": _one,
    "fuzz": _one,
}


def _plots(out: dict) -> list[str]:
    attacks = sorted(out.get("attacks", []), key=lambda row: row["p_round"])
    caught = [
        (name, colour, [(i + 1, 100 * row[key]) for i, row in enumerate(attacks)])
        for colour, (name, key) in zip(COLOURS, _CAUGHT.items(), strict=False)
    ]
    pairs = out.get("honest", {}).get("pairs", [])
    errors = sorted(100 * pair["worst_error"] / pair["limit"] for pair in pairs)
    honest = [("worst error", COLOURS[0], [(i + 1, error) for i, error in enumerate(errors)])]
    speed = [
        (kind, colour, [(row["hidden"], row[f"{kind}_ratio"]) for row in out.get("toploc", [])])
        for colour, kind in zip(COLOURS, ("build", "verify"), strict=False)
    ]
    return [
        chart(
            "Attacks", "Probability to be caught in a round at the least audit rate, %, by attack.", caught
        ),
        chart("Honest work", "Worst error in % of the limit, by pair of classes.", honest),
        chart("Activation proofs", "Times toploc's throughput, by hidden size.", speed),
    ]
