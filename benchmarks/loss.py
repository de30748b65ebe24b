"""Held-out loss of each method at equal tokens: the demo's model and data, `pi sim`.

The baseline is synchronous AdamW on the batches of all workers as one. Every run's learning rate rises for 20
steps and falls over the last half of its own, or, in warm ones, over all of it (`decay`); "warm" runs go on
from 1,000 synchronous steps. Groups:

    sweep     500 steps: learning rates and alphas of each method, in the open; the best ones stand below
    tune      500 steps after 1,000 synchronous ones: the same for warm runs
    setting   500 steps: other numbers of workers, H, k and methods
    ablation  500 steps: error feedback, carried moments
    warm      1,000 steps after 1,000 synchronous ones, three seeds
    scratch   2,000 steps, three seeds

H rounds `steps` to whole rounds (1,995 for H = 15). A run that is finished is a row of results/loss.json and
is not done again; one that was stopped goes on. Some ten core-hours for all of it, so:

    PI_LOSS_MINUTES=30 python -m benchmarks loss           starts no run after so many minutes
    PI_LOSS_GROUPS=sweep,warm python -m benchmarks loss    only runs of these groups
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .common import RESULTS, machine, publish, save

MINUTES = float(os.environ.get("PI_LOSS_MINUTES", "0")) or float("inf")
GROUPS = os.environ.get("PI_LOSS_GROUPS", "sweep,tune,setting,ablation,start,warm,scratch").split(",")
PLACE = Path("runs/loss")
PARAMETERS = 828_544
DECAY = 0.5
NAME, TITLE = "loss", "Held-out loss at equal tokens"
NOTE = "traffic: times less than synchronous fp32; gap: above synchronous AdamW of the same seed"


@dataclass(frozen=True)
class Run:
    """One row. `alpha` and `momentum` are the outer rule's, `beta` the error feedback's, None the method's;
    `k` only matters to the codecs that choose; `variant` is what an ablation leaves out."""

    group: str
    method: str
    H: int
    lr: float
    alpha: float | None = None
    k: int = 0
    seed: int = 0
    steps: int = 500
    warm_steps: int = 0
    R: int = 4
    variant: str = ""
    momentum: float | None = None
    beta: float | None = None
    decay: float = DECAY
    """Share of the run's steps, its last ones, over which the learning rate falls."""

    @property
    def name(self) -> str:
        values = asdict(self)
        if values.pop("decay") != DECAY:
            values["decay"] = f"decay {self.decay}"
        return "-".join(str(v).replace("/", "_") for v in values.values())

    @property
    def rounds(self) -> int:
        return round((self.steps - self.warm_steps) / self.H)

    @property
    def baseline(self) -> "Run":
        """The synchronous run of the same seed, tokens and schedule."""
        group = self.group if self.group in ("tune", "warm", "scratch") else "sweep"
        same = {name: getattr(self, name) for name in ("seed", "steps", "warm_steps", "R", "decay")}
        return Run(group, "sync", 1, SYNC_LR[self.R], **same)


# What the sweeps have come to. The 500x setting is the best of those with H x codec ratio above 500. Batches
# follow from the checkpoint's hash, so roundings alone change all of them: one setting on CPUs of two makers
# ended 2.5 % (DiLoCo) and 4.2 % (synchronous) apart after 500 steps. What is nearer is not told apart.
SYNC_LR = {2: 2e-3, 4: 4e-3, 8: 4e-3}
"""By R."""
DILOCO = {15: (3e-3, 0.7, 0.6), 30: (2e-3, 0.7, 0.7), 100: (2e-3, 0.7, 0.7)}
"""H -> lr, alpha, momentum."""
SPARSE = {4: (4e-3, 1.5), 15: (2e-3, 1.5), 30: (2e-3, 1.5), 100: (2e-3, 1.5)}
"""H -> lr, alpha."""
BEST_500 = (4, 64)
"""H, k."""
LONG_DECAY = {"scratch": 0.5, "warm": 1.0}
"""By group. Warm, seed 0, over the last quarter, the last half and all of the run: DiLoCo at H = 15 came to
1.339, 1.328 and 1.321, the baseline over the last two to 1.318 and 1.317. From scratch, over the last half
and all of it: the baseline to 1.324 and 1.364, sparse to 1.357 and 1.387."""


def diloco(group: str, h: int, **more) -> Run:
    lr, alpha, momentum = DILOCO[h]
    return Run(group, "diloco", h, lr, alpha, momentum=momentum, **more)


