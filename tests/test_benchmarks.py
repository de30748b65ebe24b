"""The benchmarks whose own runs are too long for CI can at least be asked what they do."""

import subprocess
import sys
from pathlib import Path


def test_side_by_side_names_its_systems():
    argv = [sys.executable, "-m", "benchmarks.side_by_side", "--help"]
    done = subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    for system in ("engine-sparse", "engine-dense", "chain", "torchft", "hivemind"):
        assert system in done.stdout
