"""Gathers what an audit of one slot needs into one folder: the update, the trace, the private state, the
drawn borders.

All of it is content-addressed by hashes that the worker committed to, and of sizes known from the RunSpec, so
a blob is right, or it is not the blob. What matters is to tell "the store says that it is not there" (which,
late enough, is withholding) from "the store cannot be asked" (which says nothing about the worker).
"""

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pi_sdk.codec import ZERO, Trace, audit_segments
from pi_sdk.errors import BlobNotFound, BlobTooLarge, MalformedArtifact, PiError, UsageError
from pi_sdk.store import HttpStore, LocalStore, Store
from pi_sdk.types import Reveal, RunSpec
from pi_train.codecs import max_update_bytes
from pi_train.state import border_bytes, private_bytes

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
MAX_LOCATIONS = 4


@dataclass(frozen=True)
class Slot:
    """One on-time reveal, as its event tells it."""

    round: int
    node: str
    reveal: Reveal
    update_file: str
    """sha256 of the update file."""
    locations: str
    start_root: bytes
    """C_r, which the round started from on chain."""
    data_root: bytes | None = None
    """The root that its data follow from, where it is not `start_root` (`outer.delay`)."""


def announced_stores(locations: str) -> Sequence[HttpStore]:
    """The stores that a worker announced: the first few well-formed base URLs of its list."""
    stores = []
    for url in (part.strip() for part in locations[:2048].split(",")):
        if re.fullmatch(r"https?://[!-~]{1,256}", url) and len(stores) < MAX_LOCATIONS:
            with suppress(UsageError):  # it is none after all
                stores.append(HttpStore(url, tries=1, deadline=60))
    return stores


class Evidence(threading.Thread):
    """Polls the stores until everything about a slot is in `folder`, or `stop` is set.

    `complete` is set when nothing is missing any more, `absent` holds what the pool's own store does not have
    as of the last time that it could be asked, and `class_id` is the worker's determinism class as soon as
    its trace is here.
    """

    def __init__(
        self, spec: RunSpec, slot: Slot, seed: bytes, store: Store, folder: Path, stop: threading.Event
    ):
        super().__init__(daemon=True, name=f"evidence-{slot.round}-{slot.node[:8]}")
        self.spec, self.slot, self.seed, self.store, self.folder = spec, slot, seed, store, folder
        self.stop = stop
        self.complete = threading.Event()
        self.absent: frozenset[str] = frozenset()
        self.class_id: str | None = None
        self._local = LocalStore(folder)
        self._elsewhere = announced_stores(slot.locations)

    def run(self) -> None:
        while not self.stop.is_set():
            if all([self._obtain(sha256, size) for sha256, size in self._wanted()]):
                self.complete.set()
                return
            self.stop.wait(POLL_SECONDS)

    def _wanted(self) -> Iterator[tuple[str, int]]:
        """(sha256, size limit in bytes) of everything; what the trace names comes once the trace is here."""
        spec, reveal = self.spec, self.slot.reveal
        trace_bytes = Trace.size(spec.inner.steps, spec.segments, spec.proofs_per_step)
        yield self.slot.update_file, max_update_bytes(spec.codec, spec.update_values(self.slot.round))
        yield reveal.trace_root.hex(), trace_bytes
        if reveal.state_in != ZERO:
            yield reveal.state_in.hex(), private_bytes(spec)
        if not self._local.has(reveal.trace_root.hex()):
            return
        try:
            trace = Trace.decode(
                self._local.get(reveal.trace_root.hex(), trace_bytes),
                steps=spec.inner.steps,
                segments=spec.segments,
                per_step=spec.proofs_per_step,
            )
        except MalformedArtifact:
            return  # the audit will say so; there is nothing more to fetch
        self.class_id = trace.class_id
        drawn = audit_segments(self.seed, self.slot.node, spec.segments, spec.audit.segments)
        borders = {border for segment in drawn for border in (segment, segment + 1)} | {spec.segments}
        for border in sorted(borders - {0}):  # border 0 is rebuilt from C_r and the private state
            yield trace.borders[border].hex(), border_bytes(spec.model.parameters)

    def _obtain(self, sha256: str, size: int) -> bool:
        """Whether the blob is in the folder now."""
        if self._local.has(sha256):
            return True
        for store in [self.store, *self._elsewhere]:
            try:
                store.fetch(sha256, self._local.path_of(sha256), size)
                self.absent -= {sha256}
                return True
            except (BlobNotFound, BlobTooLarge):
                # A blob of another size than the RunSpec's is as good as none.
                if store is self.store:
                    self.absent |= {sha256}
            except PiError as error:  # unreachable, or an announced URL that is none
                log.debug("evidence of round %d, %s: %s", self.slot.round, self.slot.node, error)
                if store is self.store:
                    self.absent -= {sha256}
        return False
