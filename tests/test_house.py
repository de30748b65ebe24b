"""The architecture, kept: who imports whom, what loads torch, and that hashed bytes stay what they are."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "pi_sdk": "sdk",
    "pi_orchestrator": "orchestrator",
    "pi_train": "worker",
    "pi_worker": "worker",
    "pi_validator": "worker",
}
NUMPY_ONLY = {
    "pi_train.checkpoint_file",
    "pi_train.codecs",
    "pi_train.fixed",
    "pi_train.fraud",
    "pi_train.layout",
    "pi_train.outer",
}
"""The part of pi_train that the orchestrator may use."""


def imports(package: str) -> list[tuple[Path, str]]:
    """(file, module) of every import of one of our packages, at any depth of the code."""
    found = []
    for path in sorted((ROOT / PACKAGES[package] / package).rglob("*.py")):
        relative = path.relative_to(ROOT / PACKAGES[package]).with_suffix("")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level:
                base = relative.parts[: len(relative.parts) - node.level]
                names = [".".join([*base, *filter(None, [node.module])])]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [(path, name) for name in names if name.split(".")[0] in PACKAGES]
    return found


def is_within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("pi_sdk", {"pi_sdk"}),
        ("pi_train", {"pi_train", "pi_sdk.types", "pi_sdk.codec", "pi_sdk.errors"}),
        ("pi_worker", {"pi_worker", "pi_train", "pi_sdk"}),
        ("pi_validator", {"pi_validator", "pi_train", "pi_sdk"}),
        ("pi_orchestrator", {"pi_orchestrator", "pi_sdk"} | NUMPY_ONLY),
    ],
)
def test_import_arrows(package: str, allowed: set[str]):
    found = imports(package)
    assert found, f"{package} imports nothing of ours: is it still there?"
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path, name in found if not is_within(name, allowed)]
    assert not wrong, wrong


def loaded_by(code: str) -> set[str]:
    """Top-level modules in sys.modules after running code in a fresh interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout.splitlines()[-1]))


def test_the_sdk_and_the_numeric_core_load_without_torch():
    assert "torch" not in loaded_by("import pi_sdk; from pi_sdk import *")
    loaded = loaded_by("import pi_train.codecs, pi_train.outer, pi_train.layout")
    assert "torch" not in loaded and "numpy" in loaded
    assert not {"numpy", "torch"} & loaded_by("import pi_train")


def test_other_peoples_models_and_formats_load_when_they_are_used():
    heavy = {"transformers", "tokenizers", "pyarrow", "peft"}
    assert not heavy & loaded_by("import pi_train.slot, pi_train.replay, pi_worker.sim")
    assert not {"torch", *heavy} & loaded_by("import pi_train.prepare, pi_train.evaluate, pi_train.export")


@pytest.mark.parametrize("program", ["pi_sdk", "pi_worker", "pi_validator", "pi_orchestrator"])
def test_help_loads_neither_torch_nor_web3(program: str):
    code = (
        f"import sys\nfrom {program}.cli import main\nsys.argv = ['x', '--help']\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code"
    )
    assert not {"torch", "web3"} & loaded_by(code)


def test_hash_vectors_are_what_the_codec_computes():
    subprocess.run([sys.executable, ROOT / "tools" / "make_hash_vectors.py", "--check"], check=True)


def test_requirements_pin_every_dependency():
    """requirements.txt is what set-up installs: each direct dependency must be in it, pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    names = {w.split(">")[0].split("[")[0].lower() for w in wanted} - {"pi-protocol"}
    assert names <= pinned, names - pinned
