"""Validators as processes on a real chain, with a real orchestrator and real workers."""

import json
import os
import signal
import subprocess

import pytest
from network import BIN, PATIENCE, TestNetwork, network, wait_for
from pi_sdk.results import CaseInfo
from pi_sdk.types import CaseStatus, Outcome

pytestmark = pytest.mark.slow

SEATS = 3
WINDOWS = {
    "min_seats": SEATS,
    "verdict_window": 120,
    "verdict_reveal_window": 60,
    "vote_window": 120,
    "vote_reveal_window": 60,
    "reveal_window": 60,
}


def command(net: TestNetwork, pool_id: int, i: int, name: str) -> dict:
    """A short `pi-validator` command with --json as validator i."""
    argv = [BIN / "pi-validator", name, "--pool", pool_id, "--home", net.folder / f"validator-{i}"]
    done = subprocess.run(
        [str(a) for a in [*argv, "--rpc-url", net.chain.url, "--json"]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={
            **os.environ,
            "PI_PRIVATE_KEY": "0x" + net.key("validator-operator", i).key.hex(),
            "PI_NODE_KEY": "0x" + net.key("validator-node", i).key.hex(),
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_honest_are_paid_and_a_cheat_is_slashed_by_a_jury(tmp_path):
    with network(tmp_path) as net:
        # Both segments are replayed: the cheat fakes the second half. The last seat lets the run begin.
        pool_id, spec = net.pool(rounds=3, audit_segments=2, min_slots=1, **WINDOWS)
        workers = [net.worker(pool_id, i, *(["--cheat", "half-steps"] if i == 2 else [])) for i in range(3)]
        judges = [net.validator(pool_id, i, *["--evaluate"] * (i == 0)) for i in range(SEATS - 1)]
        for worker in workers:
            worker.wait_for("joined")
        judges.append(net.validator(pool_id, SEATS - 1))
        for judge in judges:
            judge.end()
        for worker, code in zip(workers, (0, 0, 1), strict=True):
            worker.end(code)

        client, params = net.creator, net.creator.pool_params(pool_id)
        for i in range(2):
            member = client.member(pool_id, net.node(i))
            assert not member.convicted
            assert client.total_earned(member.operator) == spec.rounds * params.price_per_slot
        cheat = client.member(pool_id, net.node(2))
        assert cheat.convicted
        assert client.total_earned(cheat.operator) == 0
        cases: list[CaseInfo] = [client.case(i) for i in range(1, client.case_count() + 1)]
        assert cases and {case.node for case in cases} == {net.node(2)}
        assert all(c.status == CaseStatus.CONVICTED and c.fault == Outcome.MISMATCH for c in cases)
        account = client.stake_account(cheat.operator)
        taken = min(len(cases) * params.slash_conviction, params.stake_per_slot)
        assert account.bonded == params.stake_per_slot - taken
        slashes = [e.args for e in client.events(names=["Slashed"])]
        assert sum(s["amount"] for s in slashes) == taken

        for i, judge in enumerate(judges):
            audits = judge.events("audit")
            assert {a["outcome"] for a in audits if a["node"] != net.node(2)} <= {"accept"}
            assert all(a["bitwise"] for a in audits if a["outcome"] == "accept")
            assert {a["outcome"] for a in audits if a["node"] == net.node(2)} <= {"mismatch"}
            slots = [(a["round"], a["node"]) for a in audits]
            assert len(set(slots)) == len(slots), "a slot is replayed once, for the verdict and for the vote"
            operator = net.key("validator-operator", i).address
            verdicts = sum(len(e["verdicts"]) for e in judge.events("verdicts_revealed"))
            votes = len(judge.events("voted"))
            fees = (verdicts + votes) * params.verdict_fee
            found = sum(s["finder_fee"] for s in slashes if s["finder"] == operator)
            assert client.total_earned(operator) == fees
            assert judge.events("claimed")[-1]["amount"] == fees
            account = client.stake_account(operator)
            assert account.locked == 0 and account.bonded == params.seat_stake + found

        words = [BIN / "pi", "audit", pool_id, "--rpc-url", net.chain.url, "--json"]
        words += ["--replay", 100, "--cache", tmp_path / "corpus"]
        audit = subprocess.run([*map(str, words)], capture_output=True, text=True)
        found = json.loads(audit.stdout)
        assert (audit.returncode, found["findings"]) == (0, []), (
            "what a cheat forfeits is part of a right run"
        )
        drawn = {(a["round"], a["node"]) for judge in judges for a in judge.events("audit")}
        checked = found["checked"]
        assert checked["replays"] > 3 and checked.get("slots without evidence", 0) + checked[
            "replays"
        ] >= len(drawn)
        losses = judges[0].events("val_loss")
        assert [e["round"] for e in losses] == [-1, 0, 1, 2]
        assert command(net, pool_id, 0, "status")["seat"] is None
        assert command(net, pool_id, 0, "leave")["released"]


def test_killed_between_commit_and_reveal_it_reveals_after_a_restart(tmp_path):
    with network(tmp_path) as net:
        pool_id, _ = net.pool(rounds=2, min_slots=2, **WINDOWS | {"min_seats": 2})
        first, second = net.validator(pool_id, 0), net.validator(pool_id, 1)
        for i in range(2):
            net.worker(pool_id, i)
        node = net.key("validator-node", 0).address
        first.wait_for("seated")
        second.wait_for("seated")
        # With the other one asleep nobody can reveal yet, so the kill comes surely in between.
        wait_for("a seed", lambda: net.creator.events(pool_id=pool_id, names=["SeedCaptured"]))
        second.kill(signal.SIGSTOP)
        first.wait_for("verdicts_committed", round=0)
        first.kill()
        assert not first.events("verdicts_revealed")
        second.kill(signal.SIGCONT)
        again = net.validator(pool_id, 0)
        revealed = again.wait_for("verdicts_revealed", round=0)
        assert revealed["verdicts"]
        again.end()
        second.end()
        events = net.creator.events(pool_id=pool_id, names=["VerdictsCommitted", "VerdictsRevealed"])
        mine = [(e.name, e.args["round"]) for e in events if e.args["validator"] == node]
        assert sorted(mine) == sorted(
            (name, round_) for name in ("VerdictsCommitted", "VerdictsRevealed") for round_ in (0, 1)
        )


def test_ctrl_c_gives_the_seat_up_and_frees_the_stake(tmp_path):
    with network(tmp_path) as net:
        pool_id, _ = net.pool(rounds=2, **WINDOWS | {"min_seats": 2})
        seated = net.validator(pool_id, 0)
        seated.wait_for("seated")
        assert command(net, pool_id, 0, "status")["locked"] == net.creator.pool_params(pool_id).seat_stake
        seated.kill(signal.SIGINT)
        seated.end()
        standing = command(net, pool_id, 0, "status")
        assert standing["seat"] is None and standing["locked"] == 0
        assert seated.events("left")


def test_a_cheat_appeals_in_vain_to_a_larger_jury(tmp_path):
    with network(tmp_path) as net:
        # One juror of the three seats first, then the two who are neither side's.
        rules = WINDOWS | {"jury_size": 1, "appeal_window": 40}
        pool_id, _ = net.pool(rounds=1, audit_segments=2, min_slots=2, **rules)
        workers = [net.worker(pool_id, 0), net.worker(pool_id, 1, "--cheat", "half-steps")]
        judges = [net.validator(pool_id, i) for i in range(SEATS)]
        client, params = net.creator, net.creator.pool_params(pool_id)

        def decided() -> list:
            assert not any(judge.popen.poll() for judge in judges), [judge.tail() for judge in judges]
            return client.events(pool_id=pool_id, names=["CaseDecided"])

        wait_for("the first jury", decided)
        case = client.case(1)
        assert (case.node, case.status, case.guilty_outcome) == (net.node(1), CaseStatus.DECIDED, True)
        client.mint(case.operator, params.appeal_bond)
        done = net.command(1, "appeal", 1, "--pool", pool_id, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"case": 1, "bond": params.appeal_bond}

        for judge in judges:
            judge.end()
        for worker, code in zip(workers, (0, 1), strict=True):
            worker.end(code)
        case = client.case(1)
        assert (case.status, case.level, case.guilty) == (CaseStatus.CONVICTED, 1, 2)
        events = client.events(pool_id=pool_id)
        ended = [e.args for e in events if e.name == "AppealEnded"]
        assert [(e["appellant"], e["won"]) for e in ended] == [(case.operator, False)]
        # Whoever sat on the first jury voted anew; nobody was absent, and no judgement was overturned.
        votes = [(e["case"], e["level"], e["outcome"]) for judge in judges for e in judge.events("voted")]
        assert sorted(votes) == [(1, 0, "mismatch"), (1, 1, "mismatch"), (1, 1, "mismatch")]
        assert not {"AbsencePunished", "OverturnPunished"} & {e.name for e in events}
        slashed = params.slash_conviction + params.appeal_bond
        assert (
            client.stake_account(case.operator).bonded == params.stake_per_slot + params.appeal_bond - slashed
        )


def test_evidence_that_is_served_to_the_jury_acquits(tmp_path):
    with network(tmp_path) as net:
        rules = WINDOWS | {"verdict_window": 50, "jury_size": 1, "appeal_window": 10}
        pool_id, _ = net.pool(rounds=1, min_slots=1, **rules)
        judges = [net.validator(pool_id, i) for i in range(SEATS)]
        worker = net.worker(pool_id, 0)
        # It dies before the seed says what to serve, and comes back once it is accused.
        worker.wait_for("revealed", round=0)
        worker.kill()
        client, params = net.creator, net.creator.pool_params(pool_id)
        wait_for("the accusation", lambda: client.events(pool_id=pool_id, names=["CaseOpened"]))
        again = net.worker(pool_id, 0)
        for judge in judges:
            judge.end()
        again.end()

        case = client.case(1)
        assert (case.node, case.fault, case.status) == (net.node(0), Outcome.WITHHELD, CaseStatus.ACQUITTED)
        assert [e["outcome"] for judge in judges for e in judge.events("voted")] == ["accept"]
        account = client.stake_account(case.operator)
        assert account.bonded == params.stake_per_slot and account.open_cases == 0
        assert client.total_earned(case.operator) == params.price_per_slot
        # The accuser may have been right when it spoke, so it pays for an overturned verdict only.
        slashes = [e.args for e in client.events(names=["Slashed"])]
        accuser = client.operator_of(case.accuser)
        assert [(s["operator"], s["amount"]) for s in slashes] == [(accuser, params.slash_overturned)]


def test_a_seat_that_does_nothing_is_reported_and_pays(tmp_path):
    with network(tmp_path) as net:
        rules = WINDOWS | {
            "min_seats": 2,
            "verdict_window": 45,
            "verdict_reveal_window": 20,
            "appeal_window": 20,
        }
        pool_id, _ = net.pool(rounds=1, min_slots=1, **rules)
        with net.seat(pool_id, 100) as idle:
            judge = net.validator(pool_id, 0)
            judge.wait_for("seated")
            worker = net.worker(pool_id, 0)
            judge.wait_for("verdicts_revealed", round=0)
            judge.end()
            worker.end()
            punished = [e.args for e in idle.events(names=["AbsencePunished"])]
            params = idle.pool_params(pool_id)
            assert [(p["round"], p["validator"], p["slashed"]) for p in punished] == [
                (0, idle.address, params.slash_absence)
            ]
            operator = net.key("validator-operator", 0).address
            assert idle.stake_account(operator).bonded == params.seat_stake
