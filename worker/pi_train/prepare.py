"""What a pool's creator makes before anything can start: data shards, first checkpoint, RunSpec. Numpy only.

    python -m pi_train.prepare --data my_text/ --out run/

writes each artifact to `run/` under its sha256 and prints the RunSpec's hash. Without `--data` the text is
the source of Python's standard library without its tests. Equal files, options and numpy give equal hashes on
every machine.
"""

import math
import sysconfig
from pathlib import Path
from typing import Protocol

import click
import numpy as np
from pi_sdk.codec import canonical_json, sha256
from pi_sdk.errors import PiError, UsageError, report
from pi_sdk.types import (
    AuditSpec,
    CodecSpec,
    DataSpec,
    DeterminismClass,
    ErrorLimit,
    GptSpec,
    InnerSpec,
    OuterSpec,
    RunSpec,
    Shard,
    TraceSpec,
)
from pydantic_core import from_json

from .determinism import default_classes
from .fixed import to_fixed
from .layout import slices
from .outer import Checkpoint

_SHARD = 8 << 20
_VALIDATION_BYTE = 13
"""A file is held out when the first byte of its sha256 is below this: about 5 % of them."""
_NOT_STDLIB = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
_NESTEROV = OuterSpec(rule="nesterov", lr=45875, momentum=58982)
"""DiLoCo's outer rule, 0.7 and 0.9 in Q16, for dense codecs; SparseLoCo's `sgd` goes with sparse ones."""
_FP32_LIMIT = 1e-3
"""Default error limit: a hundred times what a change of threads or instruction set does to fp32, and a 300th
of what a wrong learning rate or half a batch does."""


class Store(Protocol):
    def put(self, data: bytes, /) -> str: ...


def prepare(
    *,
    store: Store,
    seed: int = 0,
    rounds: int = 12,
    data: Path | None = None,
    name: str = "pi",
    model: GptSpec | None = None,
    inner: InnerSpec | None = None,
    codec: CodecSpec | None = None,
    outer: OuterSpec | None = None,
    trace: TraceSpec | None = None,
    audit: AuditSpec | None = None,
    frac_bits: int = 24,
    classes: tuple[DeterminismClass, ...] | None = None,
    limits: tuple[ErrorLimit, ...] | None = None,
    max_width: int = 4,
) -> RunSpec:
    """Puts shards, first checkpoint and the RunSpec's canonical JSON into `store` and returns the RunSpec.

    What is None takes the default of its type (`outer`: the rule that fits the codec); classes default to
    `default_classes`, limits to 1e-3 for each pair of classes. Raises `UsageError` where `data` cannot be
    read as text.
    """
    model, inner, codec = model or GptSpec(), inner or InnerSpec(), codec or CodecSpec()
    outer = outer or (OuterSpec() if codec.name == "sparse-2bit" else _NESTEROV)
    train, validation = split(documents(data))
    for part, text in (("training", train), ("validation", validation)):
        if len(text) <= inner.sequence:
            raise UsageError(
                f"only {len(text)} bytes of {part} text",
                f"give more text: training and validation each need more than {inner.sequence} bytes",
            )
    checkpoint = genesis(model, seed, frac_bits, has_momentum=outer.rule == "nesterov")
    classes = classes or default_classes()
    spec = RunSpec(
        name=name,
        seed=seed,
        rounds=rounds,
        model=model,
        data=DataSpec(train=_shards(train, store), validation=_shards(validation, store)),
        genesis_root=checkpoint.root().hex(),
        genesis_file=store.put(checkpoint.to_bytes()),
        inner=inner,
        codec=codec,
        outer=outer,
        frac_bits=frac_bits,
        trace=trace or TraceSpec(),
        audit=audit or AuditSpec(),
        classes=classes,
        limits=limits
        or tuple(
            ErrorLimit(worker=a.id, validator=b.id, limit=_FP32_LIMIT) for a in classes for b in classes
        ),
        max_width=max_width,
    )
    store.put(canonical_json(spec))
    return spec


