"""Audits: an honest slot replays bit for bit, and each way to cheat or to send garbage has its outcome."""

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pi_sdk.codec import ZERO, audit_segments
from pi_sdk.errors import BlobTooLarge, SpecMismatch, UsageError
from pi_sdk.types import AuditSpec, DeterminismClass, ErrorLimit, InnerSpec, Outcome, Reveal, TraceSpec
from pi_train import determinism
from pi_train.codecs import UpdateFile, encode_update
from pi_train.data import Batch
from pi_train.determinism import admitted
from pi_train.replay import audit_slot
from pi_train.slot import SlotResult, SlotRun, loss_bits
from pi_train.state import Border, PrivateState
from train.tiny_run import NODE, SEED, VALIDATOR, MemoryStore, TinyRun, Work

OTHER_MACHINES = Path(__file__).parents[1] / "vectors" / "slots"
"""Made by tools/make_slot_vectors.py."""


def test_an_honest_slot_is_accepted_bit_for_bit(run: TinyRun):
    report = run.honest.audit()
    assert (report.outcome, report.reasons) == (Outcome.ACCEPT, [])
    assert report.bitwise and report.worst_error == 0.0 and report.limit == 1e-3


def test_training_twice_gives_the_same_bytes(run: TinyRun):
    again = run.train(SlotRun, run.checkpoint, run.round, run.first.state)
    first = run.honest.result
    for name in ("update", "trace", "state", "losses"):
        assert getattr(again, name) == getattr(first, name)


def test_moments_that_are_not_carried_start_at_zero_and_replay(tmp_path: Path):
    inner = InnerSpec(steps=4, batch=2, sequence=32, warmup=2, carry_moments=False)
    run = TinyRun(tmp_path, inner=inner)
    state = PrivateState.from_bytes(run.first.state, run.spec)
    assert (state.step, np.abs(state.m).sum(), np.abs(state.v).sum()) == (0, 0, 0)
    assert np.abs(state.feedback).sum() > 0
    report = run.honest.audit()
    assert report.outcome == Outcome.ACCEPT and report.bitwise


def test_a_joiner_and_a_wide_node_are_accepted(run: TinyRun):
    result = run.first
    assert result.state_in == ZERO
    wide = run.work(SlotRun, width=3)
    assert wide.result.tokens == 3 * run.honest.result.tokens
    report = wide.audit()
    assert report.outcome == Outcome.ACCEPT and report.bitwise


@pytest.mark.parametrize("path", sorted(OTHER_MACHINES.glob("*.zip")), ids=lambda path: path.stem)
def test_a_slot_that_another_cpu_trained_is_accepted(tmp_path: Path, path: Path):
    """One class on CPUs of different makers need not give the same bits, but has to come near."""
    run = TinyRun(tmp_path / "run")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    fields = json.loads(files.pop("reveal.json"))
    reveal = {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in fields.items()}
    report = audit_slot(
        run.spec,
        run.corpus,
        run.genesis,
        node=NODE,
        round_=0,
        reveal=Reveal(**reveal),
        seed=SEED,
        update=files.pop("update"),
        fetch=MemoryStore(files).fetch,
        validator=VALIDATOR,
        class_id=run.class_id,
    )
    print(f"{path.stem}, replayed here: off by {report.worst_error:.3g}, bitwise: {report.bitwise}")
    assert (report.outcome, report.reasons) == (Outcome.ACCEPT, [])


def test_the_digest_is_bound_to_validator_outcome_and_replay(run: TinyRun):
    work = run.honest
    digests = [
        work.audit().digest,
        work.audit(validator="0x" + "c3" * 20).digest,
        work.audit(update=None).digest,
        work.copy().retrace(class_id="unknown").audit().digest,
    ]
    assert work.audit().digest == digests[0] and len(set(digests)) == 4


# --- work on other data; further cheats are in tests/attacks ----------------------------------------------


class OtherDataClaimedHonestly(SlotRun):
    """Trains on other tokens, and says so: the batch digests give it away."""

    def step(self, batch: Batch) -> float:
        return super().step(Batch(batch.ids, batch.tokens[:, ::-1].copy()))


