"""Where the build tools are: the native binaries inside the npm packages.

npm's `anvil` is a Node wrapper around the native program: killing the wrapper leaves the program behind, so
we start the program itself.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from .errors import ToolMissing


def anvil_path() -> Path:
    """The native anvil: `PI_ANVIL`, else npm's, else the one on PATH. Raises `ToolMissing`."""
    return _find("anvil", "PI_ANVIL")


def forge_path() -> Path:
    """The native forge: `PI_FORGE`, else npm's, else the one on PATH. Raises `ToolMissing`."""
    return _find("forge", "PI_FORGE")


def solc_path() -> Path:
    """npm's solc (JavaScript), which compiles the contracts. Raises `ToolMissing`."""
    for folder in _node_modules():
        if (path := folder / "solc" / "solc.js").is_file():
            return path
    raise ToolMissing("solc was not found", "run npm ci in the repository")


def _find(tool: str, variable: str) -> Path:
    if chosen := os.environ.get(variable):
        if not os.access(chosen, os.X_OK):
            raise ToolMissing(
                f"{variable} names {chosen}, which cannot be run", f"point it at {tool}'s binary"
            )
        return Path(chosen)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    package = Path("@foundry-rs") / f"{tool}-{sys.platform}-{machine}" / "bin" / tool
    for folder in _node_modules():
        if os.access(folder / package, os.X_OK):
            return folder / package
    if found := shutil.which(tool):
        return Path(found)
    raise ToolMissing(
        f"{tool} was not found", f"run npm ci in the repository, or set {variable} to its binary"
    )


def _node_modules() -> list[Path]:
    roots = [Path.cwd(), Path(__file__).resolve().parents[2]]
    return [root / "node_modules" for root in dict.fromkeys(roots)]
