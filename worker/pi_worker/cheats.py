"""Three ways to be paid for work that was not done, for research: what a run does about them must be seen.

Each hands a complete, well-formed slot to the agent's ordinary loop: borders, digests, losses and activation
proofs that look right. Importing this module imports torch; see `trainer.py`.
"""

from dataclasses import replace
from typing import TypeVar

import torch
from pi_train.codecs import UpdateFile
from pi_train.data import Batch, Corpus, batches, windows_at
from pi_train.inner import InnerLoop, learning_rate
from pi_train.slot import SlotResult, SlotRun

from .trainer import SlotJob, train

Run = TypeVar("Run", bound=SlotRun)


class _Idle(SlotRun):
    """A slot whose steps after the first `honest` ones only pretend: the parameters stay, the counter moves.

    Loss and activation proofs of such a step are genuine ones of the parameters as they stand, from a forward
    pass over the few sequences that are proven: nothing in them shows that the step is missing.
    """

    honest = 0

    def step(self, batch: Batch) -> float:
        done = len(self.records)
        if done < self.honest:
            return super().step(batch)
        if done % self.spec.trace.segment == 0:
            self._write_border()
        assert isinstance(self.loop, InnerLoop), "only classes of one rank are cheated with"
        self.loop.step += 1
        sequences = max(1, self.spec.trace.proof_sequences)
        windows = torch.from_numpy(batch.tokens[:sequences].astype("int64")).to(self.loop.device)
        with torch.no_grad():
            loss, hidden = self.loop.model.loss(windows)
        self.record(batch, loss.item(), hidden.float().cpu().numpy())
        return loss.item()


class _WrongShard(SlotRun):
    """Trains on windows somewhere else in the data, and claims the assigned ones."""

    corpus: Corpus

    def step(self, batch: Batch) -> float:
        done = len(self.records)
        if done % self.spec.trace.segment == 0:
            self._write_border()
        windows = len(self.corpus.train) - self.spec.inner.sequence
        ids = [(i + windows // 2) % windows for i in batch.ids]
        tokens = windows_at(self.corpus.train, ids, self.spec.inner.sequence)
        lr = learning_rate(self.spec, self.round * self.spec.inner.steps + done)
        loss, hidden = self.loop.train_step(tokens, lr)
        self.record(batch, loss, hidden)
        return loss


def half_steps(job: SlotJob) -> SlotResult:
    """Trains the first half of the inner steps."""
    run = _start(job, _Idle)
    run.honest = job.spec.inner.steps // 2
    return _drive(job, run)


def copy(job: SlotJob) -> SlotResult:
    """Hands in what another node revealed in the round before. Honest as long as there is nothing to copy."""
    peers = job.peers() if job.round else []
    return _with_update(_drive(job, _start(job, _Idle)), peers[-1]) if peers else train(job)


def wrong_shard(job: SlotJob) -> SlotResult:
    """Does all the work, on data that it was not assigned."""
    run = _start(job, _WrongShard)
    run.corpus = job.corpus
    return _drive(job, run)


def _start(job: SlotJob, kind: type[Run]) -> Run:
    return kind(
        job.spec,
        job.checkpoint,
        round_=job.round,
        state=job.state,
        class_id=job.class_id,
        borders=job.borders,
        files=job.corpus.files,
    )


def _drive(job: SlotJob, run: SlotRun) -> SlotResult:
    root = job.data_root
    for batch in batches(job.spec, job.corpus, root, node=job.node, round_=job.round, width=job.width):
        loss = run.step(batch)
        job.progress(len(run.records), loss)
    return run.finish()


def _with_update(result: SlotResult, update: UpdateFile) -> SlotResult:
    return replace(result, update=update.data, update_root=update.root, norm=update.norm)
