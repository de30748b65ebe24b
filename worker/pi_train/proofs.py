"""Activation proofs in TOPLOC's wire format (arXiv 2501.16007): 258 bytes that pin down 32 tokens'
activations. Numpy, or the compiled loops of `kernels.c`, which give the same bytes.

The 32 x width final-norm outputs are bf16 (fp32 is rounded to it) and flattened; the 128 largest by magnitude
are points (index, bit pattern). m is the largest modulus <= 65497 that keeps the indices different, and the
proof is the polynomial over GF(65497) through (index mod m, pattern): m u16, then 128 coefficients u16 from
the constant term up, big-endian. Patterns of finite values are at most 0xFF7F = 65407, so all fit in the
field; NaN has no proof.

Of equal magnitudes at the edge of the 128, those stay that a binary heap keeps which takes the values in
order, as Python's heapq does, and compares magnitudes only. TOPLOC leaves the choice to `torch.topk`, which
promises none; on a CPU it is this one from 8192 values (width 256) on, so there the bytes are TOPLOC's own.

A verifier recomputes the activations, evaluates the polynomial at its own 128 largest, and compares exponents
and mantissas. TOPLOC ignores the sign, so negated activations pass there; here a wrong sign counts as a wrong
exponent. A proof screens: it shows that the forward pass ran on about the right weights and data, never that
the step was right.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from pi_sdk.codec import PROOF_BYTES, PROOF_TOKENS
from pi_sdk.errors import MalformedArtifact, PiError
from pi_sdk.types import AuditSpec

from . import kernels

PRIME = 65497
TOP = 128
_MIN_MODULUS = (1 << 15) + 1
_BLOCK = 4096


@cache
def _inverses() -> np.ndarray:
    """Inverse of every element of the field (0 for 0) as uint32, by Fermat: x^(p-2)."""
    power, result, exponent = np.arange(PRIME), np.ones(PRIME, np.int64), PRIME - 2
    while exponent:
        if exponent & 1:
            result = result * power % PRIME
        power, exponent = power * power % PRIME, exponent >> 1
    return result.astype(np.uint32)


def bf16_patterns(values: np.ndarray) -> np.ndarray:
    """Bit patterns (uint16) of fp32, rounded to nearest even; NaN is 0x7FC0."""
    values = np.ascontiguousarray(values, np.float32)
    compiled = kernels.load()
    if compiled is not None:
        return compiled.bf16(values)
    bits = values.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def _spans(hidden: np.ndarray, tokens: int) -> np.ndarray:
    """Patterns (proofs, tokens * width) of the activations."""
    size = tokens * hidden.shape[-1]
    if not TOP <= size < 1 << 31:
        raise PiError(f"an activation proof needs {TOP} values, {size} are given")
    if hidden.dtype == np.uint16:
        return np.ascontiguousarray(hidden).reshape(-1, size)
    return bf16_patterns(hidden).reshape(-1, size)


class _Point:
    """A value in the heap. Its index has no say there."""

    __slots__ = ("index", "magnitude")

    def __init__(self, magnitude: int, index: int):
        self.magnitude, self.index = magnitude, index

    def __lt__(self, other: "_Point") -> bool:
        return self.magnitude < other.magnitude


def _top(patterns: np.ndarray) -> np.ndarray:
    """Indices (128,) of the largest magnitudes of one span, ascending."""
    magnitudes = patterns & 0x7FFF
    heap = [_Point(int(magnitude), i) for i, magnitude in enumerate(magnitudes[:TOP])]
    heapq.heapify(heap)
    for start in range(TOP, len(magnitudes), _BLOCK):
        block = magnitudes[start : start + _BLOCK]
        for i in np.flatnonzero(block > heap[0].magnitude).tolist():
            if block[i] > heap[0].magnitude:
                heapq.heapreplace(heap, _Point(int(block[i]), start + i))
    return np.array(sorted(point.index for point in heap))


def _modulus(index: np.ndarray) -> int:
    """0 where no modulus keeps the indices apart."""
    if index[-1] < PRIME:
        return PRIME
    moduli = range(PRIME, _MIN_MODULUS - 1, -1)
    return next((m for m in moduli if len(np.unique(index % m)) == TOP), 0)


def _interpolate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients, constant first, of the polynomial through the points over the field; all int64 (128,)."""
    newton, inverse = y % PRIME, _inverses().astype(np.int64)
    for j in range(1, TOP):  # divided differences
        newton[j:] = (newton[j:] - newton[j - 1 : -1]) * inverse[(x[j:] - x[:-j]) % PRIME] % PRIME
    power = np.zeros(TOP, np.int64)
    for j in range(TOP - 1, -1, -1):  # Horner: power = power * (X - x_j) + newton_j
        power = (np.roll(power, 1) - power * x[j]) % PRIME  # the highest coefficient is still zero
        power[0] = (power[0] + newton[j]) % PRIME
    return power


