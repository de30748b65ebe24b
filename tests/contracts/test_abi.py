"""The ABIs and bytecodes in the Python package are what the Solidity sources give, by two roads: forge, and
py-solc-x on the standard-JSON input that forge made."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import solcx
from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import export_abi  # noqa: E402

RUNTIME_LIMIT = 24_576
"""Bytes of code that a contract may have (EIP-170)."""


@cache
def build() -> Path:
    """Compiles afresh, beside the developer's own build; returns the folder of forge's build infos."""
    infos = ROOT / "contracts" / "cache" / "abi-test"
    for old in infos.glob("*.json"):
        old.unlink()
    command = [
        str(forge_path()),
        "build",
        "--root",
        str(ROOT),
        "--skip",
        "test",
        "script",
        "--force",
        "--build-info",
    ]
    command += [
        "--build-info-path",
        str(infos),
        "--out",
        str(infos / "out"),
        "--cache-path",
        str(infos / "cache"),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return infos


def packaged(name: str) -> dict[str, Any]:
    return json.loads((export_abi.TARGET / f"{name}.json").read_text())


@cache
def recompiled() -> dict[str, Any]:
    """py-solc-x's output for forge's input: "source:Name" -> abi and bytecode."""
    (info,) = build().glob("*.json")
    forged = json.loads(info.read_text())["input"]
    standard = {key: forged[key] for key in ("language", "sources", "settings")}  # the rest is forge's own
    standard["settings"]["outputSelection"] = {"*": {"*": ["abi", "evm.bytecode.object"]}}
    out = solcx.compile_standard(standard, solc_binary=ROOT / "tools" / "solc")
    return {name: one for file in out["contracts"].values() for name, one in file.items()}


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_package_data_is_what_forge_builds(name: str):
    built = json.loads((build() / "out" / f"{name}.sol" / f"{name}.json").read_text())
    hint = "contracts changed: run python tools/export_abi.py"
    assert packaged(name) == {"abi": built["abi"], "bytecode": built["bytecode"]["object"]}, hint
    size = len(built["deployedBytecode"]["object"]) // 2 - 1
    assert size <= RUNTIME_LIMIT, f"{name} has {size} bytes"


def by_text(abi: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(entry, sort_keys=True) for entry in abi)


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_package_data_is_what_solcx_builds(name: str):
    compiled = recompiled()[name]
    assert by_text(packaged(name)["abi"]) == by_text(compiled["abi"])  # forge has an order of its own
    assert packaged(name)["bytecode"] == "0x" + compiled["evm"]["bytecode"]["object"]


def test_package_has_these_contracts_and_no_others():
    assert {path.stem for path in export_abi.TARGET.glob("*.json")} == set(export_abi.CONTRACTS)
