"""The command `pi-validator calibrate`: see `calibration.py` for what is measured and how limits follow."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from pi_sdk.charts import strips
from pi_sdk.cli import read_model
from pi_sdk.client import Client
from pi_sdk.codec import canonical_json, sha256
from pi_sdk.errors import BlobCorrupt, UsageError
from pi_sdk.options import HELP, json_option, mirror_option, network_options, verbose_option
from pi_sdk.rules import load_rules
from pi_sdk.store import HttpStore, LocalStore, MultiStore, Store
from pi_sdk.types import RunSpec
from pi_train.determinism import class_named
from pi_train.prepare import prepare, source_options

from .calibration import Calibration, measure


class _Artifacts:
    """A folder of artifacts named by their sha256, flat or as a `LocalStore` has them."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, name: str, max_bytes: int) -> bytes:
        """`StoreError`s."""
        if not (self.folder / name).is_file():
            return LocalStore(self.folder).get(name, max_bytes)
        data = (self.folder / name).read_bytes()
        if sha256(data).hex() != name:
            raise BlobCorrupt(f"{self.folder / name} has other bytes than its name says")
        return data


@click.command("calibrate", context_settings=HELP)
@click.option(
    "--spec", "spec_file", type=click.Path(path_type=Path), help="RunSpec, JSON; its artifacts beside it."
)
@click.option("--artifacts", type=click.Path(path_type=Path), help="Folder of the artifacts of --spec.")
@click.option("--pool", "pool_id", type=click.IntRange(min=1), help="A pool, instead of --spec.")
@network_options
@mirror_option
@source_options
@click.option(
    "--class",
    "names",
    multiple=True,
    metavar="NAME",
    help="Further class, as cpu-t2-bf16-avx512 or cuda-bf16. May be repeated.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Slots per class.")
@click.option(
    "--segments", type=click.IntRange(min=1), default=5, show_default=True, help="Measured in each slot."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of calibration.json and .svg.")
@click.option(
    "--write", type=click.Path(path_type=Path), help="File for the RunSpec with these classes and limits."
)
@json_option
@verbose_option
def calibrate(
    spec_file: Path | None,
    artifacts: Path | None,
    pool_id: int | None,
    network: str,
    rpc_url: str | None,
    mirrors: tuple[str, ...],
    names: tuple[str, ...],
    rounds: int,
    segments: int,
    out: Path | None,
    write: Path | None,
    as_json: bool,
    **sources: Any,
) -> None:
    """Measure the error limits of a run's classes on this machine, for each pair of worker and validator.

    \b
    pi-validator calibrate --out runs/calibration                 the demo's model and data, default classes
    pi-validator calibrate --class cpu-t2-bf16-avx512             with a further class
    pi-validator calibrate --spec run/SPEC --write calibrated.json
    pi-validator calibrate --pool 1                               are a pool's limits sound on this machine?

    Each class trains slots, honestly and in six ways that are hard to see, and each class replays them. A
    limit is half of the smallest false error, where that is ten times any honest one. Exit code 1 where
    nothing tells a class's workers from cheats. --write is for a RunSpec that is not published yet: its
    hash changes. --json prints what --out keeps as calibration.json (`pi_validator.calibration.Calibration`).
    """
    if spec_file is not None and pool_id is not None:
        raise UsageError("--spec and --pool exclude each other", "give one of them")
    extra = [class_named(name) for name in names]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store: Store | _Artifacts
        if pool_id is not None:
            client = stack.enter_context(Client(network, rpc_url=rpc_url))
            urls = (client.pool(pool_id).store_uri, *mirrors)
            store = MultiStore([stack.enter_context(HttpStore(url)) for url in urls])
            spec, _ = load_rules(client, pool_id, store)
        elif spec_file is not None:
            spec, store = read_model(RunSpec, spec_file), _Artifacts(artifacts or spec_file.parent)
        else:
            store = LocalStore(folder / "prepared")
            spec = prepare(store=store, rounds=max(rounds, 12), **sources)

        def tell(line: str) -> None:
            click.echo(line, err=True)

        found = measure(spec, store.get, extra, folder, rounds=rounds, segments=segments, tell=tell)
    for name, words in found.lacking.items():
        tell(f"class {name} was not measured: it needs {words}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "calibration.json").write_text(found.model_dump_json(indent=1) + "\n")
        (out / "calibration.svg").write_text(plot(found))
        tell(f"written to {out}/calibration.json and calibration.svg")
    click.echo(found.model_dump_json() if as_json else "\n".join(lines(found, spec)))
    found.check()
    if write is not None:
        document = canonical_json(found.applied(spec))
        write.write_bytes(document)
        tell(f"{write}: RunSpec {sha256(document).hex()}")


def lines(found: Calibration, spec: RunSpec) -> list[str]:
    """The report as text: one line per pair, then the screen."""
    width = max(len(cls.id) for cls in found.classes) + 2
    out = [
        f"{'worker':{width}}{'validator':{width}}{'honest max':>11}{'median':>10}{'cheats from':>13}"
        f"{'limit':>10}{'margin':>9}   nearest cheat"
    ]
    for p in found.pairs:
        limit = "none" if p.limit is None else f"{p.limit:.2g}"
        unseen = f"; unseen: {', '.join(p.unseen)}" if p.unseen else ""
        before = spec.limit(p.worker, p.validator)
        now = f"; RunSpec has {before:g}" if before is not None and before != p.limit else ""
        out.append(
            f"{p.worker:{width}}{p.validator:{width}}{_number(p.honest[-1]):>11}"
            f"{_number(p.honest[len(p.honest) // 2]):>10}{p.cheats[p.smallest][0]:>13.2g}{limit:>10}"
            f"{p.margin:>8.0f}x   {p.smallest}{unseen}{now}"
        )
    screen = ", ".join(
        f"{name.replace('_', ' ')} {found.screen_limits[name]:.3g} (honest {found.screen_honest[name]:.3g})"
        for name in found.screen_limits
    )
    return [*out, f"activation screen: {screen}"]


def _number(error: float) -> str:
    return f"{error:.2g}" if error else "bitwise"


def plot(found: Calibration) -> str:
    """Honest and false errors of each pair side by side, with the limits: an SVG."""
    rows = []
    for p in found.pairs:
        groups = [("honest", p.honest), *sorted(p.cheats.items())]
        rows.append((f"{p.worker} by {p.validator}", groups, p.limit))
    title = "State error of a replayed segment, relative to its change"
    return strips(title, rows, left="bitwise")
