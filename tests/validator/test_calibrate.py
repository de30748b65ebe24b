"""`pi-validator calibrate`: measured limits accept honest work of another class, and reject half the learning
rate.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from network import BIN, network
from pi_sdk.errors import PiError
from pi_sdk.types import Outcome, RunSpec
from pi_train.determinism import class_named, default_classes
from pi_validator.calibrate import lines, plot
from pi_validator.calibration import MARGIN, STATISTICS, Calibration, judge, propose
from pi_validator.replay_process import ReplayConfig, ReplayProcess
from validator.conftest import Trained, train


@pytest.fixture(scope="module")
def calibrated(trained: Trained, tmp_path_factory) -> tuple[Calibration, RunSpec, Path]:
    """What the command measured, the RunSpec and the folder that it wrote."""
    out = tmp_path_factory.mktemp("calibration")
    argv = [Path(sys.executable).parent / "pi-validator", "calibrate", "--json"]
    argv += ["--spec", trained.folder / "run_spec.json", "--artifacts", trained.folder / "store"]
    argv += ["--rounds", "1", "--segments", "2", "--out", out, "--write", out / "calibrated.json"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = Calibration.model_validate_json(done.stdout)
    assert found == Calibration.model_validate_json((out / "calibration.json").read_text())
    return found, RunSpec.model_validate_json((out / "calibrated.json").read_bytes()), out


def test_every_pair_has_a_limit_between_honest_work_and_cheats(calibrated):
    found, spec, out = calibrated
    names = [cls.id for cls in default_classes()]
    assert [(p.worker, p.validator) for p in found.pairs] == [(a, b) for a in names for b in names]
    for pair in found.pairs:
        assert (max(pair.honest) == 0) == (pair.worker == pair.validator)
        assert len(pair.cheats) == 6 and not pair.unseen
        assert MARGIN * pair.reckoned <= pair.limit < min(map(min, pair.cheats.values())) / 1.9
        assert spec.limit(pair.worker, pair.validator) == pair.limit
        assert pair.cheats["half rate"][0] == pytest.approx(0.5, rel=0.1)
    assert spec.audit.max_mantissa_mean == found.screen_limits["mantissa_mean"] < 10
    assert (out / "calibration.svg").read_text().count("by cpu-") == 4


def test_the_limits_accept_honest_work_and_reject_half_the_rate(calibrated, trained: Trained, tmp_path: Path):
    """By the auditor itself, in the class that did not train."""
    _, spec, out = calibrated
    (tmp_path / "store").symlink_to(trained.folder / "store")
    inner = trained.spec.inner.model_copy(update={"lr": trained.spec.inner.lr / 2})
    slow = train(tmp_path, trained.spec.model_copy(update={"inner": inner}))
    process = ReplayProcess(
        ReplayConfig(
            out / "calibrated.json", trained.folder / "corpus", spec.classes[1], 1 << 30, tmp_path / "log"
        )
    )
    try:
        honest, cheat = (process.ask(slot.request(), 60) for slot in (trained, slow))
    finally:
        process.kill()
    assert honest["outcome"] == Outcome.ACCEPT and 0 < honest["worst_error"] < honest["limit"] < 1e-2
    assert cheat["outcome"] == Outcome.MISMATCH and cheat["worst_error"] > 0.3


def test_no_limit_where_honest_work_and_cheats_are_close(trained: Trained):
    """Such a pair is left out, and a class that nobody could judge is refused."""
    spec = trained.spec
    mine, other = spec.classes
    half = class_named("cpu-t1-bf16-avx2")

    def errors(honest: float, cheat: float) -> dict[str, list[dict[str, float]]]:
        named = {"honest": honest, "half rate": cheat, "int8 weights": 2 * honest}
        return {name: [dict.fromkeys(STATISTICS, 0.0) | {"error": error}] for name, error in named.items()}

    good, bad = errors(1e-5, 0.4), errors(0.1, 0.4)
    assert propose(0.1, 1.9) is None and propose(0.1, 2 * MARGIN * 0.1) == 1.0
    found = judge(
        spec,
        [mine, half],
        {(mine.id, mine.id): good, (mine.id, half.id): bad, (half.id, half.id): errors(2e-3, 0.4)},
        {other.id: "another CPU"},
        rounds=1,
        segments=1,
    )
    assert [p.limit is None for p in found.pairs] == [False, True, False]
    assert found.pair(mine.id, mine.id).unseen == ("int8 weights",)
    applied = found.applied(spec)
    assert applied.limit(mine.id, half.id) is None and applied.limit(half.id, half.id) == 0.2
    assert applied.limit(other.id, mine.id) == spec.limit(other.id, mine.id), "not measured, not changed"
    assert applied.classes == (mine, other, half)
    assert "none" in lines(found, spec)[2] and "<svg" in plot(found)

    alone = judge(spec, [mine], {(mine.id, mine.id): bad}, {}, rounds=1, segments=1)
    with pytest.raises(PiError, match=f"class {mine.id} is off by up to 0.1, half rate only by 0.4"):
        alone.applied(spec)


def test_a_wrong_class_or_two_sources_are_usage_errors(tmp_path: Path):
    for argv in (["--class", "tpu"], ["--pool", "1", "--spec", tmp_path / "x"]):
        program = Path(sys.executable).parent / "pi-validator"
        done = subprocess.run([program, "calibrate", *argv], capture_output=True, text=True)
        assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_limits_of_a_pool_are_measured_from_its_chain_and_store(tmp_path: Path):
    with network(tmp_path) as net:
        pool, spec = net.pool(2)
        argv = ["calibrate", "--pool", str(pool), "--rpc-url", net.chain.url, "--rounds", "1", "--json"]
        done = subprocess.run([BIN / "pi-validator", *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = Calibration.model_validate_json(done.stdout)
    assert {p.worker for p in found.pairs} | found.lacking.keys() == {cls.id for cls in spec.classes}
