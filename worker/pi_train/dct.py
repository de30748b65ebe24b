"""The cosine transform of 64 values in exact integers, and sets of its coefficients as numbers. Numpy only.

    basis[u, x] = round(2^16 c(u) cos((2x + 1) u pi / 128))    c(0) = 1/8, else sqrt(1/32)

is the orthonormal DCT-II in Q16; `tests/vectors/outer.json` has its cosines, for the contracts too. Sums are
taken in float64, where integers below 2^53 are exact in any order of addition, so that BLAS may do the work
and every machine still gets the same bits.

A set of k of the 64 coefficients is its rank in the combinatorial number system, sum over its ascending
members i_1 < ... < i_k of binomial(i_j, j): each number below binomial(64, k) is one set. Of 4 that takes 20
bits, where four indices take 24.
"""

import math

import numpy as np

SIZE = 64
_Q16 = 1 << 16


def cosines() -> np.ndarray:
    """int64[256]: round(2^16 sqrt(1/32) cos(a pi / 128)), but at a = 0, where only the constant coefficient
    looks, 2^16 / 8. None lies near a half."""
    table = np.rint(_Q16 * math.sqrt(1 / 32) * np.cos(np.arange(256) * (math.pi / 128))).astype(np.int64)
    table[0] = _Q16 // 8
    return table


BASIS = cosines()[np.arange(SIZE)[:, None] * (2 * np.arange(SIZE) + 1) % 256]
"""int64[64, 64]. The magnitudes of a column sum up to less than 2^19."""
_BASIS = BASIS.astype(np.float64)
BINOMIALS = np.array([[math.comb(i, j) for j in range(SIZE + 1)] for i in range(SIZE)])  # all below 2^60


def forward(values: np.ndarray) -> np.ndarray:
    """Coefficients, in 2^-16, of (count, 64) integers in the range of int32: int64, magnitudes below 2^50."""
    return (values.astype(np.float64) @ _BASIS.T).astype(np.int64)


def inverse(coefficients: np.ndarray) -> np.ndarray:
    """Values, in 2^-16, of (count, 64) coefficients out of -1, 0 and 1: int64, magnitudes below 2^19."""
    return (coefficients.astype(np.float64) @ _BASIS).astype(np.int64)


def sets(k: int) -> int:
    """How many sets of k of the 64 coefficients there are."""
    return math.comb(SIZE, k)


def rank_bits(k: int) -> int:
    return (sets(k) - 1).bit_length()


def rank(members: np.ndarray) -> np.ndarray:
    """int64 ranks of (count, k) ascending members."""
    return BINOMIALS[members, np.arange(1, members.shape[1] + 1)].sum(axis=1)


def unrank(ranks: np.ndarray, k: int) -> np.ndarray:
    """The (count, k) ascending members of sets, from ranks below `sets(k)`."""
    members = np.empty((len(ranks), k), np.int64)
    rest = ranks.copy()
    for j in range(k, 0, -1):
        members[:, j - 1] = np.searchsorted(BINOMIALS[:, j], rest, side="right") - 1
        rest -= BINOMIALS[members[:, j - 1], j]
    return members
