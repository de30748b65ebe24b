"""What the votes do about a wrong close: real processes, and an orchestrator that posts one."""

import signal

import pytest
from network import network, wait_for
from pi_sdk.errors import ContractError
from pi_sdk.types import TOKEN

pytestmark = pytest.mark.slow


def test_two_thirds_overrule_a_wrong_close_and_its_poster_pays(tmp_path):
    with network(tmp_path, "--cheat", "wrong-close") as net:
        pool_id, _ = net.pool(rounds=3, min_slots=2)
        chain, poster = net.creator, net.key("orchestrator").address
        params = chain.pool_params(pool_id)
        workers = [net.worker(pool_id, i) for i in range(2)]

        # One of them is killed once it has seen the wrong root, before it could commit to its own.
        seen = workers[0].wait_for("closed", round=0)
        workers[0].kill(signal.SIGKILL)
        assert seen["agrees"] is False
        workers[0] = net.worker(pool_id, 0)
        for worker in workers:
            worker.end()

        events = chain.events(pool_id=pool_id)
        closes = {e.args["round"]: e.args for e in events if e.name == "RoundClosed"}
        own = {e.args["round"]: e.args["reveal"]["start_root"] for e in events if e.name == "Revealed"}
        right = own[1]
        assert right.hex() == seen["root"] and right != closes[0]["root"]
        voted = [e.args for e in events if e.name == "Revealed" and e.args["round"] == 1]
        assert [v["reveal"]["start_root"] for v in voted] == [right, right]
        overruled = [e.args for e in events if e.name == "CloseOverruled"]
        assert [(o["round"], o["posted"], o["root"]) for o in overruled] == [(0, closes[0]["root"], right)]

        # The next results follow from the right one, and everybody confirms the last.
        assert (
            own[2] == closes[1]["root"] and own[3] == closes[2]["root"] == chain.pool(pool_id).checkpoint_root
        )
        assert all(e["agrees"] for w in workers for e in w.events("closed") if e["round"] >= 1)

        # The bond went once, and was posted again for the next close.
        punished = [e.args for e in events if e.name == "ClosePunished"]
        assert [(p["round"], p["poster"], p["slashed"]) for p in punished] == [(0, poster, params.close_bond)]
        assert sum(e.name == "BondPosted" and e.args["amount"] > 0 for e in events) == 2
        held = chain.stake_account(poster).bonded + chain.token_balance(poster)
        assert held == 1000 * TOKEN - params.close_bond

        # Nobody else loses anything, and the work counts.
        assert not net.findings(pool_id)
        assert not {"Convicted", "CaseOpened", "Missed", "CloseDisproved"} & {e.name for e in events}
        for i in range(2):
            assert chain.total_earned(net.key("operator", i).address) == 3 * params.price_per_slot


def test_a_validator_proves_a_wrong_close_and_gets_the_finders_fee(tmp_path):
    with network(tmp_path, "--cheat", "wrong-close") as net:
        pool_id, _ = net.pool(rounds=2, min_slots=1, min_seats=1, probation=2, auditors=1)
        chain, poster = net.creator, net.key("orchestrator").address
        finder = net.key("validator-operator", 0).address
        params = chain.pool_params(pool_id)
        judge = net.validator(pool_id, 0)
        judge.wait_for("seated")
        worker = net.worker(pool_id, 0)
        judge.wait_for("proved", round=0, what="result")
        worker.end()
        judge.end()

        events = chain.events(pool_id=pool_id)
        disproved = [e.args for e in events if e.name == "CloseDisproved"]
        assert [(d["round"], d["finder"]) for d in disproved] == [(0, finder)]
        (proof,) = [e.args for e in events if e.name == "OuterStepDisproved"]
        assert (proof["leaf"], proof["slashed"]) == (0, params.close_bond)
        held = chain.stake_account(poster).bonded + chain.token_balance(poster)
        assert held == 1000 * TOKEN - params.close_bond
        fee = params.close_bond * params.finder_fee // 10_000
        assert fee > 0 and chain.stake_account(finder).bonded == params.seat_stake + fee

        # Right ones are left alone, nobody else pays, and the audits start from the right root.
        assert not net.findings(pool_id)
        checked = {(e["round"], e["wrong"]) for e in judge.events("close_checked")}
        assert {(0, True), (1, False)} <= checked
        assert sum(e.name == "ClosePunished" for e in events) == 1
        assert not {"Convicted", "CaseOpened", "Missed"} & {e.name for e in events}
        assert {(a["round"], a["outcome"]) for a in judge.events("audit")} == {(0, "accept"), (1, "accept")}
        assert chain.total_earned(net.key("operator", 0).address) == 2 * params.price_per_slot


def test_a_pool_that_is_ended_early_is_confirmed_and_over(tmp_path):
    with network(tmp_path) as net:
        pool_id, _ = net.pool(rounds=50, min_slots=1)
        worker = net.worker(pool_id, 0)
        worker.wait_for("closed", round=1)

        def ended() -> bool:
            try:
                net.creator.end_pool(pool_id)
            except ContractError as error:
                assert error.name == "WrongPhase"
                return False
            return True

        wait_for("a moment between two rounds", ended)
        worker.end()
        assert net.creator.pool(pool_id).ended
        last = net.creator.pool(pool_id).next_round - 1
        assert [e["round"] for e in worker.events("confirmed")] == [last]
        rounds = [e.args["round"] for e in net.creator.events(pool_id=pool_id, names=["RoundClosed"])]
        assert rounds == list(range(last))
        earned = net.creator.total_earned(net.key("operator", 0).address)
        assert earned == last * net.creator.pool_params(pool_id).price_per_slot
