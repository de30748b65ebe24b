"""Published low-communication methods as rules of a run: what `pi sim --method` fills in.

Learning rates of AdamW and of the sign are not the papers' (4e-4 and less), whose models are larger: 2e-3
suits the built-in GPT.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """Rules in the papers' units; `outer_lr` is the outer step's, alpha, or what a parameter moves (sign)."""

    steps: int
    """Inner steps per round, H."""
    codec: Literal["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"]
    rule: Literal["sgd", "nesterov", "sign"]
    outer_lr: float
    momentum: float = 0.0
    k: int = 64
    beta: float = 0.0
    """Decay of the error feedback."""
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    lr: float = 2e-3
    beta2: float = 0.95
    """Decay of AdamW's second moment."""
    warmup: int = 20
    """Inner steps of the whole run in which the learning rate rises."""
    weight_decay: float = 0.1
    fragments: int = 1
    """One of so many parts of the parameters is exchanged per round."""
    mix: float = 0.0
    """Share of its own values that a worker keeps in a part that comes back."""
    delay: int = 0
    """Rounds until it comes back."""


METHODS = {
    # AdamW on the batches of all workers as one: a single node, whose end of a step is the next checkpoint.
    "sync": Method(steps=1, codec="dense-fixed", rule="sgd", outer_lr=1.0),
    # arXiv 2311.08105
    "diloco": Method(steps=500, codec="dense-fixed", rule="nesterov", outer_lr=0.7, momentum=0.9),
    # arXiv 2505.23725: Muon instead of AdamW
    "muloco": Method(
        steps=30,
        codec="dense-fixed",
        rule="nesterov",
        outer_lr=0.9,
        momentum=0.8,
        optimizer="muon",
        beta2=0.99,
    ),
    # Covenant's, arXiv 2603.08163, of arXiv 2508.15706
    "sparseloco": Method(steps=30, codec="sparse-2bit", beta=0.95, rule="sgd", outer_lr=1.0),
    # arXiv 2501.18512: each of the fragments every 100 steps, overlap of a round, int8 in the place of FP4
    "streaming": Method(
        steps=20,
        codec="dense-int8",
        rule="nesterov",
        outer_lr=0.4,
        momentum=0.9,
        fragments=5,
        mix=0.5,
        delay=1,
    ),
    # INTELLECT-1, arXiv 2412.01152
    "int8": Method(steps=100, codec="dense-int8", rule="nesterov", outer_lr=0.7, momentum=0.9),
    # arXiv 2411.19870 with Psyche's decay, k and one bit. The scale of SGD's lr does not matter to a sign; 1
    # leaves the error feedback enough bits.
    "demo": Method(
        steps=1,
        codec="dct-topk",
        k=4,
        beta=0.995,
        rule="sign",
        outer_lr=2e-3,
        optimizer="sgd",
        lr=1.0,
        weight_decay=0.0,
    ),
}

DEFAULT = Method(steps=20, codec="sparse-2bit", beta=0.95, rule="sgd", outer_lr=1.5)
"""The rules of `pi demo`."""
DEFAULT_DENSE = Method(steps=20, codec="dense-fixed", beta=0.95, rule="nesterov", outer_lr=0.7, momentum=0.9)
