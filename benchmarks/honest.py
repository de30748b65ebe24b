"""Honest workers are not convicted: slots of six classes, each audited by every class that may judge it.

A process per class (fp32 and bf16, one thread and two, AVX2 and AVX-512 caps) works as a node on a tiny GPT,
round after round with its own private state; each other process audits its slots with `audit_slot`, every
segment of them, against limits that `pi-validator calibrate` measured before on other slots. After
`GENERATION` rounds the nodes are new ones that start from the first checkpoint again.

    python -m benchmarks honest                              until 10,000 segments have been replayed
    PI_HONEST_SEGMENTS=500 python -m benchmarks honest       until 500; goes on from where it was
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pi_sdk.codec import canonical_json, sha256
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, CodecSpec, GptSpec, InnerSpec, Outcome, Reveal, RunSpec, TraceSpec
from pi_train import determinism

from .common import save

SEGMENTS = int(os.environ.get("PI_HONEST_SEGMENTS", "10000"))
PLACE = Path("runs/honest")
GENERATION = 12
CLASSES = (
    "cpu-t1-fp32-avx512",
    "cpu-t1-fp32-avx2",
    "cpu-t2-fp32-avx2",
    "cpu-t1-bf16-avx512",
    "cpu-t1-bf16-avx2",
    "cpu-t2-bf16-avx512",
)
VALIDATOR = "0x" + "b2" * 20


def rules() -> RunSpec:
    """The tiny run with limits, made once."""
    from pi_train.prepare import prepare
    from pi_validator.calibration import measure

    file = PLACE / "run_spec.json"
    if not file.exists():
        texts = PLACE / "text"
        texts.mkdir(parents=True, exist_ok=True)
        for i in range(60):
            (texts / f"{i}.txt").write_text("".join(f"{j} plus {i} is {i + j}\n" for j in range(40)))
        classes = [cls for cls in map(determinism.class_named, CLASSES) if determinism.fits(cls)]
        store = LocalStore(PLACE / "store")
        spec = prepare(
            store=store,
            data=texts,
            rounds=GENERATION,
            model=GptSpec(layers=1, heads=2, width=32, context=32),
            inner=InnerSpec(steps=8, batch=4, sequence=32, warmup=8),
            trace=TraceSpec(segment=2),
            codec=CodecSpec(k=256),
            audit=AuditSpec(segments=4),
            classes=tuple(classes),
        )
        found = measure(spec, store.get, (), PLACE / "calibration", rounds=2, segments=4, tell=print)
        file.write_bytes(canonical_json(found.applied(spec)))
    return RunSpec.model_validate_json(file.read_bytes())


class Party:
    """A process of one class that trains and audits; see `_serve`."""

    def __init__(self, class_id: str):
        argv = [sys.executable, "-m", "benchmarks.honest", class_id]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request) -> dict:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the process of {self.process.args} died"
        return json.loads(answer)


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two threads that spin take a shared machine's time
    spec = rules()
    file = PLACE / "progress.json"
    progress = json.loads(file.read_text()) if file.exists() else {"generations": 0, "pairs": {}}
    pairs: dict[str, dict] = progress["pairs"]
    parties = {cls.id: Party(cls.id) for cls in spec.classes}
    slot = PLACE / "slot"
    while sum(pair["segments"] for pair in pairs.values()) < SEGMENTS:
        generation = progress["generations"]
        for round_ in range(GENERATION):
            for worker, party in parties.items():
                shutil.rmtree(slot, ignore_errors=True)
                claim = party.ask(do="train", slot=str(slot), round=round_, generation=generation)
                for validator, judge in parties.items():
                    limit = spec.limit(worker, validator)
                    if limit is None:
                        continue
                    report = judge.ask(do="audit", slot=str(slot), round=round_, **claim)
                    pair = pairs.setdefault(
                        f"{worker} by {validator}",
                        {"segments": 0, "false_slashes": 0, "worst_error": 0.0, "limit": limit},
                    )
                    pair["segments"] += spec.audit.segments
                    pair["false_slashes"] += report["outcome"] != Outcome.ACCEPT
                    pair["worst_error"] = max(pair["worst_error"], report["worst_error"] or 0.0)
                    for reason in report["reasons"]:
                        print(f"{worker} by {validator}: {reason}", flush=True)
        progress["generations"] += 1
        file.write_text(json.dumps(progress))
        write(spec, pairs)
    for party in parties.values():
        party.process.kill()
        party.process.wait()
    write(spec, pairs)


def write(spec: RunSpec, pairs: dict[str, dict]) -> None:
    """results/honest.json, of what has been replayed so far."""
    found = [
        dict(zip(("worker", "validator"), name.split(" by "), strict=True)) | pair
        for name, pair in pairs.items()
    ]
    row = {
        "segments": sum(pair["segments"] for pair in found),
        "classes": len(spec.classes),
        "false_slashes": sum(pair["false_slashes"] for pair in found),
        "pairs": found,
    }
    save("honest", "Honest slots, audited across classes", [row], "every segment of each slot")
    print({name: row[name] for name in row if name != "pairs"}, flush=True)


# --- a party ------------------------------------------------------------------------------------------------


def _serve(class_id: str) -> None:
    """Answers requests on stdin. "train": this class's next slot of a generation; the slot's folder gets its
    artifacts and the checkpoint that it starts from. "audit": one slot."""
    spec = RunSpec.model_validate_json((PLACE / "run_spec.json").read_bytes())
    determinism.pin(determinism.class_named(class_id))
    from pi_train.codecs import UpdateFile
    from pi_train.data import load_corpus
    from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step
    from pi_train.replay import audit_slot
    from pi_train.slot import train_slot

    store, shape = LocalStore(PLACE / "store"), spec.checkpoint_shape
    corpus = load_corpus(spec, store.get, PLACE / "corpus")
    genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, checkpoint_bytes(*shape)), *shape)
    checkpoint, state = genesis, None

    def train(slot: str, round: int, generation: int) -> dict:
        nonlocal checkpoint, state
        if round == 0:
            checkpoint, state = genesis, None
        folder, node = Path(slot), "0x" + sha256(f"{class_id} {generation}".encode()).hex()[:40]
        result = train_slot(
            spec,
            corpus,
            checkpoint,
            node=node,
            round_=round,
            width=1,
            state=state,
            class_id=class_id,
            borders=folder,
        )
        blobs = [result.trace, *([state] if state else []), *(f.read_bytes() for f in folder.glob("*.bin"))]
        for blob in blobs:
            (folder / sha256(blob).hex()).write_bytes(blob)
        (folder / "checkpoint").write_bytes(checkpoint.to_bytes())
        (folder / "update").write_bytes(result.update)
        reveal = {
            "start_root": checkpoint.root(),
            "update_root": result.update_root,
            "trace_root": result.trace_root,
            "state_in": result.state_in,
            "state_out": result.state_out,
        }
        update = UpdateFile(spec.codec, result.update, spec.update_values(round))
        checkpoint, state = outer_step(spec, checkpoint, [(update, 1)], round), result.state
        roots = {name: root.hex() for name, root in reveal.items()}
        return {"node": node, "reveal": roots | {"norm": result.norm}}

    def audit(slot: str, round: int, node: str, reveal: dict) -> dict:
        folder = Path(slot)
        roots = {name: bytes.fromhex(v) for name, v in reveal.items() if name != "norm"}
        report = audit_slot(
            spec,
            corpus,
            Checkpoint.from_bytes((folder / "checkpoint").read_bytes(), *shape),
            node=node,
            round_=round,
            reveal=Reveal(salt=bytes(32), width=1, norm=reveal["norm"], **roots),
            seed=sha256(f"{node} {round}".encode()),
            update=(folder / "update").read_bytes(),
            fetch=lambda name, _: (folder / name).read_bytes(),
            validator=VALIDATOR,
            class_id=class_id,
        )
        return {
            "outcome": int(report.outcome),
            "worst_error": report.worst_error,
            "reasons": report.reasons,
        }

    for line in sys.stdin:
        request = json.loads(line)
        answer = {"train": train, "audit": audit}[request.pop("do")](**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
