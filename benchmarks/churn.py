"""A run whose workers come, go and die, beside the same run without faults.

Real processes on a real chain: `pi-worker join` with kill -9 at any moment, pauses, slow uploads, wrong
clocks, a late joiner, workers that leave and come back, and an orchestrator (the store that they download
from) that dies under them. The faults are drawn from a seed. Checked: every worker's recomputed root in every
round against the chain's; every expected round of every node is revealed, or reported as missed. The run
without faults is `pi sim`'s, with the same nodes.

    python -m benchmarks churn              60 rounds, about 6 minutes
    PI_CHURN_ROUNDS=12 python -m benchmarks churn
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, GptSpec, InnerSpec, TraceSpec
from pi_train import determinism
from pi_train.data import load_corpus
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, checkpoint_bytes

from .common import publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the small network of the tests

FAULTS_OF_A_PROCESS = Path(__file__).parent / "faults"
ROUNDS = int(os.environ.get("PI_CHURN_ROUNDS", "60"))
SEED = 1
WORKERS = 4
RECIPE = {
    "data": None,
    "model": GptSpec(layers=2, heads=2, width=64, context=64),
    "inner": InnerSpec(steps=10, batch=8),
    "trace": TraceSpec(segment=5),
    "audit": AuditSpec(segments=1),
}
FAULTS = {
    "kill": 5,
    "kill and stay away": 2,
    "pause": 3,
    "slow upload": 2,
    "leave and come back": 1,
    "orchestrator": 1,
}
"""Kind -> how often, relative to each other; half of the rounds have one."""
CLOCKS = (0, 3600, -3600, 90)
"""Seconds by which each worker's clock is ahead."""
UPLOAD_RATES = (200, 2000)
"""Bytes per second, where an update has 3,300 and must be there within `REVEAL_WINDOW`."""
REVEAL_WINDOW = 10
"""Seconds; so long a round waits for who is killed after its commitment."""


class Injector:
    """Does what goes wrong, one fault at a time, and notes it."""

    def __init__(self, net, pool_id: int):
        self.net, self.pool_id, self.random = net, pool_id, random.Random(SEED)
        self.workers = {}
        for i in range(WORKERS - 1):
            self._start(i)
        self.away: dict[int, int] = {}
        """Worker -> the round in which it comes back."""
        self.done: Counter[str] = Counter()

    def round(self, number: int) -> None:
        """What happens in a round that has just opened."""
        for i in [i for i, back in self.away.items() if back <= number]:
            self._start(i)
            del self.away[i]
        if number == ROUNDS // 5:
            self._note("late join")
            self._start(WORKERS - 1)
        if self.random.random() < 0.5 and number < ROUNDS - 3:
            kind = self.random.choices([*FAULTS], [*FAULTS.values()])[0]
            time.sleep(self.random.uniform(0, 3))
            self._strike(kind, number)

    def _strike(self, kind: str, number: int) -> None:
        here = [i for i in self.workers if i not in self.away]
        i = self.random.choice(here)
        if kind == "orchestrator":
            self.net.orchestrator.kill()
            time.sleep(self.random.uniform(0, 2))
            self.net.start_orchestrator()
        elif kind == "pause":
            self.workers[i].kill(signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 4))
            self.workers[i].kill(signal.SIGCONT)
        elif kind in ("kill", "slow upload"):
            self.workers[i].kill()
            self._start(i, self.random.uniform(*UPLOAD_RATES) if kind == "slow upload" else 0)
        elif len(here) > 2:
            self.workers[i].kill(signal.SIGINT if kind.startswith("leave") else signal.SIGKILL)
            self.workers[i].popen.wait(120)
            self.away[i] = number + self.random.randint(1, 3)
        else:
            return
        self._note(kind)

    def _start(self, i: int, upload: float = 0) -> None:
        """`upload`: bytes per second until it is started again, 0 as many as there can be."""
        faults = {"PYTHONPATH": str(FAULTS_OF_A_PROCESS), "PI_FAULT_CLOCK": str(CLOCKS[i])}
        os.environ.update(faults | {"PI_FAULT_UPLOAD": str(upload)})
        self.workers[i] = self.net.worker(self.pool_id, i)
        for name in (*faults, "PI_FAULT_UPLOAD"):
            del os.environ[name]

    def _note(self, kind: str) -> None:
        self.done[kind] += 1
        print(f"{kind}: {self.done[kind]}", flush=True)


