"""The parent's side of a validator's replay process (`replay_child.py`): one spawned child that pins the
determinism class, imports torch once, and answers requests over a pipe.

Peer data crosses the pipe as hashes only; the child reads the blobs from folders and has no key, chain or
network. What a hostile artifact can reach is therefore a process that may be killed at any time: a child that
dies, hangs or answers nonsense is replaced and the request asked once more; then `ReplayFailed` says that
this validator could not tell, which is never a verdict about the worker.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from pi_sdk.errors import PiError, SpecMismatch
from pi_sdk.types import DeterminismClass

MESSAGE_BYTES = 1 << 22
START_SECONDS = 180.0
"""Limit on importing torch and mapping the corpus; slow when many processes start at once."""


class ReplayFailed(PiError):
    """The replay process could not answer, twice: this validator cannot say anything about the slot."""


@dataclass(frozen=True)
class ReplayConfig:
    """What a child needs to start. `memory` is in bytes beyond what it holds after its start."""

    run_spec: Path
    corpus: Path
    """Cache folder of `pi_train.data.load_corpus`, already filled."""
    cls: DeterminismClass
    memory: int
    log: Path
    """File that the child's stderr is appended to."""


class ReplayProcess:
    """Owns the child. One thread asks; any other may `close`."""

    def __init__(self, config: ReplayConfig):
        self.config = config
        self.process: subprocess.Popen | None = None
        self._pipe: Connection | None = None
        self._closed = False

    def start(self) -> None:
        """Starts a child if there is none; raises `SpecMismatch` when this machine cannot be of the class."""
        if self.process is not None and self.process.poll() is None:
            return
        self.kill()
        if self._closed:
            raise ReplayFailed("the replay process was closed")
        ours, theirs = Pipe(duplex=True)
        config = {
            "run_spec": str(self.config.run_spec),
            "corpus": str(self.config.corpus),
            "class": self.config.cls.model_dump(mode="json"),
            "memory": self.config.memory,
        }
        with open(self.config.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pi_validator.replay_child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={k: v for k, v in os.environ.items() if not k.startswith(("PI_", "ETH_"))},  # no keys
            )
        theirs.close()
        self._pipe = ours
        answer = self._exchange(config, START_SECONDS)
        if "mismatch" in answer:
            self.kill()
            raise SpecMismatch(str(answer["mismatch"]), "this machine cannot audit this run")
        if answer.get("ready") is not True:
            self.kill()
            raise ReplayFailed(f"replay process did not start: {answer.get('error', answer)}")

    def ask(self, request: dict[str, Any], time_limit: float) -> dict[str, Any]:
        """The child's answer. A child that fails is replaced and asked once more; then `ReplayFailed`."""
        failure = None
        for _ in range(2):
            try:
                self.start()
                answer = self._exchange(request, time_limit)
                if "error" not in answer:
                    return answer
                failure = ReplayFailed(f"replay process failed: {answer['error']}")
            except ReplayFailed as error:
                failure = error
            self.kill()
        assert failure is not None
        raise failure

    def kill(self) -> None:
        """Ends the child, if there is one, and waits for it."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Makes the running request fail; no further child starts. The asking thread still calls `kill`."""
        self._closed = True
        process = self.process
        if process is not None:
            process.kill()

    def _exchange(self, message: dict, time_limit: float) -> dict[str, Any]:
        """One JSON message there, one back. `ReplayFailed` when the child is gone or the time is over."""
        assert self._pipe is not None
        started = time.monotonic()
        try:
            self._pipe.send_bytes(json.dumps(message).encode())
            if not self._pipe.poll(time_limit):
                raise ReplayFailed(f"replay process gave no answer in {time_limit:.0f} s")
            answer = json.loads(self._pipe.recv_bytes(MESSAGE_BYTES))
        except (EOFError, OSError) as error:
            spent = time.monotonic() - started
            raise ReplayFailed(f"replay process died after {spent:.1f} s (see {self.config.log})") from error
        except ValueError as error:
            raise ReplayFailed("replay process sent nonsense") from error
        if not isinstance(answer, dict):
            raise ReplayFailed("replay process sent nonsense")
        return answer
