"""Writes tests/vectors/fraud.json: proofs against wrong checkpoints and false norms, and their outcomes.

The file is frozen: this script exists to add cases, and a test fails when its output and the file differ.
Run: python tools/make_fraud_vectors.py [--check]

Arguments of `FraudProofs` are ABI-encoded (hex), as the forge test decodes them; the rest is what its stub
of the ledger answers. `steps` are disputed leaves, each with the leaf of the right checkpoint beside the
posted one, some with the progress after `split` reveals and after all; `norms` are disputed norms.
"""

import json
import math
import random
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from pi_sdk.codec import ZERO, accumulate, leaf_hash, merkle_sum_root, sha256
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train import fraud
from pi_train.codecs import chunk_values, encode_update
from pi_train.fraud import RevealedUpdate
from pi_train.outer import Checkpoint, outer_step

OUT = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "fraud.json"

RULE = "(uint8,uint16,uint32,uint8,uint32,uint32,uint64,uint16,uint8,uint16)"
LEAF = "(uint256,uint256,uint64,bytes,bytes32[],bytes32,bytes32[],uint128,address,bytes,bytes32[])"
CONTRIBUTION = "(address,bytes32,bytes32,uint128,uint16,bytes,uint128,bytes)"
PROGRESS = "(bytes32,uint32,uint32,uint32,uint32,uint32,bool,int64[256])"
NORM = "(uint256,uint256,uint256,bytes32,uint128,(bytes32,uint128,bytes32,uint128)[],bool[],bytes)"
POOL, ROUND = 7, 3

SGD = OuterSpec()
NESTEROV = OuterSpec(rule="nesterov", lr=45875, momentum=58982)
STEEP = OuterSpec(rule="nesterov", lr=1 << 24, momentum=65535)
SIGN = OuterSpec(rule="sign", lr=16777)
SPARSE, INT8, FIXED = (CodecSpec(name=name) for name in ("sparse-2bit", "dense-int8", "dense-fixed"))
DCT = CodecSpec(name="dct-topk", k=4)
DCT_STEEP = CodecSpec(name="dct-topk", k=4, max_step=1 << 31)
SIGN_STEEP = OuterSpec(rule="sign", lr=1 << 24)
MOMENTUM_MAX = (1 << 46) - 1


def hexed(types: str, value: object) -> str:
    return "0x" + encode([types], [value]).hex()


def rule_of(codec: CodecSpec, outer: OuterSpec, n: int) -> tuple:
    number = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3, "dct-topk": 4}[codec.name]
    rule = ("sgd", "nesterov", "sign").index(outer.rule)
    return (
        number,
        codec.kept,
        codec.max_step,
        rule,
        outer.lr,
        outer.momentum,
        n,
        outer.fragments,
        outer.guard,
        outer.trim,
    )


def revealed(codec: CodecSpec, values: np.ndarray, i: int, width: int, start_root: bytes) -> RevealedUpdate:
    """An honest reveal of the update of int32 values, by the node of `party(i)` in the forge tests."""
    file = encode_update(codec, values)
    root, total = merkle_sum_root(fraud.chunks(codec, file, len(values)))
    node = Account.from_key(keccak(encode(["string", "uint256"], ["node", i]))).address
    return RevealedUpdate(node, start_root, root, math.isqrt(total), width, file)


def facts(reveals: list[RevealedUpdate]) -> dict:
    accumulator = ZERO
    for r in reveals:
        accumulator = accumulate(accumulator, r.node, r.start_root, r.update_root, r.norm, r.width)
    return {"accumulator": "0x" + accumulator.hex(), "revealed": len(reveals)}


# --- wrong checkpoints --------------------------------------------------------------------------------------


