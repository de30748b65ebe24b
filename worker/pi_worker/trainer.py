"""What an agent asks of whoever trains a slot: one function from a job to a result."""

import threading
import time
from collections.abc import Callable, Container
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pi_sdk.types import RunSpec
from pi_train.codecs import UpdateFile
from pi_train.data import Corpus
from pi_train.outer import Checkpoint

if TYPE_CHECKING:
    from pi_train.slot import SlotResult


@dataclass(frozen=True)
class SlotJob:
    """One node's slots of one round."""

    spec: RunSpec
    corpus: Corpus
    checkpoint: Checkpoint
    """C_r, as this node computed it."""
    node: str
    round: int
    width: int
    state: bytes | None
    """Private state of the last on-time reveal; None means zeros."""
    class_id: str
    borders: Path
    """An empty folder for the border states."""
    data_root: bytes
    """The root that the data follow from: C_r's, or the one before (`outer.delay`)."""
    progress: Callable[..., None]
    """Called during training; raises to abandon it."""
    peers: Callable[[], list[UpdateFile]]
    """What other nodes revealed in the round before, newest last; nothing while that is still going on."""


class Abandoned(Exception):
    """Training was broken off: the process is to stop, or the result is of no use any more."""


Trainer = Callable[[SlotJob], "SlotResult"]


PLANTED = "wrong-shard"
"""What is wrong with a planted slot: an update from other data does the model no harm."""


def trainer(cheat: str | None, planted: Container[int] = ()) -> Trainer:
    """The honest trainer, or one of `pi_sdk.cheats.CHEATS`; in `planted` rounds always a cheat. torch is
    imported with the first slot: it is pinned by then.
    """
    made: dict[str, Trainer] = {}  # one each for all rounds: some remember what they did

    def run(job: SlotJob) -> "SlotResult":
        name = PLANTED if job.round in planted else cheat
        if name is None:
            return train(job)
        if name not in made:
            from .cheats import cheater

            made[name] = cheater(name)
        return made[name](job)

    return run


def train(job: SlotJob) -> "SlotResult":
    """The slot as the RunSpec asks for it. torch must be pinned (`pi_train.determinism.pin`)."""
    from pi_train.slot import train_slot

    return train_slot(
        job.spec,
        job.corpus,
        job.checkpoint,
        node=job.node,
        round_=job.round,
        width=job.width,
        state=job.state,
        class_id=job.class_id,
        borders=job.borders,
        data_root=job.data_root,
        progress=job.progress,
    )


class TrainingAhead:
    """A slot that is trained in a thread while the round before it is still going on."""

    def __init__(
        self,
        trainer: Trainer,
        job: SlotJob,
        state_root: bytes,
        stop: threading.Event,
        wake: threading.Event,
    ):
        """`state_root` is the hash of the job's private state; `stop` breaks it off, `wake` is set when it
        has ended."""
        self.job = job
        self._state_root = state_root
        self._dropped = threading.Event()
        self._future: Future = Future()
        self._started = time.monotonic()

        def progress(*_: object) -> None:
            if stop.is_set() or self._dropped.is_set():
                raise Abandoned("asked to stop")

        def run() -> None:
            try:
                self._future.set_result(trainer(replace(job, progress=progress)))
            except BaseException as error:
                self._future.set_exception(error)
            wake.set()

        self._thread = threading.Thread(target=run, daemon=True, name=f"round-{job.round}")
        self._thread.start()

    def fits(self, round_: int, width: int, state_root: bytes, data_root: bytes) -> bool:
        """Whether this is what the round asks of the node."""
        job = self.job
        found = (job.round, job.width, self._state_root, job.data_root)
        return found == (round_, width, state_root, data_root)

    @property
    def done(self) -> bool:
        return self._future.done()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def result(self) -> "SlotResult":
        """What came out, or what training raised."""
        return self._future.result()

    def drop(self) -> None:
        """Breaks it off and waits until it has stopped."""
        self._dropped.set()
        self._thread.join()
