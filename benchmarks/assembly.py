"""Puts the figures of several benchmarks together: one JSON file and one page, each section with the machine
and the commit that it was measured on. What has not been measured is missing.
"""

import json
import math
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files

from pi_sdk.charts import legend, line_chart, table

from .common import RESULTS, machine, readable

COLOURS = (
    *("var(--accent)", "#d9822b", "#3d9970", "#b5467c", "#7a6ff0", "#999", "#c9a227", "#2e86ab", "#8d5524"),
)
Section = Callable[[list[dict]], list | dict]


def assemble(
    name: str,
    title: str,
    sections: Mapping[str, Section],
    plots: Callable[[dict], list[str]],
    also: dict | None = None,
) -> None:
    """Writes results/NAME.json and NAME.html from results/SECTION.json of each section. `also`: what follows
    without a measurement."""
    found = {section: _read(section) for section in sections}
    out: dict = {"version": 1, "machine": machine()}
    for section, shape in sections.items():
        result = found[section]
        if result is not None:
            out[section] = shape(result["rows"])
    out |= also or {}
    out["measured"] = {section: result["machine"] for section, result in found.items() if result is not None}
    (RESULTS / f"{name}.json").write_text(readable(out))
    shown = (*(also or {}), *sections)
    (RESULTS / f"{name}.html").write_text(_page(title, out, shown, plots(out)))
    for section in sections:
        print(f"{section:>12}: {_told(out.get(section))}")
    print(f"written to {RESULTS / name}.json and .html")


def _read(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _told(section: list | dict | None) -> str:
    if section is None:
        return "not measured"
    return f"{len(section)} rows" if isinstance(section, list) else "measured"


# --- the page -----------------------------------------------------------------------------------------------


def _page(title: str, out: dict, sections: tuple[str, ...], plots: list[str]) -> str:
    style = files("pi_sdk").joinpath("report.css").read_text(encoding="utf-8")
    parts = [f"<h1>{escape(title)}</h1>", *plots]
    for name in sections:
        section = out.get(name)
        if isinstance(section, dict):
            section = section.get("parts", [section])
        if section:
            parts.append(_all_rows(name.replace("_", " "), section, out["measured"].get(name)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _all_rows(title: str, rows: list[dict], where: dict | None) -> str:
    names = [name for name in rows[0] if not isinstance(rows[0][name], list)]
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


def chart(title: str, note: str, lines: list[tuple[str, str, list]], log: bool = False) -> str:
    """`lines`: name, colour, points. `log`: powers of ten on the x axis."""
    if log:
        lines = [(name, colour, [(math.log10(x), y) for x, y in points]) for name, colour, points in lines]
    xs = [x for *_, points in lines for x, _ in points]
    ys = [y for *_, points in lines for _, y in points]
    if not xs:
        return ""
    pad = 0.08 * (max(ys) - min(ys) + 1e-3)
    chart = line_chart(
        lines,
        x=(min(xs), max(xs)),
        y=(min(ys) - pad, max(ys) + pad),
        x_ticks=[(x, f"{10**x if log else x:g}") for x in _ticks(min(xs), max(xs), log)],
        dots=True,
        label=title,
    )
    keys = legend((name, colour) for name, colour, _ in lines)
    return f'<section><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{keys}{chart}</section>'


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers from `low` to `high`, ten of them at most."""
    least = (high - low) / 10 or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = 1.0 if log else next(power * m for m in (1, 2, 5, 10) if power * m >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
