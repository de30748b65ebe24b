"""Activation proofs in TOPLOC's wire format (arXiv 2501.16007): 258 bytes that pin down 32 tokens'
activations. Numpy only.

The 32 x width final-norm outputs are rounded to bf16 and flattened; the 128 largest by magnitude (ties to the
lower index) are points (index, bit pattern). m is the largest modulus <= 65497 that keeps the indices
different, and the proof is the polynomial over GF(65497) through (index mod m, pattern): m u16, then 128
coefficients u16 from the constant term up, big-endian. Patterns of finite values are at most 0xFF7F = 65407,
so all fit in the field; NaN has no proof.

A verifier recomputes the activations, evaluates the polynomial at its own 128 largest, and compares exponents
and mantissas. TOPLOC ignores the sign, so negated activations pass there; here a wrong sign counts as a wrong
exponent. A proof screens: it shows that the forward pass ran on about the right weights and data, never that
the step was right.
"""

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


@cache
def _inverses() -> np.ndarray:
    """Inverse of every element of the field (0 for 0), by Fermat: x^(p-2)."""
    power, result, exponent = np.arange(PRIME), np.ones(PRIME, np.int64), PRIME - 2
    while exponent:
        if exponent & 1:
            result = result * power % PRIME
        power, exponent = power * power % PRIME, exponent >> 1
    return result


def _to_bf16(x: np.ndarray) -> np.ndarray:
    """fp32 to bf16 bit patterns (int64), rounded to nearest even."""
    bits = x.view(np.uint32).astype(np.int64)
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


def _top(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and patterns (proofs, 128) of the largest values of fp32 (proofs, 32 * width)."""
    patterns = _to_bf16(np.ascontiguousarray(activations, np.float32))
    size = activations.shape[1]
    keys = (patterns & 0x7FFF) * size + (size - 1 - np.arange(size))  # magnitude first, then the lower index
    index = size - 1 - np.partition(keys, size - TOP, axis=1)[:, size - TOP :] % size
    index.sort(axis=1)
    return index, np.take_along_axis(patterns, index, axis=1)


def _modulus(index: np.ndarray) -> int:
    if index[-1] < PRIME:
        return PRIME
    for modulus in range(PRIME, _MIN_MODULUS - 1, -1):
        if len(np.unique(index % modulus)) == TOP:
            return modulus
    raise PiError("no modulus keeps the indices of an activation proof apart")


def _interpolate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients, constant first, of the polynomials through x, y over the field; all (proofs, 128)."""
    newton, inverse = y % PRIME, _inverses()
    compiled = kernels.load()
    if compiled is not None:
        return compiled.interpolate(x, newton, inverse)
    for j in range(1, TOP):  # divided differences
        slope = newton[:, j:] - newton[:, j - 1 : -1]
        newton[:, j:] = slope * inverse[(x[:, j:] - x[:, :-j]) % PRIME] % PRIME
    power = np.zeros_like(newton)
    for j in range(TOP - 1, -1, -1):  # Horner: power = power * (X - x_j) + newton_j
        shifted = np.roll(power, 1, axis=1)  # the highest coefficient is still zero
        power = (shifted - power * x[:, j, None]) % PRIME
        power[:, 0] = (power[:, 0] + newton[:, j]) % PRIME
    return power


def build_proofs(hidden: np.ndarray) -> tuple[bytes, ...]:
    """One proof per 32 tokens of fp32 (sequences, tokens, width), in order."""
    if hidden.size == 0:
        return ()
    index, patterns = _top(hidden.reshape(-1, PROOF_TOKENS * hidden.shape[-1]))
    if (patterns & 0x7FFF > 0x7F80).any():
        raise PiError("activations are not numbers")
    modulus = np.array([_modulus(row) for row in index])
    coefficients = _interpolate(index % modulus[:, None], patterns)
    return tuple(
        row.tobytes() for row in np.concatenate([modulus[:, None], coefficients], axis=1).astype(">u2")
    )


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


def check_proofs(hidden: np.ndarray, proofs: Sequence[bytes]) -> list[ProofErrors]:
    """Compares proofs with recomputed fp32 (sequences, tokens, width), one result per proof. Raises
    `MalformedArtifact`, also where there are not exactly as many proofs as spans of 32 tokens."""
    activations = hidden.reshape(-1, PROOF_TOKENS * hidden.shape[-1])
    if len(proofs) != len(activations):
        raise MalformedArtifact(f"{len(proofs)} activation proofs for {len(activations)} spans of tokens")
    if not proofs:
        return []
    modulus, coefficients = parse_proofs(proofs)
    index, patterns = _top(activations)
    x, claimed = index % modulus[:, None], np.zeros_like(index)
    for j in range(TOP - 1, -1, -1):
        claimed = (claimed * x + coefficients[:, j, None]) % PRIME
    agrees = claimed & 0xFF80 == patterns & 0xFF80
    distance = np.abs((claimed & 0x7F) - (patterns & 0x7F))
    results = []
    for row, same in zip(distance, agrees, strict=True):
        matching = row[same]
        mean, median = (
            (float(matching.mean()), float(np.median(matching))) if len(matching) else (np.inf, np.inf)
        )
        results.append(ProofErrors(int(TOP - same.sum()), mean, median))
    return results
