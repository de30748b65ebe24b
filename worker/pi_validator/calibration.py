"""`pi-validator calibrate`: error limits of a run, measured for each pair of its classes on this machine.

One replay process per class. Each class trains slots as a worker and, from the same borders, segments as the
cheats that are hardest to see (`pi_train/calibration.py`); each class replays all of them. Between the
honest errors and the false ones lies the limit.

How a limit is chosen. It is half of the smallest false error, and at least `MARGIN` times the honest error;
where both cannot be, the pair has none, and such a validator may not judge such a worker. It is not the
middle: honest errors have a long tail (of thousands of segments the worst was 40 times off what a few
showed), false ones hardly spread, and what is at stake is an honest worker's money. The honest error of a
pair is the largest that any pair of the same two dtypes showed, losses included, since a class also covers
machines that were not measured. Cheats of lower precision do all the work: where they hide below the limit
of the others they are named "unseen".

The activation screen has one set of limits for all pairs: four times the largest honest value, at least
`SCREEN_FLOOR`, at most TOPLOC's. It convicts too, so it must never see an honest worker; it is not what
cheats are found by.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pi_sdk.codec import canonical_json
from pi_sdk.errors import PiError, SpecMismatch
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, DeterminismClass, ErrorLimit, Model, RunSpec
from pi_train.data import load_corpus
from pi_train.determinism import lack
from pi_train.outer import checkpoint_bytes

from .replay_process import ReplayConfig, ReplayProcess

MARGIN = 10.0
"""Least ratio between a limit and the honest error."""
BELOW = 2.0
"""Ratio between the smallest false error and a limit."""
ROUNDING = {"fp32": 1e-6, "bf16": 1e-3}
"""Least honest error that is reckoned with: one class on one machine shows none at all."""
PRECISION = ("int8 weights", "bf16 products")
"""Cheats that do all the work, only with fewer bits."""
SCREEN = ("exponent_mismatches", "mantissa_mean", "mantissa_median")
STATISTICS = ("error", "loss", *SCREEN)
"""What a class measures of a segment; see `pi_train.calibration`, which loads torch."""
SCREEN_FLOOR = {"exponent_mismatches": 6.0, "mantissa_mean": 1.0, "mantissa_median": 1.0}
SCREEN_MARGIN = 4
_HOURS = 24 * 3600.0


class Pair(Model):
    """What was measured of workers of one class and validators of another one. Errors are ascending."""

    worker: str
    validator: str
    honest: tuple[float, ...]
    losses: tuple[float, ...]
    """Largest relative error of a loss in each honest segment."""
    cheats: dict[str, tuple[float, ...]]
    limit: float | None
    """Proposed; None where honest work and cheats are too close."""
    reckoned: float
    """The honest error that the limit keeps away from."""
    smallest: str
    """The cheat that the limit keeps away from, or that is too close."""
    unseen: tuple[str, ...]
    """Cheats of lower precision that hide below the limit."""

    @property
    def margin(self) -> float:
        """Smallest error of the nearest cheat over the honest error."""
        return self.cheats[self.smallest][0] / self.reckoned


class Calibration(Model):
    """All that `pi-validator calibrate` measured, and the limits that follow."""

    version: int = 1
    parameters: int
    rounds: int
    segments: int
    """Segments measured in each round."""
    classes: tuple[DeterminismClass, ...]
    """Those that were measured."""
    lacking: dict[str, str]
    """Admitted classes that this machine does not fit, and what it lacks."""
    pairs: tuple[Pair, ...]
    screen_honest: dict[str, float]
    """Largest value of each statistic of the activation screen, over honest segments of pairs with a
    limit."""
    screen_cheats: dict[str, dict[str, float]]
    screen_limits: dict[str, float]

    def pair(self, worker: str, validator: str) -> Pair:
        return next(p for p in self.pairs if (p.worker, p.validator) == (worker, validator))

    def check(self) -> None:
        """`PiError` where nobody could judge the workers of a class."""
        for cls in self.classes:
            mine = [p for p in self.pairs if p.worker == cls.id]
            if all(p.limit is None for p in mine):
                best = max(mine, key=lambda p: p.margin)
                raise PiError(
                    f"honest work of class {cls.id} is off by up to {best.reckoned:.2g}, {best.smallest} only"
                    f" by {best.cheats[best.smallest][0]:.2g}: no limit tells them apart",
                    "shorten trace.segment, or leave the class out",
                )

    def applied(self, spec: RunSpec) -> RunSpec:
        """The RunSpec with these classes and limits. A limit of a pair that was not measured stays."""
        self.check()
        known = {c.id for c in spec.classes}
        classes = (*spec.classes, *(c for c in self.classes if c.id not in known))
        measured = {c.id for c in self.classes}
        kept = [p for p in spec.limits if not {p.worker, p.validator} <= measured]
        limits = [
            ErrorLimit(worker=p.worker, validator=p.validator, limit=p.limit)
            for p in self.pairs
            if p.limit is not None
        ]
        screen = {f"max_{name}": value for name, value in self.screen_limits.items()}
        changed = {
            "classes": [cls.model_dump() for cls in classes],
            "limits": [limit.model_dump() for limit in (*limits, *kept)],
            "audit": spec.audit.model_dump() | screen,
        }
        return RunSpec.model_validate(spec.model_dump() | changed)


def propose(honest: float, cheat: float) -> float | None:
    """The limit between two errors, to two digits; None where they are too close."""
    limit = float(f"{cheat / BELOW:.2g}")
    return limit if limit >= MARGIN * honest else None


def judge(
    spec: RunSpec,
    classes: Sequence[DeterminismClass],
    found: dict[tuple[str, str], dict[str, list[dict[str, float]]]],
    lacking: dict[str, str],
    rounds: int,
    segments: int,
) -> Calibration:
    """The limits that follow from what was `found`: for each (worker, validator) and each of "honest" and the
    cheats' names, the statistics of all segments."""
    dtype = {cls.id: cls.dtype for cls in classes}
    worst: dict[tuple[str, str], float] = {}
    for (worker, validator), segments_of in found.items():
        kind = dtype[worker], dtype[validator]
        own = max(max(m["error"], m["loss"]) for m in segments_of["honest"])
        floor = ROUNDING["bf16" if "bf16" in kind else "fp32"]
        worst[kind] = max(worst.get(kind, floor), own)
    pairs = [
        _pair(worker, validator, segments_of, worst[dtype[worker], dtype[validator]])
        for (worker, validator), segments_of in found.items()
    ]
    judging = [found[p.worker, p.validator] for p in pairs if p.limit is not None]

    def largest(name: str) -> dict[str, float]:
        seen = [m for segments_of in judging for m in segments_of.get(name, ())]
        return {statistic: max((m[statistic] for m in seen), default=0.0) for statistic in SCREEN}

    honest = largest("honest")
    published = AuditSpec()
    limits = {
        name: min(max(SCREEN_MARGIN * honest[name], SCREEN_FLOOR[name]), getattr(published, f"max_{name}"))
        for name in SCREEN
    }
    return Calibration(
        parameters=spec.model.parameters,
        rounds=rounds,
        segments=segments,
        classes=tuple(classes),
        lacking=lacking,
        pairs=tuple(pairs),
        screen_honest=honest,
        screen_cheats={name: largest(name) for name in sorted({n for f in judging for n in f} - {"honest"})},
        screen_limits=limits,
    )


