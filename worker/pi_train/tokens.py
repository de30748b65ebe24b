"""Tokenizers: a `tokenizer.json` of the `tokenizers` library, or none, and then bytes are the tokens."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pi_sdk.errors import MalformedArtifact, ToolMissing, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "[SEP]")
MAX_TOKENIZER = 64 << 20
"""Bytes."""


def tokenizer_file(path: Path) -> bytes:
    """The bytes of a tokenizer.json, or of the one in a folder. `UsageError`."""
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", "--tokenizer takes a tokenizer.json"
        ) from None
    try:
        load_tokenizer(data)
    except MalformedArtifact as error:
        raise UsageError(f"{file}: {error.message}") from None
    return data


def load_tokenizer(data: bytes) -> "Tokenizer":
    """`MalformedArtifact` for bytes that are no tokenizer, `ToolMissing` without the library."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ToolMissing("tokenizers is not installed", "pip install 'pi-protocol[hf]'") from None
    if len(data) > MAX_TOKENIZER:
        raise MalformedArtifact(f"a tokenizer of {len(data)} bytes is too large")
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as error:  # the library raises plain Exception
        raise MalformedArtifact(f"not a tokenizer.json: {error}") from None


def vocabulary(tokenizer: "Tokenizer") -> int:
    """One more than the highest id."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def end_of_text(tokenizer: "Tokenizer") -> str | None:
    """The token that ends a document, where the tokenizer has one under one of its usual names."""
    return next((end for end in _ENDS if tokenizer.token_to_id(end) is not None), None)


def byte_tokenizer() -> bytes:
    """A tokenizer.json whose ids are bytes, so that others can use a model that was trained on them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's printable names of the bytes
    moved = [b for b in range(256) if b not in kept]
    names = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(moved)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {names[b]: b for b in range(256)}, "merges": []},
    }
    return json.dumps(whole).encode()
