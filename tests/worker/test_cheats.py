"""The three cheats hand in slots that are well formed, and that an audit sees through."""

from pathlib import Path

import pytest
from pi_sdk.codec import Trace, sha256
from pi_sdk.errors import BlobNotFound
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, GptSpec, InnerSpec, Outcome, Reveal, RunSpec, TraceSpec
from pi_train import determinism
from pi_train.codecs import UpdateFile
from pi_train.data import Corpus, load_corpus
from pi_train.determinism import admitted
from pi_train.outer import Checkpoint
from pi_train.prepare import prepare
from pi_worker.trainer import SlotJob, trainer

NODE, PEER, VALIDATOR = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Corpus, Checkpoint]:
    determinism.pin(determinism.default_class())
    folder = tmp_path_factory.mktemp("run")
    (folder / "text").mkdir()
    for i in range(60):
        text = "".join(f"{i} times {j} is {i * j}\n" for j in range(40))
        (folder / "text" / f"{i}.txt").write_text(text)
    store = LocalStore(folder / "store")
    spec = prepare(
        store=store,
        data=folder / "text",
        model=GptSpec(layers=1, heads=2, width=32, context=32),
        inner=InnerSpec(steps=4, batch=2, sequence=32, warmup=0),
        trace=TraceSpec(segment=1),
        audit=AuditSpec(segments=4),
    )
    from pi_train.layout import parameter_count

    genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, 1 << 24), parameter_count(spec.model), False)
    return spec, load_corpus(spec, store.get, folder / "cache"), genesis


def job(run, borders: Path, node: str = NODE, round_: int = 1, peers=()) -> SlotJob:
    spec, corpus, checkpoint = run
    return SlotJob(
        spec=spec,
        corpus=corpus,
        checkpoint=checkpoint,
        data_root=checkpoint.root(),
        node=node,
        round=round_,
        width=1,
        state=None,
        class_id=admitted(spec)[0].id,
        borders=borders,
        progress=lambda *_: None,
        peers=lambda: list(peers),
    )


@pytest.mark.parametrize(
    ("cheat", "outcome"),
    [
        (None, Outcome.ACCEPT),
        ("half-steps", Outcome.MISMATCH),
        ("copy", Outcome.MISMATCH),
        ("wrong-shard", Outcome.MISMATCH),
    ],
)
def test_an_audit_sees_through_every_cheat_and_passes_honest_work(run, tmp_path: Path, cheat, outcome):
    from pi_train.replay import audit_slot

    spec, corpus, checkpoint = run
    honest = trainer(None)(job(run, tmp_path / "peer", node=PEER, round_=0))
    peer = UpdateFile(spec.codec, honest.update, len(checkpoint.theta))
    result = trainer(cheat)(job(run, tmp_path / "own", peers=[peer]))

    Trace.decode(result.trace, steps=4, segments=4, per_step=spec.proofs_per_step)
    assert result.trace_root == sha256(result.trace) and result.state_out == sha256(result.state)
    update = UpdateFile(spec.codec, result.update, len(checkpoint.theta))
    assert (update.root, update.norm) == (result.update_root, result.norm)
    assert (result.update == honest.update) == (cheat == "copy")

    blobs = {sha256(p.read_bytes()).hex(): p.read_bytes() for p in (tmp_path / "own").iterdir()}
    blobs[result.trace_root.hex()] = result.trace

    def fetch(name: str, max_bytes: int) -> bytes:
        if name not in blobs:
            raise BlobNotFound(name)
        return blobs[name]

    report = audit_slot(
        spec,
        corpus,
        checkpoint,
        node=NODE,
        round_=1,
        reveal=Reveal(
            salt=bytes(32),
            start_root=checkpoint.root(),
            update_root=result.update_root,
            trace_root=result.trace_root,
            state_in=result.state_in,
            state_out=result.state_out,
            norm=result.norm,
            width=1,
        ),
        seed=sha256(b"seed"),
        update=result.update,
        fetch=fetch,
        validator=VALIDATOR,
        class_id=admitted(spec)[0].id,
    )
    assert report.outcome == outcome, report.reasons


def test_a_copier_with_nothing_to_copy_is_honest(run, tmp_path: Path):
    honest = trainer(None)(job(run, tmp_path / "a", round_=0))
    assert trainer("copy")(job(run, tmp_path / "b", round_=0)).trace == honest.trace
