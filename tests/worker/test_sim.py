"""`pi sim` as people run it: killed and gone on with, with workers that come and go, fed nonsense."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pi_sdk.store import LocalStore
from pi_sdk.types import CodecSpec, InnerSpec, OuterSpec, RunSpec
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint
from pi_worker.methods import METHODS
from pi_worker.sim import _rules

PI = Path(sys.executable).parent / "pi"
SMALL = "sim --workers 3 --rounds 4 --steps 2 --batch 2 --evaluate 0 --json --data".split()


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i}.txt").write_text(f"{i} the quick brown fox jumps over the lazy dog\n" * 20)
    return folder


def start(texts: Path, out: Path, *more: str) -> subprocess.Popen:
    argv = [PI, *SMALL, texts, "--out", out, *more]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def simulate(texts: Path, out: Path, *more: str) -> tuple[dict, str]:
    process = start(texts, out, *more)
    answer, told = process.communicate()
    assert process.returncode == 0, told
    return json.loads(answer), told


def refused(texts: Path, out: Path, *more: str) -> str:
    process = start(texts, out, *more)
    _, told = process.communicate()
    assert process.returncode == 2
    return told


def records(out: Path) -> list[dict]:
    lines = (out / "run" / "state" / "rounds.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_a_killed_simulation_goes_on_to_the_same_checkpoints(texts: Path, tmp_path: Path):
    whole, _ = simulate(texts, tmp_path / "whole")
    assert whole["rounds"] == 4 and whole["tokens"] == 4 * 3 * 2 * 2 * 64
    assert whole["dense_bytes"] > 140 * whole["bytes_per_worker_round"]

    killed = start(texts, tmp_path / "killed")
    assert killed.stderr
    while "round    2" not in killed.stderr.readline():
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again, told = simulate(texts, tmp_path / "killed")
    assert "going on after round" in told and again["root"] == whole["root"]
    assert records(tmp_path / "killed") == records(tmp_path / "whole")

    assert "other rules" in refused(texts, tmp_path / "whole", "--seed", "1")
    more, _ = simulate(texts, tmp_path / "whole", "--windows", "200")  # evaluates what is there again
    assert more["root"] == whole["root"] and more["val_loss"] != whole["val_loss"]


def test_methods_are_as_published_and_options_override_them(texts: Path, tmp_path: Path):
    store = LocalStore(tmp_path / "artifacts")
    names = [
        "steps",
        "optimizer",
        "lr",
        "codec",
        "k",
        "beta",
        "outer_lr",
        "momentum",
        "fragments",
        "mix",
        "delay",
    ]
    none = dict.fromkeys(names)

    def rules(method: str | None, **chosen) -> RunSpec:
        fixed = {"workers": 2, "rounds": 2, "batch": 2, "sequence": 64, "seed": 0}
        fixed |= {"data": texts, "reset_moments": False, "start": None, "decay": 0.0, "guard": 0}
        fixed |= {"trim": 0.125}
        fixed |= {"micro_batch": 1, "ranks": 1 if method == "muloco" else 2, "compile": True}
        return _rules(store, method=method, **fixed, **none | chosen)

    assert rules(None).outer == OuterSpec(trim=1250) and rules(None).codec == CodecSpec()
    assert rules(None).inner == InnerSpec(batch=2, micro_batch=1)
    assert all(cls.ranks == 2 and cls.compile for cls in rules(None).classes)
    found = {
        name: (spec.inner.steps, spec.inner.optimizer, spec.codec.name, spec.codec.kept, spec.outer.rule)
        for name in METHODS
        for spec in [rules(name)]
    }
    assert found == {
        "sync": (1, "adamw", "dense-fixed", 0, "sgd"),
        "diloco": (500, "adamw", "dense-fixed", 0, "nesterov"),
        "muloco": (30, "muon", "dense-fixed", 0, "nesterov"),
        "sparseloco": (30, "adamw", "sparse-2bit", 64, "sgd"),
        "streaming": (20, "adamw", "dense-int8", 0, "nesterov"),
        "int8": (100, "adamw", "dense-int8", 0, "nesterov"),
        "demo": (1, "sgd", "dct-topk", 4, "sign"),
    }
    diloco, demo = rules("diloco").outer, rules("demo")
    assert (diloco.lr, diloco.momentum) == (45875, 58982)
    assert (demo.outer.lr, demo.codec.beta, demo.inner.weight_decay) == (33554, 65208, 0)
    mixed = rules("diloco", steps=30, codec="dense-int8", momentum=0.0)
    assert (mixed.inner.steps, mixed.codec.name, mixed.outer.rule) == (30, "dense-int8", "sgd")
    slow = rules("diloco", beta2=0.99, warmup=200, weight_decay=0.025).inner
    assert (slow.beta2, slow.warmup, slow.weight_decay) == (0.99, 200, 0.025)


def test_synchronous_training_is_one_node_with_the_batches_of_all(texts: Path, tmp_path: Path):
    sync, _ = simulate(texts, tmp_path / "sync", "--method", "sync", "--rounds", "1", "--steps", "1")
    assert sync["tokens"] == 3 * 2 * 64
    assert [len(r["nodes"]) for r in records(tmp_path / "sync")] == [1]


def test_workers_come_late_stay_away_and_forget(texts: Path, tmp_path: Path):
    options = ["--absent", "0.3", "--lost", "0.9", "--late", "1"]
    one, _ = simulate(texts, tmp_path / "one", *options)
    same, _ = simulate(texts, tmp_path / "same", *options)
    forgetful, _ = simulate(texts, tmp_path / "other", "--absent", "0.3", "--late", "1")
    assert one["root"] == same["root"] != forgetful["root"]
    took_part = [r["nodes"] for r in records(tmp_path / "one")]
    early = {node for nodes in took_part[:2] for node in nodes}
    everybody = {node for nodes in took_part for node in nodes}
    assert len(early) == 2 and len(everybody) == 3  # the last one came half-way
    assert len({len(nodes) for nodes in took_part}) > 1  # and sometimes somebody was away


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--late", "3"], "--late leaves nobody"),
        (["--momentum", "1.5"], "momentum must be below 1"),
        (["--method", "demo", "--k", "65"], "at most k = 64"),
        (["--lr", "7"], "lr: Input should be"),
        (["--data", "/nowhere"], "no such file or folder"),
    ],
)
def test_nonsense_is_one_line(texts: Path, tmp_path: Path, options: list[str], words: str):
    process = start(texts, tmp_path / "out", *options)
    _, told = process.communicate()
    assert process.returncode == 2 and words in told and "Traceback" not in told
    assert len(told.strip().splitlines()) <= 2


def test_a_run_goes_on_from_where_another_one_ended(texts: Path, tmp_path: Path):
    first, _ = simulate(texts, tmp_path / "first", "--rounds", "1")
    more = ["--rounds", "1", "--start", str(tmp_path / "first"), "--method", "diloco", "--steps", "2"]
    second, _ = simulate(texts, tmp_path / "second", *more)
    rules, _ = (tmp_path / "second" / "run" / "rules.json").read_text().splitlines()
    spec = RunSpec.model_validate_json(rules)
    data = LocalStore(tmp_path / "second" / "artifacts").get(spec.genesis_file, 1 << 30)
    began = Checkpoint.from_bytes(data, parameter_count(spec.model), True)
    assert Checkpoint(began.theta).root().hex() == first["root"]
    assert began.momentum is not None and not began.momentum.any()
    assert second["root"] != first["root"]
    assert "holds no simulation" in refused(texts, tmp_path / "third", "--start", str(tmp_path / "nowhere"))
