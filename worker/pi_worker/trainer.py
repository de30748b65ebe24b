"""What an agent asks of whoever trains a slot: one function from a job to a result."""

from collections.abc import Callable
from dataclasses import dataclass
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
    progress: Callable[..., None]
    """Called during training; raises to abandon it."""
    peers: Callable[[], list[UpdateFile]]
    """What other nodes revealed in the round before, newest last."""


Trainer = Callable[[SlotJob], "SlotResult"]


def trainer(cheat: str | None) -> Trainer:
    """The honest trainer, or one of `cheats.py`. torch is imported with the first slot: it is pinned by
    then.
    """

    def run(job: SlotJob) -> "SlotResult":
        if cheat is None:
            return train(job)
        from . import cheats

        kinds = {"half-steps": cheats.half_steps, "copy": cheats.copy, "wrong-shard": cheats.wrong_shard}
        return kinds[cheat](job)

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
        progress=job.progress,
    )
