"""The numbers of the outer step once more, in plain Python, one value at a time: slow, short and obvious.

`tools/make_outer_vectors.py` makes the shared vectors with it, and property tests hold pi_train against it.
"""

import hashlib
import math
import struct
from fractions import Fraction

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
    number = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3}[name]
    out = struct.pack(">4sBBHQ", b"PIUP", 1, number, k if number == 1 else 0, len(values))
    size = 4096 if number == 1 else 256
    for at in range(0, len(values), size):
        chunk = values[at : at + size]
        if number == 1:
            out += sparse_chunk(chunk, k, max_step)
        elif number == 2:
            out += int8_chunk(chunk, max_step)
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


def decode(data: bytes) -> list[int]:
    """Values of a well-formed file."""
    _, _, number, k, n = struct.unpack_from(">4sBBHQ", data)
    size, at, out = (4096 if number == 1 else 256), 16, []
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
        width = (14 * count + 7) // 8
        bits = "".join(f"{byte:08b}" for byte in data[at : at + width])
        at += width
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
    size = 4096 if number == 1 else 256
    values, leaves, at = decode(data), [], 16
    for first in range(0, n, size):
        length = min(size, n - first)
        width = {1: 2 + (14 * min(k, length) + 7) // 8, 2: 2 + length, 3: 4 * length}[number]
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
    mu: int,
    contributions: list[tuple[list[int], int]],
) -> tuple[list[int], list[int] | None]:
    """Next theta and momentum from (decoded update, width) pairs; lr and mu in Q16, momentum None for sgd."""
    norms = [norm(values) for values, _ in contributions]
    median = sorted(norms)[(len(norms) - 1) // 2]
    factors = [65536 if x <= median else median * 65536 // x for x in norms]
    total_width = sum(width for _, width in contributions)
    new_theta, new_momentum = [], []
    for i, old in enumerate(theta):
        pairs = zip(contributions, factors, strict=True)
        step = divide(sum(width * f * values[i] for (values, width), f in pairs), total_width * 65536)
        if momentum is not None:
            new_momentum.append(clamp(divide(mu * momentum[i], 65536) + step, MOMENTUM))
            step += divide(mu * new_momentum[-1], 65536)
        new_theta.append(clamp(old - divide(lr * step, 65536)))
    return new_theta, None if momentum is None else new_momentum


def feedback_step(beta: int, feedback: list[int], delta: list[int]) -> list[int]:
    """What is encoded: the decayed error feedback and the new pseudo-gradient."""
    return [clamp(divide(beta * e, 65536) + d) for e, d in zip(feedback, delta, strict=True)]
