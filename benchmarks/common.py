"""What the benchmarks share: repeated timing, the machine's description, a table, a JSON file."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall seconds of `work` over `repeats` runs, after one that warms up."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def machine() -> dict:
    """CPU model, cores, Python, platform, and the commit that is measured."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "commit": commit.stdout.strip(),
    }


def publish(
    name: str,
    title: str,
    rows: list[dict],
    note: str,
    columns: Sequence[str] | None = None,
    **more: object,
) -> None:
    """Prints `rows` (or some columns of them) as a table, a single one upright, and writes them with the
    machine, `note` and `more` to results/NAME.json."""
    table = Table(title=title, title_justify="left")
    columns = list(rows[0]) if columns is None else columns
    if len(rows) == 1:
        table.show_header = False
        table.add_column()
        table.add_column(justify="right")
        for column in columns:
            table.add_row(column, _cell(rows[0][column]))
    else:
        for column in columns:
            table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
        for row in rows:
            table.add_row(*(_cell(row[column]) for column in columns))
    console = Console(width=120)
    console.print(table)
    console.print(note, highlight=False)
    save(name, title, rows, note, **more)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save(name: str, title: str, rows: list[dict], note: str, **more: object) -> None:
    """Writes results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    out = {"version": 1, "title": title, "note": note, "machine": machine(), "rows": rows, **more}
    (RESULTS / f"{name}.json").write_text(readable(out))


def readable(out: dict) -> str:
    """JSON with a line for each key, and for each member of a list."""
    lines = []
    for key, value in out.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(json.dumps(member) for member in value) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
