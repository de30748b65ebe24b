"""Fixed-point numbers: a parameter is an int32 times 2^-frac_bits, and every division rounds half away from
zero.

Numpy on int64; each function states the range in which it is exact. `tests/vectors/outer.json` holds the edge
cases.
"""

import numpy as np
from pi_sdk.errors import MalformedArtifact

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
Q16_ONE = 1 << 16


def saturate(x: np.ndarray) -> np.ndarray:
    """int64 to int32, clamped to the ends of int32."""
    return np.clip(x, INT32_MIN, INT32_MAX).astype(np.int32)


def divide_q16(x: np.ndarray) -> np.ndarray:
    """x / 2^16 rounded half away from zero. int64, |x| < 2^63 - 2^15."""
    return (x + (Q16_ONE // 2) + (x >> 63)) >> 16  # x >> 63 is -1 for negative x: their halves round down


def divide(x: np.ndarray, divisor: int | np.ndarray) -> np.ndarray:
    """x / divisor rounded half away from zero. int64, |x| + divisor < 2^63, divisor > 0."""
    quotient = (np.abs(x) + divisor // 2) // divisor
    return np.where(x < 0, -quotient, quotient)


def to_fp32(theta: np.ndarray, frac_bits: int) -> np.ndarray:
    """int32 fixed point to fp32, rounded to nearest even."""
    return theta.astype(np.float32) * np.float32(
        2.0**-frac_bits
    )  # the cast rounds, the power of two is exact


def to_fixed(x: np.ndarray, frac_bits: int) -> np.ndarray:
    """fp32 to int32 fixed point, rounded half to even, clamped to int32. `MalformedArtifact` for NaN."""
    scaled = np.rint(x.astype(np.float64) * 2.0**frac_bits)  # exact before rint: 24 significant bits
    if np.isnan(scaled).any():
        raise MalformedArtifact("parameters are not numbers")
    return np.clip(scaled, INT32_MIN, INT32_MAX).astype(np.int32)