def _pair(worker: str, validator: str, found: dict[str, list[dict[str, float]]], honest: float) -> Pair:
    errors = {name: tuple(sorted(m["error"] for m in measured)) for name, measured in found.items()}
    cheats = {name: e for name, e in errors.items() if name != "honest"}
    unseen = tuple(name for name in PRECISION if name in cheats and propose(honest, cheats[name][0]) is None)
    smallest = min((name for name in cheats if name not in unseen), key=lambda name: cheats[name][0])
    return Pair(
        worker=worker,
        validator=validator,
        honest=errors["honest"],
        losses=tuple(sorted(m["loss"] for m in found["honest"])),
        cheats=cheats,
        limit=propose(honest, cheats[smallest][0]),
        reckoned=honest,
        smallest=smallest,
        unseen=unseen,
    )


def measure(
    spec: RunSpec,
    get: Callable[[str, int], bytes],
    extra: Sequence[DeterminismClass],
    out: Path,
    *,
    rounds: int,
    segments: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Measures a run's classes and `extra` ones in processes of their own. `get(sha256 hex, max bytes)` gets
    the run's artifacts; `out` is a folder for them and for borders, of which one slot per class is kept at a
    time. `SpecMismatch` where this machine fits no class; raises what `get` raises.
    """
    known = {cls.id for cls in spec.classes}
    wanted = (*spec.classes, *(cls for cls in extra if cls.id not in known))
    lacking = {cls.id: words for cls in wanted if (words := lack(cls))}
    classes = [cls for cls in wanted if cls.id not in lacking]
    if not classes:
        raise SpecMismatch(f"this machine fits no class: {'; '.join(lacking.values())}")
    rounds, segments = min(rounds, spec.rounds), min(segments, spec.segments)
    store, corpus = LocalStore(out / "artifacts"), out / "corpus"
    load_corpus(spec, get, corpus)
    store.put(get(spec.genesis_file, checkpoint_bytes(*spec.checkpoint_shape)))
    run_spec = out / "run_spec.json"
    run_spec.write_bytes(canonical_json(spec.model_copy(update={"classes": wanted})))
    first = {"folder": str(store.path), "checkpoint": spec.genesis_file, "root": spec.genesis_root}

    processes: dict[str, ReplayProcess] = {}
    found: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = {}
    try:
        for i, cls in enumerate(classes):
            # The claims are our own: nothing has to be bounded.
            config = ReplayConfig(run_spec, corpus, cls, memory=1 << 50, log=out / f"replay-{i}.log")
            processes[cls.id] = ReplayProcess(config)
        ask = {
            name: lambda process=process, **request: process.ask(
                {"op": "calibrate"} | first | request, _HOURS
            )
            for name, process in processes.items()
        }
        for round_ in range(rounds):
            for worker in ask:
                slot = out / "slot"
                shutil.rmtree(slot, ignore_errors=True)
                tell(f"round {round_}: {worker} trains")
                ask[worker](do="train", slot=str(slot), round=round_)
                for i in range(segments):
                    at = {"slot": str(slot), "segment": i * spec.segments // segments}
                    cheats = ask[worker](do="cheat", **at)["cheats"]
                    for validator in ask:
                        measured = ask[validator](do="measure", cheats=cheats, **at)
                        pair = found.setdefault((worker, validator), {})
                        for name, statistics in measured.items():
                            pair.setdefault(name, []).append(statistics)
                shutil.rmtree(slot)
    finally:
        for process in processes.values():
            process.kill()
    return judge(spec, classes, found, lacking, rounds, segments)
