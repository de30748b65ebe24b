"""A folder with a few Solidity files of the project and all that they import, for tools that compile again
and again, or that change what they read."""

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy(folder: Path, *paths: str) -> None:
    """Empties `folder` and makes it a forge project of `paths` of the repository and their imports."""
    shutil.rmtree(folder, ignore_errors=True)
    waiting = list(paths)
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        text = (ROOT / path).read_text()
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        here = os.path.dirname(path)
        waiting += [os.path.normpath(os.path.join(here, to)) for to in re.findall(r'from "(\.[^"]+)"', text)]
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "solc", folder / "tools")
    # One profile for all: what is read is what is deployed.
    profiles = r"^(additional_compiler_profiles|compilation_restrictions) = .*\n"
    settings = re.sub(profiles, "", (ROOT / "foundry.toml").read_text(), flags=re.MULTILINE)
    (folder / "foundry.toml").write_text(settings)
    (folder / "node_modules").symlink_to((ROOT / "node_modules").resolve())


def under(folder: str) -> list[str]:
    """The Solidity files below a folder of the repository."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.sol"))
