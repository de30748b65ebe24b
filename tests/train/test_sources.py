"""Data of every format becomes the same documents, split and cut the same way; bad data is one clear line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pi_sdk.errors import UsageError
from pi_sdk.types import DataSpec, Shard
from pi_train import shards
from pi_train.data import DTYPES
from pi_train.evaluate import generate
from pi_train.shards import write_shards
from pi_train.sources import BLOCK, documents
from pyarrow import parquet
from tokenizers import Tokenizer
from train.models import bpe
from train.tiny_run import MemoryStore, TinyRun

TEXTS = [f"row {i}: the quick brown fox jumps {'very ' * (i % 7)}high\n" for i in range(400)]


def write(folder: Path, kind: str) -> Path:
    """The same records in one of the formats."""
    table = pa.table({"text": TEXTS, "id": list(range(len(TEXTS)))})
    path = folder / f"data.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    elif kind == "parquet":
        parquet.write_table(table, path, row_group_size=90)
    else:
        path.mkdir()
        inside = path / "train" if kind == "splits" else path
        inside.mkdir(exist_ok=True)
        if kind == "splits":
            (path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        for name, part in (("data-1.arrow", table[:250]), ("data-0.arrow", table[250:])):
            with pa.OSFile(str(inside / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
                out.write_table(part, max_chunksize=60)
        state = {"_data_files": [{"filename": "data-1.arrow"}, {"filename": "data-0.arrow"}]}
        (inside / "state.json").write_text(json.dumps(state))
    return path


def read(spec: DataSpec, store: MemoryStore) -> tuple[np.ndarray, np.ndarray]:
    def side(parts: tuple[Shard, ...]) -> np.ndarray:
        return np.frombuffer(b"".join(store[part.sha256] for part in parts), DTYPES[spec.dtype])

    return side(spec.train), side(spec.validation)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "splits"])
def test_records_of_every_format_are_the_same_documents(tmp_path: Path, kind: str):
    path = write(tmp_path, kind)
    assert [b"".join(document).decode() for document in documents(path)] == TEXTS
    stores = MemoryStore(), MemoryStore()
    spec, vocab = write_shards(path, None, "uint16", stores[0], window=65)
    same, _ = write_shards(write(tmp_path, "jsonl"), None, "uint16", stores[1], window=65)
    assert spec == same and (spec.dtype, vocab) == ("uint8", 256)
    train, validation = (side.tobytes().decode() for side in read(spec, stores[0]))
    assert len(train) + len(validation) == sum(map(len, TEXTS))
    assert all((text in train) != (text in validation) for text in TEXTS)


@pytest.mark.parametrize("vocab", [301, 70_000])
def test_tokenized_text_decodes_to_the_same_split(tmp_path: Path, vocab: int):
    made = json.loads(bpe())
    made["model"]["vocab"]["zebra"] = vocab - 1  # one far id makes the shards wider
    (tmp_path / "tokenizer.json").write_text(json.dumps(made))
    store, plain = MemoryStore(), MemoryStore()
    spec, size = write_shards(write(tmp_path, "jsonl"), tmp_path, "uint8", store, window=65)
    assert (spec.dtype, size) == ("uint16" if vocab == 301 else "uint32", vocab)
    text, _ = write_shards(tmp_path / "data.jsonl", None, "uint8", plain, window=65)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    end = tokenizer.token_to_id("<|endoftext|>")
    for ids, expected in zip(read(spec, store), read(text, plain), strict=True):
        assert tokenizer.decode(ids.tolist()).encode() == expected.tobytes()
        assert (ids == end).sum() == expected.tobytes().count(b"\n") and ids[-1] == end


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_token_files(tmp_path: Path, dtype: str):
    ids = np.arange(4000) % 250
    ids[7] = 255 if dtype == "uint8" else 65535 if dtype == "uint16" else 99_999
    (tmp_path / "train.bin").write_bytes(ids.astype(DTYPES[dtype]).tobytes())
    store = MemoryStore()
    spec, vocab = write_shards(tmp_path / "train.bin", None, dtype, store, window=65)
    assert (spec.dtype, vocab) == (dtype, ids[7] + 1)
    train, validation = read(spec, store)
    assert np.array_equal(train, ids[:3800]) and np.array_equal(validation, ids[3800:])

    (tmp_path / "val_0.bin").write_bytes(ids[:100].astype(DTYPES[dtype]).tobytes())
    train, validation = read(write_shards(tmp_path, None, dtype, store, window=65)[0], store)
    assert np.array_equal(train, ids) and np.array_equal(validation, ids[:100])


def test_token_files_are_trained_on(tmp_path: Path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    ids = (np.arange(6000) * 7 % 500).astype("<u2")
    (folder / "all.bin").write_bytes(ids.tobytes())
    run = TinyRun(tmp_path / "run", model=None, data=folder)
    assert run.spec.model.vocab == 500 and run.corpus.train.dtype == np.dtype("<u2")
    report = run.honest.audit()
    assert report.outcome == 1 and report.bitwise
    numbers = generate(run.spec, run.checkpoint, b"", 5, seed=1).decode().split()
    assert len(numbers) == 5 and all(int(number) < 500 for number in numbers)


def test_a_long_text_is_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Larger than a block and than a shard; whole lines, also for a tokenizer; its end is held out."""
    monkeypatch.setattr(shards, "_SHARD", 1 << 19)
    text = "".join(f"line number {i}, {'x' * (i % 50)}\n" for i in range(45_000))
    (tmp_path / "long.txt").write_text(text)
    (document,) = documents(tmp_path / "long.txt")
    blocks = list(document)
    assert len(blocks) >= 2 and all(block.endswith(b"\n") and len(block) <= 2 * BLOCK for block in blocks)
    store = MemoryStore()
    spec, _ = write_shards(tmp_path / "long.txt", None, "uint8", store, window=65)
    train, validation = (side.tobytes().decode() for side in read(spec, store))
    assert train + validation == text and len(validation) == len(text) // 20
    assert {shard.bytes for shard in spec.train[:-1]} == {1 << 19} and len(spec.train) > 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"txt": 1}', "line 2"),
        ("a.parquet", b"PAR1 nonsense PAR1", "cannot be read as Parquet"),
        ("no_text.parquet", pa.table({"body": ["x"]}), 'no column "text"'),
        ("a.arrow", b"nonsense", "cannot be read as Arrow"),
        ("numbers.parquet", pa.table({"text": [1]}), 'no column "text" of strings'),
        ("odd.bin", b"123", "middle of a uint16"),
        ("short.bin", bytes(40), "only 19 tokens of training"),
        ("empty.bin", b"", "only 0 tokens"),
        ("empty.txt", b"", "no text"),
        ("small.txt", b"small", "only 5 bytes of training"),
    ],
)
def test_bad_data_is_one_line(tmp_path: Path, name: str, content: bytes | pa.Table, words: str):
    path = tmp_path / name
    if isinstance(content, pa.Table):
        parquet.write_table(content, path)
    else:
        path.write_bytes(content)
    store = MemoryStore()
    with pytest.raises(UsageError, match=words) as error:
        write_shards(path, None, "uint16", store, window=65)
    assert "\n" not in str(error.value) and not store


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("nonsense", "not a data set"),
        ("[]", "not a data set"),
        ('{"_data_files": [{"filename": "lost.arrow"}]}', "cannot be read as Arrow"),
        ('{"_data_files": [{"filename": "state.json"}]}', "cannot be read as Arrow"),
        ('{"_data_files": [], "_indices_data_files": [{}]}', "flatten_indices"),
    ],
)
def test_a_bad_data_set_is_one_line(tmp_path: Path, state: str, words: str):
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(UsageError, match=words) as error:
        list(documents(tmp_path))
    assert "\n" not in str(error.value)


def test_a_bad_tokenizer_is_one_line(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    data = write(tmp_path, "jsonl")
    for path, words in ((tmp_path, "not a tokenizer.json"), (tmp_path / "none", "cannot read")):
        with pytest.raises(UsageError, match=words) as error:
            write_shards(data, path, "uint16", MemoryStore(), window=65)
        assert "\n" not in str(error.value)
    (tmp_path / "tokenizer.json").write_text(bpe())
    (tmp_path / "ids.bin").write_bytes(np.full(4000, 777, "<u2").tobytes())
    with pytest.raises(UsageError, match="has token 777, the tokenizer ends at"):
        write_shards(tmp_path / "ids.bin", tmp_path, "uint16", MemoryStore(), window=65)
