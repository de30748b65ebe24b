"""This engine beside torchft's DiLoCo and hivemind: the same tiny GPT, first weights, batches and AdamW,
three workers as processes of this machine, H = 15.

Two runs of each system. One is undisturbed: seconds from the last worker's last inner step until all hold the
next parameters (median over the rounds after the first), traffic, held-out loss. In the other one a worker is
killed with kill -9 half-way through a round's training: how much longer than usual that round takes for the
others, and how much they lose in all rounds from then on. After both runs the sha256 of the fp32 parameters
of all who are left are compared.

Every run has a network namespace of its own, whose loopback counts the bytes (as root; else none are
counted). The peers get virtual environments of their own under runs/peers; a system that cannot be installed
or run is left out, and said. About 12 minutes on two cores.

    python -m benchmarks side_by_side
    python -m benchmarks.side_by_side --only torchft        the other rows stay as they are
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pi_sdk.codec import canonical_json, sha256
from pi_sdk.eventlog import read_events
from pi_sdk.processes import ProcessDied, Processes, accepts, free_port
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, CodecSpec, InnerSpec, OuterSpec, RunSpec, TraceSpec
from pi_train.codecs import max_update_bytes
from pi_train.data import load_corpus
from pi_train.determinism import default_class, environment, pin
from pi_train.fixed import to_fixed, to_fp32
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint
from pi_train.prepare import prepare

from .common import RESULTS, publish

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
PLACE = Path("runs/side_by_side")
NAME, TITLE = "side_by_side", "Three workers of one machine, H = 15, the demo's GPT"
WORKERS, VALIDATORS, H = 3, 1, 15
ROUNDS, ROUNDS_WITH_A_KILL, KILLED_IN = 12, 6, 3
PARTS = ("sent", "committed", "revealed")
"""What happens in our workers between the last inner step and the next parameters."""
PATIENCE = 600
"""Seconds after which a wait has failed."""
DENSE = {
    "codec": CodecSpec(name="dense-fixed"),
    "outer": OuterSpec(rule="nesterov", lr=45875, momentum=58982),
}
SPARSE = {"codec": CodecSpec(k=256), "outer": OuterSpec(lr=65536)}


@dataclass(frozen=True)
class Member:
    """A worker under watch: its events are in `home`."""

    home: Path
    process: Any
    """`Process`, or a `Program` of the tests."""
    kill: Callable[[], None]
    params: Callable[[], np.ndarray]
    """Its parameters at the end, fp32[n]."""

    def times(self) -> dict[tuple[str, int], float]:
        """(event, round) -> unix seconds. `ProcessDied` where the worker has."""
        if self.process.popen.poll():
            raise ProcessDied(f"{self.home.name} has died: {self.process.tail()}")
        return {(e["event"], e.get("round", -1)): e["t"] for e in read_events(self.home)}


Run = AbstractContextManager[tuple[RunSpec, list[Member]]]


@dataclass(frozen=True)
class System:
    name: str
    run: Callable[[Path, int], Run]
    """Starts a run of so many rounds in a folder."""
    ends: int
    """Workers at the ends of a connection: 2 where they talk to each other, 1 where with a server."""
    peer: str = ""
    """Whose virtual environment it needs."""


# --- systems ----------------------------------------------------------------------------------------------


def recipe(rules: dict[str, Any]) -> dict[str, Any]:
    """What all systems train: Python's own library with the demo's model and batches."""
    return {"inner": InnerSpec(steps=H), "trace": TraceSpec(segment=5), **rules}


@contextmanager
def scripts(
    folder: Path, rounds: int, rules: dict[str, Any], script: str, python: Path, helper: Callable
) -> Iterator[tuple[RunSpec, list[Member]]]:
    """Workers that are a script of `peers/`. `helper(processes, spec)` starts what they need beside them and
    returns their last argument."""
    spec = prepare(store=LocalStore(folder / "artifacts"), rounds=rounds, **recipe(rules))
    (folder / "spec.json").write_bytes(canonical_json(spec))
    paths = os.pathsep.join(str(ROOT / name) for name in ("sdk", "worker"))
    env = {"PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo", **environment(default_class())}

    def member(i: int, last: object) -> Member:
        home = folder / f"worker-{i}"
        process = processes.start(home.name, [python, PEERS / script, folder, str(i), str(last)], env)
        params = home / "params.bin"
        return Member(
            home, process, lambda: os.killpg(process.pid, signal.SIGKILL), lambda: np.fromfile(params, "<f4")
        )

    with Processes(folder / "logs") as processes:
        last = helper(processes, spec)
        members = [member(i, last) for i in range(WORKERS)]
        for m in members:
            processes.wait_ready(m.process, lambda m=m: ("ready", -1) in m.times(), PATIENCE)
        (folder / "go").touch()
        yield spec, members


def engine(rules: dict[str, Any]) -> Callable[[Path, int], Run]:
    def coordinator(processes: Processes, spec: RunSpec) -> str:
        port, size = free_port(), max_update_bytes(spec.codec, parameter_count(spec.model))
        argv = [sys.executable, PEERS / "coordinator.py", str(port), str(size), str(WORKERS)]
        processes.wait_ready(processes.start("coordinator", argv), lambda: accepts(port))
        return f"http://127.0.0.1:{port}"

    python = Path(sys.executable)
    return lambda folder, rounds: scripts(folder, rounds, rules, "with_updates.py", python, coordinator)


def torchft(folder: Path, rounds: int) -> Run:
    binaries = binaries_of("torchft")

    def lighthouse(processes: Processes, spec: RunSpec) -> str:
        port = free_port()
        argv = [binaries / "torchft_lighthouse", "--bind", f"[::]:{port}", "--min_replicas", "2"]
        processes.wait_ready(processes.start("lighthouse", argv), lambda: accepts(port))
        return f"http://localhost:{port}"

    return scripts(folder, rounds, DENSE, "with_torchft.py", binaries / "python", lighthouse)


def hivemind(folder: Path, rounds: int) -> Run:
    python = binaries_of("hivemind") / "python"
    return scripts(folder, rounds, DENSE, "with_hivemind.py", python, lambda *_: WORKERS)


@contextmanager
def chain(folder: Path, rounds: int) -> Iterator[tuple[RunSpec, list[Member]]]:
    """`pi-worker join` with a local chain, an orchestrator and a validator; windows as `pi demo` has them,
    but for the shortest. Batches are drawn as the protocol wants it, from each round's root."""
    sys.path.insert(0, str(ROOT / "tests"))  # the small network of the tests
    from network import network
    from pi_worker.journal import Journal

    with network(folder) as net:
        pool_id, spec = net.pool(
            rounds,
            recipe={"data": None, "model": None, "audit": AuditSpec(), **recipe(SPARSE)},
            min_slots=WORKERS,
            min_seats=VALIDATORS,
            min_train_window=5,
            max_train_window=120,
            reveal_window=15,
        )

        def params(home: Path) -> np.ndarray:
            """What the worker itself recomputed of the last close."""
            journal = Journal(home / f"pool-{pool_id}")
            [path] = journal.root.glob(f"checkpoint-{rounds}-*.bin")
            data = journal.checkpoint(rounds, bytes.fromhex(path.stem.split("-")[2]))
            assert data is not None
            return to_fp32(Checkpoint.from_bytes(data, *spec.checkpoint_shape).theta, spec.frac_bits)

        for i in range(VALIDATORS):
            net.validator(pool_id, i)
        programs = [net.worker(pool_id, i) for i in range(WORKERS)]
        yield spec, [Member(p.home, p, p.kill, lambda p=p: params(p.home)) for p in programs]


