"""One of the processes of a sharded loop, `python -m pi_train.rank PIPE MEMORY FOLDER`: see `sharded.py`.

It holds a slice of each weight, of its moments and of its gradient. FSDP2 gathers a block's weights before
the block runs and scatters its gradients, averaged over the ranks, behind it. Everything else is the loop of
one process on slices: `inner.py` has the arithmetic.
"""

import math
import mmap
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from pi_sdk.errors import PiError
from pi_sdk.types import DeterminismClass, RunSpec


class Rank:
    """The state of a running rank. Each method answers the message of its name; see `sharded.ShardedLoop`."""

    def __init__(self, memory: int, folder: str):
        self.memory, self.folder = memory, folder

    def start(self, cls: dict, rank: int) -> None:
        from . import determinism

        self.cls, self.rank = DeterminismClass(**cls), rank
        determinism.pin(self.cls)
        import torch
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh

        if self.cls.device == "cuda":
            torch.cuda.set_device(rank)
        backend = "nccl" if self.cls.device == "cuda" else "gloo"
        dist.init_process_group(
            backend, init_method=f"file://{self.folder}/meet", rank=rank, world_size=self.cls.ranks
        )
        self.mesh = init_device_mesh(self.cls.device, (self.cls.ranks,))

    def build(self, spec: str, files: dict) -> None:
        import torch
        from torch.distributed.fsdp import fully_shard

        from .layout import slices
        from .model import network

        self.spec = RunSpec.model_validate_json(spec)
        self.network = network(self.spec.model, self.cls, files)
        if self.cls.compile:
            self.network.compile()
        for part in (*self.network.blocks(), self.network.module):
            fully_shard(part, mesh=self.mesh)
        own = dict(self.network.module.named_parameters())
        self.weights, self.slices = [], []
        for name, shape, place in slices(self.spec.model):
            weight = own[name]
            row = math.prod(shape[1:])
            rows = -(-shape[0] // self.cls.ranks)
            ends = (min(rows * i, shape[0]) * row + place.start for i in (self.rank, self.rank + 1))
            self.slices.append(slice(*ends))
            self.weights.append(weight)
            assert self.local(weight).numel() == self.slices[-1].stop - self.slices[-1].start
        self.m = [torch.zeros_like(self.local(weight)) for weight in self.weights]
        self.v = [torch.zeros_like(m) for m in self.m]
        largest = max(m.numel() for m in self.m)
        self.scratch = torch.empty(largest, device=self.cls.device)
        n = sum(math.prod(shape) for _, shape, _ in slices(self.spec.model))
        self.shared = np.frombuffer(mmap.mmap(self.memory, 12 * n), np.float32).reshape(3, n)

    @staticmethod
    def local(tensor: Any) -> Any:
        """This rank's slice of a sharded tensor, sharing its memory."""
        return tensor.detach().to_local()

    def load(self, step: int) -> None:
        import torch

        self.step = step
        for weight, m, v, place in zip(self.weights, self.m, self.v, self.slices, strict=True):
            for mine, given in zip((self.local(weight), m, v), self.shared, strict=True):
                mine.copy_(torch.from_numpy(given[place]).view_as(mine))

    def border(self) -> None:
        for weight, m, v, place in zip(self.weights, self.m, self.v, self.slices, strict=True):
            for mine, taken in zip((self.local(weight), m, v), self.shared, strict=True):
                taken[place] = mine.cpu().numpy().ravel()

    def train_step(self, tokens: np.ndarray, lr: float, sequences: int) -> tuple[float, np.ndarray]:
        """`inner.Loop.train_step` on this rank's sequences. The loss is that of all ranks."""
        import torch

        from .inner import check_finite, decay_weight, gradients, update

        inner = self.spec.inner
        windows = torch.from_numpy(tokens.astype(np.int64)).to(self.cls.device)
        for weight in self.weights:
            weight.grad = None
        loss, hidden = gradients(self.network, self.spec, windows, sequences)
        grads = [
            torch.zeros_like(m) if weight.grad is None else self.local(weight.grad)
            for weight, m in zip(self.weights, self.m, strict=True)
        ]
        loss, norm = self._together(loss, sum(grad.double().square().sum().item() for grad in grads))
        check_finite(loss, norm)
        self.step += 1
        for weight, grad, m, v in zip(self.weights, grads, self.m, self.v, strict=True):
            if norm > inner.clip:
                grad.mul_(inner.clip / norm)
            params = self.local(weight)
            decay_weight(params, inner, lr)
            scratch = self.scratch[: m.numel()].view_as(m)
            update(inner, self.step, lr, params, grad, m, v, scratch)
        return loss, hidden.cpu().numpy()

    def _together(self, loss: float, square: float) -> tuple[float, float]:
        """Mean loss and gradient norm of all ranks: the same bits in each, since all add in one order."""
        import torch
        import torch.distributed as dist

        mine = torch.tensor([loss, square], dtype=torch.float64, device=self.cls.device)
        everyones = [torch.empty_like(mine) for _ in range(self.cls.ranks)]
        dist.all_gather(everyones, mine)
        losses, squares = zip(*(each.tolist() for each in everyones), strict=True)
        return sum(losses) / self.cls.ranks, math.sqrt(sum(squares))


def main(pipe_fd: int, memory: int, folder: str) -> None:
    """Answers messages until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, rank = Connection(pipe_fd), Rank(memory, folder)
    inbox: queue.SimpleQueue[tuple] = queue.SimpleQueue()

    def listen() -> None:
        # In a thread of its own, so that a step does not go on for a parent that is gone.
        while True:
            try:
                inbox.put(pipe.recv())
            except (EOFError, OSError):
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        name, *arguments = inbox.get()
        try:
            pipe.send(("done", getattr(rank, name)(*arguments)))
        except PiError as error:
            pipe.send(("refused", error))
        except Exception as error:
            traceback.print_exc()
            pipe.send(("failed", f"{type(error).__name__}: {error}".splitlines()[0]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
