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
from pi_train.codecs import UpdateFile, chunk_values, encode_update, max_update_bytes
from train import outer_reference as reference

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "outer.json").read_text())
NAMES = ["sparse-2bit", "dense-int8", "dense-fixed"]

int32 = st.integers(*reference.INT32)
codecs = st.builds(
    CodecSpec,
    name=st.sampled_from(NAMES),
    k=st.sampled_from([1, 2, 5, 64, 4096]),
    max_step=st.sampled_from([1, 1000, 1 << 22, 1 << 31]),
)
values = st.one_of(
    st.lists(int32, min_size=1, max_size=40),
    st.lists(st.sampled_from([0, 1, -1, 100, -100, *reference.INT32]), min_size=1, max_size=600),
)


def codec_of(case: dict) -> CodecSpec:
    return CodecSpec(**case["codec"])


@pytest.mark.parametrize("case", VECTORS["updates"], ids=lambda c: f"{c['what']}-{c['codec']['name']}")
def test_vectors(case: dict):
    data = encode_update(codec_of(case), np.array(case["values"], np.int32))
    assert data.hex() == case["file"]
    update = UpdateFile(codec_of(case), data, len(case["values"]))
    assert update.decode().tolist() == case["decoded"]
    assert (update.norm, update.root.hex()) == (case["norm"], case["root"])


@pytest.mark.parametrize("case", VECTORS["malformed"], ids=lambda c: c["what"])
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
    for name in NAMES:
        codec = CodecSpec(name=name)
        assert encode_update(codec, numbers) == reference.encode(name, 64, codec.max_step, numbers.tolist())


def test_the_default_codec_is_140_times_smaller_than_fp32():
    n = 828_544
    assert 4 * n / max_update_bytes(CodecSpec(), n) > 140


@pytest.mark.parametrize(("name", "bound"), [("dense-int8", 0.01), ("dense-fixed", 0)])
def test_dense_codecs_keep_the_update(name: str, bound: float):
    numbers = np.random.default_rng(2).normal(0, 1e5, 10_000).astype(np.int32)
    codec = CodecSpec(name=name)
    kept = UpdateFile(codec, encode_update(codec, numbers), len(numbers)).decode()
    assert np.linalg.norm((kept - numbers).astype(float)) <= bound * np.linalg.norm(numbers.astype(float))
