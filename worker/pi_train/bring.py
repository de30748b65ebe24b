"""A creator's own model, brought into a run: from a configuration, a folder of weights or a factory to its
spec and its first weights. `prepare.py` calls it where the model is not the built-in GPT; loads torch."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pi_sdk.codec import sha256
from pi_sdk.errors import PiError, SpecMismatch, UsageError
from pi_sdk.types import DeterminismClass, FactorySpec, HfSpec, LoraSpec, ModelSpec, Shard
from pydantic_core import from_json
from safetensors.torch import save

from .factory import make
from .hf import NO_ARCHITECTURE, HfNetwork, adapt, from_config, is_linear, library_version
from .layout import slices
from .model import FlatModel, Network, trainable

_BASE_FILE = 128 << 20
"""Bytes of tensors in a file of frozen weights; a larger tensor has a file of its own."""
_FORGOTTEN = NO_ARCHITECTURE | {"auto_map"}  # `transformers` has code of its own for it, or it is refused


def bring_hf(
    path: Path, *, lora: int | None, sequence: int, seed: int, put: Callable[[bytes], str]
) -> tuple[HfSpec, np.ndarray]:
    """A spec and the first weights, fp32 and flat, of a `transformers` model: of the folder that
    `save_pretrained` writes, or from a config.json alone, with random weights.

    With `lora`, a rank, the folder's weights become the frozen base (`put` stores its files) under adapters
    on all linear layers but the head. Raises `UsageError`, `ToolMissing`.
    """
    version = library_version()
    config = _config(path)
    pretrained = path.is_dir() and any(path.glob("*.safetensors"))
    if path.is_dir() and not pretrained and any(path.glob("*.bin")):
        raise UsageError(f"the weights in {path} are pickled", "save them again as safetensors")
    if lora and not pretrained:
        raise UsageError(f"no *.safetensors in {path}", "adapters need the weights of a base")
    try:
        module = _pretrained(path, config) if pretrained else _random(config, seed)
        base: tuple[Shard, ...] = ()
        adapters = None
        if lora:
            base = tuple(_stored(module, put))
            adapters = LoraSpec(rank=lora, alpha=2 * lora, targets=_linear_layers(module))
            adapt(module, adapters)
            _start_adapters(module, seed)
        text = module.config.get_text_config()
        spec = HfSpec(
            transformers=version,
            config=config,
            layout=tuple(trainable(module.named_parameters())),
            context=min(getattr(text, "max_position_embeddings", None) or sequence, 1 << 20),
            vocab=text.vocab_size,
            base=base,
            lora=adapters,
        )
        return spec, _try_out(HfNetwork, spec, module.float(), sequence)
    except SpecMismatch as error:
        raise UsageError(f"{path}: {error.message}") from error


def bring_factory(
    factory: str, arguments: dict[str, Any], *, vocab: int, sequence: int, seed: int
) -> tuple[FactorySpec, np.ndarray]:
    """A spec and the first weights, fp32 and flat, of an installed factory's module (see `factory.py`).
    Raises `UsageError`."""
    try:
        module = make(factory, arguments, seed)
        layout = tuple(trainable(module.named_parameters()))
        spec = FactorySpec(factory=factory, arguments=arguments, layout=layout, context=sequence, vocab=vocab)
        return spec, _try_out(Network, spec, module, sequence)
    except SpecMismatch as error:
        raise UsageError(error.message, error.hint) from error


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json" if path.is_dir() else path
    try:
        config = from_json(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", "--model takes a folder or a config.json"
        ) from None
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise UsageError(f"{file} is not a JSON object")
    return {k: v for k, v in config.items() if k not in _FORGOTTEN and not k.startswith("_")}


def _random(config: dict[str, Any], seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return from_config(config)


def _pretrained(path: Path, config: dict[str, Any]) -> Any:
    """The model in its own dtype. `transformers` reads the files; names are those of its parameters."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        from_config(config)  # says what is wrong with it
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype="auto", use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # its ways to refuse a file are many
        raise UsageError(f"transformers cannot load {path}: {error}".splitlines()[0]) from error
    module, told = loaded
    if told["missing_keys"]:
        raise UsageError(f"the weights in {path} lack {sorted(told['missing_keys'])[0]!r}")
    return module


def _linear_layers(module: Any) -> tuple[str, ...]:
    head = module.get_output_embeddings()
    linear = (name for name, layer in module.named_modules() if is_linear(layer) and layer is not head)
    return tuple(sorted({name.rpartition(".")[2] for name in linear}))


def _stored(module: Any, put: Callable[[bytes], str]) -> Iterator[Shard]:
    """The weights as files in the store, in their own dtype."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, weight in module.named_parameters():
        if parts[-1] and size + weight.nbytes > _BASE_FILE:
            parts.append({})
            size = 0
        parts[-1][name] = weight.data.contiguous()
        size += weight.nbytes
    for part in parts:
        data = save(part)
        put(data)
        yield Shard(sha256=sha256(data).hex(), bytes=len(data))


def _start_adapters(module: Any, seed: int) -> None:
    """A as PEFT starts it, uniform in +-1/sqrt(in); B at zero, so that training starts from the base."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for name, weight in module.named_parameters():
        if name.endswith(".lora_A"):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.data = torch.from_numpy(rng.uniform(-bound, bound, weight.shape).astype(np.float32))


def _try_out(
    kind: type[Network],
    spec: ModelSpec,
    module: torch.nn.Module,
    sequence: int,
) -> np.ndarray:
    """The flat weights of a module that was run once, forth and back: shapes are right, the loss is a
    number."""
    own = dict(module.named_parameters())
    weights = torch.cat([own[name].detach().float().flatten() for name, _, _ in slices(spec)])
    model = FlatModel(kind(spec, DeterminismClass(id="preparation", torch=torch.__version__), module))
    model.params.copy_(weights)
    tokens = torch.arange(2 * (sequence + 1)).view(2, -1) % spec.vocab
    try:
        logits, hidden = model.forward(tokens[:, :-1])
        shapes = tuple(logits.shape), tuple(hidden.shape[:2]), hidden.dim()
        loss = model.loss(tokens)[0]
        loss.backward()
    except PiError:
        raise
    except Exception as error:  # somebody else's code
        raise SpecMismatch(f"the model cannot be trained: {error}".splitlines()[0]) from error
    if shapes != ((2, sequence, spec.vocab), (2, sequence), 3):
        raise SpecMismatch(
            f"the model maps tokens (2, {sequence}) to logits {shapes[0]}, the vocabulary has {spec.vocab}"
        )
    if not math.isfinite(loss.item()):
        raise SpecMismatch("the model's first loss is not a number")
    return weights.numpy()
