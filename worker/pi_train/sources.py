"""The text that a run trains on, read as a stream: text files, JSONL, Parquet, Hugging Face data sets on
disk; or tokens as they are, from `.bin` files.

A document is an iterable of blocks of bytes that can be read again and again; only one block is in memory.
Records (JSONL, Parquet, data sets) have their text in a field "text".
"""

import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pi_sdk.errors import ToolMissing, UsageError
from pydantic_core import from_json

Document = Iterable[bytes]
BLOCK = 1 << 20
_NOT_STDLIB = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}


def documents(data: Path | None) -> Iterator[Document]:
    """The documents of a file, or of all visible files of a folder in the order of their relative paths; None
    is the source of Python's standard library without its tests. Raises `UsageError`, also on the way."""
    if data is None:
        root = Path(sysconfig.get_paths()["stdlib"])
        paths = (p for p in root.rglob("*.py") if not _NOT_STDLIB.intersection(p.relative_to(root).parts))
        return (_File(path) for path in sorted(paths, key=lambda p: p.relative_to(root).as_posix()))
    if (data / "dataset_dict.json").exists():  # the other splits are for the creator's own tests
        data = data / "train"
    if (data / "state.json").exists():
        return _data_set(data)
    return (document for path in files(data) for document in _documents(path))


def files(data: Path) -> list[Path]:
    """A file itself, or the visible files of a folder in the order of their relative paths. `UsageError`."""
    if data.is_dir():
        found = [p for p in data.rglob("*") if p.is_file() and not _hidden(p, data)]
        return sorted(found, key=lambda p: p.relative_to(data).as_posix())
    if data.is_file():
        return [data]
    raise UsageError(f"no such file or folder: {data}")


def holds_tokens(data: Path | None) -> bool:
    """Whether the data are `.bin` files of token ids, and nothing else."""
    return data is not None and bool(found := files(data)) and all(p.suffix == ".bin" for p in found)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _documents(path: Path) -> Iterable[Document]:
    if path.suffix == ".jsonl":
        return _jsonl(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix == ".arrow":
        return _arrow(path)
    return [_File(path)]


@dataclass(frozen=True)
class _File:
    """A text file. Its blocks end at line ends where they can, for tokenizers."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for block in blocks(self.path):
            block = rest + block
            cut = block.rfind(b"\n") + 1 or len(block)
            yield block[:cut]
            rest = block[cut:]
        if rest:
            yield rest


def blocks(path: Path) -> Iterator[bytes]:
    """A file's bytes. `UsageError` where it cannot be read."""
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _jsonl(path: Path) -> Iterator[Document]:
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield (_text(path, number, line),)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _text(path: Path, number: int, line: bytes) -> bytes:
    try:
        # Not the json module: libraries raise Python's recursion limit so far that deep nesting kills it.
        return from_json(line)["text"].encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f'{path}, line {number}: not a JSON object with a string "text"') from None


def _parquet(path: Path) -> Iterator[Document]:
    pyarrow = _pyarrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_column(path, file.schema_arrow)
            for batch in file.iter_batches(batch_size=1024, columns=["text"]):
                yield from _column(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None


def _data_set(folder: Path) -> Iterator[Document]:
    """The records of a data set that `datasets` has saved to disk: files of Arrow's streaming format, listed
    in state.json."""
    try:
        state = from_json((folder / "state.json").read_bytes())
        names = [str(file["filename"]) for file in state["_data_files"]]
        if state.get("_indices_files") or state.get("_indices_data_files"):
            raise UsageError(f"{folder} holds a selection of a data set", "save it after flatten_indices()")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{folder} is not a data set that save_to_disk wrote") from None
    for name in names:
        yield from _arrow(folder / name)


def _arrow(path: Path) -> Iterator[Document]:
    pyarrow = _pyarrow()
    try:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
            _check_column(path, stream.schema)
            for batch in stream:
                yield from _column(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Arrow: {_first_line(error)}") from None


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError:
        raise ToolMissing("pyarrow is not installed", "pip install 'pi-protocol[hf]'") from None
    return pyarrow


def _check_column(path: Path, schema: Any) -> None:
    kinds = {str(field.type) for field in schema if field.name == "text"}
    if len(kinds) != 1 or not kinds <= {"string", "large_string", "string_view"}:
        raise UsageError(
            f'{path} has no column "text" of strings', f"its columns are {', '.join(schema.names)}"
        )


def _column(batch: Any) -> Iterator[Document]:
    for text in batch.column("text"):
        yield ((text.as_py() or "").encode(),)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
