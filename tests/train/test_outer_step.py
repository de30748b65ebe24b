"""The outer step, checkpoints, fixed point and error feedback: vectors, reference, any order and block."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train import outer
from pi_train.checkpoint_file import out_of_memory
from pi_train.codecs import UpdateFile, encode_update
from pi_train.fixed import divide, divide_q16, to_fixed, to_fp32
from pi_train.outer import (
    Checkpoint,
    checkpoint_bytes,
    guarded,
    norm_factors,
    outer_step,
    was_skipped,
)
from pi_train.slot import compress
from train import outer_reference as reference
from train.tiny_run import TinyRun

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "outer.json").read_text())


def with_rule(
    spec: RunSpec, lr: int, momentum: int | None, codec: str = "dense-fixed", trim: int = 0
) -> RunSpec:
    """Momentum None is the rule `sign`."""
    name = "sign" if momentum is None else "nesterov" if momentum else "sgd"
    rule = OuterSpec(rule=name, lr=lr, momentum=momentum or 0, trim=trim)
    return spec.model_copy(update={"outer": rule, "codec": CodecSpec(name=codec)})


def checkpoint_of(theta: list[int], momentum: list[int] | None) -> Checkpoint:
    return Checkpoint(np.array(theta, np.int32), None if momentum is None else np.array(momentum, np.int64))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "case",
    VECTORS["steps"] + VECTORS["sign_steps"] + VECTORS["trimmed_steps"],
    ids=lambda c: f"{c['what']}-{c['lr']}-{c['momentum_q16']}-{c.get('trim', 0)}",
)
def test_outer_vectors(run: TinyRun, case: dict):
    spec = with_rule(run.spec, case["lr"], case["momentum_q16"], trim=case.get("trim", 0))
    n = len(case["theta"])
    updates = [(UpdateFile(spec.codec, bytes.fromhex(u["file"]), n), u["width"]) for u in case["updates"]]
    result = outer_step(spec, checkpoint_of(case["theta"], case["momentum"]), updates)
    assert result.theta.tolist() == case["new_theta"]
    if result.momentum is not None:
        assert result.momentum.tolist() == case["new_momentum"]
    assert result.root().hex() == case["new_root"]


@pytest.mark.parametrize("case", VECTORS["checkpoints"], ids=lambda c: str(len(c["theta"])))
def test_checkpoint_vectors(case: dict):
    checkpoint = checkpoint_of(case["theta"], case["momentum"])
    assert checkpoint.root().hex() == case["root"]
    has_momentum = case["momentum"] is not None
    data = checkpoint.to_bytes()
    assert len(data) == checkpoint_bytes(len(case["theta"]), has_momentum)
    back = Checkpoint.from_bytes(data, len(case["theta"]), has_momentum)
    assert back.root() == checkpoint.root() and back.to_bytes() == data


@pytest.mark.parametrize("case", VECTORS["feedback"], ids=lambda c: str(c["beta"]))
def test_error_feedback_keeps_exactly_what_was_not_sent(run: TinyRun, case: dict):
    codec = CodecSpec(k=3, beta=case["beta"])
    spec = run.spec.model_copy(update={"codec": codec})
    # Parameters whose difference is the vector's delta, as far as fp32 holds it.
    start = (np.array(case["delta"], np.float64) * 2.0**-24).astype(np.float32)
    end = np.zeros_like(start)
    delta = to_fixed(start, 24).astype(np.int64)
    total = reference.feedback_step(case["beta"], case["feedback"], delta.tolist())
    feedback = np.array(case["feedback"], np.int32)
    update, rest = compress(spec, Checkpoint(to_fixed(start, 24)), end, feedback, 0)
    assert update.data == reference.encode(codec.name, codec.k, codec.max_step, total)
    expected = [reference.clamp(t - d) for t, d in zip(total, reference.decode(update.data), strict=True)]
    assert rest.tolist() == expected


@pytest.mark.parametrize("case", VECTORS["fixed"], ids=lambda c: f"{c['fp32']:08x}")
def test_fixed_point_vectors(case: dict):
    x = np.array([case["fp32"]], np.uint32).view(np.float32)
    assert to_fixed(x, case["frac_bits"]).tolist() == [case["int32"]]
    back = to_fp32(np.array([case["int32"]], np.int32), case["frac_bits"])
    assert back.view(np.uint32).tolist() == [case["back"]]


def test_a_parameter_that_is_not_a_number_is_refused():
    with pytest.raises(MalformedArtifact):
        to_fixed(np.array([0.0, np.nan], np.float32), 24)


@given(st.integers(-(1 << 62), 1 << 62), st.integers(1, 1 << 40))
def test_divisions_round_half_away_from_zero(a: int, b: int):
    assert divide(np.array([a]), b).tolist() == [reference.divide(a, b)]
    assert divide_q16(np.array([a])).tolist() == [reference.divide(a, 65536)]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("codec", ["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_outer_step_agrees_with_the_reference(run: TinyRun, codec: str, data: st.DataObject):
    n, mu = 300, data.draw(st.sampled_from([0, 58982, 65535, None]))
    trim = data.draw(st.sampled_from([0, 0, 1, 1000, 2500, 4999]))
    spec = with_rule(run.spec, data.draw(st.integers(0, 1 << 24)), mu, codec, trim)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    theta = rng.integers(*reference.INT32, n).tolist()
    momentum = rng.integers(*reference.MOMENTUM, n).tolist() if mu else None
    updates = []
    for _ in range(data.draw(st.integers(1, 5))):
        values = rng.normal(0, 10.0 ** data.draw(st.integers(0, 9)), n).clip(*reference.INT32)
        update = UpdateFile(spec.codec, encode_update(spec.codec, values.astype(np.int32)), n)
        updates.append((update, data.draw(st.integers(1, 256))))
    result = outer_step(spec, checkpoint_of(theta, momentum), updates)
    decoded = [(update.decode().tolist(), width) for update, width in updates]
    expected = reference.outer_step(theta, momentum, spec.outer.lr, mu, decoded, trim)
    assert result.theta.tolist() == expected[0]
    assert (None if result.momentum is None else result.momentum.tolist()) == expected[1]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("trim", [0, 2000])
@pytest.mark.parametrize("codec", ["sparse-2bit", "dense-int8", "dct-topk"])
def test_order_and_block_size_do_not_matter(
    run: TinyRun, monkeypatch: pytest.MonkeyPatch, codec: str, trim: int
):
    rng, n = np.random.default_rng(3), 5 * 4096 + 19
    spec = with_rule(run.spec, 45875, 58982, codec, trim)
    checkpoint = Checkpoint(rng.integers(-(1 << 24), 1 << 24, n).astype(np.int32), rng.integers(-999, 999, n))
    updates = []
    for width in (1, 2, 7):
        values = rng.normal(0, 1e5 * width, n).astype(np.int32)
        updates.append((UpdateFile(spec.codec, encode_update(spec.codec, values), n), width))
    roots = {
        outer_step(spec, checkpoint, order).root()
        for order in (updates, updates[::-1], updates[1:] + updates[:1])
    }
    monkeypatch.setattr(outer, "_BLOCK", 4096)
    monkeypatch.setattr(outer, "_TRIM_BLOCK", 4096)
    roots.add(outer_step(spec, checkpoint, updates).root())
    assert len(roots) == 1 and roots != {checkpoint.root()}


def test_a_trimmed_mean_leaves_out_whoever_is_extreme(run: TinyRun):
    """What one of eight sends, however large, moves the mean within the others' values only."""
    n, rng = 1000, np.random.default_rng(8)
    honest = [rng.normal(1e4, 1e3, n).astype(np.int32) for _ in range(7)]
    spec = with_rule(run.spec, 65536, 0, trim=1250)
    for attack in (np.full(n, -(2**31)), np.full(n, 2**31 - 1), -honest[0]):
        rows = [*honest, attack.astype(np.int32)]
        updates = [(UpdateFile(spec.codec, encode_update(spec.codec, values), n), 1) for values in rows]
        moved = -outer_step(spec, checkpoint_of([0] * n, None), updates).theta
        assert (moved >= np.min(honest, axis=0) * 0.99).all() and (moved <= np.max(honest, axis=0)).all()
    few = [(update, 1) for update, _ in updates[:7]]  # an eighth of seven slots is none
    without = with_rule(run.spec, 65536, 0)
    start = checkpoint_of([0] * n, None)
    assert outer_step(spec, start, few).root() == outer_step(without, start, few).root()


