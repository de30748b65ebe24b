"""One node's work of one round: H inner steps from a checkpoint, recorded so that anyone can replay parts."""

import hashlib
import struct
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pi_sdk.codec import PROOF_TOKENS, Trace, sha256
from pi_sdk.errors import SpecMismatch
from pi_sdk.types import DeterminismClass, RunSpec

from .codecs import UpdateFile, encode_update
from .data import Batch, Corpus, ahead, batches
from .determinism import pinned
from .fixed import Q16_ONE, divide_q16, saturate, to_fixed, to_fp32
from .inner import inner_loop, learning_rate
from .model import Files
from .outer import Checkpoint
from .proofs import build_proofs
from .state import Border, PrivateState, state_root


@dataclass(frozen=True)
class SlotResult:
    """What a node commits to, and the bytes behind it. Roots are 32 bytes; `norm` is in fixed-point units."""

    update: bytes
    update_root: bytes
    norm: int
    trace: bytes
    trace_root: bytes
    state_in: bytes
    state_out: bytes
    state: bytes
    """The new private state, which the next round needs."""
    losses: list[float]
    """Nats per token, one per inner step."""
    tokens: int
    seconds: float


def class_of(spec: RunSpec, class_id: str) -> DeterminismClass:
    """The admitted class of that name. `SpecMismatch`."""
    for cls in spec.classes:
        if cls.id == class_id:
            return cls
    raise SpecMismatch(
        f"class {class_id} is not admitted to this run", f"it admits {[c.id for c in spec.classes]}"
    )


def working_class(spec: RunSpec, class_id: str) -> DeterminismClass:
    """`class_of`, where this process is pinned to it. `SpecMismatch`."""
    cls = class_of(spec, class_id)
    if pinned() != cls:
        raise SpecMismatch(f"this process is pinned to {pinned().id}, not to {class_id}")
    return cls


def first_border(spec: RunSpec, checkpoint: Checkpoint, private: PrivateState, round_: int) -> Border:
    """What a slot starts from: C_r's parameters, or a node's own with the fragment that has come back. Who
    took no part in the round before starts from C_r again."""
    params = to_fp32(checkpoint.theta, spec.frac_bits)
    if private.params is not None and private.round == round_ - 1:
        params = private.params.copy()
        if round_ > spec.outer.delay:
            back = spec.fragment(round_ - 1 - spec.outer.delay)
            own = to_fixed(params[back], spec.frac_bits).astype(np.int64)
            mixed = spec.outer.mix * own + (Q16_ONE - spec.outer.mix) * checkpoint.theta[back].astype(
                np.int64
            )
            params[back] = to_fp32(divide_q16(mixed), spec.frac_bits)
    return Border(params, private.m, private.v, private.step)


def compress(
    spec: RunSpec, checkpoint: Checkpoint, end: np.ndarray, feedback: np.ndarray, round_: int
) -> tuple[UpdateFile, np.ndarray]:
    """The update from C_r to the fp32 parameters `end`, and the new error feedback (int32).

    acc = beta * feedback + (C_r - end) in fixed point, for the parameters that the round is about; the update
    is what the codec keeps of acc, the feedback the rest.
    """
    place, bits = spec.outer.fragment(len(end), round_), spec.frac_bits
    start = to_fixed(to_fp32(checkpoint.theta[place], bits), bits).astype(np.int64)
    delta = saturate(start - to_fixed(end[place], bits))
    kept = divide_q16(feedback[place].astype(np.int64) * spec.codec.beta)
    total = saturate(kept + delta)
    update = UpdateFile(spec.codec, encode_update(spec.codec, total), len(total))
    left = feedback.copy()
    left[place] = saturate(total.astype(np.int64) - update.decode())
    return update, left


def carried(spec: RunSpec, end: Border, feedback: np.ndarray, round_: int) -> PrivateState:
    """What a node takes into its next round from the last border of this one and the new error feedback."""
    zeros = PrivateState.zeros(len(feedback))
    m, v, step = (end.m, end.v, end.step) if spec.inner.carry_moments else (zeros.m, zeros.v, 0)
    params = end.params if spec.outer.keeps_parameters else None
    return PrivateState(m, v, feedback, step, params, round_)


