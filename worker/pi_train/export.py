"""A checkpoint as a model that others can load: safetensors and config.json as in Hugging Face's GPT-2."""

import json
from pathlib import Path

import click
import numpy as np
from pi_sdk.errors import PiError, UsageError, report
from pi_sdk.types import RunSpec
from pydantic import ValidationError

from .fixed import to_fp32
from .layout import parameter_count, slices
from .outer import Checkpoint

_CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def save_model(spec: RunSpec, checkpoint: Checkpoint, out: Path) -> None:
    """Writes `out/model.safetensors` (fp32) and `out/config.json`, which
    `GPT2LMHeadModel.from_pretrained(out)` reads.

    GPT-2 keeps these matrices as (in, out) and has biases, ours as (out, in) and none: transposed, and zeros.
    The head is tied.
    """
    from safetensors.numpy import save_file

    params = to_fp32(checkpoint.theta, spec.frac_bits)
    tensors: dict[str, np.ndarray] = {}
    for name, shape, place in slices(spec.model):
        tensor = params[place].reshape(shape)
        if name.endswith(_CONV1D):
            tensor = tensor.T
        tensors[f"transformer.{name}"] = np.ascontiguousarray(tensor)
        if not name.startswith(("wte", "wpe")):
            tensors[f"transformer.{name.removesuffix('weight')}bias"] = np.zeros(tensor.shape[-1], np.float32)
    model = spec.model
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu",
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_embd": model.width,
        "n_positions": model.context,
        "vocab_size": model.vocab,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def read_run(spec: Path, checkpoint: Path) -> tuple[RunSpec, Checkpoint]:
    """A RunSpec and a checkpoint of its run from files. `UsageError`, `MalformedArtifact`."""
    try:
        rules = RunSpec.model_validate_json(spec.read_bytes())
    except ValidationError as error:
        raise UsageError(f"{spec} is not a RunSpec: {error.errors()[0]['msg']}") from None
    count, momentum = parameter_count(rules.model), rules.outer.rule == "nesterov"
    return rules, Checkpoint.from_bytes(checkpoint.read_bytes(), count, momentum)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The RunSpec's JSON.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
def main(spec: Path, checkpoint: Path, out: Path) -> None:
    """Write a checkpoint file as a model in the Hugging Face layout."""
    try:
        save_model(*read_run(spec, checkpoint), out)
    except PiError as error:
        raise SystemExit(report(error)) from None


if __name__ == "__main__":
    main()
