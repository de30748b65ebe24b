"""The inner loop: AdamW, Muon or plain SGD over one flat vector. A border is all its state, so any step can
be replayed."""

import math
from typing import Protocol

import numpy as np
import torch
from pi_sdk.errors import PiError
from pi_sdk.types import DeterminismClass, InnerSpec, RunSpec

from . import muon
from .layout import slices
from .model import Files, FlatModel, Network, build
from .state import Border


def learning_rate(spec: RunSpec, step: int) -> float:
    """Of AdamW or SGD in an inner step, counted from the start of the run, 0 first: a linear rise over
    `warmup` steps, then constant, and a linear fall over the last `decay` steps."""
    inner = spec.inner
    rate = inner.lr * min(1.0, (step + 1) / max(inner.warmup, 1))
    if not inner.decay:
        return rate
    left = spec.rounds * inner.steps - step
    return min(rate, inner.lr * max(left, 0) / inner.decay)


class Loop(Protocol):
    """A model and its optimiser's state, set from a border. `step` counts the steps in AdamW's moments; SGD
    leaves the moments as they are, which is zero."""

    step: int

    def load(self, border: Border) -> None: ...

    def border(self) -> Border:
        """The current state; it may be a view that the next call changes."""
        ...

    def train_step(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
        """One step on windows of token ids (batch, sequence + 1). Returns the loss in nats per token
        and the final-norm output of the forward pass, fp32 (sequences, sequence, width), of the first
        sequences: those with activation proofs. `PiError` when the loss or a gradient is not finite."""
        ...


def inner_loop(spec: RunSpec, cls: DeterminismClass, start: Border, files: Files | None = None) -> Loop:
    """The loop of a class: in this process, or over its ranks. One loop over ranks at a time: a new one takes
    the older one's processes."""
    if cls.ranks == 1:
        return InnerLoop(spec, cls, start, files)
    from .sharded import ShardedLoop

    return ShardedLoop(spec, cls, start, files)


class InnerLoop:
    """The loop in one process; see `Loop`."""

    def __init__(self, spec: RunSpec, cls: DeterminismClass, start: Border, files: Files | None = None):
        self.spec, self.inner = spec, spec.inner
        self.model = build(spec.model, cls, files or {})
        if cls.compile:
            self.model.network.compile()
        self.device = torch.device(cls.device)
        self.m = torch.zeros_like(self.model.params)
        self.v = torch.zeros_like(self.model.params)
        self.scratch = torch.empty_like(self.model.params)
        self.matrices = self.model.network.matrices() if self.inner.optimizer == "muon" else set()
        self.load(start)

    def load(self, border: Border) -> None:
        # Copied into torch's own memory: MKL's bits depend on alignment, and numpy aligns less.
        pairs = ((self.model.params, border.params), (self.m, border.m), (self.v, border.v))
        for mine, given in pairs:
            mine.copy_(torch.from_numpy(given.astype(np.float32)))
        self.step = border.step

    def border(self) -> Border:
        """The current state; on a CPU a view that the next step changes."""
        params, m, v = (tensor.cpu().numpy() for tensor in (self.model.params, self.m, self.v))
        return Border(params, m, v, self.step)

    def train_step(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
        """See `Loop`."""
        inner, model = self.inner, self.model
        windows = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        model.grad.zero_()
        loss, hidden = self.gradients(windows)
        norm = model.grad.norm().item()
        check_finite(loss, norm)
        if norm > inner.clip:
            model.grad.mul_(inner.clip / norm)
        self.step += 1
        with torch.no_grad():
            for weight in model.weights.values():
                decay_weight(weight, inner, lr)
            self.update(lr)
        return loss, hidden.cpu().numpy()

    def update(self, lr: float) -> None:
        """The optimiser's step, where gradients are and weights have decayed."""
        whole = self.model.params, self.model.grad, self.m, self.v, self.scratch
        if not self.matrices:
            update(self.inner, self.step, lr, *whole)
            return
        for name, shape, place in slices(self.spec.model):
            params, grad, m, v, scratch = (tensor[place].view(shape) for tensor in whole)
            if name in self.matrices:
                muon.update(lr, self.inner.beta1, params, grad, m)
            else:
                update(self.inner, self.step, lr, params, grad, m, v, scratch)

    def gradients(self, windows: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Adds a step's gradients to `model.grad`; see the function."""
        return gradients(self.model, self.spec, windows)


def gradients(
    model: FlatModel | Network, spec: RunSpec, windows: torch.Tensor, sequences: int | None = None
) -> tuple[float, torch.Tensor]:
    """Adds the gradients of the mean loss over int64 windows (batch, time + 1) to the weights' own, a
    micro-batch at a time. Returns that loss, and the final-norm output, fp32, of the first `sequences`: as
    many as there are activation proofs of, where None."""
    wanted = spec.trace.proof_sequences if sequences is None else sequences
    total, proven = torch.zeros((), device=windows.device), []
    for part in windows.split(spec.inner.micro_batch or len(windows)):
        loss, hidden = model.loss(part)
        loss = loss * (len(part) / len(windows))
        loss.backward()
        total += loss.detach()
        if not proven or wanted > 0:
            proven.append(hidden[: max(wanted, 0)].detach().float())
            wanted -= len(hidden)
    return total.item(), torch.cat(proven) if len(proven) > 1 else proven[0]


def check_finite(loss: float, norm: float) -> None:
    """`PiError` for a loss or a gradient norm that is not a number."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise PiError(f"training diverged: loss {loss}, gradient norm {norm}", "lower the learning rate")


def decay_weight(weight: torch.Tensor, inner: InnerSpec, lr: float) -> None:
    """Weight decay of one named weight: norms and biases have none."""
    if weight.dim() > 1:
        weight.mul_(1 - lr * inner.weight_decay)


def update(
    inner: InnerSpec,
    step: int,
    lr: float,
    params: torch.Tensor,
    grad: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    scratch: torch.Tensor,
) -> None:
    """Step number `step` of AdamW or SGD, 1 first, in place on equally shaped fp32 tensors."""
    if inner.optimizer == "sgd":
        params.add_(grad, alpha=-lr)
        return
    m.lerp_(grad, 1 - inner.beta1)
    v.mul_(inner.beta2).addcmul_(grad, grad, value=1 - inner.beta2)
    m_scale, v_scale = 1 - inner.beta1**step, 1 - inner.beta2**step
    denominator = torch.div(v, v_scale, out=scratch).sqrt_().add_(inner.eps)
    params.addcdiv_(m, denominator, value=-lr / m_scale)
