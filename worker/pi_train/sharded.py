"""An inner loop over several processes, one per GPU, that share the model between them (FSDP2).

This is the side of the process that asks: it starts the ranks (`rank.py`), gives each its part of a batch,
and answers as the loop in one process does. Batches go to the ranks, losses and proven activations come back,
over one pipe each. Parameters and moments lie in a piece of memory that all of them map, written and read at
borders only.

The ranks live as long as this process and train one model after the other. They end when their pipe closes,
so none outlives a parent that was killed. They meet over a file in a private folder and talk over the
loopback interface alone: `torchrun` would open a store to the network that anybody may write to, and unpickle
what it reads there.
"""

import atexit
import mmap
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any

import numpy as np
from pi_sdk.errors import PiError, RankFailed
from pi_sdk.types import DeterminismClass, RunSpec

from .layout import parameter_count
from .state import Border

if TYPE_CHECKING:  # torch is for the ranks
    from .model import Files

_GRACE = 5.0
"""Seconds that the other ranks have to say something too, once one has said that it cannot go on."""
_ranks: "_Ranks | None" = None


class ShardedLoop:
    """`inner.Loop` over the ranks of a class. Its border's arrays are changed by the next call of `border` or
    `load`. Raises `RankFailed` where a rank ends; the next loop starts new ones."""

    def __init__(self, spec: RunSpec, cls: DeterminismClass, start: Border, files: "Files | None" = None):
        global _ranks
        if _ranks is None or _ranks.cls != cls or _ranks.dead:
            if _ranks is not None:
                _ranks.end()
            _ranks = _Ranks(cls)
        self.ranks, self.sequences = _ranks, spec.trace.proof_sequences
        self.ranks.owner = self
        model = "build", spec.model_dump_json(), dict(files or {})
        if self.ranks.model != model:
            self.ranks.share(parameter_count(spec.model))
            self._ask(model)
            self.ranks.model = model
        self.load(start)

    def load(self, border: Border) -> None:
        for mine, given in zip(self.ranks.state, (border.params, border.m, border.v), strict=True):
            mine[:] = given
        self.step = border.step
        self._ask(("load", self.step))

    def border(self) -> Border:
        self._ask(("border",))
        params, m, v = self.ranks.state
        return Border(params, m, v, self.step)

    def train_step(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
        parts = np.split(tokens, self.ranks.cls.ranks)
        left = [max(0, self.sequences - i * len(parts[0])) for i in range(len(parts))]
        answers = self._ask(*(("train_step", part, lr, n) for part, n in zip(parts, left, strict=True)))
        self.step += 1
        return answers[0][0], np.concatenate([hidden for _, hidden in answers])

    def _ask(self, *messages: tuple) -> list[Any]:
        assert self.ranks.owner is self, "a newer loop has taken the ranks"
        return self.ranks.ask(messages if len(messages) > 1 else messages * self.ranks.cls.ranks)


class _Ranks:
    """The processes of one class and the memory that they share with this one."""

    def __init__(self, cls: DeterminismClass):
        self.cls, self.dead = cls, False
        self.owner: ShardedLoop | None = None
        self.model: tuple | None = None
        """The message that the ranks built their model from."""
        self.state = np.empty((3, 0), np.float32)
        """Parameters and moments, shared with the ranks."""
        self.folder = tempfile.mkdtemp(prefix="pi-ranks-")
        self.memory = os.memfd_create("pi-ranks") if sys.platform == "linux" else _unnamed_file()
        self.pipes: list[Connection] = []
        self.processes: list[subprocess.Popen] = []
        atexit.register(self.end)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PI_", "ETH_"))}  # no keys
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        environment |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
        for _ in range(cls.ranks):
            ours, theirs = Pipe()
            self.pipes.append(ours)
            with theirs:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "pi_train.rank"]
                        + [str(theirs.fileno()), str(self.memory), self.folder],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,  # gloo greets there
                        pass_fds=[theirs.fileno(), self.memory],
                        env=environment,
                    )
                )
        try:
            self.ask([("start", cls.model_dump(), rank) for rank in range(cls.ranks)])
        except PiError:
            self.end()
            raise

    def share(self, n: int) -> None:
        """Makes room for a state of n parameters."""
        os.ftruncate(self.memory, max(12 * n, os.fstat(self.memory).st_size))  # old borders stay readable
        self.state = np.frombuffer(mmap.mmap(self.memory, 12 * n), np.float32).reshape(3, n)

    def ask(self, messages: Any) -> list[Any]:
        """One message to each rank, and the answers. Raises what every rank raises; where they do not agree,
        or one has ended, ends them all with `RankFailed`."""
        answers: dict[int, Any] = {}
        try:
            for pipe, message in zip(self.pipes, messages, strict=True):
                pipe.send(message)
        except OSError:
            pass  # it has ended, which the next lines find
        while len(answers) < len(self.pipes):
            waiting = [pipe for i, pipe in enumerate(self.pipes) if i not in answers]
            trouble = any(kind != "done" for kind, _ in answers.values())
            ready = wait(waiting, _GRACE if trouble else None)
            if not ready:
                break
            for pipe in ready:
                i = self.pipes.index(pipe)  # pyright: ignore[reportArgumentType]
                try:
                    answers[i] = self.pipes[i].recv()
                except (EOFError, OSError):
                    answers[i] = "ended", None
        kinds = {kind for kind, _ in answers.values()}
        if len(answers) == len(self.pipes) and kinds == {"done"}:
            return [answers[i][1] for i in range(len(self.pipes))]
        if len(answers) == len(self.pipes) and kinds == {"refused"}:
            raise answers[0][1]
        raise self._failure(answers)

    def _failure(self, answers: dict[int, Any]) -> PiError:
        self.end()
        said = {kind: (i, value) for i, (kind, value) in sorted(answers.items(), reverse=True)}
        hint = "the next round starts new ones"
        if "ended" in said:
            i = said["ended"][0]
            return RankFailed(
                f"rank {i} of {self.cls.ranks} has ended with status {self.processes[i].returncode}", hint
            )
        i, value = said.get("failed") or said["refused"]
        return RankFailed(f"rank {i} of {self.cls.ranks} failed: {value}", hint)

    def end(self) -> None:
        """Ends the processes and waits for them."""
        if self.dead:
            return
        self.dead = True
        atexit.unregister(self.end)
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        os.close(self.memory)
        shutil.rmtree(self.folder, ignore_errors=True)


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
