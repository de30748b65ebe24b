"""What the inner loop trains: any model whose trainable weights are views into one flat fp32 vector.

With gradients and optimiser state flat too, a training state is three arrays, and its bytes are the state's
definition. The built-in GPT is here: pre-norm, learned positions, tied embeddings, no biases. `hf.py` and
`factory.py` bring other people's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from pi_sdk.errors import SpecMismatch
from pi_sdk.types import DeterminismClass, GptSpec, ModelSpec

from .layout import layout, parameter_count, slices

Files = Mapping[str, Path]
"""Verified files of a run by their sha256: what `Corpus.files` has."""


def build(spec: ModelSpec, cls: DeterminismClass, files: Files) -> "FlatModel":
    """The model of a RunSpec with zeros for weights; frozen weights are read from `files`.

    Raises `SpecMismatch` where this installation does not build what the spec says, `ToolMissing` where a
    library is not installed, `MalformedArtifact` for a damaged base.
    """
    if spec.kind == "gpt":
        return GPT(spec, cls)
    if spec.kind == "factory":
        from .factory import factory_model

        return factory_model(spec, cls)
    from .hf import hf_model

    return hf_model(spec, cls, files)


def check(spec: ModelSpec) -> None:
    """What `build` would say about a spec, without its weights: for who is about to stake money on it."""
    if spec.kind == "hf":
        from . import hf

        hf.check(spec)
    elif spec.kind == "factory":
        from .factory import make

        check_layout(spec, make(spec.factory, spec.arguments, seed=0).named_parameters())


class FlatModel(ABC):
    """`params` and `grad` are flat fp32 vectors on the class's device, `weights` named views of `params`."""

    weights: dict[str, torch.Tensor]

    def __init__(self, spec: ModelSpec, cls: DeterminismClass):
        self.spec, self.cls = spec, cls
        self.params = torch.zeros(parameter_count(spec), device=cls.device)
        self.grad = torch.zeros_like(self.params)

    @abstractmethod
    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, time, vocab) for int64 tokens (batch, time), and the final-norm output (batch, time,
        width) that they come from."""
        ...

    def loss(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy in nats per token over int64 windows (batch, time + 1), and the final-norm output."""
        with self._autocast():
            logits, hidden = self.forward(windows[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()), hidden

    def _autocast(self) -> AbstractContextManager:
        if self.cls.dtype == "fp32":
            return nullcontext()
        return torch.autocast(self.cls.device, dtype=torch.bfloat16)


class GPT(FlatModel):
    def __init__(self, spec: GptSpec, cls: DeterminismClass):
        super().__init__(spec, cls)
        self.width, self.layers, self.heads = spec.width, spec.layers, spec.heads
        self.weights = {}
        for name, shape, place in slices(spec):
            weight = self.params[place].view(shape).requires_grad_()
            weight.grad = self.grad[place].view(shape)  # backward accumulates in place
            self.weights[name] = weight

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.hidden(tokens)
        return self.logits(hidden), hidden

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Final-norm output (batch, time, width) for int64 tokens (batch, time)."""
        w, width = self.weights, self.width
        x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"][: tokens.shape[1]]
        for i in range(self.layers):
            block = f"h.{i}."
            y = F.layer_norm(x, (width,), w[block + "ln_1.weight"])
            x = x + self._attention(y, w[block + "attn.c_attn.weight"], w[block + "attn.c_proj.weight"])
            y = F.layer_norm(x, (width,), w[block + "ln_2.weight"])
            y = F.gelu(F.linear(y, w[block + "mlp.c_fc.weight"]))
            x = x + F.linear(y, w[block + "mlp.c_proj.weight"])
        return F.layer_norm(x, (width,), w["ln_f.weight"])

    def _attention(self, x: torch.Tensor, qkv: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        heads = self.heads
        q, k, v = F.linear(x, qkv).view(batch, time, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(batch, time, width), out)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(hidden, self.weights["wte.weight"])


class ModuleModel(FlatModel):
    """An `nn.Module` whose trainable parameters (tied ones once, in the order of `named_parameters`) are
    moved into the flat vector. `SpecMismatch` where they are not those of the spec's layout."""

    def __init__(self, spec: ModelSpec, cls: DeterminismClass, module: torch.nn.Module):
        check_layout(spec, module.named_parameters())
        super().__init__(spec, cls)
        self.module = module.eval().to(cls.device)  # no dropout
        own = dict(module.named_parameters())
        self.weights = {}
        for name, shape, place in slices(spec):
            own[name].data = self.params[place].view(shape)
            own[name].grad = self.grad[place].view(shape)
            self.weights[name] = own[name]


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
