"""`pi demo` end to end: real processes, a real chain, the creator's script as it stands."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from pi_sdk.chain import CONTRACTS
from pi_sdk.recorder import Tail

from .conftest import PI, processes_of

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_trains_pays_and_adds_up(pi, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = pi(*"demo --workers 2 --validators 2 --rounds 2 --cheat none --seed 7 --out".split(), out)
    assert done.returncode == 0, done.stderr
    assert "round 2 closed" in done.stderr and "\x1b[" not in done.stderr
    assert f"report    {out / 'report.html'}" in done.stdout and "conserved to the last wei" in done.stdout
    assert processes_of(out) == []

    summary = json.loads((out / "summary.json").read_text())
    check_schema(summary)
    assert summary["version"] == 1 and len(summary["rounds"]) == 2
    addresses = {w["address"] for w in summary["workers"]}
    for r in summary["rounds"]:
        assert set(r["included"]) == set(r["update_bytes"]) == addresses and r["late"] == []
        assert all(0 < 140 * size < r["dense_bytes"] for size in r["update_bytes"].values())
        assert r["dense_bytes"] == 4 * 828_544
    for w in summary["workers"]:
        assert (w["accepted_slots"], w["slashed"], w["checkpoint_hashes_agree"]) == (2, 0, True)
        assert w["earned"] == w["claimed"] == 2 * 10**18 and w["tokens"] == 2 * 20 * 16 * 64
        assert 0 < w["utilisation"] <= 1
    money = summary["money"]
    assert money["conserved"] is True and money["slashed_to"] == {"treasury": 0}
    validators = sum(v["earned"] for v in summary["validators"])
    assert money["paid"] + money["unpaid"] == 4 * 10**18 + validators
    assert summary["loss"]["last"] < summary["loss"]["first"] < 5.6

    # The same training without a chain goes through the same checkpoints.
    simulated = pi(*"sim --workers 2 --rounds 2 --seed 7 --evaluate 0 --json --out".split(), tmp_path / "sim")
    assert simulated.returncode == 0, simulated.stderr
    lines = (tmp_path / "sim" / "run" / "state" / "rounds.jsonl").read_text().splitlines()
    roots = [json.loads(line)["root"] for line in lines]
    assert roots == [r["checkpoint_hash"].removeprefix("0x") for r in summary["rounds"]]
    assert json.loads(simulated.stdout)["val_loss"] == pytest.approx(summary["loss"]["last"], abs=1e-6)

    records = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert {r["source"] for r in records} == {
        "chain", "orchestrator", "worker-1", "worker-2", "validator-1", "validator-2"
    }  # fmt: skip
    assert (out / "model" / "model.safetensors").stat().st_size > 4 * 828_544
    assert "<svg" in (out / "report.html").read_text()


def check_schema(summary: dict) -> None:
    """The published keys, all of them and no others where a reader iterates."""
    assert list(summary) == [
        "version", "rounds", "workers", "validators", "chain", "money", "loss", "seconds", "memory"
    ]  # fmt: skip
    for r in summary["rounds"]:
        assert list(r) == [
            "round", "checkpoint_hash", "included", "late", "val_loss", "update_bytes", "dense_bytes",
            "seconds",
        ]  # fmt: skip
        assert len(bytes.fromhex(r["checkpoint_hash"])) == 32
        assert set(r["seconds"]) == {"train", "commit", "reveal", "close", "audit"}
        assert all(s >= 0 for s in r["seconds"].values())
    for w in summary["workers"]:
        assert set(w) == {
            "address", "cheat", "accepted_slots", "tokens", "staked", "slashed", "earned", "claimed",
            "utilisation", "checkpoint_hashes_agree",
        }  # fmt: skip
    for v in summary["validators"]:
        assert set(v) == {"address", "votes", "earned", "slashed"}
    chain = summary["chain"]
    assert chain["chain_id"] == 31337
    assert set(chain["contracts"]) == set(CONTRACTS.values()) and len(CONTRACTS) == 8
    for name in ("commit", "reveal", "commit_verdicts", "reveal_verdicts"):
        assert set(chain["gas"][name]) == {"first", "steady"} and chain["gas"][name]["first"] > 21_000
    for name in ("open", "close", "join", "take_seat", "post_bond"):
        assert chain["gas"][name] > 21_000
    assert {"funded", "paid", "unpaid", "slashed_to", "conserved"} <= set(summary["money"])
    assert set(summary["loss"]) == {"first", "last", "unigram_entropy"}
    assert set(summary["seconds"]) == {"setup", "run"} and summary["memory"]["peak_pss_bytes"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopping_a_demo_stops_everything(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = [PI, *"demo --workers 1 --validators 1 --cheat none --out".split(), out]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr
        while "worker-1 joined" not in demo.stderr.readline():
            assert demo.poll() is None
        family = psutil.Process(demo.pid).children(recursive=True)
        assert {"anvil", "pi-orchestrator", "pi-worker", "pi-validator"} <= {p.name() for p in family}
        demo.send_signal(number)
        _, told = demo.communicate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    if number == signal.SIGKILL:
        return
    assert demo.returncode == 1
    assert told.splitlines()[-1].startswith("error: interrupted, everything is stopped")
    assert (out / "logs" / "create_pool.log").exists()


def test_bad_input_is_one_line_and_nothing_starts(pi, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for options, message in (
        (["--data", "nowhere"], "error: no such file or folder: nowhere (--data takes"),
        (["--cheat", "copy", "--workers", "1"], "error: --cheat copy needs somebody to copy from"),
        (["--out", "file"], "error: file is a file (--out takes a folder)"),
        (["--out", "mine"], "error: mine holds files that no demo wrote: thesis.tex"),
    ):
        done = pi("demo", *options)
        assert done.returncode == 2
        assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
        assert sorted(os.listdir(tmp_path)) == ["file", "mine"] and os.listdir(tmp_path / "mine") == [
            "thesis.tex"
        ]
    for options in (["--workers", "0"], ["--cheat", "bribe"], ["--codec", "zip"]):
        assert pi("demo", *options).returncode == 2


def test_data_that_is_no_text_is_told_in_the_creators_words(pi, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": 5}\n')
    done = pi("demo", "--data", "bad.jsonl", "--out", "run")
    assert done.returncode == 2
    assert "bad.jsonl, line 2" in done.stderr.splitlines()[-1]
    assert processes_of(tmp_path / "run") == []


def test_the_creators_script_is_short() -> None:
    assert len((ROOT / "examples" / "create_pool.py").read_text().splitlines()) <= 40


def test_a_half_written_line_of_an_event_file_waits(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "events.jsonl")
    assert tail.read() == []
    with open(tail.path, "w") as file:
        file.write('{"event": "joined"}\n{"event": "tra')
        file.flush()
        assert tail.read() == [{"event": "joined"}]
        assert tail.read() == []
        file.write('ined"}\n')
        file.flush()
        assert tail.read() == [{"event": "trained"}]
