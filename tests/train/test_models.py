"""Other people's models in the inner loop: trained, replayed and averaged like our own, and nothing of a
stranger's RunSpec is believed or executed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pi_sdk.codec import batch_digest, sha256
from pi_sdk.errors import MalformedArtifact, SpecMismatch, UsageError
from pi_sdk.types import DeterminismClass, FactorySpec, HfSpec, InnerSpec, Outcome, RunSpec, Shard
from pi_train import hf
from pi_train.codecs import UpdateFile
from pi_train.data import Batch, check_tokens, load_corpus
from pi_train.evaluate import generate, load_model, validation_loss
from pi_train.fixed import to_fp32
from pi_train.inner import learning_rate
from pi_train.layout import layout, parameter_count
from pi_train.model import build, check
from pi_train.outer import outer_step
from pi_train.slot import SlotRun, train_slot
from safetensors.torch import save, save_file
from train.models import LLAMA, bpe, config_file, install, pretrained
from train.tiny_run import TinyRun

FP32 = DeterminismClass(id="fp32", torch=torch.__version__)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("llama")
    return TinyRun(folder / "run", model=str(config_file(folder)))


@pytest.fixture(scope="session")
def lora(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> TinyRun:
    """Adapters of rank 2, tokens of the folder's tokenizer."""
    inner = InnerSpec(steps=4, batch=2, sequence=32, warmup=2, lr=1e-2)
    return TinyRun(tmp_path_factory.mktemp("lora"), model=str(weights), lora=2, inner=inner)


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRun]:
    folder = tmp_path_factory.mktemp("bag")
    install(folder, "train.models:bag", "train.models:no_module")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield TinyRun(folder / "run", model="train.models:bag", arguments={"width": 16})


@pytest.mark.parametrize("kind", ["llama", "lora", "bag"])
def test_an_honest_slot_is_replayed_bit_by_bit(kind: str, request: pytest.FixtureRequest):
    run: TinyRun = request.getfixturevalue(kind)
    report = run.honest.audit()
    assert (report.outcome, report.bitwise, report.worst_error) == (Outcome.ACCEPT, True, 0.0)


class _HalfRate(SlotRun):
    def step(self, batch: Batch) -> float:
        done = len(self.records)
        if done % self.spec.trace.segment == 0:
            self._write_border()
        lr = learning_rate(self.spec, self.round * self.spec.inner.steps + done) / 2
        loss, hidden = self.loop.train_step(batch.tokens, lr)
        self.record(batch, loss, hidden)
        return loss


@pytest.mark.parametrize("kind", ["llama", "lora"])
def test_half_the_learning_rate_is_found(kind: str, request: pytest.FixtureRequest):
    run: TinyRun = request.getfixturevalue(kind)
    assert run.work(_HalfRate).audit().outcome == Outcome.MISMATCH