def sparse(group: str, h: int, k: int, **more) -> Run:
    lr, alpha = SPARSE[h]
    return Run(group, "sparseloco", h, lr, alpha, k, **more)


SWEEP = [
    *(Run("sweep", "sync", 1, lr) for lr in (2e-3, 4e-3, 8e-3)),
    *(Run("sweep", "diloco", 15, lr, 0.7) for lr in (5e-4, 1e-3, 4e-3)),
    Run("sweep", "diloco", 15, 1e-3, 0.7, momentum=0.8),
    *(Run("sweep", "diloco", 15, 2e-3, 0.7, momentum=m) for m in (0.5, 0.7, 0.8)),
    *(Run("sweep", "diloco", 15, 2e-3, 1.0, momentum=m) for m in (0.0, 0.7)),
    *(Run("sweep", "diloco", 15, 3e-3, a, momentum=m) for a, m in ((0.7, 0.6), (0.7, 0.7), (1.0, 0.4))),
    Run("sweep", "diloco", 15, 4e-3, 0.5),
    *(Run("sweep", "diloco", 15, 4e-3, a, momentum=m) for a, m in ((1.0, 0.0), (0.7, 0.6))),
    *(Run("sweep", "diloco", 30, lr, 0.7, momentum=m) for lr, m in ((2e-3, 0.7), (3e-3, 0.6))),
    Run("sweep", "diloco", 30, 4e-3, 0.7),
    Run("sweep", "sparseloco", 4, 2e-3, 1.5, 64),
    Run("sweep", "sparseloco", 4, 2e-3, 1.5, 64, beta=0.99),
    Run("sweep", "sparseloco", 4, 4e-3, 1.5, 64),
    *(Run("sweep", "sparseloco", 15, 2e-3, a, 256) for a in (1.5, 2.5)),
    *(Run("sweep", "sparseloco", 30, 2e-3, a, 512) for a in (1.5, 2.5)),
    *(Run("sweep", "sparseloco", h, 4e-3, 1.5, k) for h, k in ((15, 64), (15, 1024), (100, 256))),
    Run("sweep", "int8", 125, 2e-3, 0.7, momentum=0.5),
    *(Run("sweep", "demo", 1, 1.0, a) for a in (1e-3, 2e-3)),
    *(Run("sweep", "streaming", 20, 2e-3, a, momentum=m) for a, m in ((0.4, 0.9), (0.7, 0.7))),
]
TUNING = [
    Run("tune", method, h, lr, alpha, k, steps=1500, warm_steps=1000, momentum=momentum)
    for method, h, lr, alpha, momentum, k in (
        ("sync", 1, 4e-3, None, None, 0),
        ("sparseloco", 4, 4e-3, 1.5, None, 64),
        ("sparseloco", 4, 4e-3, 1.0, None, 64),
        ("diloco", 15, 2e-3, 0.7, 0.6, 0),
        ("diloco", 15, 3e-3, 0.7, 0.6, 0),
        ("diloco", 15, 4e-3, 0.7, 0.6, 0),
        ("diloco", 15, 4e-3, 1.0, 0.0, 0),
        ("diloco", 15, 3e-3, 0.7, 0.4, 0),
        ("diloco", 30, 2e-3, 0.7, 0.7, 0),
        ("diloco", 30, 3e-3, 0.7, 0.4, 0),
    )
] + [
    Run("warm", "sparseloco", 4, 4e-3, 1.0, 64, steps=2000, warm_steps=1000),
    Run("warm", "sync", 1, SYNC_LR[4], steps=2000, warm_steps=1000),
    *(diloco("warm", h, steps=2000, warm_steps=1000, decay=d) for h in (15, 30) for d in (0.25, DECAY)),
    Run("scratch", "sync", 1, SYNC_LR[4], steps=2000, decay=1.0),
    sparse("scratch", *BEST_500, steps=2000, decay=1.0),
]
SETTINGS = [
    *(Run("sweep", "sync", 1, lr, R=r) for r, lr in ((2, 2e-3), (2, 4e-3), (8, 4e-3))),
    *(diloco("setting", 30, R=r) for r in (2, 8)),
    *(sparse("setting", *BEST_500, R=r) for r in (2, 8)),
    diloco("setting", 100),
    *(sparse("setting", 15, k) for k in (64, 1024)),
    sparse("setting", 100, 256),
]
ABLATIONS = [
    *(sparse("ablation", h, k, variant="no feedback", beta=0.0) for h, k in ((4, 64), (30, 512))),
    sparse("ablation", 4, 64, variant="reset moments"),
    *(diloco("ablation", h, variant="reset moments") for h in (15, 30)),
]


