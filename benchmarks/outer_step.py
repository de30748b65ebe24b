"""The integer outer step of a round, against the memory-bandwidth floor of the same arrays.

Floor, on one thread as the step: every encoded byte of every update read once (numpy sums them up), and
the parameters (and momentum) copied to new arrays, as a step that leaves the old checkpoint alone has to. The
step decodes, scales by the norms, averages and applies the outer rule on top. Both are taken a second time
into arrays that are there already, which leaves out what the system takes to hand out memory.

Every row is a process of its own, with the updates in mapped files. Its peak is the memory that it holds and
cannot give back (RssAnon: mapped pages of a file are the system's cache), from before the checkpoint is
there, against three times the checkpoint and one update. Times are the best of several in turn, since the
machine is shared. The check of an update and the root of a checkpoint are timed by themselves, the root
against hashing the same bytes in one go.

    python -m benchmarks outer_step
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train import kernels
from pi_train.checkpoint_file import out_of_memory
from pi_train.codecs import UpdateFile, chunk_values, encode_update, max_update_bytes, update_header
from pi_train.outer import Checkpoint, outer_step, step_block

from .common import publish

PARAMETERS = 16 * 1024 * 1024
WORKERS = (16, 64)
REPEATS = 5
NESTEROV = OuterSpec(rule="nesterov", lr=45875, momentum=58982)
SETTINGS = {
    "sparse-2bit k=64": (CodecSpec(), OuterSpec()),
    "dense-int8, nesterov": (CodecSpec(name="dense-int8"), NESTEROV),
    "dense-fixed": (CodecSpec(name="dense-fixed"), OuterSpec()),
}


def run_spec(codec: CodecSpec, outer: OuterSpec) -> RunSpec:
    """A RunSpec with the only parts that the outer step reads."""
    return RunSpec.model_construct(codec=codec, outer=outer, frac_bits=24)


def best(works: list[Callable[[], object]]) -> list[float]:
    """Seconds of each, the best of `REPEATS`, taken in turn."""
    taken = []
    for _ in range(REPEATS + 1):
        row = []
        for work in works:
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        taken.append(row)
    return [min(column) for column in zip(*taken[1:], strict=True)]


def held() -> int:
    """Bytes of memory that belong to this process alone."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say what a process holds")


def peak_of(work: Callable[[], object]) -> int:
    """The most that `held` said while it worked, looked up every millisecond."""
    done, peaks = threading.Event(), [held()]

    def watch() -> None:
        while not done.wait(0.001):
            peaks.append(held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    kept = work()
    peaks.append(held())
    done.set()
    watcher.join()
    del kept
    return max(peaks)


def updates(codec: CodecSpec, encoded: np.ndarray, workers: int, folder: Path) -> list[UpdateFile]:
    """As many updates, mapped: the chunks of one, each time in another order."""
    size = max_update_bytes(codec, chunk_values(codec)) - 16
    found = []
    for i in range(workers):
        body = np.roll(encoded.reshape(-1, size), 977 * i, axis=0)
        data = out_of_memory(update_header(codec, PARAMETERS) + body.tobytes(), folder)
        found.append(UpdateFile(codec, data, PARAMETERS))
    return found


def measure(name: str, workers: int, folder: Path) -> dict:
    codec, outer = SETTINGS[name]
    rng, spec = np.random.default_rng(0), run_spec(codec, outer)
    values = (rng.standard_normal(PARAMETERS, dtype=np.float32) * 20_000).astype(np.int32)
    encoded = np.frombuffer(encode_update(codec, values), np.uint8, offset=16).copy()
    del values
    assert kernels.load() is not None, "the step is measured compiled"
    baseline = held() - encoded.nbytes
    theta = rng.integers(-(1 << 22), 1 << 22, PARAMETERS, dtype=np.int32)
    momentum = rng.integers(-(1 << 22), 1 << 22, PARAMETERS) if outer.momentum else None
    before = Checkpoint(theta, momentum)
    files = updates(codec, encoded, workers, folder)
    update_bytes = len(files[0].data)
    del encoded
    contributions = [(update, 1) for update in files]
    peak = peak_of(lambda: outer_step(spec, before, contributions)) - baseline
    bound = 3 * (theta.nbytes + (0 if momentum is None else momentum.nbytes)) + update_bytes

    there = Checkpoint(theta.copy(), None if momentum is None else momentum.copy())
    weighted = [(update, 1 << 16) for update in files]
    words = [file.body[: len(file.body) // 8 * 8].view(np.int64) for file in files]

    def read() -> None:
        for w in words:
            w.sum()

    def floor() -> object:
        read()
        return theta.copy(), None if momentum is None else momentum.copy()

    def floor_there() -> None:
        read()
        np.copyto(there.theta, theta)
        if momentum is not None and there.momentum is not None:
            np.copyto(there.momentum, momentum)

    floor_s, step_s, floor_there_s, step_there_s, check_s = best(
        [
            floor,
            lambda: outer_step(spec, before, contributions),
            floor_there,
            lambda: step_block(spec, weighted, workers, 0, before, there),
            lambda: UpdateFile(codec, files[0].data, PARAMETERS),
        ]
    )
    root_s, hash_s = best([before.root, lambda: hashlib.sha256(before.to_bytes()).digest()])
    return {
        "codec": name,
        "workers": workers,
        "params": PARAMETERS,
        "update MB": update_bytes / 1e6,
        "seconds": step_s,
        "floor_seconds": floor_s,
        "ratio": step_s / floor_s,
        "seconds, memory there": step_there_s,
        "floor, memory there": floor_there_s,
        "ratio, memory there": step_there_s / floor_there_s,
        "peak MB": peak / 1e6,
        "bound MB": bound / 1e6,
        "check s": check_s,
        "root s": root_s,
        "sha256 s": hash_s,
    }


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS:
            for workers in WORKERS:
                command = [sys.executable, "-m", "benchmarks.outer_step", name, str(workers), folder]
                ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append(json.loads(ran.stdout))
    note = "floor: read every update byte, copy parameters and momentum; peak: of one step, with all updates"
    shown = (
        "codec",
        "workers",
        "seconds",
        "floor_seconds",
        "ratio",
        "ratio, memory there",
        "peak MB",
        "bound MB",
    )
    publish("outer_step", "Outer step on one thread", rows, note, shown)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