@pytest.mark.parametrize("kind", ["llama", "lora", "bag"])
def test_two_nodes_train_one_model(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    run: TinyRun = request.getfixturevalue(kind)
    inner = InnerSpec(steps=12, batch=4, sequence=32, warmup=2, lr=1e-2)
    spec = run.spec.model_copy(update={"inner": inner})
    nodes, roots, checkpoint = ["0x" + "01" * 20, "0x" + "02" * 20], [], run.genesis
    for round_ in range(2):
        updates = []
        for node in nodes:
            result = train_slot(
                spec,
                run.corpus,
                checkpoint,
                node=node,
                round_=round_,
                width=1,
                state=None,
                class_id=run.class_id,
                borders=tmp_path / node,
            )
            updates.append((UpdateFile(spec.codec, result.update, run.n), 1))
        following = outer_step(spec, checkpoint, updates)
        assert following.root() == outer_step(spec, checkpoint, updates[::-1]).root()
        roots.append((checkpoint := following).root())
    assert roots[0] != roots[1]
    before, after = (validation_loss(spec, c, run.corpus) for c in (run.genesis, checkpoint))
    assert after < before - (0.02 if kind == "lora" else 0.3), (before, after)


def test_loss_and_gradients_are_those_of_transformers(llama: TinyRun):
    """Tied weights have one place in the vector, and the gradients of both their uses."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = build(llama.spec.model, FP32, {})
    model.params.copy_(torch.from_numpy(to_fp32(llama.genesis.theta, 24)))
    reference = LlamaForCausalLM(LlamaConfig(**LLAMA)).eval()
    named = dict(reference.named_parameters())
    assert list(named) == list(model.weights) and "lm_head.weight" not in named
    with torch.no_grad():
        for name, weight in model.weights.items():
            named[name].copy_(weight)
    windows = torch.from_numpy(llama.batches(llama.genesis, 0)[0].tokens.astype(np.int64))
    loss, hidden = model.loss(windows)
    loss.backward()
    logits = reference(windows[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    expected.backward()
    assert torch.equal(loss, expected)
    assert torch.equal(hidden, reference.model(windows[:, :-1]).last_hidden_state)
    flat = torch.cat([p.grad.flatten() for p in reference.parameters() if p.grad is not None])
    assert len(flat) == llama.n and torch.equal(model.grad, flat)


def test_bf16_is_autocast_over_fp32_weights(llama: TinyRun):
    windows = torch.arange(66).view(2, 33)
    losses = []
    for dtype in ("fp32", "bf16", "bf16"):
        model = build(llama.spec.model, DeterminismClass(id=dtype, torch="", dtype=dtype), {})  # pyright: ignore
        model.params.copy_(torch.from_numpy(to_fp32(llama.genesis.theta, 24)))
        loss, hidden = model.loss(windows)
        loss.backward()
        assert model.params.dtype == model.grad.dtype == torch.float32 and model.grad.abs().max() > 0
        losses.append(loss.item())
    assert losses[1] == losses[2] != losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_adapters_travel_alone(lora: TinyRun, llama: TinyRun):
    assert lora.n == 2 * 2 * sum((16 + 16, 16 + 8, 16 + 8, 16 + 16, 3 * (16 + 32))) < llama.n
    assert all(name.rpartition(".")[2] in ("lora_A", "lora_B") for name, _ in layout(lora.spec.model))
    loop = SlotRun(
        lora.spec,
        lora.genesis,
        round_=0,
        state=None,
        class_id=lora.class_id,
        borders=lora.folder / "frozen",
        files=lora.corpus.files,
    ).loop
    frozen = {n: p.clone() for n, p in loop.model.network.module.named_parameters() if not p.requires_grad}
    before = loop.model.params.clone()
    loop.train_step(lora.batches(lora.genesis, 0)[0].tokens, 1e-2)
    now = dict(loop.model.network.module.named_parameters())
    assert frozen and all(torch.equal(weight, now[name]) for name, weight in frozen.items())
    assert not torch.equal(before, loop.model.params)


def test_training_starts_from_the_base(lora: TinyRun, weights: Path, tmp_path: Path):
    """B is zero at first, so adapters change nothing; without adapters the weights are the genesis."""
    whole = TinyRun(tmp_path / "whole", model=str(weights))
    assert isinstance(whole.spec.model, HfSpec) and not whole.spec.model.base
    own = validation_loss(whole.spec, whole.genesis, whole.corpus)
    assert validation_loss(lora.spec, lora.genesis, lora.corpus) == pytest.approx(own, abs=1e-5)


def test_tokens_are_those_of_the_tokenizer(lora: TinyRun):
    from tokenizers import Tokenizer

    data, tokenizer = lora.spec.data, Tokenizer.from_str(bpe())
    assert data.dtype == "uint16" and data.tokenizer and lora.store[data.tokenizer.sha256] == bpe().encode()
    texts = tokenizer.decode(lora.corpus.train[:4000].tolist(), skip_special_tokens=False)
    assert "0 plus 0 is 0\n" in texts and "<|endoftext|>" in texts
    batch = lora.batches(lora.genesis, 0)[0]
    assert batch.digest() == batch_digest(batch.ids, batch.tokens.astype("<u2").tobytes())
    text = generate(lora.spec, lora.checkpoint, b"", 20, 1, lora.corpus.files)
    assert text and text == generate(lora.spec, lora.checkpoint, b"", 20, 1, lora.corpus.files)


# --- strangers ----------------------------------------------------------------------------------------------


def changed(run: TinyRun, **changes: object) -> HfSpec:
    assert isinstance(run.spec.model, HfSpec)
    return HfSpec.model_validate(run.spec.model.model_dump() | changes)


def test_another_layout_is_refused(llama: TinyRun, lora: TinyRun):
    own = layout(llama.spec.model)
    swapped = [own[1], own[0], *own[2:]]
    larger = [(own[0][0], (301, 16)), *own[1:]]
    for wrong in (swapped, larger, own[:-1], [*own, ("more.weight", (1,))]):
        spec = changed(llama, layout=wrong)
        for refuse in (check, lambda spec: build(spec, FP32, {})):
            with pytest.raises(SpecMismatch, match="has other tensors than its RunSpec says"):
                refuse(spec)
    with pytest.raises(SpecMismatch, match="no linear layer 'no_proj'"):
        check(changed(lora, lora={"rank": 2, "alpha": 4, "targets": ["no_proj"]}))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "nonsense"},
        {"model_type": "vit"},
        {"model_type": 7},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 4000, "num_attention_heads": 2**31},
        {"hidden_size": "wide"},
        {"hidden_size": -4},
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"attn_implementation": "somebody/kernel"},
        {"rope_scaling": {"deep": {"_attn_implementation": "somebody/kernel"}}},
    ],
    ids=str,
)
def test_a_hostile_configuration_is_refused(llama: TinyRun, config: dict):
    with pytest.raises(SpecMismatch):
        check(changed(llama, config=LLAMA | config))


def test_another_version_of_transformers_is_refused(llama: TinyRun):
    with pytest.raises(SpecMismatch, match="pip install transformers==4.0.0"):
        check(changed(llama, transformers="4.0.0"))


def test_a_damaged_base_is_refused(lora: TinyRun, tmp_path: Path):
    good = lora.store[lora.spec.files[-1].sha256]
    from safetensors.torch import load

    tensors = load(good)
    name = next(iter(tensors))
    damaged = {
        "lacks": save({k: v for k, v in tensors.items() if k != name}),
        "too many": save(tensors | {"more": torch.zeros(1)}),
        "format": good[: len(good) // 2],
        r"\(1, 16\)": save(tensors | {name: torch.zeros(1, 16)}),
    }
    for words, data in damaged.items():
        shard = Shard(sha256=sha256(data).hex(), bytes=len(data))
        path = tmp_path / shard.sha256
        path.write_bytes(data)
        with pytest.raises(MalformedArtifact, match=words):
            build(changed(lora, base=[shard.model_dump()]), FP32, {shard.sha256: path})


def test_only_declared_factories_are_called(bag: TinyRun, tmp_path: Path):
    touched = tmp_path / "touched"
    for factory, arguments in (("os:mkdir", {"path": str(touched)}), ("train.models:pretrained", {})):
        spec = FactorySpec(factory=factory, arguments=arguments, layout=[("x", (1,))], context=32, vocab=256)  # pyright: ignore
        for refuse in (check, lambda spec: build(spec, FP32, {})):
            with pytest.raises(SpecMismatch, match="is not installed here"):
                refuse(spec)
    assert not touched.exists()
    with pytest.raises(UsageError, match="makes no nn.Module"):
        TinyRun(tmp_path / "none", model="train.models:no_module")
    with pytest.raises(UsageError, match="failed: .*height"):
        TinyRun(tmp_path / "odd", model="train.models:bag", arguments={"height": 1})
    assert [name for name, _ in layout(bag.spec.model)] == ["into.weight", "through.weight", "through.bias"]
    wider = bag.spec.model.model_copy(update={"arguments": {"width": 17}})
    with pytest.raises(SpecMismatch, match="has other tensors"):
        check(wider)


def test_tokens_that_the_model_does_not_know_are_refused(lora: TinyRun, tmp_path: Path):
    spec = lora.spec.model_copy(update={"model": changed(lora, vocab=40)})
    with pytest.raises(MalformedArtifact, match="vocabulary ends at 39"):
        load_corpus(spec, lora.store.fetch, tmp_path)
    check_tokens(np.array([255], np.uint8), 256)


def test_files_are_fetched_by_hash_and_verified(lora: TinyRun, tmp_path: Path):
    first = load_corpus(lora.spec, lora.store.fetch, tmp_path).files
    assert set(first) == {f.sha256 for f in lora.spec.files} and len(first) == 2
    path = first[lora.spec.files[-1].sha256]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    again = load_corpus(lora.spec, lora.store.fetch, tmp_path).files
    assert sha256(again[path.name].read_bytes()).hex() == path.name


# --- creators -----------------------------------------------------------------------------------------------


def test_a_spec_survives_json_and_says_its_size(llama: TinyRun, lora: TinyRun, bag: TinyRun):
    for run in (llama, lora, bag):
        assert RunSpec.model_validate_json(run.spec.model_dump_json()) == run.spec
        assert run.spec.model.parameters == parameter_count(run.spec.model) == len(run.genesis.theta)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "nowhere"}, "cannot read"),
        ({"model": "config", "lora": 2}, "adapters need the weights"),
        ({"model": "gpt", "lora": 2}, "adapters need the weights"),
        ({"model": "pickled"}, "pickled"),
        ({"model": "vit"}, "no causal language model 'vit'"),
        ({"model": "list"}, "not a JSON object"),
        ({"model": "truncated"}, "cannot load"),
        ({"model": "partial"}, "lack 'model.norm.weight'"),
        ({"model": "os:mkdir"}, "is not installed here"),
        ({"model": "small"}, "vocabulary ends at 99"),
        ({"model": "huge"}, "not below 128"),
        ({"model": "short"}, "context: Input should be greater"),
    ],
    ids=lambda x: x["model"] if isinstance(x, dict) else "",
)
def test_a_model_that_cannot_be_brought_is_one_line(change: dict, words: str, weights: Path, tmp_path: Path):
    config_file(tmp_path / "config")
    config_file(tmp_path / "pickled")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80")
    config_file(tmp_path / "vit", model_type="vit")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[]")
    config_file(tmp_path / "truncated")
    whole = (weights / "model.safetensors").read_bytes()
    (tmp_path / "truncated" / "model.safetensors").write_bytes(whole[:5000])
    from safetensors.torch import load

    config_file(tmp_path / "partial")
    tensors = {k: v for k, v in load(whole).items() if k != "model.norm.weight"}
    save_file(tensors, tmp_path / "partial" / "model.safetensors", metadata={"format": "pt"})
    config_file(tmp_path / "small", vocab_size=100)
    config_file(tmp_path / "short", max_position_embeddings=16)
    config_file(tmp_path / "huge")
    tensors["model.norm.weight"] = torch.full((16,), 1000.0)
    save_file(tensors, tmp_path / "huge" / "model.safetensors", metadata={"format": "pt"})
    if ":" not in change["model"] and change["model"] != "gpt":
        change = change | {"model": str(tmp_path / change["model"])}
    with pytest.raises(UsageError, match=words) as error:
        TinyRun(tmp_path / "run", **change)
    assert "\n" not in str(error.value)


def test_a_model_of_the_hub_is_taken_from_its_cache(weights: Path, tmp_path: Path):
    commit, repository = "ab" * 20, tmp_path / "hub" / "models--acme--tiny"
    shutil.copytree(weights, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(commit)
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 2000)

    def prepared(model: str | Path) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "pi_train.prepare",
            "--data",
            tmp_path / "text.txt",
            "--model",
            model,
        ]
        where = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
        argv = [str(word) for word in [*command, "--out", tmp_path / "run"]]
        return subprocess.run(argv, capture_output=True, text=True, env=os.environ | where)

    here = prepared(weights)
    assert here.returncode == 0, here.stderr
    assert prepared("acme/tiny@v1").stdout == here.stdout
    for unknown in ("acme/tiny@v2", "acme/huge", "acme/../tiny"):
        done = prepared(unknown)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ") and unknown in done.stderr


def test_transformers_is_loaded_for_its_models_only(llama: TinyRun):
    assert hf.library_version() == llama.spec.model.transformers  # pyright: ignore
    assert load_model(llama.spec, llama.genesis).network.module.training is False  # pyright: ignore
