"""Fixtures: a chain with contracts for the whole session, and a world of creator, workers and seats on it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chain import Anvil, anvil, free_port
from pi_sdk import Client, dev_key, load_account

sys.path.insert(0, str(Path(__file__).parent))  # scripted.py, process.py

from process import Process  # noqa: E402


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("chain"), 0.1) as running:
        account = load_account(private_key=dev_key(0), chain_id=31337)
        with Client("local", account, rpc_url=running.url, poll=0.05) as client:
            client.deploy(unbonding_time=3600)
        yield running


@pytest.fixture
def orchestrate(chain: Anvil, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts `pi-orchestrator serve` for a key, in the same home each time; the last of a test is stopped."""
    started: list[Process] = []

    def start(key: bytes, *arguments: str, port: int = 0) -> Process:
        process = Process(tmp_path / "home", chain, key, port or free_port(), arguments)
        started.append(process)
        process.wait_ready()
        return process

    yield start
    for process in started:
        process.stop()