def test_large_updates_lie_outside_memory_and_count_the_same(run: TinyRun, tmp_path: Path):
    rng, n = np.random.default_rng(5), 300_000
    spec, checkpoint = with_rule(run.spec, 65536, 0), Checkpoint(rng.integers(-99, 99, n).astype(np.int32))
    data = encode_update(spec.codec, rng.normal(0, 1e5, n).astype(np.int32))
    mapped = out_of_memory(data, tmp_path / "new")
    assert isinstance(mapped, memoryview) and not list((tmp_path / "new").iterdir())
    roots = [outer_step(spec, checkpoint, [(UpdateFile(spec.codec, d, n), 1)]).root() for d in (data, mapped)]
    assert roots[0] == roots[1]
    assert out_of_memory(data[:99], tmp_path) == data[:99]


def test_an_empty_round_changes_nothing(run: TinyRun):
    assert outer_step(run.spec, run.genesis, []) is run.genesis


def test_a_large_update_is_scaled_to_the_lower_median():
    assert norm_factors([10, 20, 40, 80]) == [65536, 65536, 32768, 16384]
    assert norm_factors([7]) == [65536]
    assert norm_factors([0, 0, 5]) == [65536, 65536, 0]


def test_one_giant_update_cannot_move_the_model_further_than_the_others(run: TinyRun):
    spec, n = with_rule(run.spec, 65536, 0), 1000
    rng = np.random.default_rng(4)
    calm = [rng.normal(0, 1000, n).astype(np.int32) for _ in range(2)]
    giant = np.full(n, reference.INT32[1], np.int32)
    updates = [(UpdateFile(spec.codec, encode_update(spec.codec, v), n), 1) for v in (*calm, giant)]
    moved = outer_step(spec, Checkpoint(np.zeros(n, np.int32)), updates).theta
    assert np.linalg.norm(moved.astype(float)) <= max(update.norm for update, _ in updates[:2]) * 1.01


