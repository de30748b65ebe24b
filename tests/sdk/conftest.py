"""One local chain for all tests of the SDK that need no chain of their own; a block per transaction, time
moves on request."""

from collections.abc import Callable, Iterator

import pytest
from chain import Anvil, anvil
from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, dev_key

POLL = 0.02


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """anvil with our contracts, deployed by its account 0 to where every program expects them."""
    with anvil(tmp_path_factory.mktemp("chain")) as node:
        with Client("local", Account.from_key(dev_key(0)), rpc_url=node.url, poll=POLL) as client:
            client.deploy()
        yield node


@pytest.fixture
def someone(chain: Anvil) -> Iterator[Callable[..., Client]]:
    """Makes clients of fresh accounts with gas money and `tokens` token wei."""
    clients: list[Client] = []

    def make(tokens: int = 0, account: LocalAccount | None = None) -> Client:
        account = account or Account.create()
        chain.give_gas(account.address)
        client = Client("local", account, rpc_url=chain.url, poll=POLL)
        clients.append(client)
        if tokens:
            client.mint(account.address, tokens)
        return client

    yield make
    for client in clients:
        client.close()
