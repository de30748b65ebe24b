"""The bytes of a worker's state: what it keeps between rounds, and the borders between the segments of a
slot.

    private state   m fp32 | v fp32 | error feedback int32 | step u64     carried from round to round, by node
    border          parameters fp32 | m fp32 | v fp32 | step u64          taken before a segment's first step

All little-endian, n values each; m, v and step are AdamW's. A state's name is the sha256 of its bytes; the
state of a node that joins is all zeros, and its name is the zero root. Both kinds come from strangers when a
slot is audited.
"""

import struct
from dataclasses import dataclass

import numpy as np
from pi_sdk.codec import ZERO, sha256
from pi_sdk.errors import MalformedArtifact

_STEP = struct.Struct("<Q")


def state_bytes(n: int) -> int:
    """Size of a private state, and of a border, of n parameters."""
    return 12 * n + _STEP.size


def _parse(data: bytes, n: int, dtypes: tuple[str, str, str]) -> tuple[list[np.ndarray], int]:
    if len(data) != state_bytes(n):
        raise MalformedArtifact(f"state has {len(data)} bytes, expected {state_bytes(n)}")
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
    """AdamW's moments (fp32[n]), its step counter, and the error feedback (int32[n]) of one node."""

    m: np.ndarray
    v: np.ndarray
    feedback: np.ndarray
    step: int

    @classmethod
    def zeros(cls, n: int) -> "PrivateState":
        return cls(np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), 0)

    def to_bytes(self) -> bytes:
        parts = (self.m.astype("<f4"), self.v.astype("<f4"), self.feedback.astype("<i4"))
        return b"".join(part.tobytes() for part in parts) + _STEP.pack(self.step)

    @classmethod
    def from_bytes(cls, data: bytes, n: int) -> "PrivateState":
        (m, v, feedback), step = _parse(data, n, ("<f4", "<f4", "<i4"))
        if v.min() < 0:
            raise MalformedArtifact("second moments are negative")
        return cls(m, v, feedback, step)


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
