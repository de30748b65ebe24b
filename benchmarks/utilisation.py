"""How much of a round a worker computes when its link is slow: real uploads and downloads through the
orchestrator's store, each worker in a network namespace of its own behind token buckets of 110 Mbit/s up and
500 Mbit/s down (the links of Covenant-72B).

Measured without the chain: seconds from a finished update to the next round's parameters at hand. In gather
mode a worker fetches all other updates, in aggregator mode the posted checkpoint. The compute share follows
for a round of `train s` seconds; the ideal is train / (train + bytes / rate).

Measured with overlap: `pi-worker join` behind the same links, and behind slower ones, on a chain with a block
every two seconds. The share is the time in which a worker trained, from the end of its first round to the end
of its last; the ideal is 1 where the bytes fit into the training.

Then the formula, with the measured efficiency of the transfers, for larger models, beside what others have
published. About 8 minutes on two cores.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, LocalStore, PoolParams
from pi_sdk.codec import run_spec_hash, sha256
from pi_sdk.eventlog import read_events
from pi_sdk.networks import dev_key
from pi_sdk.processes import accepts, free_port
from pi_sdk.store import HttpStore
from pi_sdk.tools import anvil_path
from pi_sdk.tx import Call
from pi_sdk.types import TOKEN, CodecSpec, GptSpec, InnerSpec, OuterSpec, RunSpec, TraceSpec
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
BIN = Path(sys.executable).parent

AGENTS, ROUNDS, BLOCK_SECONDS = 2, 4, 2
SLOWER = (1, 50)
"""How much slower than `UP` and `DOWN` the agents' links are. At 50 a model of 8 million parameters takes as
long as one of 400 million."""
STREAMING = {
    "model": GptSpec(layers=4, heads=4, width=400),
    "inner": InnerSpec(steps=240, batch=4),
    "trace": TraceSpec(segment=60),
    "codec": CodecSpec(name="dense-int8"),
    "outer": OuterSpec(rule="nesterov", lr=45875, momentum=58982, fragments=2, mix=1 << 15, delay=1),
    "rounds": ROUNDS,
}
PATIENCE = 600
"""Seconds after which a wait has failed."""

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
            limit(name)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", "pibench"], check=False, stderr=subprocess.DEVNULL)


def limit(namespace: str, slower: float = 1) -> None:
    """Sets the rates of a namespace's link."""
    inside = ["ip", "netns", "exec", namespace]
    for prefix, device, rate in ((inside, "eth0", UP), ([], f"{namespace}h", DOWN)):
        bucket = ["root", "tbf", "rate", f"{rate / slower:.0f}bit", "burst", "256kb", "latency", "200ms"]
        subprocess.run([*prefix, "tc", "qdisc", "replace", "dev", device, *bucket], check=True)


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


