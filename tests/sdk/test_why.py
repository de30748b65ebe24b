"""`pi why`: every way in which work ends without pay, told from the chain."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Anvil
from click.testing import CliRunner
from pi_sdk import Client, EventLog, NotFound, UsageError
from pi_sdk.cli import pi
from pi_sdk.why import why
from small_pool import STORE, TOKEN, make_hash, make_pool, opened, participant

Someone = Callable[..., Client]


def test_work_without_pay_has_its_reason(chain: Anvil, someone: Someone, tmp_path: Path):
    creator = someone()
    pool_id = make_pool(creator, rounds=4, min_seats=0)
    names = ("good", "silent", "hidden", "excluded", "astray")
    workers = {name: participant(someone, 100 * TOKEN) for name in names}
    for w in workers.values():
        w.operator.join(pool_id, w.node)

    def because(name: str, round_: int = 0) -> tuple[str, str]:
        story = why(creator, pool_id, workers[name].node, round_)
        return story.answer, story.because

    with pytest.raises(NotFound, match="round 0 of pool .* has not opened"):
        because("good")
    creator.open_round(pool_id, 60)
    assert because("good") == ("open", "the round is running")
    root = creator.pool(pool_id).checkpoint_root
    starts = {name: make_hash("elsewhere") if name == "astray" else root for name in names}
    reveals = {name: opened(starts[name], w.node, 0) for name, w in workers.items()}
    for name, w in workers.items():
        if name != "silent":
            w.client.commit(pool_id, w.client.commitment(pool_id, 0, w.node, reveals[name]))
    chain.mine(seconds=61)
    for name in ("good", "excluded", "astray"):
        workers[name].client.reveal(pool_id, reveals[name], make_hash("file", name).hex(), STORE)
    assert because("good") == ("open", "the round has not been closed")
    chain.mine(seconds=creator.round(pool_id, 0).reveal_deadline - creator.now() + 1)
    creator.seal_reveals(pool_id)
    out = [(workers["excluded"].node, 1)]
    creator.close_round(pool_id, make_hash("root"), make_hash("checkpoint").hex(), out)

    assert because("good") == ("paid", "the work was accepted")
    assert because("silent") == ("unpaid", "nothing was committed in time")
    assert because("hidden") == ("unpaid", "it was committed and never revealed")
    assert because("excluded") == (
        "unpaid",
        "its update was left out of the mean: its file was not to be had",
    )
    assert because("astray") == (
        "unpaid",
        "its work started from another root than the one that the votes settled on",
    )
    hidden = workers["hidden"]
    hidden.client.reveal(pool_id, reveals["hidden"], make_hash("file", "hidden").hex(), STORE)
    assert because("hidden") == ("unpaid", "it was revealed too late")
    creator.report_miss(pool_id, 0, workers["silent"].node)
    texts = [s.text for s in why(creator, pool_id, workers["silent"].node, 0).steps]
    assert "missed, 1 in a row" in texts

    # A node that left is not expected, and its earlier work keeps its answer.
    workers["good"].operator.leave(pool_id, workers["good"].node)
    creator.open_round(pool_id, 60)
    assert because("good", 1) == ("not expected", "the node was not in the pool in this round")
    assert because("good", 0)[0] == "paid"
    story = why(creator, pool_id, workers["good"].node, 0)
    assert not story.settled and story.pay == creator.pool_params(pool_id).price_per_slot
    creator.settle(pool_id, workers["good"].node)

    stranger = someone().address or ""
    with pytest.raises(NotFound, match="never been a member"):
        why(creator, pool_id, stranger, 0)
    with pytest.raises(UsageError):
        why(creator, pool_id, "0x12", 0)
    command = ["why", workers["excluded"].node, "0", "--pool", str(pool_id), "--rpc-url", chain.url]
    with EventLog(tmp_path) as events:
        numbers = {"norm": 9.5, "cosine": None, "overlap": 0.61, "gain": 0.02, "data": 1.5, "rating": -2.0}
        for node in (workers["good"].node, workers["excluded"].node):
            events.write("screened", pool=pool_id, round=0, node=node, flags=["norm"], twin=None, **numbers)
    command += ["--events", str(tmp_path)]
    done = CliRunner().invoke(pi, [*command, "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert (told["answer"], told["round"], told["data_seed"]) == ("unpaid", 0, None)
    assert told["screens"] == [{"flags": ["norm"], **numbers}]
    text = CliRunner().invoke(pi, command, catch_exceptions=False).stdout
    assert text.startswith("unpaid: its update was left out of the mean") and told["steps"][0]["tx"] in text
    assert "screened: norm flagged (norm 9.5, overlap 0.61, gain 0.02, data 1.5, rating -2)\n" in text
