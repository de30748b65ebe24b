"""What a pool is about, before anything is staked on it: its RunSpec, and which determinism class this
machine audits in.
"""

from pathlib import Path

from pi_sdk.client import Client
from pi_sdk.codec import run_spec_hash, sha256
from pi_sdk.errors import MalformedArtifact, SpecMismatch
from pi_sdk.store import Store
from pi_sdk.types import DeterminismClass, PoolParams, RunSpec
from pydantic import ValidationError

MAX_SPEC_BYTES = 1 << 20


def load_rules(client: Client, pool_id: int, store: Store, copy: Path) -> tuple[RunSpec, PoolParams]:
    """The pool's RunSpec by the hash that is on chain, and its PoolParams. `copy` keeps the spec for the next
    start, which then needs no store.

    Raises `NotFound` (unknown pool), `StoreError`, `MalformedArtifact` (no RunSpec), `SpecMismatch` (the two
    disagree).
    """
    expected = client.pool(pool_id).run_spec_hash
    if copy.exists() and sha256(copy.read_bytes()) == expected:
        data = copy.read_bytes()
    else:
        data = store.get(expected.hex(), MAX_SPEC_BYTES)
    try:
        spec = RunSpec.model_validate_json(data)
    except ValidationError as error:
        raise MalformedArtifact(
            f"the RunSpec of pool {pool_id} cannot be read: {error.errors()[0]['msg']}", "update pi-protocol"
        ) from error
    if run_spec_hash(spec) != expected:
        raise SpecMismatch(
            f"the RunSpec of pool {pool_id} is not in canonical form", "do not serve this pool"
        )
    params = client.pool_params(pool_id)
    params.check(spec)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(data)
    return spec, params


def audit_class(spec: RunSpec, here: DeterminismClass) -> DeterminismClass:
    """The admitted class that this machine fits and that may judge most other classes; `here` is
    `default_class()`.

    Raises `SpecMismatch` when there is none.
    """
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else {"avx2", "avx512f"}

    def fits(cls: DeterminismClass) -> bool:
        isa = {"default": None, "avx2": "avx2", "avx512": "avx512f"}[cls.aten]
        return (cls.device, cls.torch, cls.dtype) == (here.device, here.torch, here.dtype) and (
            isa is None or isa in flags
        )

    def judges(cls: DeterminismClass) -> int:
        return sum(spec.limit(worker.id, cls.id) is not None for worker in spec.classes)

    usable = [cls for cls in spec.classes if fits(cls) and judges(cls)]
    if not usable:
        wanted = ", ".join(f"{c.id} (torch {c.torch}, {c.device})" for c in spec.classes)
        raise SpecMismatch(
            f"this machine (torch {here.torch}, {here.device}) cannot audit any class of the run: {wanted}",
            "install the torch version that the run admits",
        )
    return max(usable, key=judges)
