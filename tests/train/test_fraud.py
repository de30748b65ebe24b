"""Fraud proofs from files: they show what `pi_train.outer` computes, under the roots that it computes."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.codec import ZERO, accumulate, leaf_hash, merkle_sum_root, sha256
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train.codecs import UpdateFile, chunk_values, encode_update
from pi_train.fraud import (
    Fault,
    RevealedUpdate,
    chunks,
    find_fault,
    norm_proof,
    outer_step_proof,
    progress_after,
)
from pi_train.outer import Checkpoint, outer_step

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"]
POOL, ROUND = 4, 9


RULES = {
    "sgd": OuterSpec(),
    "nesterov": OuterSpec(rule="nesterov", lr=45875, momentum=58982),
    "sign": OuterSpec(rule="sign", lr=16777),
}


def make(name: str, rule: str, n: int, seed: int, count: int = 4):
    """A spec, a checkpoint and honest reveals of widths 1, 2, ...; the last one is far above the median."""
    spec = RunSpec.model_construct(codec=CodecSpec(name=name, k=16), outer=RULES[rule])
    draw = np.random.default_rng(seed)
    theta = draw.integers(-(1 << 24), 1 << 24, n).astype(np.int32)
    before = Checkpoint(theta, draw.integers(-9999, 9999, n) if rule == "nesterov" else None)
    reveals = []
    for i in range(count):
        values = draw.normal(0, 1e4 if i < count - 1 else 1e6, n).astype(np.int32)
        reveals.append(reveal(spec.codec, i, before.root(), encode_update(spec.codec, values), n))
    return spec, before, reveals


def reveal(codec: CodecSpec, i: int, start_root: bytes, file: bytes, n: int) -> RevealedUpdate:
    root, total = merkle_sum_root(chunks(codec, file, n))
    return RevealedUpdate(f"0x{0xA0 - i:040x}", start_root, root, math.isqrt(total), i + 1, file)


def step(spec: RunSpec, before: Checkpoint, reveals: list[RevealedUpdate]) -> Checkpoint:
    n = len(before.theta)
    return outer_step(spec, before, [(UpdateFile(spec.codec, r.file or b"", n), r.width) for r in reveals])


def changed(checkpoint: Checkpoint, at: int) -> Checkpoint:
    theta = checkpoint.theta.copy()
    theta[at] ^= 1
    return Checkpoint(theta, checkpoint.momentum)


def root_of(node: bytes, index: int, siblings: list[bytes]) -> bytes:
    for sibling in siblings:
        node = sha256(b"\x01" + (sibling + node if index & 1 else node + sibling))
        index >>= 1
    assert index == 0
    return node


def sum_root_of(node: bytes, total: int, index: int, siblings: bytes) -> bytes:
    for at in range(0, len(siblings), 48):
        beside = int.from_bytes(siblings[at + 32 : at + 48])
        mine = node + total.to_bytes(16)
        pair = siblings[at : at + 48] + mine if index & 1 else mine + siblings[at : at + 48]
        node, total, index = sha256(b"\x01" + pair), total + beside, index >> 1
    assert index == 0
    return sha256(b"\x02" + node + total.to_bytes(16))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_proof_shows_the_leaf_before_and_after(name: str, rule: str, data: st.DataObject):
    n = data.draw(st.sampled_from([1, 256, 257, 600, 4096, 5000]))
    at = data.draw(st.integers(0, n - 1))
    spec, before, reveals = make(name, rule, n, data.draw(st.integers(0, 99)))
    stranger = data.draw(st.sampled_from([None, 0, 2]))
    if stranger is not None:
        reveals[stranger] = replace(reveals[stranger], start_root=b"x" * 32)
    excluded = [reveals[i].node for i in data.draw(st.sets(st.sampled_from([1, 3]), max_size=2))]
    counted = [r for i, r in enumerate(reveals) if i != stranger and r.node not in excluded]
    right = step(spec, before, counted)
    posted = changed(right, at)

    assert find_fault(spec, ROUND, before, reveals, excluded, right) is None
    fault = find_fault(spec, ROUND, before, reveals, excluded, posted)
    assert fault == Fault(at // 256)
    proof = outer_step_proof(spec, POOL, ROUND, before, reveals, excluded, posted, fault)
    pool, round_, index, old, old_siblings, new_hash, new_siblings, median, malformed, *guard = proof.leaf
    assert (pool, round_, index, int(malformed, 16)) == (POOL, ROUND, at // 256, 0)
    assert guard == [b"", []]
    assert root_of(leaf_hash(old), index, old_siblings) == before.root()
    assert root_of(new_hash, index, new_siblings) == posted.root()
    assert [int(node, 16) for node in proof.excluded] == sorted(int(node, 16) for node in excluded)

    # The leaf alone is a checkpoint of one leaf: from it and the shown chunks follows the right leaf's hash.
    length = min(256, n - 256 * index)
    parts = []
    size = chunk_values(spec.codec)
    chunk, page = divmod(index, size // 256)
    for r, shown in zip(reveals, proof.reveals, strict=True):
        assert shown[:5] == (r.node, r.start_root, r.update_root, r.norm, r.width)
        encoded, squares, siblings = shown[5:]
        if r not in counted:
            assert (encoded, squares, siblings) == (b"", 0, b"")
            continue
        assert sum_root_of(leaf_hash(encoded), squares, chunk, siblings) == r.update_root
        values = UpdateFile(spec.codec, r.file or b"", n).decode()[256 * index : 256 * index + length]
        whole = min(size, n - size * chunk)
        header = encode_update(spec.codec, np.zeros(whole, np.int32))[:16]
        decoded = UpdateFile(spec.codec, header + encoded, whole).decode()
        assert np.array_equal(decoded[256 * page : 256 * page + length], values)
        parts.append((decoded, r.norm, r.width))
    if parts:
        norms = [norm for _, norm, _ in parts]
        assert median == sorted(norms)[(len(norms) - 1) // 2]

    # Progress: nothing at the start, and at the end the sums of all.
    assert progress_after(spec, before.root(), n, proof, 0)[:2] == (ZERO, 0)
    end = progress_after(spec, before.root(), n, proof, len(reveals))
    accumulator = ZERO
    for r in reveals:
        accumulator = accumulate(accumulator, r.node, r.start_root, r.update_root, r.norm, r.width)
    width = sum(r.width for r in counted)
    assert end[:3] == (accumulator, len(reveals), len(counted)) and end[5:7] == (width, False)
    below, up_to = end[3], end[4]
    assert not counted or below <= (len(counted) - 1) // 2 < up_to
    if rule == "sign":
        moved = spec.outer.lr * np.sign(end[7][:length])
        expected = before.theta[256 * index : 256 * index + length] - moved
        assert np.array_equal(right.theta[256 * index : 256 * index + length], expected)
    if rule == "sgd" and counted:
        mean = [math.floor(abs(s) / (width << 16) + 0.5) * (1 if s >= 0 else -1) for s in end[7][:length]]
        lr = spec.outer.lr
        moved = [(abs(lr * m) + 32768 >> 16) * (1 if m >= 0 else -1) for m in mean]
        expected = before.theta[256 * index : 256 * index + length] - np.array(moved)
        assert np.array_equal(right.theta[256 * index : 256 * index + length], expected)


@pytest.mark.parametrize(
    ("name", "end", "chunk", "leaf"),
    [("sparse-2bit", b"\0" * 26, 2, 32), ("dense-int8", b"\x80", 35, 35), ("dct-topk", b"\xff", 8, 32)],
)
def test_a_counted_malformed_update_is_the_fault(name: str, end: bytes, chunk: int, leaf: int):
    n = 9000
    spec, before, reveals = make(name, "sgd", n, 5)
    right = step(spec, before, reveals)
    broken = (reveals[1].file or b"")[: -len(end)] + end
    reveals[1] = reveal(spec.codec, 1, before.root(), broken, n)
    with pytest.raises(MalformedArtifact):
        UpdateFile(spec.codec, broken, n)
    reveals[2] = replace(reveals[2], file=None)  # the others' files are not needed
    fault = find_fault(spec, ROUND, before, reveals, [], right)
    assert fault is not None and fault.malformed == reveals[1].node
    assert fault.leaf == leaf
    proof = outer_step_proof(spec, POOL, ROUND, before, reveals, [], right, fault)
    assert [bool(shown[5]) for shown in proof.reveals] == [False, True, False, False]
    encoded, squares, siblings = proof.reveals[1][5:]
    assert sum_root_of(leaf_hash(encoded), squares, chunk, siblings) == reveals[1].update_root
    assert progress_after(spec, before.root(), n, proof, 2)[6]
    with pytest.raises(MalformedArtifact):  # excluded, it is no fault, but then a file is missing
        find_fault(spec, ROUND, before, reveals, [reveals[1].node], right)


def test_a_missing_or_foreign_file_cannot_be_shown():
    spec, before, reveals = make("dense-int8", "sgd", 300, 6)
    posted = changed(step(spec, before, reveals), 7)
    for file in (None, b"short", reveals[1].file):
        bad = [replace(reveals[0], file=file), *reveals[1:]]
        with pytest.raises(MalformedArtifact):
            outer_step_proof(spec, POOL, ROUND, before, bad, [], posted, Fault(0))


def test_a_header_is_not_under_the_root():
    """A wrong header is mended: a file that lies about it is still the update that its root names."""
    spec, before, reveals = make("dense-int8", "sgd", 300, 7)
    right = step(spec, before, reveals)
    bad = [replace(reveals[0], file=b"?" * 16 + (reveals[0].file or b"")[16:]), *reveals[1:]]
    assert find_fault(spec, ROUND, before, bad, [], right) is None


def test_revealed_norms_count_even_when_they_are_false():
    spec, before, reveals = make("dense-int8", "sgd", 300, 8)
    honest = step(spec, before, reveals)
    false = [*reveals[:3], replace(reveals[3], norm=1)]
    assert find_fault(spec, ROUND, before, false, [], honest) is not None


# --- norms --------------------------------------------------------------------------------------------------


def walk(norm: tuple) -> tuple[bytes, int, int]:
    """Hash, sum and index of the node at which a `Norm` ends; its nodes fit each other."""
    _, _, _, node, total, path, go_left, _ = norm
    index = 0
    for (left, a, right, b), goes_left in zip(path, go_left, strict=True):
        assert sha256(b"\x01" + left + a.to_bytes(16) + right + b.to_bytes(16)) == node
        assert a + b == total
        node, total = (left, a) if goes_left else (right, b)
        index = 2 * index + (not goes_left)
    return node, total, index


@pytest.mark.parametrize("name", NAMES)
def test_norms(name: str):
    n = 5 * 4096 + 100
    spec, _, reveals = make(name, "sgd", n, 9)
    codec, file = spec.codec, reveals[1].file or b""
    assert norm_proof(codec, POOL, ROUND, reveals, 1, n) is None

    lied = [reveals[0], replace(reveals[1], norm=reveals[1].norm - 1), *reveals[2:]]
    built = norm_proof(codec, POOL, ROUND, lied, 1, n)
    assert built is not None
    norm, replayed = built
    assert sha256(b"\x02" + norm[3] + norm[4].to_bytes(16)) == reveals[1].update_root
    assert norm[5:] == ([], [], b"") and math.isqrt(norm[4]) != lied[1].norm
    assert [shown[5:] for shown in replayed] == [(b"", 0, b"")] * 4

    # Another sum at one chunk, under a tree that carries it to the norm.
    leaves = list(chunks(codec, file, n))
    sums = [total for _, total in leaves]
    sums[3] //= 2
    root, total = merkle_sum_root((chunk, s) for (chunk, _), s in zip(leaves, sums, strict=True))
    forged = [reveals[0], replace(reveals[1], update_root=root, norm=math.isqrt(total)), *reveals[2:]]
    assert norm_proof(codec, POOL, ROUND, forged, 1, n) is None  # the file alone does not give this root
    built = norm_proof(codec, POOL, ROUND, forged, 1, n, sums)
    assert built is not None
    node, claimed, index = walk(built[0])
    assert (index, claimed, node) == (3, sums[3], leaf_hash(leaves[3][0]))
    assert built[0][7] == leaves[3][0]


def test_a_malformed_chunk_is_a_false_norm():
    n = 5 * 4096 + 100
    spec, before, reveals = make("sparse-2bit", "sgd", n, 10)
    file = (reveals[1].file or b"")[:-26] + b"\0" * 26
    reveals[1] = reveal(spec.codec, 1, before.root(), file, n)
    built = norm_proof(spec.codec, POOL, ROUND, reveals, 1, n)
    assert built is not None
    assert walk(built[0])[2] == 5 and built[0][7] == file[-len(built[0][7]) :]


def test_the_vectors_are_what_the_builder_makes():
    subprocess.run([sys.executable, ROOT / "tools" / "make_fraud_vectors.py", "--check"], check=True)
