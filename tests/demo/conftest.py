"""Helpers for tests that start the real programs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PI = Path(sys.executable).parent / "pi"


def processes_of(path: Path) -> list[str]:
    """Command lines of running processes that name `path`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(path) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.fixture
def pi(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `pi` with arguments (and environment changes) in a temporary directory, as a person would."""

    def run(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PI), *(str(a) for a in args)],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", **env},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run
