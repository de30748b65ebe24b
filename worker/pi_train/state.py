"""The bytes of a worker's state: what it keeps between rounds, and the borders between the segments of a
slot.

    private state   m fp32 | v fp32 | error feedback int32 | step u64     carried from round to round, by node
      and where nodes keep parameters of their own:  | parameters fp32 | round u64
    border          parameters fp32 | m fp32 | v fp32 | step u64          taken before a segment's first step

All little-endian, n values each; m, v and step are AdamW's, `round` is the one whose end this is. A state's
name is the sha256 of its bytes; the state of a node that joins is all zeros, and its name is the zero root.
Both kinds come from strangers when a slot is audited.
"""

import struct
from dataclasses import dataclass

import numpy as np
from pi_sdk.codec import ZERO, sha256
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import RunSpec

_STEP = struct.Struct("<Q")


def border_bytes(n: int) -> int:
    """Size of a border of n parameters."""
    return 12 * n + _STEP.size


def private_bytes(spec: RunSpec) -> int:
    """Size of a private state in a run."""
    n = spec.model.parameters
    return border_bytes(n) + (4 * n + _STEP.size if spec.outer.keeps_parameters else 0)


def _parse(data: bytes, n: int, dtypes: tuple[str, str, str]) -> tuple[list[np.ndarray], int]:
    if len(data) != border_bytes(n):
        raise MalformedArtifact(f"state has {len(data)} bytes, expected {border_bytes(n)}")
    arrays = [np.frombuffer(data, dtype, n, 4 * n * i) for i, dtype in enumerate(dtypes)]
    (step,) = _STEP.unpack_from(data, 12 * n)
    if step >= 1 << 53:  # so that bias correction computes with it exactly
        raise MalformedArtifact("state counts more steps than possible")
    for values in arrays:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise MalformedArtifact("state is not finite")
    return arrays, step


@dataclass(frozen=True)
class PrivateState:
    """AdamW's moments (fp32[n]), its step counter, and the error feedback (int32[n]) of one node; and its
    parameters (fp32[n]) at the end of `round`, where the run has nodes keep them."""

    m: np.ndarray
    v: np.ndarray
    feedback: np.ndarray
    step: int
    params: np.ndarray | None = None
    round: int = 0

    @classmethod
    def zeros(cls, n: int) -> "PrivateState":
        return cls(np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), 0)

    def to_bytes(self) -> bytes:
        parts = (self.m.astype("<f4"), self.v.astype("<f4"), self.feedback.astype("<i4"))
        data = b"".join(part.tobytes() for part in parts) + _STEP.pack(self.step)
        return (
            data
            if self.params is None
            else data + self.params.astype("<f4").tobytes() + _STEP.pack(self.round)
        )

    @classmethod
    def from_bytes(cls, data: bytes, spec: RunSpec) -> "PrivateState":
        n, own = spec.model.parameters, spec.outer.keeps_parameters
        if len(data) != private_bytes(spec):
            raise MalformedArtifact(f"state has {len(data)} bytes, expected {private_bytes(spec)}")
        (m, v, feedback), step = _parse(data[: border_bytes(n)], n, ("<f4", "<f4", "<i4"))
        if v.min() < 0:
            raise MalformedArtifact("second moments are negative")
        if not own:
            return cls(m, v, feedback, step)
        params = np.frombuffer(data, "<f4", n, border_bytes(n))
        if not np.isfinite(params).all():
            raise MalformedArtifact("state is not finite")
        (round_,) = _STEP.unpack_from(data, border_bytes(n) + 4 * n)
        return cls(m, v, feedback, step, params, round_)


def state_root(state: bytes | None) -> bytes:
    """Name of a private state's bytes; None stands for the zeros of a joiner."""
    return ZERO if state is None else sha256(state)


@dataclass(frozen=True)
class Border:
    """Parameters and AdamW's state between two inner steps: fp32[n] each, and the step counter."""

    params: np.ndarray
    m: np.ndarray
    v: np.ndarray
    step: int

    def parts(self) -> tuple[memoryview, memoryview, memoryview, bytes]:
        """The border's bytes in four pieces, so that they can be hashed and written without a copy."""
        p, m, v = (np.ascontiguousarray(a, "<f4").data.cast("B") for a in (self.params, self.m, self.v))
        return p, m, v, _STEP.pack(self.step)

    def to_bytes(self) -> bytes:
        return b"".join(self.parts())

    @classmethod
    def from_bytes(cls, data: bytes, n: int) -> "Border":
        (params, m, v), step = _parse(data, n, ("<f4", "<f4", "<f4"))
        if v.min() < 0:
            raise MalformedArtifact("second moments are negative")
        return cls(params, m, v, step)
