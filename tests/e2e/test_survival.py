"""kill -9 of the orchestrator, of a worker and of a validator in the middle of a round: the run goes on to
its end, nobody honest loses stake, and everybody's pay is whole."""

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pi_sdk import Client, HttpStore, LocalStore, PoolParams
from pi_sdk.accounts import load_account
from pi_sdk.codec import run_spec_hash
from pi_sdk.devnet import deploy, program, start_anvil, start_orchestrator
from pi_sdk.networks import derived_key, dev_key
from pi_sdk.processes import Process, Processes, accepts, free_port
from pi_sdk.tools import anvil_path
from pi_sdk.tx import Call
from pi_sdk.types import GptSpec, InnerSpec, TraceSpec
from pi_train.prepare import prepare

ROUNDS = 4
WORKERS = 2
VALIDATORS = 3
TOKEN = 10**18


class Town:
    """A chain, an orchestrator, a pool, workers and validators: all of them processes."""

    def __init__(self, processes: Processes, home: Path):
        self.processes, self.home = processes, home
        self.rpc_url, self.store_port = f"http://127.0.0.1:{free_port()}", free_port()
        start_anvil(processes, anvil_path(), int(self.rpc_url.rsplit(":")[-1]), home / "chain.json")
        deploy(self.rpc_url)
        self.chain = Client("local", rpc_url=self.rpc_url)
        bank = load_account(private_key=dev_key(0), chain_id=31337)
        with Client("local", bank, rpc_url=self.rpc_url) as pi:
            self.orchestrator()
            creator = load_account(private_key=dev_key(2), chain_id=31337)
            pi.mint(creator.address, 10_000 * TOKEN)
        wait_for(lambda: accepts(self.store_port), "the orchestrator")
        self.create_pool(creator)

    def create_pool(self, creator) -> None:
        local, url = LocalStore(self.home / "artifacts"), f"http://127.0.0.1:{self.store_port}"
        spec = prepare(
            store=local,
            rounds=ROUNDS,
            data=Path(__file__).parent,
            model=GptSpec(layers=1, heads=2, width=32, context=32),
            inner=InnerSpec(steps=4, batch=4, sequence=32),
            trace=TraceSpec(segment=2),
        )
        orchestrator = load_account(private_key=dev_key(1), chain_id=31337).address
        self.params = PoolParams(
            orchestrator=orchestrator,
            rounds=ROUNDS,
            max_width=spec.max_width,
            min_slots=WORKERS,
            min_seats=VALIDATORS,
            reveal_window=90,
            verdict_window=90,
            verdict_reveal_window=90,
            probation=ROUNDS,
        )
        with Client("local", creator, rpc_url=self.rpc_url) as pi:
            self.pool = pi.create_pool(spec, self.params, url)
            store = HttpStore(url, pi.account, pi.chain_id, self.pool)
            shards = (*spec.data.train, *spec.data.validation)
            for name in (run_spec_hash(spec).hex(), spec.genesis_file, *(s.sha256 for s in shards)):
                store.put(local.get(name, 1 << 26))
            pi.fund_pool(self.pool, ROUNDS * self.params.reserve_per_round())

    def orchestrator(self) -> Process:
        return start_orchestrator(
            self.processes,
            rpc_url=self.rpc_url,
            port=self.store_port,
            key=dev_key(1),
            home=self.home / "orchestrator",
        )

    def agent(self, role: str, i: int) -> Process:
        """`pi-worker join` or `pi-validator run`; the second start of one resumes it."""
        command = ["pi-worker", "join"] if role == "worker" else ["pi-validator", "run"]
        argv = [
            program(command[0]),
            command[1],
            "--pool",
            str(self.pool),
            "--rpc-url",
            self.rpc_url,
            "--faucet",
        ]
        key = load_account(private_key=derived_key(0, role, i), chain_id=31337)
        if not self.chain.gas_balance(key.address):
            bank = load_account(private_key=dev_key(9), chain_id=31337)
            with Client("local", bank, rpc_url=self.rpc_url) as pi:
                pi.sender.send(Call(key.address, value=10**19))
        return self.processes.start(
            f"{role}-{i}",
            [*argv, "--home", self.home / f"{role}-{i}"],
            env={"PI_PRIVATE_KEY": key.key.to_0x_hex(), "OMP_NUM_THREADS": "1"},
        )

    def events(self, agent: str) -> list[dict]:
        path = self.home / agent / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting for {what}"
        time.sleep(0.02)


def kill(process: Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.popen.wait()


@pytest.mark.slow
def test_a_run_survives_kill_9_of_anybody(tmp_path: Path):
    with ExitStack() as cleanup, Processes(tmp_path / "logs") as processes:
        town = Town(processes, tmp_path)
        cleanup.callback(town.chain.close)
        orchestrator = processes.all[-1]
        workers = [town.agent("worker", i) for i in range(WORKERS)]
        validators = [town.agent("validator", i) for i in range(VALIDATORS)]

        def seen(agent: str, event: str, round_: int) -> bool:
            return any(e["event"] == event and e.get("round") == round_ for e in town.events(agent))

        # A worker between training and reveal: salt and update are on disk, or the round is trained again.
        wait_for(lambda: seen("worker-0", "trained", 0), "the first training")
        kill(workers[0])
        workers[0] = town.agent("worker", 0)

        # The orchestrator while a round is under way.
        wait_for(lambda: seen("worker-1", "training", 1), "round 1")
        kill(orchestrator)
        town.orchestrator()

        # A validator between its verdict commitment and its reveal, or a little later.
        wait_for(lambda: seen("validator-2", "verdicts_committed", 1), "verdicts about round 1")
        kill(validators[2])
        validators[2] = town.agent("validator", 2)

        wait_for(lambda: town.chain.pool(town.pool).ended, "the end of the run")
        for agent in workers + validators:
            agent.popen.wait(timeout=180)
            assert agent.popen.returncode == 0, agent.tail(20)

        events = town.chain.events(pool_id=town.pool)
        names = [e.name for e in events]
        assert names.count("RoundClosed") == ROUNDS
        assert "Missed" not in names and "Convicted" not in names and "CaseOpened" not in names
        assert not town.chain.events(names=["Slashed"])
        assert all(
            e["agrees"] for i in range(WORKERS) for e in town.events(f"worker-{i}") if e["event"] == "closed"
        )

        keys = [load_account(private_key=derived_key(0, "worker", i), chain_id=31337) for i in range(WORKERS)]
        for key in keys:
            assert town.chain.total_earned(key.address) == ROUNDS * town.params.price_per_slot
            assert town.chain.stake_account(key.address).bonded == town.params.stake_per_slot
        judged = sum(len(e.args["verdicts"]) for e in events if e.name == "VerdictsRevealed")
        assert judged == ROUNDS * WORKERS * town.params.auditors
