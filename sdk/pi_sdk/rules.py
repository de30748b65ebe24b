"""What a pool is about, before anything is staked on it: its RunSpec, checked against the hash, the
PoolParams and the outer rule that are on chain; and how its creator puts that where all find it."""

from pathlib import Path
from typing import TYPE_CHECKING

from .codec import canonical_json, parse_run_spec, run_spec_hash, sha256
from .errors import BlobNotFound, MalformedArtifact, SpecMismatch
from .store import Store
from .types import MAX_SPEC_BYTES, PoolParams, RunSpec

if TYPE_CHECKING:
    from .client import Client


def load_rules(
    client: "Client", pool_id: int, store: Store, copy: Path | None = None
) -> tuple[RunSpec, PoolParams]:
    """The pool's RunSpec by the hash that is on chain, and its PoolParams. With `copy`, a file, the spec is
    kept for the next start, which then needs no store.

    Raises `NotFound` (unknown pool), `StoreError`, `MalformedArtifact` (not a RunSpec), `SpecMismatch` (what
    is on chain says something else)."""
    expected = client.pool(pool_id).run_spec_hash
    if copy is not None and copy.exists() and sha256(copy.read_bytes()) == expected:
        data = copy.read_bytes()
    else:
        data = store.get(expected.hex(), MAX_SPEC_BYTES)
    try:
        spec = parse_run_spec(data)
    except MalformedArtifact as error:
        raise MalformedArtifact(
            f"pool {pool_id}: {error.message}", "update pi-protocol, or choose another pool"
        ) from error
    if run_spec_hash(spec) != expected:
        raise SpecMismatch(f"pool {pool_id}'s RunSpec is not in canonical form", "choose another pool")
    params = client.pool_params(pool_id)
    params.check(spec)
    client.outer_rule(pool_id).check(spec)
    if copy is not None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
    return spec, params


def publish_run(spec: RunSpec, artifacts: Store, store: Store | None) -> int:
    """Puts what a run starts from, its RunSpec, data, first checkpoint and model files, from `artifacts` into
    a pool's `store`, but for what is there. Returns how many files it put; without a store it only looks
    whether all are there. `BlobNotFound` names the file that `artifacts` lacks; `StoreError`."""
    what = {spec.genesis_file: "first checkpoint"}
    what |= {shard.sha256: "data shard" for shard in (*spec.data.train, *spec.data.validation)}
    what |= {file.sha256: "model file" for file in spec.files}
    for name, kind in what.items():
        if not artifacts.has(name):
            hint = "give the folder that pi sim or pi_train.prepare wrote beside the RunSpec"
            raise BlobNotFound(f"{artifacts} does not hold the {kind} {name}", hint)
    if store is None:
        return 0
    missing = [name for name in what if not store.has(name)]
    for name in missing:
        store.put(artifacts.get(name, 1 << 40))
    if store.has(run_spec_hash(spec).hex()):
        return len(missing)
    store.put(canonical_json(spec))  # last: who finds it finds all
    return len(missing) + 1
