"""The contracts and their Python model, fed the same random traces, end in the same state.

As many traces as fit into a minute; PI_MODEL_TRACES=10000 (`make model`) is the long run, and
PI_MODEL_SEED is the first trace's seed. A difference names the trace's seed, the move and what differs.
"""

import copy
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from contracts.model import chance, moves, state
from contracts.model.world import World
from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[2]
REPLAY = "contracts/test/model/Replay.t.sol"
TRACES = int(os.environ.get("PI_MODEL_TRACES", "200"))
SEED = int(os.environ.get("PI_MODEL_SEED", "0"))
BATCH = 400
"""Traces per run of forge, which holds a whole file in memory."""


def test_moves_are_numbered_as_in_the_replay():
    source = (ROOT / REPLAY).read_text()
    enum = re.search(r"enum Op \{(.*?)\}", source, re.DOTALL)
    assert enum is not None
    names = [name.strip() for name in enum[1].split(",")]
    assert names == ["".join(word.title() for word in move.split("_")) for move in moves.MOVES]


def held(world: World) -> int:
    """Every token, wherever it is."""
    stakes, rewards = world.stakes, world.rewards
    in_stakes = sum(a.bonded + a.unbonding for a in stakes.accounts.values()) + stakes.seized
    in_pools = sum(b.free + b.reserved for b in rewards.budgets.values()) + sum(rewards.earned.values())
    return sum(world.tokens.values()) + in_stakes + in_pools


@pytest.mark.parametrize("seed", range(3))
def test_a_refused_move_changes_nothing_and_tokens_never_vanish(seed):
    world = World()
    tokens = held(world)
    for move in chance.trace(seed):
        before = copy.deepcopy(world)
        if not moves.play(world, move):
            assert state.words(world) == state.words(before), move
        assert held(world) == tokens, move
        for account in world.stakes.accounts.values():
            assert 0 <= account.locked <= account.bonded
        for budget in world.rewards.budgets.values():
            assert budget.free >= 0 <= budget.reserved


@pytest.mark.parametrize("seed", range(60))
def test_in_the_end_everything_is_paid_or_free(seed):
    """Nothing stays reserved or locked for ever, whatever happened: anybody can bring a pool to its end."""
    world = World()
    for move in chance.trace(seed):
        moves.play(world, move)
    for move in chance.ending(world):
        assert moves.play(world, move), move
    assert all(budget.reserved == 0 for budget in world.rewards.budgets.values())
    assert {name: held for name, held in world.stakes.locks.items() if held} == {}
    assert all(account.locked == 0 == account.open_cases for account in world.stakes.accounts.values())


def test_traces_reach_what_matters():
    """Else the comparison would say little."""
    done, refused, seen = Counter(), Counter(), Counter()
    for seed in range(300):
        world = World()
        for move in chance.trace(seed):
            (done if moves.play(world, move) else refused)[move.name] += 1
        seen.update((case.status.name, case.level) for case in world.court.cases)
        for pool in world.pools.values():
            seen["ended"] += pool.ended
            seen["beyond the ring"] += pool.next > 17
            seen["overruled"] += sum(r.overruled for r in pool.rounds)
            seen["reopened"] += sum(r.reopened for r in pool.rounds)
            seen["accrued"] += sum(m.accrued for m in pool.members.values())
    assert {move for move in moves.MOVES if not done[move]} <= {"report_overturned_vote", "withdraw"}
    assert {move for move in moves.MOVES if not refused[move]} == {"warp", "roll", "create_pool"}
    outcomes = [("CONVICTED", 0), ("CONVICTED", 1), ("ACQUITTED", 0), ("HUNG", 0), ("HUNG", 1), ("OPEN", 0)]
    for what in ["ended", "beyond the ring", "overruled", "reopened", "accrued", *outcomes]:
        assert seen[what], what


def explain(seed: int, reason: str) -> str:
    """What a difference is about, in the model's words."""
    number, step, *more = (int(n) for n in re.findall(r"\b\d+\b", reason.partition("(")[2])[:5])
    trace, world = chance.trace(seed + number), World()
    for move in trace[:step]:
        moves.play(world, move)
    lines = [reason, f"trace {seed + number}, step {step} of {len(trace)}"]
    if reason.startswith("StateDiffers"):
        label, expected = (state.words(world) + [("nothing: too many words", 0)])[more[0]]
        return "\n".join([*lines, f"{label}: {more[1]:#x} in the contracts, {expected:#x} in the model"])
    recent = [str(move) for move in trace[max(0, step - 5) : step + 1]]
    allowed = moves.play(world, trace[step]) if step < len(trace) else None
    return "\n".join([*lines, *recent, f"the model says it {'succeeds' if allowed else 'reverts'}"])


def replay(seed: int, count: int, file: Path) -> None:
    file.write_bytes(moves.write(moves.encode(chance.trace(n)) for n in range(seed, seed + count)))
    limits = {"FOUNDRY_GAS_LIMIT": str(2**64 - 1), "FOUNDRY_MEMORY_LIMIT": str(2**31)}
    done = subprocess.run(
        [forge_path(), "test", "--match-path", REPLAY, "--json"],
        cwd=ROOT,
        env=os.environ | limits | {"PI_TRACES": str(file)},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    (suite,) = json.loads(done.stdout.splitlines()[-1]).values()
    (result,) = suite["test_results"].values()
    assert result["status"] == "Success", explain(seed, result["reason"])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600 + TRACES)
def test_contracts_and_model_agree():
    file = ROOT / "contracts" / "cache" / f"traces-{os.getpid()}.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        for start in range(0, TRACES, BATCH):
            count = min(BATCH, TRACES - start)
            replay(SEED + start, count, file)
            print(f"{start + count} traces agree", flush=True)
    finally:
        file.unlink(missing_ok=True)