def start_of(seed: int, steps: int = 1000) -> Run:
    """The synchronous run that warm ones go on from."""
    return Run("start", "sync", 1, SYNC_LR[4], seed=seed, steps=steps)


def final(seed: int) -> list[Run]:
    """The long runs of a seed, what others wait for first."""
    return [start_of(seed)] + [
        run
        for group, warm in (("scratch", 0), ("warm", 1000))
        for same in ({"seed": seed, "steps": 2000, "warm_steps": warm, "decay": LONG_DECAY[group]},)
        for run in (
            Run(group, "sync", 1, SYNC_LR[4], **same),
            sparse(group, *BEST_500, **same),
            *(diloco(group, h, **same) for h in (15, 30)),
        )
    ]


def play(run: Run) -> dict:
    """Plays one run, on from where it was; its row."""
    words = ["--method", run.method, "--workers", run.R, "--steps", run.H, "--rounds", run.rounds]
    words += ["--lr", run.lr, "--seed", run.seed, "--out", PLACE / run.name]
    if run.method != "demo" and run.group != "start":
        words += ["--decay", run.decay]
    if run.warm_steps:
        words += ["--start", PLACE / start_of(run.seed, run.warm_steps).name]
    if run.alpha is not None:
        words += ["--outer-lr", run.alpha]
    if run.momentum is not None:
        words += ["--momentum", run.momentum]
    if run.beta is not None:
        words += ["--beta", run.beta]
    if run.k:
        words += ["--k", run.k]
    words += {"": [], "no feedback": [], "reset moments": ["--reset-moments"]}[run.variant]
    every = max(1, 100 // run.H) if run.group in ("warm", "scratch") else 0
    done = subprocess.run(
        [Path(sys.executable).parent / "pi", "sim", *map(str, words), "--evaluate", str(every), "--json"],
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
        "cpu": machine()["cpu"],
        "params": PARAMETERS,
        "val_loss": answer["val_loss"],
        "curve": [[r * run.H, loss] for r, loss in answer["curve"]],
        "bytes_per_worker_round": sent,
        "dense_bytes": dense,
        "traffic": dense * run.H / sent,
    }


def main() -> None:
    began, known, saving = time.monotonic(), _known(), threading.Lock()

    def one(run: Run, begun: Future | None = None) -> None:
        if begun:
            begun.result()
        if run in known or run.group not in GROUPS or time.monotonic() - began > 60 * MINUTES:
            return
        row = play(run)
        with saving:
            known[run] = row
            save(NAME, TITLE, rows_of(known), NOTE)
        print(f"{run.name}: {row['val_loss']:.4f}", flush=True)

    def start(run: Run) -> None:
        one(run)
        if "start" in GROUPS and run in known and not (PLACE / run.name).exists():
            play(run)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        starts: dict[Run, Future] = {}
        done = []
        others = [*SWEEP, *TUNING, *SETTINGS, *ABLATIONS]
        for run in dict.fromkeys([start_of(0), *others, *final(0), *final(1), *final(2)]):
            if run.group == "start":
                starts[run] = threads.submit(start, run)
            else:
                begun = starts[start_of(run.seed, run.warm_steps)] if run.warm_steps else None
                done.append(threads.submit(one, run, begun))
    for future in (*starts.values(), *done):
        future.result()
    rows = rows_of(known)
    if rows:
        columns = "group method R H k lr alpha momentum decay variant seed steps traffic val_loss gap".split()
        publish(NAME, TITLE, rows, NOTE, [*columns[:-1], "gap %"])


def _known() -> dict[Run, dict]:
    """The rows of earlier calls."""
    results = RESULTS / f"{NAME}.json"
    known = {}
    for row in json.loads(results.read_text())["rows"] if results.exists() else []:
        run = Run(**{name: row[name] for name in Run.__dataclass_fields__ if name in row})
        known[run] = asdict(run) | row
    return known


_ORDER = ("group", "method", "R", "H", "k", "seed", "lr", "alpha", "momentum", "beta", "variant", "decay")


def rows_of(known: dict[Run, dict]) -> list[dict]:
    """All rows in order, each with its baseline's loss and its gap to that."""
    out = []
    for run, row in known.items():
        base = known.get(run.baseline, known.get(replace(run.baseline, group="start")))
        loss = None if base is None else base["val_loss"]
        gap = None if loss is None else 100 * (row["val_loss"] / loss - 1)
        out.append(row | {"baseline": loss, "gap %": gap})
    return sorted(out, key=lambda row: [(row[name] is not None, row[name]) for name in _ORDER])
