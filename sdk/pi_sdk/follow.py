"""Follows a run from outside until its last verdict is in and its agents have ended: shows it, records it,
measures the memory of its processes, and settles what has become final, as anybody may."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

from rich.live import Live

from .client import Client
from .errors import PiError
from .processes import Process, Processes, session_pss
from .recorder import Agent, Record, Recorder
from .table import DRAINING, Clock, RunView

_POLL = 0.5
_PSS_EVERY = 2.0
_STANDSTILL = 600
"""Seconds without any event after which a run is given up; longer than any window of the demo."""
_FAREWELL = 45
"""Seconds that agents get after the last case to be paid and to end."""


class Follower:
    """`client` settles, so it needs an account. `needed` are the processes without which the run cannot go
    on; `agents` are matched by name with `started`. `on_last_checkpoint` gets the sha256 of the last
    checkpoint's file."""

    def __init__(
        self,
        *,
        client: Client,
        pool_id: int,
        rounds: int,
        recorder: Recorder,
        processes: Processes,
        agents: Sequence[Agent],
        started: dict[str, Process],
        needed: Sequence[Process],
        clock: Clock,
        on_last_checkpoint: Callable[[str], None],
    ):
        self.client = client
        self.pool_id = pool_id
        self.rounds = rounds
        self.recorder = recorder
        self.processes = processes
        self.alive = dict(started)
        self.needed = needed
        self.clock = clock
        self.on_last_checkpoint = on_last_checkpoint
        self.view = RunView(agents, rounds)
        self.peak_pss = 0
        self._workers = [a.node for a in agents if a.role == "worker"]
        self._settled: set[int] = set()
        self._settling: list[Future] = []

    def run(self) -> None:
        """Returns when it is over. Raises `ProcessDied` when a needed process has ended, `PiError` when the
        run stands still."""
        console = self.clock.console
        live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        moved, measured, drained = time.monotonic(), 0.0, 0.0
        with live or nullcontext(), ThreadPoolExecutor(len(self._workers)) as pool:
            while not drained or (self.alive and time.monotonic() - drained < _FAREWELL):
                fresh = self.recorder.poll()
                for record in fresh:
                    self._tell(record)
                self._settle(fresh, pool)
                self._look_at_processes()
                if live:
                    live.update(self.view.render(self.clock.elapsed), refresh=True)
                now = time.monotonic()
                if now - measured > _PSS_EVERY:
                    self.peak_pss, measured = max(self.peak_pss, session_pss(self.processes.all)), now
                if not drained and self.view.phase == DRAINING and self._is_drained():
                    drained = now
                    self.clock.say("every verdict and case is settled")
                moved = now if fresh else moved
                if now - moved > _STANDSTILL:
                    raise PiError(
                        f"nothing has happened for {_STANDSTILL} s", f"the logs are in {self.processes.logs}"
                    )
                time.sleep(_POLL)
            for record in self.recorder.poll():
                self._tell(record)

    def _tell(self, record: Record) -> None:
        if line := self.view.apply(record):
            self.clock.say(line)
        if record["event"] == "RoundClosed" and record["round"] + 1 == self.rounds:
            self.on_last_checkpoint(record["checkpoint_file"].removeprefix("0x"))

    def _settle(self, fresh: Sequence[Record], pool: ThreadPoolExecutor) -> None:
        """Settles the workers' records of rounds that have become final, so that pay arrives while the run
        goes on."""
        for future in [f for f in self._settling if f.done()]:
            self._settling.remove(future)
            future.result()
        ripe = {r["round"] for r in fresh if r["event"] == "VerdictsRevealed"} - self._settled
        for number in sorted(ripe):
            if self.client.is_final(self.pool_id, number):
                self._settled.add(number)
                self._settling += [pool.submit(self.client.settle, self.pool_id, n) for n in self._workers]

    def _look_at_processes(self) -> None:
        for process in self.needed:
            if not process.running():
                raise process.died()
        for name, process in list(self.alive.items()):
            if not process.running():
                del self.alive[name]
                self.clock.say(f"{name} ended: {process.tail(1)}")
                if self.view.phase != DRAINING and not any(n.startswith("worker") for n in self.alive):
                    raise PiError("no worker is left, and the run is not over", f"see {process.log}")

    def _is_drained(self) -> bool:
        return self.client.open_cases(self.pool_id) == 0 and all(
            self.client.is_final(self.pool_id, n) for n in range(self.rounds)
        )
