"""Preparing a run: equal input gives equal hashes, the split leaks nothing, bad input gets a clear error."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pi_sdk.codec import canonical_json, run_spec_hash, sha256
from pi_sdk.errors import UsageError
from pi_sdk.types import CodecSpec, GptSpec, RunSpec
from pi_train.outer import Checkpoint
from pi_train.prepare import genesis, prepare
from pi_train.sources import documents
from train.tiny_run import MemoryStore

SMALL = GptSpec(layers=1, heads=2, width=16, context=64)


def texts(data: Path | None) -> list[bytes]:
    return [b"".join(document) for document in documents(data)]


def sides(data: Path) -> tuple[bytes, bytes]:
    """Training and validation bytes."""
    store = MemoryStore()
    spec = prepare(store=store, data=data, model=SMALL)
    train, validation = (
        b"".join(store[s.sha256] for s in side) for side in (spec.data.train, spec.data.validation)
    )
    return train, validation


def test_equal_input_gives_equal_hashes(text_folder: Path):
    stores = [MemoryStore(), MemoryStore()]
    specs = [prepare(store=store, data=text_folder, seed=3, model=SMALL) for store in stores]
    assert specs[0] == specs[1] and stores[0] == stores[1]
    other = prepare(store=MemoryStore(), data=text_folder, seed=4, model=SMALL)
    assert run_spec_hash(other) != run_spec_hash(specs[0]) and other.genesis_root != specs[0].genesis_root
    assert other.data == specs[0].data


def test_everything_is_in_the_store_under_its_hash(text_folder: Path):
    store = MemoryStore()
    spec = prepare(store=store, data=text_folder, model=SMALL)
    assert RunSpec.model_validate_json(store[run_spec_hash(spec).hex()]) == spec
    assert store[run_spec_hash(spec).hex()] == canonical_json(spec)
    for shard in (*spec.data.train, *spec.data.validation):
        assert len(store[shard.sha256]) == shard.bytes
    checkpoint = Checkpoint.from_bytes(store[spec.genesis_file], len(genesis(SMALL, 0).theta), False)
    assert checkpoint.root().hex() == spec.genesis_root
    assert np.array_equal(checkpoint.theta, genesis(SMALL, 0).theta)


def test_no_document_stands_on_both_sides(text_folder: Path):
    train, validation = sides(text_folder)
    assert len(train) + len(validation) == sum(map(len, texts(text_folder))) and validation
    assert all((text in train) != (text in validation) for text in texts(text_folder))
    again = next(text for text in texts(text_folder) if text in validation)
    (text_folder / "again.txt").write_bytes(again)
    assert [side.count(again) for side in sides(text_folder)] == [0, 2]


def test_one_long_text_holds_out_its_end(tmp_path: Path):
    (tmp_path / "book.txt").write_bytes(bytes(range(256)) * 40)
    train, validation = sides(tmp_path / "book.txt")
    assert train + validation == bytes(range(256)) * 40 and len(validation) == 512


def test_the_default_text_is_the_standard_library_without_tests():
    found = texts(None)
    assert len(found) > 300 and sum(map(len, found)) > 5_000_000
    assert Path(os.__file__).read_bytes() in found


def test_long_text_is_cut_into_shards(tmp_path: Path):
    (tmp_path / "long.txt").write_bytes(os.urandom(1 << 20) * 10)
    spec = prepare(store=MemoryStore(), data=tmp_path / "long.txt", model=SMALL)
    assert [shard.bytes for shard in spec.data.train][0] == 8 << 20 and len(spec.data.train) == 2


def test_jsonl_and_folders(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "id": 2}\n')
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("three")
    (tmp_path / ".hidden").write_text("no")
    assert texts(tmp_path) == [b"one", b"two", b"three"]
    assert texts(tmp_path / "a.jsonl") == [b"one", b"two"]


@pytest.mark.parametrize(
    "line",
    ['{"text": 3}', '{"txt": "x"}', "[1]", "nonsense", '"text"', "\xff", "[" * 100_000],
    ids=lambda x: x[:12],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line, encoding="latin-1")
    with pytest.raises(UsageError, match="line 2"):
        texts(tmp_path / "a.jsonl")


def test_bad_paths_and_too_little_text(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file"):
        texts(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no text"):
        sides(tmp_path)
    (tmp_path / "tiny.txt").write_text("tiny")
    with pytest.raises(UsageError, match="only"):
        prepare(store=MemoryStore(), data=tmp_path, model=SMALL)


def test_dense_codecs_get_nesterov(text_folder: Path):
    spec = prepare(store=MemoryStore(), data=text_folder, model=SMALL, codec=CodecSpec(name="dense-int8"))
    assert spec.outer.rule == "nesterov"


def test_command_line(text_folder: Path, tmp_path: Path):
    def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pi_train.prepare", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    out = program("--data", text_folder, "--out", tmp_path / "run")
    assert out.returncode == 0, out.stderr
    name = out.stdout.strip()
    assert sha256((tmp_path / "run" / name).read_bytes()).hex() == name
    out = program("--data", tmp_path / "nowhere", "--out", tmp_path / "other")
    assert out.returncode == 2 and out.stderr.count("\n") == 1 and "no such file" in out.stderr
    assert "Usage" in program("--help").stdout
