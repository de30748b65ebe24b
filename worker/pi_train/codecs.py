"""Update codecs: integers to bytes and back, exactly, with one encoding per value. Numpy, and for
reading the same in C (`kernels.py`).

A file is a 16-byte header, then chunks back to back; its length follows from the codec and the value count:

    header       b"PIUP" | version u8 = 1 | codec u8 | k u16 | n u64
    sparse-2bit  (1) per 4096 values: step u16 | k' 12-bit indices | k' 2-bit levels | zero bits to a byte
    dense-int8   (2) per 256 values: step u16 | int8 each
    dense-fixed  (3) per 256 values: int32 each
    dct-topk     (4) per 1024 values: step u16 | per 64 values: rank of a set, k bits | zero bits to a byte

All big-endian, indices ascending. The last chunk is shorter; k' = min(k, its length); dense files have k = 0.
A step is an 11-bit mantissa and a 5-bit shift, `mantissa << shift`, normalised: every step has one code.
Sparse values are level * step with levels -3, -1, 1, 3 (SparseLoCo, arXiv 2508.15706, with integer steps);
int8 values are q * step.

dct-topk is DeMo's compression (arXiv 2411.19870) with one bit per value, as Psyche runs it: of each 64 values
the k largest coefficients of their cosine transform (`dct.py`), each +step or -step (bit 1). A value is
step * (the sum of its k basis values) / 2^16, rounded half away from zero; behind the last value of a file
stand zeros up to 64. DeMo's own code transforms 64 x 64 blocks of a matrix; an update is a flat vector.

Update files come from strangers: `UpdateFile` checks everything and raises `MalformedArtifact`, nothing else.
"""

import math
import struct
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from pi_sdk.codec import merkle_sum_root
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec

from . import dct, kernels
from .fixed import INT32_MAX, divide, divide_q16

_HEADER = struct.Struct(">4sBBHQ")
_CODEC_IDS = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3, "dct-topk": 4}
_SPARSE_CHUNK, _DENSE_CHUNK, _DCT_CHUNK = 4096, 256, 1024
_CHUNKS = {"sparse-2bit": _SPARSE_CHUNK, "dct-topk": _DCT_CHUNK}
_LARGEST_FACTOR = {"sparse-2bit": 3, "dense-int8": 127, "dct-topk": 8}  # of a step in a value
_LEVELS = np.array([-3, -1, 1, 3], np.int64)
_BLOCK = 64 * _SPARSE_CHUNK  # values that an encoder works on at a time


def chunk_values(codec: CodecSpec) -> int:
    """Values per chunk; ranges of `UpdateFile.decode` start and stop at multiples of it."""
    return _CHUNKS.get(codec.name, _DENSE_CHUNK)


