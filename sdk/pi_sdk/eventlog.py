"""The structured log of an agent: one JSON object per line, appended to `<home>/events.jsonl`."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self


class EventLog:
    """Appends `{"t": unix seconds, "event": name, ...}` lines; each is with the system before `write`
    returns."""

    def __init__(self, home: Path):
        home.mkdir(parents=True, exist_ok=True)
        self.path = home / "events.jsonl"
        self._lock = threading.Lock()
        self._file = self.path.open("ab")
        if _ends_torn(self.path):
            self._file.write(b"\n")

    def write(self, event: str, **fields: Any) -> None:
        """Bytes are written as bare hex, everything else as JSON has it."""
        line = json.dumps({"t": round(time.time(), 3), "event": event, **fields}, default=_plain)
        with self._lock:
            self._file.write(line.encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(home: Path) -> Iterator[dict[str, Any]]:
    """The events of a home so far; a line that a crash cut off is skipped. Empty when there is no log."""
    path = home / "events.jsonl"
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} in an event")


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"
