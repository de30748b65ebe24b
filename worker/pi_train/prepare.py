"""What a pool's creator makes before anything can start: data shards, first checkpoint, RunSpec. Numpy only.

    python -m pi_train.prepare --data my_text/ --out run/

writes each artifact to `run/` under its sha256 and prints the RunSpec's hash. Without `--data` the text is
the source of Python's standard library without its tests. Equal files, options and numpy give equal hashes on
every machine.
"""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from pi_sdk.codec import canonical_json, sha256
from pi_sdk.errors import PiError, UsageError, report
from pi_sdk.types import (
    MAX_SPEC_BYTES,
    AuditSpec,
    CodecSpec,
    DeterminismClass,
    ErrorLimit,
    GptSpec,
    InnerSpec,
    ModelSpec,
    OuterSpec,
    RunSpec,
    TraceSpec,
)
from pydantic import ValidationError
from pydantic_core import from_json

from .determinism import default_classes, fits, pin
from .fixed import to_fixed
from .layout import slices
from .outer import Checkpoint
from .shards import Store, write_shards

_NESTEROV = OuterSpec(rule="nesterov", lr=45875, momentum=58982)
"""DiLoCo's outer rule, 0.7 and 0.9 in Q16, for dense codecs; SparseLoCo's `sgd` goes with sparse ones."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_FP32_LIMIT = 1e-3
"""Default error limit: a hundred times what a change of threads or instruction set does to fp32, and a 300th
of what a wrong learning rate or half a batch does."""


def prepare(
    *,
    store: Store,
    seed: int = 0,
    rounds: int = 12,
    data: Path | None = None,
    token_dtype: str = "uint16",
    tokenizer: Path | None = None,
    name: str = "pi",
    model: GptSpec | str | None = None,
    arguments: dict[str, Any] | None = None,
    lora: int | None = None,
    inner: InnerSpec | None = None,
    codec: CodecSpec | None = None,
    outer: OuterSpec | None = None,
    trace: TraceSpec | None = None,
    audit: AuditSpec | None = None,
    frac_bits: int = 24,
    classes: tuple[DeterminismClass, ...] | None = None,
    limits: tuple[ErrorLimit, ...] | None = None,
    max_width: int = 4,
    theta: np.ndarray | None = None,
) -> RunSpec:
    """Puts shards, first checkpoint and the RunSpec's canonical JSON into `store` and returns the RunSpec.

    `data`, `token_dtype` and `tokenizer` are those of `write_shards`; a model's folder brings its tokenizer
    along. `model` is a `GptSpec`, "gpt", the path of a `transformers` model or its `owner/name@revision` on
    the Hugging Face hub (`bring_hf`, with `lora`), or `package.module:function` (`bring_factory`, with
    `arguments`). What is None takes the default of its type (`outer`: the rule that fits the codec); classes
    default to `default_classes`, limits to 1e-3 for each pair of classes. `theta` (int32[n], fixed point) are
    the first parameters instead of fresh ones. Raises `UsageError` where data or model cannot be used.
    """
    inner, codec = inner or InnerSpec(), codec or CodecSpec()
    if isinstance(model, str) and _HUB_ID.fullmatch(model) and not Path(model).exists():
        model = str(_from_hub(model))
    outer = outer or (OuterSpec() if codec.name == "sparse-2bit" else _NESTEROV)
    classes = classes or default_classes()
    if tokenizer is None and isinstance(model, str) and (Path(model) / "tokenizer.json").exists():
        tokenizer = Path(model)
    shards, vocab = write_shards(data, tokenizer, token_dtype, store, window=inner.sequence + 1)
    chosen, weights = _model(model, vocab, arguments or {}, lora, inner.sequence, seed, store.put, classes)
    if chosen.vocab < vocab:
        raise UsageError(
            f"the data have tokens up to {vocab - 1}, but the model's vocabulary ends at {chosen.vocab - 1}",
            "take the tokenizer that belongs to the model",
        )
    if chosen.context < inner.sequence:
        raise UsageError(
            f"sequences of {inner.sequence} tokens are longer than the model's context, {chosen.context}"
        )
    guards = outer.fragments if outer.guard else 0
    checkpoint = first_checkpoint(weights, frac_bits, has_momentum=outer.rule == "nesterov", guards=guards)
    if theta is not None:
        if len(theta) != len(weights):
            raise UsageError(f"the model has {len(weights)} parameters, what it starts from {len(theta)}")
        checkpoint = replace(checkpoint, theta=theta)
    spec = RunSpec(
        name=name,
        seed=seed,
        rounds=rounds,
        model=chosen,
        data=shards,
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
    document = canonical_json(spec)
    if len(document) > MAX_SPEC_BYTES:
        raise UsageError(
            f"the RunSpec has {len(document)} bytes, {MAX_SPEC_BYTES} at most",
            "the model has too many tensors",
        )
    store.put(document)
    return spec


def _from_hub(name: str) -> Path:
    """The folder of a model on the hub, out of its local cache or downloaded into it. Nobody else needs the
    hub: the RunSpec names what it takes from there by its hash."""
    repository, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors"]
    try:
        from huggingface_hub import snapshot_download  # comes with transformers

        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # of the network, the hub and its client
        said = f"there is no folder {name}, and the Hugging Face hub has no such model: {error}"
        raise UsageError(said.splitlines()[0], "give a folder, or owner/name@revision") from error


def _model(
    model: GptSpec | str | None,
    vocab: int,
    arguments: dict[str, Any],
    lora: int | None,
    sequence: int,
    seed: int,
    put: Callable[[bytes], str],
    classes: tuple[DeterminismClass, ...],
) -> tuple[ModelSpec, np.ndarray]:
    """The model's spec and its first weights, fp32 and flat."""
    if lora and (not isinstance(model, str) or model == "gpt"):
        raise UsageError("adapters need the weights of a base", "--lora goes with --model FOLDER")
    if model is None or model == "gpt":
        model = GptSpec(vocab=vocab)
    if not isinstance(model, str):
        return model, first_weights(model, seed)
    if "torch" not in sys.modules and (fitting := [c for c in classes if fits(c)]):
        pin(fitting[0])  # what comes after in this process may want to train
    from . import bring

    try:
        if ":" in model and not Path(model).exists():
            return bring.bring_factory(model, arguments, vocab=vocab, sequence=sequence, seed=seed)
        return bring.bring_hf(Path(model), lora=lora, sequence=sequence, seed=seed, put=put)
    except ValidationError as error:  # too many tensors, too short a context
        raise UsageError(f"{model} makes no run: {_words(error)}") from None


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def genesis(model: GptSpec, seed: int, frac_bits: int = 24, *, has_momentum: bool = False) -> Checkpoint:
    """The first checkpoint of the built-in GPT."""
    return first_checkpoint(first_weights(model, seed), frac_bits, has_momentum=has_momentum)