def _chunk_bytes(codec: CodecSpec, values: int) -> int:
    if codec.name == "sparse-2bit":
        return 2 + (14 * min(codec.k, values) + 7) // 8
    if codec.name == "dct-topk":
        return 2 + (-(-values // dct.SIZE) * (dct.rank_bits(codec.k) + codec.k) + 7) // 8
    return 2 + values if codec.name == "dense-int8" else 4 * values


def update_header(codec: CodecSpec, n: int) -> bytes:
    """The first 16 bytes of every update file of n values."""
    return _HEADER.pack(b"PIUP", 1, _CODEC_IDS[codec.name], codec.kept, n)


def max_update_bytes(codec: CodecSpec, n: int) -> int:
    """Size in bytes of every update file of n values."""
    full, last = divmod(n, chunk_values(codec))
    size = _HEADER.size + full * _chunk_bytes(codec, chunk_values(codec))
    return size + (_chunk_bytes(codec, last) if last else 0)


# --- steps --------------------------------------------------------------------------------------------------


def _largest_step(codec: CodecSpec) -> int:
    """Largest step of a well-formed chunk: its values must fit in int32."""
    return min(codec.max_step, INT32_MAX // _LARGEST_FACTOR.get(codec.name, 1))


def _shift(step: np.ndarray | np.int64) -> np.ndarray:
    """The shift that leaves 11 significant bits. frexp is exact: steps stay below 2^53."""
    return np.maximum(np.frexp(step.astype(np.float64))[1] - 11, 0)


def _round_step(step: np.ndarray, largest: int, *, up: bool) -> tuple[np.ndarray, np.ndarray]:
    """Steps with 11 significant bits, none above `largest`, and their u16 codes. int64 in, both int64 out."""
    cap = np.int64(largest)
    cap = cap >> _shift(cap) << _shift(cap)
    shift = _shift(step)
    if up:
        step = step + (np.int64(1) << shift) - 1  # may carry into one more bit, so the shift is taken anew
        shift = _shift(step)
    step = np.minimum(step >> shift << shift, cap)
    shift = _shift(step)
    return step, step >> shift << 5 | shift


def _steps(body: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps (chunks,) int64 from the first two bytes of each row, their mantissas and shifts."""
    code = body[:, 0].astype(np.int64) << 8 | body[:, 1]
    mantissa, shift = code >> 5, code & 31
    return mantissa << shift, mantissa, shift


def _parse_steps(body: np.ndarray, codec: CodecSpec) -> np.ndarray:
    """`_steps`, checked."""
    step, mantissa, shift = _steps(body)
    if ((shift > 0) & (mantissa < 1024)).any():
        raise MalformedArtifact("a step is not normalised")
    if step.size and int(step.max()) > _largest_step(codec):
        raise MalformedArtifact(f"a step is above the limit {_largest_step(codec)}")
    return step


# --- sparse-2bit --------------------------------------------------------------------------------------------


def _encode_sparse(values: np.ndarray, codec: CodecSpec) -> np.ndarray:
    """(chunks, length) int64 to (chunks, bytes) uint8."""
    chunks, length = values.shape
    k = min(codec.k, length)
    index = _largest(values, k)
    picked = np.take_along_axis(values, index, axis=1)
    size = np.abs(picked)

    step = size.sum(1) // (2 * k)
    for _ in range(2):  # alternate levels and least-squares step, as k-means would
        level = np.where(size >= 2 * step[:, None], 3, 1)
        step = (size * level).sum(1) // (level * level).sum(1)
    step, code = _round_step(step, _largest_step(codec), up=False)
    big = (size >= 2 * step[:, None]) & (step[:, None] > 0)
    level_code = np.where(picked < 0, np.where(big, 0, 1), np.where(big, 3, 2))
    level_code[step == 0] = 2

    bits = [
        _bits(code[:, None], 16),
        _bits(index, 12),
        _bits(level_code, 2),
    ]
    return np.packbits(np.concatenate(bits, axis=1), axis=1)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Ascending indices (rows, k) of the largest magnitudes of each row, at most 4096 values below 2^51."""
    rows, length = values.shape
    # One key per value, larger value first, then lower index: the k-th key splits every row without ties.
    keys = np.abs(values) << 12 | (4095 - np.arange(length))
    kth = np.partition(keys, length - k, axis=1)[:, length - k, None]
    return np.nonzero(keys >= kth)[1].reshape(rows, k)


def _bits(x: np.ndarray, width: int) -> np.ndarray:
    """(chunks, count) integers to (chunks, count * width) bits, most significant first."""
    return (x[..., None] >> np.arange(width - 1, -1, -1) & 1).astype(np.uint8).reshape(len(x), -1)


def _fields(body: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (chunks, k) int64 and codes of the levels (chunks, k) uint8."""
    body, bit = body[:, 2:], 12 * np.arange(k)
    at, odd = bit >> 3, bit & 4  # a 12-bit index starts at a byte or in its middle and ends in the next one
    index = (body[:, at].astype(np.int64) << 8 | body[:, at + 1]) >> (4 - odd) & 0xFFF
    bit = 12 * k + 2 * np.arange(k)
    return index, body[:, bit >> 3] >> (6 - (bit & 7)).astype(np.uint8) & 3


def _check_sparse(body: np.ndarray, codec: CodecSpec, length: int) -> list[int]:
    k, step = min(codec.k, length), _parse_steps(body, codec)
    index, code = _fields(body, k)
    if (index[:, -1] >= length).any() or (np.diff(index, axis=1) <= 0).any():
        raise MalformedArtifact("indices of a chunk are not ascending inside it")
    if (body[:, -1] & ((1 << (-14 * k % 8)) - 1)).any():
        raise MalformedArtifact("padding bits of a chunk are not zero")
    if (code[step == 0] != 2).any():
        raise MalformedArtifact("a chunk of zeros is not in its normal form")
    level = _LEVELS[code]
    return [int(s) ** 2 * int(q) for s, q in zip(step, (level * level).sum(1), strict=True)]


def _values_sparse(body: np.ndarray, codec: CodecSpec, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and int32 values, (chunks, k) each."""
    index, code = _fields(body, min(codec.k, length))
    return index, (_LEVELS[code] * _steps(body)[0][:, None]).astype(np.int32)


# --- dct-topk -----------------------------------------------------------------------------------------------


def _encode_dct(values: np.ndarray, codec: CodecSpec) -> np.ndarray:
    chunks, length = values.shape
    padded = np.zeros((chunks, -(-length // dct.SIZE) * dct.SIZE), np.int64)
    padded[:, :length] = values
    coefficients = dct.forward(padded.reshape(-1, dct.SIZE))
    members = _largest(coefficients, codec.k)
    picked = np.take_along_axis(coefficients, members, axis=1).reshape(chunks, -1)

    mean = np.abs(picked).sum(1) // picked.shape[1]  # least squares: the basis is orthonormal
    step, code = _round_step(mean >> 16, _largest_step(codec), up=False)
    sent = step[:, None] > 0
    ranks = np.where(sent, dct.rank(members).reshape(chunks, -1), 0)
    minus = np.where(sent, picked < 0, False)
    sets = _bits(ranks.reshape(-1, 1), dct.rank_bits(codec.k))
    body = np.concatenate([sets, minus.reshape(-1, codec.k)], axis=1).reshape(chunks, -1)
    return np.packbits(np.concatenate([_bits(code[:, None], 16), body], axis=1, dtype=np.uint8), axis=1)


def _check_dct(body: np.ndarray, codec: CodecSpec, length: int) -> list[int]:
    step, width = _parse_steps(body, codec), dct.rank_bits(codec.k) + codec.k
    bits = np.unpackbits(body[:, 2:], axis=1)
    if bits[:, -(-length // dct.SIZE) * width :].any():
        raise MalformedArtifact("padding bits of a chunk are not zero")
    if bits[step == 0].any():
        raise MalformedArtifact("a chunk of zeros is not in its normal form")
    ranks, _ = _spans(body, codec, length)
    if (ranks >= dct.sets(codec.k)).any():
        raise MalformedArtifact("a number stands for no set of coefficients")
    return _squares(_values_dct(body, codec, length))


def _spans(body: np.ndarray, codec: CodecSpec, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranks (spans,) int64 and signs (spans, k), -1 or 1, of a block's spans of 64 values."""
    width, spans = dct.rank_bits(codec.k), -(-length // dct.SIZE)
    fields = np.unpackbits(body[:, 2:], axis=1)[:, : spans * (width + codec.k)].reshape(-1, width + codec.k)
    ranks = fields[:, :width] @ (np.int64(1) << np.arange(width - 1, -1, -1))
    return ranks, 1 - 2 * fields[:, width:].astype(np.int8)


def _values_dct(body: np.ndarray, codec: CodecSpec, length: int) -> np.ndarray:
    ranks, signs = _spans(body, codec, length)
    coefficients = np.zeros((len(ranks), dct.SIZE), np.int8)
    np.put_along_axis(coefficients, dct.unrank(ranks, codec.k), signs, axis=1)
    sums = dct.inverse(coefficients).reshape(len(body), -1)[:, :length]
    return divide_q16(sums * _steps(body)[0][:, None]).astype(np.int32)


# --- dense codecs -------------------------------------------------------------------------------------------


def _encode_int8(values: np.ndarray, codec: CodecSpec) -> np.ndarray:
    largest = np.abs(values).max(axis=1)
    step, code = _round_step(-(-largest // 127), _largest_step(codec), up=True)
    quotient = np.clip(divide(values, np.maximum(step, 1)[:, None]), -127, 127).astype(np.int8)
    head = np.stack([code >> 8, code & 0xFF], axis=1).astype(np.uint8)
    return np.concatenate([head, quotient.view(np.uint8)], axis=1)


def _check_int8(body: np.ndarray, codec: CodecSpec, length: int) -> list[int]:
    step = _parse_steps(body, codec)
    quotient = body[:, 2:].view(np.int8).astype(np.int64)
    if (quotient == -128).any():
        raise MalformedArtifact("-128 is not a value of dense-int8")
    if quotient[step == 0].any():
        raise MalformedArtifact("a chunk of zeros is not in its normal form")
    return [int(s) ** 2 * int(q) for s, q in zip(step, (quotient * quotient).sum(1), strict=True)]


def _values_int8(body: np.ndarray, codec: CodecSpec, length: int) -> np.ndarray:
    return (body[:, 2:].view(np.int8) * _steps(body)[0][:, None]).astype(np.int32)


def _check_fixed(body: np.ndarray, codec: CodecSpec, length: int) -> list[int]:
    return _squares(_values_fixed(body, codec, length))


def _values_fixed(body: np.ndarray, codec: CodecSpec, length: int) -> np.ndarray:
    return np.ascontiguousarray(body).view(">i4").astype(np.int32)


def _squares(values: np.ndarray) -> list[int]:
    """Sums of squares of the rows of (chunks, length) int32."""
    size = np.abs(values.astype(np.int64))
    high, low = size >> 16, size & 0xFFFF  # squares of 2^31 do not add up in int64, products of these do
    parts = zip((high * high).sum(1), (high * low).sum(1), (low * low).sum(1), strict=True)
    return [(int(a) << 32) + (int(b) << 17) + int(c) for a, b, c in parts]


# --- files --------------------------------------------------------------------------------------------------


_ENCODERS = {"sparse-2bit": _encode_sparse, "dense-int8": _encode_int8, "dct-topk": _encode_dct}
_CHECKS = {  # sums of squares of (chunks, bytes) uint8, each of `length` values; `MalformedArtifact`
    "sparse-2bit": _check_sparse,
    "dense-int8": _check_int8,
    "dense-fixed": _check_fixed,
    "dct-topk": _check_dct,
}
_VALUES = {
    "dense-int8": _values_int8,
    "dense-fixed": _values_fixed,
    "dct-topk": _values_dct,
}  # (chunks, length)


def encode_update(codec: CodecSpec, values: np.ndarray) -> bytes:
    """The update file of int32[n]. A pure integer function: every machine gets the same bytes."""
    n, size = len(values), chunk_values(codec)
    parts = [update_header(codec, n)]
    full = n - n % size
    bounds = [(a, min(a + _BLOCK, full), size) for a in range(0, full, _BLOCK)]
    if full < n:
        bounds.append((full, n, n - full))
    for start, stop, length in bounds:
        block = values[start:stop].reshape(-1, length)
        if codec.name == "dense-fixed":
            parts.append(block.astype(">i4").tobytes())
        else:
            parts.append(_ENCODERS[codec.name](block.astype(np.int64), codec).tobytes())
    return b"".join(parts)


class UpdateFile:
    """A checked update file of `n` values. Raises `MalformedArtifact` unless `data` is exactly one valid
    encoding.

    `data` may be mapped; it is all that is kept, beside 16 bytes per chunk, and is decoded range by range.
    """

    def __init__(self, codec: CodecSpec, data: bytes | memoryview, n: int):
        expected = max_update_bytes(codec, n)
        if len(data) != expected:
            raise MalformedArtifact(f"update has {len(data)} bytes, expected {expected}")
        if data[: _HEADER.size] != update_header(codec, n):
            raise MalformedArtifact("update header does not fit the RunSpec")
        self.codec, self.data, self.n = codec, data, n
        compiled, squares = kernels.load(), None
        if compiled is not None:
            squares = compiled.check(codec, self.body, n, chunk_values(codec), _largest_step(codec))
        self._squares = self._check() if squares is None else squares  # or what is wrong, in words

    @property
    def body(self) -> np.ndarray:
        """uint8: the chunks, without the header."""
        return np.frombuffer(self.data, np.uint8, offset=_HEADER.size)

    @property
    def squares(self) -> list[int]:
        """The sum of squares of each chunk."""
        return [high << 64 | low for high, low in self._squares.tolist()]

    def _check(self) -> np.ndarray:
        """Sums of squares, uint64 (chunks, 2), high words first."""
        check = _CHECKS[self.codec.name]
        sums = [s for body, _, length in self._bodies(0, self.n) for s in check(body, self.codec, length)]
        return np.array([divmod(s, 1 << 64) for s in sums], np.uint64).reshape(-1, 2)

    def _bodies(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Blocks of equally long chunks: (chunks, bytes) uint8, first value, values per chunk."""
        size, raw = chunk_values(self.codec), self.body
        width, full = _chunk_bytes(self.codec, size), stop // size
        per_block = _BLOCK // size
        for first in range(start // size, full, per_block):
            last = min(first + per_block, full)
            yield raw[first * width : last * width].reshape(-1, width), first * size, size
        if stop % size:
            yield raw[full * width :].reshape(1, -1), full * size, stop % size

    @cached_property
    def root(self) -> bytes:
        """Merkle-sum root over the chunks: the commitment's `updateRoot`."""
        size = chunk_values(self.codec)
        width, view = _chunk_bytes(self.codec, size), memoryview(self.data)
        starts = range(_HEADER.size, len(self.data), width)
        return merkle_sum_root(
            (bytes(view[a : a + width]), s) for a, s in zip(starts, self.squares, strict=True)
        )[0]

    @cached_property
    def norm(self) -> int:
        """Integer square root of the sum of squares, in fixed-point units."""
        low, high = self._squares & 0xFFFFFFFF, self._squares >> 32  # whose sums fit in a word
        words = [int(x) for part in (low, high) for x in part.sum(axis=0)]
        return math.isqrt((words[0] << 64) + words[1] + (words[2] << 96) + (words[3] << 32))

    def entries(self, start: int, stop: int) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
        """Where in [start, stop) this update is not known to be zero (each place once), and the int32 values
        there, in parts.

        Places count from `start`. Both ends are multiples of the chunk size, or `n`.
        """
        for body, first, length in self._bodies(start, stop):
            if self.codec.name == "sparse-2bit":
                index, values = _values_sparse(body, self.codec, length)
                where = index + (first - start) + length * np.arange(len(body))[:, None]
                yield where.ravel(), values.ravel()
            else:
                values = _VALUES[self.codec.name](body, self.codec, length).ravel()
                yield slice(first - start, first - start + len(values)), values

    def decode(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Values [start, stop) as int32. Both ends are multiples of the chunk size, or `n`."""
        stop = self.n if stop is None else stop
        compiled = kernels.load()
        if compiled is not None and start % kernels.BLOCK == 0:
            return compiled.decode(self.codec, self.body, self.n, start, stop)
        out = np.zeros(stop - start, np.int32)
        for where, values in self.entries(start, stop):
            out[where] = values
        return out
