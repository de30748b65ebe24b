"""How fast a machine trains: tokens per second, and model FLOPs utilisation (MFU) as in PaLM's appendix B.

    MFU = FLOPs per token * tokens per second / peak
    FLOPs per token = 6 * trained parameters + 4 * frozen parameters + 12 * layers * width * sequence

A weight costs 2 FLOPs forward, 2 for the gradient of its input, and 2 for its own where it is trained; the
last term is attention's two products, forth and back, none of it saved by the causal mask. The peak is what
this machine's matrix products reach, at the class's dtype and on all of its ranks, so that the share means
the same on a CPU and on a GPU.
"""

import functools
import math
import time

from pi_sdk.types import DeterminismClass, ModelSpec, RunSpec

_SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the square matrices that the peak is measured with."""


def utilisation(spec: RunSpec, cls: DeterminismClass, tokens_per_second: float) -> float:
    """MFU in [0, 1] of a process that is pinned to `cls`. The first call measures the peak, which takes a
    moment."""
    flops = flops_per_token(spec.model, spec.inner.sequence)
    return flops * tokens_per_second / (cls.ranks * _peak(cls.device, cls.dtype))


@functools.cache
def _shape(model_json: str) -> tuple[int, int, int]:
    """(frozen parameters, layers, width) of a model of `transformers`."""
    import torch
    from pi_sdk.types import HfSpec

    from .hf import from_config

    spec = HfSpec.model_validate_json(model_json)
    with torch.device("meta"):
        module = from_config(spec.config)
    text = module.config.get_text_config()
    layers, width = (getattr(text, name, 0) for name in ("num_hidden_layers", "hidden_size"))
    return sum(weight.numel() for weight in module.parameters()) if spec.lora else 0, layers, width


def flops_per_token(model: ModelSpec, sequence: int) -> int:
    """FLOPs of one token of sequences of that length, forth and back. A factory's module is counted without
    its frozen weights and without attention."""
    frozen, layers, width = 0, 0, 0
    if model.kind == "gpt":
        layers, width = model.layers, model.width
    elif model.kind == "hf":
        frozen, layers, width = _shape(model.model_dump_json())
    return 6 * model.parameters + 4 * frozen + 12 * layers * width * sequence


@functools.cache
def _peak(device: str, dtype: str) -> float:
    """FLOP per second of matrix products in one process: the best of a few."""
    import torch

    side = _SIDE[device]
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    matrix = torch.linspace(0, 1, side * side, device=device).view(side, side).to(kind)
    fastest = math.inf
    for _ in range(4):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for a GPU
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * side**3 / fastest
