"""Audits: the queue before the replay process, and what is known about one slot from the first fetch to the
report.

A slot is audited once. What was found is kept, so that a jury vote about the same slot costs no second
replay: the digest of a report binds the validator, the seed and the outcome, which are the same for its
verdict and its vote.
"""

import logging
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any

from pi_sdk.codec import sha256
from pi_sdk.eventlog import EventLog
from pi_sdk.store import Store
from pi_sdk.types import DeterminismClass, Outcome, RunSpec

from .checkpoints import Checkpoints
from .evidence import Evidence, Slot
from .replay_process import ReplayConfig, ReplayFailed, ReplayProcess

log = logging.getLogger(__name__)

AUDIT, SCREEN, EVALUATE = 0, 1, 2
"""Priorities of the queue: nothing is screened or evaluated while an audit waits."""


class ReplayQueue(threading.Thread):
    """The thread that owns the replay process: requests in the order of (priority, deadline, order). A
    future that is cancelled before its turn costs nothing.

    `ready` is done once the process has started, with `SpecMismatch` or `ReplayFailed` where it cannot.
    """

    def __init__(self, config: ReplayConfig):
        super().__init__(name="replay", daemon=True)
        self.process = ReplayProcess(config)
        self.ready: Future[None] = Future()
        self._order = count()
        self._requests: queue.PriorityQueue[tuple] = queue.PriorityQueue()
        self._closed = False

    def submit(
        self, request: dict[str, Any], *, priority: int, deadline: int, order: bytes = b"", time_limit: float
    ) -> Future[dict]:
        """The future of the child's answer, or of `ReplayFailed`. `time_limit` in seconds, for each of two
        attempts.
        """
        future: Future[dict] = Future()
        self._requests.put((priority, deadline, order, next(self._order), request, time_limit, future))
        return future

    def run(self) -> None:
        try:
            self.process.start()
        except Exception as error:
            self.ready.set_exception(error)
            return
        self.ready.set_result(None)
        while not self._closed:
            *_, request, time_limit, future = self._requests.get()
            if request is None:
                break
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self.process.ask(request, time_limit))
            except Exception as error:
                future.set_exception(error)
        self.process.kill()

    def close(self) -> None:
        """Ends the process and the thread at once."""
        self._closed = True
        self._requests.put((-1, 0, b"", next(self._order), None, 0.0, None))
        self.process.close()
        if self.is_alive():
            self.join()


@dataclass(frozen=True)
class Report:
    """What the replay found; `pi_train.replay.AuditReport` in plain data."""

    outcome: Outcome
    reasons: tuple[str, ...]
    digest: bytes
    worst_error: float | None
    limit: float
    bitwise: bool
    seconds: float

    @classmethod
    def from_answer(cls, answer: dict) -> "Report":
        worst = answer["worst_error"]
        return cls(
            Outcome(answer["outcome"]),
            tuple(answer["reasons"]),
            bytes.fromhex(answer["digest"]),
            worst if worst is not None and isfinite(worst) else None,
            answer["limit"],
            answer["bitwise"],
            answer["seconds"],
        )


@dataclass(frozen=True)
class Bench:
    """Everything that audits of one pool share."""

    spec: RunSpec
    cls: DeterminismClass
    """This validator's determinism class."""
    node: str
    """This validator's node; digests are bound to it."""
    store: Store
    checkpoints: Checkpoints
    replay: ReplayQueue
    events: EventLog
    folder: Path
    """Evidence is kept in `folder/{round}/{node}`."""
    time_limit: float
    """Seconds for one attempt at a replay."""
    stop: threading.Event


class SlotAudit:
    """One audit under way. `advance` moves it on; it ends with a `report`, or with the reason why this
    validator abstains.
    """

    def __init__(self, bench: Bench, slot: Slot, seed: bytes):
        self.bench, self.slot, self.seed = bench, slot, seed
        self.report: Report | None = None
        self.abstained: str | None = None
        self.evidence = Evidence(
            bench.spec, slot, seed, bench.store, bench.folder / str(slot.round) / slot.node, bench.stop
        )
        self.evidence.start()
        self._future: Future[dict] | None = None

    @property
    def done(self) -> bool:
        return self.report is not None or self.abstained is not None

    @property
    def decided(self) -> bool:
        """Whether waiting longer could not change the report: anything but missing evidence or an own
        failure.
        """
        return self.report is not None and self.report.outcome != Outcome.WITHHELD

    def advance(self, *, give_up: bool, deadline: int) -> None:
        """Starts the replay when everything is here, or when `give_up` says that waiting is over; collects
        its result.

        When the store cannot even say that something is missing, waiting never turns into an accusation.
        """
        if self.done:
            return
        if self._future is not None:
            if self._future.done():
                self._collect(self._future)
            return
        worker_class = self.evidence.class_id
        admitted = {cls.id for cls in self.bench.spec.classes}
        if worker_class in admitted and self.bench.spec.limit(worker_class, self.bench.cls.id) is None:
            self._abstain(f"class {self.bench.cls.id} may not judge {worker_class}")
            return
        if not (self.evidence.complete.is_set() or (give_up and self.evidence.absent)):
            return
        checkpoint = self.bench.checkpoints.ready(self.slot.start_root)
        if checkpoint is None:
            return
        folder, file = checkpoint
        request = {
            "op": "audit",
            "folder": str(folder),
            "checkpoint": file,
            "root": self.slot.start_root.hex(),
            "data_root": (self.slot.data_root or self.slot.start_root).hex(),
            "evidence": str(self.evidence.folder),
            "node": self.slot.node,
            "round": self.slot.round,
            "reveal": [v.hex() if isinstance(v, bytes) else v for v in self.slot.reveal.to_abi()],
            "seed": self.seed.hex(),
            "update": self.slot.update_file,
            "validator": self.bench.node,
        }
        self._future = self.bench.replay.submit(
            request,
            priority=AUDIT,
            deadline=deadline,
            # Every validator has its own order, so that those who run out of time leave out different slots.
            order=sha256(self.bench.node.encode() + self.seed + self.slot.node.encode()),
            time_limit=self.bench.time_limit,
        )

    def cancel(self) -> None:
        """Ends an audit that came too late: its replay must not take the time of the next ones."""
        if not self.done:
            if self._future is not None:
                self._future.cancel()
            self._abstain("not finished in time")

    def _collect(self, future: Future[dict]) -> None:
        try:
            report = Report.from_answer(future.result())
        except ReplayFailed as error:
            self._abstain(str(error))
            return
        if report.outcome == Outcome.NONE:
            self._abstain("; ".join(report.reasons))
            return
        self.report = report
        self._event(
            report.outcome.name.lower(),
            report.seconds,
            worst_error=report.worst_error,
            bitwise=report.bitwise,
            reasons=list(report.reasons),
            detail="; ".join(report.reasons),
        )
        log.info(
            "round %d, %s: %s in %.1f s%s",
            self.slot.round,
            self.slot.node,
            report.outcome.name.lower(),
            report.seconds,
            f" ({'; '.join(report.reasons)})" if report.reasons else "",
        )

    def _abstain(self, reason: str) -> None:
        self.abstained = reason
        self._event("abstained", 0.0, worst_error=None, bitwise=False, reasons=[reason], detail=reason)
        log.warning("round %d, %s: no verdict: %s", self.slot.round, self.slot.node, reason)

    def _event(self, outcome: str, seconds: float, **fields: Any) -> None:
        self.bench.events.write(
            "audit", round=self.slot.round, node=self.slot.node, outcome=outcome, seconds=seconds, **fields
        )