@pytest.mark.parametrize("has_momentum", [False, True])
def test_malformed_checkpoints_are_refused(has_momentum: bool):
    n = 300
    momentum = np.arange(n) if has_momentum else None
    data = Checkpoint(np.arange(n, dtype=np.int32), momentum).to_bytes()
    bad = [
        b"",
        data[:-1],
        data + b"\0",
        b"XXXX" + data[4:],
        data[:4] + b"\2" + data[5:],
        data[:6] + b"\1" + data[7:],
    ]
    for blob in bad:
        with pytest.raises(MalformedArtifact):
            Checkpoint.from_bytes(blob, n, has_momentum)
    with pytest.raises(MalformedArtifact):
        Checkpoint.from_bytes(data, n, not has_momentum)
    with pytest.raises(MalformedArtifact):
        Checkpoint.from_bytes(data, n + 1, has_momentum)


def test_momentum_out_of_range_is_refused():
    data = Checkpoint(np.zeros(2, np.int32), np.array([0, 1 << 46])).to_bytes()
    with pytest.raises(MalformedArtifact):
        Checkpoint.from_bytes(data, 2, True)


def test_a_guard_skips_what_is_far_out_and_gives_in_at_the_third():
    state, seen = (0, 0, 0, 0), []
    for norm in [
        1000,
        1050,
        980,
        1020,
        990,
        1010,
        1000,
        1030,
        1040,
        90_000,
        80_000,
        1001,
        90_000,
        90_000,
        90_000,
        90_000,
    ]:
        state, skip = guarded(4, state, norm)
        seen.append("S" if skip else ".")
    assert "".join(seen) == ".........SS.SS.."
    assert state == (90_000, 0, 2, 0)
    assert guarded(4, (1000, 10, 8, 0), 1000 + 4 * 62)[1] is False  # a sixteenth of the mean at least
    assert guarded(4, (1000, 10, 8, 0), 1001 + 4 * 62)[1] is True
    assert guarded(4, (1000, 100, 8, 0), 1401)[1] is True
    assert guarded(4, (1000, 100, 7, 0), 1 << 200)[0] == (
        (7 * 1000 + (1 << 64) - 1) // 8,
        (700 + (1 << 64) - 1001) // 8,
        8,
        0,
    )


def test_a_skipped_round_moves_nothing_but_its_guard(run: TinyRun):
    outer = OuterSpec(rule="nesterov", lr=45875, momentum=58982, guard=4)
    spec = run.spec.model_copy(update={"outer": outer, "codec": CodecSpec(name="dense-int8")})
    rng = np.random.default_rng(3)

    def updates(scale: float) -> list[tuple[UpdateFile, int]]:
        made = [(rng.standard_normal(run.n) * scale).astype(np.int32) for _ in range(3)]
        return [(UpdateFile(spec.codec, encode_update(spec.codec, v), run.n), 1) for v in made]

    zeros = np.zeros(run.n, np.int64)
    checkpoint = Checkpoint(run.genesis.theta, zeros, np.zeros((1, 4), np.uint64))
    for _ in range(9):
        before, checkpoint = checkpoint, outer_step(spec, checkpoint, updates(1e4))
        assert not was_skipped(before, checkpoint)
    skipped = outer_step(spec, checkpoint, updates(1e6))
    assert was_skipped(checkpoint, skipped) and skipped.root() != checkpoint.root()
    assert skipped.momentum is not None and checkpoint.momentum is not None
    assert np.array_equal(skipped.theta, checkpoint.theta)
    assert np.array_equal(skipped.momentum, checkpoint.momentum)
    one_giant = [*updates(1e4)[:2], updates(1e6)[0]]  # fewer than half cannot have a round skipped
    assert not was_skipped(checkpoint, outer_step(spec, checkpoint, one_giant))
    data = skipped.to_bytes()
    back = Checkpoint.from_bytes(data, run.n, True, 1)
    assert back.root() == skipped.root() and back.to_bytes() == data
    with pytest.raises(MalformedArtifact):
        Checkpoint.from_bytes(data, run.n, True, 0)