class SlotRun:
    """A slot being trained: `step` once per batch, then `finish`. `borders` gets one file `{j}.bin` per
    border.

    `state` is the node's private state file, None for zeros; `files` are those of the corpus.
    """

    def __init__(
        self,
        spec: RunSpec,
        checkpoint: Checkpoint,
        *,
        round_: int,
        state: bytes | None,
        class_id: str,
        borders: Path,
        files: Files | None = None,
    ):
        cls = working_class(spec, class_id)
        self.spec, self.round, self.class_id, self.borders = spec, round_, class_id, borders
        n = len(checkpoint.theta)
        self.state_in = state_root(state)
        private = PrivateState.zeros(n) if state is None else PrivateState.from_bytes(state, spec)
        self.feedback = private.feedback
        self.checkpoint = checkpoint
        self.loop = inner_loop(spec, cls, first_border(spec, checkpoint, private, round_), files)
        self._copy = Border(*(np.empty(n, np.float32) for _ in range(3)), step=0)
        self._writer, self._written = ThreadPoolExecutor(1), list[Future[bytes]]()
        self.records: list[tuple[bytes, float, tuple[bytes, ...]]] = []
        self.tokens = 0
        self.began = time.monotonic()
        borders.mkdir(parents=True, exist_ok=True)

    def step(self, batch: Batch) -> float:
        """Trains on one batch and records it. Returns the loss."""
        done = len(self.records)
        if done % self.spec.trace.segment == 0:
            self._write_border()
        loss, hidden = self.train(
            batch.tokens, learning_rate(self.spec, self.round * self.spec.inner.steps + done)
        )
        self.record(batch, loss, hidden)
        return loss

    def train(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
        """The step itself; see `Loop.train_step`."""
        return self.loop.train_step(tokens, lr)

    def record(self, batch: Batch, loss: float, hidden: np.ndarray) -> None:
        proofs = build_proofs(proven(self.spec, hidden))
        self.records.append((batch.digest(), loss, proofs))
        self.tokens += batch.tokens.shape[0] * (batch.tokens.shape[1] - 1)

    def _write_border(self) -> None:
        """Copies the state; it is hashed and written while the next steps go on. One border at a time: raises
        what went wrong with the one before."""
        if self._written:
            self._written[-1].result()
        mine, now = self._copy, self.loop.border()
        for to, array in ((mine.params, now.params), (mine.m, now.m), (mine.v, now.v)):
            np.copyto(to, array)
        path = self.borders / f"{len(self._written)}.bin"
        self._written.append(self._writer.submit(_hashed, path, replace(mine, step=now.step)))

    def finish(self) -> SlotResult:
        assert len(self.records) == self.spec.inner.steps, "a slot has a fixed number of steps"
        self._write_border()
        end = self.loop.border()
        update, feedback = compress(self.spec, self.checkpoint, end.params, self.feedback, self.round)
        state = carried(self.spec, end, feedback, self.round).to_bytes()
        digests, losses, proofs = zip(*self.records, strict=True)
        trace = Trace(
            self.class_id,
            tuple(written.result() for written in self._written),
            digests,
            tuple(loss_bits(loss) for loss in losses),
            proofs,
        ).encode()
        self._writer.shutdown()
        return SlotResult(
            update=bytes(update.data),
            update_root=update.root,
            norm=update.norm,
            trace=trace,
            trace_root=sha256(trace),
            state_in=self.state_in,
            state_out=state_root(state),
            state=state,
            losses=list(losses),
            tokens=self.tokens,
            seconds=time.monotonic() - self.began,
        )


def _hashed(path: Path, border: Border) -> bytes:
    """Writes a border's file; its sha256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for part in border.parts():
            digest.update(part)
            file.write(part)
    return digest.digest()


def proven(spec: RunSpec, hidden: np.ndarray) -> np.ndarray:
    """The part of a batch's final-norm output that activation proofs cover."""
    assert hidden.shape[1] % PROOF_TOKENS == 0
    return hidden[: spec.trace.proof_sequences]


def loss_bits(loss: float) -> int:
    """Bits of an fp32 loss as u32."""
    return struct.unpack(">I", struct.pack(">f", loss))[0]


def train_slot(
    spec: RunSpec,
    corpus: Corpus,
    checkpoint: Checkpoint,
    *,
    node: str,
    round_: int,
    width: int,
    state: bytes | None,
    class_id: str,
    borders: Path,
    data_root: bytes | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> SlotResult:
    """Trains `width` slots' batches as one node's work of a round, in a process pinned to the class
    `class_id`.

    `checkpoint` is C_r; `state` the node's own private state file from its last round, None for a joiner;
    `data_root` the root that the data follow from, where it is not C_r's (`outer.delay`). `progress` is
    called after every inner step with the steps done and the loss. Writes borders (see `SlotRun`), nothing
    else.
    """
    run = SlotRun(
        spec,
        checkpoint,
        round_=round_,
        state=state,
        class_id=class_id,
        borders=borders,
        files=corpus.files,
    )
    root = data_root or checkpoint.root()
    for batch in ahead(batches(spec, corpus, root, node=node, round_=round_, width=width)):
        loss = run.step(batch)
        if progress:
            progress(len(run.records), loss)
    return run.finish()
