"""What dishonesty is worth: against a simulation of the same rules, and at the edges."""

import random

import pytest
from pi_sdk import economics
from pi_sdk.cheats import CHEATS
from pi_sdk.codec import audit_segments
from pi_sdk.errors import UsageError
from pi_sdk.types import TOKEN, AuditSpec, PoolParams, RunSpec
from small_pool import run_spec

PARAMS = PoolParams(orchestrator="0x" + "11" * 20, rounds=9, audit_rate=2500)


def spec(planted: int = 0) -> RunSpec:
    return run_spec(9).model_copy(update={"audit": AuditSpec(planted=planted)})


@pytest.mark.parametrize(
    ("cheat", "wrong"), [("no-compute", {0, 1, 2, 3, 4}), ("half-steps", {2, 3, 4}), ("idle-segment", {4})]
)
def test_a_cheat_is_caught_as_often_as_the_draws_say(cheat: str, wrong: set[int]):
    rng, caught, rounds, node = random.Random(1), 0, 20_000, "0x" + "22" * 20
    for _ in range(rounds):
        audited = rng.randrange(10_000) < PARAMS.audit_rate
        honest = any(rng.random() > 0.25 for _ in range(PARAMS.auditors))
        drawn = audited and honest and wrong & set(audit_segments(rng.randbytes(32), node, 5, 2))
        caught += bool(drawn)
    expected = economics.caught(PARAMS, CHEATS[cheat].found(5, 2), dishonest=0.25)
    assert caught / rounds == pytest.approx(expected, abs=4 * (expected / rounds) ** 0.5)


def test_no_cheat_pays_at_the_default_numbers_and_laziness_not_with_plants():
    values = {line.name: line.value for line in economics.evaluate(PARAMS, spec())}
    assert [name for name, value in values.items() if value > 0] == ["lazy"]
    least = economics.least_planted(PARAMS)
    assert least is not None
    economics.check(PARAMS, spec(least))
    with pytest.raises(UsageError, match="lazy gains"):
        economics.check(PARAMS, spec(least - 2))


def test_a_small_stake_or_a_lone_auditor_makes_dishonesty_pay():
    cheap = PARAMS.model_copy(update={"slash_conviction": TOKEN // 10})
    with pytest.raises(UsageError, match="no-compute gains"):
        economics.check(cheap, spec(10_000))
    alone = PARAMS.model_copy(update={"auditors": 1})  # nobody is there to overturn it
    assert economics.least_planted(alone) is None
    with pytest.raises(UsageError, match="lazy gains"):
        economics.check(alone, spec(10_000))
