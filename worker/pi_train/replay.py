"""An auditor's work on one slot: check every claim that bytes can settle, then replay the drawn segments.

Cheapest first, and the first fault ends it: the update (encoding, root, norm), the trace (shape, data of all
steps, proofs well-formed), the chain of states (private state in, first border from C_r, last border to
update and private state out), and at last the drawn segments, trained again from their committed borders.

How far a segment may be off. After replaying it, each of the buffers p, m, v gives |replayed - claimed| /
|replayed - start| (L2 norms in float64); the segment's error is the largest of the three. The denominator is
the auditor's own, so a claimed end cannot shrink its error by moving far. All three count, since moments
steer the next rounds. A verdict needs an error above the limit of the pair of classes; inside one class and
machine the error is exactly zero. Activation proofs are held against the replayed forward pass, losses must
agree within the limit.

Everything here came from a stranger: whatever is wrong with it is an outcome, never an exception.
"""

import hashlib
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pi_sdk.codec import ZERO, Trace, audit_segments, sha256
from pi_sdk.errors import MalformedArtifact, PiError, RankFailed, StoreError
from pi_sdk.types import Outcome, Reveal, RunSpec

from .codecs import UpdateFile
from .data import Batch, Corpus, batches
from .inner import inner_loop, learning_rate
from .outer import Checkpoint
from .proofs import build_proofs, check_proofs, parse_proofs
from .slot import carried, compress, first_border, loss_bits, proven, working_class
from .state import Border, PrivateState, border_bytes, private_bytes, state_root

