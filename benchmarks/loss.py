"""Held-out loss of each method at equal tokens: the demo's model and data, `pi sim`.

The baseline is synchronous AdamW on the batches of all workers as one. Every run's learning rate rises for
`warmup` steps and falls over the last half of its own, or, in warm ones, over all of it (`decay`); "warm"
runs go on from 1,000 synchronous steps. Groups:

    sweep     1,000 steps: learning rates and alphas of each method, in the open (older ones: 500)
    tune      1,000 steps after 1,000 synchronous ones: the same for warm runs
    setting   500 steps: other numbers of workers, H, k and methods
    ablation  500 steps: error feedback, carried moments
    warm      1,000 steps after 1,000 synchronous ones, three seeds
    scratch   2,000 steps, three seeds

H rounds `steps` to whole rounds (1,995 for H = 15). A run that is finished is a row of results/loss.json and
is not done again; one that was stopped goes on. A day of two cores for all of it, so:

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
WINDOWS, OLD_WINDOWS = 2048, 64
"""Windows of held-out text that a loss is the mean of. Rows of an older grid, with a warm-up of 20 steps,
have the other number: over so few, gaps are off by some tenths of a per cent."""
NAME, TITLE = "loss", "Held-out loss at equal tokens"
NOTE = "traffic: times less than synchronous fp32; gap: above synchronous AdamW of the same seed"


@dataclass(frozen=True)
class Run:
    """One row. `alpha` and `momentum` are the outer rule's, `beta` the error feedback's, `optimizer` and
    `beta2` the inner loop's, None the method's; `k` only matters to the codecs that choose; `variant` is what
    an ablation leaves out."""

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
    decay: float = 0.5
    """Share of the run's steps, its last ones, over which the learning rate falls."""
    warmup: int = 20
    optimizer: str | None = None
    beta2: float | None = None
    weight_decay: float | None = None
    batch: int = 16
    """Sequences per worker and step."""

    @property
    def name(self) -> str:
        """A folder's: the first values, and what else is not the default."""
        first = [getattr(self, name) for name in _FIRST]
        rest = [f"{n} {v}" for n, v in asdict(self).items() if n not in _FIRST and v != getattr(Run, n)]
        return "-".join(str(v).replace("/", "_") for v in (*first, *rest))

    @property
    def rounds(self) -> int:
        return round((self.steps - self.warm_steps) / self.H)

    @property
    def baseline(self) -> "Run":
        """The synchronous run of the same seed, tokens and schedule."""
        group = "setting" if self.group == "ablation" else self.group
        names = ("seed", "steps", "warm_steps", "R", "decay", "warmup", "batch")
        same = {name: getattr(self, name) for name in names}
        return Run(group, "sync", 1, SYNC_LR[self.R, self.batch], **same)


_FIRST = "group method H lr alpha k seed steps warm_steps R variant momentum beta".split()

# What the sweeps have come to. The 500x setting is the best of those with H x codec ratio above 500.
WARMUP = 100
"""After 500 steps, with 20 and with 100: DiLoCo at H = 15 1.868 and 1.803, the baseline 1.648 and 1.621."""
SYNC_LR = {(2, 16): 2e-3, (4, 16): 4e-3, (8, 16): 4e-3, (4, 64): 6e-3}
"""By R and batch."""
DILOCO = {15: (3e-3, 0.7, 0.7), 30: (3e-3, 0.7, 0.7), 100: (2e-3, 0.7, 0.7)}
MULOCO = {15: (6e-3, 0.7, 0.6), 30: (6e-3, 0.7, 0.6), 100: (4e-3, 0.7, 0.6)}
"""H -> lr, alpha, momentum."""
SPARSE = {4: (4e-3, 1.5), 15: (2e-3, 1.5), 30: (2e-3, 1.5), 100: (2e-3, 1.5)}
"""H -> lr, alpha."""
BEST_500 = (4, 64)
"""H, k."""
MUON_500 = {"lr": 4e-3, "alpha": 1.5, "k": 256, "optimizer": "muon", "warmup": WARMUP}
"""The best of those with Muon, H = 15."""
SEEDS = 0, 1, 2
LONG_DECAY = {"scratch": 0.5, "warm": 1.0}
"""By group; the file has rows of others."""