@dataclass(frozen=True)
class Network:
    """A chain and an orchestrator on the bridge. The chain mines a block for every transaction."""

    folder: Path
    rpc: str
    url: str
    """The orchestrator's store."""
    bank: Client
    orchestrator: str
    """Its address."""

    def pool(self, *, funded: bool = False, recipe: dict[str, Any]) -> tuple[int, RunSpec]:
        """An open pool of what `prepare` makes of a recipe; nothing audits it. One that is to run is funded
        and has its artifacts in the store."""
        local = LocalStore(self.folder / "artifacts")
        spec = prepare(store=local, data=Path(__file__).parent, **recipe)
        rules = PoolParams(
            orchestrator=self.orchestrator,
            rounds=spec.rounds,
            max_width=spec.max_width,
            min_slots=AGENTS,
            min_seats=0,
            min_train_window=600,
            max_train_window=600,
            reveal_window=300,
        )
        pool_id = self.bank.create_pool(spec, rules, self.url, unsound=True)
        if funded:
            shards = [shard.sha256 for shard in (*spec.data.train, *spec.data.validation)]
            with HttpStore(self.url, self.bank.account, self.bank.chain_id, pool_id) as store:
                for name in (run_spec_hash(spec).hex(), spec.genesis_file, *shards):
                    store.put(local.get(name, 1 << 30))
            amount = spec.rounds * rules.reserve_per_round()
            self.bank.mint(self.bank.sender.address, amount)
            self.bank.fund_pool(pool_id, amount)
        return pool_id, spec

    def operator(self) -> LocalAccount:
        """A new one with gas."""
        account = Account.create()
        self.bank.sender.send(Call(account.address, value=TOKEN))
        return account

    def member(self, pool_id: int) -> str:
        """The node key of a new member."""
        operator, node = self.operator(), self.operator()
        stake = self.bank.pool_params(pool_id).stake_per_slot
        self.bank.mint(operator.address, stake)
        with Client("local", operator, rpc_url=self.rpc, poll=0.05) as client:
            client.register_node(node)
            client.stake(stake)
            client.join(pool_id, node.address)
        return "0x" + node.key.hex()


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    with ExitStack() as stack:
        chain, port = free_port(), free_port()
        rpc, url = f"http://{HOST}:{chain}", f"http://{HOST}:{port}"
        anvil = [anvil_path(), "--host", f"127.0.0.1,{HOST}", "--port", chain, "--silent"]
        stack.enter_context(program(anvil, folder / "anvil.log"))
        while not accepts(chain):
            time.sleep(0.05)
        bank = stack.enter_context(Client("local", Account.from_key(dev_key(0)), rpc_url=rpc, poll=0.05))
        bank.deploy(unbonding_time=3600)
        key = Account.from_key(dev_key(1))
        bank.mint(key.address, 1000 * TOKEN)  # its close bond
        serve = [BIN / "pi-orchestrator", "serve", "--rpc-url", rpc, "--host", HOST, "--port", port]
        serve += ["--home", folder / "orchestrator"]
        stack.enter_context(program(serve, folder / "orchestrator.log", PI_PRIVATE_KEY="0x" + key.key.hex()))
        yield Network(folder, rpc, url, bank, key.address)


# --- the exchange alone -------------------------------------------------------------------------------------


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


# --- whole agents, whose exchange overlaps with training ---------------------------------------------------


def overlapped(net: Network, namespaces: list[str]) -> Iterator[dict]:
    """Two workers of Streaming DiLoCo: a row behind the links as they are, and one behind slower ones."""
    net.bank.rpc.call("evm_setAutomine", False)
    net.bank.rpc.call("evm_setIntervalMining", BLOCK_SECONDS)
    for slower in SLOWER:
        pool_id, spec = net.pool(funded=True, recipe=STREAMING)
        size = max_update_bytes(spec.codec, spec.update_values(0))
        with ExitStack() as stack:
            homes = [
                stack.enter_context(agent(net, pool_id, name, net.folder / f"{slower}x-{name}"))
                for name in namespaces
            ]
            wait_for(homes, "training", 0)  # the first checkpoint has come over the faster links
            for name in namespaces:
                limit(name, slower)
            wait_for(homes, "trained", ROUNDS - 1)
        train, took = max((trained(home) for home in homes), key=lambda pair: pair[1] / pair[0])
        yield row(
            f"{spec.codec.name}, {spec.outer.fragments} fragments",
            "overlap, agents",
            len(homes),
            spec.model.parameters,
            size,
            (len(homes) - 1) * size,
            took,
            train,
            slower=slower,
            overlap=True,
        )


@contextmanager
def agent(net: Network, pool_id: int, namespace: str, home: Path) -> Iterator[Path]:
    """`pi-worker join` behind a link; its home."""
    home.mkdir()
    key = "0x" + net.operator().key.hex()
    argv = ["ip", "netns", "exec", namespace, BIN / "pi-worker", "join", "--pool", pool_id, "--faucet"]
    argv += ["--home", home, "--rpc-url", net.rpc]
    with program(argv, home / "log", PI_PRIVATE_KEY=key):
        yield home


