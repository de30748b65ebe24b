"""How each cheat of `pi_sdk/cheats.py` is done, for research: what a run does about it must be seen.

Each hands a complete slot to the agent's ordinary loop, and hides as well as it can: digests are those of the
assigned data, losses and activation proofs genuine ones of whatever was computed, borders, update and state
fit each other unless that is the lie. Importing this module imports torch; see `trainer.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from pi_sdk.codec import PROOF_BYTES, Trace, sha256
from pi_train.codecs import UpdateFile, encode_update
from pi_train.data import Batch, ahead, batches, windows_at
from pi_train.fixed import divide_q16, saturate, to_fp32
from pi_train.inner import InnerLoop
from pi_train.outer import Checkpoint
from pi_train.slot import SlotResult, SlotRun
from pi_train.state import PrivateState, state_root

from .trainer import SlotJob, Trainer

Step = tuple[float, np.ndarray]
"""Loss and final-norm output of an inner step; see `pi_train.inner.Loop.train_step`."""
OVERSIZE = 1 << 22
"""Bytes above what an artifact may have."""


@dataclass
class Past:
    """What a cheat remembers of its earlier rounds."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    updates: list[UpdateFile] = field(default_factory=list)


class Cheat(SlotRun):
    """An honest slot. Subclasses change `train` or `finish`."""

    def __init__(self, job: SlotJob, past: Past):
        super().__init__(
            job.spec,
            job.checkpoint,
            round_=job.round,
            state=job.state,
            class_id=job.class_id,
            borders=job.borders,
            files=job.corpus.files,
        )
        assert isinstance(self.loop, InnerLoop), "only classes of one rank are cheated with"
        self.job, self.past, self.model = job, past, self.loop.model

    @property
    def done(self) -> int:
        """Inner steps so far."""
        return len(self.records)

    def forward(self, tokens: np.ndarray) -> Step:
        """A step without the step: loss and output as they would be, parameters as they were."""
        self.loop.step += 1
        with torch.no_grad():
            loss, hidden = self.model.loss(
                torch.from_numpy(tokens.astype(np.int64)).to(self.model.params.device)
            )
        return loss.item(), hidden.float().cpu().numpy()

    def train_at(self, params: torch.Tensor, tokens: np.ndarray, lr: float) -> Step:
        """A step whose gradient is that of other parameters."""
        own, other = self.model.params.clone(), params.clone()
        self.model.params.copy_(other)
        step = self.loop.train_step(tokens, lr)
        self.model.params.sub_(other).add_(own)
        return step

    def end_with(self, values: np.ndarray) -> None:
        """Sets the parameters so that the update becomes `values` (int64), as exactly as fp32 can say it."""
        spec, place = self.spec, self.spec.fragment(self.round)
        kept = divide_q16(self.feedback[place].astype(np.int64) * spec.codec.beta)
        end = to_fp32(saturate(self.checkpoint.theta[place] - values + kept), spec.frac_bits)
        self.model.params[place] = torch.from_numpy(end).to(self.model.params.device)

    def named(self, result: SlotResult, values: np.ndarray) -> SlotResult:
        """The result with another update, of `values` (int64), honestly named."""
        update = UpdateFile(self.spec.codec, encode_update(self.spec.codec, saturate(values)), len(values))
        return replace(result, update=bytes(update.data), update_root=update.root, norm=update.norm)

    def decoded(self, result: SlotResult) -> np.ndarray:
        """The update's values, int64."""
        return self.parsed(result).decode().astype(np.int64)

    def parsed(self, result: SlotResult) -> UpdateFile:
        return UpdateFile(self.spec.codec, result.update, self.spec.update_values(self.round))


# --- work that was not done ---------------------------------------------------------------------------------


class HalfSteps(Cheat):
    """What proofs cover is all that the pretended steps compute."""

    @property
    def honest(self) -> int:
        """Steps that it trains."""
        return self.spec.inner.steps // 2

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        if self.done < self.honest:
            return super().train(tokens, lr)
        return self.forward(tokens[: max(1, self.spec.trace.proof_sequences)])


class IdleSegment(HalfSteps):
    @property
    def honest(self) -> int:
        return self.spec.inner.steps - self.spec.trace.segment