def main() -> None:
    from network import network

    with tempfile.TemporaryDirectory() as place, network(Path(place)) as net:
        pool_id, spec = net.pool(
            ROUNDS,
            recipe=RECIPE,
            min_slots=2,
            min_train_window=10,
            max_train_window=60,
            reveal_window=REVEAL_WINDOW,
            slash_miss=0,
        )
        chain, began = net.creator, time.monotonic()
        injector = Injector(net, pool_id)
        seen = -1
        while not chain.pool(pool_id).ended:
            number = chain.pool(pool_id).next_round - 1
            if seen < number < ROUNDS:
                seen = number
                injector.round(number)
            time.sleep(0.2)
        seconds = time.monotonic() - began
        for worker in injector.workers.values():
            worker.popen.wait(120)
        events = chain.events(pool_id=pool_id)
        closed = {e.args["round"]: e.args for e in events if e.name == "RoundClosed"}
        own = [e for worker in injector.workers.values() for e in worker.events("closed")]
        equal = sum(e["root"] == closed[e["round"]]["root"].hex() for e in own)
        store = LocalStore(net.folder / "orchestrator" / "blobs")
        report = _accounts(events) | {
            "rounds": ROUNDS,
            "workers": WORKERS,
            "faults": sum(injector.done.values()),
            "seconds": seconds,
            "roots compared": len(own),
            "roots equal": equal,
        }
        result = store.get(closed[ROUNDS - 1]["checkpoint_file"].hex(), 1 << 30)
        with_faults, without = _losses(
            spec, store, result, [net.node(i) for i in range(WORKERS)], Path(place)
        )
    publish(
        "churn",
        "A run with faults beside the same run without",
        [
            report
            | {"loss": with_faults, "loss without": without, "worse %": 100 * (with_faults / without - 1)}
        ],
        f"faults: {', '.join(f'{n} x {kind}' for kind, n in sorted(injector.done.items()))}; "
        f"clocks wrong by {', '.join(map(str, CLOCKS))} s",
    )


def _accounts(events) -> dict[str, int]:
    """Node rounds that were expected, revealed, reported as missed, and neither: lost without a word."""
    expected: set[tuple[str, int]] = set()
    members: dict[str, tuple[int, int]] = {}
    rounds = [e.args["round"] for e in events if e.name == "RoundOpened"]
    last = max(rounds)  # the confirm-only one
    for event in events:
        if event.name == "Joined":
            members[event.args["node"]] = (event.args["active_from"], last)
        elif event.name == "Left":
            node, left = event.args["node"], event.args["left_at"]
            expected |= {(node, r) for r in range(members[node][0], min(left, last))}
            members[node] = (last, last)
    for node, (since, until) in members.items():
        expected |= {(node, r) for r in range(since, until)}

    def those(name: str) -> list[tuple[str, int]]:
        found = [(e.args["node"], e.args["round"]) for e in events if e.name == name]
        return [each for each in found if each[1] < last]

    revealed, missed = those("Revealed"), those("Missed")
    assert len(set(revealed)) == len(revealed), "no slot counts twice"
    return {
        "expected": len(expected),
        "revealed": len(revealed),
        "missed": len(missed),
        "late": len(those("RevealedLate")),
        "unreported": len(expected - set(revealed) - set(missed)),
    }


def _losses(spec, store: LocalStore, result: bytes, nodes: list[str], place: Path) -> tuple[float, float]:
    """Held-out loss of the run, and of the run that `pi sim` plays with these nodes and no fault."""
    determinism.pin(determinism.admitted(spec)[0])
    from pi_train.evaluate import validation_loss
    from pi_worker.sim import Simulation

    n = parameter_count(spec.model)
    corpus = load_corpus(spec, store.get, place / "data")
    genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, checkpoint_bytes(n, False)), n, False)
    simulation = Simulation.open(spec, corpus, nodes, place / "sim", genesis)
    while simulation.round < spec.rounds:
        simulation.play()
    ours = Checkpoint.from_bytes(result, n, False)
    return validation_loss(spec, ours, corpus), validation_loss(spec, simulation.checkpoint, corpus)
