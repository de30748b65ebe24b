"""The benchmarks whose own runs are too long for CI can at least be asked what they do."""

import json
import subprocess
import sys
from pathlib import Path


def test_side_by_side_names_its_systems():
    argv = [sys.executable, "-m", "benchmarks.side_by_side", "--help"]
    done = subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    for system in ("engine-sparse", "engine-dense", "chain", "torchft", "hivemind"):
        assert system in done.stdout


def test_no_parser_crashes_on_mutated_inputs():
    """A short run of the fuzzer; the server's part is in tests/orchestrator."""
    argv = [sys.executable, "-m", "benchmarks.fuzz", "--inputs", "4000", "--bodies", "0", "--seed", "test"]
    done = subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    totals = json.loads(done.stdout.splitlines()[-1])
    assert totals["inputs"] >= 4000 and totals["crashes"] == 0, done.stderr