class NoCompute(Cheat):
    """The parameters drift by about what a step would move them."""

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        self.loop.step += 1
        draw = np.random.default_rng(self.done)
        drift = lr * draw.standard_normal(len(self.model.params), dtype=np.float32)
        self.model.params.add_(torch.from_numpy(drift).to(self.model.params.device))
        sequences = self.spec.trace.proof_sequences
        hidden = draw.standard_normal((sequences, self.spec.inner.sequence, 64), dtype=np.float32)
        return 5.0 - 0.01 * self.done, hidden


class ForwardOnly(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        return self.forward(tokens)


class HalfBatch(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        return super().train(tokens[: len(tokens) // 2], lr)


class FalseWidth(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        return super().train(tokens[: self.spec.inner.batch], lr)


class DroppedLayer(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        with _instead(self.model.network.blocks()[-1], "forward", lambda x: x):
            return super().train(tokens, lr)


class Int8Weights(Cheat):
    bits = 8

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        own = self.model.params.clone()
        for weight in self.model.weights.values():
            scale = weight.data.abs().amax(-1, keepdim=True) / (2 ** (self.bits - 1) - 1)
            weight.data.copy_(torch.round(weight.data / scale.clamp(min=1e-12)) * scale)
        rounded = self.model.params.clone()
        self.model.params.copy_(own)
        return self.train_at(rounded, tokens, lr)


class Int4Weights(Int8Weights):
    bits = 4


class Stale1(Cheat):
    """As a pipeline that never waits; the first steps are as old as they can be."""

    age = 1

    def __init__(self, job: SlotJob, past: Past):
        super().__init__(job, past)
        self.earlier: list[torch.Tensor] = []

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        self.earlier = [*self.earlier[-self.age :], self.model.params.clone()]
        return self.train_at(self.earlier[0], tokens, lr)


class Stale2(Stale1):
    age = 2


class HiddenStale(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        if not self.done and self.past.checkpoints:
            self.go_back()
        return super().train(tokens, lr)

    def go_back(self) -> None:
        old = to_fp32(self.past.checkpoints[-1].theta, self.spec.frac_bits)
        self.model.params.copy_(torch.from_numpy(old))


class StaleCheckpoint(HiddenStale):
    def __init__(self, job: SlotJob, past: Past):
        super().__init__(job, past)
        if past.checkpoints:
            self.go_back()


# --- other work than was assigned ---------------------------------------------------------------------------


class WrongShard(Cheat):
    """The windows that lie half of the data further on."""

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        corpus, sequence = self.job.corpus.train, self.spec.inner.sequence
        windows = len(corpus) - sequence
        ids = [(i + windows // 2) % windows for i in self.ids]
        return super().train(windows_at(corpus, ids, sequence), lr)

    def step(self, batch: Batch) -> float:
        self.ids = batch.ids
        return super().step(batch)


class HalfLr(Cheat):
    def train(self, tokens: np.ndarray, lr: float) -> Step:
        return super().train(tokens, lr / 2)


class PoisonedLabels(Cheat):
    """The loss that it tells is the true one, and no activation of the step itself shows the labels."""

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        with _instead(self.model.network, "loss", self.poisoned):
            return super().train(tokens, lr)

    def poisoned(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, hidden = self.model.forward(windows[:, :-1])
        logits, labels = logits.float().flatten(0, 1), windows[:, 1:].flatten()
        false = F.cross_entropy(logits, torch.full_like(labels, 7))
        return false + (F.cross_entropy(logits, labels) - false).detach(), hidden


class OnePoisonedStep(PoisonedLabels):
    """The last one, which nothing that follows can undo."""

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        is_last = self.done == self.spec.inner.steps - 1
        return super().train(tokens, lr) if is_last else self.loop.train_step(tokens, lr)


# --- somebody else's work, or older work --------------------------------------------------------------------


class Copy(Cheat):
    """Honest as long as there is nothing to copy."""

    def __init__(self, job: SlotJob, past: Past):
        super().__init__(job, past)
        self.sources = self.find()

    def find(self) -> Sequence[UpdateFile]:
        return self.job.peers() if self.job.round else []

    def train(self, tokens: np.ndarray, lr: float) -> Step:
        if not self.sources:
            return super().train(tokens, lr)
        return self.forward(tokens[: max(1, self.spec.trace.proof_sequences)])

    def finish(self) -> SlotResult:
        result = super().finish()
        if not self.sources:
            return result
        return self.named(result, self.sources[-1].decode().astype(np.int64))


class CopyNoise(Copy):
    def finish(self) -> SlotResult:
        if self.sources:
            values = self.sources[-1].decode().astype(np.float64)
            noise = np.random.default_rng(self.round).uniform(0.8, 1.2, len(values))
            self.end_with(np.rint(values * noise).astype(np.int64))
        return Cheat.finish(self)


class ReplayOld(Copy):
    def find(self) -> Sequence[UpdateFile]:
        return self.past.updates[:1]

    def finish(self) -> SlotResult:
        if self.sources:
            self.end_with(self.sources[0].decode().astype(np.int64))
        return Cheat.finish(self)


# --- honest work, another result ----------------------------------------------------------------------------


class SignFlip(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return self.named(result, -self.decoded(result))


class ScaledUpdate(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return self.named(result, 10 * self.decoded(result))


class ForgedBorder(Cheat):
    def finish(self) -> SlotResult:
        start = to_fp32(self.checkpoint.theta, self.spec.frac_bits)
        params = self.model.params
        params.copy_(2 * torch.from_numpy(start).to(params.device) - params)
        return super().finish()


class ForgedState(Cheat):
    """Small second moments make the next round's first steps large."""

    def finish(self) -> SlotResult:
        result = super().finish()
        own = PrivateState.from_bytes(result.state, self.spec)
        state = replace(own, v=own.v / 100).to_bytes()
        return replace(result, state=state, state_out=state_root(state))


class FalseNorm(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return replace(result, norm=result.norm // 2)


# --- evidence -----------------------------------------------------------------------------------------------


class Withheld(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        for path in self.borders.iterdir():
            path.unlink()
        return result


class MalformedUpdate(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return replace(result, update=b"\xff" * len(result.update))


class OversizedUpdate(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return replace(result, update=result.update + bytes(OVERSIZE))


class MalformedTrace(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return _with_trace(result, result.trace[:-1])


class OversizedTrace(Cheat):
    def finish(self) -> SlotResult:
        result = super().finish()
        return _with_trace(result, result.trace + bytes(OVERSIZE))


class MalformedProofs(Cheat):
    def record(self, batch: Batch, loss: float, hidden: np.ndarray) -> None:
        super().record(batch, loss, hidden)
        digest, told, proofs = self.records[-1]
        self.records[-1] = digest, told, (b"\xff" * PROOF_BYTES,) * len(proofs)


class MalformedBorder(Cheat):
    """Another file in the place of the last border, with the hash that the trace names."""

    def finish(self) -> SlotResult:
        result, spec = super().finish(), self.spec
        path = self.borders / f"{spec.segments}.bin"
        path.write_bytes(self.spoilt(path.read_bytes()))
        shape = {"steps": spec.inner.steps, "segments": spec.segments, "per_step": spec.proofs_per_step}
        trace = Trace.decode(result.trace, **shape)
        borders = (*trace.borders[:-1], sha256(path.read_bytes()))
        return _with_trace(result, replace(trace, borders=borders).encode())

    def spoilt(self, data: bytes) -> bytes:
        return b"\xff" * len(data)


class OversizedBorder(MalformedBorder):
    def spoilt(self, data: bytes) -> bytes:
        return data + bytes(OVERSIZE)


def _with_trace(result: SlotResult, trace: bytes) -> SlotResult:
    return replace(result, trace=trace, trace_root=sha256(trace))


@contextmanager
def _instead(thing: object, name: str, function: object) -> Iterator[None]:
    """An object with another method for a while."""
    setattr(thing, name, function)
    try:
        yield
    finally:
        delattr(thing, name)


def kind(name: str) -> type[Cheat]:
    """The class that does a cheat: half-steps is `HalfSteps`."""
    return globals()["".join(part.capitalize() for part in name.split("-"))]


def cheater(name: str) -> Trainer:
    """The trainer that does what the cheat's entry in `pi_sdk.cheats.CHEATS` says."""
    past = Past()

    def train(job: SlotJob) -> SlotResult:
        run = kind(name)(job, past)
        steps = batches(job.spec, job.corpus, job.data_root, node=job.node, round_=job.round, width=job.width)
        for batch in ahead(steps):
            loss = run.step(batch)
            job.progress(run.done, loss)
        result = run.finish()
        past.checkpoints.append(job.checkpoint)
        if not isinstance(run, MalformedUpdate | OversizedUpdate):
            past.updates.append(run.parsed(result))
        return result

    return train
