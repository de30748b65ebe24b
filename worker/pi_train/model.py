"""A GPT: pre-norm, learned positions, tied embeddings, no biases. Its weights are views into one flat fp32
vector.

With gradients and optimiser state flat too, a training state is three arrays, and its bytes are the state's
definition.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from pi_sdk.errors import SpecMismatch
from pi_sdk.types import DeterminismClass, GptSpec

from .layout import parameter_count, slices


class GPT:
    """`params` and `grad` are flat fp32 vectors on the class's device, `weights` named views of `params`."""

    def __init__(self, spec: GptSpec, cls: DeterminismClass):
        if spec.vocab < 256:
            raise SpecMismatch(f"vocab {spec.vocab} is below 256, but bytes are the tokens")
        self.spec, self.cls = spec, cls
        self.params = torch.zeros(parameter_count(spec), device=cls.device)
        self.grad = torch.zeros_like(self.params)
        self.weights: dict[str, torch.Tensor] = {}
        for name, shape, place in slices(spec):
            weight = self.params[place].view(shape).requires_grad_()
            weight.grad = self.grad[place].view(shape)  # backward accumulates in place
            self.weights[name] = weight

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Final-norm output (batch, time, width) for int64 tokens (batch, time)."""
        w, width = self.weights, self.spec.width
        x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"][: tokens.shape[1]]
        for i in range(self.spec.layers):
            block = f"h.{i}."
            y = F.layer_norm(x, (width,), w[block + "ln_1.weight"])
            x = x + self._attention(y, w[block + "attn.c_attn.weight"], w[block + "attn.c_proj.weight"])
            y = F.layer_norm(x, (width,), w[block + "ln_2.weight"])
            y = F.gelu(F.linear(y, w[block + "mlp.c_fc.weight"]))
            x = x + F.linear(y, w[block + "mlp.c_proj.weight"])
        return F.layer_norm(x, (width,), w["ln_f.weight"])

    def _attention(self, x: torch.Tensor, qkv: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        heads = self.spec.heads
        q, k, v = F.linear(x, qkv).view(batch, time, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(batch, time, width), out)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(hidden, self.weights["wte.weight"])

    def loss(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy in nats per token over int64 windows (batch, time + 1), and the final-norm output."""
        with self._autocast():
            hidden = self.hidden(windows[:, :-1])
            logits = self.logits(hidden)
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()), hidden

    def _autocast(self) -> AbstractContextManager:
        if self.cls.dtype == "fp32":
            return nullcontext()
        return torch.autocast(self.cls.device, dtype=torch.bfloat16)
