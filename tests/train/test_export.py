"""What is exported is read by `transformers` and `peft` alone, and gives the logits of our own models."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from pi_sdk.errors import StoreError
from pi_sdk.types import RunSpec
from pi_train import bring, evaluate, export, hf
from pi_train.data import Corpus
from pi_train.evaluate import load_model
from pi_train.export import read_files, save_model
from pi_train.outer import Checkpoint
from train.models import bpe, config_file, pretrained
from train.tiny_run import TinyRun

TOKENS = torch.arange(3, 43).view(2, 20) * 5 % 256


def ours(spec: RunSpec, checkpoint: Checkpoint, corpus: Corpus) -> torch.Tensor:
    with torch.no_grad():
        return load_model(spec, checkpoint, corpus.files).forward(TOKENS)[0]


def theirs(folder: Path, **options: Any) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    hf.library_version()  # no progress bars
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    model, told = loaded
    assert not any(told.values()), told
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("llama")
    return TinyRun(folder / "run", model=str(config_file(folder)))


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_a_trained_model_loads_in_transformers(
    kind: str, run: TinyRun, llama: TinyRun, request: pytest.FixtureRequest, tmp_path: Path
):
    from transformers import AutoTokenizer

    run = run if kind == "gpt" else llama
    save_model(run.spec, run.checkpoint, tmp_path)
    model = theirs(tmp_path)
    assert type(model).__name__ == ("GPT2LMHeadModel" if kind == "gpt" else "LlamaForCausalLM")
    expected = ours(run.spec, run.checkpoint, run.corpus)
    assert next(model.parameters()).dtype == torch.float32
    assert torch.allclose(logits(model), expected, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "def f(x):\n\treturn 'ü' \x00 if x else 7"
    assert tokenizer(text)["input_ids"] == list(text.encode())
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

    save_model(run.spec, run.checkpoint, tmp_path / "half", dtype="bf16")
    half = theirs(tmp_path / "half")
    assert next(half.parameters()).dtype == torch.bfloat16
    assert torch.allclose(logits(half).float(), expected, atol=0.05)
    assert not torch.equal(logits(half).float(), expected)


def test_adapters_load_in_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from peft import PeftModel
    from transformers import AutoTokenizer

    monkeypatch.setattr(bring, "_BASE_FILE", 8000)
    run = TinyRun(tmp_path / "run", model=str(pretrained(tmp_path / "pretrained")), lora=2)
    assert len(run.spec.files) > 3  # the base is in several files
    save_model(run.spec, run.checkpoint, tmp_path / "out", files=run.corpus.files)
    base: Any = theirs(tmp_path / "out" / "base")
    before = logits(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an old name
        model = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    after = logits(model)
    expected = ours(run.spec, run.checkpoint, run.corpus)
    assert torch.allclose(after, expected, atol=1e-6)
    assert (after - before).abs().max() > 100 * (after - expected).abs().max()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (
        tokenizer.eos_token == "<|endoftext|>"
        and tokenizer.decode(tokenizer("1 plus 2")["input_ids"]) == "1 plus 2"
    )
    assert (tmp_path / "out" / "tokenizer.json").read_text() == bpe()


def test_adapters_on_our_own_gpt(run: TinyRun, tmp_path: Path):
    """As GPT-2, whose linear layers keep their weights the other way round."""
    from peft import PeftModel

    save_model(run.spec, run.checkpoint, tmp_path / "gpt")
    tuned = TinyRun(tmp_path / "run", model=str(tmp_path / "gpt"), lora=2)
    save_model(tuned.spec, tuned.checkpoint, tmp_path / "out", files=tuned.corpus.files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = PeftModel.from_pretrained(theirs(tmp_path / "gpt"), tmp_path / "out").eval()
    expected = ours(tuned.spec, tuned.checkpoint, tuned.corpus)
    assert torch.allclose(logits(model), expected, atol=1e-6)
    assert not torch.allclose(expected, ours(run.spec, run.checkpoint, run.corpus), atol=1e-4)
    assert tuned.honest.audit().bitwise


def test_a_bf16_base_is_kept_as_it_is(llama: TinyRun, tmp_path: Path):
    """Stored and exported in bf16, computed with in fp32."""
    save_model(llama.spec, llama.checkpoint, tmp_path / "half", dtype="bf16")
    run = TinyRun(tmp_path / "run", model=str(tmp_path / "half"), lora=2)
    save_model(run.spec, run.checkpoint, tmp_path / "out", files=run.corpus.files)
    base = theirs(tmp_path / "out" / "base")
    assert next(base.parameters()).dtype == torch.bfloat16
    assert torch.equal(logits(base), logits(theirs(tmp_path / "half")))
    loaded: Any = load_model(run.spec, run.genesis, run.corpus.files)
    assert {p.dtype for p in loaded.network.module.parameters()} == {torch.float32}


def test_export_and_evaluation_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = TinyRun(tmp_path / "run", model=str(pretrained(tmp_path / "pretrained")), lora=2)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    for name, data in run.store.items():
        (artifacts / name).write_bytes(data)
    (tmp_path / "spec.json").write_text(run.spec.model_dump_json())
    (tmp_path / "checkpoint").write_bytes(run.checkpoint.to_bytes())
    files = ["--spec", str(tmp_path / "spec.json"), "--checkpoint", str(tmp_path / "checkpoint")]
    with_files = [*files, "--artifacts", str(artifacts)]
    held_out = ["--validation", str(artifacts / run.spec.data.validation[0].sha256)]
    export.main([*with_files, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    assert (tmp_path / "out" / "base" / "config.json").exists()
    evaluate.main([*with_files, *held_out, "--length", "20"], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    assert answer["parameters"] == run.n and answer["sample"] and 1 < answer["unigram_entropy"] < 6
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([*files, *held_out], standalone_mode=False)
    assert stopped.value.code == 2 and "--artifacts says where" in capsys.readouterr().err

    (artifacts / run.spec.files[0].sha256).write_text("{}")
    with pytest.raises(StoreError, match="other bytes"):
        read_files(run.spec, artifacts)
