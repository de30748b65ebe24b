"""The training engine's figures in one place: results/training.json and, with plots, results/training.html.

Puts together what the other benchmarks left in results/, each with the machine and the commit that it was
measured on. What has not been measured is missing.

    python -m benchmarks training
"""

import json
from collections import defaultdict
from html import escape
from importlib.resources import files

from pi_sdk.charts import legend, line_chart, table
from pi_sdk.types import CodecSpec, OuterSpec
from pi_train.codecs import max_update_bytes

from .common import RESULTS, machine

COLOURS = ("var(--accent)", "#d9822b", "#3d9970", "#b5467c", "#7a6ff0", "#999")
PARAMETERS = 828_544


def main() -> None:
    found = {name: _read(name) for name in _SECTIONS}
    out = {"version": 1, "machine": machine()}
    for name, section in _SECTIONS.items():
        if found[name] is not None:
            out[name] = section(found[name]["rows"])
    out["bytes"] = _bytes()
    out["measured"] = {name: result["machine"] for name, result in found.items() if result is not None}
    (RESULTS / "training.json").write_text(json.dumps(out, indent=1) + "\n")
    (RESULTS / "training.html").write_text(page(out))
    for name in _SECTIONS:
        print(f"{name:>12}: {_told(out.get(name))}")
    print(f"written to {RESULTS / 'training.json'} and training.html")


def _read(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _told(section: list | dict | None) -> str:
    if section is None:
        return "not measured: make bench-training"
    return f"{len(section)} rows" if isinstance(section, list) else "measured"


# --- sections -----------------------------------------------------------------------------------------------


def _utilisation(rows: list[dict]) -> list[dict]:
    return [
        {
            "method": f"{row['method']}, {row['mode']}",
            "up_mbit": 110,
            "down_mbit": 500,
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


# --- the page -----------------------------------------------------------------------------------------------


def page(out: dict) -> str:
    """results/training.html: plots and all rows, self-contained."""
    style = files("pi_sdk").joinpath("report.css").read_text(encoding="utf-8")
    parts = ["<h1>The training engine, measured</h1>"]
    if rows := out.get("loss"):
        parts += [_curves(rows), _frontier(rows)]
    for name in (*_SECTIONS, "bytes"):
        section = out.get(name)
        if isinstance(section, dict):
            section = section.get("parts", [section])
        if section:
            parts.append(_all_rows(name.replace("_", " "), section, out["measured"].get(name)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>The training engine, measured</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _all_rows(title: str, rows: list[dict], where: dict | None) -> str:
    names = [name for name in rows[0] if name != "curve"]
    cells = [[escape(_number(row.get(name))) for name in names] for row in rows]
    numbers = [i for i, name in enumerate(names) if not isinstance(rows[0][name], str)]
    note = f"{where['cpu']}, {where['cores']} cores, commit {where['commit'][:12]}" if where else ""
    return (
        f"<section><h2>{escape(title.capitalize())}</h2>"
        f'<p class="note">{escape(note)}</p>{table(names, cells, numbers)}</section>'
    )


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


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
            _chart(f"Gap to synchronous AdamW, {group}", "Per cent of held-out loss, by inner step.", lines)
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
    return _chart("Loss against traffic", "Held-out loss after 500 steps, by times less traffic.", lines)


def _chart(title: str, note: str, lines: list[tuple[str, str, list]]) -> str:
    xs = [x for *_, points in lines for x, _ in points]
    ys = [y for *_, points in lines for _, y in points]
    if not xs:
        return ""
    pad = 0.08 * (max(ys) - min(ys) + 1e-3)
    every = (max(xs) - min(xs)) / 8 or 1
    chart = line_chart(
        lines,
        x=(min(xs), max(xs)),
        y=(min(ys) - pad, max(ys) + pad),
        x_ticks=[(min(xs) + i * every, f"{min(xs) + i * every:.0f}") for i in range(9)],
        dots=True,
        label=title,
    )
    keys = legend((name, colour) for name, colour, _ in lines)
    return f'<section><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{keys}{chart}</section>'
