"""A small pool on a real chain for tests of the agents: anvil, the contracts, `pi-orchestrator serve`,
workers and validators as processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chain import Anvil, anvil, free_port
from eth_account import Account
from forkserver import Forked
from pi_sdk.client import Client
from pi_sdk.errors import StoreError
from pi_sdk.eventlog import read_events
from pi_sdk.networks import derived_key, dev_key
from pi_sdk.rules import publish_run
from pi_sdk.store import HttpStore, LocalStore
from pi_sdk.types import TOKEN, AuditSpec, GptSpec, InnerSpec, PoolParams, RunSpec, TraceSpec
from pi_train.prepare import prepare
from pi_validator.run_audit import Finding, RunAudit

PATIENCE = 240
"""Seconds after which a wait has failed; a busy machine may take a minute to import torch."""
BIN = Path(sys.executable).parent


def wait_for(what: str, probe: Callable[[], object], seconds: float = PATIENCE) -> object:
    """Polls until `probe` gives something; fails with `what` when it does not."""
    give_up = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < give_up, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return found


class Program:
    """One of our programs, its home and its log."""

    def __init__(self, home: Path, argv: Sequence[object], environment: dict[str, str]):
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.log = home / "log"
        self.popen = Forked(argv, self.log, {**os.environ, **environment})

    def events(self, name: str | None = None) -> list[dict]:
        return [e for e in read_events(self.home) if name in (None, e["event"])]

    def wait_for(self, name: str, **fields: object) -> dict:
        """The first event of that name with these fields. Fails when the program ends without it."""

        def look() -> dict | None:
            found = [e for e in self.events(name) if fields.items() <= e.items()]
            ended = self.popen.poll()
            assert found or ended is None, f"ended with {ended} before {name} {fields}: {self.tail()}"
            return found[0] if found else None

        found = wait_for(f"{name} {fields}", look)
        assert isinstance(found, dict)
        return found

    def end(self, code: int = 0) -> None:
        """Waits for the program's end, and for that exit code."""
        wait_for(f"the end of {self.home.name}", lambda: self.popen.poll() is not None)
        assert self.popen.returncode == code, self.tail()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.popen.send_signal(number)
        if number == signal.SIGKILL:
            self.popen.wait()