SYSTEMS = {
    "engine-sparse": System("this engine, sparse-2bit", engine(SPARSE), 1),
    "engine-dense": System("this engine, dense-fixed", engine(DENSE), 1),
    "chain": System("with the chain, sparse-2bit", chain, 1),
    "torchft": System("torchft DiLoCo, gloo", torchft, 2, "torchft"),
    "hivemind": System("hivemind averager, DiLoCo", hivemind, 2, "hivemind"),
}


def binaries_of(peer: str) -> Path:
    """Where a peer's Python is, installed if it is not there yet. `CalledProcessError`."""
    place, wanted = Path("runs/peers").resolve() / peer, PEERS / f"requirements-{peer}.txt"
    stamp = place / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", "-r", wanted], check=True)
        stamp.write_text(wanted.read_text())
    return place / "bin"


# --- one run ----------------------------------------------------------------------------------------------


class Watch:
    """What the members of a run have done so far, by round."""

    def __init__(self, members: list[Member], rounds: int):
        self.members, self.rounds = members, rounds
        self.bytes: dict[int, int] = {}
        """On the loopback when a round had been synchronised."""
        self.look()

    def look(self) -> None:
        self.times = [member.times() for member in self.members]
        for round_ in self.all("synced").keys() - self.bytes.keys():
            self.bytes[round_] = loopback()

    def until(self, reached: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > give_up:
                raise TimeoutError(f"nothing after {PATIENCE} s: {[m.process.tail() for m in self.members]}")
            time.sleep(0.05)
            self.look()

    def all(self, event: str) -> dict[int, float]:
        """Round -> when the last member had come so far, of the rounds where all have."""
        names = ("synced", "closed") if event == "synced" else (event,)
        each = [{r: t for (name, r), t in times.items() if name in names} for times in self.times]
        return {r: max(times[r] for times in each) for r in each[0] if all(r in times for times in each)}

    def half_way(self, round_: int) -> bool:
        """Whether the last member is in the middle of a round's training."""
        times = self.times[-1]
        took = [t - times["training", r] for (event, r), t in times.items() if event == "trained"]
        began = times.get(("training", round_))
        return began is not None and time.time() > began + median(took) / 2

    def over(self) -> bool:
        ends = {("finished", -1), ("closed", self.rounds - 1)}
        return all(ends & times.keys() for times in self.times)


def loopback() -> int:
    """Bytes that the loopback of this network namespace has carried."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def play(system: System, folder: Path, kill: bool) -> dict[str, Any]:
    """One run: when each round was over (unix seconds), and what it came to."""
    rounds = ROUNDS_WITH_A_KILL if kill else ROUNDS
    with system.run(folder, rounds) as (spec, members):
        watch = Watch(members, rounds)
        if kill:
            watch.until(lambda: ("training", KILLED_IN) in watch.times[-1])
            watch.until(lambda: watch.half_way(KILLED_IN))
            members.pop().kill()
        watch.until(watch.over)
        params = [member.params() for member in members]
    ended, trained = watch.all("synced"), watch.all("trained")
    out = {
        "ended": ended,
        "sync": [ended[r] - trained[r] for r in ended if r],
        "bit_equal": len({sha256(p.astype("<f4").tobytes()) for p in params}) == 1,
    }
    for event in PARTS:
        at = watch.all(event)
        out[event] = [at[r] - trained[r] for r in ended if r and r in at]
    if not kill:
        first, last = min(watch.bytes), max(watch.bytes)
        carried = (watch.bytes[last] - watch.bytes[first]) / (last - first)
        out["bytes"] = system.ends * carried / WORKERS
        out["evidence_bytes"] = evidence(members) / WORKERS / rounds
        out["val_loss"] = held_out(spec, params[0], folder)
    return out


def evidence(members: list[Member]) -> int:
    """Bytes that the workers have sent to be audited."""
    events = (e for member in members for e in read_events(member.home))
    return sum(e["bytes"] for e in events if e["event"] == "evidence")


def held_out(spec: RunSpec, params: np.ndarray, folder: Path) -> float:
    """Nats per token; the same function for all systems."""
    pin(default_class())
    from pi_train.evaluate import validation_loss

    corpus = load_corpus(spec, LocalStore(folder / "artifacts").get, folder / "corpus")
    return validation_loss(spec, Checkpoint(to_fixed(params, spec.frac_bits)), corpus)


# --- all runs ---------------------------------------------------------------------------------------------


def measured(key: str) -> dict[str, Any]:
    """A system's row, from both of its runs. `CalledProcessError` where one fails."""
    system, found = SYSTEMS[key], []
    if system.peer:
        binaries_of(system.peer)
    apart = not os.geteuid() and shutil.which("unshare") and shutil.which("ip")
    prefix = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] if apart else []
    for kill in ("", "kill"):
        folder = PLACE.resolve() / f"{key}{kill and '-'}{kill}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "benchmarks.side_by_side", "--play", key, str(folder), kill]
        subprocess.run(prefix + argv, check=True, cwd=ROOT)
        found.append(json.loads((folder / "run.json").read_text()))
    plain, killed = found
    ended = {int(r): t for r, t in plain["ended"].items()}
    usual = median(ended[r] - ended[r - 1] for r in ended if r - 1 in ended)
    ended = {int(r): t for r, t in killed["ended"].items()}
    before, after = ended[KILLED_IN - 1], [ended[r] for r in sorted(ended) if r >= KILLED_IN]
    return {
        "system": system.name,
        "sync_seconds": median(plain["sync"]),
        "bytes": round(plain["bytes"]) if apart else None,
        "evidence_bytes": round(plain["evidence_bytes"]),
        "val_loss": plain["val_loss"],
        "recover_seconds": after[0] - before - usual,
        "lost_seconds": after[-1] - before - (ROUNDS_WITH_A_KILL - KILLED_IN) * usual,
        "round_seconds": usual,
        "bit_equal": plain["bit_equal"] and killed["bit_equal"],
        **{f"{event}_seconds": median(plain[event]) for event in PARTS if plain[event]},
    }


