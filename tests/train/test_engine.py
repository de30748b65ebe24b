"""The inner loop over two processes, in micro-batches, and compiled: the same training as the plain one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from pi_sdk.errors import PiError, RankFailed, SpecMismatch, ToolMissing
from pi_sdk.types import DeterminismClass, GptSpec, InnerSpec, Outcome, RunSpec
from pi_train import determinism
from pi_train.data import ahead
from pi_train.determinism import default_classes, pinned
from pi_train.fixed import to_fp32
from pi_train.inner import InnerLoop, Loop, inner_loop
from pi_train.state import Border
from pi_train.throughput import flops_per_token, utilisation
from pydantic import ValidationError
from train.models import config_file, pretrained
from train.tiny_run import TinyRun

INNER = InnerSpec(steps=4, batch=4, sequence=32, warmup=2, clip=0.5)


def mine(**changes: object) -> DeterminismClass:
    return pinned().model_copy(update={"id": "other", **changes})


def start(run: TinyRun) -> Border:
    m = np.random.default_rng(0).normal(0, 1e-3, run.n).astype(np.float32)
    return Border(to_fp32(run.genesis.theta, 24), m, m * m, 7)


def trained(loop: Loop, run: TinyRun) -> tuple[list[float], list[np.ndarray], Border]:
    """Losses, proven activations and the last border of a slot."""
    steps = [loop.train_step(batch.tokens, 2e-3) for batch in run.batches(run.genesis, 0)]
    end = loop.border()
    return (
        [loss for loss, _ in steps],
        [hidden for _, hidden in steps],
        Border(end.params.copy(), end.m.copy(), end.v.copy(), end.step),
    )


def assert_close(one: tuple, other: tuple, limit: float = 1e-5) -> None:
    assert one[0] == pytest.approx(other[0], rel=limit)
    for mine, theirs in zip(one[1], other[1], strict=True):
        assert mine.shape == theirs.shape and np.linalg.norm(mine - theirs) <= limit * np.linalg.norm(mine)
    assert one[2].step == other[2].step
    for buffer in ("params", "m", "v"):
        mine, theirs = getattr(one[2], buffer), getattr(other[2], buffer)
        assert np.linalg.norm(mine - theirs) <= limit * np.linalg.norm(mine), buffer


def same(one: Border, other: Border) -> bool:
    return all(np.array_equal(getattr(one, b), getattr(other, b)) for b in ("params", "m", "v"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return TinyRun(tmp_path_factory.mktemp("tiny"), inner=INNER)


@pytest.fixture(scope="module")
def plain(tiny: TinyRun) -> tuple:
    return trained(InnerLoop(tiny.spec, pinned(), start(tiny)), tiny)


# --- several processes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["gpt", "llama", "lora"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Slices of different sizes: the Llama's embedding has 301 rows. Adapters of rank 1 leave the second
    process some empty ones; their base is frozen."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "gpt":
        return TinyRun(folder, inner=INNER, model=GptSpec(layers=2, heads=2, width=16, context=32))
    if request.param == "llama":
        return TinyRun(folder / "run", inner=INNER, model=str(config_file(folder, vocab_size=301)))
    return TinyRun(folder / "run", inner=INNER, model=str(pretrained(folder / "base")), lora=1)


def test_two_ranks_train_as_one_process_does(run: TinyRun):
    one = trained(InnerLoop(run.spec, pinned(), start(run), run.corpus.files), run)
    loop = inner_loop(run.spec, mine(ranks=2), start(run), run.corpus.files)
    assert same(loop.border(), start(run))
    two = trained(loop, run)
    assert_close(one, two)
    loop.load(start(run))
    again = trained(loop, run)
    assert same(two[2], again[2]) and two[0] == again[0]


def test_activations_of_all_ranks_and_micro_batches_are_proven(tiny: TinyRun):
    changes = {
        "inner": INNER.model_copy(update={"micro_batch": 1}),
        "trace": tiny.spec.trace.model_copy(update={"proof_sequences": 3}),
    }
    spec = tiny.spec.model_copy(update=changes)
    one = trained(InnerLoop(spec, pinned(), start(tiny)), tiny)
    assert one[1][0].shape == (3, 32, 16)
    assert_close(one, trained(inner_loop(spec, mine(ranks=2), start(tiny)), tiny))


def test_training_that_diverges_says_so_and_the_ranks_live_on(tiny: TinyRun, plain: tuple):
    wild = start(tiny)
    wild.params[:] = 1e30
    loop = inner_loop(tiny.spec, mine(ranks=2), wild)
    before = children()
    with pytest.raises(PiError, match="diverged") as caught:
        trained(loop, tiny)
    assert not isinstance(caught.value, RankFailed) and caught.value.hint
    loop.load(start(tiny))
    assert_close(plain, trained(loop, tiny))
    assert children() == before


def test_a_rank_that_dies_is_an_error_and_the_next_loop_works(tiny: TinyRun, plain: tuple):
    loop = inner_loop(tiny.spec, mine(ranks=2), start(tiny))
    ranks = children()
    assert len(ranks) == 2
    os.kill(max(ranks), signal.SIGKILL)
    with pytest.raises(RankFailed, match="ended with status -9"):
        trained(loop, tiny)
    assert not any(psutil.pid_exists(pid) for pid in ranks)
    assert_close(plain, trained(inner_loop(tiny.spec, mine(ranks=2), start(tiny)), tiny))


def test_a_dead_rank_is_no_verdict(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RankFailed("rank 1 of 2 has ended")

    work = tiny.honest
    monkeypatch.setattr("pi_train.inner.gradients", fail)
    with pytest.raises(RankFailed):
        work.audit()


def children() -> set[int]:
    """Process ids of the ranks of this process."""
    found = psutil.Process().children(recursive=True)
    return {child.pid for child in found if "pi_train.rank" in child.cmdline()}


def test_a_slot_of_two_ranks_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Bit by bit by two ranks, within the limit by one. A class of two ranks needs no other torch here."""
    run = TinyRun(tmp_path, inner=INNER, classes=(pinned(), mine(ranks=2)))
    with monkeypatch.context() as patch:
        patch.setattr(determinism, "_pinned", mine(ranks=2))
        run.class_id = "other"
        report = run.honest.audit()
        assert (report.outcome, report.bitwise, report.worst_error) == (Outcome.ACCEPT, True, 0.0)
    report = run.honest.audit(class_id=pinned().id)
    assert report.outcome == Outcome.ACCEPT and not report.bitwise, report.reasons
    assert report.worst_error is not None and 0 < report.worst_error < report.limit / 10


