"""From nothing to a running pool: makes shards, a first model and the rules, publishes them and funds the rounds."""

import json
from pathlib import Path

import click

from pi_sdk import Client, HttpStore, LocalStore, PoolParams, codec
from pi_sdk.options import run
from pi_sdk.types import CodecSpec, OuterSpec
from pi_train.prepare import prepare


@click.command()
@click.option("--rpc-url", envvar="ETH_RPC_URL", default="http://127.0.0.1:8545", show_default=True)
@click.option("--private-key", envvar="PI_PRIVATE_KEY", required=True, help="Creator's key (devnet only).")
@click.option("--orchestrator", required=True, help="Address that moves the rounds.")
@click.option("--store", "store_url", required=True, help="URL of a store that takes the files.")
@click.option("--artifacts", type=Path, default="runs/artifacts", show_default=True)
@click.option("--data", type=Path, help="Text file, folder or JSONL; default: Python's standard library.")
@click.option("--codec", "codec_name", default="sparse-2bit", show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--min-slots", default=1, show_default=True)
@click.option("--min-seats", default=1, show_default=True)
def main(rpc_url, private_key, orchestrator, store_url, artifacts, data, codec_name, rounds, seed, min_slots, min_seats):
    local = LocalStore(artifacts)
    outer = OuterSpec() if codec_name == "sparse-2bit" else OuterSpec(rule="nesterov", lr=45875, momentum=58982)
    spec = prepare(store=local, seed=seed, rounds=rounds, data=data, codec=CodecSpec(name=codec_name), outer=outer)
    params = PoolParams(orchestrator=orchestrator, rounds=rounds, max_width=spec.max_width, min_slots=min_slots,
                        min_seats=min_seats, max_train_window=60, reveal_window=20, verdict_window=45,
                        verdict_reveal_window=15, vote_window=45, vote_reveal_window=15)  # fmt: skip
    with Client("local", private_key, rpc_url=rpc_url) as client:
        pool_id = client.create_pool(spec, params, store_url)
        remote = HttpStore(store_url, client.account, client.chain_id, pool_id)
        for name in (codec.run_spec_hash(spec).hex(), spec.genesis_file, *(s.sha256 for s in spec.data.shards)):
            remote.put(local.get(name, 1 << 30))
        client.fund_pool(pool_id, rounds * params.reserve_per_round())
    print(json.dumps({"pool_id": pool_id, "run_spec": codec.run_spec_hash(spec).hex()}))


if __name__ == "__main__":
    run(main)
