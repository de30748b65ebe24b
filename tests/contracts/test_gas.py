"""Every operation costs exactly the gas that contracts/snapshots/gas.json says."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import gas  # noqa: E402


@pytest.mark.slow
def test_gas_is_what_the_snapshot_says():
    kept = json.loads(gas.SNAPSHOT.read_text())
    assert gas.drift(gas.measure(), kept) == [], (
        "gas changed: run python tools/gas.py, look at the difference"
    )


def test_every_ceiling_is_of_a_measured_operation():
    assert gas.CEILINGS.keys() <= json.loads(gas.SNAPSHOT.read_text()).keys()


def test_opening_and_closing_a_round_costs_the_same_for_any_number_of_workers():
    kept = json.loads(gas.SNAPSHOT.read_text())
    for operation in ("open", "close"):
        sizes = [kept[f"{operation}, {size}"] for size in ("1 worker", "16 workers", "1000 workers")]
        assert sizes[0] == sizes[1] == sizes[2]
