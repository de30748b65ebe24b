"""Follows the chain: logs of our contracts become facts, in order, from the block where the database stops.

A block that was seen before is asked for again at each look; when it is gone (a reorganised tip, or a
devnet that came back from an older state) the watcher says so with `Rewound`, and the caller drops what
came after.
"""

from dataclasses import dataclass
from typing import Any

from pi_sdk import Client, PoolParams

from .db import Database
from .model import Fact, State

_SPAN = 2000  # blocks per query: public nodes bound it
_REMEMBER_EVERY = 64  # blocks without facts after which the cursor is stored anyway
_BY_POOL = (
    "Joined",
    "WidthChanged",
    "Left",
    "Convicted",
    "SeatTaken",
    "Watched",
    "PoolEnded",
    "RolledBack",
    "RoundOpened",
    "Committed",
    "CommitPhaseEnded",
    "Revealed",
    "RevealedLate",
    "RevealsSealed",
    "SeedCaptured",
    "SeedRepinned",
    "Excluded",
    "RoundClosed",
    "CloseOverruled",
    "CloseDisproved",
    "ClosePunished",
    "BondPosted",
    "BondReleased",
    "Missed",
    "CaseOpened",
)
_BY_CASE = ("VoteCommitted", "VoteRevealed", "CaseDecided", "CaseEscalated", "CaseResolved")


@dataclass(frozen=True)
class Head:
    """A block as far as its facts were read, and the chain's time there."""

    block: int
    hash: str
    time: int


@dataclass(frozen=True)
class Batch:
    """Facts up to `head`. `more` when the chain is further already; `remember` when the cursor is worth
    storing.
    """

    facts: list[Fact]
    head: Head
    more: bool
    remember: bool


@dataclass(frozen=True)
class Rewound:
    """Blocks above `block` are not the chain's any more."""

    block: int


class Watcher:
    """Reads the facts of the pools whose orchestrator is `address`."""

    def __init__(self, client: Client, db: Database, address: str):
        self._client, self._db, self._address = client, db, address
        cursor = next(iter(db.cursors()), (-1, ""))
        self._block, self._hash = cursor
        self._stored = self._block

    @property
    def block(self) -> int:
        """Last block that was read; -1 before the first."""
        return self._block

    def look(self, state: State) -> Batch | Rewound:
        """What came since the last look, at most `_SPAN` blocks of it. `state` knows the pools and cases so
        far.
        """
        latest = self._block_header("latest")
        if not self._still_there(self._block, self._hash, latest.block):
            return self._rewind(latest.block)
        upto = latest if latest.block <= self._block + _SPAN else self._block_header(self._block + _SPAN)
        facts = self._facts(state, self._block + 1, upto.block) if upto.block > self._block else []
        remember = bool(facts) or upto.block >= self._stored + _REMEMBER_EVERY
        return Batch(facts, upto, more=upto.block < latest.block, remember=remember)

    def advance(self, batch: Batch) -> None:
        """The caller has stored what the batch brought (and the cursor, if it was worth it)."""
        self._block, self._hash = batch.head.block, batch.head.hash
        if batch.remember:
            self._stored = self._block

    def _rewind(self, latest: int) -> Rewound:
        for block, hash_ in self._db.cursors():
            if self._still_there(block, hash_, latest):
                self._block, self._hash = block, hash_
                break
        else:
            self._block, self._hash = -1, ""
        self._stored = self._block
        return Rewound(self._block)

    def _still_there(self, block: int, hash_: str, latest: int) -> bool:
        return block < 0 or (block <= latest and self._block_header(block).hash == hash_)

    def _block_header(self, which: int | str) -> Head:
        block = self._client.rpc.call(
            "eth_getBlockByNumber", which if isinstance(which, str) else hex(which), False
        )
        if block is None:  # the node went back between two requests
            return Head(-1, "", 0)
        return Head(int(block["number"], 16), block["hash"], int(block["timestamp"], 16))

    def _facts(self, state: State, start: int, stop: int) -> list[Fact]:
        names = ("PoolCreated", *_BY_POOL, *_BY_CASE)
        pools, cases = set(state.pools), set(state.cases)
        facts, times = [], {}
        for event in self._client.events(start, stop, names=names):
            args = {name: jsonable(value) for name, value in event.args.items()}
            if event.name == "PoolCreated":
                params = self._our_params(args["pool_id"])
                if params is None:
                    continue
                args["params"] = params.model_dump()
                pools.add(args["pool_id"])
            elif args["case_id"] not in cases if event.name in _BY_CASE else args["pool_id"] not in pools:
                continue
            if event.name == "CaseOpened":
                cases.add(args["case_id"])
            if event.block not in times:
                times[event.block] = self._block_header(event.block).time
            facts.append(Fact(event.name, event.block, times[event.block], args))
        return facts

    def uploaders_since(self, pool_id: int) -> tuple[set[str], int]:
        """What the next look will bring, for an upload that cannot wait: further uploaders of a pool, and
        its number of rounds. The pool must exist and be ours, else (set(), 0)."""
        if not 0 < pool_id <= self._client.pool_count() or self._our_params(pool_id) is None:
            return set(), 0
        pool = self._client.pool(pool_id)
        fresh = self._client.events(self._block + 1, pool_id=pool_id, names=("Joined", "SeatTaken"))
        people = {address for event in fresh for address in (event.args["node"], event.args["operator"])}
        return people | {pool.creator, self._address}, pool.next_round

    def _our_params(self, pool_id: int) -> PoolParams | None:
        """The parameters of an existing pool, or None when it has another orchestrator."""
        params = self._client.pool_params(pool_id)
        return params if params.orchestrator == self._address else None


def jsonable(value: Any) -> Any:
    """An event's argument as JSON has it: bytes as 0x hex, enums as numbers, structs as dicts."""
    match value:
        case bytes():
            return "0x" + value.hex()
        case int() if not isinstance(value, bool):
            return int(value)
        case dict():
            return {name: jsonable(item) for name, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
    return value
