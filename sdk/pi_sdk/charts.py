"""Pieces of a page: line charts as SVG with their labels as HTML, tables, legends, and numbers as people
write them.

A chart's SVG is stretched to its box while its labels are HTML on top, so that text keeps its size on a
phone.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

Series = Sequence[tuple[float, float]]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers inside [low, high]."""
    span = max(high - low, 1e-9) / count
    power = 10 ** math.floor(math.log10(span))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def line_chart(
    lines: Sequence[tuple[str, str, Series]],
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    x_ticks: Iterable[tuple[float, str]],
    height: int = 260,
    dots: bool = False,
    mark: tuple[float, str] | None = None,
    label: str,
) -> str:
    """Lines of (name, CSS colour, points) in a box; `mark` is a dashed level with its label."""

    def px(value: float) -> float:
        return round(100 * (value - x[0]) / max(x[1] - x[0], 1e-9), 3)

    def py(value: float) -> float:
        return round(100 * (y[1] - value) / max(y[1] - y[0], 1e-9), 3)

    svg, html = [], []
    for tick in ticks(*y):
        svg.append(f'<line x1="0" x2="100" y1="{py(tick)}" y2="{py(tick)}"/>')
        html.append(f'<i class="y" style="top:{py(tick)}%">{tick:g}</i>')
    html += [f'<i class="x" style="left:{px(at)}%">{escape(text)}</i>' for at, text in x_ticks]
    if mark:
        svg.append(f'<line class="mark" x1="0" x2="100" y1="{py(mark[0])}" y2="{py(mark[0])}"/>')
        html.append(f'<i class="tag" style="top:{py(mark[0])}%">{escape(mark[1])}</i>')
    for name, colour, points in lines:
        if not points:
            continue
        d = f"M{px(points[0][0])} {py(points[0][1])}"
        for at, value in points[1:]:
            d += f"L{px(at)} {py(value)}"
        svg.append(f'<path d="{d}" style="stroke:{colour}"><title>{escape(name)}</title></path>')
        if dots:
            html += [
                f'<u style="left:{px(a)}%;top:{py(v)}%;background:{colour}" title="{escape(name)} {a:g}: '
                f'{v:.4f}"></u>'
                for a, v in points
            ]
    return (
        f'<div class="chart" style="height:{height}px" role="img" aria-label="{escape(label)}">'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(svg)}</svg>{"".join(html)}</div>'
    )


def legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in entries
    )
    return f'<div class="legend">{items}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already; columns in `numbers` are right-aligned."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=num' if i in numbers else ''}>{cell}</{tag}>" for i, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    top = f"<thead><tr>{cells('th', head)}</tr></thead>"
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min" if seconds >= 60 else f"{seconds:.0f} s"


_STRIP_COLOURS = ("#2a9d5c", "#d1495b", "#edae49", "#8d5fd3", "#00798c", "#e07a2f", "#5c6b73")


def strips(
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[float]]], float | None]],
    *,
    left: str,
) -> str:
    """An SVG file of its own: distributions side by side on one logarithmic axis.

    A row is (label, groups of (name, values), limit or None); a group has one colour in all rows and a
    tick per value, a limit is a long line. Zeros stand at the left edge, which is labelled `left`.
    """
    values = [v for _, groups, _ in rows for _, of_group in groups for v in of_group if v > 0]
    low, high = math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values)))
    names = list(dict.fromkeys(name for _, groups, _ in rows for name, _ in groups))
    start, width, step = 330, 560, 34
    bottom = 62 + step * len(rows)

    def at(value: float) -> float:
        place = (math.log10(value) - low) / (high - low) if value > 0 else 0
        return round(start + width * place, 1)

    parts = [f'<text x="12" y="20" font-size="14">{escape(title)}</text>']
    for i, name in enumerate(names):
        x, colour = 12 + i * 125, _STRIP_COLOURS[i % len(_STRIP_COLOURS)]
        parts.append(f'<rect x="{x}" y="32" width="9" height="9" fill="{colour}"/>')
        parts.append(f'<text x="{x + 13}" y="41">{escape(name)}</text>')
    for power in range(low, high + 1):
        x = at(10.0**power)
        text = escape(left) if power == low else f"1e{power}"
        parts.append(f'<path d="M{x} 52V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{text}</text>')
    for number, (label, groups, limit) in enumerate(rows):
        top = 56 + step * number
        parts.append(f'<text x="12" y="{top + 17}">{escape(label)}</text>')
        height = (step - 6) / len(names)
        for name, of_group in groups:
            i = names.index(name)
            y = round(top + i * height, 1)
            ticks_ = "".join(f"M{x} {y}v{height:.1f}" for x in sorted({at(v) for v in of_group}))
            parts.append(f'<path d="{ticks_}" stroke="{_STRIP_COLOURS[i % 7]}" stroke-width="2"/>')
        if limit is not None:
            parts.append(f'<path d="M{at(limit)} {top - 2}v{step - 2}" stroke="#000" stroke-width="1.5"/>')
    body = "\n".join(parts)
    size_ = f'width="{start + width + 30}" height="{bottom + 24}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size_} font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )
