"""One tiny run, and one slot of it trained by an honest worker in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pi_sdk.codec import ZERO, canonical_json
from pi_sdk.store import LocalStore
from pi_sdk.types import GptSpec, InnerSpec, Reveal, RunSpec, TraceSpec
from pi_train.prepare import prepare

WORKER = "0x00000000000000000000000000000000000000AA"
VALIDATOR = "0x00000000000000000000000000000000000000bb"
TINY = dict(
    model=GptSpec(layers=1, heads=2, width=16, context=32),
    inner=InnerSpec(steps=4, batch=2, sequence=32, warmup=2),
    trace=TraceSpec(segment=1),
)
"""Overrides of `prepare` for a model that trains a slot in well under a second."""

TRAIN = """
import json, sys
from pathlib import Path
from pi_sdk.store import LocalStore
from pi_sdk.types import RunSpec
from pi_train import determinism
spec = RunSpec.model_validate_json(Path(sys.argv[1]).read_bytes())
cls = determinism.admitted(spec)[0]
determinism.pin(cls)
from pi_train.data import load_corpus
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, checkpoint_bytes
from pi_train.slot import train_slot
folder = Path(sys.argv[2])
store = LocalStore(folder / "store")
n = parameter_count(spec.model)
data = store.get(spec.genesis_file, checkpoint_bytes(n, False))
result = train_slot(
    spec, load_corpus(spec, store.get, folder / "corpus"), Checkpoint.from_bytes(data, n, False),
    node=sys.argv[3], round_=0, width=1, state=None, class_id=cls.id, borders=folder / "borders",
)
evidence = LocalStore(folder / "evidence")
for blob in [result.update, result.trace, *(p.read_bytes() for p in (folder / "borders").glob("*.bin"))]:
    name = evidence.put(blob)
    if blob is result.update:
        update = name
print(json.dumps({
    "update": update, "update_root": result.update_root.hex(), "trace_root": result.trace_root.hex(),
    "norm": result.norm, "state_out": result.state_out.hex(),
}))
"""


@dataclass(frozen=True)
class Trained:
    """A run in `folder` (store, corpus, run_spec.json) and one slot: its reveal, its update, its evidence."""

    spec: RunSpec
    folder: Path
    reveal: Reveal
    update: str
    worker: str = WORKER
    validator: str = VALIDATOR

    def request(self, evidence: Path | None = None, **changes) -> dict:
        """What the replay process is asked about the slot."""
        reveal = [v.hex() if isinstance(v, bytes) else v for v in self.reveal.to_abi()]
        return {
            "op": "audit",
            "folder": str(self.folder / "store"),
            "checkpoint": self.spec.genesis_file,
            "root": self.spec.genesis_root,
            "data_root": self.spec.genesis_root,
            "evidence": str(evidence or self.folder / "evidence"),
            "node": WORKER,
            "round": 0,
            "reveal": reveal,
            "seed": "11" * 32,
            "update": self.update,
            "validator": VALIDATOR,
        } | changes


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """A small text to train on."""
    folder = tmp_path_factory.mktemp("text")
    for i in range(40):
        (folder / f"{i}.txt").write_text(f"def f{i}(x):\n    return x * {i} + {i * i}\n" * 40)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, text) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    return train(folder, prepare(store=LocalStore(folder / "store"), data=text, rounds=2, **TINY))


def train(folder: Path, spec: RunSpec) -> Trained:
    """A slot of round 0 by the rules of `spec`, whose artifacts are in the folder's store."""
    (folder / "run_spec.json").write_bytes(canonical_json(spec))
    out = subprocess.run(
        [sys.executable, "-c", TRAIN, folder / "run_spec.json", folder, WORKER],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(out.stdout.splitlines()[-1])
    reveal = Reveal(
        salt=bytes(32),
        start_root=bytes.fromhex(spec.genesis_root),
        update_root=bytes.fromhex(result["update_root"]),
        trace_root=bytes.fromhex(result["trace_root"]),
        state_in=ZERO,
        state_out=bytes.fromhex(result["state_out"]),
        norm=result["norm"],
        width=1,
    )
    return Trained(spec, folder, reveal, result["update"])
