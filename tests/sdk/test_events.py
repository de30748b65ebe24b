"""Events: decoding, filters, and a stream that outlives a chain which goes back."""

import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from chain import anvil
from eth_account import Account
from pi_sdk import Client, PoolParams, dev_key
from pi_sdk.chain import contract
from pi_sdk.tx import Call
from pi_sdk.types import OuterRule
from small_pool import STORE, TOKEN, make_hash, make_pool, participant, run_spec

Someone = Callable[..., Client]
FRIEND = "0x" + "ab" * 20
MADE = ["PoolCreated", "PoolAdded", "PoolFunded", "BondPosted"]
"""What `make_pool` leaves behind."""


def test_events_are_filtered_by_pool_name_and_block(someone: Someone):
    creator = someone()
    first, second = make_pool(creator), make_pool(creator)
    worker = participant(someone, 100 * TOKEN)
    receipt = worker.operator.join(second, worker.node)

    assert [e.name for e in creator.events(pool_id=first)] == MADE
    joined = creator.events(pool_id=second, names=["Joined"])
    assert [e.args["node"] for e in joined] == [worker.node]
    event = joined[0]
    assert (event.contract, event.block, event.tx) == ("RoundLedger", receipt.block, receipt.tx)
    assert event.args == {
        "pool_id": second,
        "node": worker.node,
        "operator": worker.operator.address,
        "width": 1,
        "active_from": 0,
    }
    assert event in receipt.logs and receipt.event("Joined") == event
    assert creator.events(receipt.block + 1, names=["Joined"]) == []
    locked = creator.events(receipt.block, receipt.block, names=["Locked"])
    assert [e.args["amount"] for e in locked] == [100 * TOKEN]
    with pytest.raises(ValueError, match="Nonsense"):
        creator.events(names=["Nonsense"])


def test_long_ranges_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    expected = creator.events(pool_id=pool_id)
    monkeypatch.setattr("pi_sdk.events._CHUNK", 3)
    assert creator.events(pool_id=pool_id) == expected != []


def test_text_that_is_no_utf8_breaks_no_reader(someone: Someone):
    """Anybody may put any bytes into an event's string."""
    client = someone()
    params = PoolParams(orchestrator=client.address or "", rounds=2)
    rule = OuterRule.from_spec(run_spec(2))
    new_pool = (params.to_abi(), rule.to_abi(), make_hash("spec"), make_hash("root"), FRIEND, "ABCD", "")
    data = contract("Pools").functions["createPool"].encode((new_pool,))
    client.sender.send(Call(client.deployment.pools, data.replace(b"ABCD", b"\xff\xfeAB")))
    pool_id = client.pool_count()
    assert client.pool(pool_id).store_uri.endswith("AB")
    assert client.events(pool_id=pool_id)[0].args["store_uri"].endswith("AB")


def test_watch_yields_old_and_new_events_in_order_and_stops(someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    stop = threading.Event()
    stream = creator.watch(pool_id=pool_id, stop=stop)
    assert [e.name for e in islice(stream, len(MADE))] == MADE
    creator.mint(creator.address or "", 5)
    creator.fund_pool(pool_id, 2)
    creator.fund_pool(pool_id, 3)
    assert [e.args["amount"] for e in islice(stream, 2)] == [2, 3]
    resumed = creator.watch(creator.block_number(), pool_id)
    assert next(resumed).args["amount"] == 3
    stop.set()
    assert list(stream) == []


def test_watch_follows_a_chain_that_goes_back(tmp_path: Path):
    with anvil(tmp_path) as node:
        with Client("local", Account.from_key(dev_key(0)), rpc_url=node.url, poll=0.02) as client:
            client.deploy()
            params = PoolParams(orchestrator=client.address or "", rounds=2)

            def create(url: str) -> None:
                client.create_pool(run_spec(2), params, url)

            create("old")
            events = client.watch(client.block_number())
            stream = (event for event in events if event.name == "PoolCreated")
            assert next(stream).args["store_uri"] == "old"
            snapshot = node.rpc("evm_snapshot")
            create("lost 1")
            assert next(stream).args["store_uri"] == "lost 1"
            create("lost 2")
            assert next(stream).args["store_uri"] == "lost 2"
            node.rpc("evm_revert", snapshot)
            create(STORE)
            assert next(stream).args["store_uri"] == STORE
