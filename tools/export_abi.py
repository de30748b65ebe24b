"""Builds the contracts and writes their ABI, creation bytecode and compiler input into the Python package.

    python tools/export_abi.py

`sdk/pi_sdk/contracts/{Name}.json` is {"abi": [...], "bytecode": "0x...", "compiler": {"version", "settings",
"sources": {path: keccak256}}}. `tests/contracts/test_abi.py` fails when these files differ from what the
sources give."""

import json
import subprocess
from pathlib import Path
from typing import Any

from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "sdk" / "pi_sdk" / "contracts"
CONTRACTS = (
    "TestToken",
    "NodeRegistry",
    "StakeManager",
    "Rewards",
    "Pools",
    "RoundLedger",
    "Court",
    "FraudProofs",
)


def build() -> None:
    """Compiles contracts/src with forge; the compiler's errors go to stderr."""
    subprocess.run([str(forge_path()), "build", "--root", str(ROOT), "contracts/src"], check=True)


def artifact(name: str) -> dict[str, Any]:
    """The package data of one contract, from forge's last build."""
    built = json.loads((ROOT / "contracts" / "out" / f"{name}.sol" / f"{name}.json").read_text())
    assert not built["bytecode"]["linkReferences"], f"{name} needs linking"
    return packaged(built)


def packaged(built: dict[str, Any]) -> dict[str, Any]:
    """What the package keeps of forge's artifact."""
    metadata = built["metadata"]
    settings = {key: value for key, value in metadata["settings"].items() if key != "compilationTarget"}
    compiler = {
        "version": metadata["compiler"]["version"],
        "settings": settings,
        "sources": {path: source["keccak256"] for path, source in metadata["sources"].items()},
    }
    return {"abi": built["abi"], "bytecode": built["bytecode"]["object"], "compiler": compiler}


def render(data: dict[str, Any]) -> str:
    """The bytes of a package file: one line per ABI entry, so that a diff shows what changed."""
    entries = ",\n  ".join(json.dumps(entry) for entry in data["abi"])
    compiler = json.dumps(data["compiler"])
    return f'{{"abi": [\n  {entries}\n ],\n "bytecode": "{data["bytecode"]}",\n "compiler": {compiler}}}\n'


def main() -> None:
    build()
    TARGET.mkdir(exist_ok=True)
    for name in CONTRACTS:
        (TARGET / f"{name}.json").write_text(render(artifact(name)))


if __name__ == "__main__":
    main()
