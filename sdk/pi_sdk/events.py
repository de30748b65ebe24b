"""`Client`: the chain's events, as a list or as a stream that can be resumed."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from .base import Calls
from .chain import CONTRACTS, event_topics
from .results import Event
from .rpc import RpcError

_CHUNK = 2000  # blocks per request; public endpoints refuse more than some thousands
_REMEMBERED = 64  # blocks whose hashes `watch` keeps, to find where a restarted node left the old chain


class EventCalls(Calls):
    _pool_of_case: dict[int, int]

    def events(
        self,
        from_block: int = 0,
        to_block: int | None = None,
        pool_id: int | None = None,
        names: Iterable[str] | None = None,
    ) -> list[Event]:
        """Events of our contracts in chain order, both blocks included (default: up to the latest).

        With `pool_id` only those that name this pool or one of its cases; stakes name no pool.
        """
        wanted = None if names is None else frozenset(names)
        to_block = self.rpc.integer("eth_blockNumber") if to_block is None else to_block
        start, chunk, found = max(from_block, self.deployment.block), _CHUNK, []
        while start <= to_block:
            end = min(start + chunk - 1, to_block)
            try:
                logs = self.rpc.call("eth_getLogs", self._filter(start, end, wanted))
            except RpcError:
                if chunk == 1:
                    raise
                chunk = max(chunk // 4, 1)  # too many results for this endpoint
                continue
            found += [event for log in logs if (event := self._as_event(log))]
            start = end + 1
        return [event for event in found if pool_id is None or self._pool_of(event) == pool_id]

    def nodes(self, pool_id: int) -> list[str]:
        """Every node that ever joined a pool, in the order of joining."""
        joined = self.events(pool_id=pool_id, names=["Joined"])
        return list(dict.fromkeys(event.args["node"] for event in joined))

    def watch(
        self, from_block: int = 0, pool_id: int | None = None, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yields events from `from_block` on, in chain order, for ever or until `stop` is set.

        To resume later, start again from the block of the last event. A node that was restarted may have lost
        its last blocks: the stream then goes on from where the old chain and the new one part, so events may
        come twice, never too few. Raises `ChainError` when the node stays away longer than the client's
        patience.
        """
        stop = stop or threading.Event()
        seen: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        following, reconnects = from_block, self.rpc.reconnects
        while not stop.is_set():
            head = self.rpc.call("eth_getBlockByNumber", "latest", False)
            number = int(head["number"], 16)
            if number < following - 1 or reconnects != self.rpc.reconnects:
                reconnects = self.rpc.reconnects
                following = min(following, self._fork(seen, from_block))
            if number >= following:
                for event in self.events(following, number, pool_id):
                    if stop.is_set():
                        return
                    yield event
                following = number + 1
                seen.append((number, head["hash"]))
            stop.wait(self.poll)

    def _filter(self, start: int, end: int, names: frozenset[str] | None) -> dict:
        addresses = [getattr(self.deployment, field) for field in CONTRACTS.values()]
        query: dict[str, Any] = {"address": addresses, "fromBlock": hex(start), "toBlock": hex(end)}
        return query if names is None else query | {"topics": [event_topics(names)]}

    def _pool_of(self, event: Event) -> int | None:
        args = event.args
        if "pool_id" in args or "case_id" not in args:
            return args.get("pool_id")
        if args["case_id"] not in self._pool_of_case:
            self._pool_of_case[args["case_id"]] = self._read("Court", "caseOf", args["case_id"])["pool_id"]
        return self._pool_of_case[args["case_id"]]

    def _fork(self, seen: deque[tuple[int, str]], from_block: int) -> int:
        """First block after the newest remembered one that is still part of the chain."""
        while seen:
            number, block_hash = seen[-1]
            block = self.rpc.call("eth_getBlockByNumber", hex(number), False)
            if block and block["hash"] == block_hash:
                return number + 1
            seen.pop()
        return from_block
