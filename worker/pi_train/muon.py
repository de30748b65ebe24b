"""Muon for the matrices of a model's hidden layers (https://kellerjordan.github.io/posts/muon): a step goes
along the momentum with all its singular values made equal. As the inner optimiser of DiLoCo it is MuLoCo,
arXiv 2505.23725.

Everything is fp32, since replays compare bits: the usual bf16 would make classes differ by per cents.
"""

import math

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_RMS = 0.2
"""Of a step's entries, about AdamW's, so that its learning rates serve (arXiv 2502.16982)."""


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix (rows, columns) whose singular values are all about 1 (0.7 to 1.2), zeros but for
    rounding: five Newton-Schulz iterations of degree 5."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


def update(lr: float, beta: float, weight: torch.Tensor, grad: torch.Tensor, m: torch.Tensor) -> None:
    """One step of a matrix, in place: fp32 (rows, columns) each. `beta` is the decay of the momentum `m`."""
    m.lerp_(grad, 1 - beta)
    weight.add_(orthogonal(m), alpha=-lr * _RMS * math.sqrt(max(weight.shape)))
