"""Pins the determinism class before anything imports torch; a chain for whoever lies on one."""

from collections.abc import Callable, Iterator

import pytest
from chain import Anvil, anvil
from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, dev_key
from pi_train import determinism

determinism.pin(determinism.default_class())

from attacks.slots import Stage  # noqa: E402  (loads torch)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A run of a tiny model whose second round is attacked: three segments, one of them audited."""
    return Stage(tmp_path_factory.mktemp("stage"), segments=3, drawn=1)


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("chain")) as node:
        with Client("local", Account.from_key(dev_key(0)), rpc_url=node.url, poll=0.02) as client:
            client.deploy(unbonding_time=3600)
        yield node


@pytest.fixture
def someone(chain: Anvil) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(tokens: int = 0, account: LocalAccount | None = None) -> Client:
        clients.append(Client("local", account or Account.create(), rpc_url=chain.url, poll=0.02))
        chain.give_gas(str(clients[-1].address))
        if tokens:
            clients[-1].mint(str(clients[-1].address), tokens)
        return clients[-1]

    yield make
    for client in clients:
        client.close()