class TestNetwork:
    """A chain with our contracts and an orchestrator. Keys are derived; everybody has gas."""

    __test__ = False

    def __init__(self, folder: Path, chain: Anvil):
        self.folder = folder
        self.chain = chain
        self.port = free_port()
        self.store_url = f"http://127.0.0.1:{self.port}"
        self.programs: list[Program] = []
        with Client("local", Account.from_key(dev_key(0)), rpc_url=chain.url, poll=0.05) as deployer:
            deployer.deploy(unbonding_time=3600)
        self.creator = Client("local", self.key("creator"), rpc_url=chain.url, poll=0.05)
        chain.give_gas(self.creator.sender.address)

    def key(self, role: str, i: int = 0):
        return Account.from_key(derived_key(0, role, i))

    def start(self, name: str, argv: Sequence[object], **environment: str) -> Program:
        program = Program(self.folder / name, argv, environment)
        self.programs.append(program)
        return program

    def start_orchestrator(self, *arguments: object) -> None:
        key = self.key("orchestrator")
        self.chain.give_gas(key.address)
        self.creator.mint(key.address, 1000 * TOKEN)  # it stakes its close bond from them
        program = self.start(
            "orchestrator",
            [BIN / "pi-orchestrator", "serve", "--rpc-url", self.chain.url, "--port", self.port]
            + ["--home", self.folder / "orchestrator", *arguments],
            PI_PRIVATE_KEY="0x" + key.key.hex(),
        )

        def answers() -> bool:
            assert program.popen.poll() is None, program.tail()
            try:
                with HttpStore(self.store_url, tries=1) as store:
                    return store.has("0" * 64) is False
            except StoreError:
                return False

        self.orchestrator = program
        wait_for("the orchestrator's store", answers)

    def pool(
        self, rounds: int = 2, *, audit_segments: int = 1, recipe: dict[str, Any] | None = None, **params: int
    ) -> tuple[int, RunSpec]:
        """A funded pool around a model of a few thousand parameters; a slot has two segments. `recipe`:
        other arguments of `prepare`.
        """
        texts = self.folder / "texts"
        texts.mkdir(exist_ok=True)
        for i in range(60):
            (texts / f"{i}.txt").write_text(f"{i} the quick brown fox jumps over the lazy dog\n" * 20)
        local = LocalStore(self.folder / "artifacts")
        tiny = {
            "data": texts,
            "model": GptSpec(layers=1, heads=2, width=32, context=32),
            "inner": InnerSpec(steps=4, batch=2, sequence=32, warmup=0),
            "trace": TraceSpec(segment=2),
            "audit": AuditSpec(segments=audit_segments),
        }
        spec = prepare(store=local, rounds=rounds, **{**tiny, **(recipe or {})})
        # The windows are long: every phase ends as soon as all have acted. The confirm-only round has the
        # shortest commit window, so a test whose members do not confirm needs that to be short.
        names = ("min_train_window", "max_train_window", "reveal_window", "verdict_window")
        windows = dict.fromkeys(names, 300)
        # A seat stays locked for the time of an appeal; nobody appeals unless the test does.
        values = {"min_seats": 0, "min_slots": 2, "appeal_window": 8} | windows | params
        rules = PoolParams(
            orchestrator=self.key("orchestrator").address, rounds=rounds, max_width=spec.max_width, **values
        )
        pool_id = self.creator.create_pool(spec, rules, self.store_url, unsound=True)
        with HttpStore(self.store_url, self.creator.account, self.creator.chain_id, pool_id) as remote:
            publish_run(spec, local, remote)
        amount = rounds * rules.reserve_per_round()
        self.creator.mint(self.creator.sender.address, amount)
        self.creator.fund_pool(pool_id, amount)
        return pool_id, spec

    def node(self, i: int) -> str:
        return self.key("worker-node", i).address

    def worker(self, pool_id: int, i: int, *arguments: object) -> Program:
        """`pi-worker join` with its own operator and node, stake from the faucet."""
        operator = self.key("operator", i)
        self.chain.give_gas(operator.address)
        home = self.folder / f"worker-{i}"
        return self.start(
            f"worker-{i}",
            [BIN / "pi-worker", "join", "--pool", pool_id, "--home", home, "--rpc-url", self.chain.url]
            + ["--faucet", *arguments],
            PI_PRIVATE_KEY="0x" + operator.key.hex(),
            PI_NODE_KEY="0x" + self.key("worker-node", i).key.hex(),
        )

    def validator(self, pool_id: int, i: int, *arguments: object) -> Program:
        """`pi-validator run` with its own operator and node, stake from the faucet."""
        operator = self.key("validator-operator", i)
        self.chain.give_gas(operator.address)
        home = self.folder / f"validator-{i}"
        return self.start(
            f"validator-{i}",
            [BIN / "pi-validator", "run", "--pool", pool_id, "--home", home, "--rpc-url", self.chain.url]
            + ["--faucet", *arguments],
            PI_PRIVATE_KEY="0x" + operator.key.hex(),
            PI_NODE_KEY="0x" + self.key("validator-node", i).key.hex(),
        )

    @contextmanager
    def member(self, pool_id: int, i: int) -> Iterator[Client]:
        """A client of a node that was registered and has joined, for the test to play."""
        operator, node = self.key("operator", i), self.key("worker-node", i)
        for account in (operator, node):
            self.chain.give_gas(account.address)
        stake = self.creator.pool_params(pool_id).stake_per_slot
        self.creator.mint(operator.address, stake)
        with Client("local", operator, rpc_url=self.chain.url, poll=0.05) as client:
            client.register_node(node)
            client.stake(stake)
            client.join(pool_id, node.address)
        with Client("local", node, rpc_url=self.chain.url, poll=0.05) as client:
            yield client

    @contextmanager
    def seat(self, pool_id: int, i: int) -> Iterator[Client]:
        """Same for a validator's node with a seat."""
        operator, node = self.key("operator", i), self.key("worker-node", i)
        for account in (operator, node):
            self.chain.give_gas(account.address)
        stake = self.creator.pool_params(pool_id).seat_stake
        self.creator.mint(operator.address, stake)
        with Client("local", operator, rpc_url=self.chain.url, poll=0.05) as client:
            client.register_node(node)
            client.stake(stake)
            client.take_seat(pool_id, node.address)
        with Client("local", node, rpc_url=self.chain.url, poll=0.05) as client:
            yield client

    def findings(self, pool_id: int) -> list[Finding]:
        """What `pi audit` finds wrong in the run."""
        with HttpStore(self.store_url) as store:
            return [*RunAudit(self.creator, pool_id, store).run()]

    def command(self, i: int, *arguments: object) -> subprocess.CompletedProcess:
        """A short `pi-worker` command as worker i; its output is captured."""
        keys = {
            "PI_PRIVATE_KEY": "0x" + self.key("operator", i).key.hex(),
            "PI_NODE_KEY": "0x" + self.key("worker-node", i).key.hex(),
        }
        argv = [
            BIN / "pi-worker",
            *arguments,
            "--home",
            self.folder / f"worker-{i}",
            "--rpc-url",
            self.chain.url,
        ]
        return subprocess.run(
            [str(a) for a in argv],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, **keys},
        )

    def status(self, i: int, pool_id: int) -> dict:
        done = self.command(i, "status", "--pool", pool_id, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def network(folder: Path, *orchestrator: object, keep: bool = False) -> Iterator[TestNetwork]:
    """`orchestrator`: further arguments of `pi-orchestrator serve`; `keep` as in `Anvil`."""
    with anvil(folder, 0.25, keep=keep) as chain:
        net = TestNetwork(folder, chain)
        try:
            net.start_orchestrator(*orchestrator)
            yield net
        except BaseException:
            for program in net.programs:  # pytest shows them beside the failure
                print(f"--- {program.home.name}\n{program.tail()}")
            raise
        finally:
            for program in net.programs:
                if program.popen.poll() is None:
                    program.kill()
            net.creator.close()
