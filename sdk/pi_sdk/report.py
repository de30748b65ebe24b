"""report.html of a run: one self-contained page, a pure function of the summary and the time line
(`summary.py`).

Charts are inline SVG stretched to their box, with labels as HTML on top, so that text keeps its size on a
phone. There are no scripts and nothing is loaded from anywhere. Whatever comes from a run is escaped.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from . import charts
from .table import FAULTS, STATUS, brief, tokens

_KINDS = ("train", "commit", "reveal", "audit")


def render(summary: dict[str, Any], timeline: dict[str, Any]) -> str:
    """The page as text."""
    parts = [
        _header(summary, timeline),
        _figures(summary),
        _loss(summary, timeline),
        _lanes(timeline),
        f'<div class="pair">{_bytes(summary, timeline)}{_money(summary, timeline)}</div>',
        _accounts(timeline),
        _agents(summary, timeline),
        _faults(timeline),
        _rounds(summary),
        _sample(timeline),
        _gas(summary),
        _parameters(summary, timeline),
    ]
    style = files("pi_sdk").joinpath("report.css").read_text(encoding="utf-8")
    title = escape(f"{timeline['name']}: {len(summary['rounds'])} rounds")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


# --- words ------------------------------------------------------------------------------------------------


def _header(summary: dict, timeline: dict) -> str:
    first, last, entropy = (summary["loss"][k] for k in ("first", "last", "unigram_entropy"))
    slashed = []
    for name, w in zip(_names(timeline, "worker"), summary["workers"], strict=True):
        if w["slashed"]:
            told = f", told to cheat ({escape(w['cheat'])})," if w["cheat"] else ""
            lost = f"{tokens(w['slashed'])} of its {tokens(w['staked'])} tokens"
            slashed.append(f"{escape(name)}{told} lost {lost} of stake")
    loss = (
        f" Held-out loss went from {first:.2f} to <b>{last:.2f}</b> nats per token; guessing tokens by their "
        "frequency gives "
        f"{entropy:.2f}."
        if first is not None
        else ""
    )
    verdict = f" {_join(slashed)}." if slashed else " Nobody lost stake: every audit agreed with the work."
    return (
        f'<header><div class="eyebrow">{escape(timeline["name"])} · chain {summary["chain"]["chain_id"]} · '
        f"pool {timeline['pool_id']}</div>"
        f"<h1>{len(summary['workers'])} workers, {len(summary['rounds'])} rounds, one model</h1>"
        '<p class="lead">Each update was committed on chain before anybody could see it, and '
        f"{len(summary['validators'])} "
        "validators replayed a sample of the work."
        f"{loss}{verdict}</p></header>"
    )


def _figures(summary: dict) -> str:
    loss, money, rounds = summary["loss"], summary["money"], summary["rounds"]
    sizes = [n for r in rounds for n in r["update_bytes"].values()]
    cards = [
        (f"{loss['last']:.3f}" if loss["last"] is not None else "–", "held-out loss, nats per token"),
        (f"{_ratio(rounds, sizes):.0f}×" if sizes else "–", "fewer bytes than dense fp32"),
        (tokens(money["paid"] + money["unpaid"]), "tokens earned by workers and validators"),
        (tokens(sum(money["slashed_to"].values())), "tokens of stake slashed"),
        (
            charts.duration(summary["seconds"]["run"]),
            f"for the rounds, after {summary['seconds']['setup']:.0f} s of set-up",
        ),
        (charts.size(summary["memory"]["peak_pss_bytes"]), "memory of all processes at the peak"),
    ]
    return (
        '<div class="figures">'
        + "".join(f"<div><b>{a}</b><span>{b}</span></div>" for a, b in cards)
        + "</div>"
    )


def _ratio(rounds: list, sizes: list[int]) -> float:
    return rounds[0]["dense_bytes"] / (sum(sizes) / len(sizes))


def _names(timeline: dict, role: str) -> list[str]:
    return [a["name"] for a in timeline["agents"] if a["role"] == role]


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# --- charts -----------------------------------------------------------------------------------------------


def _loss(summary: dict, timeline: dict) -> str:
    points = [(r["round"] + 1, r["val_loss"]) for r in summary["rounds"] if r["val_loss"] is not None]
    if timeline["genesis_loss"] is not None:
        points.insert(0, (0, timeline["genesis_loss"]))
    if not points:
        return ""
    entropy = summary["loss"]["unigram_entropy"]
    values = [v for _, v in points] + [entropy]
    pad = 0.08 * (max(values) - min(values) + 0.1)
    every = max(1, len(points) // 12)
    chart = charts.line_chart(
        [("round", "var(--accent)", points)],
        x=(points[0][0], max(points[-1][0], points[0][0] + 1)),
        y=(min(values) - pad, max(values) + pad),
        x_ticks=[(n, str(n)) for n, _ in points[::every]],
        height=300,
        dots=True,
        mark=(entropy, f"unigram entropy {entropy:.2f}"),
        label=f"Held-out loss by round, from {points[0][1]:.2f} to {points[-1][1]:.2f}",
    )
    return (
        "<section><h2>Held-out loss</h2>"
        '<p class="note">Nats per token after each round (0: before training), on a fixed set of windows '
        "that nobody trains on, "
        "measured by one "
        f"validator. It is not part of consensus.</p>{chart}</section>"
    )


def _lanes(timeline: dict) -> str:
    total = max(timeline["seconds"], 1e-9)

    def left(t: float) -> str:
        return f"{100 * t / total:.3f}%"

    opened = "".join(f'<em style="left:{left(r["opened"])}"></em>' for r in timeline["rounds"])
    rows = []
    for agent in timeline["agents"]:
        spans = "".join(
            f'<b style="left:{left(s["start"])};width:{100 * (s["end"] - s["start"]) / total:.3f}%;'
            f'background:var(--{s["kind"]})" title="round {s["round"] + 1}: {s["kind"]}, '
            f'{s["end"] - s["start"]:.1f} s"></b>'
            for s in agent["spans"]
        )
        rows.append(f'<span>{escape(_label(agent))}</span><div class="lane">{opened}{spans}</div>')
    every = max(1, math.ceil(len(timeline["rounds"]) / 12))
    axis = "".join(
        f'<i style="left:{left((r["opened"] + r["closed"]) / 2)}">{r["round"] + 1}</i>'
        for r in timeline["rounds"][::every]
    )
    legend = charts.legend([(k, f"var(--{k})") for k in _KINDS])
    return (
        "<section><h2>Who did what, when</h2>"
        '<p class="note">A worker trains, commits one hash, and shows its update only when all have '
        "committed. Validators "
        "replay drawn slots while the next round runs. Lines mark the opening of a round.</p>"
        f'{legend}<div class="lanes">{"".join(rows)}<span></span><div '
        f'class="axis">{axis}</div></div></section>'
    )


def _label(agent: dict) -> str:
    return agent["name"] + (f" ({agent['cheat']})" if agent["cheat"] else "")


def _bytes(summary: dict, timeline: dict) -> str:
    rounds = summary["rounds"]
    names = {a["address"]: a["name"] for a in timeline["agents"]}
    sent: dict[str, list[int]] = {}
    for r in rounds:
        for address, size in r["update_bytes"].items():
            sent.setdefault(names.get(address, address[:10]), []).append(size)
    if not sent:
        return ""
    bars = [("dense fp32", float(rounds[0]["dense_bytes"]), "dense")]
    bars += [(name, sum(v) / len(v), "") for name, v in sorted(sent.items())]
    top = math.log10(bars[0][1])
    rows = "".join(
        f'<span>{escape(name)}</span><div class="{kind}"><b '
        f'style="width:{max(3, 72 * (math.log10(n) - 2) / (top - 2)):.1f}%">'
        f"</b>{charts.size(n)}</div>"
        for name, n, kind in bars
    )
    sizes = [n for v in sent.values() for n in v]
    return (
        f"<section><h2>Bytes per update: {_ratio(rounds, sizes):.0f}× below dense</h2>"
        f'<p class="note">Mean size of the update files, on a logarithmic scale. The run sent '
        f"{charts.size(sum(sizes))} of updates; as dense fp32 they would have been "
        f'{charts.size(len(sizes) * rounds[0]["dense_bytes"])}.</p><div class="bars">{rows}</div></section>'
    )


def _accounts(timeline: dict) -> str:
    """A row per agent: stake and pay as small step lines over the whole run, all on the same two scales."""
    end = timeline["seconds"]
    tops = {
        key: max((v for a in timeline["agents"] for _, v in a[key]), default=0) or 1
        for key in ("stake", "earned")
    }
    rows = ["<span></span><span>stake</span><span></span><span>pay</span><span></span>"]
    for agent in timeline["agents"]:
        cells = []
        for key, colour in (("stake", "var(--accent)"), ("earned", "var(--good)")):
            points = [[0.0, 0], *agent[key]]
            d = (
                "M0 100"
                + "".join(f"H{100 * t / end:.3f}V{100 - 100 * v / tops[key]:.3f}" for t, v in points)
                + "H100"
            )
            cells.append(
                '<svg viewBox="0 -4 100 108" preserveAspectRatio="none" aria-hidden="true">'
                f'<path class="area" d="{d}V100Z" style="fill:{colour}"/><path d="{d}" '
                f'style="stroke:{colour}"/></svg>'
                f'<span class="num">{tokens(points[-1][1])}</span>'
            )
        rows.append(f"<span>{escape(_label(agent))}</span>{''.join(cells)}")
    return (
        '<section><h2>Stake and pay over time</h2><p class="note">Tokens in the stake manager, from which '
        "a conviction "
        "takes, and tokens credited once a round is final and nothing is contested. The number is the last "
        "value.</p>"
        f'<div class="sparks">{"".join(rows)}</div></section>'
    )


# --- tables -----------------------------------------------------------------------------------------------


def _money(summary: dict, timeline: dict) -> str:
    money = summary["money"]
    names = {a["operator"]: a["name"] for a in timeline["agents"]}
    rows = [
        ("funded by the creator", money["funded"]),
        ("paid out", money["paid"]),
        ("earned, not claimed yet", money["unpaid"]),
    ]
    rows += [
        (name, money[key])
        for name, key in (
            ("forfeited by convicted slots", "forfeited"),
            ("reserved for open rounds", "reserved"),
            ("refunded to the creator", "refunded"),
            ("left in the pool", "free"),
        )
        if money[key]
    ]
    for who, amount in money["slashed_to"].items():
        finder = f"{names.get(who, who[:10])}, who found the fault"
        rows.append((f"slashed stake to {'the treasury' if who == 'treasury' else finder}", amount))
    verdict = (
        '<span class="good">Every token is accounted for</span>'
        if money["conserved"]
        else '<span class="bad">The books do not add up</span>'
    )
    table = charts.table(("", "tokens"), [(escape(name), tokens(amount)) for name, amount in rows], (1,))
    return (
        f'<section><h2>Money</h2><p class="note">{verdict}: events, the contracts\' books and their token '
        "balances compared."
        f"</p>{table}</section>"
    )


def _agents(summary: dict, timeline: dict) -> str:
    by_address = {a["address"]: a for a in timeline["agents"]}
    rows = []
    for w in summary["workers"]:
        agree = (
            '<span class="good">in every round</span>'
            if w["checkpoint_hashes_agree"]
            else '<span class="bad">no</span>'
        )
        rows.append(
            (
                escape(by_address[w["address"]]["name"]),
                escape(w["cheat"] or "honest"),
                str(w["accepted_slots"]),
                f"{w['tokens']:,}",
                tokens(w["staked"]),
                f'<span class="bad">{tokens(w["slashed"])}</span>' if w["slashed"] else "0",
                tokens(w["earned"]),
                tokens(w["claimed"]),
                f"{100 * w['utilisation']:.0f} %",
                agree,
            )
        )
    workers = charts.table(
        (
            "worker",
            "told to",
            "slots paid",
            "tokens trained",
            "staked",
            "slashed",
            "earned",
            "claimed",
            "training",
            "hashes agree",
        ),
        rows,
        range(2, 9),
    )
    validators = charts.table(
        ("validator", "verdicts and votes", "earned", "slashed"),
        [
            (
                escape(by_address[v["address"]]["name"]),
                str(v["votes"]),
                tokens(v["earned"]),
                tokens(v["slashed"]),
            )
            for v in summary["validators"]
        ],
        (1, 2, 3),
    )
    return (
        '<section><h2>Workers and validators</h2><p class="note">“Training” is the share of its time in '
        "the pool in which a "
        f"worker trained.</p>{workers}<br>{validators}</section>"
    )


def _faults(timeline: dict) -> str:
    items = []
    for fault in timeline["faults"]:
        votes = "".join(
            f'<span class="chip">{escape(v["juror"])}: '
            f"{'not guilty' if v['outcome'] == 1 else 'guilty'}</span>"
            for v in fault["votes"]
        )
        items.append(
            f'<div class="fault"><p><b>{escape(fault["accused"])}</b> in round {fault["round"] + 1}, case '
            f"{fault['case']}: "
            f"{FAULTS[fault['fault']]}, accused by {escape(fault['accuser'])}</p>"
            f"<details><summary>{escape(brief(fault['detail']))}</summary>"
            f'<p class="note mono">{escape(fault["detail"])}</p></details>'
            f"<p>{STATUS[fault['status']].capitalize()}, {tokens(fault['slashed'])} tokens "
            f"slashed{': planted, to test the validators' if fault['planted'] else ''}</p>"
            f"<p>{votes}</p></div>"
        )
    items += [
        f'<div class="fault"><p><b>{escape(m["agent"])}</b> missed round {m["round"] + 1}'
        f"{', penalty ' + tokens(m['penalty']) if m['penalty'] else ''}</p></div>"
        for m in timeline["misses"]
    ]
    body = "".join(items) or '<p class="note">None: no accusation and no missed round.</p>'
    return f"<section><h2>Faults</h2>{body}</section>"


def _rounds(summary: dict) -> str:
    rows = []
    for r in summary["rounds"]:
        seconds = r["seconds"]
        sizes = list(r["update_bytes"].values())
        rows.append(
            (
                str(r["round"] + 1),
                "–" if r["val_loss"] is None else f"{r['val_loss']:.3f}",
                str(len(r["included"])),
                str(len(r["late"])),
                charts.size(sum(sizes) / len(sizes)) if sizes else "–",
                *(f"{seconds[k]:.1f}" for k in ("train", "commit", "reveal", "close", "audit")),
                f'<code title="{r["checkpoint_hash"]}">{r["checkpoint_hash"][:16]}…</code>',
            )
        )
    head = (
        "round",
        "loss",
        "updates",
        "late",
        "size",
        "train s",
        "commit s",
        "reveal s",
        "close s",
        "audit s",
        "checkpoint",
    )
    return (
        '<section><h2>Rounds</h2><p class="note">Every worker recomputed each checkpoint from the update '
        "files and compared "
        "its hash with the chain's. Audits run beside the next "
        f"round.</p>{charts.table(head, rows, range(0, 10))}</section>"
    )


def _sample(timeline: dict) -> str:
    return (
        '<section><h2>What the model writes</h2><p class="note">Sampled from the last checkpoint.</p>'
        f"<pre>{escape(timeline['sample'])}</pre></section>"
    )


def _gas(summary: dict) -> str:
    rows = []
    for name, used in summary["chain"]["gas"].items():
        first, steady = (used["first"], used["steady"]) if isinstance(used, dict) else (None, used)
        shown = tuple("" if n is None else f"{n:,}" for n in (first, steady))
        rows.append((escape(name.replace("_", " ")), *shown))
    table = charts.table(("operation", "first", "later"), rows, (1, 2))
    return f'<section><h2>Gas</h2><p class="note">Median over the receipts of this run.</p>{table}</section>'


def _parameters(summary: dict, timeline: dict) -> str:
    def flat(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
        if isinstance(value, dict):
            for k, v in value.items():
                yield from flat(v, f"{prefix}{k}.")
        elif isinstance(value, list):
            for i, v in enumerate(value):
                yield from flat(v, f"{prefix}{i}.")
        else:
            yield prefix[:-1], str(value)

    blocks = []
    for title, value in (
        ("RunSpec", timeline["spec"]),
        ("PoolParams", timeline["params"]),
        ("Contracts", summary["chain"]["contracts"]),
    ):
        rows = [(escape(k), f"<code>{escape(v)}</code>") for k, v in flat(value)]
        table = charts.table(("name", "value"), rows)
        blocks.append(f"<section><details><summary>{title}</summary>{table}</details></section>")
    return "".join(blocks)
