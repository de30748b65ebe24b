"""From documents to token shards: tokenized where there is a tokenizer, split into training and validation,
written as they fill. Numpy only; the whole corpus is never in memory."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from pi_sdk.errors import UsageError
from pi_sdk.types import DataSpec, Shard

from .data import DTYPES
from .sources import blocks, documents, files, holds_tokens
from .tokens import end_of_text, load_tokenizer, tokenizer_file, vocabulary

_SHARD = 8 << 20
_VALIDATION_BYTE = 13
"""A document is held out when the first byte of its sha256 is below this: about 5 % of them."""


class Store(Protocol):
    def put(self, data: bytes, /) -> str: ...


class _Writer:
    """Shards of one side, in order."""

    def __init__(self, store: Store):
        self.store, self.rest, self.shards, self.written = store, bytearray(), [], 0

    def add(self, data: bytes) -> None:
        self.rest += data
        self.written += len(data)
        while len(self.rest) >= _SHARD:
            self._put(bytes(self.rest[:_SHARD]))
            del self.rest[:_SHARD]

    def finish(self) -> tuple[Shard, ...]:
        if self.rest:
            self._put(bytes(self.rest))
            self.rest.clear()
        return tuple(self.shards)

    def _put(self, data: bytes) -> None:
        self.shards.append(Shard(sha256=self.store.put(data), bytes=len(data)))


def write_shards(
    data: Path | None, tokenizer: Path | None, token_dtype: str, store: Store, *, window: int
) -> tuple[DataSpec, int]:
    """The shards of `documents(data)`, or of `.bin` files with little-endian ids of `token_dtype`, and the
    size of the vocabulary that a model needs for them.

    Each side must hold a `window` of tokens. Raises `UsageError`.
    """
    made = tokenizer_file(tokenizer) if tokenizer else None
    size = vocabulary(load_tokenizer(made)) if made else None
    sides = _Writer(store), _Writer(store)
    if data is not None and holds_tokens(data):
        dtype = token_dtype
        highest = _copy_tokens(files(data), dtype, sides)
        if size is not None and highest >= size:
            raise UsageError(f"{data} has token {highest}, the tokenizer ends at {size - 1}")
        size = size or max(highest + 1, 2)
    else:
        size = size or 256
        dtype = "uint8" if made is None else "uint16" if size <= 1 << 16 else "uint32"
        _write_text(data, _encoder(made, dtype), sides, least=window if made is None else 0)
    for side, part in zip(sides, ("training", "validation"), strict=True):
        _check_enough(
            side.written // np.dtype(dtype).itemsize, part, window, "bytes" if dtype == "uint8" else "tokens"
        )
    train, validation = (side.finish() for side in sides)
    shard = Shard(sha256=store.put(made), bytes=len(made)) if made else None
    return DataSpec(train=train, validation=validation, dtype=dtype, tokenizer=shard), size  # pyright: ignore[reportArgumentType]


def _check_enough(count: int, part: str, window: int, unit: str) -> None:
    if count < window:
        raise UsageError(
            f"only {count} {unit} of {part} text",
            f"give more text: training and validation each need more than {window - 1} {unit}",
        )


def _encoder(tokenizer: bytes | None, dtype: str) -> tuple[Callable[[bytes], bytes], bytes]:
    """(text to the bytes of its ids, what ends a document)."""
    if tokenizer is None:
        return (lambda text: text), b""
    loaded = load_tokenizer(tokenizer)
    loaded.no_truncation()
    loaded.no_padding()

    def encode(text: bytes) -> bytes:
        ids = loaded.encode(text.decode("utf-8", errors="replace"), add_special_tokens=False).ids
        return np.array(ids, DTYPES[dtype]).tobytes()

    end = end_of_text(loaded)
    return encode, np.array([loaded.token_to_id(end)], DTYPES[dtype]).tobytes() if end else b""


def _write_text(
    data: Path | None,
    encoder: tuple[Callable[[bytes], bytes], bytes],
    sides: tuple[_Writer, _Writer],
    *,
    least: int,
) -> None:
    """Each document goes to one side by its own hash, so that equal documents never stand on both. Where
    documents are too few for that, the last twentieth of the text is held out. Sides with fewer than `least`
    bytes are refused before anything is written."""
    encode, end = encoder
    held_out, sizes = bytearray(), [0, 0]
    for document in documents(data):
        digest, size = hashlib.sha256(), 0
        for block in document:
            digest.update(block)
            size += len(block)
        held_out.append(digest.digest()[0] < _VALIDATION_BYTE)
        sizes[held_out[-1]] += size
    whole = sum(sizes)
    if not whole:
        raise UsageError(f"no text in {data}")
    by_hash = min(sizes) >= whole // 100
    cut = whole - whole // 20
    if not by_hash:
        sizes = [cut, whole - cut]
    for size, part in zip(sizes, ("training", "validation"), strict=True):
        _check_enough(size, part, least, "bytes")

    at = 0
    for document, out in zip(documents(data), held_out, strict=True):
        last = None
        for block in document:
            before = max(cut - at, 0)
            pieces = [(out, block)] if by_hash else [(False, block[:before]), (True, block[before:])]
            at += len(block)
            for side, piece in pieces:
                if piece:
                    last = sides[side]
                    last.add(encode(piece))
        if last:
            last.add(end)


def _copy_tokens(paths: list[Path], dtype: str, sides: tuple[_Writer, _Writer]) -> int:
    """Copies `.bin` files: those whose names begin with "val" are held out, and where there are none, the
    last twentieth of all tokens. Returns the highest id."""
    width = np.dtype(dtype).itemsize
    for path in paths:
        if path.stat().st_size % width:
            raise UsageError(
                f"{path} ends in the middle of a {dtype}", "--token-dtype says how ids are written"
            )
    named = [path.name.startswith("val") for path in paths]
    tokens = sum(path.stat().st_size for path in paths) // width
    cut = width * (tokens - tokens // 20)
    highest, at = 0, 0
    for path, out in zip(paths, named, strict=True):
        for block in blocks(path):
            highest = max(highest, int(np.frombuffer(block, DTYPES[dtype]).max()))
            if any(named):
                sides[out].add(block)
            else:
                before = max(cut - at, 0)
                sides[0].add(block[:before])
                sides[1].add(block[before:])
            at += len(block)
    return highest
