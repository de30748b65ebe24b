"""The watcher and the service on a chain of their own that goes back in time."""

from dataclasses import replace
from pathlib import Path

from chain import anvil
from pi_orchestrator.blobs import BlobStore
from pi_orchestrator.db import Database
from pi_orchestrator.service import Service
from pi_orchestrator.state import replay
from pi_sdk import EventLog, LocalStore, read_events
from pi_sdk.types import OuterRule
from scripted import Worker, connect, dev_account, pool_params, tiny_spec, until


def test_blocks_that_are_gone_take_their_facts_with_them(tmp_path: Path):
    with (
        anvil(tmp_path) as chain,
        connect(chain, dev_account(0)) as creator,
        connect(chain, dev_account(1)) as client,
        EventLog(tmp_path / "home") as events,
    ):
        creator.deploy(unbonding_time=3600)
        db = Database(tmp_path / "home" / "db")
        store = LocalStore(tmp_path / "home" / "blobs")
        service = Service(client, db, BlobStore(store.path, db), events, keep=0)
        spec = tiny_spec(store, tmp_path, 2)
        worker, seat = (Worker.make(chain, creator) for _ in range(2))
        ours = pool_params(dev_account(1).address, 2)
        pool = creator.create_pool(spec, ours, "http://127.0.0.1:1")
        creator.create_pool(spec, pool_params(dev_account(2).address, 2), "http://127.0.0.1:1")
        # A stranger's pool: the contract allows it, our PoolParams do not, and nobody has its RunSpec.
        odd = ours.model_copy(update={"min_seats": 0}).to_abi()
        rule = OuterRule.from_spec(spec).to_abi()
        new_pool = (odd, rule, bytes([1]) * 32, bytes([1]) * 32, "0x" + "0" * 40, "x", "")
        creator._write("Pools", "createPool", new_pool)
        creator.mint(dev_account(0).address, 100 * 10**18)
        creator.mint(dev_account(1).address, 200 * 10**18)
        creator.fund_pool(pool, 100 * 10**18)
        seat.operator.take_seat(pool, seat.node.address)
        service.advance()
        assert list(service.state.pools) == [pool, pool + 2], "the one between has another orchestrator"
        assert service.uploaders_since(pool + 1) == (set(), 0)
        assert service.uploaders_since(pool + 3) == (set(), 0)
        assert worker.node.address not in service.state.pools[pool].uploaders()

        def opened() -> bool:
            service.advance()
            return service.state.pools[pool].current is not None

        snapshot = chain.rpc("evm_snapshot")
        worker.join(pool, "http://127.0.0.1:1")
        assert worker.node.address in service.uploaders_since(pool)[0]
        until(opened, "the round to open")
        assert worker.node.address in service.state.pools[pool].uploaders()

        chain.rpc("evm_revert", snapshot)
        chain.mine(8)  # another branch, and longer
        service.advance()
        assert service.state.pools[pool].current is None and not service.state.pools[pool].members
        assert replay(db.facts()) == replace(service.state, pending={})

        creator.mint(dev_account(0).address, 1)
        worker.join(pool, "http://127.0.0.1:1")
        until(opened, "the round to open again")
        assert client.pool(pool).next_round == 1
        assert [e["event"] for e in read_events(tmp_path / "home")] == ["opened", "opened"]
        db.close()
        for person in (worker, seat):
            person.close()
