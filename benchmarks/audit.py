"""`pi audit` of a run of 50 rounds beside the run itself: four workers, a validator, a real chain.

The claim: without replay in under a tenth of the run's own time. One audited byte is then flipped, and the
audit must name its round. About four minutes; PI_AUDIT_ROUNDS=10 python -m benchmarks audit takes one.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, GptSpec, InnerSpec, TraceSpec
from pi_validator.run_audit import RunAudit

from .common import publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the small network of the tests

ROUNDS = int(os.environ.get("PI_AUDIT_ROUNDS", "50"))
WORKERS, REPLAYS = 4, 5
RECIPE = {
    "data": None,
    "model": GptSpec(layers=2, heads=2, width=64, context=64),
    "inner": InnerSpec(steps=20, batch=8),
    "trace": TraceSpec(segment=5),
    "audit": AuditSpec(segments=1),
}


def main() -> None:
    from network import network

    with tempfile.TemporaryDirectory() as place, network(Path(place)) as net:
        pool_id, spec = net.pool(ROUNDS, recipe=RECIPE, min_slots=WORKERS, min_seats=1)
        judge, began = net.validator(pool_id, 0), time.monotonic()
        workers = [net.worker(pool_id, i) for i in range(WORKERS)]
        workers[0].wait_for("joined")
        began = time.monotonic()
        for program in workers:
            program.popen.wait(1200)
        run_seconds = time.monotonic() - began
        judge.popen.wait(300)

        store = LocalStore(net.folder / "orchestrator" / "blobs")
        began = time.monotonic()
        findings = [*RunAudit(net.creator, pool_id, store).run()]
        audit_seconds = time.monotonic() - began
        began = time.monotonic()
        whole = RunAudit(net.creator, pool_id, store, REPLAYS, cache=Path(place) / "corpus")
        findings += whole.run()
        replay_seconds = time.monotonic() - began - audit_seconds

        middle = [e for e in net.creator.events(pool_id=pool_id) if e.name == "Revealed"][2 * ROUNDS]
        path = store.path_of(middle.args["update_file"].hex())
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        named = [f.round for f in RunAudit(net.creator, pool_id, store).run()]

    row = {
        "rounds": ROUNDS,
        "workers": WORKERS,
        "parameters": spec.model.parameters,
        "run_seconds": run_seconds,
        "audit_seconds": audit_seconds,
        "share %": 100 * audit_seconds / run_seconds,
        "replays": whole.checked["replays"],
        "replay_seconds": replay_seconds,
        "findings": len(findings),
        "flipped byte": f"round {named[0]}" if named[:1] == [middle.args["round"]] else "missed",
    }
    publish("audit", "pi audit beside the run", [row], "claim: share below 10 %, without replay")
