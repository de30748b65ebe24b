"""Muon as the inner optimiser (MuLoCo, arXiv 2505.23725): torch's own arithmetic, AdamW where it does not
belong, replayed like the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pi_sdk.types import GptSpec, HfSpec, InnerSpec, Outcome
from pi_train.determinism import admitted, default_classes
from pi_train.inner import InnerLoop, learning_rate
from pi_train.layout import slices
from pi_train.model import build
from pi_train.muon import orthogonal
from pi_train.slot import SlotRun
from pi_train.state import Border, PrivateState
from train.models import config_file
from train.tiny_run import TinyRun

MUON = InnerSpec(optimizer="muon", steps=4, batch=2, sequence=32, warmup=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return TinyRun(tmp_path_factory.mktemp("muon"), inner=MUON)


def loop_of(run: TinyRun, **changes) -> InnerLoop:
    spec = run.spec.model_copy(update={"inner": run.spec.inner.model_copy(update=changes)})
    params = np.random.default_rng(0).normal(0, 0.02, run.n).astype(np.float32)
    zeros = np.zeros(run.n, np.float32)
    return InnerLoop(spec, admitted(spec)[0], Border(params, zeros, zeros, 0))


@pytest.mark.parametrize("shape", [(64, 64), (16, 48), (48, 16), (5, 1)])
def test_a_direction_has_equal_singular_values(shape: tuple[int, int]):
    torch.manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    made = orthogonal(1e-3 * u @ torch.diag(s.clamp(min=1)) @ v)
    values = torch.linalg.svdvals(made)
    assert made.shape == shape and 0.6 < values.min() and values.max() < 1.25
    assert (u.T @ made @ v.T).diag().min() > 0.6  # along the same axes
    assert not orthogonal(torch.zeros(shape)).any()


def test_matrices_go_torchs_way_and_the_rest_adamws(run: TinyRun):
    loop = loop_of(run, clip=1e9)
    reference = build(run.spec.model, admitted(run.spec)[0], {})
    reference.params.copy_(loop.model.params)
    names = [name for name, shape, _ in slices(run.spec.model) if len(shape) == 2]
    assert names[:2] == ["wte.weight", "wpe.weight"]
    weights = reference.weights
    muon = torch.optim.Muon(
        [weights[name] for name in names[2:]],
        lr=2e-3,
        weight_decay=0.1,
        momentum=0.9,
        nesterov=False,
        adjust_lr_fn="match_rms_adamw",
    )
    vectors = [weight for weight in weights.values() if weight.dim() == 1]
    groups = [
        {"params": [weights[name] for name in names[:2]], "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
    start = loop.model.params.clone()
    for batch in run.batches(run.genesis, 0)[:2]:
        loop.train_step(batch.tokens, 2e-3)
        reference.grad.zero_()
        reference.loss(torch.from_numpy(batch.tokens.astype(np.int64)))[0].backward()
        muon.step()
        adamw.step()
    for name, _, place in slices(run.spec.model):
        moved, expected = (params[place] - start[place] for params in (loop.model.params, reference.params))
        tolerance = 0.1 if name in names[2:] else 5e-3  # torch's Muon works in bf16
        assert (moved - expected).norm() < tolerance * expected.norm()
        assert loop.v[place].any() == (name not in names[2:]) and loop.m[place].any()


def test_a_slot_is_replayed_bitwise_and_half_the_rate_found(run: TinyRun):
    report = run.honest.audit()
    assert (report.outcome, report.bitwise, report.worst_error) == (Outcome.ACCEPT, True, 0.0)
    state = PrivateState.from_bytes(run.honest.result.state, run.spec)
    assert state.step == 8 and state.m.any()

    class HalfRate(SlotRun):
        def train(self, tokens: np.ndarray, lr: float) -> tuple[float, np.ndarray]:
            assert lr == learning_rate(self.spec, 4 * self.round + len(self.records))
            return super().train(tokens, lr / 2)

    assert run.work(HalfRate).audit().outcome == Outcome.MISMATCH


def test_heads_and_embeddings_are_no_hidden_matrices(run: TinyRun, tmp_path: Path):
    """A head of its own, and a byte-level model as wide as its vocabulary."""
    llama = TinyRun(
        tmp_path / "llama", model=str(config_file(tmp_path, tie_word_embeddings=False)), inner=MUON
    )
    assert isinstance(llama.spec.model, HfSpec)
    square = GptSpec(layers=1, heads=2, width=256, context=32)
    for model in (llama.spec.model, square):
        matrices = build(model, admitted(run.spec)[0], {}).network.matrices()
        names = {name for name, shape, _ in slices(model) if len(shape) == 2}
        outside = {"wte.weight", "wpe.weight", "model.embed_tokens.weight", "lm_head.weight"}
        assert len(names - outside) == len(names) - 2 and matrices == names - outside


def test_ranks_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="muon needs whole matrices"):
        TinyRun(tmp_path, inner=MUON, classes=default_classes(ranks=2))
