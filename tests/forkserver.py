"""Starts our programs as processes without seconds of imports for each: one process imports them all, torch
pinned to the default class, and forks.

A program started here is the console script's function in a process of its own, with its own arguments,
environment and output, to be killed like any other. The demo's tests start the console scripts themselves.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PROGRAMS = {"pi-worker": "pi_worker.cli", "pi-validator": "pi_validator.cli"}
PROGRAMS |= {"pi-orchestrator": "pi_orchestrator.cli"}
_IMPORTED = ("pi_worker.agent", "pi_validator.run", "pi_orchestrator.serve", "pi_train.slot")


class Forked:
    """A started program, as `subprocess.Popen` has it."""

    def __init__(self, argv: Sequence[object], log: Path, environment: dict[str, str]):
        self.args = [str(a) for a in argv]
        self.returncode: int | None = None
        self.pid = _ask(argv=self.args, log=str(log), environment=environment)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        give_up = time.monotonic() + timeout if timeout is not None else None
        while (code := self.poll()) is None:
            if give_up is not None and time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_server: subprocess.Popen | None = None


def _ask(**request: object) -> int | None:
    global _server
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(_stop)
    assert _server.stdin is not None and _server.stdout is not None
    _server.stdin.write(json.dumps(request) + "\n")
    _server.stdin.flush()
    answer = _server.stdout.readline()
    assert answer, "the fork server died"
    return json.loads(answer)


def _stop() -> None:
    if _server is not None:
        _server.kill()
        _server.communicate()


# --- the server -------------------------------------------------------------------------------------------


def _serve() -> None:
    from pi_train import determinism

    determinism.pin(determinism.default_class())
    for name in (*PROGRAMS.values(), *_IMPORTED):
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_poll(request["poll"]) if "poll" in request else _start(**request)), flush=True)


def _poll(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def _start(argv: list[str], log: str, environment: dict[str, str]) -> int:
    if pid := os.fork():
        return pid
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: none of them outlives the tests
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
        os.dup2(source, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    random.seed()
    _run(PROGRAMS[Path(argv[0]).name])


def _run(module: str) -> NoReturn:
    code = 0
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # as the interpreter does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
