"""Held-out loss of each method at equal tokens: four workers, the demo's model and data, `pi sim`.

The baseline is synchronous AdamW on the batches of all workers as one. "scratch": 2,000 inner steps per
worker; "warm": the second 1,000 of them, after 1,000 synchronous ones. Learning rates are the best of short
sweeps, which stand in the results too ("sweep": 500 steps). A run that is finished is a row of
results/loss.json and is not done again; one that was stopped goes on from its last round. Two hours or more
on two cores for all of it, so:

    PI_LOSS_MINUTES=30 python -m benchmarks loss      starts no run after so many minutes
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .common import RESULTS, publish, save

MINUTES = float(os.environ.get("PI_LOSS_MINUTES", "0")) or float("inf")
PLACE = Path("runs/loss")
WORKERS = 4
PARAMETERS = 828_544
NAME, TITLE = "loss", f"Held-out loss at equal tokens, R = {WORKERS}"
NOTE = "traffic: times less than synchronous fp32; gap: above synchronous AdamW of the same seed"


@dataclass(frozen=True)
class Run:
    """One row. `alpha` is the outer learning rate, `k` only matters to the sparse codec."""

    group: str
    method: str
    H: int
    lr: float
    alpha: float
    k: int
    seed: int
    steps: int
    warm_steps: int = 0

    @property
    def name(self) -> str:
        return "-".join(str(v).replace("/", "_") for v in asdict(self).values())


def sync(group: str, lr: float, seed: int, steps: int, warm: int = 0) -> Run:
    return Run(group, "sync", 1, lr, 1.0, 0, seed, steps, warm)


def diloco(group: str, h: int, lr: float, alpha: float, seed: int, steps: int, warm: int = 0) -> Run:
    return Run(group, "diloco", h, lr, alpha, 0, seed, steps, warm)


def sparse(group: str, h: int, k: int, lr: float, alpha: float, seed: int, steps: int, warm: int = 0) -> Run:
    return Run(group, "sparseloco", h, lr, alpha, k, seed, steps, warm)


# What the sweeps came to; the 500x setting is the best of those with H x codec ratio above 500.
SYNC_LR, DILOCO, SPARSE = 2e-3, {15: (2e-3, 0.7), 30: (2e-3, 0.7)}, (15, 256, 2e-3, 1.0)

SWEEP = [
    *(sync("sweep", lr, 0, 500) for lr in (1e-3, 2e-3, 4e-3)),
    *(diloco("sweep", 15, lr, alpha, 0, 500) for lr in (2e-3, 4e-3) for alpha in (0.5, 0.7, 0.9)),
    *(diloco("sweep", 30, lr, alpha, 0, 500) for lr in (2e-3, 4e-3) for alpha in (0.5, 0.7, 0.9)),
    *(sparse("sweep", 15, 256, lr, alpha, 0, 500) for lr in (2e-3, 4e-3) for alpha in (1.0, 1.5, 2.0)),
    *(sparse("sweep", 30, 512, lr, alpha, 0, 500) for lr in (2e-3, 4e-3) for alpha in (1.0, 1.5, 2.0)),
    *(sparse("sweep", 4, 64, lr, alpha, 0, 500) for lr in (2e-3,) for alpha in (1.0, 1.5, 2.5)),
]
FINAL = [
    run
    for seed in range(3)
    for group, steps, warm in (("warm", 2000, 1000), ("scratch", 2000, 0))
    for run in (
        sync(group, SYNC_LR, seed, steps, warm),
        *(diloco(group, h, *DILOCO[h], seed, steps, warm) for h in DILOCO),
        sparse(group, *SPARSE, seed, steps, warm),
    )
]


def warm_start(run: Run) -> Run:
    """The synchronous run that a warm one goes on from."""
    return sync("start", SYNC_LR, run.seed, run.warm_steps)


def play(run: Run) -> dict:
    """Plays one run, on from where it was; its row."""
    out, start = PLACE / run.name, []
    if run.warm_steps:
        start = ["--start", PLACE / warm_start(run).name]
    words = ["--method", run.method, "--workers", WORKERS, "--steps", run.H, "--lr", run.lr, "--out", out]
    words += ["--rounds", (run.steps - run.warm_steps) // run.H, "--seed", run.seed, *start]
    if run.method != "sync":
        words += ["--outer-lr", run.alpha]
    if run.k:
        words += ["--k", run.k]
    done = subprocess.run(
        [Path(sys.executable).parent / "pi", "sim", *map(str, words), "--evaluate", "0", "--json"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{run.name}: {done.stderr[-500:]}")
    answer = json.loads(done.stdout)
    dense, sent = answer["dense_bytes"], answer["bytes_per_worker_round"]
    if run.method == "sync":
        sent = dense  # what each worker's gradient would take, every step
    return asdict(run) | {
        "R": WORKERS,
        "params": PARAMETERS,
        "val_loss": answer["val_loss"],
        "bytes_per_worker_round": sent,
        "dense_bytes": dense,
        "traffic": dense * run.H / sent,
    }


def main() -> None:
    began, known, saving = time.monotonic(), _known(), threading.Lock()

    def one(run: Run) -> None:
        if run in known or time.monotonic() - began > 60 * MINUTES:
            return
        row = play(run)
        with saving:
            known[run] = row
            save(NAME, TITLE, _rows(known), NOTE)
        print(f"{run.name}: {row['val_loss']:.4f}", flush=True)

    for start in {warm_start(run) for run in FINAL if run.warm_steps}:  # before two runs play the same one
        one(start)
        if not (PLACE / start.name).exists():
            play(start)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(one, SWEEP + FINAL))
    columns = ["group", "method", "H", "k", "lr", "alpha", "seed", "steps", "traffic", "val_loss", "gap %"]
    publish(NAME, TITLE, _rows(known), NOTE, columns)


def _known() -> dict[Run, dict]:
    """The rows of earlier calls."""
    results = RESULTS / f"{NAME}.json"
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    return {Run(**{name: row[name] for name in Run.__dataclass_fields__}): row for row in rows}


_ORDER = ("group", "method", "H", "k", "seed", "lr", "alpha")


def _rows(known: dict[Run, dict]) -> list[dict]:
    """All rows in order, each with its gap to the synchronous run of the same seed."""
    out = []
    for run, row in known.items():
        base = known.get(sync(run.group, SYNC_LR, run.seed, run.steps, run.warm_steps))
        out.append(row | {"gap %": None if base is None else 100 * (row["val_loss"] / base["val_loss"] - 1)})
    return sorted(out, key=lambda row: [row[name] for name in _ORDER])
