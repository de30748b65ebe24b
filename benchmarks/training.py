"""The training engine's figures in one place: results/training.json and, with plots, results/training.html.

python -m benchmarks training
"""

import json
from collections import defaultdict
from statistics import mean

from pi_sdk.types import CodecSpec, OuterSpec
from pi_train.codecs import max_update_bytes

from .assembly import COLOURS, assemble, chart
from .common import RESULTS
from .loss import OLD_WINDOWS, WINDOWS

PARAMETERS = 828_544


def main() -> None:
    also = {"loss over seeds": _over_seeds(), "bytes": _bytes()}
    assemble("training", "The training engine, measured", _SECTIONS, _plots, also)


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


def _over_seeds() -> list[dict]:
    """The long runs of each method and setting together: mean loss, and mean, least and largest gap to
    synchronous AdamW of the same seed."""
    path = RESULTS / "loss.json"
    names = ("group", "method", "optimizer", "H", "k", "lr", "alpha", "momentum")
    found = defaultdict(list)
    for row in json.loads(path.read_text())["rows"] if path.exists() else []:
        if row["group"] in ("scratch", "warm") and row["windows"] == WINDOWS and row["gap %"] is not None:
            found[tuple(row[name] for name in names)].append(row)
    out = []
    for values, rows in found.items():
        gaps = [row["gap %"] for row in rows]
        settings = dict(zip(names, values, strict=True)) | {"traffic": rows[0]["traffic"], "seeds": len(rows)}
        loss = {"val_loss": mean(row["val_loss"] for row in rows)}
        spread = {"gap %": mean(gaps), "least gap %": min(gaps), "largest gap %": max(gaps)}
        out.append(settings | loss | spread)
    return out


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
    if not rows:
        return []
    frontiers = [
        _frontier(rows, steps, windows) for windows in (WINDOWS, OLD_WINDOWS) for steps in (500, 1000)
    ]
    return [_curves(rows), *filter(None, frontiers)]


def _label(row: dict) -> str:
    k = f", k = {row['k']}" if row["k"] else ""
    optimizer = f" with {row['optimizer']}" if row["optimizer"] else ""
    return f"{row['method']}{optimizer}, H = {row['H']}{k}"


def _curves(rows: list[dict]) -> str:
    """The gap to the baseline of the same seed as a curve over steps, the mean of all seeds."""
    sections = []
    for group in ("scratch", "warm"):
        mine = [r for r in rows if r["group"] == group and r["curve"] and r["windows"] == WINDOWS]
        baselines = [row for row in mine if row["method"] == "sync" and not row["optimizer"]]
        bases = {row["seed"]: dict(map(tuple, row["curve"])) for row in baselines}
        gaps: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in mine:
            base = bases.get(row["seed"])
            if base is None or row in baselines:
                continue
            for step, loss in row["curve"]:
                nearest = base[min(base, key=lambda b: abs(b - step))]
                gaps[_label(row)][step].append(100 * (loss / nearest - 1))
        lines = [
            (label, colour, [(step, mean(each)) for step, each in sorted(points.items())])
            for colour, (label, points) in zip(COLOURS, gaps.items(), strict=False)
        ]
        if lines:
            note = "Per cent of held-out loss, by inner step; the mean of all seeds."
            sections.append(chart(f"Gap to synchronous AdamW, {group}", note, lines))
    return "".join(sections)


def _frontier(rows: list[dict], steps: int, windows: int) -> str:
    """Loss against total traffic: each method's best run at each setting of those from scratch."""
    best: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        like = (row["steps"], row["warm_steps"], row["R"], row["windows"], row["variant"], row["seed"])
        if like == (steps, 0, 4, windows, "", 0) and row["group"] != "start":
            points = best[" with ".join(filter(None, (row["method"], row["optimizer"])))]
            points[row["traffic"]] = min(row["val_loss"], points.get(row["traffic"], float("inf")))
    if len(best) < 3:  # the sweeps of one thing
        return ""
    lines = [
        (method, colour, sorted((traffic, loss) for traffic, loss in points.items()))
        for colour, (method, points) in zip(COLOURS, best.items(), strict=False)
    ]
    note = (
        f"Held-out loss over {windows} windows, by times less traffic than synchronous fp32; R = 4, seed 0."
    )
    return chart(f"Loss against traffic after {steps} steps", note, lines, log=True)
