"""What the workers of all systems share: the GPT, its first weights, the batches and AdamW of `pi_train`, and
a log. Runs in the peers' virtual environments too, so it imports no more of ours than it needs.

Until its first synchronisation every system computes the same bits.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pi_sdk.codec import sha256
from pi_sdk.eventlog import EventLog
from pi_sdk.types import RunSpec
from pi_train.data import Batch, batches, load_corpus
from pi_train.determinism import admitted
from pi_train.fixed import to_fp32
from pi_train.outer import Checkpoint

OUTER = {"lr": 0.7, "momentum": 0.9, "nesterov": True}
"""DiLoCo's outer rule as `torch.optim.SGD` takes it."""


def node(index: int) -> str:
    """Address of a worker; what it trains on is drawn with it."""
    return "0x" + f"{index + 1:02x}" * 20


class Worker:
    """One process of a system: `folder` holds what all share, `home` its own log and its result."""

    def __init__(self, folder: Path, index: int):
        self.folder, self.index, self.node = folder, index, node(index)
        self.home = folder / f"worker-{index}"
        self.events = EventLog(self.home)
        self.spec = RunSpec.model_validate_json((folder / "spec.json").read_bytes())
        self.cls = admitted(self.spec)[0]
        self.corpus = load_corpus(self.spec, self.artifact, self.home / "data")
        data = self.artifact(self.spec.genesis_file)
        self.genesis = Checkpoint.from_bytes(data, *self.spec.checkpoint_shape)
        self.draws_from = Checkpoint(self.genesis.theta).root()
        """What the batches of every round are drawn from: a peer has no later roots."""

    def artifact(self, name: str, max_bytes: int = 0) -> bytes:
        return (self.folder / "artifacts" / name[:2] / name).read_bytes()

    def wait_for_all(self) -> None:
        """The workers begin together, however long they took to load."""
        self.events.write("ready")
        while not (self.folder / "go").exists():
            time.sleep(0.01)

    def finish(self, params: np.ndarray) -> None:
        """Leaves the final parameters, fp32[n]."""
        data = params.astype("<f4").tobytes()
        (self.home / "params.bin").write_bytes(data)
        self.events.write("finished", params=sha256(data))


class Training(Worker):
    """A worker that trains for a peer: `params` is the flat fp32 tensor that the peer keeps in step."""

    def __init__(self, folder: Path, index: int):
        super().__init__(folder, index)
        import torch
        from pi_train.inner import InnerLoop
        from pi_train.state import Border, PrivateState

        torch.set_num_threads(self.cls.threads)  # the rest of the class came with the environment
        torch.use_deterministic_algorithms(True)
        zeros = PrivateState.zeros(len(self.genesis.theta))
        start = to_fp32(self.genesis.theta, self.spec.frac_bits)
        self.loop = InnerLoop(self.spec, self.cls, Border(start, zeros.m, zeros.v, 0))
        self.params = self.loop.model.params

    def batches(self, round_: int) -> Iterator[Batch]:
        """One per inner step."""
        return batches(self.spec, self.corpus, self.draws_from, node=self.node, round_=round_, width=1)

    def step(self, batch: Batch) -> None:
        from pi_train.inner import learning_rate

        self.loop.train_step(batch.tokens, learning_rate(self.spec, self.loop.step))
        rounds, rest = divmod(self.loop.step, self.spec.inner.steps)
        if not rest:
            self.events.write("trained", round=rounds - 1)