Fetch = Callable[[str, int], bytes]


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. `worst_error` is None where nothing was replayed; `bitwise` says that every
    replayed bit agreed.

    `outcome` is NONE when this validator may not judge the worker's class; it then votes on nothing.
    """

    outcome: Outcome
    reasons: list[str]
    digest: bytes
    """Bound to the validator, and to values that only a replay yields."""
    worst_error: float | None
    limit: float
    bitwise: bool
    seconds: float


class _Fault(Exception):
    """Ends an audit with this outcome."""

    def __init__(self, outcome: Outcome, reason: str):
        super().__init__(reason)
        self.outcome = outcome


@dataclass
class _Replayed:
    """One drawn segment after its replay."""

    end_hash: bytes
    losses: list[int]
    error: float
    bitwise: bool
    reasons: list[str] = field(default_factory=list)


def audit_slot(
    spec: RunSpec,
    corpus: Corpus,
    checkpoint: Checkpoint,
    *,
    node: str,
    round_: int,
    reveal: Reveal,
    seed: bytes,
    update: bytes | None,
    fetch: Fetch,
    validator: str,
    class_id: str,
    data_root: bytes | None = None,
) -> AuditReport:
    """Audits one revealed slot in a process pinned to the validator's class `class_id`.

    `checkpoint` is C_r; `seed` the round's audit seed; `update` the update file, None if it is not to be had.
    `fetch(sha256 hex, max bytes)` gets evidence and raises `StoreError` for what it cannot get: the slot is
    WITHHELD. `data_root` as in `train_slot`. Raises `SpecMismatch` and `RankFailed` for the caller's own
    faults only.
    """
    working_class(spec, class_id)
    began = time.monotonic()
    audit = _Audit(spec, corpus, checkpoint, node, round_, reveal, seed, fetch, class_id, data_root)
    try:
        audit.run(update)
    except _Fault as fault:
        audit.outcome, audit.reasons = fault.outcome, [*audit.reasons, str(fault)]
    except MalformedArtifact as error:
        audit.outcome, audit.reasons = Outcome.MISMATCH, [*audit.reasons, error.message]
    return AuditReport(
        outcome=audit.outcome,
        reasons=audit.reasons,
        digest=_digest(validator, seed, audit.outcome, audit.replayed),
        worst_error=max((r.error for r in audit.replayed), default=None),
        limit=audit.limit,
        bitwise=bool(audit.replayed) and all(r.bitwise for r in audit.replayed),
        seconds=time.monotonic() - began,
    )


def _digest(validator: str, seed: bytes, outcome: Outcome, replayed: Sequence[_Replayed]) -> bytes:
    digest = hashlib.sha256(b"pi-protocol/digest/1" + bytes.fromhex(validator[2:]) + seed + bytes([outcome]))
    for segment in replayed:
        digest.update(segment.end_hash + struct.pack(f">{len(segment.losses)}I", *segment.losses))
    return digest.digest()


class _Audit:
    """The steps of one audit, each of which raises `_Fault` or `MalformedArtifact` at what it finds."""

    def __init__(
        self,
        spec: RunSpec,
        corpus: Corpus,
        checkpoint: Checkpoint,
        node: str,
        round_: int,
        reveal: Reveal,
        seed: bytes,
        fetch: Fetch,
        class_id: str,
        data_root: bytes | None,
    ):
        self.spec, self.corpus, self.checkpoint, self.reveal = spec, corpus, checkpoint, reveal
        self.node, self.round, self.seed, self.fetch, self.class_id = node, round_, seed, fetch, class_id
        self.n = len(checkpoint.theta)
        self.root = checkpoint.root()
        self.data_root = data_root or self.root
        self.outcome, self.reasons, self.limit = Outcome.ACCEPT, [], 0.0
        self.replayed: list[_Replayed] = []

    def run(self, update: bytes | None) -> None:
        self.check_claim()
        checked = self.check_update(update)
        trace = self.check_trace()
        steps = self.check_data(trace)
        borders = self.check_states(trace, checked)
        for segment in audit_segments(self.seed, self.node, self.spec.segments, self.spec.audit.segments):
            replayed = self.replay(trace, segment, steps, borders[segment], borders[segment + 1])
            self.replayed.append(replayed)
            self.reasons += replayed.reasons
        if self.reasons:
            self.outcome = Outcome.MISMATCH

    def check_claim(self) -> None:
        if self.reveal.start_root != self.root:
            raise _Fault(Outcome.MISMATCH, "the slot started from another checkpoint")
        if self.reveal.width > self.spec.max_width:
            raise _Fault(Outcome.MISMATCH, f"width {self.reveal.width} is above {self.spec.max_width}")

    def check_update(self, data: bytes | None) -> UpdateFile:
        if data is None:
            raise _Fault(Outcome.WITHHELD, "the update file is not to be had")
        update = UpdateFile(self.spec.codec, data, self.spec.update_values(self.round))
        if update.root != self.reveal.update_root:
            raise _Fault(Outcome.MISMATCH, "the update file has another root than was committed")
        if update.norm != self.reveal.norm:
            raise _Fault(
                Outcome.MISMATCH, f"the update's norm is {update.norm}, {self.reveal.norm} was committed"
            )
        return update

    def get(self, name: bytes, size: int, what: str) -> bytes:
        try:
            data = self.fetch(name.hex(), size)
        except StoreError as error:
            raise _Fault(Outcome.WITHHELD, f"{what} is not to be had: {error.message}") from None
        if len(data) > size or sha256(data) != name:
            raise _Fault(Outcome.WITHHELD, f"{what} is not to be had: the store gave other bytes")
        return data

    def check_trace(self) -> Trace:
        steps, segments, per_step = self.spec.inner.steps, self.spec.segments, self.spec.proofs_per_step
        data = self.get(self.reveal.trace_root, Trace.size(steps, segments, per_step), "the trace")
        trace = Trace.decode(data, steps=steps, segments=segments, per_step=per_step)
        if trace.class_id not in {cls.id for cls in self.spec.classes}:
            raise _Fault(Outcome.MISMATCH, "the trace names a class that is not admitted")
        limit = self.spec.limit(trace.class_id, self.class_id)
        if limit is None:
            raise _Fault(Outcome.NONE, f"class {self.class_id} may not judge {trace.class_id}")
        self.limit = limit
        if not np.isfinite(np.array(trace.losses, np.uint32).view(np.float32)).all():
            raise _Fault(Outcome.MISMATCH, "a loss in the trace is not a number")
        parse_proofs([proof for step in trace.proofs for proof in step])
        return trace

    def check_data(self, trace: Trace) -> list[Batch]:
        """The batches of the whole slot, which the trace must have trained on."""
        steps = list(
            batches(
                self.spec,
                self.corpus,
                self.data_root,
                node=self.node,
                round_=self.round,
                width=self.reveal.width,
            )
        )
        for i, (batch, claimed) in enumerate(zip(steps, trace.batches, strict=True)):
            if batch.digest() != claimed:
                raise _Fault(Outcome.MISMATCH, f"inner step {i} trained on other data than was assigned")
        return steps

    def check_states(self, trace: Trace, update: UpdateFile) -> dict[int, Border]:
        """The borders of the drawn segments, once the slot's ends fit C_r, update and private states."""
        size, last = border_bytes(self.n), self.spec.segments
        if self.reveal.state_in == ZERO:
            private = PrivateState.zeros(self.n)
        else:
            data = self.get(self.reveal.state_in, private_bytes(self.spec), "the private state")
            private = PrivateState.from_bytes(data, self.spec)
        start = first_border(self.spec, self.checkpoint, private, self.round)
        if sha256(start.to_bytes()) != trace.borders[0]:
            raise _Fault(
                Outcome.MISMATCH, "the first border is not the checkpoint with the committed private state"
            )

        borders = {0: start}
        drawn = audit_segments(self.seed, self.node, last, self.spec.audit.segments)
        for j in sorted({last} | {s for s in drawn if s} | {s + 1 for s in drawn}):
            borders[j] = Border.from_bytes(self.get(trace.borders[j], size, f"border {j}"), self.n)
            if borders[j].step != private.step + j * self.spec.trace.segment:
                raise _Fault(Outcome.MISMATCH, f"border {j} counts other steps than its place says")

        end = borders[last]
        expected, feedback = compress(self.spec, self.checkpoint, end.params, private.feedback, self.round)
        if expected.data != update.data:
            raise _Fault(Outcome.MISMATCH, "the update is not what the last border gives")
        if state_root(carried(self.spec, end, feedback, self.round).to_bytes()) != self.reveal.state_out:
            raise _Fault(Outcome.MISMATCH, "the private state is not what the last border gives")
        return borders

    def replay(self, trace: Trace, segment: int, steps: list[Batch], start: Border, end: Border) -> _Replayed:
        spec, length = self.spec, self.spec.trace.segment
        loop = inner_loop(spec, working_class(spec, self.class_id), start, self.corpus.files)
        losses, reasons, bitwise = [], [], True
        for i in range(segment * length, (segment + 1) * length):
            lr = learning_rate(spec, self.round * spec.inner.steps + i)
            try:
                loss, hidden = loop.train_step(steps[i].tokens, lr)
            except RankFailed:  # this machine's own trouble
                raise
            except PiError as error:  # an honest worker stops before it commits to such a step
                raise _Fault(
                    Outcome.MISMATCH, f"inner step {i} cannot be replayed: {error.message}"
                ) from None
            losses.append(loss_bits(loss))
            hidden = proven(spec, hidden)
            if not all(errors.within(spec.audit) for errors in check_proofs(hidden, trace.proofs[i])):
                reasons.append(f"activation proofs of inner step {i} are off")
            claimed = float(np.uint32(trace.losses[i]).view(np.float32))
            if abs(claimed - loss) > self.limit * max(abs(loss), 1.0):
                reasons.append(f"loss of inner step {i} is {loss:.6g}, the trace says {claimed:.6g}")
            bitwise &= losses[-1] == trace.losses[i] and build_proofs(hidden) == trace.proofs[i]
        mine = loop.border()
        error = segment_error(start, end, mine)
        if error > self.limit:
            reasons.append(
                f"segment {segment} is off by {error:.3g} of its change, the limit is {self.limit:.3g}"
            )
        end_hash = sha256(mine.to_bytes())
        return _Replayed(end_hash, losses, error, bitwise and end_hash == trace.borders[segment + 1], reasons)


def segment_error(start: Border, claimed: Border, replayed: Border) -> float:
    """Largest of the relative errors of parameters and moments; see the top of this file. All three are of
    the same segment."""
    worst = 0.0
    for buffer in ("params", "m", "v"):
        before, theirs, mine = (
            getattr(border, buffer).astype(np.float64) for border in (start, claimed, replayed)
        )
        distance = np.linalg.norm(mine - theirs)
        if distance:  # a buffer that did not move at all must be claimed exactly
            worst = max(worst, float(distance / max(np.linalg.norm(mine - before), 1e-300)))
    return worst