def step(
    what: str,
    seed: int,
    codec: CodecSpec,
    outer: OuterSpec,
    n: int,
    updates: list[tuple[int, float]],
    *,
    excluded: tuple[int, ...] = (),
    strangers: tuple[int, ...] = (),
    at: int = 0,
    broken: bytes | None = None,
    ends: bool = False,
    split: int | None = None,
    guards: list[tuple[int, int, int, int]] | None = None,
    falling: bool = False,
) -> dict:
    """A checkpoint that differs from the right one at parameter `at`, after updates of (width, scale).

    `excluded` and `strangers` are the places of excluded reveals and of those that started elsewhere.
    `broken` is written over the end of the chunk of the first update that has parameter `at`. `ends`: values
    up to the ends of their types. A negative `at` counts `guards` from their end. `falling`: each update's
    first leaf is below that of the update before, under norms that are equal.
    """
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    spec = RunSpec.model_construct(codec=codec, outer=outer)
    theta = draw.integers(-(1 << 31) if ends else -(1 << 24), (1 << 31) if ends else 1 << 24, n)
    momentum = None
    if outer.rule == "nesterov":
        high = MOMENTUM_MAX if ends else 1 << 24
        momentum = draw.integers(-high, high, n, endpoint=True)
    before = Checkpoint(
        theta.astype(np.int32), momentum, None if guards is None else np.array(guards, np.uint64)
    )

    place = outer.fragment(n, ROUND)
    size = place.stop - place.start
    reveals = []
    for i, (width, scale) in enumerate(updates):
        values = draw.normal(0, 1, size) * scale
        if falling:
            values = np.zeros(size)
            values[:256] = scale * (len(updates) - i)
            values[256] = scale * math.sqrt(256 * (len(updates) ** 2 - (len(updates) - i) ** 2))
        values = values.clip(-(1 << 31), (1 << 31) - 1).astype(np.int32)
        root = rng.randbytes(32) if i in strangers else before.root()
        reveals.append(revealed(codec, values, i, width, root))
    left_out = [reveals[i].node for i in excluded]
    counting = fraud.counting(reveals, before.root(), left_out)
    files = [(fraud.UpdateFile(codec, r.file or b"", size), r.width) for r in counting]
    right = outer_step(spec, before, files, ROUND)
    if broken is not None:
        reveals[0] = break_update(codec, reveals[0], size, at - place.start, broken)
    posted = deepcopy(right)
    if at < 0:
        assert posted.guard is not None
        posted.guard[at] += 1
    else:
        array = posted.theta if posted.momentum is None or seed % 2 else posted.momentum
        array[at] += 1 if array[at] < 0 else -1

    found = fraud.find_fault(spec, ROUND, before, reveals, left_out, posted)
    assert found is not None and found.malformed == (reveals[0].node if broken else None)
    assert broken is not None or found.leaf == (at // 256 if at >= 0 else -(-n // 256))
    proof = fraud.outer_step_proof(spec, POOL, ROUND, before, reveals, left_out, posted, found)
    honest = fraud.outer_step_proof(spec, POOL, ROUND, before, reveals, left_out, right, found)
    parts = {}
    if split is not None:
        some, all_ = (
            fraud.progress_after(spec, before.root(), n, proof, stop) for stop in (split, len(reveals))
        )
        parts = {"split": split, "progress": hexed(PROGRESS, some), "whole": hexed(PROGRESS, all_)}
    return {
        "what": what,
        "rule": hexed(RULE, rule_of(codec, outer, n)),
        "start": "0x" + before.root().hex(),
        **facts(reveals),
        "posted": "0x" + posted.root().hex(),
        "leaf": hexed(LEAF, proof.leaf),
        "right": "0x" + right.root().hex(),
        "rightHash": "0x" + honest.leaf[5].hex(),
        "rightSiblings": hexed("bytes32[]", honest.leaf[6]),
        "reveals": hexed(CONTRIBUTION + "[]", proof.reveals),
        "excluded": hexed("address[]", proof.excluded),
        "malformed": broken is not None,
        **parts,
    }


def break_update(codec: CodecSpec, reveal: RevealedUpdate, n: int, at: int, end: bytes) -> RevealedUpdate:
    """The reveal with another end of one chunk, under a root that covers it."""
    file = bytearray(reveal.file or b"")
    chunks = list(fraud.chunks(codec, bytes(file), n))
    stop = 16 + sum(len(chunk) for chunk, _ in chunks[: at // chunk_values(codec) + 1])
    file[stop - len(end) : stop] = end
    root, total = merkle_sum_root(fraud.chunks(codec, bytes(file), n))
    return replace(reveal, file=bytes(file), update_root=root, norm=math.isqrt(total))


def in_parts(fragments: int) -> OuterSpec:
    return SGD.model_copy(update={"fragments": fragments})


HALVES = NESTEROV.model_copy(update={"fragments": 2})


GUARDED = SGD.model_copy(update={"guard": 4})
GUARDED_HALVES = HALVES.model_copy(update={"guard": 64})
TRIMMED = SGD.model_copy(update={"trim": 2500})
SGD_TENTH = SGD.model_copy(update={"trim": 1000})
TRIMMED_HALVES = HALVES.model_copy(update={"trim": 3333})
TRIMMED_SIGN = SIGN.model_copy(update={"trim": 4999})
QUARTET = (1e5, 2e5, 1.5e5, 1e7)
CALM, LOW = (10**7, 10**6, 20, 1), (1000, 10, 20, 1)


def steps() -> list[dict]:
    few = CodecSpec(k=3)
    many = CodecSpec(k=4096)
    few_dct = CodecSpec(name="dct-topk", k=3)
    equal = [(1, 1e5)] * 3
    uneven = [(1, 1e5), (4, 3e6), (31, 2e4), (2, 1e5), (3, 0.0)]
    sixteen = [(1 + i % 3, 1e5 + 1e4 * i) for i in range(16)]
    last = 3 * 4096 + 777
    return [
        step("one parameter", 1, SPARSE, SGD, 1, [(1, 1e5)]),
        step("one leaf, nobody's norm above the median", 2, SPARSE, SGD, 256, equal, at=255),
        step("one value more than a leaf", 3, INT8, SGD, 257, uneven, at=256),
        step("sparse, in the middle", 4, SPARSE, SGD, last, uneven, at=4096 + 700, split=2),
        step("sparse, short last chunk and leaf", 5, SPARSE, SGD, last, uneven, at=last - 1),
        step("sparse, chunk shorter than k", 6, SPARSE, SGD, 4096 + 40, equal, at=4096 + 39),
        step("sparse, three per chunk", 7, few, NESTEROV, 5000, uneven, at=4500),
        step("sparse, every value", 8, many, SGD, 300, uneven, at=299),
        step("int8, short last chunk", 9, INT8, SGD, 1000, uneven, at=999),
        step("int8 with momentum", 10, INT8, NESTEROV, 700, uneven, at=300, split=3),
        step("fixed", 11, FIXED, SGD, 600, uneven, at=599),
        step("fixed with momentum, short last leaf", 12, FIXED, NESTEROV, 513, uneven, at=512),
        step("fixed, up to the ends", 13, FIXED, STEEP, 256, [(3, 1e9), (31, 3e9)], at=9, ends=True),
        step("sgd, up to the ends", 14, FIXED, OuterSpec(lr=1 << 24), 256, [(1, 3e9)], at=7, ends=True),
        step("median of zero", 15, FIXED, SGD, 300, [(1, 0.0), (1, 0.0), (2, 1e5)], at=3),
        step("some excluded", 16, SPARSE, SGD, 5000, uneven, excluded=(1, 3), at=4000),
        step("the same, nobody excluded", 16, SPARSE, SGD, 5000, uneven, at=4000),
        step("other start roots", 17, SPARSE, NESTEROV, 5000, uneven, strangers=(0, 4), at=100),
        step(
            "excluded and strangers",
            18,
            INT8,
            SGD,
            500,
            uneven,
            excluded=(2, 4),
            strangers=(0,),
            at=1,
            split=4,
        ),
        step("everybody excluded", 19, SPARSE, NESTEROV, 700, equal, excluded=(0, 1, 2), at=650),
        step("only strangers", 20, FIXED, SGD, 300, equal, strangers=(0, 1, 2), at=299),
        step("nobody revealed", 21, SPARSE, SGD, 300, [], at=299),
        step("malformed: zeros behind it set", 22, few, SGD, 300, uneven, at=5, broken=b"\xff"),
        step("malformed: -128", 23, INT8, NESTEROV, 600, uneven, at=300, broken=b"\x80"),
        step("malformed: indices", 24, SPARSE, SGD, 9000, uneven, at=5000, broken=bytes(60), split=2),
        step("sixteen sparse updates of the reference model", 25, SPARSE, SGD, 828_544, sixteen, at=400_000),
        step("dct, the sign of the sum", 61, DCT, SIGN, 3000, uneven, at=1500, split=2),
        step("dct, short last transform", 62, DCT, SIGN, 1024 + 70, uneven, at=1024 + 69),
        step("dct, every coefficient", 63, CodecSpec(name="dct-topk", k=64), SGD, 300, equal, at=299),
        step(
            "dct with momentum, half of them",
            64,
            CodecSpec(name="dct-topk", k=32),
            NESTEROV,
            1000,
            uneven,
            at=999,
        ),
        step("dct, up to the largest step", 65, DCT_STEEP, SGD, 256, [(3, 1e9), (31, 3e9)], at=9, ends=True),
        step("sign of sparse sums", 66, SPARSE, SIGN, 5000, uneven, excluded=(1,), at=4000),
        step("sign, up to the ends", 67, FIXED, SIGN_STEEP, 256, [(1, 3e9)] * 3, at=8, ends=True),
        step("malformed: no set of coefficients", 68, DCT, SIGN, 2000, uneven, at=999, broken=b"\xff" * 3),
        step("malformed: bits behind the signs", 69, few_dct, SIGN, 1088, uneven, at=1087, broken=b"\x01"),
        step("sixteen dct updates", 70, DCT, SIGN, 100_000, sixteen, at=40_000),
        step("the last fragment of four, a short one", 81, SPARSE, in_parts(4), last, uneven, at=last - 1),
        step("outside the fragment", 82, SPARSE, in_parts(4), last, uneven, at=3 * 4096 - 1, split=2),
        step("outside, behind the fragment", 83, FIXED, in_parts(5), 5 * 4096, uneven, at=5 * 4096 - 9),
        step("the second of two, with momentum", 84, INT8, HALVES, 20_000, uneven, at=13_000, split=3),
        step("the first leaf of a fragment", 85, INT8, HALVES, 20_000, uneven, excluded=(0,), at=12_288),
        step("the leaf before a fragment", 86, DCT, in_parts(2), 9000, uneven, at=8191),
        step("a guard that lets pass", 90, SPARSE, GUARDED, 5000, equal, at=700, guards=[CALM]),
        step("a guard that skips", 91, SPARSE, GUARDED, 5000, equal, at=700, guards=[LOW], split=2),
        step("the guard's leaf", 92, INT8, GUARDED, 700, uneven, at=-1, guards=[CALM], split=2),
        step("the guard's leaf of a skipped round", 93, INT8, GUARDED, 700, uneven, at=-1, guards=[LOW]),
        step("a guard that gives in", 94, FIXED, GUARDED, 600, equal, at=9, guards=[(5, 1, 99, 2)]),
        step("a guard that is too young", 95, FIXED, GUARDED, 600, equal, at=9, guards=[(5, 1, 7, 0)]),
        step("a guard at its start", 96, FIXED, GUARDED, 513, equal, at=-1, guards=[(0, 0, 0, 0)]),
        step(
            "a guard, everybody excluded",
            97,
            FIXED,
            GUARDED,
            513,
            equal,
            at=-1,
            excluded=(0, 1, 2),
            guards=[LOW],
        ),
        step(
            "guards of two fragments", 98, INT8, GUARDED_HALVES, 20_000, uneven, at=13_000, guards=[LOW, CALM]
        ),
        step(
            "the guards' leaf, the other one",
            99,
            INT8,
            GUARDED_HALVES,
            20_000,
            uneven,
            at=-2,
            guards=[LOW, CALM],
        ),
        step("trimmed, one of four at each end", 101, FIXED, TRIMMED, 700, [(1, s) for s in QUARTET], at=300),
        step("trimmed, a width cut in two", 102, SPARSE, TRIMMED, 5000, uneven, excluded=(1,), at=4000),
        step("trimmed, too few to trim", 103, INT8, SGD_TENTH, 700, equal, at=1),
        step("trimmed, with momentum", 104, INT8, TRIMMED_HALVES, 20_000, uneven, strangers=(3,), at=13_000),
        step("trimmed, up to the ends", 105, FIXED, TRIMMED, 256, [(3, 1e9), (31, 3e9)], at=9, ends=True),
        step("trimmed, a median of zero", 106, FIXED, TRIMMED, 300, [(1, 0.0), (1, 0.0), (2, 1e5)], at=3),
        step("trimmed, the sign of the sum", 107, DCT, TRIMMED_SIGN, 3000, uneven, at=1500),
        step("trimmed, outside the fragment", 108, INT8, TRIMMED_HALVES, 20_000, uneven, at=2),
        step("trimmed, everybody excluded", 109, INT8, TRIMMED, 700, equal, at=2, excluded=(0, 1, 2)),
        step("trimmed, malformed", 110, INT8, TRIMMED, 600, uneven, at=300, broken=b"\x80"),
        step(
            "thirty-two updates in the worst order", 111, FIXED, TRIMMED, 512, [(1, 1e5)] * 32, falling=True
        ),
        step("malformed in a fragment", 87, INT8, HALVES, 20_000, uneven, at=13_000, broken=b"\x80"),
    ]


# --- false norms --------------------------------------------------------------------------------------------

Node = tuple[bytes, int]


def tree(nodes: list[Node], changes: dict[tuple[int, int], int]) -> list[list[Node]]:
    """Levels of a Merkle-sum tree over padded leaves; `changes` adds to the sums at (level, place)."""
    nodes = nodes + [(ZERO, 0)] * ((1 << (len(nodes) - 1).bit_length()) - len(nodes))
    levels = []
    while True:
        nodes = [(node, total + changes.get((len(levels), i), 0)) for i, (node, total) in enumerate(nodes)]
        levels.append(nodes)
        if len(nodes) == 1:
            return levels
        nodes = [
            (sha256(b"\x01" + a + x.to_bytes(16) + b + y.to_bytes(16)), x + y)
            for (a, x), (b, y) in zip(nodes[::2], nodes[1::2], strict=True)
        ]


def norm(
    what: str,
    seed: int,
    codec: CodecSpec,
    n: int,
    *,
    wrong: bool,
    chunk: int | None = None,
    depth: int | None = None,
    changes: dict[tuple[int, int], int] | None = None,
    more: int = 0,
    broken: bytes | None = None,
    values: list[int] | None = None,
    whole: int = 0,
    outer: OuterSpec = SGD,
) -> dict:
    """A proof against the second of three reveals, whose norm is `more` above the root of its tree's sum.

    The way goes `depth` nodes down (all: None) towards `chunk`, whose bytes it shows at the bottom; without a
    `chunk` there is no way. Where nothing is forged, it is the one that the builder finds. Updates have n
    values, where the model has `whole` parameters in the fragments of `outer`.
    """
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    start = rng.randbytes(32)
    made = [draw.normal(0, 1e5, n).astype(np.int32) for _ in range(3)]
    if values is not None:
        made[1] = np.array(values, np.int32)
    reveals = [revealed(codec, v, i, 1 + i, start) for i, v in enumerate(made)]
    if broken is not None:
        reveals[1] = break_update(codec, reveals[1], n, n - 1, broken)
    leaves = list(fraud.chunks(codec, reveals[1].file or b"", n))
    levels = tree([(leaf_hash(c), total) for c, total in leaves], changes or {})
    top, total = levels[-1][0]
    reveals[1] = replace(
        reveals[1], update_root=sha256(b"\x02" + top + total.to_bytes(16)), norm=math.isqrt(total) + more
    )

    path, go_left, shown = [], [], b""
    if chunk is not None:
        height = len(levels) - 1
        for level in range(height, height - (height if depth is None else depth), -1):
            place = (chunk >> level) * 2
            path.append((*levels[level - 1][place], *levels[level - 1][place + 1]))
            go_left.append(chunk >> (level - 1) & 1 == 0)
        if depth is None and chunk < len(leaves):
            shown = leaves[chunk][0]
    contributions = [(r.node, r.start_root, r.update_root, r.norm, r.width, b"", 0, b"") for r in reveals]
    built = fraud.norm_proof(codec, POOL, ROUND, reveals, 1, n)
    argument = (POOL, ROUND, 1, top, total, path, go_left, shown)
    if not changes:  # what the builder finds from the file alone
        assert (built is not None) == (more != 0 or broken is not None)
        argument = argument if built is None else built[0]
    return {
        "what": what,
        "rule": hexed(RULE, rule_of(codec, outer, whole or n)),
        **facts(reveals),
        "norm": hexed(NORM, argument),
        "reveals": hexed(CONTRIBUTION + "[]", contributions),
        "node": reveals[1].node,
        "wrong": wrong,
    }


def norms() -> list[dict]:
    few = CodecSpec(k=3)
    half: Any = {"whole": 8192 + 5000, "outer": in_parts(2)}  # round 3 moves the second
    long = 4 * 4096 + 300  # five chunks, so three levels and three places of padding
    return [
        norm("the root's own", 31, SPARSE, long, wrong=True, more=1),
        norm("the root's own, below", 32, INT8, 700, wrong=True, more=-1),
        norm("a true root", 33, SPARSE, long, wrong=False),
        norm("a true root of a square", 34, FIXED, 2, wrong=False, chunk=0, values=[3, 4]),
        norm("one below a square", 35, FIXED, 2, wrong=True, values=[3, 4], more=-1),
        norm("zero", 36, INT8, 300, wrong=False, values=[0] * 300),
        norm("a true way to a chunk", 37, SPARSE, long, wrong=False, chunk=2),
        norm("a true way to the short chunk", 38, SPARSE, long, wrong=False, chunk=4),
        norm("a true way to padding", 39, SPARSE, long, wrong=False, chunk=6),
        norm("a true way to an inner node", 40, SPARSE, long, wrong=False, chunk=2, depth=2),
        norm("true, every value kept", 41, CodecSpec(k=4096), 600, wrong=False, chunk=0),
        norm("true, one int8 chunk", 42, INT8, 100, wrong=False, chunk=0),
        norm("true, fixed at the ends", 43, FIXED, 256, wrong=False, chunk=0, values=[-(1 << 31)] * 256),
        norm("a chunk's sum", 44, SPARSE, long, wrong=True, chunk=1, changes={(0, 1): -10}),
        norm("the short chunk's sum", 45, few, long, wrong=True, chunk=4, changes={(0, 4): 1}),
        norm("an int8 chunk's sum", 46, INT8, 1000, wrong=True, chunk=3, changes={(0, 3): -1}),
        norm("a fixed chunk's sum", 47, FIXED, 600, wrong=True, chunk=2, changes={(0, 2): 5}),
        norm("the only chunk's sum", 48, INT8, 100, wrong=True, chunk=0, changes={(0, 0): 5}),
        norm("an inner sum", 49, SPARSE, long, wrong=True, chunk=2, depth=2, changes={(2, 0): -7}),
        norm("the top sum", 50, INT8, 1000, wrong=True, chunk=0, depth=1, changes={(2, 0): 9}),
        norm("padding with a sum", 51, SPARSE, long, wrong=True, chunk=5, changes={(0, 5): 1 << 40}),
        norm(
            "padding with a sum above the leaves",
            52,
            SPARSE,
            long,
            wrong=True,
            chunk=6,
            depth=2,
            changes={(1, 3): 1 << 50},
        ),
        norm("a malformed chunk", 53, SPARSE, long, wrong=True, broken=bytes(20)),
        norm("a malformed only chunk", 54, INT8, 100, wrong=True, broken=b"\x80"),
        norm("true, dct", 71, DCT, 4 * 1024 + 300, wrong=False, chunk=4),
        norm("a dct chunk's sum", 72, DCT, 4 * 1024 + 300, wrong=True, chunk=1, changes={(0, 1): -1}),
        norm("a malformed dct chunk", 73, DCT, 300, wrong=True, broken=b"\xff" * 3),
        norm(
            "a chunk's sum in a fragment", 88, SPARSE, 5000, wrong=True, chunk=1, changes={(0, 1): 3}, **half
        ),
        norm("a true way in a fragment", 89, SPARSE, 5000, wrong=False, chunk=1, **half),
    ]


def main() -> None:
    """Writes the file; with --check, exits 1 when it differs."""
    text = json.dumps({"steps": steps(), "norms": norms()}, indent=1) + "\n"
    if "--check" in sys.argv:
        raise SystemExit(0 if OUT.read_text() == text else f"{OUT} is not what this script makes")
    OUT.write_text(text)


if __name__ == "__main__":
    main()
