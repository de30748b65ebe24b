"""Sending: nonces under threads, stuck and forgotten transactions, a node that is killed, and money that is
missing."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chain import Anvil, anvil
from eth_account import Account
from pi_sdk import (
    ChainError,
    Client,
    ContractError,
    InsufficientFunds,
    TransactionFailed,
    WrongNetwork,
    dev_key,
)
from pi_sdk.tx import Call
from small_pool import TOKEN, make_hash, make_pool, opened, participant

Someone = Callable[..., Client]
FRIEND = "0x" + "ab" * 20


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Anvil]:
    """A chain that mines only when it is told to."""
    with anvil(tmp_path, None, "--no-mining") as node:
        yield node


@contextmanager
def paying(node: Anvil, **options: Any) -> Iterator[Client]:
    with Client("local", Account.from_key(dev_key(5)), rpc_url=node.url, poll=0.02, **options) as client:
        yield client


@contextmanager
def in_background(action: Callable[[], Any]) -> Iterator[Future]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(action)


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true value of `condition`."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)
    return value


def in_pool(node: Anvil, client: Client, nonce: int) -> dict | None:
    """The transaction that waits under a nonce."""
    content = node.rpc("txpool_content")
    waiting = {k.lower(): v for part in ("pending", "queued") for k, v in content[part].items()}
    return waiting.get(client.sender.address.lower(), {}).get(str(nonce))


def test_threads_share_a_sender_without_losing_or_doubling_a_nonce(someone: Someone):
    client = someone()
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                client.mint(FRIEND, 1)
        except Exception as error:
            errors.append(error)

    before = client.token_balance(FRIEND)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert client.token_balance(FRIEND) == before + 20
    assert client.rpc.integer("eth_getTransactionCount", client.address, "latest") == 20


def test_another_program_that_used_the_nonce_is_noticed(someone: Someone):
    """The tracked nonce is behind: the transaction gets the next free one."""
    account = Account.create()
    first, second = someone(account=account), someone(account=account)
    first.mint(FRIEND, 1)
    second.mint(FRIEND, 1)
    first.mint(FRIEND, 1)
    assert first.rpc.integer("eth_getTransactionCount", account.address, "latest") == 3


def test_a_stuck_transaction_is_replaced_with_higher_fees(still: Anvil):
    with paying(still, stuck_after=0.3) as client:
        with in_background(lambda: client.sender.send(Call(FRIEND, value=7))) as sent:
            first = until(lambda: in_pool(still, client, 0))
            base = 100 * int(first["maxFeePerGas"], 16)
            still.rpc("anvil_setNextBlockBaseFeePerGas", hex(base))
            still.mine()
            assert not sent.done() and client.gas_balance(FRIEND) == 0
            until(lambda: int((in_pool(still, client, 0) or first)["maxFeePerGas"], 16) > base)
            still.mine()
            receipt = sent.result(30)
        assert receipt["transactionHash"] != first["hash"]
        assert client.gas_balance(FRIEND) == 7


def test_a_transaction_that_is_never_mined_is_given_up(still: Anvil):
    with paying(still, stuck_after=0.05) as client:
        with pytest.raises(TransactionFailed, match="was not mined"):
            client.sender.send(Call(FRIEND, value=7))


def test_a_forgotten_transaction_is_offered_again(still: Anvil):
    with paying(still) as client, in_background(lambda: client.sender.send(Call(FRIEND, value=7))) as sent:
        first = until(lambda: in_pool(still, client, 0))
        still.rpc("anvil_dropTransaction", first["hash"])
        assert in_pool(still, client, 0) is None
        until(lambda: in_pool(still, client, 0))
        still.mine()
        assert sent.result(30)["transactionHash"] == first["hash"]


def test_nonces_that_a_rollback_lost_are_filled(still: Anvil):
    """The transaction behind the gap is mined, once, under the nonce that it was signed with."""
    with paying(still, stuck_after=0.5) as client:
        snapshot = still.rpc("evm_snapshot")
        with in_background(lambda: client.sender.send(Call(FRIEND, value=1))) as lost:
            until(lambda: in_pool(still, client, 0))
            still.mine()
            lost.result(30)
        with in_background(lambda: client.sender.send(Call(FRIEND, value=7))) as sent:
            until(lambda: in_pool(still, client, 1))
            still.rpc("evm_revert", snapshot)
            assert client.gas_balance(FRIEND) == 0
            until(lambda: in_pool(still, client, 0) and in_pool(still, client, 1))
            until(lambda: still.mine() or sent.done())
            sent.result()
        assert client.gas_balance(FRIEND) == 7
        assert client.rpc.integer("eth_getTransactionCount", client.address, "latest") == 2


def test_a_node_that_is_killed_and_restarted_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """kill -9 loses at most what was not yet in the state file; a call that comes meanwhile waits, then
    works."""
    state = tmp_path / "chain.json"
    with anvil(tmp_path, 0.25, keep=True) as node, paying(node) as client:
        ask, refused = client.rpc.provider.make_request, threading.Event()

        def make_request(*args: Any) -> Any:
            try:
                return ask(*args)
            except Exception:
                refused.set()
                raise

        monkeypatch.setattr(client.rpc.provider, "make_request", make_request)
        for i in range(2):
            client.sender.send(Call(FRIEND, value=1))
            written = state.stat().st_mtime_ns if state.exists() else 0
            until(lambda w=written: state.exists() and state.stat().st_mtime_ns > w)
            refused.clear()
            node.kill()
            with in_background(lambda: client.sender.send(Call(FRIEND, value=10))) as sent:
                until(refused.is_set)
                node.start()
                assert int(sent.result(30)["status"], 16) == 1
            assert client.rpc.reconnects > i
        assert client.gas_balance(FRIEND) >= 10


def test_a_transaction_under_way_survives_a_restart(tmp_path: Path):
    """The pool of a killed node is gone; what was sent is sent again."""
    with anvil(tmp_path, None, "--no-mining", keep=True) as node, paying(node) as client:
        with in_background(lambda: client.sender.send(Call(FRIEND, value=7))) as sent:
            first = until(lambda: in_pool(node, client, 0))
            node.kill()
            node.start()
            until(lambda: in_pool(node, client, 0))
            node.mine()
            assert sent.result(30)["transactionHash"] == first["hash"]
        assert client.gas_balance(FRIEND) == 7


def test_a_reverted_transaction_says_why(chain: Anvil, someone: Someone):
    """The estimate passes, then time runs past the deadline before the block."""
    creator = someone()
    pool_id = make_pool(creator)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    creator.open_round(pool_id, 60)
    reveal = opened(make_hash("genesis"), worker.node, 0)
    commitment = worker.client.commitment(pool_id, 0, worker.node, reveal)
    chain.rpc("evm_setAutomine", False)
    try:
        with in_background(lambda: worker.client.commit(pool_id, commitment)) as sent:
            until(lambda: in_pool(chain, worker.client, 0))
            chain.mine(seconds=61)
            with pytest.raises(ContractError) as refused:
                sent.result(30)
    finally:
        chain.rpc("evm_setAutomine", True)
    assert refused.value.name == "WrongPhase"


def test_missing_gas_money_is_named_with_address_and_need(chain: Anvil):
    account = Account.create()
    with Client("local", account, rpc_url=chain.url) as client:
        with pytest.raises(InsufficientFunds) as poor:
            client.mint(FRIEND, 1)
    assert account.address in poor.value.message and "0.000000 ETH" in poor.value.message
    assert "needs" in poor.value.message and "send ETH" in poor.value.hint


def test_a_node_of_another_chain_is_refused(chain: Anvil):
    with pytest.raises(WrongNetwork, match="is chain 31337, base-sepolia is chain 84532"):
        Client("base-sepolia", rpc_url=chain.url)


def test_no_node_is_one_clear_error():
    with pytest.raises(ChainError) as gone:
        Client("local", rpc_url="http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9" in str(gone.value) and "is anvil running?" in str(gone.value)


def test_a_node_that_stays_away_is_given_up(tmp_path: Path):
    with anvil(tmp_path) as node, paying(node, patience=0.3) as client:
        node.kill()
        with pytest.raises(ChainError, match="cannot reach"):
            client.block_number()


def test_a_chain_without_our_contracts_says_so(still: Anvil):
    with paying(still) as client:
        assert not client.deployed()
        with pytest.raises(ChainError, match="no Pools at") as missing:
            client.pool_count()
        assert "pi deploy" in missing.value.hint
