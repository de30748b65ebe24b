"""Training works: loss falls over rounds, every codec, evaluation, export, and a cache that is checked."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pi_sdk.errors import BlobCorrupt, MalformedArtifact, PiError, SpecMismatch
from pi_sdk.types import CodecSpec, GptSpec, InnerSpec, OuterSpec
from pi_train.codecs import UpdateFile
from pi_train.data import batches, load_corpus
from pi_train.determinism import admitted
from pi_train.evaluate import generate, load_model, unigram_entropy, validation_loss
from pi_train.export import save_model
from pi_train.fixed import to_fp32
from pi_train.inner import InnerLoop, learning_rate
from pi_train.layout import layout, parameter_count
from pi_train.model import build
from pi_train.outer import outer_step
from pi_train.slot import SlotRun, train_slot
from pi_train.state import Border, PrivateState, border_bytes, state_root
from safetensors.numpy import load_file
from train.tiny_run import NODE, TinyRun

RULES = {
    "sparse-2bit": OuterSpec(),
    "dense-int8": OuterSpec(rule="nesterov", lr=45875, momentum=58982),
    "dense-fixed": OuterSpec(rule="nesterov", lr=45875, momentum=58982),
}


def test_the_default_model_has_the_published_size():
    assert parameter_count(GptSpec()) == 828_544
    assert layout(GptSpec())[0] == ("wte.weight", (256, 128))


@pytest.mark.parametrize("codec", RULES)
def test_held_out_loss_falls_below_the_unigram_entropy(tmp_path: Path, codec: str):
    run = TinyRun(
        tmp_path,
        inner=InnerSpec(steps=20, batch=8, sequence=32, lr=5e-3),
        codec=CodecSpec(name=codec, k=512),
        outer=RULES[codec],
    )
    checkpoint, states = run.genesis, {}
    losses = [validation_loss(run.spec, checkpoint, run.corpus)]
    for round_ in range(8):
        updates = []
        for node in ("0x" + "01" * 20, "0x" + "02" * 20):
            result = train_slot(
                run.spec,
                run.corpus,
                checkpoint,
                node=node,
                round_=round_,
                width=1,
                state=states.get(node),
                class_id=run.class_id,
                borders=tmp_path / node,
            )
            states[node] = result.state
            updates.append((UpdateFile(run.spec.codec, result.update, run.n), 1))
        checkpoint = outer_step(run.spec, checkpoint, updates)
        losses.append(validation_loss(run.spec, checkpoint, run.corpus))
    assert sum(after < before for before, after in zip(losses, losses[1:], strict=False)) >= 7, losses
    assert losses[-1] < unigram_entropy(run.corpus.validation) - 0.2


def test_a_slot_reports_what_it_did(run: TinyRun, tmp_path: Path):
    seen = []
    result = train_slot(
        run.spec,
        run.corpus,
        run.genesis,
        node=NODE,
        round_=0,
        width=2,
        state=None,
        class_id=run.class_id,
        borders=tmp_path,
        progress=lambda done, loss: seen.append((done, loss)),
    )
    assert seen == list(enumerate(result.losses, 1)) and len(seen) == run.spec.inner.steps
    assert result.tokens == 2 * 4 * 2 * 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.bin", "1.bin", "2.bin"]
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {border_bytes(run.n)}
    assert PrivateState.from_bytes(result.state, run.spec).step == 4
    assert state_root(result.state) == result.state_out


def test_adamw_is_torchs_adamw(run: TinyRun):
    """One step against torch.optim.AdamW, with decay on matrices alone."""
    spec = run.spec.model_copy(update={"inner": run.spec.inner.model_copy(update={"clip": 1e9})})
    params = np.random.default_rng(0).normal(0, 0.02, run.n).astype(np.float32)
    zeros = np.zeros(run.n, np.float32)
    loop = InnerLoop(spec, admitted(spec)[0], Border(params, zeros, zeros, 0))
    reference = build(spec.model, admitted(spec)[0], {})
    reference.params.copy_(torch.from_numpy(params))
    groups = [
        {"params": [w for w in reference.weights.values() if w.dim() == 2], "weight_decay": 0.1},
        {"params": [w for w in reference.weights.values() if w.dim() == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
    for batch in run.batches(run.genesis, 0)[:3]:
        loop.train_step(batch.tokens, 2e-3)
        reference.grad.zero_()
        reference.loss(torch.from_numpy(batch.tokens.astype(np.int64)))[0].backward()
        optimiser.step()
    assert torch.allclose(loop.model.params, reference.params, atol=1e-6)


def test_gradients_are_clipped_by_their_global_norm(run: TinyRun):
    spec = run.spec.model_copy(update={"inner": run.spec.inner.model_copy(update={"clip": 1e-3})})
    zeros = np.zeros(run.n, np.float32)
    loop = InnerLoop(spec, admitted(spec)[0], Border(to_fp32(run.genesis.theta, 24), zeros, zeros, 0))
    loop.train_step(run.batches(run.genesis, 0)[0].tokens, 1e-3)
    assert loop.model.grad.norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_the_learning_rate_rises_over_the_run_stays_and_falls(run: TinyRun):
    def over(**rules: int) -> list[float]:
        inner = run.spec.inner.model_copy(update={"lr": 1.0, "steps": 4, **rules})
        spec = run.spec.model_copy(update={"inner": inner, "rounds": 2})
        return [learning_rate(spec, i) for i in range(8)]

    assert over(warmup=4, decay=0) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert over(warmup=0, decay=2) == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert over(warmup=2, decay=8) == [0.5, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_training_that_diverges_says_so(run: TinyRun):
    zeros = np.zeros(run.n, np.float32)
    loop = InnerLoop(
        run.spec, admitted(run.spec)[0], Border(np.full(run.n, 1e30, np.float32), zeros, zeros, 0)
    )
    with pytest.raises(PiError, match="diverged"):
        loop.train_step(run.batches(run.genesis, 0)[0].tokens, 1e-3)


def test_nodes_slots_rounds_and_checkpoints_get_different_data(run: TinyRun):
    def ids(node: str = NODE, round_: int = 0, root: bytes = bytes(32), width: int = 1) -> list[list[int]]:
        return [
            batch.ids for batch in batches(run.spec, run.corpus, root, node=node, round_=round_, width=width)
        ]

    assert ids() == ids() and len(ids()) == run.spec.inner.steps
    assert len({str(x) for x in (ids(), ids("0x" + "77" * 20), ids(round_=1), ids(root=b"1" * 32))}) == 4
    assert [len(step) for step in ids(width=3)] == [6] * 4
    assert [step[:2] for step in ids(width=3)] == ids()


def test_a_private_state_of_the_wrong_shape_is_refused(run: TinyRun, tmp_path: Path):
    with pytest.raises(MalformedArtifact):
        SlotRun(run.spec, run.genesis, round_=0, state=b"short", class_id=run.class_id, borders=tmp_path)


def test_an_unknown_class_is_refused(run: TinyRun, tmp_path: Path):
    with pytest.raises(SpecMismatch):
        SlotRun(run.spec, run.genesis, round_=0, state=None, class_id="other", borders=tmp_path)


def test_evaluation(run: TinyRun):
    loss = validation_loss(run.spec, run.genesis, run.corpus)
    assert loss == pytest.approx(math.log(256), abs=0.2)
    assert validation_loss(run.spec, run.genesis, run.corpus) == loss
    assert validation_loss(run.spec, run.genesis, run.corpus, 100) == pytest.approx(loss, abs=0.05)
    text = generate(run.spec, run.checkpoint, b"def ", 50, seed=1)
    assert len(text) == 50 and generate(run.spec, run.checkpoint, b"def ", 50, seed=1) == text
    assert len(generate(run.spec, run.checkpoint, b"", 3, seed=1)) == 3


def test_unigram_entropy():
    assert unigram_entropy(np.array([0, 1, 2, 3] * 5, np.uint8)) == pytest.approx(math.log(4))
    assert unigram_entropy(np.zeros(9, np.uint8)) == 0.0


def test_the_exported_model_is_a_gpt2(run: TinyRun, tmp_path: Path):
    """GPT-2's own arithmetic (Conv1D weights, biases) on the exported file gives our logits."""
    save_model(run.spec, run.checkpoint, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    w = {
        name.removeprefix("transformer."): torch.from_numpy(t)
        for name, t in load_file(tmp_path / "model.safetensors").items()
    }
    assert config["model_type"] == "gpt2" and config["n_layer"] == 1 and config["tie_word_embeddings"]

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (16,), w[f"{name}.weight"], w[f"{name}.bias"], config["layer_norm_epsilon"])

    tokens = torch.arange(20)[None] % 256
    x = w["wte.weight"][tokens] + w["wpe.weight"][:20]
    q, k, v = (
        part.view(1, 20, config["n_head"], -1).transpose(1, 2)
        for part in conv(norm(x, "h.0.ln_1"), "h.0.attn.c_attn").split(16, dim=2)
    )
    scores = (q @ k.transpose(2, 3)) / math.sqrt(8) + torch.full((20, 20), -torch.inf).triu(1)
    x = x + conv((scores.softmax(-1) @ v).transpose(1, 2).reshape(1, 20, 16), "h.0.attn.c_proj")
    x = x + conv(F.gelu(conv(norm(x, "h.0.ln_2"), "h.0.mlp.c_fc")), "h.0.mlp.c_proj")
    logits = norm(x, "ln_f") @ w["wte.weight"].T
    model = load_model(run.spec, run.checkpoint)
    with torch.no_grad():
        assert torch.allclose(logits, model.forward(tokens)[0], atol=1e-5)


