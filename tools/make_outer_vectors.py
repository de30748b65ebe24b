"""Writes tests/vectors/outer.json: codecs, roots and outer steps, from the plain-Python reference.

The file is frozen: this script exists to add cases, and a test fails when its output and the file differ.
Run: python tools/make_outer_vectors.py [--check]

Bytes are hex. `updates` are encodings of values, `malformed` files that must be refused, `checkpoints` roots
of theta (and momentum), `steps` outer steps over update files, `feedback` the sums that are encoded, `fixed`
fp32 bits to int32 and back. `dct_cosines` is the table of `pi_train/dct.py`, two bytes each; `dct_updates`,
`dct_malformed` and `sign_steps` are like those above. The reference is tests/train/outer_reference.py.
"""

import json
import math
import random
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "tests" / "vectors" / "outer.json"
sys.path.insert(0, str(ROOT / "tests"))

from train import outer_reference as reference  # noqa: E402

LOW, HIGH = reference.INT32
ENDS = [LOW, LOW + 1, -65537, -32769, -32768, -32767, -1, 0, 1, 32767, 32768, 65536, HIGH - 1, HIGH]
CODECS = [("sparse-2bit", 64), ("sparse-2bit", 3), ("dense-int8", 64), ("dense-fixed", 64)]


def updates(rng: random.Random, codecs: list[tuple[str, int]]) -> list[dict]:
    cases = {
        "ends of int32": ENDS,
        "zeros": [0] * 300,
        "one value": [-5],
        "ties": [7, -7] * 40 + [7] * 21,
        "two chunks": [round(rng.gauss(0, 3e4)) for _ in range(4096 + 37)],
        "wide range": [round(rng.gauss(0, 1) * 2.0 ** rng.uniform(0, 29)) for _ in range(513)],
        "too small for a step": [1] + [0] * 255,
    }
    found = []
    for what, values in cases.items():
        for name, k in codecs:
            if name.startswith("dense") and len(values) > 4096:
                continue
            for max_step in (1 << 22, 1000) if len(values) < 300 else (1 << 22,):
                data = reference.encode(name, k, max_step, values)
                decoded = reference.decode(data)
                found.append(
                    {
                        "what": what,
                        "codec": {"name": name, "k": k, "max_step": max_step},
                        "values": values,
                        "file": data.hex(),
                        "decoded": decoded,
                        "norm": reference.norm(decoded),
                        "root": reference.update_root(data).hex(),
                    }
                )
    return found


def malformed() -> list[dict]:
    def sparse(what: str, code: int, indices: list[int], levels: list[int], n: int, **changes: int) -> dict:
        k = len(indices)
        bits = f"{code:016b}" + "".join(f"{i:012b}" for i in indices) + "".join(f"{v:02b}" for v in levels)
        bits += changes.get("padding", 0) * "1" + "0" * (-(len(bits) + changes.get("padding", 0)) % 8)
        body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        head = struct.pack(">4sBBHQ", b"PIUP", changes.get("version", 1), 1, k, changes.get("count", n))
        codec = {"name": "sparse-2bit", "k": k, "max_step": 1 << 22}
        return {"what": what, "codec": codec, "n": n, "file": (head + body).hex()}

    def dense(what: str, code: int, values: bytes) -> dict:
        head = struct.pack(">4sBBHQ", b"PIUP", 1, 2, 0, len(values))
        data = head + struct.pack(">H", code) + values
        codec = {"name": "dense-int8", "k": 64, "max_step": 1 << 22}
        return {"what": what, "codec": codec, "n": len(values), "file": data.hex()}

    step = reference.code_of(100)
    return [
        sparse("indices descend", step, [5, 4, 6], [2, 2, 2], 100),
        sparse("an index twice", step, [4, 4, 6], [2, 2, 2], 100),
        sparse("an index past the chunk", step, [4, 5, 100], [2, 2, 2], 100),
        sparse("padding bits set", step, [4, 5, 6], [2, 2, 2], 100, padding=1),
        sparse("step above the limit", reference.code_of(1 << 23), [4, 5, 6], [2, 2, 2], 100),
        sparse("step in the wrong form", 100 << 5 | 1, [4, 5, 6], [2, 2, 2], 100),
        sparse("zeros in another form", 0, [4, 5, 6], [2, 3, 2], 100),
        sparse("another version", step, [4, 5, 6], [2, 2, 2], 100, version=2),
        sparse("another count in the header", step, [4, 5, 6], [2, 2, 2], 100, count=101),
        dense("-128", step, b"\x80\x01"),
        dense("zeros in another form", 0, b"\x00\x01"),
        dense("step above the limit", reference.code_of(1 << 23), b"\x01\x01"),
    ]


