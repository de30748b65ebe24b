"""Methods with rounds of one step. DeMo (arXiv 2411.19870): the error feedback is its momentum, the outer
step its sign-SGD, a slot replays bitwise, and the loss falls. Synchronous AdamW: the run is one loop."""

from pathlib import Path

import numpy as np
import pytest
from pi_sdk.types import AuditSpec, CodecSpec, InnerSpec, Outcome, OuterSpec, TraceSpec
from pi_train.codecs import UpdateFile
from pi_train.data import Batch
from pi_train.determinism import admitted
from pi_train.evaluate import validation_loss
from pi_train.fixed import to_fp32
from pi_train.inner import InnerLoop, learning_rate
from pi_train.outer import outer_step
from pi_train.slot import SlotRun, train_slot
from pi_train.state import Border, PrivateState
from train.tiny_run import TinyRun

DECAY, LR = 65208 / 65536, 1 << 16  # 0.995 as Q16 has it, 2^-8
RULES = {
    "inner": InnerSpec(
        optimizer="sgd", steps=1, batch=4, sequence=32, lr=1.0, weight_decay=0.0, warmup=0, clip=1e9
    ),
    "codec": CodecSpec(name="dct-topk", k=4, beta=round(DECAY * 65536)),
    "outer": OuterSpec(rule="sign", lr=LR),
    "trace": TraceSpec(segment=1),
    "audit": AuditSpec(segments=1),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return TinyRun(tmp_path_factory.mktemp("demo"), **RULES)


class Watched(SlotRun):
    """Keeps the gradient of its last step."""

    def step(self, batch: Batch) -> float:
        loss = super().step(batch)
        Watched.gradient = self.loop.model.grad.double().numpy()
        return loss


def test_the_error_feedback_is_the_decoupled_momentum(demo: TinyRun):
    checkpoint, state, delta = demo.genesis, None, np.zeros(demo.n)
    for round_ in range(3):
        result = demo.train(Watched, checkpoint, round_, state)
        delta = DECAY * delta + Watched.gradient
        update = UpdateFile(demo.spec.codec, result.update, demo.n)
        sent = update.decode()
        delta -= sent / 2**24
        kept = PrivateState.from_bytes(result.state, demo.spec)
        # Beside a momentum of 0.1 what fp32 parameters and integers round away.
        assert abs(kept.feedback / 2**24 - delta).max() < 3e-7 < 0.05 < abs(delta).max()
        assert not kept.m.any() and not kept.v.any() and kept.step == round_ + 1

        before, checkpoint = checkpoint, outer_step(demo.spec, checkpoint, [(update, 1)])
        assert np.array_equal(before.theta - checkpoint.theta, LR * np.sign(sent))
        state = result.state


def test_a_slot_is_replayed_bitwise(demo: TinyRun):
    report = demo.honest.audit()
    assert (report.outcome, report.bitwise, report.reasons) == (Outcome.ACCEPT, True, [])
    assert report.worst_error == 0.0


class Louder(SlotRun):
    """Scales its gradient by way of the learning rate, to weigh more in the sum."""

    def step(self, batch: Batch) -> float:
        done = len(self.records)
        assert done == 0
        self._write_border()
        loss, hidden = self.loop.train_step(batch.tokens, 4.0)
        self.record(batch, loss, hidden)
        return loss


def test_a_scaled_gradient_is_a_mismatch(demo: TinyRun):
    report = demo.work(Louder).audit()
    assert report.outcome == Outcome.MISMATCH and "segment 0 is off" in report.reasons[0]


def test_sgd_is_a_plain_step_with_decay_of_matrices(demo: TinyRun):
    inner = demo.spec.inner.model_copy(update={"weight_decay": 0.5})
    spec = demo.spec.model_copy(update={"inner": inner})
    draw, zeros = np.random.default_rng(0), np.zeros(demo.n, np.float32)
    start = draw.normal(0, 0.02, demo.n).astype(np.float32)
    loop = InnerLoop(spec, admitted(spec)[0], Border(start, zeros, zeros, 0))
    loop.train_step(demo.batches(demo.genesis, 0)[0].tokens, 0.1)
    expected = start - 0.1 * loop.model.grad.numpy()
    at = 0
    for weight in loop.model.weights.values():
        place = slice(at, at + weight.numel())
        if weight.dim() == 2:
            expected[place] -= 0.05 * start[place]
        at += weight.numel()
    assert np.allclose(loop.model.params.numpy(), expected, atol=1e-7)
    assert loop.step == 1


def test_sixty_rounds_of_one_step_lower_the_loss(demo: TinyRun, tmp_path: Path):
    checkpoint, states = demo.genesis, {}
    losses = [validation_loss(demo.spec, checkpoint, demo.corpus)]
    for round_ in range(60):
        updates = []
        for node in ("0x" + "01" * 20, "0x" + "02" * 20):
            result = train_slot(
                demo.spec,
                demo.corpus,
                checkpoint,
                node=node,
                round_=round_,
                width=1,
                state=states.get(node),
                class_id=demo.class_id,
                borders=tmp_path / node,
            )
            states[node] = result.state
            updates.append((UpdateFile(demo.spec.codec, result.update, demo.n), 1))
        checkpoint = outer_step(demo.spec, checkpoint, updates)
        if round_ % 20 == 19:
            losses.append(validation_loss(demo.spec, checkpoint, demo.corpus))
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 1.0, losses


def test_synchronous_adamw_is_one_loop_over_the_run(tmp_path: Path):
    run = TinyRun(
        tmp_path,
        inner=InnerSpec(steps=1, batch=8, sequence=32),
        codec=CodecSpec(name="dense-fixed", beta=0),
        outer=OuterSpec(rule="sgd", lr=65536),
        trace=TraceSpec(segment=1),
        audit=AuditSpec(segments=1),
    )
    zeros = np.zeros(run.n, np.float32)
    loop = InnerLoop(run.spec, admitted(run.spec)[0], Border(to_fp32(run.genesis.theta, 24), zeros, zeros, 0))
    checkpoint, state = run.genesis, None
    for round_ in range(5):
        (batch,) = run.batches(checkpoint, round_)
        loop.train_step(batch.tokens, learning_rate(run.spec, round_))
        result = run.train(SlotRun, checkpoint, round_, state)
        state = result.state
        checkpoint = outer_step(run.spec, checkpoint, [(UpdateFile(run.spec.codec, result.update, run.n), 1)])
    moved = np.abs(to_fp32(run.genesis.theta, 24) - loop.model.params.numpy()).max()
    off = np.abs(to_fp32(checkpoint.theta, 24) - loop.model.params.numpy()).max()
    assert off < 1e-3 * moved  # the grid of 2^-24 on which checkpoints lie
