"""Proofs of inference: that an answer's tokens went through the claimed model, checked with one forward pass
over prompt and answer where the answer took one pass per token.

As in TOPLOC a rollout has one activation proof over the whole prompt (prefill), then one per 32 tokens of the
answer (decode), the last one over what is left. The last token is fed to the model too, so that every token
is in a span. A span of 32 tokens hardly shows that a single one of them is another, and no proof shows that
the model would have said a token: for that, a check tells how far each token is behind the most probable one,
which a greedy answer never is by more than rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pi_sdk.codec import PROOF_TOKENS
from pi_sdk.errors import MalformedArtifact, UsageError

from .model import Network
from .proofs import ProofErrors, build_proofs, check_proofs, parse_proofs


@dataclass(frozen=True)
class Rollout:
    """Token ids of prompt and answer, and the proofs of both: 1 + ceil(answer / 32)."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    proofs: tuple[bytes, ...]


@dataclass(frozen=True)
class RolloutCheck:
    """`errors` has one entry per proof; `behind` says of each token of the answer by how many nats another
    one was more probable (fp32, 0 where none was)."""

    errors: list[ProofErrors]
    behind: np.ndarray


class RolloutProver:
    """Builds a rollout's proofs while it is made, from final-norm outputs (1, tokens, width) in fp32 or bf16:
    those of the prompt first, then those of the answer in any portions. `PiError` for NaN, and for spans of
    fewer than 128 values."""

    def __init__(self, prompt: torch.Tensor):
        self._proofs = list(build_proofs(_values(prompt), prompt.shape[1]))
        self._waiting: list[np.ndarray] = []

    def add(self, hidden: torch.Tensor) -> None:
        self._waiting += np.split(_values(hidden), hidden.shape[1], axis=1)
        while len(self._waiting) >= PROOF_TOKENS:
            self._prove(self._waiting[:PROOF_TOKENS])
            del self._waiting[:PROOF_TOKENS]

    def finish(self) -> tuple[bytes, ...]:
        if self._waiting:
            self._prove(self._waiting)
            self._waiting = []
        return tuple(self._proofs)

    def _prove(self, tokens: list[np.ndarray]) -> None:
        self._proofs += build_proofs(np.concatenate(tokens, axis=1), len(tokens))


def _values(hidden: torch.Tensor) -> np.ndarray:
    """What `proofs.py` takes: fp32, or the bit patterns of bf16."""
    hidden = hidden.detach().cpu()
    return (hidden.view(torch.uint16) if hidden.dtype == torch.bfloat16 else hidden.float()).numpy()


def greedy(logits: torch.Tensor) -> int:
    """The most probable token of logits (vocab,)."""
    return int(logits.argmax())


def generate(
    network: Network, prompt: Sequence[int], tokens: int, choose: Callable[[torch.Tensor], int] = greedy
) -> Rollout:
    """An answer of `tokens` tokens with its proofs, one sequence at a time. `UsageError` where prompt and
    answer are longer than the model's context, or empty."""
    if not prompt or tokens < 1 or len(prompt) + tokens > network.spec.context:
        raise UsageError(f"prompt and answer need 1 token each, and {network.spec.context} at most together")
    device, answer = network.cls.device, []
    with torch.inference_mode():
        logits, hidden, cache = network.extend(torch.tensor([prompt], device=device), None)
        prover = RolloutProver(hidden)
        for _ in range(tokens):
            answer.append(choose(logits[0, -1].float()))
            logits, hidden, cache = network.extend(torch.tensor([answer[-1:]], device=device), cache)
            prover.add(hidden)
    return Rollout(tuple(prompt), tuple(answer), prover.finish())


def check_rollout(network: Network, rollout: Rollout) -> RolloutCheck:
    """Holds a stranger's rollout against the model. `MalformedArtifact`, before any work, for tokens or
    proofs that cannot be one."""
    prompt, answer, proofs = rollout.prompt, rollout.answer, rollout.proofs
    if not prompt or not answer or len(prompt) + len(answer) > network.spec.context:
        raise MalformedArtifact("a rollout's prompt or answer is empty, or both are longer than the context")
    if not all(0 <= token < network.spec.vocab for token in (*prompt, *answer)):
        raise MalformedArtifact("a rollout has tokens that its model does not know")
    starts = [0, *range(len(prompt), len(prompt) + len(answer), PROOF_TOKENS)]
    if len(proofs) != len(starts):
        raise MalformedArtifact(f"a rollout of {len(starts)} spans has {len(proofs)} activation proofs")
    parse_proofs(proofs)
    with torch.inference_mode():
        tokens = torch.tensor([[*prompt, *answer]], device=network.cls.device)
        logits, hidden, _ = network.extend(tokens, None)
        said = logits[0, len(prompt) - 1 : -1].float()
        behind = said.max(dim=1).values - said.gather(1, tokens[0, len(prompt) :, None])[:, 0]
    values, ends = _values(hidden), [*starts[1:], tokens.shape[1]]
    errors = [
        check_proofs(values[:, start:end], [proof], end - start)[0]
        for start, end, proof in zip(starts, ends, proofs, strict=True)
    ]
    return RolloutCheck(errors, behind.cpu().numpy())