class OtherDataClaimedFalsely(SlotRun):
    def train(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
        return super().train(tokens[:, ::-1].copy(), lr)


def test_activation_proofs_see_other_data(run: TinyRun):
    reasons = run.work(OtherDataClaimedFalsely).audit().reasons
    assert any("activation proofs" in reason for reason in reasons)


def test_data_that_was_not_assigned_needs_no_replay(run: TinyRun):
    report = run.work(OtherDataClaimedHonestly).audit()
    assert report.outcome == Outcome.MISMATCH and report.worst_error is None
    assert "other data" in report.reasons[0]


def test_another_nodes_slot_cannot_be_handed_in(run: TinyRun):
    report = run.honest.audit(node="0x" + "d4" * 20)
    assert report.outcome == Outcome.MISMATCH and "other data" in report.reasons[0]


# --- false claims about honest work -----------------------------------------------------------------------


def tampered_update(work: Work) -> None:
    update = bytearray(work.result.update)
    update[-1] ^= 0xFF
    work.update = bytes(update)


def other_update(work: Work) -> None:
    """A well-formed update that is not what was trained, honestly named."""
    spec = work.run.spec
    values = UpdateFile(spec.codec, work.result.update, work.run.n).decode() * -1
    update = UpdateFile(spec.codec, encode_update(spec.codec, values), work.run.n)
    work.update = update.data
    work.claim(update_root=update.root, norm=update.norm)


def forged_state_in(work: Work) -> None:
    state = PrivateState.from_bytes(work.run.first.state, work.run.spec)
    forged = PrivateState(state.m * 2, state.v, state.feedback, state.step).to_bytes()
    work.claim(state_in=bytes.fromhex(work.evidence.put(forged)))


def other_last_border(work: Work) -> None:
    """The last border, and with it update and state, are of other parameters than the replay gives."""
    spec, n, trace = work.run.spec, work.run.n, work.trace
    end = Border.from_bytes(work.evidence[trace.borders[-1].hex()], n)
    data = Border(end.params * np.float32(1.01), end.m, end.v, end.step).to_bytes()
    work.retrace(borders=(*trace.borders[:-1], bytes.fromhex(work.evidence.put(data))))
    assert spec.segments == 2


def border_of_another_step(work: Work) -> None:
    trace = work.trace
    middle = Border.from_bytes(work.evidence[trace.borders[1].hex()], work.run.n)
    data = Border(middle.params, middle.m, middle.v, middle.step + 1).to_bytes()
    name = bytes.fromhex(work.evidence.put(data))
    work.retrace(borders=(trace.borders[0], name, trace.borders[2]))


CLAIMS: dict[str, Callable[[Work], object]] = {
    "tampered update": tampered_update,
    "other update": other_update,
    "forged state in": forged_state_in,
    "other last border": other_last_border,
    "border of another step": border_of_another_step,
    "truncated update": lambda w: setattr(w, "update", w.result.update[:-1]),
    "empty update": lambda w: setattr(w, "update", b""),
    "false norm": lambda w: w.claim(norm=w.reveal.norm - 1),
    "false update root": lambda w: w.claim(update_root=bytes(32)),
    "other start root": lambda w: w.claim(start_root=bytes(32)),
    "false state out": lambda w: w.claim(state_out=bytes(32)),
    "zero state in": lambda w: w.claim(state_in=ZERO),
    "other width": lambda w: w.claim(width=2),
    "width above the limit": lambda w: w.claim(width=65535),
    "unknown class": lambda w: w.retrace(class_id="fast"),
    "first border forged": lambda w: w.retrace(borders=(bytes(32), *w.trace.borders[1:])),
    "other losses": lambda w: w.retrace(losses=tuple(loss_bits(1.0) for _ in w.trace.losses)),
    "losses that are no numbers": lambda w: w.retrace(losses=tuple(0x7FC00000 for _ in w.trace.losses)),
    "proofs of zeros": lambda w: w.retrace(proofs=tuple((bytes(258),) for _ in w.trace.proofs)),
    "proofs swapped": lambda w: w.retrace(proofs=w.trace.proofs[::-1]),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_false_claims_are_mismatches(run: TinyRun, claim: str):
    work = run.honest.copy()
    CLAIMS[claim](work)
    report = work.audit()
    assert report.outcome == Outcome.MISMATCH and report.reasons


def garbage_blob(work: Work, name: bytes, data: bytes) -> bytes:
    """Commits to `data` in the place of an honest blob."""
    del work.evidence[name.hex()]
    return bytes.fromhex(work.evidence.put(data))


@pytest.mark.parametrize("part", ["trace", "private state", "border"])
@pytest.mark.parametrize("kind", ["empty", "short", "random", "nan", "huge", "negative"])
def test_garbage_evidence_is_a_mismatch(run: TinyRun, part: str, kind: str):
    work = run.honest.copy()
    trace = work.trace
    honest = {
        "trace": work.reveal.trace_root,
        "private state": work.reveal.state_in,
        "border": trace.borders[1],
    }[part]
    size = len(work.evidence[honest.hex()])
    floats = {"nan": np.nan, "huge": 3e38, "negative": -1.0}
    data = {
        "empty": b"",
        "short": work.evidence[honest.hex()][:-1],
        "random": random.Random(0).randbytes(size),
    }.get(kind, np.full(-(-size // 4), floats.get(kind, 0), np.float32).tobytes()[:size])
    name = garbage_blob(work, honest, data)
    if part == "trace":
        work.claim(trace_root=name)
    elif part == "private state":
        work.claim(state_in=name)
    else:
        work.retrace(borders=(trace.borders[0], name, trace.borders[2]))
    report = work.audit()
    assert report.outcome == Outcome.MISMATCH, report.reasons


def test_a_border_that_blows_up_is_a_mismatch(run: TinyRun):
    """Finite and well-formed, but no step can be taken from it."""
    work = run.honest.copy()
    trace = work.trace
    middle = Border.from_bytes(work.evidence[trace.borders[1].hex()], run.n)
    data = Border(np.full_like(middle.params, 3e38), middle.m, middle.v, middle.step).to_bytes()
    name = bytes.fromhex(work.evidence.put(data))
    report = work.retrace(borders=(trace.borders[0], name, trace.borders[2])).audit()
    assert report.outcome == Outcome.MISMATCH


@pytest.mark.parametrize("missing", ["update", "trace", "private state", "border", "last border"])
def test_what_is_not_served_is_withheld(run: TinyRun, missing: str):
    work = run.honest.copy()
    if missing == "update":
        work.update = None
    else:
        names = {
            "trace": work.reveal.trace_root,
            "private state": work.reveal.state_in,
            "border": work.trace.borders[1],
            "last border": work.trace.borders[2],
        }
        del work.evidence[names[missing].hex()]
    report = work.audit()
    assert report.outcome == Outcome.WITHHELD and "not to be had" in report.reasons[0]


def test_a_store_that_lies_or_offers_too_much_serves_nothing(run: TinyRun):
    def lies(name: str, max_bytes: int) -> bytes:
        return bytes(max_bytes)

    def too_large(name: str, max_bytes: int) -> bytes:
        raise BlobTooLarge(f"{name} has more than {max_bytes} bytes")

    assert run.honest.audit(fetch=lies).outcome == Outcome.WITHHELD
    assert run.honest.audit(fetch=too_large).outcome == Outcome.WITHHELD


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_the_trace_goes_unseen_or_raises(run: TinyRun, data: st.DataObject):
    work = run.honest.copy()
    trace = bytearray(work.result.trace)
    bit = data.draw(st.integers(0, 8 * len(trace) - 1))
    trace[bit // 8] ^= 1 << bit % 8
    work.claim(trace_root=bytes.fromhex(work.evidence.put(bytes(trace))))
    report = work.audit()
    # A low bit of a loss or of a proof is noise between classes; it is never called bitwise.
    assert report.outcome in (Outcome.MISMATCH, Outcome.WITHHELD) or not report.bitwise


def test_only_drawn_segments_are_fetched(tmp_path: Path):
    run = TinyRun(tmp_path, trace=TraceSpec(segment=1), audit=AuditSpec(segments=1))
    work, fetched = run.honest, []

    def fetch(name: str, max_bytes: int) -> bytes:
        fetched.append(name)
        return work.evidence.fetch(name, max_bytes)

    assert work.audit(fetch=fetch).outcome == Outcome.ACCEPT
    (drawn,) = audit_segments(SEED, NODE, 4, 1)
    expected = {j for j in (drawn, drawn + 1, 4) if j}
    borders = [border.hex() for border in work.trace.borders]
    assert {borders.index(name) for name in fetched if name in borders} == expected


# --- classes ----------------------------------------------------------------------------------------------


def test_a_class_without_a_limit_may_not_judge(tmp_path: Path):
    run = TinyRun(tmp_path)
    other = DeterminismClass(id="other", torch=admitted(run.spec)[0].torch, threads=2)
    mine = admitted(run.spec)[0].id
    run.spec = run.spec.model_copy(
        update={
            "classes": (*run.spec.classes, other),
            "limits": (ErrorLimit(worker=mine, validator=mine, limit=1e-3),),
        }
    )
    report = run.honest.copy().retrace(class_id="other").audit()
    assert report.outcome == Outcome.NONE and "may not judge" in report.reasons[0]


OTHER_CLASS = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from pi_sdk.types import DeterminismClass
from pi_train import determinism
mine, other = (DeterminismClass.model_validate_json(text) for text in sys.argv[1:3])
determinism.pin(other)
from train.tiny_run import SlotRun, TinyRun
run = TinyRun(Path(sys.argv[3]), classes=(mine, other))
run.class_id = "other"
result = asdict(run.train(SlotRun, run.genesis, 0, None))
print(json.dumps({k: v.hex() if isinstance(v, bytes) else v for k, v in result.items()}))
"""


@pytest.mark.parametrize(
    "changes",
    [{"aten": "default", "onednn": "SSE41", "mkl": "COMPATIBLE"}, {"threads": 2}],
    ids=["instruction sets", "threads"],
)
def test_a_worker_of_another_class_is_off_by_little_and_accepted(tmp_path: Path, changes: dict):
    mine = admitted(TinyRun(tmp_path / "mine").spec)[0]
    other = DeterminismClass(**(mine.model_dump() | {"id": "other"} | changes))
    out = subprocess.run(
        [sys.executable, "-c", OTHER_CLASS, mine.model_dump_json(), other.model_dump_json(), tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    fields = json.loads(out.stdout)
    plain = {"norm", "losses", "tokens", "seconds"}
    result = SlotResult(**{k: v if k in plain else bytes.fromhex(v) for k, v in fields.items()})

    run = TinyRun(tmp_path / "judge", classes=(mine, other))
    evidence = MemoryStore()
    evidence.put(result.trace)
    for path in (tmp_path / "SlotRun" / "0").glob("*.bin"):
        evidence.put(path.read_bytes())
    run.round, run.checkpoint = 0, run.genesis
    report = Work(run, result, evidence).audit()
    assert report.outcome == Outcome.ACCEPT, report.reasons
    assert report.worst_error is not None and 0 < report.worst_error < report.limit / 10
    assert not report.bitwise


def test_bf16_on_two_threads_gives_the_same_bytes_in_every_process(run: TinyRun, tmp_path: Path):
    """fp32 weights and moments, products in bf16."""
    half = determinism.class_named("cpu-t2-bf16-avx2").model_copy(update={"id": "other"})
    mine = admitted(run.spec)[0]
    argv = [sys.executable, "-c", OTHER_CLASS, mine.model_dump_json(), half.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    processes = [
        subprocess.Popen([*argv, tmp_path / name], env=environment, stdout=subprocess.PIPE) for name in "ab"
    ]
    first, second = (json.loads(process.communicate()[0]) for process in processes)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    full = run.first.losses
    assert first["losses"] != full and first["losses"] == pytest.approx(full, rel=1e-2)


def test_names_of_classes_say_what_they_are():
    for cls in (*determinism.default_classes(), *determinism.default_classes(ranks=2, compile=True)):
        assert determinism.class_named(cls.id) == cls
    gpu = determinism.class_named("cuda-bf16-r8")
    assert (gpu.device, gpu.dtype, gpu.ranks, gpu.aten) == ("cuda", "bf16", 8, "default")
    for wrong in ("cpu-t1-fp32", "cuda-bf16-avx2", "cpu-t0-fp32-avx2", "cuda-fp16", "cuda-fp32-r1"):
        with pytest.raises(UsageError):
            determinism.class_named(wrong)


def test_this_process_is_pinned(run: TinyRun):
    assert torch.get_num_threads() == 1 and os.environ["MKL_CBWR"] == determinism.pinned().mkl
    assert torch.are_deterministic_algorithms_enabled()
    other = admitted(run.spec)[0].model_copy(update={"id": "other", "threads": 2})
    with pytest.raises(SpecMismatch):
        determinism.pin(other)
    with pytest.raises(SpecMismatch):
        run.honest.audit(class_id="other")
