"""From nothing to a running pool: makes data shards, a first model and the rules, publishes, funds them."""

import json
from pathlib import Path

import click
from pi_sdk import Client, HttpStore, LocalStore, PoolParams, load_account
from pi_sdk.options import run
from pi_sdk.rules import publish_run
from pi_sdk.types import AuditSpec, CodecSpec
from pi_train.prepare import prepare, source_options


@click.command()
@click.option("--rpc-url", envvar="ETH_RPC_URL", default="http://127.0.0.1:8545", show_default=True)
@click.option("--private-key", envvar="PI_PRIVATE_KEY", required=True, help="Creator's key.")
@click.option("--orchestrator", required=True, help="Address that moves the rounds.")
@click.option("--store", required=True, help="URL of a store that takes the files.")
@click.option("--artifacts", type=Path, default="runs/artifacts", show_default=True)
@source_options
@click.option("--codec", default="sparse-2bit", show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--planted", default=400, show_default=True, help="Basis points of slots that you will plant.")
@click.option("--params", default="{}", help='Further PoolParams as JSON, e.g. {"min_slots": 4}.')
def main(rpc_url, private_key, orchestrator, store, artifacts, codec, planted, params, **rest):
    local = LocalStore(artifacts)
    spec = prepare(store=local, codec=CodecSpec(name=codec), audit=AuditSpec(planted=planted), **rest)
    rules = PoolParams(orchestrator=orchestrator, rounds=spec.rounds, **json.loads(params))
    with Client("local", load_account(private_key=private_key, chain_id=31337), rpc_url=rpc_url) as client:
        pool_id = client.create_pool(spec, rules, store, unsound=not planted)
        with HttpStore(store, client.account, client.chain_id, pool_id) as remote:
            publish_run(spec, local, remote)
        client.fund_pool(pool_id, spec.rounds * rules.reserve_per_round())
        spec_id = client.pool(pool_id).run_spec_hash.hex()
    print(json.dumps({"pool_id": pool_id, "run_spec": spec_id}))


run(main)
