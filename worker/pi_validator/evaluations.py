"""Held-out loss of every checkpoint, measured beside the audits and only when none waits. It is no part of
the consensus.
"""

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field

from pi_sdk.eventlog import read_events

from .audit import EVALUATE, Bench
from .replay_process import ReplayFailed

log = logging.getLogger(__name__)


@dataclass
class Evaluations:
    """Writes the event `val_loss{round, loss, root}`: the loss of C_{round + 1} in nats per token; round -1
    is genesis.
    """

    bench: Bench
    measured: set[tuple[int, str]] = field(default_factory=set)
    pending: dict[int, bytes] = field(default_factory=dict)
    """Round -> checkpoint root."""
    running: dict[int, Future[dict]] = field(default_factory=dict)

    def __post_init__(self):
        past = read_events(self.bench.events.path.parent)
        self.measured = {(e["round"], e["root"]) for e in past if e["event"] == "val_loss"}

    def note(self, round_: int, root: bytes) -> None:
        if (round_, root.hex()) not in self.measured:
            self.pending[round_] = root

    def serve(self) -> None:
        """Starts and collects what it can, without waiting."""
        for round_, root in sorted(self.pending.items()):
            if round_ in self.running:
                if self.running[round_].done():
                    self._collect(round_, root)
            elif checkpoint := self.bench.checkpoints.ready(root):
                folder, file = checkpoint
                request = {"op": "evaluate", "folder": str(folder), "checkpoint": file, "root": root.hex()}
                self.running[round_] = self.bench.replay.submit(
                    request, priority=EVALUATE, deadline=round_, time_limit=self.bench.time_limit
                )

    def _collect(self, round_: int, root: bytes) -> None:
        del self.pending[round_]
        self.measured.add((round_, root.hex()))
        try:
            loss = self.running.pop(round_).result()["loss"]
        except ReplayFailed as error:
            log.warning("round %d: no held-out loss: %s", round_, error)
            return
        self.bench.events.write("val_loss", round=round_, loss=loss, root=root.hex())
        log.info("round %d: held-out loss %.4f", round_, loss)
