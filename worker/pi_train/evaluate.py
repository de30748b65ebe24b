"""How good a checkpoint is: loss on held-out text, the entropy it has to beat, and text from the model.

    python -m pi_train.evaluate --spec spec.json --checkpoint checkpoint.bin --validation shard.bin

prints one JSON object: parameters, unigram_entropy (nats per token), sample. A run with a tokenizer or with
frozen weights needs `--artifacts` too, a folder with its files.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from pi_sdk.errors import PiError, UsageError, report
from pi_sdk.types import RunSpec

from .data import DTYPES, Corpus, windows_at
from .export import artifacts_option, read_files, read_run
from .fixed import to_fp32
from .layout import parameter_count
from .outer import Checkpoint
from .tokens import end_of_text, load_tokenizer

if TYPE_CHECKING:  # unigram_entropy needs no torch
    from .model import Files, FlatModel

_PASS = 64
"""Windows in one forward pass of `validation_loss`: bounds its memory."""


def unigram_entropy(validation: np.ndarray) -> float:
    """Entropy in nats of the frequencies of token ids [n]: the loss of the best model without context."""
    counts = np.bincount(validation)
    p = counts[counts > 0] / len(validation)
    return float(-(p * np.log(p)).sum())


def load_model(spec: RunSpec, checkpoint: Checkpoint, files: "Files | None" = None) -> "FlatModel":
    """The model at a checkpoint, fp32 on the CPU, without gradients. `files` are those of the corpus."""
    import torch
    from pi_sdk.types import DeterminismClass

    from .model import build

    model = build(spec.model, DeterminismClass(id="evaluation", torch=torch.__version__), files or {})
    model.params.copy_(torch.from_numpy(to_fp32(checkpoint.theta, spec.frac_bits)))
    return model


def validation_loss(spec: RunSpec, checkpoint: Checkpoint, corpus: Corpus, windows: int = 64) -> float:
    """Mean loss in nats per token over `windows` windows spread evenly over the validation text, `_PASS` of
    them at a time."""
    import torch

    model = load_model(spec, checkpoint, corpus.files)
    last = len(corpus.validation) - spec.inner.sequence - 1
    ids = np.linspace(0, last, windows).astype(np.int64)
    total = 0.0
    with torch.no_grad():
        for at in range(0, windows, _PASS):
            part = ids[at : at + _PASS].tolist()
            tokens = windows_at(corpus.validation, part, spec.inner.sequence)
            total += model.loss(torch.from_numpy(tokens.astype(np.int64)))[0].item() * len(part)
    return total / windows


def sequence_loss(
    spec: RunSpec, checkpoint: Checkpoint, files: "Files | None" = None
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The loss of each sequence, float64[s] in nats per token, at parameters fp32[n] on tokens [s, sequence +
    1]: what `screens.py` asks for. One after another, so that memory is that of one."""
    import torch

    model = load_model(spec, checkpoint, files)

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        model.params.copy_(torch.from_numpy(params))
        with torch.no_grad():
            windows = torch.from_numpy(tokens.astype(np.int64)).split(1)
            return np.array([model.loss(window)[0].item() for window in windows])

    return loss


def generate(
    spec: RunSpec,
    checkpoint: Checkpoint,
    prompt: bytes,
    length: int,
    seed: int,
    files: "Files | None" = None,
) -> bytes:
    """`length` tokens after `prompt`, sampled at temperature 0.8, as text; as numbers where nobody said what
    tokens mean. An empty prompt starts after the end of a text, or after a newline."""
    import torch

    model = load_model(spec, checkpoint, files)
    shard = spec.data.tokenizer
    tokenizer = load_tokenizer((files or {})[shard.sha256].read_bytes()) if shard else None
    bytes_only = tokenizer is None and spec.data.dtype == "uint8"
    known = 256 if bytes_only else spec.model.vocab  # a larger vocabulary has no other bytes
    if tokenizer is None:
        tokens = list(prompt or b"\n") if bytes_only else [0]
    else:
        first = prompt.decode(errors="replace") or end_of_text(tokenizer) or "\n"
        tokens = tokenizer.encode(first, add_special_tokens=False).ids or [0]
    start, random = len(tokens), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(length):
            logits, _ = model.forward(torch.tensor([tokens[-spec.model.context :]]))
            chances = (logits[0, -1, :known] / 0.8).softmax(0)
            tokens.append(int(torch.multinomial(chances, 1, generator=random)))
    if bytes_only:
        return bytes(tokens[start:])
    return (tokenizer.decode(tokens[start:]) if tokenizer else " ".join(map(str, tokens[start:]))).encode()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The RunSpec's JSON.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option(
    "--validation", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True, required=True
)
@artifacts_option
@click.option("--length", default=400, show_default=True, help="Tokens to sample.")
@click.option("--seed", default=0, show_default=True)
def main(
    spec: Path,
    checkpoint: Path,
    validation: tuple[Path, ...],
    artifacts: Path | None,
    length: int,
    seed: int,
) -> None:
    """Print the size of a model, the entropy of the held-out tokens, and text that the model writes."""
    try:
        rules, state = read_run(spec, checkpoint)
        held_out = b"".join(path.read_bytes() for path in validation)
        if len(held_out) % rules.data.token_bytes:
            raise UsageError(f"the validation files do not hold {rules.data.dtype}")
        text = generate(rules, state, b"", length, seed, read_files(rules, artifacts))
    except PiError as error:
        raise SystemExit(report(error)) from None
    answer = {
        "parameters": parameter_count(rules.model),
        "unigram_entropy": unigram_entropy(np.frombuffer(held_out, DTYPES[rules.data.dtype])),
        "sample": text.decode("utf-8", errors="replace"),
    }
    click.echo(json.dumps(answer))


if __name__ == "__main__":
    main()
