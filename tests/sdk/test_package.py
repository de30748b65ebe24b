"""The package as an import: its public names, and how little it loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pi_sdk
from pi_sdk.chain import CONTRACTS, contract


def test_every_public_name_loads_and_none_is_hidden():
    assert pi_sdk.__all__ == sorted(pi_sdk.__all__, key=lambda n: (not n.isupper(), n))
    assert set(pi_sdk.__all__) == set(pi_sdk._HOME_OF)
    for name in pi_sdk.__all__:
        assert getattr(pi_sdk, name) is not None


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse(Path(pi_sdk.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == pi_sdk._HOME_OF


def test_importing_loads_neither_torch_nor_web3():
    code = (
        "import pi_sdk, sys; pi_sdk.PoolParams, pi_sdk.PiError; "
        "print({'torch', 'web3', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_names_of_errors_are_exported():
    tree = ast.parse((Path(pi_sdk.__file__).parent / "errors.py").read_text())
    assert {node.name for node in tree.body if isinstance(node, ast.ClassDef)} <= set(pi_sdk.__all__)


def test_the_client_calls_only_functions_that_exist():
    """Every `_read("X", "f")` and `_write("X", "f")` of the client names a function of X's ABI."""
    calls = []
    for path in Path(pi_sdk.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("_read", "_write"):
                values = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                if len(values) == 2:
                    calls.append(values)
    assert len(calls) > 50
    for name, function in calls:
        assert function in contract(name).functions, f"{name}.{function}"
    assert set(CONTRACTS) == {name for name, _ in calls}