def sync(group: str, **more) -> Run:
    lr = SYNC_LR[more.get("R", 4), more.get("batch", 16)]
    return Run(group, "sync", 1, lr, warmup=WARMUP, **more)


def diloco(group: str, h: int, **more) -> Run:
    lr, alpha, momentum = DILOCO[h]
    return Run(group, "diloco", h, lr, alpha, momentum=momentum, warmup=WARMUP, **more)


def muloco(group: str, h: int, **more) -> Run:
    lr, alpha, momentum = MULOCO[h]
    return Run(group, "muloco", h, lr, alpha, momentum=momentum, warmup=WARMUP, **more)


def sparse(group: str, h: int, k: int, **more) -> Run:
    lr, alpha = SPARSE[h]
    return Run(group, "sparseloco", h, lr, alpha, k, warmup=WARMUP, **more)


SWEEP = [
    Run("sweep", method, h, lr, alpha, k, steps=1000, momentum=momentum, optimizer=optimizer, warmup=WARMUP)
    for method, optimizer, h, lr, alpha, momentum, k in (
        ("sync", None, 1, 4e-3, None, None, 0),
        ("sync", "muon", 1, 4e-3, None, None, 0),
        ("diloco", None, 15, 3e-3, 0.7, 0.6, 0),
        ("diloco", None, 15, 3e-3, 0.7, 0.7, 0),
        ("diloco", None, 30, 2e-3, 0.7, 0.7, 0),
        ("diloco", None, 30, 3e-3, 0.7, 0.7, 0),
        ("muloco", None, 15, 2e-3, 0.7, 0.7, 0),
        ("muloco", None, 15, 4e-3, 0.7, 0.6, 0),
        ("muloco", None, 15, 6e-3, 0.7, 0.6, 0),
        ("muloco", None, 30, 4e-3, 0.7, 0.7, 0),
        ("sparseloco", None, 4, 4e-3, 1.5, None, 64),
        ("sparseloco", "muon", 4, 4e-3, 1.5, None, 64),
        ("sparseloco", "muon", 15, 4e-3, 1.5, None, 256),
    )
]
TUNING = [
    Run(
        "tune", method, h, lr, alpha, momentum=momentum, warmup=WARMUP, steps=2000, warm_steps=1000, decay=1.0
    )
    for method, h, lr, alpha, momentum in (
        ("sync", 1, 4e-3, None, None),
        ("diloco", 15, 3e-3, 0.7, 0.7),
        ("diloco", 15, 4e-3, 0.7, 0.6),
        ("muloco", 15, 2e-3, 0.7, 0.7),
        ("muloco", 15, 3e-3, 0.7, 0.6),
        ("muloco", 15, 4e-3, 0.7, 0.6),
        ("muloco", 15, 6e-3, 0.7, 0.6),
    )
]
SETTINGS = [
    *(sync("setting", R=r) for r in (2, 4, 8)),
    sync("setting", optimizer="muon"),
    *(diloco("setting", h) for h in (15, 30, 100)),
    *(muloco("setting", h) for h in (15, 30, 100)),
    *(make("setting", 30, R=r) for r in (2, 8) for make in (diloco, muloco)),
    *(sparse("setting", *BEST_500, R=r) for r in (2, 4, 8)),
    *(sparse("setting", h, k) for h, k in ((15, 64), (15, 256), (15, 1024), (30, 512), (100, 256))),
    Run("setting", "sparseloco", 15, **MUON_500),
    Run("setting", "int8", 125, 2e-3, 0.7, momentum=0.5, warmup=WARMUP),
    Run("setting", "demo", 1, 1.0, 1e-3, warmup=WARMUP),
    Run("setting", "streaming", 20, 2e-3, 0.7, momentum=0.7, warmup=WARMUP),
]
ABLATIONS = [
    *(sparse("ablation", h, k, variant="no feedback", beta=0.0) for h, k in ((4, 64), (30, 512))),
    sparse("ablation", 4, 64, variant="reset moments"),
    *(diloco("ablation", h, variant="reset moments") for h in (15, 30)),
    muloco("ablation", 15, variant="reset moments"),
]


