"""A checkpoint as a model that others can load with no code of ours: safetensors and config.json in the
Hugging Face layout, adapters in PEFT's, and the tokenizer beside them.

    python -m pi_train.export --spec spec.json --checkpoint checkpoint.bin --artifacts run/ --out model/
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from pi_sdk.codec import sha256
from pi_sdk.errors import BlobCorrupt, BlobNotFound, PiError, UsageError, report
from pi_sdk.types import FactorySpec, GptSpec, HfSpec, RunSpec
from pydantic import ValidationError

from .fixed import to_fp32
from .layout import slices
from .outer import Checkpoint
from .tokens import byte_tokenizer, end_of_text, load_tokenizer

Dtype = Literal["fp32", "bf16"]
_CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def save_model(
    spec: RunSpec,
    checkpoint: Checkpoint,
    out: Path,
    *,
    files: Mapping[str, Path] | None = None,
    dtype: Dtype = "fp32",
) -> None:
    """Writes a model's folder. `files` are those of the corpus (`Corpus.files`); without them a tokenizer or
    a frozen base is left out.

    - the built-in GPT: for `GPT2LMHeadModel`; a `transformers` model: for its own class;
    - adapters: for `PeftModel`, with their base in `out/base`;
    - a factory's module: model.safetensors for `load_state_dict`, and factory.json.
    """
    files, model = files or {}, spec.model
    params = to_fp32(checkpoint.theta, spec.frac_bits)
    tensors = {name: params[place].reshape(shape) for name, shape, place in slices(model)}
    out.mkdir(parents=True, exist_ok=True)
    if model.kind == "gpt":
        _save(_as_gpt2(tensors), out / "model.safetensors", dtype)
        _write_json(out / "config.json", _gpt2_config(model, dtype))
    elif model.kind == "factory":
        _save(tensors, out / "model.safetensors", dtype)
        _write_json(out / "factory.json", _factory(model))
    elif model.lora is None:
        _save(tensors, out / "model.safetensors", dtype)
        _write_json(out / "config.json", _hf_config(model, dtype))
    else:
        _save({_peft_name(name): t for name, t in tensors.items()}, out / "adapter_model.safetensors", dtype)
        _write_json(out / "adapter_config.json", _peft_config(model))
        _save_base(model, files, out / "base")
    _save_tokenizer(spec, files, out)


def _as_gpt2(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """GPT-2 keeps these matrices as (in, out) and has biases, ours as (out, in) and none: transposed, and
    zeros. The head is tied."""
    answer = {}
    for name, tensor in tensors.items():
        tensor = tensor.T if name.endswith(_CONV1D) else tensor
        answer[f"transformer.{name}"] = tensor
        if not name.startswith(("wte", "wpe")):
            answer[f"transformer.{name.removesuffix('weight')}bias"] = np.zeros(tensor.shape[-1], np.float32)
    return answer


def _gpt2_config(model: GptSpec, dtype: Dtype) -> dict[str, Any]:
    return {
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
        "dtype": _TORCH[dtype],
    }


def _hf_config(model: HfSpec, dtype: Dtype) -> dict[str, Any]:
    return {**model.config, "dtype": _TORCH[dtype], "transformers_version": model.transformers}


def _factory(model: FactorySpec) -> dict[str, Any]:
    return {"factory": model.factory, "arguments": model.arguments}


# --- adapters -----------------------------------------------------------------------------------------------


def _peft_name(name: str) -> str:
    return f"base_model.model.{name}.weight"


def _peft_config(model: HfSpec) -> dict[str, Any]:
    assert model.lora
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": model.lora.rank,
        "lora_alpha": model.lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(model.lora.targets),
        "bias": "none",
        "fan_in_fan_out": model.config.get("model_type") in ("gpt2", "openai-gpt"),
        "inference_mode": True,
    }


def _save_base(model: HfSpec, files: Mapping[str, Path], out: Path) -> None:
    """The frozen weights as a `transformers` model of several files."""
    if not all(shard.sha256 in files for shard in model.base):
        return
    from safetensors import safe_open

    out.mkdir(exist_ok=True)
    places, dtypes = {}, set()
    for i, shard in enumerate(model.base, 1):
        name = f"model-{i:05}-of-{len(model.base):05}.safetensors"
        (out / name).write_bytes(files[shard.sha256].read_bytes())
        with safe_open(out / name, "np") as file:
            places |= {tensor: name for tensor in file.keys()}
            dtypes |= {file.get_slice(tensor).get_dtype() for tensor in file.keys()}
    _write_json(out / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    _write_json(out / "config.json", _hf_config(model, "bf16" if dtypes == {"BF16"} else "fp32"))


# --- files --------------------------------------------------------------------------------------------------

_TORCH = {"fp32": "float32", "bf16": "bfloat16"}


def _save(tensors: dict[str, np.ndarray], path: Path, dtype: Dtype) -> None:
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    if dtype == "fp32":
        from safetensors.numpy import save_file

        save_file(whole, path, metadata={"format": "pt"})
        return
    import torch
    from safetensors.torch import save_file as save_torch

    halves = {name: torch.from_numpy(tensor).to(torch.bfloat16) for name, tensor in whole.items()}
    save_torch(halves, path, metadata={"format": "pt"})


def _save_tokenizer(spec: RunSpec, files: Mapping[str, Path], out: Path) -> None:
    """Where bytes are the tokens, a tokenizer of bytes."""
    shard, end = spec.data.tokenizer, None
    if shard is None and spec.data.dtype == "uint8":
        data = byte_tokenizer()
    elif shard is not None and shard.sha256 in files:
        data = files[shard.sha256].read_bytes()
        end = end_of_text(load_tokenizer(data))
    else:
        return
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": spec.model.context}
    (out / "tokenizer.json").write_bytes(data)
    _write_json(out / "tokenizer_config.json", config | ({"eos_token": end} if end else {}))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def read_run(spec: Path, checkpoint: Path) -> tuple[RunSpec, Checkpoint]:
    """A RunSpec and a checkpoint of its run from files. `UsageError`, `MalformedArtifact`."""
    try:
        rules = RunSpec.model_validate_json(spec.read_bytes())
    except ValidationError as error:
        raise UsageError(f"{spec} is not a RunSpec: {error.errors()[0]['msg']}") from None
    return rules, Checkpoint.from_bytes(checkpoint.read_bytes(), *rules.checkpoint_shape)


def read_files(spec: RunSpec, artifacts: Path | None) -> dict[str, Path]:
    """A run's tokenizer and frozen weights in a folder of artifacts: `Corpus.files`. `StoreError`s where one
    is missing or damaged, `UsageError` without a folder."""
    found = {}
    for shard in spec.files:
        if artifacts is None:
            raise UsageError(
                "the run has a tokenizer or frozen weights", "--artifacts says where its files are"
            )
        name = shard.sha256
        path = next((p for p in (artifacts / name, artifacts / name[:2] / name) if p.exists()), None)
        if path is None:
            raise BlobNotFound(f"no artifact {name} in {artifacts}")
        if sha256(path.read_bytes()).hex() != name:
            raise BlobCorrupt(f"{path} has other bytes than its name says")
        found[name] = path
    return found


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
artifacts_option = click.option(
    "--artifacts",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the run's files, named by their sha256.",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--spec", type=_FILE, required=True, help="The RunSpec's JSON.")
@click.option("--checkpoint", type=_FILE, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
@artifacts_option
@click.option("--dtype", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
def main(spec: Path, checkpoint: Path, out: Path, artifacts: Path | None, dtype: Dtype) -> None:
    """Write a checkpoint file as a model in the Hugging Face layout."""
    try:
        rules, state = read_run(spec, checkpoint)
        save_model(rules, state, out, files=read_files(rules, artifacts), dtype=dtype)
    except PiError as error:
        raise SystemExit(report(error)) from None


if __name__ == "__main__":
    main()
