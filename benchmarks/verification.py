"""Verification's figures in one place: results/verification.json and, with plots, results/verification.html.

python -m benchmarks verification
"""

from .assembly import COLOURS, assemble, chart


def main() -> None:
    assemble("verification", "Verification, measured", _SECTIONS, _plots)


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
    lines = []
    for colour, kind in zip(COLOURS, ("build", "verify"), strict=False):
        points = [(row["hidden"], row[f"{kind}_ratio"]) for row in out.get("toploc", [])]
        lines.append((kind, colour, points))
    return [chart("Activation proofs", "Times toploc's throughput, by hidden size.", lines)]