COLUMNS = ("system", "sync_seconds", "bytes", "val_loss", "recover_seconds", "lost_seconds", "bit_equal")
NOTE = (
    "sync_seconds: from the last inner step of the last worker until all hold the next parameters,"
    " median; sent_, committed_, revealed_seconds: when that was in it. bytes: sent + received by a worker"
    " per round, headers included, from the loopback's counter of the run's own network namespace; with"
    " the chain, JSON-RPC, the orchestrator, and the audits' evidence (evidence_bytes of it sent, and as"
    f" many fetched) are in it as if they were the workers'. val_loss: nats per token after {ROUNDS}"
    " rounds. recover_seconds: the round of the kill beyond an undisturbed one; lost_seconds: the"
    f" {ROUNDS_WITH_A_KILL - KILLED_IN} rounds from then on beyond undisturbed ones. Where ours is behind:"
    " it waits for whoever is gone until the deadline (half as long again as the usual round), in two"
    " rounds, since it hears of an absence only by what does not arrive; torchft's lighthouse waits once"
    " for 5 s without a heartbeat, hivemind's matchmaking for 5 s in every round. And it hashes borders,"
    " state and parameters, so that others can check the work; with the chain every step of the exchange"
    " waits for blocks (0.25 s) and for the agents' looks at the chain (0.25 s)"
)


def main(argv: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=SYSTEMS, help="measure one system")
    parser.add_argument("--play", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.play:
        key, folder, kill = chosen.play
        run = play(SYSTEMS[key], Path(folder), bool(kill))
        (Path(folder) / "run.json").write_text(json.dumps(run))
        return
    results = RESULTS / f"{NAME}.json"
    rows = {r["system"]: r for r in json.loads(results.read_text())["rows"]} if results.exists() else {}
    for key in [chosen.only] if chosen.only else SYSTEMS:
        try:
            row = measured(key)
        except subprocess.CalledProcessError as error:
            print(f"{key}: left out: {error}", file=sys.stderr)
            continue
        rows[row["system"]] = row
    if rows:
        order = [rows[s.name] for s in SYSTEMS.values() if s.name in rows]
        publish(NAME, TITLE, order, NOTE, COLUMNS)


if __name__ == "__main__":
    main(sys.argv[1:])
