"""The training engine's figures in one place: results/training.json and, with plots, results/training.html.

python -m benchmarks training
"""

from collections import defaultdict

from pi_sdk.types import CodecSpec, OuterSpec
from pi_train.codecs import max_update_bytes

from .assembly import COLOURS, assemble, chart

PARAMETERS = 828_544


def main() -> None:
    assemble("training", "The training engine, measured", _SECTIONS, _plots, {"bytes": _bytes()})


# --- sections -----------------------------------------------------------------------------------------------


def _utilisation(rows: list[dict]) -> list[dict]:
    return [
        {
            "method": f"{row['method']}, {row['mode']}",
            "up_mbit": row["up Mbit/s"],
            "down_mbit": row["down Mbit/s"],
            "params": round(row["params M"] * 1e6),
            "R": row["R"],
            "train_seconds": row["train s"],
            "compute_share": row["share %"] / 100,
            "ideal_share": row["ideal %"] / 100,
            "published": row["published"],
        }
        for row in rows
    ]


_SECTIONS = {
    "loss": list,
    "side_by_side": list,
    "utilisation": _utilisation,
    "outer_step": list,
    "overhead": lambda rows: {"parts": rows},
    "churn": lambda rows: rows[0],
}


def _bytes() -> list[dict]:
    """Sizes of update files of the demo's model; they follow from the codec alone."""
    dense = 4 * PARAMETERS
    codecs = [CodecSpec(), CodecSpec(name="dct-topk", k=4), CodecSpec(name="dense-int8")]
    rows = [
        {"codec": c.name, "k": c.kept, "fragments": 1, "bytes": max_update_bytes(c, PARAMETERS)}
        for c in codecs
    ]
    part = OuterSpec(fragments=5).fragment(PARAMETERS, 0)
    rows.append(rows[-1] | {"fragments": 5, "bytes": max_update_bytes(codecs[-1], part.stop - part.start)})
    return [row | {"times below fp32": dense / row["bytes"]} for row in rows]


# --- plots --------------------------------------------------------------------------------------------------


def _plots(out: dict) -> list[str]:
    rows = out.get("loss")
    return [_curves(rows), _frontier(rows)] if rows else []


def _label(row: dict) -> str:
    k = f", k = {row['k']}" if row["k"] else ""
    return "synchronous AdamW" if row["method"] == "sync" else f"{row['method']}, H = {row['H']}{k}"


def _curves(rows: list[dict]) -> str:
    """The gap to the baseline as a curve over steps, of the first seed's long runs."""
    sections = []
    for group in ("scratch", "warm"):
        mine = [row for row in rows if row["group"] == group and row["seed"] == 0 and row["curve"]]
        base = next((dict(map(tuple, row["curve"])) for row in mine if row["method"] == "sync"), None)
        if base is None or len(mine) < 2:
            continue
        lines = []
        for colour, row in zip(COLOURS, (r for r in mine if r["method"] != "sync"), strict=False):
            points = [
                (s, 100 * (loss / base[min(base, key=lambda b: abs(b - s))] - 1)) for s, loss in row["curve"]
            ]
            lines.append((_label(row), colour, points))
        sections.append(
            chart(f"Gap to synchronous AdamW, {group}", "Per cent of held-out loss, by inner step.", lines)
        )
    return "".join(sections)


def _frontier(rows: list[dict]) -> str:
    """Loss against total traffic: each method's best run at each setting of the sweeps."""
    best: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        if row["steps"] == 500 and row["R"] == 4 and not row["variant"]:
            points = best[row["method"]]
            points[row["traffic"]] = min(row["val_loss"], points.get(row["traffic"], float("inf")))
    lines = [
        (method, colour, sorted((traffic, loss) for traffic, loss in points.items()))
        for colour, (method, points) in zip(COLOURS, best.items(), strict=False)
    ]
    return chart("Loss against traffic", "Held-out loss after 500 steps, by times less traffic.", lines)
