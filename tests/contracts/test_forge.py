"""Runs the Solidity tests: units, fuzz and the invariant suite, all through `forge test`."""

import json
import subprocess
from pathlib import Path

import pytest
from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_solidity_tests_pass():
    done = subprocess.run([str(forge_path()), "test", "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout, done.stderr
    suites = json.loads(done.stdout.splitlines()[-1])
    results = {
        f"{suite} {test}": result["status"]
        for suite, tests in suites.items()
        for test, result in tests["test_results"].items()
    }
    failed = {name: status for name, status in results.items() if status != "Success"}
    assert not failed
    assert done.returncode == 0, done.stderr
    assert any("invariant_" in name for name in results)
    assert len(results) > 100
