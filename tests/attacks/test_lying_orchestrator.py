"""An orchestrator that leaves out a worker whose update is as it should be, and one that closes at the wrong
time. Wrong results are in `tests/worker/test_results.py`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Anvil
from orchestrator.scripted import N, Worker, pool_params, tiny_spec
from pi_sdk import Client, ContractError, LocalStore
from pi_sdk.types import TOKEN
from pi_train.outer import Checkpoint, outer_step
from pi_validator.run_audit import RunAudit

MALFORMED = 2


def test_a_censored_worker_is_named_by_the_audit(
    chain: Anvil, someone: Callable[..., Client], tmp_path: Path
):
    creator, store = someone(1000 * TOKEN), LocalStore(tmp_path / "artifacts")
    spec = tiny_spec(store, tmp_path, 1)
    assert creator.address is not None
    params = pool_params(creator.address, 1, min_slots=2, min_seats=0)
    pool = creator.create_pool(spec, params, "http://127.0.0.1:1")
    creator.fund_pool(pool, params.reserve_per_round())
    creator.stake(params.close_bond)
    creator.post_bond(pool)
    alice, bob = [Worker.make(chain, creator) for _ in range(2)]
    genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, 1 << 20), N, True)
    for worker in (alice, bob):
        worker.operator.join(pool, worker.node.address)
    creator.open_round(pool, 60)
    for worker in (alice, bob):
        worker.commit(pool, 0, spec, genesis.root())
    with pytest.raises(ContractError, match="WrongPhase"):  # nobody is left out by an early close
        creator.close_round(pool, genesis.root(), spec.genesis_file)
    for worker in (alice, bob):
        store.put(worker.opened[0][1])
        worker.reveal(pool, 0, upload=False)

    without = outer_step(spec, genesis, [(alice.update(spec, 0), 1)])
    file = store.put(without.to_bytes())
    creator.close_round(pool, without.root(), file, [(bob.node.address, MALFORMED)])
    found = [(f.round, f.what) for f in RunAudit(creator, pool, store).run()]
    assert found == [(0, f"exclusion of {bob.node.address}")]
    for worker in (alice, bob):
        worker.close()
