"""The numbers of the outer step once more, in plain Python, one value at a time: slow, short and obvious.

`tools/make_outer_vectors.py` makes the shared vectors with it, and property tests hold pi_train against it.
"""

import hashlib
import math
import struct
from fractions import Fraction

CODECS = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3, "dct-topk": 4}
CHUNKS = {1: 4096, 2: 256, 3: 256, 4: 1024}
INT32 = (-(1 << 31), (1 << 31) - 1)
MOMENTUM = (-((1 << 46) - 1), (1 << 46) - 1)


def clamp(x: int, bounds: tuple[int, int] = INT32) -> int:
    return min(max(x, bounds[0]), bounds[1])


def divide(a: int, b: int) -> int:
    """Half away from zero."""
    quotient = math.floor(Fraction(abs(a), b) + Fraction(1, 2))
    return quotient if a >= 0 else -quotient


def code_of(step: int) -> int:
    """Code of the largest step with 11 significant bits that is not above `step`."""
    shift = max(step.bit_length() - 11, 0)
    return (step >> shift) << 5 | shift


def step_of(code: int) -> int:
    return (code >> 5) << (code & 31)


def encode(name: str, k: int, max_step: int, values: list[int]) -> bytes:
    number = CODECS[name]
    out = struct.pack(">4sBBHQ", b"PIUP", 1, number, k if number in (1, 4) else 0, len(values))
    size = CHUNKS[number]
    for at in range(0, len(values), size):
        chunk = values[at : at + size]
        if number == 1:
            out += sparse_chunk(chunk, k, max_step)
        elif number == 2:
            out += int8_chunk(chunk, max_step)
        elif number == 4:
            out += dct_chunk(chunk, k, max_step)
        else:
            out += struct.pack(f">{len(chunk)}i", *chunk)
    return out


