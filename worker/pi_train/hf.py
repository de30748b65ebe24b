"""Causal language models of `transformers`, whole, or as a frozen base with LoRA adapters.

A stranger's configuration is data: only models that come with `transformers` are built from it, nothing is
downloaded, and nothing is allocated before the tensors that it would need are those that the RunSpec lists.
The arithmetic is pinned by the version of `transformers`; dropout is off; attention is torch's own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from pi_sdk.errors import MalformedArtifact, PiError, SpecMismatch, ToolMissing
from pi_sdk.types import DeterminismClass, HfSpec, LoraSpec
from safetensors import SafetensorError, safe_open

from .model import Files, Network, check_layout

_NOT_DATA = ("auto_map", "implementation", "kernel", "quantization", "backbone")
"""Parts of configuration keys that, unless numbers, would fetch code or weights or change the arithmetic."""
NO_ARCHITECTURE = {"dtype", "torch_dtype", "transformers_version", "torchscript", "use_cache", "return_dict"}
NO_ARCHITECTURE |= {"output_attentions", "output_hidden_states"}
"""Keys that say how a model is called."""
_MAX_TENSORS = 1 << 16
_MAX_BUFFERS = 1 << 26
"""Values in what a model computes from its configuration alone: positions, masks."""


class HfNetwork(Network):
    def __init__(self, spec: HfSpec, cls: DeterminismClass, module: Any):
        super().__init__(spec, cls, module)
        self._into_head: list[torch.Tensor] = []
        module.get_output_embeddings().register_forward_pre_hook(
            lambda _, arguments: self._into_head.append(arguments[0])
        )

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._into_head.clear()
        logits = self.module(input_ids=tokens, use_cache=False).logits
        return logits, self._into_head.pop()

    def extend(self, tokens: torch.Tensor, cache: Any) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """See `Network.extend`; a cache is keys and values."""
        self._into_head.clear()
        with self.autocast():
            out = self.module(input_ids=tokens, past_key_values=cache, use_cache=True)
        return out.logits, self._into_head.pop(), out.past_key_values


class Adapted(torch.nn.Module):
    """A linear layer with an adapter: base(x) + scale * B A x; `lora_A` (rank, in), `lora_B` (out, rank)."""

    def __init__(self, base: torch.nn.Module, lora: LoraSpec):
        super().__init__()
        into, out = widths(base)
        self.base, self.scale = base, lora.alpha / lora.rank
        self.lora_A = torch.nn.Parameter(torch.zeros(lora.rank, into))
        self.lora_B = torch.nn.Parameter(torch.zeros(out, lora.rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.lora_A), self.lora_B)


def hf_network(spec: HfSpec, cls: DeterminismClass, files: Files) -> Network:
    """See `model.network`."""
    check(spec, files)
    module = from_config(spec.config)
    if spec.lora:
        _read_base(spec, files, module, copy=True)
        adapt(module, spec.lora)
    return HfNetwork(spec, cls, module)


def check(spec: HfSpec, files: Files | None = None) -> None:
    """Raises `SpecMismatch` where this installation does not build from the configuration what the spec
    lists, `MalformedArtifact` where the frozen base in `files` does not fit it. Allocates nothing."""
    installed = library_version()
    if spec.transformers != installed:
        raise SpecMismatch(
            f"the run's model needs transformers {spec.transformers}, {installed} is installed",
            f"pip install transformers=={spec.transformers}",
        )
    with torch.device("meta"):
        module = from_config(spec.config)
        if spec.lora:
            if files is not None:
                _read_base(spec, files, module, copy=False)
            adapt(module, spec.lora)
    check_layout(spec, module.named_parameters())
    if sum(buffer.numel() for buffer in module.buffers()) > _MAX_BUFFERS:
        raise SpecMismatch("the model's configuration asks for huge buffers")


def library_version() -> str:
    """Version of the installed `transformers`, imported so that it downloads nothing. `ToolMissing`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from transformers.utils import logging
    except ImportError:
        raise ToolMissing("transformers is not installed", "pip install 'pi-protocol[hf]'") from None
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return version("transformers")


