"""What the inner loop trains: a module, and its trainable weights as views into one flat fp32 vector.

With gradients and optimiser state flat too, a training state is three arrays, and its bytes are the state's
definition. The built-in GPT is here: pre-norm, learned positions, tied embeddings, no biases. `hf.py` and
`factory.py` bring other people's.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pi_sdk.errors import SpecMismatch
from pi_sdk.types import DeterminismClass, GptSpec, ModelSpec
from torch import nn

from .layout import layout, parameter_count, slices

Files = Mapping[str, Path]
"""Verified files of a run by their sha256: what `Corpus.files` has."""


def build(spec: ModelSpec, cls: DeterminismClass, files: Files) -> "FlatModel":
    """The model of a RunSpec with zeros for weights; frozen weights are read from `files`. Raises as
    `network`."""
    return FlatModel(network(spec, cls, files))


def network(spec: ModelSpec, cls: DeterminismClass, files: Files) -> "Network":
    """The network of a RunSpec in the CPU's memory, its trainable weights undefined.

    Raises `SpecMismatch` where this installation does not build what the spec says, `ToolMissing` where a
    library is not installed, `MalformedArtifact` for a damaged base.
    """
    if spec.kind == "gpt":
        with torch.device("meta"):  # no weights are drawn
            module = GPT(spec)
        return Network(spec, cls, module.to_empty(device="cpu"))
    if spec.kind == "factory":
        from .factory import factory_network

        return factory_network(spec, cls)
    from .hf import hf_network

    return hf_network(spec, cls, files)


def check(spec: ModelSpec) -> None:
    """What `network` would say about a spec, without its weights: for who is about to stake money on it."""
    if spec.kind == "hf":
        from . import hf

        hf.check(spec)
    elif spec.kind == "factory":
        from .factory import make

        check_layout(spec, make(spec.factory, spec.arguments, seed=0).named_parameters())


class Network:
    """A module that maps int64 tokens (batch, time) to logits (batch, time, vocab) and the final-norm output
    (batch, time, width) that they come from. `SpecMismatch` where its trainable parameters (tied ones once,
    in the order of `named_parameters`) are not those of the spec's layout."""

    def __init__(self, spec: ModelSpec, cls: DeterminismClass, module: nn.Module):
        check_layout(spec, module.named_parameters())
        self.spec, self.cls = spec, cls
        self.module = module.eval()  # no dropout

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.module(tokens)

    def extend(self, tokens: torch.Tensor, cache: Any) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """`forward` of further tokens (1, time) of a sequence, and the cache that stands for all so far; None
        at its start. Here a cache is the tokens themselves."""
        seen = tokens if cache is None else torch.cat([cache, tokens], dim=1)
        with self.autocast():
            logits, hidden = self.forward(seen)
        new = tokens.shape[1]
        return logits[:, -new:], hidden[:, -new:], seen

    def loss(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy in nats per token over int64 windows (batch, time + 1), and the final-norm output."""
        with self.autocast():
            logits, hidden = self.forward(windows[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()), hidden

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass in the class's dtype. Weights and gradients stay fp32."""
        if self.cls.dtype == "fp32":
            return nullcontext()
        return torch.autocast(self.cls.device, dtype=torch.bfloat16)

    def blocks(self) -> list[nn.Module]:
        """The network's repeated part: the members of its largest `ModuleList`. Empty where it has none."""

        def size(blocks: nn.ModuleList) -> int:
            return sum(weight.numel() for weight in blocks.parameters())

        lists = [part for part in self.module.modules() if isinstance(part, nn.ModuleList)]
        return list(max(lists, key=size, default=[]))

    def matrices(self) -> set[str]:
        """Names of the trainable matrices of hidden layers: no embeddings, and no output head, which is a
        direct part of the module with a row for each token."""
        embeddings = {id(m.weight) for m in self.module.modules() if isinstance(m, nn.Embedding)}
        head = {id(m.weight) for m in self.module.children() if isinstance(m, nn.Linear)}
        return {
            name
            for name, p in self.module.named_parameters()
            if p.requires_grad
            and p.dim() == 2
            and id(p) not in embeddings
            and not (id(p) in head and len(p) == self.spec.vocab)
        }

    def compile(self) -> None:
        """Has torch compile each block; all of the network where it has none.

        Each shape is compiled by itself: with dynamic shapes the arithmetic would depend on what the process
        saw before.
        """
        torch._dynamo.config.recompile_limit = 64
        for part in self.blocks() or [self.module]:
            part.forward = torch.compile(part.forward, dynamic=False)


class FlatModel:
    """A network whose weights lie in one vector: `params` and `grad` are flat fp32 vectors on the class's
    device, `weights` named views of `params`."""

    def __init__(self, network: Network):
        spec, device = network.spec, network.cls.device
        self.network = network
        self.params = torch.zeros(parameter_count(spec), device=device)
        self.grad = torch.zeros_like(self.params)
        self.weights: dict[str, torch.Tensor] = {}
        own = dict(network.module.to(device).named_parameters())
        for name, shape, place in slices(spec):
            own[name].data = self.params[place].view(shape)
            own[name].grad = self.grad[place].view(shape)  # backward accumulates in place
            self.weights[name] = own[name]

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and final-norm output; see `Network`."""
        return self.network.forward(tokens)

    def loss(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Network.loss`."""
        return self.network.loss(windows)


class GPT(nn.Module):
    def __init__(self, spec: GptSpec):
        super().__init__()
        self.wte = nn.Embedding(spec.vocab, spec.width)
        self.wpe = nn.Embedding(spec.context, spec.width)
        self.h = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.ln_f = nn.LayerNorm(spec.width, bias=False)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        hidden = self.ln_f(x)
        return F.linear(hidden, self.wte.weight), hidden


class Block(nn.Module):
    def __init__(self, spec: GptSpec):
        super().__init__()
        self.ln_1 = nn.LayerNorm(spec.width, bias=False)
        self.attn = Attention(spec)
        self.ln_2 = nn.LayerNorm(spec.width, bias=False)
        self.mlp = MLP(spec)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Attention(nn.Module):
    def __init__(self, spec: GptSpec):
        super().__init__()
        self.heads = spec.heads
        self.c_attn = nn.Linear(spec.width, 3 * spec.width, bias=False)
        self.c_proj = nn.Linear(spec.width, spec.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        q, k, v = self.c_attn(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, time, width))


class MLP(nn.Module):
    def __init__(self, spec: GptSpec):
        super().__init__()
        self.c_fc = nn.Linear(spec.width, 4 * spec.width, bias=False)
        self.c_proj = nn.Linear(4 * spec.width, spec.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


def trainable(
    parameters: Iterable[tuple[str, torch.nn.Parameter]],
) -> list[tuple[str, tuple[int, ...]]]:
    """The layout of a module's `named_parameters`."""
    return [(name, tuple(p.shape)) for name, p in parameters if p.requires_grad]


def check_layout(spec: ModelSpec, parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
    """`SpecMismatch` where a module has other trainable tensors than its spec says."""
    claimed, own = layout(spec), trainable(parameters)
    if claimed != own:
        wrong = next((i for i, (a, b) in enumerate(zip(claimed, own, strict=False)) if a != b), None)
        at = min(len(claimed), len(own)) if wrong is None else wrong
        said, built = (f"{t[at][0]} {t[at][1]}" if at < len(t) else "none" for t in (claimed, own))
        raise SpecMismatch(
            f"the model has other tensors than its RunSpec says: {built} in the place of {said}"
        )