def dct_malformed() -> list[dict]:
    def file(
        what: str,
        code: int,
        blocks: list[tuple[int, int]],
        k: int,
        n: int,
        padding: str = "0",
        max_step: int = 1 << 22,
    ) -> dict:
        """Blocks of (rank, signs)."""
        width = (math.comb(64, k) - 1).bit_length()
        bits = f"{code:016b}" + "".join(f"{rank:0{width}b}{signs:0{k}b}" for rank, signs in blocks)
        bits += padding * (-len(bits) % 8)
        body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        head = struct.pack(">4sBBHQ", b"PIUP", 1, 4, k, n)
        codec = {"name": "dct-topk", "k": k, "max_step": max_step}
        return {"what": what, "codec": codec, "n": n, "file": (head + body).hex()}

    step, sets = reference.code_of(100), math.comb(64, 4)
    return [
        file("the first number of no set", step, [(sets, 0)], 4, 64),
        file("the last number of no set", step, [(0, 0), ((1 << 20) - 1, 3)], 4, 100),
        file("padding bits set", step, [(7, 1)], 3, 10, padding="1"),
        file("zeros with a set", 0, [(1, 0)], 4, 64),
        file("zeros with a sign", 0, [(0, 0), (0, 1)], 4, 65),
        file("step in the wrong form", 100 << 5 | 1, [(0, 0)], 4, 64),
        file("step above the limit", reference.code_of(1 << 23), [(0, 0)], 4, 64),
        file("step above an eighth of int32", 1024 << 5 | 18, [(0, 0)], 4, 64, max_step=1 << 31),
        file("a transform too many", step, [(0, 0), (0, 0)], 4, 64),
        file("a transform too few", step, [(0, 0)], 4, 65),
    ]


def checkpoints(rng: random.Random) -> list[dict]:
    found = []
    for n in (1, 255, 256, 257, 1000):
        theta = [rng.randint(LOW, HIGH) for _ in range(n)]
        momentum = [rng.randint(*reference.MOMENTUM) for _ in range(n)]
        for m in (None, momentum):
            root = reference.checkpoint_root(theta, m).hex()
            found.append({"theta": theta, "momentum": m, "root": root})
    return found


