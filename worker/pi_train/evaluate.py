"""How good a checkpoint is: loss on held-out text, the entropy it has to beat, and text from the model.

    python -m pi_train.evaluate --spec spec.json --checkpoint checkpoint.bin --validation shard.bin

prints one JSON object: parameters, unigram_entropy (nats per byte), sample.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from pi_sdk.errors import PiError, report
from pi_sdk.types import RunSpec

from .data import Corpus, windows_at
from .export import read_run
from .fixed import to_fp32
from .layout import parameter_count
from .outer import Checkpoint

if TYPE_CHECKING:  # unigram_entropy needs no torch
    from .model import GPT


def unigram_entropy(validation: np.ndarray) -> float:
    """Entropy in nats of the byte frequencies of uint8[n]: the loss of the best model without context."""
    counts = np.bincount(validation)
    p = counts[counts > 0] / len(validation)
    return float(-(p * np.log(p)).sum())


def load_model(spec: RunSpec, checkpoint: Checkpoint) -> "GPT":
    """The model at a checkpoint, fp32 on the CPU, without gradients."""
    import torch
    from pi_sdk.types import DeterminismClass

    from .model import GPT

    model = GPT(spec.model, DeterminismClass(id="evaluation", torch=torch.__version__))
    model.params.copy_(torch.from_numpy(to_fp32(checkpoint.theta, spec.frac_bits)))
    return model


def validation_loss(spec: RunSpec, checkpoint: Checkpoint, corpus: Corpus, windows: int = 64) -> float:
    """Mean loss in nats per byte over `windows` windows spread evenly over the validation text."""
    import torch

    model = load_model(spec, checkpoint)
    last = len(corpus.validation) - spec.inner.sequence - 1
    ids = np.linspace(0, last, windows).astype(np.int64)
    with torch.no_grad():
        tokens = windows_at(corpus.validation, ids.tolist(), spec.inner.sequence)
        return model.loss(torch.from_numpy(tokens.astype(np.int64)))[0].item()


def generate(spec: RunSpec, checkpoint: Checkpoint, prompt: bytes, length: int, seed: int) -> bytes:
    """`length` bytes after `prompt`, sampled at temperature 0.8. An empty prompt starts after a newline."""
    import torch

    model = load_model(spec, checkpoint)
    random = torch.Generator().manual_seed(seed)
    text = list(prompt or b"\n")
    start = len(text)
    with torch.no_grad():
        for _ in range(length):
            hidden = model.hidden(torch.tensor([text[-spec.model.context :]]))
            logits = model.logits(hidden[0, -1])[:256] / 0.8  # a larger vocabulary has no other bytes
            text.append(int(torch.multinomial(logits.softmax(0), 1, generator=random)))
    return bytes(text[start:])


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
@click.option("--length", default=400, show_default=True, help="Bytes of text to sample.")
@click.option("--seed", default=0, show_default=True)
def main(spec: Path, checkpoint: Path, validation: tuple[Path, ...], length: int, seed: int) -> None:
    """Print the size of a model, the entropy of the held-out bytes, and text that the model writes."""
    try:
        rules, state = read_run(spec, checkpoint)
    except PiError as error:
        raise SystemExit(report(error)) from None
    held_out = np.frombuffer(b"".join(path.read_bytes() for path in validation), np.uint8)
    text = generate(rules, state, b"", length, seed)
    answer = {
        "parameters": parameter_count(rules.model),
        "unigram_entropy": unigram_entropy(held_out),
        "sample": text.decode("utf-8", errors="replace"),
    }
    click.echo(json.dumps(answer))


if __name__ == "__main__":
    main()
