"""One time line of a run: the chain's events and the agents' own events, as JSON lines in the order in which
they were seen.

A record is `{"t": unix seconds, "source": "chain" | agent's name, "event": name, ...}`. Chain records have
the event's arguments in snake case beside `block` and `tx`; bytes are 0x hex. Everything that the table, the
summary and the report say is computed from such records, so a finished run can be looked at again from its
file.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .client import Client

Record = dict[str, Any]


@dataclass(frozen=True)
class Agent:
    """A worker or a validator of the run. `cheat` is what it was told to do wrong, or None."""

    name: str
    role: Literal["worker", "validator"]
    node: str
    operator: str
    home: Path
    cheat: str | None = None


def plain(value: Any) -> Any:
    """`value` with bytes as 0x hex and enums as their numbers, ready for JSON."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


class Tail:
    """Reads what was added to a JSON-lines file since the last look; a half-written last line waits."""

    def __init__(self, path: Path):
        self.path = path
        self._offset = 0

    def read(self) -> list[Record]:
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [json.loads(line) for line in data[:end].splitlines() if line.strip()]


class Recorder:
    """Collects records from `client`'s contracts and from agents' event files (name -> path) into `out`."""

    def __init__(self, client: "Client", sources: Mapping[str, Path], out: Path):
        self.client = client
        self.records: list[Record] = []
        self._tails = {name: Tail(path) for name, path in sources.items()}
        self._next_block = 0
        self._out = open(out, "w", encoding="utf-8")

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def poll(self) -> list[Record]:
        """The new records since the last call. Raises `ChainError` when the node cannot be reached."""
        fresh: list[Record] = []
        last = self.client.block_number()
        if last >= self._next_block:
            now = time.time()
            for event in self.client.events(from_block=self._next_block, to_block=last):
                # the arguments first: a field of an event must not hide where and when it happened
                record = {**plain(event.args), "t": now, "source": "chain", "event": event.name}
                fresh.append({**record, "block": event.block, "tx": event.tx})
            self._next_block = last + 1
        for name, tail in self._tails.items():
            fresh += [{**record, "source": name} for record in tail.read()]
        return self.add(*fresh)

    def add(self, *fresh: Record) -> list[Record]:
        """Writes records of any origin to the file and keeps them."""
        for record in fresh:
            self._out.write(json.dumps(record) + "\n")
        self._out.flush()
        self.records += fresh
        return list(fresh)


def of(records: Iterable[Record], *names: str, source: str | None = None) -> list[Record]:
    """The records with one of the event names, from one source where it is given."""
    return [r for r in records if r["event"] in names and (source is None or r["source"] == source)]
