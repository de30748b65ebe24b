"""The ABIs and bytecodes in the Python package are what the Solidity sources give, by two roads: forge, and
py-solc-x on the standard-JSON input that verifies a deployment."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import solcx
from pi_sdk.deployment import standard_input
from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import export_abi  # noqa: E402

RUNTIME_LIMIT = 24_576
"""Bytes of code that a contract may have (EIP-170)."""


@cache
def build() -> Path:
    """Compiles afresh, beside the developer's own build; returns forge's folder of artifacts."""
    place = ROOT / "contracts" / "cache" / "abi-test"
    command = [forge_path(), "build", "--root", ROOT, "contracts/src", "--force"]
    command += ["--out", place / "out", "--cache-path", place / "cache"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    return place / "out"


def packaged(name: str) -> dict[str, Any]:
    return json.loads((export_abi.TARGET / f"{name}.json").read_text())


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_package_data_is_what_forge_builds(name: str):
    built = json.loads((build() / f"{name}.sol" / f"{name}.json").read_text())
    hint = "contracts changed: run python tools/export_abi.py"
    assert packaged(name) == export_abi.packaged(built), hint
    size = len(built["deployedBytecode"]["object"]) // 2 - 1
    assert size <= RUNTIME_LIMIT, f"{name} has {size} bytes"


def by_text(abi: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(entry, sort_keys=True) for entry in abi)


@cache
def verified() -> dict[str, Any]:
    """What py-solc-x makes of all verification inputs together: what a contract compiles to depends on
    nothing that it does not import."""
    inputs = [standard_input(name, ROOT) for name in export_abi.CONTRACTS]
    whole = {key: value for key, value in inputs[0].items() if key != "settings"}
    settings = [{k: v for k, v in given["settings"].items() if k != "outputSelection"} for given in inputs]
    for given in inputs:
        whole["sources"] = whole["sources"] | given["sources"]
    assert all(given["sources"].items() <= whole["sources"].items() for given in inputs)
    assert all(s == settings[0] for s in settings)
    output = ["abi", "evm.bytecode.object"]
    selection = {f"contracts/src/{name}.sol": {name: output} for name in export_abi.CONTRACTS}
    whole["settings"] = settings[0] | {"outputSelection": selection}
    return solcx.compile_standard(whole, solc_binary=ROOT / "tools" / "solc")["contracts"]


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_package_data_is_what_the_verification_input_gives(name: str):
    """What `pi deploy` writes out for block explorers, compiled by py-solc-x."""
    compiled = verified()[f"contracts/src/{name}.sol"][name]
    assert by_text(packaged(name)["abi"]) == by_text(compiled["abi"])  # forge has an order of its own
    assert packaged(name)["bytecode"] == "0x" + compiled["evm"]["bytecode"]["object"]


def test_all_contracts_are_compiled_alike():
    compilers = [packaged(name)["compiler"] for name in export_abi.CONTRACTS]
    assert all(
        (c["version"], c["settings"]) == (compilers[0]["version"], compilers[0]["settings"])
        for c in compilers
    )


def test_package_has_these_contracts_and_no_others():
    assert {path.stem for path in export_abi.TARGET.glob("*.json")} == set(export_abi.CONTRACTS)