def _prove(patterns: np.ndarray) -> bytes:
    """The proof of one span; nothing where it has NaN, or no modulus."""
    index = _top(patterns)
    points, modulus = patterns[index].astype(np.int64), _modulus(index)
    if modulus == 0 or (points & 0x7FFF > 0x7F80).any():
        return b""
    return np.concatenate([[modulus], _interpolate(index % modulus, points)]).astype(">u2").tobytes()


def build_proofs(hidden: np.ndarray, tokens: int = PROOF_TOKENS) -> tuple[bytes, ...]:
    """One proof per `tokens` tokens of (sequences, tokens, width), in order; fp32, or uint16 for the bit
    patterns of bf16. `PiError` for NaN."""
    if hidden.size == 0:
        return ()
    spans, compiled = _spans(hidden, tokens), kernels.load()
    if compiled is not None:
        proofs = compiled.build_proofs(spans, _inverses())
    else:
        proofs = b"".join(_prove(patterns) for patterns in spans)
    if len(proofs) != len(spans) * PROOF_BYTES:
        raise PiError("activations are not numbers, or no modulus keeps their indices apart")
    return tuple(proofs[i : i + PROOF_BYTES] for i in range(0, len(proofs), PROOF_BYTES))


def parse_proofs(proofs: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Moduli (proofs,) and coefficients (proofs, 128) of a stranger's proofs. `MalformedArtifact`."""
    if any(len(proof) != PROOF_BYTES for proof in proofs):
        raise MalformedArtifact(f"an activation proof is not {PROOF_BYTES} bytes long")
    words = np.frombuffer(b"".join(proofs), ">u2").astype(np.int64).reshape(-1, 1 + TOP)
    modulus, coefficients = words[:, 0], words[:, 1:]
    if ((modulus < _MIN_MODULUS) | (modulus > PRIME)).any():
        raise MalformedArtifact("modulus of an activation proof is out of range")
    if (coefficients >= PRIME).any():
        raise MalformedArtifact("coefficient of an activation proof is not in the field")
    return modulus, coefficients


@dataclass(frozen=True)
class ProofErrors:
    """How far a proof is from recomputed activations; mantissas where sign and exponent agree."""

    exponent_mismatches: int
    mantissa_mean: float
    mantissa_median: float

    def within(self, audit: AuditSpec) -> bool:
        return (
            self.exponent_mismatches <= audit.max_exponent_mismatches
            and self.mantissa_mean <= audit.max_mantissa_mean
            and self.mantissa_median <= audit.max_mantissa_median
        )


def check_proofs(
    hidden: np.ndarray, proofs: Sequence[bytes], tokens: int = PROOF_TOKENS
) -> list[ProofErrors]:
    """Compares proofs with recomputed activations as in `build_proofs`, one result per proof. Raises
    `MalformedArtifact`, also where there are not exactly as many proofs as spans of `tokens` tokens."""
    spans = _spans(hidden, tokens) if hidden.size else hidden.reshape(0, 0)
    if len(proofs) != len(spans):
        raise MalformedArtifact(f"{len(proofs)} activation proofs for {len(spans)} spans of tokens")
    if not proofs:
        return []
    parsed, compiled = parse_proofs(proofs), kernels.load()
    if compiled is not None:
        counts = compiled.check_proofs(spans, b"".join(proofs))
    else:
        counts = [_compare(*each) for each in zip(spans, *parsed, strict=True)]
    results = []
    for different, total, twice_median in counts:
        same = TOP - different
        mean, median = (total / same, twice_median / 2) if same else (np.inf, np.inf)
        results.append(ProofErrors(different, mean, median))
    return results


def _compare(patterns: np.ndarray, modulus: int, coefficients: np.ndarray) -> tuple[int, int, int]:
    """How many signs or exponents differ, and sum and twice the median of the other mantissas' distances."""
    index = _top(patterns)
    own, x, claimed = patterns[index].astype(np.int64), index % modulus, np.zeros(TOP, np.int64)
    for coefficient in coefficients[::-1]:  # Horner
        claimed = (claimed * x + coefficient) % PRIME
    agrees = claimed & 0xFF80 == own & 0xFF80
    distance = np.sort(np.abs((claimed & 0x7F) - (own & 0x7F))[agrees])
    same = len(distance)
    twice_median = int(distance[(same - 1) // 2] + distance[same // 2]) if same else 0
    return TOP - same, int(distance.sum()), twice_median
