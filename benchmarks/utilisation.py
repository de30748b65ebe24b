"""How much of a round a worker computes when its link is slow: real uploads and downloads through the
orchestrator's store, each worker in a network namespace of its own behind token buckets of 110 Mbit/s up and
500 Mbit/s down (the links of Covenant-72B).

Measured: seconds from a finished update to the next round's parameters at hand, without the chain. In gather
mode a worker fetches all other updates, in aggregator mode the posted checkpoint. The compute share follows
for a round of `train s` seconds; the ideal is train / (train + bytes / rate). Then the same formula, with the
measured efficiency of the transfers, for larger models, beside what others have published.

    sudo python -m benchmarks utilisation        root, for the namespaces
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from eth_account import Account
from pi_sdk import Client, LocalStore, PoolParams
from pi_sdk.codec import sha256
from pi_sdk.networks import dev_key
from pi_sdk.processes import accepts, free_port
from pi_sdk.store import HttpStore
from pi_sdk.tools import anvil_path
from pi_sdk.tx import Call
from pi_sdk.types import TOKEN, CodecSpec, GptSpec
from pi_train.codecs import encode_update, max_update_bytes
from pi_train.prepare import prepare

from .common import publish

UP, DOWN = 110e6, 500e6
"""Bits per second."""
WORKERS = 4
PARAMETERS = 8 << 20
REPEATS = 3
TRAIN_SECONDS = 120
CODECS = (CodecSpec(), CodecSpec(name="dense-int8"))
HOST = "10.77.0.1"

PUBLISHED = (
    # model, parameters, seconds of compute per round, peers, what was published
    ("1B, 4 workers", 1e9, 300, 4, "OpenDiLoCo 90-95 %"),
    ("10B, 14 nodes", 10e9, 38 * 60, 14, "INTELLECT-1 83-96 %"),
    ("8B, 15 peers", 8e9, 4.5 * 60, 15, "SparseLoCo 95.7 %"),
    ("72B, 20 peers", 72e9, 20 * 60, 20, "Covenant 94.5 %"),
)


@contextmanager
def links(workers: int) -> Iterator[list[str]]:
    """Namespaces `pi0`, ... on one bridge that has `HOST`; each link is limited both ways."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    def limit(device: str, rate: float, *prefix: str) -> None:
        bucket = ["root", "tbf", "rate", f"{rate:.0f}bit", "burst", "256kb", "latency", "200ms"]
        subprocess.run([*prefix, "tc", "qdisc", "add", "dev", device, *bucket], check=True)

    names = [f"pi{i}" for i in range(workers)]
    try:
        ip("link", "add", "pibench", "type", "bridge")
        ip("addr", "add", f"{HOST}/24", "dev", "pibench")
        ip("link", "set", "pibench", "up")
        for i, name in enumerate(names):
            ip("netns", "add", name)
            ip("link", "add", f"{name}h", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}h", "master", "pibench", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{i + 2}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            limit("eth0", UP, "ip", "netns", "exec", name)
            limit(f"{name}h", DOWN)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", "pibench"], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def program(argv: list[object], log: Path, **environment: str) -> Iterator[subprocess.Popen]:
    with log.open("ab") as out:
        started = subprocess.Popen(
            [str(a) for a in argv], stdout=out, stderr=out, env={**os.environ, **environment}
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def pool(folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """A chain, an orchestrator on the bridge and a pool with members: store URL, pool id, node keys."""
    with ExitStack() as stack:
        chain, port = free_port(), free_port()
        rpc, url = f"http://127.0.0.1:{chain}", f"http://{HOST}:{port}"
        stack.enter_context(program([anvil_path(), "--port", chain, "--silent"], folder / "anvil.log"))
        while not accepts(chain):
            time.sleep(0.05)
        bank = stack.enter_context(Client("local", Account.from_key(dev_key(0)), rpc_url=rpc, poll=0.05))
        bank.deploy(unbonding_time=3600)
        key = Account.from_key(dev_key(1))
        serve = [Path(sys.executable).parent / "pi-orchestrator", "serve", "--rpc-url", rpc, "--host", HOST]
        serve += ["--port", port, "--home", folder / "orchestrator"]
        stack.enter_context(program(serve, folder / "orchestrator.log", PI_PRIVATE_KEY="0x" + key.key.hex()))
        spec = prepare(
            store=LocalStore(folder / "artifacts"),
            data=Path(__file__).parent,
            model=GptSpec(layers=1, heads=1, width=32),
        )
        rules = PoolParams(orchestrator=key.address, rounds=spec.rounds, max_width=spec.max_width)
        pool_id = bank.create_pool(spec, rules, url, unsound=True)
        nodes = []
        for _ in range(WORKERS):
            operator, node = Account.create(), Account.create()
            for account in (operator, node):
                bank.sender.send(Call(account.address, value=TOKEN))
            bank.mint(operator.address, rules.stake_per_slot)
            with Client("local", operator, rpc_url=rpc, poll=0.05) as client:
                client.register_node(node)
                client.stake(rules.stake_per_slot)
                client.join(pool_id, node.address)
            nodes.append("0x" + node.key.hex())
        yield url, pool_id, nodes


class Worker:
    """A worker behind its link: told what to do by lines of JSON, answers with seconds."""

    def __init__(self, namespace: str, url: str, pool_id: int, key: str):
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", "benchmarks.utilisation", url]
            + [str(pool_id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PI_NODE_KEY": key},
        )

    def tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _serve_orders(url: str, pool_id: int) -> None:
    """The worker's side."""
    with HttpStore(url, Account.from_key(os.environ["PI_NODE_KEY"]), 31337, pool_id) as store:
        for line in sys.stdin:
            order = json.loads(line)
            data = Path(order["put"]).read_bytes() if "put" in order else b""
            began = time.perf_counter()
            if data:
                store.put(data)
            for name, size in order.get("get", ()):
                store.get(name, size)
            print(json.dumps(time.perf_counter() - began), flush=True)


def exchange(workers: list[Worker], codec: CodecSpec, folder: Path) -> dict[str, float]:
    """Median seconds of the slowest worker for its upload, and for its downloads in both modes."""
    rng = np.random.default_rng(0)
    size = max_update_bytes(codec, PARAMETERS)
    seconds: dict[str, list[float]] = {"put": [], "gather": [], "aggregator": []}

    def together(orders: list[dict]) -> float:
        for worker, order in zip(workers, orders, strict=True):
            worker.tell(**order)
        return max(worker.answer() for worker in workers)

    for _ in range(REPEATS):
        names = []
        for i in range(len(workers)):
            values = (rng.standard_normal(PARAMETERS, dtype=np.float32) * 20_000).astype(np.int32)
            data = encode_update(codec, values)
            (folder / f"update-{i}").write_bytes(data)
            names.append(sha256(data).hex())
        checkpoint = rng.bytes(4 * PARAMETERS)  # as large as the posted one
        (folder / "checkpoint").write_bytes(checkpoint)
        seconds["put"].append(together([{"put": str(folder / f"update-{i}")} for i in range(len(workers))]))
        others = [[(n, size) for n in names if n != names[i]] for i in range(len(workers))]
        seconds["gather"].append(together([{"get": get} for get in others]))
        workers[0].tell(put=str(folder / "checkpoint"))
        workers[0].answer()
        whole = [(sha256(checkpoint).hex(), len(checkpoint))]
        seconds["aggregator"].append(together([{"get": whole} for _ in workers]))
    return {what: sorted(taken)[len(taken) // 2] for what, taken in seconds.items()}


def share(train: float, exchange: float) -> float:
    return train / (train + exchange)


def main() -> None:
    if os.geteuid() or not all(shutil.which(tool) for tool in ("ip", "tc")):
        print("utilisation: needs root and iproute2 (ip, tc) for its network namespaces: left out")
        return
    rows, took = [], {}
    with tempfile.TemporaryDirectory() as place, links(WORKERS) as namespaces:
        folder = Path(place)
        with pool(folder) as (url, pool_id, keys):
            workers = [Worker(n, url, pool_id, key) for n, key in zip(namespaces, keys, strict=True)]
            try:
                for codec in CODECS:
                    measured = exchange(workers, codec, folder)
                    size = max_update_bytes(codec, PARAMETERS)
                    for mode, down in (("gather", (WORKERS - 1) * size), ("aggregator", 4 * PARAMETERS)):
                        wire, seconds = on_the_wire(size, down), measured["put"] + measured[mode]
                        took[codec.name, mode] = (wire, seconds)
                        rows.append(
                            row(codec.name, mode, WORKERS, PARAMETERS, size, down, seconds, TRAIN_SECONDS)
                        )
            finally:
                for worker in workers:
                    worker.end()
    # Small transfers show what an exchange costs beside its bytes, large ones how full the link gets.
    (small_wire, small), (large_wire, large) = took["sparse-2bit", "gather"], took["dense-int8", "gather"]
    per_wire = (large - small) / (large_wire - small_wire)
    fixed = small - per_wire * small_wire
    for name, params, train, peers, published in PUBLISHED:
        up = max_update_bytes(CODECS[0], int(params))
        down = (peers - 1) * up
        seconds = fixed + per_wire * on_the_wire(up, down)
        rows.append(row(name, "gather, by formula", peers, params, up, down, seconds, train, published))
    publish(
        "utilisation",
        "Compute share behind 110 Mbit/s up and 500 Mbit/s down",
        rows,
        f"measured: {WORKERS} workers in namespaces of one machine, whose cores serve too; without the chain."
        f" By formula: sparse-2bit k = 64, {fixed:.2f} s + {per_wire:.2f} x wire seconds;"
        " published figures are for other links",
    )


def on_the_wire(up: float, down: float) -> float:
    """Seconds that so many bytes take on the links."""
    return 8 * up / UP + 8 * down / DOWN


def row(
    method: str,
    mode: str,
    workers: int,
    params: float,
    up: float,
    down: float,
    seconds: float,
    train: float,
    published: str = "",
) -> dict:
    wire = on_the_wire(up, down)
    return {
        "method": method,
        "mode": mode,
        "R": workers,
        "params M": params / 1e6,
        "up MB": up / 1e6,
        "down MB": down / 1e6,
        "wire s": wire,
        "took s": seconds,
        "train s": float(train),
        "share %": 100 * share(train, seconds),
        "ideal %": 100 * share(train, wire),
        "published": published,
    }


if __name__ == "__main__":
    _serve_orders(sys.argv[1], int(sys.argv[2]))