def from_config(config: dict[str, Any]) -> Any:
    """A causal language model (fp32, all weights as `transformers` initialises them). `SpecMismatch`."""
    _check_config(config)
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise SpecMismatch(f"transformers {version('transformers')} has no causal language model {kind!r}")
    own: Any = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]
    own = own[0] if isinstance(own, tuple) else own
    attention = "sdpa" if own._supports_sdpa else "eager"
    try:
        with _few_tensors():
            module = AutoModelForCausalLM.from_config(
                CONFIG_MAPPING[kind].from_dict({k: v for k, v in config.items() if k not in NO_ARCHITECTURE}),
                dtype=torch.float32,
                attn_implementation=attention,
            )
    except PiError:
        raise
    except Exception as error:  # its ways to refuse a configuration are many
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise SpecMismatch(f"transformers builds no {kind} from this configuration: {words}") from error
    parameters = dict(module.named_parameters(remove_duplicate=False))
    if set(module.state_dict()) - set(parameters) or not all(p.requires_grad for p in parameters.values()):
        raise SpecMismatch(f"a {kind} keeps state beside its trainable parameters, which no checkpoint holds")
    return module


def _check_config(config: Any, key: str = "") -> None:
    if isinstance(config, dict):
        for name, value in config.items():
            harmless = value is not True and isinstance(value, int | float | None)
            if not harmless and any(part in name for part in _NOT_DATA):
                raise SpecMismatch(f"the model's configuration has {name!r}, which is not allowed")
            _check_config(value, name)
    elif isinstance(config, list):
        for value in config:
            _check_config(value, key)
    elif isinstance(config, int) and config > (4096 if "layer" in key or "expert" in key else 1 << 31):
        raise SpecMismatch(f"the model's configuration has {key!r} = {config}")


@contextmanager
def _few_tensors() -> Iterator[None]:
    """Breaks off the construction of a module with absurdly many parameters."""
    made = count()

    def register(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        if next(made) > _MAX_TENSORS:
            raise SpecMismatch(f"the model's configuration asks for more than {_MAX_TENSORS} tensors")

    hook = torch.nn.modules.module.register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        hook.remove()


# --- adapters -----------------------------------------------------------------------------------------------


def is_linear(module: torch.nn.Module) -> bool:
    """Whether a module can be adapted: `nn.Linear`, or GPT-2's `Conv1D`."""
    return type(module) is torch.nn.Linear or type(module).__name__ == "Conv1D"


def widths(module: Any) -> tuple[int, int]:
    """(in, out) of a linear layer."""
    out, into = module.weight.shape if type(module) is torch.nn.Linear else module.weight.shape[::-1]
    return into, out


def adapt(module: torch.nn.Module, lora: LoraSpec) -> None:
    """Freezes a model and gives its target layers adapters. `SpecMismatch` for a target without layers."""
    module.requires_grad_(False)
    unused = set(lora.targets)
    for name, layer in list(module.named_modules()):
        parent, _, last = name.rpartition(".")
        if last in lora.targets and is_linear(layer):
            setattr(module.get_submodule(parent), last, Adapted(layer, lora))
            unused.discard(last)
    if unused:
        raise SpecMismatch(f"the model has no linear layer {sorted(unused)[0]!r} to adapt")


def _read_base(spec: HfSpec, files: Files, module: torch.nn.Module, *, copy: bool) -> None:
    """Holds the frozen weights' names and shapes against a model's; with `copy` loads them into it."""
    left = dict(module.named_parameters())
    for shard in spec.base:
        try:
            with safe_open(files[shard.sha256], "pt") as file:
                for name in file.keys():
                    weight = left.pop(name, None)
                    shape = tuple(file.get_slice(name).get_shape())
                    if weight is None or weight.shape != shape:
                        raise MalformedArtifact(f"the frozen base has a tensor {name!r} {shape} too many")
                    if copy:
                        weight.data.copy_(file.get_tensor(name))
        except SafetensorError as error:
            raise MalformedArtifact(f"the frozen base is not in safetensors' format: {error}") from None
    if left:
        raise MalformedArtifact(f"the frozen base lacks {next(iter(left))!r}")