def sparse_chunk(chunk: list[int], k: int, max_step: int) -> bytes:
    k = min(k, len(chunk))
    kept = sorted(sorted(range(len(chunk)), key=lambda i: (-abs(chunk[i]), i))[:k])
    sizes = [abs(chunk[i]) for i in kept]
    step = sum(sizes) // (2 * k)
    for _ in range(2):
        levels = [3 if v >= 2 * step else 1 for v in sizes]
        step = sum(v * a for v, a in zip(sizes, levels, strict=True)) // sum(a * a for a in levels)
    code = code_of(min(step, max_step, INT32[1] // 3))
    step = step_of(code)
    bits = f"{code:016b}" + "".join(f"{i:012b}" for i in kept)
    for i in kept:
        large = step > 0 and abs(chunk[i]) >= 2 * step
        negative = step > 0 and chunk[i] < 0
        bits += f"{(0 if large else 1) if negative else (3 if large else 2):02b}"
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def int8_chunk(chunk: list[int], max_step: int) -> bytes:
    wanted = -(-max(abs(v) for v in chunk) // 127)
    code = code_of(wanted)
    while step_of(code) < wanted:  # the next codable step is not far
        wanted += 1
        code = max(code, code_of(wanted))
    code = min(code, code_of(min(max_step, INT32[1] // 127)), key=step_of)
    step = step_of(code)
    levels = [clamp(divide(v, step), (-127, 127)) if step else 0 for v in chunk]
    return struct.pack(f">H{len(chunk)}b", code, *levels)


def cosine(u: int, x: int) -> int:
    """Entry of the orthonormal DCT-II of 64 values in Q16; none lies near a half."""
    scale = math.sqrt((2 if u else 1) / 64)
    return round(65536 * scale * math.cos((2 * x + 1) * u * math.pi / 128))


COSINE = [[cosine(u, x) for x in range(64)] for u in range(64)]


def dct_chunk(chunk: list[int], k: int, max_step: int) -> bytes:
    sets, sizes = [], []
    for at in range(0, len(chunk), 64):
        block = chunk[at : at + 64]
        found = [sum(c * v for c, v in zip(row, block, strict=False)) for row in COSINE]
        kept = sorted(sorted(range(64), key=lambda u: (-abs(found[u]), u))[:k])
        sets.append((kept, [found[u] < 0 for u in kept]))
        sizes += [abs(found[u]) for u in kept]
    code = code_of(min(sum(sizes) // len(sizes) // 65536, max_step, INT32[1] // 8))
    bits = f"{code:016b}"
    for kept, negative in sets:
        if code == 0:
            kept, negative = range(k), [False] * k
        width = (math.comb(64, k) - 1).bit_length()
        rank = sum(math.comb(u, j + 1) for j, u in enumerate(kept))
        bits += (f"{rank:0{width}b}" if width else "") + "".join("01"[n] for n in negative)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def dct_values(bits: str, step: int, k: int, length: int) -> list[int]:
    width, out = (math.comb(64, k) - 1).bit_length(), []
    while len(out) < length:
        rank, signs, bits = int(bits[:width] or "0", 2), bits[width : width + k], bits[width + k :]
        sums = [0] * 64
        for j in range(k, 0, -1):
            u = max(i for i in range(64) if math.comb(i, j) <= rank)
            rank -= math.comb(u, j)
            sign = -1 if signs[j - 1] == "1" else 1
            sums = [s + sign * c for s, c in zip(sums, COSINE[u], strict=True)]
        out += [divide(step * s, 65536) for s in sums]
    return out[:length]


def chunk_width(number: int, k: int, length: int) -> int:
    """Bytes of a chunk of `length` values."""
    if number == 4:
        bits = ((math.comb(64, k) - 1).bit_length() + k) * math.ceil(length / 64)
    else:
        bits = {1: 14 * min(k, length), 2: 8 * length, 3: 32 * length}[number]
    return (bits + 7) // 8 + (0 if number == 3 else 2)


def decode(data: bytes) -> list[int]:
    """Values of a well-formed file."""
    _, _, number, k, n = struct.unpack_from(">4sBBHQ", data)
    size, at, out = CHUNKS[number], 16, []
    while len(out) < n:
        length = min(size, n - len(out))
        if number == 3:
            out += struct.unpack_from(f">{length}i", data, at)
            at += 4 * length
            continue
        step = step_of(int.from_bytes(data[at : at + 2]))
        at += 2
        if number == 2:
            out += [step * q for q in struct.unpack_from(f">{length}b", data, at)]
            at += length
            continue
        count = min(k, length)
        width = chunk_width(number, k, length) - 2
        bits = "".join(f"{byte:08b}" for byte in data[at : at + width])
        at += width
        if number == 4:
            out += dct_values(bits, step, k, length)
            continue
        chunk = [0] * length
        for j in range(count):
            level = int(bits[12 * count + 2 * j :][:2], 2)
            chunk[int(bits[12 * j : 12 * j + 12], 2)] = (-3, -1, 1, 3)[level] * step
        out += chunk
    return out


def norm(values: list[int]) -> int:
    return math.isqrt(sum(v * v for v in values))


def sum_root(leaves: list[tuple[bytes, int]]) -> bytes:
    nodes = [(hashlib.sha256(b"\x00" + chunk).digest(), total) for chunk, total in leaves]
    while len(nodes) & (len(nodes) - 1):
        nodes.append((bytes(32), 0))
    while len(nodes) > 1:
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        nodes = [
            (hashlib.sha256(b"\x01" + a + x.to_bytes(16) + b + y.to_bytes(16)).digest(), x + y)
            for (a, x), (b, y) in pairs
        ]
    return hashlib.sha256(b"\x02" + nodes[0][0] + nodes[0][1].to_bytes(16)).digest()


def update_root(data: bytes) -> bytes:
    _, _, number, k, n = struct.unpack_from(">4sBBHQ", data)
    size = CHUNKS[number]
    values, leaves, at = decode(data), [], 16
    for first in range(0, n, size):
        length = min(size, n - first)
        width = chunk_width(number, k, length)
        leaves.append((data[at : at + width], sum(v * v for v in values[first : first + length])))
        at += width
    return sum_root(leaves)


def checkpoint_root(theta: list[int], momentum: list[int] | None) -> bytes:
    nodes = []
    for at in range(0, len(theta), 256):
        pad = [0] * (256 - len(theta[at : at + 256]))
        leaf = struct.pack(">256i", *theta[at : at + 256], *pad)
        if momentum is not None:
            leaf += struct.pack(">256q", *momentum[at : at + 256], *pad)
        nodes.append(hashlib.sha256(b"\x00" + leaf).digest())
    empty = bytes(32)
    while len(nodes) > 1:
        if len(nodes) % 2:
            nodes.append(empty)
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        nodes = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in pairs]
        empty = hashlib.sha256(b"\x01" + empty + empty).digest()
    return nodes[0]


def outer_step(
    theta: list[int],
    momentum: list[int] | None,
    lr: int,
    mu: int | None,
    contributions: list[tuple[list[int], int]],
    trim: int = 0,
) -> tuple[list[int], list[int] | None]:
    """Next theta and momentum from (decoded update, width) pairs; lr and mu in Q16, momentum None for sgd.
    With mu = None it is the rule `sign`, lr in fixed-point units. `trim` in basis points of the width."""
    norms = [norm(values) for values, _ in contributions]
    median = sorted(norms)[(len(norms) - 1) // 2]
    factors = [65536 if x <= median else median * 65536 // x for x in norms]
    new_theta, new_momentum = [], []
    for i, old in enumerate(theta):
        pairs = zip(contributions, factors, strict=True)
        copies = sorted(f * values[i] for (values, width), f in pairs for _ in range(width))
        out = len(copies) * trim // 10_000
        total = sum(copies[out : len(copies) - out])
        if mu is None:
            new_theta.append(clamp(old - lr * ((total > 0) - (total < 0))))
            continue
        step = divide(total, (len(copies) - 2 * out) * 65536)
        if momentum is not None:
            new_momentum.append(clamp(divide(mu * momentum[i], 65536) + step, MOMENTUM))
            step += divide(mu * new_momentum[-1], 65536)
        new_theta.append(clamp(old - divide(lr * step, 65536)))
    return new_theta, None if momentum is None else new_momentum


def feedback_step(beta: int, feedback: list[int], delta: list[int]) -> list[int]:
    """What is encoded: the decayed error feedback and the new pseudo-gradient."""
    return [clamp(divide(beta * e, 65536) + d) for e, d in zip(feedback, delta, strict=True)]