def wait_for(homes: list[Path], event: str, round_: int) -> None:
    """Until each agent has done this in that round."""
    for home in homes:
        give_up = time.monotonic() + PATIENCE
        while not any((e["event"], e.get("round")) == (event, round_) for e in read_events(home)):
            if time.monotonic() > give_up:
                raise TimeoutError(
                    f"no {event} {round_} of {home.name}: {(home / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.5)


def trained(home: Path) -> tuple[float, float]:
    """Seconds per round in which an agent trained, and in which it did not, after its first round."""
    first, *others = [e for e in read_events(home) if e["event"] == "trained"]
    train = sum(e["seconds"] for e in others)
    return train / len(others), (others[-1]["t"] - first["t"] - train) / len(others)


# --- the table ----------------------------------------------------------------------------------------------


def share(train: float, exchange: float) -> float:
    return train / (train + exchange)


def main() -> None:
    if os.geteuid() or not all(shutil.which(tool) for tool in ("ip", "tc")):
        print("utilisation: needs root and iproute2 (ip, tc) for its network namespaces: left out")
        return
    rows, took = [], {}
    with tempfile.TemporaryDirectory() as place, links(WORKERS) as namespaces, network(Path(place)) as net:
        pool_id, _ = net.pool(recipe={"model": GptSpec(layers=1, heads=1, width=32)})
        workers = [Worker(name, net.url, pool_id, net.member(pool_id)) for name in namespaces]
        try:
            for codec in CODECS:
                measured = exchange(workers, codec, net.folder)
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
        agents = list(overlapped(net, namespaces[:AGENTS]))
    rows += agents
    # Small transfers show what an exchange costs beside its bytes, large ones how full the link gets.
    (small_wire, small), (large_wire, large) = took["sparse-2bit", "gather"], took["dense-int8", "gather"]
    per_wire = (large - small) / (large_wire - small_wire)
    fixed = small - per_wire * small_wire
    for name, params, train, peers, published in PUBLISHED:
        for overlap in (False, True):
            up = max_update_bytes(CODECS[0], int(params)) / (2 if overlap else 1)  # in two fragments
            down = (peers - 1) * up
            seconds = fixed + per_wire * on_the_wire(up, down)
            if overlap:
                seconds = max(0.0, seconds - train) + agents[0]["took s"]
            mode = f"{'overlap' if overlap else 'gather'}, by formula"
            rows.append(row(name, mode, peers, params, up, down, seconds, train, published, overlap=overlap))
    publish(
        "utilisation",
        "Compute share behind slow links",
        rows,
        "measured: workers in namespaces of one machine, whose cores serve too; without the chain but for"
        f" the agents ({BLOCK_SECONDS} s per block, `train s` measured). By formula: sparse-2bit k = 64,"
        f" {fixed:.2f} s + {per_wire:.2f} x wire seconds; with overlap, in two fragments, what of it does not"
        " fit into the training, and the agents' idle seconds. Published figures are for other links",
        [name for name in rows[0] if name not in ("up MB", "down MB", "down Mbit/s")],
    )


def on_the_wire(up: float, down: float, slower: float = 1) -> float:
    """Seconds that so many bytes take on the links."""
    return slower * (8 * up / UP + 8 * down / DOWN)


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
    slower: float = 1,
    overlap: bool = False,
) -> dict:
    """`up` and `down` in bytes; `seconds` are those of a round in which a worker does not train."""
    wire = on_the_wire(up, down, slower)
    return {
        "method": method,
        "mode": mode,
        "R": workers,
        "params M": params / 1e6,
        "up Mbit/s": UP / 1e6 / slower,
        "down Mbit/s": DOWN / 1e6 / slower,
        "up MB": up / 1e6,
        "down MB": down / 1e6,
        "wire s": wire,
        "took s": seconds,
        "train s": float(train),
        "share %": 100 * share(train, seconds),
        "ideal %": 100 * share(train, max(0.0, wire - train) if overlap else wire),
        "published": published,
    }


if __name__ == "__main__":
    _serve_orders(sys.argv[1], int(sys.argv[2]))
