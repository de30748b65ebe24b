"""Pins the determinism class before anything imports torch."""

import pytest
from pi_train import determinism

determinism.pin(determinism.default_class())

from attacks.slots import Stage  # noqa: E402  (loads torch)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A run of a tiny model whose second round is attacked: three segments, one of them audited."""
    return Stage(tmp_path_factory.mktemp("stage"), segments=3, drawn=1)
