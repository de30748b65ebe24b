"""The inner loop: AdamW or plain SGD over one flat vector. A border is all its state, so any step can be
replayed."""

import math

import numpy as np
import torch
from pi_sdk.errors import PiError
from pi_sdk.types import DeterminismClass, RunSpec

from .model import Files, build
from .state import Border


def learning_rate(spec: RunSpec, step: int) -> float:
    """Of AdamW or SGD in an inner step, counted from the start of the run, 0 first: a linear rise over
    `warmup` steps, then constant, and a linear fall over the last `decay` steps."""
    inner = spec.inner
    left = spec.rounds * inner.steps - step
    return inner.lr * min(1.0, (step + 1) / max(inner.warmup, 1), left / max(inner.decay, 1))


class InnerLoop:
    """A model and its optimiser's state, set from a border. `step` counts the steps in AdamW's moments; SGD
    leaves the moments as they are, which is zero."""

    def __init__(self, spec: RunSpec, cls: DeterminismClass, start: Border, files: Files | None = None):
        self.inner = spec.inner
        self.model = build(spec.model, cls, files or {})
        self.device = torch.device(cls.device)
        self.m = torch.zeros_like(self.model.params)
        self.v = torch.zeros_like(self.model.params)
        self.scratch = torch.empty_like(self.model.params)
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
        """One step on windows of token ids (batch, sequence + 1). Returns the loss in nats per token
        and the final-norm output of the forward pass, fp32 (batch, sequence, width). `PiError` when the loss
        or a gradient is not finite."""
        windows = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        self.model.grad.zero_()
        loss, hidden = self.model.loss(windows)
        loss.backward()
        norm = self.model.grad.norm().item()
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise PiError(
                f"training diverged: loss {loss.item()}, gradient norm {norm}", "lower the learning rate"
            )
        if norm > self.inner.clip:
            self.model.grad.mul_(self.inner.clip / norm)
        self._update(lr)
        return loss.item(), hidden.detach().float().cpu().numpy()

    @torch.no_grad()
    def _update(self, lr: float) -> None:
        inner, params, grad = self.inner, self.model.params, self.model.grad
        self.step += 1
        for weight in self.model.weights.values():
            if weight.dim() > 1:  # norms and biases are not decayed
                weight.mul_(1 - lr * inner.weight_decay)
        if inner.optimizer == "sgd":
            params.add_(grad, alpha=-lr)
            return
        self.m.lerp_(grad, 1 - inner.beta1)
        self.v.mul_(inner.beta2).addcmul_(grad, grad, value=1 - inner.beta2)
        m_scale, v_scale = 1 - inner.beta1**self.step, 1 - inner.beta2**self.step
        denominator = torch.div(self.v, v_scale, out=self.scratch).sqrt_().add_(inner.eps)
        params.addcdiv_(self.m, denominator, value=-lr / m_scale)