def first_weights(model: GptSpec, seed: int) -> np.ndarray:
    """As GPT-2 starts (deviation 0.02, smaller where a residual branch ends): fp32, flat."""
    rng = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for name, shape, place in slices(model):
        count = place.stop - place.start
        if len(shape) == 1:
            parts.append(np.ones(count, np.float32))
            continue
        deviation = 0.02 / math.sqrt(2 * model.layers) if name.endswith("c_proj.weight") else 0.02
        parts.append((rng.standard_normal(count) * deviation).astype(np.float32))
    return np.concatenate(parts)


def first_checkpoint(
    weights: np.ndarray, frac_bits: int, *, has_momentum: bool, guards: int = 0
) -> Checkpoint:
    """A checkpoint without a past. `UsageError` for weights that fixed point cannot hold."""
    bound = 2.0 ** (31 - frac_bits)
    if not (np.abs(weights) < bound).all():
        raise UsageError(
            f"a weight is not below {bound:.0f}, the bound of {frac_bits} fractional bits",
            "take fewer frac_bits",
        )
    theta = to_fixed(weights, frac_bits)
    momentum = np.zeros(len(theta), np.int64) if has_momentum else None
    return Checkpoint(theta, momentum, np.zeros((guards, 4), np.uint64) if guards else None)


class _Folder:
    """A store that is a plain folder of files named by their hash."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        name = sha256(data).hex()
        (self.path / name).write_bytes(data)
        return name


def _json_object(context: click.Context, option: click.Parameter, value: str) -> dict[str, Any]:
    try:
        arguments = from_json(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise click.BadParameter("not a JSON object")
    return arguments


_PATH = click.Path(path_type=Path)
_SOURCES = (
    click.option(
        "--data",
        type=_PATH,
        help="Text, .jsonl, .parquet, .bin, a folder, a saved data set [default: Python's own library].",
    ),
    click.option(
        "--token-dtype",
        type=click.Choice(["uint8", "uint16", "uint32"]),
        default="uint16",
        show_default=True,
        help="Of the ids in .bin files.",
    ),
    click.option("--tokenizer", type=_PATH, help="A tokenizer.json [default: the model's own, else bytes]."),
    click.option(
        "--model",
        help="gpt, folder, config.json or owner/name@revision of a transformers model, "
        "package.module:function [default: gpt].",
    ),
    click.option(
        "--model-args",
        "arguments",
        default="{}",
        callback=_json_object,
        help="Arguments of the function, a JSON object.",
    ),
    click.option(
        "--lora",
        type=click.IntRange(1, 4096),
        metavar="RANK",
        help="Train adapters; the model's weights are frozen.",
    ),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of data and model; they are keyword arguments of `prepare`."""
    for option in reversed(_SOURCES):
        command = option(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=_PATH, required=True, help="Folder for the artifacts.")
@source_options
@click.option("--seed", default=0, show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--name", default="pi", show_default=True)
def main(out: Path, **options: Any) -> None:
    """Prepare a run: data shards, first checkpoint and RunSpec, each in a file named by its sha256."""
    try:
        spec = prepare(store=_Folder(out), **options)
    except PiError as error:
        raise SystemExit(report(error)) from None
    except ValidationError as error:
        raise SystemExit(report(UsageError(f"these options make no run: {_words(error)}"))) from None
    click.echo(sha256(canonical_json(spec)).hex())


if __name__ == "__main__":
    main()