PARENT = """
import sys
from pi_sdk.types import DeterminismClass
from pi_train.sharded import _Ranks
_Ranks(DeterminismClass.model_validate_json(sys.argv[1]))
"""


def test_no_rank_outlives_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, mine(ranks=2).model_dump_json()])
    while len(ranks := psutil.Process(parent.pid).children()) < 2:
        assert parent.poll() is None
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(ranks, timeout=60)[1]


# --- micro-batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_add_up_to_the_batch_in_less_memory(tiny: TinyRun, plain: tuple, size: int):
    spec = tiny.spec.model_copy(update={"inner": INNER.model_copy(update={"micro_batch": size})})
    with largest_activation() as whole:
        trained(InnerLoop(tiny.spec, pinned(), start(tiny)), tiny)
    with largest_activation() as parts:
        assert_close(plain, trained(InnerLoop(spec, pinned(), start(tiny)), tiny))
    assert parts.bytes == whole.bytes * size / INNER.batch


class largest_activation:
    """The largest tensor that a forward pass keeps for its backward pass; weights are smaller here."""

    bytes = 0

    def __enter__(self) -> "largest_activation":
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.saved, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def saved(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes = max(self.bytes, tensor.nbytes)
        return tensor

    def __exit__(self, *_: object) -> None:
        self.hooks.__exit__()


def test_a_batch_that_does_not_divide_makes_no_run(tiny: TinyRun):
    rules = tiny.spec.model_dump()
    for inner, classes in (({"micro_batch": 3}, 1), ({}, 3), ({"micro_batch": 4}, 2)):
        changed = {
            "inner": rules["inner"] | inner,
            "classes": default_classes(ranks=classes),
            "limits": [
                {"worker": c.id, "validator": c.id, "limit": 1e-3} for c in default_classes(ranks=classes)
            ],
        }
        with pytest.raises(ValidationError, match="inner.batch does not divide"):
            RunSpec.model_validate(rules | changed)


# --- compiled -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own
def test_a_compiled_model_trains_the_same(tiny: TinyRun, plain: tuple):
    compiled = trained(InnerLoop(tiny.spec, mine(compile=True), start(tiny)), tiny)
    assert_close(plain, compiled)
    again = trained(InnerLoop(tiny.spec, mine(compile=True), start(tiny)), tiny)
    assert same(compiled[2], again[2])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch):
    (cls, *_) = (c for c in default_classes(compile=True) if determinism._has_isa(c))
    assert determinism.fits(cls)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not determinism.fits(cls)
    monkeypatch.setattr(determinism, "_pinned", None)
    with pytest.raises(ToolMissing, match="needs a C.. compiler, no no-such-compiler found"):
        determinism.pin(cls)


# --- classes, data, speed -----------------------------------------------------------------------------------


def test_who_may_train_over_ranks(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch):
    classes = (mine(ranks=64, id="many"), mine(ranks=2, id="two"), pinned())
    spec = tiny.spec.model_copy(update={"classes": classes})
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [c.id for c in determinism.admitted(spec)] == ["two", pinned().id]
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert [c.id for c in determinism.admitted(spec)] == [pinned().id]
    gpu = tiny.spec.model_copy(update={"classes": (mine(device="cuda", ranks=2),)})
    with pytest.raises(SpecMismatch, match="other needs 2 GPUs and a torch that uses them, 0 found"):
        determinism.admitted(gpu)


def test_batches_are_read_ahead(tiny: TinyRun):
    steps = tiny.batches(tiny.genesis, 0)
    read = []

    def reading() -> Iterator:
        for i, batch in enumerate(steps):
            read.append(i)
            yield batch

    ahead_of = ahead(reading())
    first = next(ahead_of)
    second = next(ahead_of)
    assert [first, second, *ahead_of] == steps and read == [0, 1, 2, 3]


def test_flops_are_those_of_six_per_parameter_and_attention(run: TinyRun):
    model, n = run.spec.model, run.n
    attention = 12 * 2 * 16 * 32
    if model.kind == "hf" and model.lora:
        base = run.n  # the adapters alone
        assert flops_per_token(model, 32) > 6 * base + attention
    else:
        assert flops_per_token(model, 32) == 6 * n + attention
    slow, fast = (utilisation(run.spec, pinned(), speed) for speed in (1e3, 2e3))
    assert 0 < slow < 1 and fast == pytest.approx(2 * slow)
    assert utilisation(run.spec, mine(ranks=2), 2e3) == pytest.approx(slow)