def start_of(seed: int, steps: int = 1000) -> Run:
    """The synchronous run that warm ones go on from."""
    return Run("start", "sync", 1, SYNC_LR[4, 16], seed=seed, steps=steps)


def finals() -> list[Run]:
    """The long runs, what others wait for first, then what the aims speak of, each for all seeds."""
    runs = [start_of(seed) for seed in SEEDS]
    for h in (15, 30, 0):
        for group, warm in (("warm", 1000), ("scratch", 0)):
            for seed in SEEDS:
                same = {"seed": seed, "steps": 2000, "warm_steps": warm, "decay": LONG_DECAY[group]}
                if h:
                    runs += [make(group, h, **same) for make in (diloco, muloco)]
                else:
                    runs += [sync(group, optimizer="muon", **same), sparse(group, *BEST_500, **same)]
                if h == 15:
                    runs += [sync(group, **same), Run(group, "sparseloco", h, **MUON_500, **same)]
    return runs


def play(run: Run) -> dict:
    """Plays one run, on from where it was; its row."""
    words = ["--method", run.method, "--workers", run.R, "--steps", run.H, "--rounds", run.rounds]
    words += ["--lr", run.lr, "--warmup", run.warmup, "--batch", run.batch, "--seed", run.seed]
    words += ["--windows", WINDOWS, "--out", PLACE / run.name]
    if run.method != "demo" and run.group != "start":
        words += ["--decay", run.decay]
    if run.warm_steps:
        words += ["--start", PLACE / start_of(run.seed, run.warm_steps).name]
    if run.alpha is not None:
        words += ["--outer-lr", run.alpha]
    if run.momentum is not None:
        words += ["--momentum", run.momentum]
    for name in ("beta", "beta2", "weight_decay", "optimizer"):
        if getattr(run, name) is not None:
            words += ["--" + name.replace("_", "-"), getattr(run, name)]
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
        "windows": WINDOWS,
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
        for run in dict.fromkeys([start_of(0), *others, *finals()]):
            if run.group == "start":
                starts[run] = threads.submit(start, run)
            else:
                begun = starts[start_of(run.seed, run.warm_steps)] if run.warm_steps else None
                done.append(threads.submit(one, run, begun))
    for future in (*starts.values(), *done):
        future.result()
    rows = rows_of(known)
    if rows:
        columns = "group method optimizer R H k lr alpha momentum variant seed steps traffic val_loss".split()
        publish(NAME, TITLE, rows, NOTE, [*columns, "gap %"])


def _known() -> dict[Run, dict]:
    """The rows of earlier calls."""
    results = RESULTS / f"{NAME}.json"
    known = {}
    for row in json.loads(results.read_text())["rows"] if results.exists() else []:
        run = Run(**{name: row[name] for name in Run.__dataclass_fields__ if name in row})
        known[run] = asdict(run) | {"windows": OLD_WINDOWS} | row
    return known


_ORDER = "windows group method optimizer R H k seed lr alpha momentum beta variant decay warmup".split()


def rows_of(known: dict[Run, dict]) -> list[dict]:
    """All rows in order, each with its baseline's loss, over as many windows, and its gap to that."""
    out = []
    for run, row in known.items():
        base = known.get(run.baseline, known.get(replace(run.baseline, group="start")))
        like = base is not None and base["windows"] == row["windows"]
        loss = base["val_loss"] if like else row.get("baseline")
        gap = None if loss is None else 100 * (row["val_loss"] / loss - 1)
        out.append(row | {"baseline": loss, "gap %": gap})
    return sorted(out, key=lambda row: [(row[name] is not None, row[name]) for name in _ORDER])
