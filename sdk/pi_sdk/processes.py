"""Starts and stops the processes of a devnet or a demo: each in a session of its own, with one log file, and
none of them outlives the program that started it.

A small reaper process holds the read end of a pipe. Every child writes its process group to that pipe before
it becomes the program asked for; when the last write end closes, because the starter ended in whatever way
(`kill -9` included), the reaper kills the groups that are left, grandchildren too.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import PiError

_REAPER = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if int(line) > 0 else groups.discard)(abs(int(line)))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
"""


class ProcessDied(PiError):
    """A process that was still needed has ended, or did not get ready; the message has the end of its log."""


@dataclass
class Process:
    """One child. `log` holds its stdout and stderr."""

    name: str
    log: Path
    popen: subprocess.Popen

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def tail(self, lines: int = 3) -> str:
        """The last lines of the log, as one."""
        text = self.log.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
        return " | ".join(text[-lines:]) or "its log is empty"

    def died(self) -> ProcessDied:
        return ProcessDied(
            f"{self.name} ended with code {self.popen.returncode}: {self.tail()}", f"see {self.log}"
        )


class Processes:
    """A context manager around children; leaving it stops them all. Start children from one thread only."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.all: list[Process] = []
        self._pipe = -1

    def __enter__(self) -> "Processes":
        self.logs.mkdir(parents=True, exist_ok=True)
        read, self._pipe = os.pipe()
        self._reaper = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _REAPER], stdin=read, start_new_session=True
        )
        os.close(read)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop(self.all)
        finally:
            os.close(self._pipe)
            self._reaper.wait()

    def start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Process:
        """Starts `argv` with `env` added to this process's environment."""
        log = self.logs / f"{name}.log"

        def announce() -> None:
            os.write(self._pipe, f"{os.getpid()}\n".encode())

        with open(log, "ab") as out:
            popen = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                # after setsid, before exec: no moment in which the reaper does not know the group
                preexec_fn=announce,
            )
        process = Process(name, log, popen)
        self.all.append(process)
        return process

    def check(self, processes: Sequence[Process] | None = None) -> None:
        """Raises `ProcessDied` for the first of `processes` (default all) that has ended with an error."""
        for process in self.all if processes is None else processes:
            if process.popen.poll():
                raise process.died()

    def wait_ready(self, process: Process, probe: Callable[[], bool], seconds: float = 30) -> None:
        """Waits until `probe` is true. Raises `ProcessDied` when the process ends first or the time is
        over."""
        deadline = time.monotonic() + seconds
        while not probe():
            if not process.running():
                raise process.died()
            if time.monotonic() > deadline:
                raise ProcessDied(
                    f"{process.name} was not ready after {seconds:.0f} s: {process.tail()}",
                    f"see {process.log}",
                )
            time.sleep(0.05)

    def stop(self, processes: Sequence[Process], seconds: float = 5) -> None:
        """SIGTERM to all of them, then after `seconds` SIGKILL to what is left of their groups."""
        for process in processes:
            if process.running():
                process.popen.terminate()
        deadline = time.monotonic() + seconds
        for process in processes:
            try:
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            process.popen.wait()
            os.write(self._pipe, f"-{process.pid}\n".encode())
        self.all = [p for p in self.all if p not in processes]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def require_free(port: int, flag: str) -> None:
    """Raises `PiError` when somebody listens on `port`."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError as error:
            raise PiError(
                f"port {port} is taken", f"stop what listens there, or choose another with {flag}"
            ) from error


def accepts(port: int) -> bool:
    """Whether something accepts connections on `port` of the loopback interface."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def session_pss(processes: Sequence[Process]) -> int:
    """Summed proportional set size in bytes of this process, the processes and all their descendants (Linux;
    else 0).

    PSS counts a page shared by n processes as 1/n in each, so the sum is what the machine really holds.
    """
    sessions = {p.pid for p in processes}
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            if session in sessions or int(entry.name) == os.getpid():
                rollup = (entry / "smaps_rollup").read_text()
                total += (
                    sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
                )
        except (OSError, ValueError, IndexError):  # it ended while we looked
            continue
    return total