def documents(data: Path | None) -> list[bytes]:
    """The documents of a text file, of a JSONL file (field "text"), or of all visible files of a folder in
    the order of their relative paths; None is the standard library. Raises `UsageError`."""
    if data is None:
        root = Path(sysconfig.get_paths()["stdlib"])
        paths = [p for p in root.rglob("*.py") if not _NOT_STDLIB.intersection(p.relative_to(root).parts)]
    elif data.is_dir():
        root, paths = data, [p for p in data.rglob("*") if p.is_file() and not _hidden(p, data)]
    elif data.is_file():
        root, paths = data.parent, [data]
    else:
        raise UsageError(f"no such file or folder: {data}")
    found = []
    for path in sorted(paths, key=lambda p: p.relative_to(root).as_posix()):
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
        found += _jsonl(path, raw) if path.suffix == ".jsonl" else [raw]
    found = [text for text in found if text]
    if not found:
        raise UsageError(f"no text in {data or root}")
    return found


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _jsonl(path: Path, raw: bytes) -> list[bytes]:
    texts = []
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        try:
            # Not the json module: libraries raise Python's recursion limit so far that deep nesting kills it.
            texts.append(from_json(line)["text"].encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f'{path}, line {number}: not a JSON object with a string "text"') from None
    return texts


def split(texts: list[bytes]) -> tuple[bytes, bytes]:
    """(training bytes, validation bytes): each document goes to one side by its own hash, so that equal
    documents never stand on both. Where documents are too few for that, the last twentieth of the text is
    held out."""
    held_out = [sha256(text)[0] < _VALIDATION_BYTE for text in texts]
    train = b"".join(text for text, out in zip(texts, held_out, strict=True) if not out)
    validation = b"".join(text for text, out in zip(texts, held_out, strict=True) if out)
    whole = len(train) + len(validation)
    if min(len(train), len(validation)) >= whole // 100:
        return train, validation
    text = b"".join(texts)
    return text[: whole - whole // 20], text[whole - whole // 20 :]


def _shards(text: bytes, store: Store) -> tuple[Shard, ...]:
    parts = [text[at : at + _SHARD] for at in range(0, len(text), _SHARD)]
    return tuple(Shard(sha256=store.put(part), bytes=len(part)) for part in parts)


def genesis(model: GptSpec, seed: int, frac_bits: int = 24, *, has_momentum: bool = False) -> Checkpoint:
    """The first checkpoint: as GPT-2 starts (deviation 0.02, smaller where a residual branch ends)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for name, shape, place in slices(model):
        count = place.stop - place.start
        if len(shape) == 1:
            parts.append(np.ones(count, np.float32))
            continue
        deviation = 0.02 / math.sqrt(2 * model.layers) if name.endswith("c_proj.weight") else 0.02
        parts.append((rng.standard_normal(count) * deviation).astype(np.float32))
    theta = to_fixed(np.concatenate(parts), frac_bits)
    return Checkpoint(theta, np.zeros(len(theta), np.int64) if has_momentum else None)


class _Folder:
    """A store that is a plain folder of files named by their hash."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        name = sha256(data).hex()
        (self.path / name).write_bytes(data)
        return name


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the artifacts.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Text file, folder or .jsonl [default: Python's own library].",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--name", default="pi", show_default=True)
def main(out: Path, data: Path | None, seed: int, rounds: int, name: str) -> None:
    """Prepare a run: data shards, first checkpoint and RunSpec, each in a file named by its sha256."""
    try:
        spec = prepare(store=_Folder(out), seed=seed, rounds=rounds, data=data, name=name)
    except PiError as error:
        raise SystemExit(report(error)) from None
    click.echo(sha256(canonical_json(spec)).hex())


if __name__ == "__main__":
    main()
