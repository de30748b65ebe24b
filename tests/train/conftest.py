"""Pins the determinism class before anything imports torch, and trains one tiny slot for many tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pi_train import determinism, kernels

determinism.pin(determinism.default_class())

from train.tiny_run import TinyRun  # noqa: E402  (loads torch)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A prepared run of a tiny model; `run.honest` is a slot of its second round, trained honestly."""
    return TinyRun(tmp_path_factory.mktemp("run"))


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    """A folder of 60 small text files."""
    folder = tmp_path / "text"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i:02}.txt").write_text(f"line {i} of a small text, {i * i} times\n" * 5)
    return folder


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    """The two ways that integers take: the compiled loops, and numpy."""
    assert kernels.load() is not None, "tests need a C compiler"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(kernels, "load", lambda: None)
        yield
