"""Fixtures: a chain with contracts for the whole session, and a world of creator, workers and seats on it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chain import Anvil, anvil  # noqa: E402
from pi_sdk import Client, dev_key, load_account  # noqa: E402


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("chain"), 0.1) as running:
        account = load_account(private_key=dev_key(0), chain_id=31337)
        with Client("local", account, rpc_url=running.url, poll=0.05) as client:
            client.deploy()
        yield running
