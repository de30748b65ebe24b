"""Codecs: shared vectors, agreement with the plain reference, and whatever strangers send."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec
from pi_train import dct
from pi_train.codecs import UpdateFile, chunk_values, encode_update, max_update_bytes
from train import outer_reference as reference

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "outer.json").read_text())
NAMES = ["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"]

int32 = st.integers(*reference.INT32)
max_steps = st.sampled_from([1, 1000, 1 << 22, 1 << 31])
codecs = st.one_of(
    st.builds(
        CodecSpec,
        name=st.sampled_from(NAMES[:3]),
        k=st.sampled_from([1, 2, 5, 64, 4096]),
        max_step=max_steps,
    ),
    st.builds(CodecSpec, name=st.just("dct-topk"), k=st.integers(1, 64), max_step=max_steps),
)
values = st.one_of(
    st.lists(int32, min_size=1, max_size=40),
    st.lists(st.sampled_from([0, 1, -1, 100, -100, *reference.INT32]), min_size=1, max_size=600),
)


def codec_of(case: dict) -> CodecSpec:
    return CodecSpec(**case["codec"])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "case", VECTORS["updates"] + VECTORS["dct_updates"], ids=lambda c: f"{c['what']}-{c['codec']['name']}"
)
def test_vectors(case: dict):
    data = encode_update(codec_of(case), np.array(case["values"], np.int32))
    assert data.hex() == case["file"]
    update = UpdateFile(codec_of(case), data, len(case["values"]))
    assert update.decode().tolist() == case["decoded"]
    assert (update.norm, update.root.hex()) == (case["norm"], case["root"])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("case", VECTORS["malformed"] + VECTORS["dct_malformed"], ids=lambda c: c["what"])
def test_malformed_vectors(case: dict):
    with pytest.raises(MalformedArtifact):
        UpdateFile(codec_of(case), bytes.fromhex(case["file"]), case["n"])


def test_the_vectors_are_what_the_reference_computes():
    subprocess.run([sys.executable, ROOT / "tools" / "make_outer_vectors.py", "--check"], check=True)


@settings(max_examples=200, deadline=None)
@given(codecs, values)
def test_encoder_and_decoder_agree_with_the_reference(codec: CodecSpec, numbers: list[int]):
    data = encode_update(codec, np.array(numbers, np.int32))
    assert data == reference.encode(codec.name, codec.k, codec.max_step, numbers)
    assert len(data) == max_update_bytes(codec, len(numbers))
    update = UpdateFile(codec, data, len(numbers))
    decoded = reference.decode(data)
    assert update.decode().tolist() == decoded
    assert update.norm == math.isqrt(sum(v * v for v in decoded))
    assert update.root == reference.update_root(data)


@pytest.mark.usefixtures("path")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_file_is_refused_or_is_another_well_formed_update(data: st.DataObject):
    codec, numbers = data.draw(codecs), data.draw(values)
    file = bytearray(encode_update(codec, np.array(numbers, np.int32)))
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * len(file) - 1))
        file[bit // 8] ^= 1 << bit % 8
    try:
        update = UpdateFile(codec, bytes(file), len(numbers))
    except MalformedArtifact:
        return
    assert update.decode().tolist() == reference.decode(bytes(file))
    assert update.root == reference.update_root(bytes(file))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_lengths_are_refused(name: str):
    codec, numbers = CodecSpec(name=name), np.arange(5000, dtype=np.int32)
    data = encode_update(codec, numbers)
    for bad in (b"", data[:10], data[:-1], data + b"\0"):
        with pytest.raises(MalformedArtifact):
            UpdateFile(codec, bad, 5000)
    for n in (0, 4999, 5001, 10**12):
        with pytest.raises(MalformedArtifact):
            UpdateFile(codec, data, n)


def test_a_file_of_another_codec_is_refused():
    data = encode_update(CodecSpec(k=64), np.arange(4096, dtype=np.int32))
    with pytest.raises(MalformedArtifact):
        UpdateFile(CodecSpec(k=63), data, 4096)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", NAMES)
def test_ranges_are_parts_of_the_whole(name: str):
    rng = np.random.default_rng(0)
    codec, n = CodecSpec(name=name), 3 * 4096 + 777
    update = UpdateFile(codec, encode_update(codec, rng.normal(0, 1e5, n).astype(np.int32)), n)
    whole, size = update.decode(), chunk_values(codec)
    edges = [*range(0, n, size), n]
    for start, stop in zip(edges, edges[1:], strict=False):
        assert np.array_equal(update.decode(start, stop), whole[start:stop])
    assert np.array_equal(update.decode(size, n), whole[size:])


def test_files_longer_than_a_block_of_the_encoder():
    rng = np.random.default_rng(1)
    numbers = rng.normal(0, 1e4, 70 * 4096 + 5).astype(np.int32)
    for name in NAMES[:3]:
        codec = CodecSpec(name=name)
        assert encode_update(codec, numbers) == reference.encode(name, 64, codec.max_step, numbers.tolist())
    codec, block = CodecSpec(name="dct-topk", k=4), 64 * 4096  # its reference would take a minute
    whole, part = encode_update(codec, numbers), encode_update(codec, numbers[block:])
    assert whole[16:] == encode_update(codec, numbers[:block])[16:] + part[16:]
    decoded = UpdateFile(codec, whole, len(numbers)).decode()
    assert np.array_equal(decoded[block:], UpdateFile(codec, part, len(numbers) - block).decode())


def test_the_default_codec_is_140_times_smaller_than_fp32():
    n = 828_544
    assert 4 * n / max_update_bytes(CodecSpec(), n) > 140


def test_dct_topk_at_four_of_64_is_80_times_smaller_than_fp32():
    n = 828_544
    numbers = np.random.default_rng(4).normal(0, 1e4, n).astype(np.int32)
    assert 4 * n / len(encode_update(CodecSpec(name="dct-topk", k=4), numbers)) > 80


def test_the_transform_is_the_frozen_one():
    assert np.array_equal(dct.BASIS, reference.COSINE)
    assert dct.cosines().astype(">i2").tobytes() == bytes.fromhex(VECTORS["dct_cosines"][2:])
    assert abs(dct.BASIS @ dct.BASIS.T / 2.0**32 - np.eye(64)).max() < 1e-4  # orthonormal
    assert abs(dct.BASIS).sum(0).max() < 8 << 16  # so that values of the largest step fit in int32


@given(st.integers(1, 64), st.data())
def test_every_number_is_one_set_of_coefficients(k: int, data: st.DataObject):
    number = data.draw(st.integers(0, dct.sets(k) - 1))
    members = dct.unrank(np.array([number]), k)
    assert (np.diff(members) > 0).all() and 0 <= members.min() and members.max() < 64
    assert dct.rank(members).tolist() == [number]


def test_the_transform_is_exact_up_to_the_ends_of_int32():
    draw = np.random.default_rng(5)
    values = np.concatenate([draw.choice(reference.INT32, (50, 64)), np.full((1, 64), reference.INT32[0])])
    for row, found in zip(values.tolist(), dct.forward(values).tolist(), strict=True):
        assert found == [sum(c * v for c, v in zip(basis, row, strict=True)) for basis in reference.COSINE]


def test_dct_topk_keeps_what_k_cosines_make():
    """A sum of four cosines of one magnitude comes back but for the rounding of its step."""
    x = np.arange(1024)
    sent = ((1, 1), (9, -1), (30, 1), (63, 1))
    wave = sum(sign * np.cos((2 * (x % 64) + 1) * u * np.pi / 128) for u, sign in sent)
    numbers = np.rint(1e5 * wave).astype(np.int32)
    codec = CodecSpec(name="dct-topk", k=4)
    kept = UpdateFile(codec, encode_update(codec, numbers), 1024).decode()
    assert np.linalg.norm((kept - numbers).astype(float)) < 2e-3 * np.linalg.norm(numbers.astype(float))


@pytest.mark.parametrize(("name", "bound"), [("dense-int8", 0.01), ("dense-fixed", 0)])
def test_dense_codecs_keep_the_update(name: str, bound: float):
    numbers = np.random.default_rng(2).normal(0, 1e5, 10_000).astype(np.int32)
    codec = CodecSpec(name=name)
    kept = UpdateFile(codec, encode_update(codec, numbers), len(numbers)).decode()
    assert np.linalg.norm((kept - numbers).astype(float)) <= bound * np.linalg.norm(numbers.astype(float))