def test_export_and_evaluate_from_the_command_line(run: TinyRun, tmp_path: Path):
    (tmp_path / "spec.json").write_text(run.spec.model_dump_json())
    (tmp_path / "checkpoint").write_bytes(run.checkpoint.to_bytes())
    (tmp_path / "held-out").write_bytes(run.corpus.validation.tobytes())
    files = ["--spec", tmp_path / "spec.json", "--checkpoint", tmp_path / "checkpoint"]

    def program(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ)

    assert program("pi_train.export", *files, "--out", tmp_path / "model").returncode == 0
    assert (tmp_path / "model" / "model.safetensors").exists()
    out = program("pi_train.evaluate", *files, "--validation", tmp_path / "held-out", "--length", "9")
    assert json.loads(out.stdout)["parameters"] == run.n
    (tmp_path / "checkpoint").write_bytes(b"nonsense")
    out = program("pi_train.export", *files, "--out", tmp_path / "other")
    assert out.returncode == 1 and out.stderr.startswith("error: checkpoint has 8 bytes")
    assert not (tmp_path / "other").exists()


def test_a_rotten_cache_is_fetched_again_and_a_lying_store_refused(run: TinyRun, tmp_path: Path):
    load_corpus(run.spec, run.store.fetch, tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"x" + path.read_bytes()[1:])
    corpus = load_corpus(run.spec, run.store.fetch, tmp_path)
    assert np.array_equal(corpus.train, run.corpus.train)
    with pytest.raises(BlobCorrupt):
        load_corpus(run.spec, lambda name, size: bytes(size), tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
