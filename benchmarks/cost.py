"""What verification costs: the worker's share of a round, all replays over all training, bytes of evidence.

Two shapes on the default class: the demo's, and a realistic one of 16,384 tokens per step (16 sequences of
1,024) with the model `REAL`. A slot is trained by the worker's own code, with clocks around what an untraced
loop would not do: digests and activation proofs, the copies of borders, and the thread beside the steps that
hashes and writes those. Seconds are those of threads, which others on a shared machine do not change. The
update is not counted: it is the work itself.

Then the slot is audited by `audit_slot`, with all its checks of bytes. In steady state

    whole-run share = audit rate x auditors x seconds of an audit / seconds of a slot's training

over all accepted slots, at the default PoolParams and for nodes with a long clean record. A jury sits on
cases only, and an honest slot has none; a planted one is opened by its creator before a jury replays it.

    python -m benchmarks cost
"""

import json
import tempfile
import time
from pathlib import Path

from pi_sdk.codec import sha256
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, GptSpec, InnerSpec, PoolParams, Reveal, TraceSpec
from pi_train.data import batches, load_corpus
from pi_train.determinism import default_class, pin
from pi_train.outer import Checkpoint, checkpoint_bytes
from pi_train.prepare import prepare

from .common import save

NODE, VALIDATOR = "0x" + "11" * 20, "0x" + "22" * 20
REAL = GptSpec(layers=2, heads=8, width=256, context=1024)
SHAPES = {
    "demo": (GptSpec(), InnerSpec()),
    "realistic": (REAL, InnerSpec(steps=5, batch=16, sequence=1024, micro_batch=4)),
}
"""The realistic slot has the demo's five segments of one step each instead of four, of which two are
replayed: the share of replayed steps is the default RunSpec's."""


def measure(name: str, home: Path) -> dict:
    from pi_train.replay import audit_slot
    from pi_train.slot import SlotRun
    from pi_train.state import private_bytes

    (model, inner), cls, store = SHAPES[name], default_class(), LocalStore(home / "store")
    trace = TraceSpec(segment=inner.steps // 5)
    spec = prepare(store=store, model=model, inner=inner, trace=trace, audit=AuditSpec(segments=2))
    n, shape = spec.model.parameters, spec.checkpoint_shape
    corpus = load_corpus(spec, store.get, home / "data")
    genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, checkpoint_bytes(*shape)), *shape)
    tracing = {"record": 0.0, "border": 0.0}

    class Timed(SlotRun):
        """A slot with clocks around digests and proofs, and around borders."""

        def record(self, *step) -> None:
            began = time.thread_time()
            super().record(*step)
            tracing["record"] += time.thread_time() - began

        def _write_border(self) -> None:
            began = time.thread_time()
            super()._write_border()
            tracing["border"] += time.thread_time() - began

    slot = Timed(spec, genesis, round_=0, state=None, class_id=cls.id, borders=home / "borders")
    process, thread = time.process_time(), time.thread_time()
    for batch in batches(spec, corpus, genesis.root(), node=NODE, round_=0, width=1):
        slot.step(batch)
    trained = time.thread_time() - thread - sum(tracing.values())
    result = slot.finish()
    beside = time.process_time() - process - (time.thread_time() - thread)

    files = {sha256(path.read_bytes()).hex(): path for path in (home / "borders").glob("*.bin")}
    blobs = {result.trace_root.hex(): result.trace, result.state_in.hex(): b""}
    fetched: dict[str, int] = {}

    def fetch(sha: str, _: int) -> bytes:
        data = blobs[sha] if sha in blobs else files[sha].read_bytes()
        fetched[sha] = len(data)
        return data

    reveal = Reveal(
        salt=bytes(32),
        start_root=genesis.root(),
        update_root=result.update_root,
        trace_root=result.trace_root,
        state_in=result.state_in,
        state_out=result.state_out,
        norm=result.norm,
        width=1,
    )
    began = time.thread_time()
    report = audit_slot(
        spec,
        corpus,
        genesis,
        node=NODE,
        round_=0,
        reveal=reveal,
        seed=bytes(32),
        update=result.update,
        fetch=fetch,
        validator=VALIDATOR,
        class_id=cls.id,
    )
    audit = time.thread_time() - began
    assert report.bitwise and not report.reasons, report.reasons
    return {
        "shape": name,
        "params": n,
        "tokens per step": inner.batch * inner.sequence,
        "steps": inner.steps,
        "training s": trained,
        "digests, proofs s": tracing["record"],
        "borders copied s": tracing["border"],
        "borders hashed, written s": beside,
        "worker share": (sum(tracing.values()) + beside) / trained,
        "audit s": audit,
        "audit over training": audit / trained,
        "evidence bytes": sum(fetched.values()) + private_bytes(spec),  # a joiner has no state yet
        "update bytes": len(result.update),
        "model bytes": 4 * n,
    }


def main() -> None:
    pin(default_class())
    rows = []
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(name, Path(folder)))
            print(json.dumps(rows[-1], indent=1), flush=True)
    demo, real = rows
    params = PoolParams(orchestrator="0x" + "00" * 20, rounds=1)
    rate = params.audit_rate / 10_000 * params.auditors
    row = {
        "worker_share": real["worker share"],
        "demo_worker_share": demo["worker share"],
        "whole_run_share": rate * real["audit over training"],
        "demo_whole_run_share": rate * demo["audit over training"],
        "audit_rate": params.audit_rate / 10_000,
        "auditors": params.auditors,
        "evidence_bytes": real["evidence bytes"],
        "model_bytes": real["model bytes"],
        "shapes": rows,
    }
    save("cost", "What verification costs", [row], "seconds of threads")
    print({name: row[name] for name in row if name != "shapes"})
