"""What a pool is about, before anything is staked on it: its RunSpec, checked against the hash, the
PoolParams and the outer rule that are on chain."""

from pathlib import Path
from typing import TYPE_CHECKING

from .codec import parse_run_spec, run_spec_hash, sha256
from .errors import MalformedArtifact, SpecMismatch
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