def steps(rng: random.Random, sign: bool = False, trim: int = 0) -> list[dict]:
    n = len(ENDS) * 3
    theta = [rng.choice([LOW, HIGH, 0, rng.randint(LOW, HIGH)]) for _ in range(n)]
    ends = [rng.choice(ENDS) for _ in range(n)]
    normal = [[round(rng.gauss(0, 1e4)) for _ in range(n)] for _ in range(4)]
    momentum = [rng.choice([*reference.MOMENTUM, 0, rng.randint(*reference.MOMENTUM)]) for _ in range(n)]
    small = [rng.choice([-1, 0, 1]) for _ in range(n)]
    sets = {
        "one": [(normal[0], 1)],
        "two widths": [(normal[0], 1), (normal[1], 2)],
        "three, one far above the median": [(normal[0], 1), ([50 * v for v in normal[1]], 2), (normal[2], 4)],
        "ends of int32": [(ends, 3), (ends[::-1], 32764)],
        "median of zero": [([0] * n, 1), ([0] * n, 1), (normal[3], 1)],
        "all zero": [([0] * n, 5)],
        "halves": [(small, 1), ([-v for v in small[::-1]], 1), (small, 2)],
    }
    rules = [(98304, 0), (32768, 0), (1 << 24, 0), (45875, 58982), (1 << 24, 65535), (1, 65535)]
    found = []
    for what, pairs in sets.items():
        for lr, mu in [(1, None), (16777, None), (1 << 24, None)] if sign else rules:
            m = momentum if mu else None
            files = [(reference.encode("dense-fixed", 64, 1 << 22, values), width) for values, width in pairs]
            new_theta, new_momentum = reference.outer_step(theta, m, lr, mu, pairs, trim)
            found.append(
                {
                    "what": what,
                    "lr": lr,
                    "momentum_q16": mu,
                    **({"trim": trim} if trim else {}),
                    "theta": theta,
                    "momentum": m,
                    "updates": [{"file": data.hex(), "width": width} for data, width in files],
                    "new_theta": new_theta,
                    "new_momentum": new_momentum,
                    "new_root": reference.checkpoint_root(new_theta, new_momentum).hex(),
                }
            )
    return found


def feedback(rng: random.Random) -> list[dict]:
    found = []
    for beta in (0, 1, 32768, 62259, 65536, 1 << 24):
        old = ENDS + [rng.randint(LOW, HIGH) for _ in range(10)]
        delta = [rng.choice([0, LOW, HIGH, rng.randint(LOW, HIGH)]) for _ in old]
        total = reference.feedback_step(beta, old, delta)
        found.append({"beta": beta, "feedback": old, "delta": delta, "total": total})
    return found


def fixed(rng: random.Random) -> list[dict]:
    """fp32 bits to fixed point and back, by way of exact fractions."""
    bits = [0, 1 << 31, 1, 0x3F800000, 0xBF800000, 0x43000000, 0xC3000000, 0x42FFFFFF, 0x7F7FFFFF, 0x7F800000]
    bits += [0x33000000, 0x33800000, 0x33C00000, 0x34200000, 0xB3C00000]  # halves of 2^-24
    bits += [rng.getrandbits(32) for _ in range(40)]
    found = []
    for word in bits:
        (x,) = struct.unpack(">f", word.to_bytes(4))
        if x != x:
            continue
        scaled = x * 2.0**24  # exact: a power of two
        value = reference.clamp(round(scaled)) if abs(scaled) < 1e30 else (HIGH if x > 0 else LOW)
        back = struct.unpack(">I", struct.pack(">f", value / 2.0**24))[0]
        found.append({"fp32": word, "frac_bits": 24, "int32": value, "back": back})
    return found


def vectors() -> dict:
    rng = random.Random(2)
    cosines = [8192, *(round(65536 * math.sqrt(1 / 32) * math.cos(a * math.pi / 128)) for a in range(1, 256))]
    return {
        "updates": updates(rng, CODECS),
        "malformed": malformed(),
        "checkpoints": checkpoints(rng),
        "steps": steps(rng),
        "feedback": feedback(rng),
        "fixed": fixed(rng),
        "dct_cosines": "0x" + struct.pack(">256h", *cosines).hex(),
        "dct_updates": updates(random.Random(3), [("dct-topk", k) for k in (4, 64)]),
        "dct_malformed": dct_malformed(),
        "sign_steps": steps(random.Random(4), sign=True),
        "trimmed_steps": [
            *steps(random.Random(5), trim=2500)[::5],
            *steps(random.Random(6), trim=4999)[::7],
            *steps(random.Random(7), sign=True, trim=2000)[::4],
        ],
    }


def main() -> None:
    """Writes the file; with --check, exits 1 when it differs."""
    text = json.dumps(vectors(), separators=(",", ":")).replace("},{", "},\n{") + "\n"
    if "--check" in sys.argv:
        raise SystemExit(0 if OUT.read_text() == text else f"{OUT} is not what this script makes")
    OUT.write_text(text)


if __name__ == "__main__":
    main()
