"""Serves the evidence of audited slots while training goes on: a thread with its own read-only chain client.

A worker that cannot show its evidence is judged as if it had cheated, so this also looks, until a round is
final, whether the store still has what was uploaded.
"""

import logging
import threading
import time
from collections.abc import Callable

from pi_sdk.client import Client
from pi_sdk.codec import ZERO, Trace, audit_segments, sha256
from pi_sdk.errors import ChainError, MalformedArtifact, StoreError
from pi_sdk.eventlog import EventLog
from pi_sdk.store import HttpStore, Kind
from pi_sdk.types import CaseStatus, RunSpec

from .journal import Entry, Journal

log = logging.getLogger(__name__)

POLL = 0.5
RECHECK = 10.0
"""Seconds between two looks at the store for a round that was served already."""


class EvidenceServer(threading.Thread):
    """Watches the rounds given to `add` until they are final.

    `connect` makes the thread's own client (it is entered here). An error that is no outage of the node or
    the store ends the thread and is raised by `check` in the agent.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        store: HttpStore,
        spec: RunSpec,
        journal: Journal,
        events: EventLog,
        *,
        pool_id: int,
        node: str,
    ):
        super().__init__(name="evidence", daemon=True)
        self.connect = connect
        self.store = store
        self.spec = spec
        self.journal = journal
        self.events = events
        self.pool_id = pool_id
        self.node = node
        self._rounds: dict[int, Entry] = {}
        self._served: dict[int, float] = {}
        self.plants: dict[int, Callable[[], None]] = {}
        """What to do once the slot of a planted round is accused."""
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._failure: Exception | None = None

    def add(self, entry: Entry) -> None:
        """Watches a round that this node revealed in time."""
        with self._lock:
            self._rounds.setdefault(entry.round, entry)

    def pending(self) -> list[int]:
        """Watched rounds that are not final."""
        with self._lock:
            return sorted(self._rounds)

    def unserved(self) -> list[int]:
        """Watched rounds whose audit is not drawn yet, or whose evidence is not uploaded yet."""
        with self._lock:
            return sorted(self._rounds.keys() - self._served.keys())

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._halt.set()
        self.join(5)  # an upload that hangs must not keep the process

    def run(self) -> None:
        wait = POLL
        while not self._halt.is_set():
            try:
                with self.connect() as client:
                    while not self._halt.wait(POLL):
                        self._serve_all(client)
                        wait = POLL
            except (ChainError, StoreError, OSError) as error:
                log.warning("evidence: %s; trying again", error)
                wait = min(wait * 2, 5.0)
                self._halt.wait(wait)
            except Exception as error:
                self._failure = error
                return

    def _serve_all(self, client: Client) -> None:
        for round_ in self.pending():
            entry = self._rounds[round_]
            if round_ in self.plants and client.case_about(self.pool_id, round_, self.node):
                self.plants[round_]()
                del self.plants[round_]
            if self._is_over(client, round_):
                self._forget(client, round_)
            elif round_ not in self._served or time.monotonic() > self._served[round_] + RECHECK:
                self._serve(client, entry)

    def _is_over(self, client: Client, round_: int) -> bool:
        """Final, and no jury is at work on this slot or can be called once more."""
        if not client.is_final(self.pool_id, round_):
            return False
        case_id = client.case_about(self.pool_id, round_, self.node)
        return case_id == 0 or client.case(case_id).status not in (CaseStatus.OPEN, CaseStatus.DECIDED)

    def _forget(self, client: Client, round_: int) -> None:
        with self._lock:
            del self._rounds[round_]
            self._served.pop(round_, None)
            keep = {bytes.fromhex(h) for e in self._rounds.values() for h in (e.state_in, e.state)}
        member = client.member(self.pool_id, self.node)
        if member is not None:
            keep.add(member.state_out)
        self.journal.prune(round_, keep)

    def _serve(self, client: Client, entry: Entry) -> None:
        seed = client.verdict_round(self.pool_id, entry.round).seed
        if entry.round not in self._served:
            self.journal.make_borders_durable(entry.round)
            if seed == ZERO:
                return
        self._offer(entry.update, entry.round, "artifact", lambda: self.journal.update(entry))
        if client.is_audited(self.pool_id, entry.round, self.node):
            blobs = self._evidence(entry, seed)
            sent = sum(self._offer(name, entry.round, "evidence", load) for name, load in blobs)
            if sent:
                self.events.write("evidence", round=entry.round, bytes=sent)
                log.info("round %d: served %.1f MB of evidence", entry.round, sent / 1e6)
        with self._lock:
            self._served[entry.round] = time.monotonic()

    def _evidence(self, entry: Entry, seed: bytes) -> list[tuple[str, Callable[[], bytes | None]]]:
        """(sha256, loader) of every blob that the seed asks for: trace, state before, borders of the drawn
        segments.

        Border 0 is left out: auditors rebuild it from the checkpoint and the state.
        """
        spec, data = self.spec, self.journal.trace(entry)
        shape = {"steps": spec.inner.steps, "segments": spec.segments, "per_step": spec.proofs_per_step}
        try:
            trace = Trace.decode(data, **shape)
        except MalformedArtifact:  # a cheat's own
            return [(entry.trace, lambda: data)]
        drawn = audit_segments(seed, self.node, spec.segments, spec.audit.segments)
        borders = {spec.segments} | {j for segment in drawn for j in (segment, segment + 1)} - {0}
        blobs: list[tuple[str, Callable[[], bytes | None]]] = [(entry.trace, lambda: data)]
        if entry.state_in != ZERO.hex():
            blobs.append((entry.state_in, lambda: self.journal.state(bytes.fromhex(entry.state_in))))
        for j in sorted(borders):
            blobs.append((trace.borders[j].hex(), lambda j=j: self.journal.border(entry.round, j)))
        return blobs

    def _offer(self, name: str, round_: int, kind: Kind, load: Callable[[], bytes | None]) -> int:
        """Uploads a blob unless the store has it; returns the bytes sent. A blob that is lost here is left
        out.
        """
        if self.store.has(name):
            return 0
        try:
            data = load()
        except FileNotFoundError:
            data = None
        if data is None or sha256(data).hex() != name:
            log.error("round %d: evidence %s… is lost on this machine; an audit will fail", round_, name[:12])
            return 0
        self.store.put(data, kind=kind, round=round_)
        return len(data)
