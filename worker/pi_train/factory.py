"""Somebody's own model: a function `package.module:function` of an installed package that returns an
`nn.Module`. The package declares it as an entry point, and only declared functions are ever called: a RunSpec
names code, it never brings any, and it cannot name just anything.

    [project.entry-points."pi_protocol.models"]
    tiny = "my_models.tiny:make"

The module maps int64 tokens (batch, time) to (logits (batch, time, vocab), final hidden states (batch, time,
width)). Its parameters that require gradients are trained, in the order of `named_parameters`. With the same
arguments and torch seed the function must make the same module.
"""

from importlib.metadata import entry_points
from typing import Any

import torch
from pi_sdk.errors import SpecMismatch
from pi_sdk.types import DeterminismClass, FactorySpec

from .model import Network

GROUP = "pi_protocol.models"


def factory_network(spec: FactorySpec, cls: DeterminismClass) -> Network:
    return Network(spec, cls, make(spec.factory, spec.arguments, seed=0))


def make(factory: str, arguments: dict[str, Any], seed: int) -> torch.nn.Module:
    """The module that an installed factory makes. `SpecMismatch` where there is no such factory here, or it
    fails."""
    found = next((point for point in entry_points(group=GROUP) if point.value == factory), None)
    if found is None:
        raise SpecMismatch(
            f"the model's factory {factory} is not installed here",
            f'install the package that declares it as an entry point of "{GROUP}", if you trust it',
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = found.load()(**arguments)
        except Exception as error:  # somebody else's code
            raise SpecMismatch(f"the model's factory {factory} failed: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise SpecMismatch(f"the model's factory {factory} makes no nn.Module")
    return module
