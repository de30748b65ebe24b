"""`pi-worker` as people run it: real processes on a real chain with a real orchestrator."""

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from network import TestNetwork, network, wait_for
from pi_sdk.client import Client
from pi_sdk.codec import ZERO, sha256
from pi_sdk.store import HttpStore
from pi_sdk.types import CodecSpec, Outcome, OuterSpec, Phase, Reveal
from pi_train import determinism
from pi_train.data import load_corpus
from pi_train.determinism import admitted
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, checkpoint_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNetwork]:
    with network(tmp_path_factory.mktemp("net"), keep=True) as it:
        yield it


def some_reveal() -> Reveal:
    """A slot that nobody trained; its update is in no store."""
    return Reveal(
        salt=os.urandom(32),
        start_root=sha256(b"start"),
        update_root=sha256(b"update"),
        trace_root=sha256(b"trace"),
        state_in=ZERO,
        state_out=sha256(b"state"),
        norm=1,
        width=1,
    )


def wait_for_phase(client: Client, pool_id: int, phase: Phase, round_: int = 0) -> None:
    def reached() -> bool:
        pool = client.pool(pool_id)
        return (pool.next_round, pool.phase) == (round_ + 1, phase)

    wait_for(f"{phase.name} of round {round_}", reached)


def play_commit(peer: Client, pool_id: int, round_: int) -> Reveal:
    assert peer.address is not None
    opened = some_reveal()
    peer.commit(pool_id, peer.commitment(pool_id, round_, peer.address, opened))
    return opened


def audit(net: TestNetwork, seat: Client, pool_id: int, spec, round_: int, node: str):
    """What an auditor makes of a slot with what the chain and the store say about it, and nothing else."""
    determinism.pin(determinism.default_class())
    from pi_train.replay import audit_slot

    assert seat.address is not None
    events = seat.events(pool_id=pool_id)
    revealed = next(
        e.args for e in events if e.name == "Revealed" and (e.args["round"], e.args["node"]) == (round_, node)
    )
    closed = {e.args["round"]: e.args["checkpoint_file"].hex() for e in events if e.name == "RoundClosed"}
    n = parameter_count(spec.model)
    start = closed[round_ - 1] if round_ else spec.genesis_file
    with HttpStore(net.store_url) as store:
        return audit_slot(
            spec,
            load_corpus(spec, store.get, net.folder / "cache"),
            Checkpoint.from_bytes(store.get(start, checkpoint_bytes(n, False)), n, False),
            node=node,
            round_=round_,
            reveal=Reveal(**revealed["reveal"]),
            seed=seat.verdict_round(pool_id, round_).seed,
            update=store.get(revealed["update_file"].hex(), 1 << 20),
            fetch=store.get,
            validator=seat.address,
            class_id=admitted(spec)[0].id,
        )


def test_two_workers_train_two_rounds_serve_their_evidence_and_are_paid(net: TestNetwork):
    pool_id, spec = net.pool(rounds=2, min_seats=1)
    with net.seat(pool_id, 100) as seat:
        assert seat.address is not None
        workers = [net.worker(pool_id, i) for i in range(2)]
        for round_ in range(2):
            wait_for("the seed", lambda r=round_: seat.verdict_round(pool_id, r).seed != ZERO)
            for i, worker in enumerate(workers):
                assert seat.is_audited(pool_id, round_, net.node(i))
                worker.wait_for("evidence", round=round_)
                report = audit(net, seat, pool_id, spec, round_, net.node(i))
                assert (report.outcome, report.bitwise) == (Outcome.ACCEPT, True), report.reasons
            salt = os.urandom(32)
            seat.commit_verdicts(
                pool_id, round_, seat.verdicts_commitment(pool_id, round_, seat.address, [], salt)
            )
            seat.reveal_verdicts(pool_id, round_, [], salt)
        for worker in workers:
            worker.end(0)
        roots = {
            e.args["round"]: e.args["root"].hex() for e in seat.events(pool_id=pool_id, names=["RoundClosed"])
        }
        price = seat.pool_params(pool_id).price_per_slot
        for i, worker in enumerate(workers):
            closed = worker.events("closed")
            assert [(e["root"], e["agrees"]) for e in closed] == [(roots[0], True), (roots[1], True)]
            assert [(e["round"], e["root"]) for e in worker.events("confirmed")] == [(2, roots[1])]
            assert worker.events("claimed")[0]["amount"] == 2 * price
            assert "2 rounds revealed; 0 missed" in worker.tail()
            home = worker.home / f"pool-{pool_id}"
            assert not list(home.glob("round-*/borders")) and (home / "round-1" / "journal.json").exists()
            status = net.status(i, pool_id)
            assert (status["locked"], status["member"], status["claimable"]) == (0, False, 0)
            assert status["total_earned"] == 2 * price
    assert roots[0] != roots[1]
    # The second round continued from the first one's private state.
    opened = [
        e.args["reveal"]
        for e in net.creator.events(pool_id=pool_id, names=["Revealed"])
        if e.args["node"] == net.node(0)
    ]
    assert opened[1]["state_in"] == opened[0]["state_out"] != ZERO
    # The round after them carries no work, and no pay.
    confirmed = opened[2]
    carried = [confirmed[k] for k in ("update_root", "trace_root", "state_in", "state_out", "norm")]
    assert confirmed["start_root"].hex() == roots[1] and carried == [ZERO, ZERO, ZERO, ZERO, 0]
    assert net.creator.pool(pool_id).ended and net.creator.budget(pool_id).credited == 4 * price


def test_a_worker_killed_between_commit_and_reveal_reveals_after_its_restart(net: TestNetwork):
    pool_id, _ = net.pool(rounds=1, min_train_window=5)
    with net.member(pool_id, 11) as peer:
        worker = net.worker(pool_id, 10)
        worker.wait_for("committed", round=0)
        worker.kill(signal.SIGKILL)
        before = peer.record(pool_id, 0, net.node(10)).commitment
        opened = play_commit(peer, pool_id, 0)
        wait_for_phase(peer, pool_id, Phase.REVEAL)
        again = net.worker(pool_id, 10)
        again.wait_for("revealed", round=0)
        assert peer.record(pool_id, 0, net.node(10)).commitment == before
        (trained,) = again.events("trained")
        assert trained["tokens_per_second"] > 0 and 0 < trained["mfu"] < 1
        peer.reveal(pool_id, opened, "00" * 32, net.store_url)
        again.end(0)
        assert [e["agrees"] for e in again.events("closed")] == [True]
        assert again.events("claimed")[0]["amount"] == peer.pool_params(pool_id).price_per_slot


def test_a_worker_killed_before_its_commitment_is_mined_hands_in_the_same_work(net: TestNetwork):
    """It dies with a whole journal; the restart commits that very update and trains nothing again."""
    pool_id, _ = net.pool(rounds=1, min_train_window=5)
    with net.member(pool_id, 13) as peer:
        worker = net.worker(pool_id, 12)
        journal = worker.home / f"pool-{pool_id}" / "round-0" / "journal.json"
        wait_for("the journal", journal.exists)
        worker.kill(signal.SIGKILL)
        content = journal.read_bytes()
        again = net.worker(pool_id, 12)
        opened = play_commit(peer, pool_id, 0)
        again.wait_for("revealed", round=0)
        peer.reveal(pool_id, opened, "00" * 32, net.store_url)
        again.end(0)
        assert journal.read_bytes() == content and len(again.events("training")) == 1


def test_ctrl_c_after_the_commitment_reveals_first_and_leaves(net: TestNetwork):
    pool_id, _ = net.pool(rounds=3)
    with net.member(pool_id, 21) as peer:
        worker = net.worker(pool_id, 20)
        worker.wait_for("committed", round=0)
        worker.kill(signal.SIGINT)
        wait_for("the worker to hear it", lambda: "leaving the pool" in worker.tail())
        opened = play_commit(peer, pool_id, 0)
        worker.wait_for("revealed", round=0)
        peer.reveal(pool_id, opened, "00" * 32, net.store_url)
        worker.end(0)
        assert worker.events("left")[0]["reason"] == "stopped"
        member = peer.member(pool_id, net.node(20))
        assert member is not None and member.left_at == 1
    wait_for("the end of the round", lambda: net.creator.round(pool_id, 0).closed_at)
    done = _leave(net, 20, pool_id, "--withdraw")
    assert (done["left"], done["locked"], done["done"]) == (False, 0, False)
    params, operator = net.creator.pool_params(pool_id), net.key("operator", 20).address
    assert done["unbonding"] == params.stake_per_slot and done["ready_at"] > net.creator.now()
    pay = params.price_per_slot
    assert net.creator.token_balance(operator) == pay  # claimed here, or when the worker ended
    # Once more before the time changes nothing; afterwards everything is out.
    again = _leave(net, 20, pool_id, "--withdraw")
    assert (again["ready_at"], again["withdrawn"]) == (done["ready_at"], 0)
    net.chain.mine(seconds=done["ready_at"] - net.creator.now() + 1)
    last = _leave(net, 20, pool_id, "--withdraw")
    assert (last["withdrawn"], last["unbonding"], last["done"]) == (params.stake_per_slot, 0, True)
    assert net.creator.token_balance(operator) == pay + params.stake_per_slot
    account = net.creator.stake_account(operator)
    assert (account.bonded, account.unbonding) == (0, 0)


def _leave(net: TestNetwork, i: int, pool_id: int, *more: str) -> dict:
    done = net.command(i, "leave", "--pool", pool_id, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ctrl_c_between_rounds_leaves_at_once_and_a_later_join_comes_back(net: TestNetwork):
    pool_id, _ = net.pool(rounds=1)
    for again in range(2):
        worker = net.worker(pool_id, 30)
        wait_for("the join", lambda w=worker, n=again: len(w.events("joined")) == n + 1)
        if not again:
            second = net.command(30, "join", "--pool", pool_id)
            assert second.returncode == 2 and "is in use" in second.stderr
        worker.kill(signal.SIGINT)
        worker.end(0)
        member = net.creator.member(pool_id, net.node(30))
        assert member is not None and (member.next_width, member.left_at) == (0, 1)
        assert net.creator.stake_account(net.key("operator", 30).address).locked == 0


def test_a_fast_worker_takes_the_slots_that_the_slowest_leaves_time_for(net: TestNetwork):
    pool_id, _ = net.pool(rounds=9)
    with net.member(pool_id, 61) as slow:
        worker = net.worker(pool_id, 60, "--width", "auto")
        for round_ in range(5):
            worker.wait_for("committed", round=round_)
            if round_ < 3:
                time.sleep(4)  # what it trains takes a fraction of a second
            opened = play_commit(slow, pool_id, round_)
            worker.wait_for("revealed", round=round_)
            slow.reveal(pool_id, opened, "00" * 32, net.store_url)
        widest = slow.pool_params(pool_id).max_width
        assert [e["width"] for e in worker.events("width")] == [widest]
        reveals = [e.args for e in slow.events(pool_id=pool_id, names=["Revealed"])]
        widths = [r["reveal"]["width"] for r in reveals if r["node"] == net.node(60)]
        assert widths[:3] == [1, 1, 1] and widths[4] == widest
        worker.kill()


def test_so_it_does_where_slots_are_trained_ahead(net: TestNetwork):
    outer = OuterSpec(rule="nesterov", lr=45875, momentum=58982, fragments=2, delay=1)
    recipe = {"outer": outer, "codec": CodecSpec(name="dense-int8")}
    pool_id, _ = net.pool(rounds=9, recipe=recipe, reveal_window=30)
    with net.member(pool_id, 63) as slow:
        worker = net.worker(pool_id, 62, "--width", "auto")
        for round_ in range(6):
            worker.wait_for("committed", round=round_)
            opened = play_commit(slow, pool_id, round_)
            worker.wait_for("revealed", round=round_)
            time.sleep(4)  # the slot of the next round lies ready
            slow.reveal(pool_id, opened, "00" * 32, net.store_url)
        widest = slow.pool_params(pool_id).max_width
        assert [e["width"] for e in worker.events("width")] == [widest]
        reveals = [e.args for e in slow.events(pool_id=pool_id, names=["Revealed"])]
        widths = [r["reveal"]["width"] for r in reveals if r["node"] == net.node(62)]
        assert widths[:3] == [1, 1, 1] and widths[-1] == widest
        worker.kill()


@pytest.mark.parametrize("kept", [False, True], ids=["both", "one of two"])
def test_a_commitment_that_the_chain_forgets_is_made_again(net: TestNetwork, kept: bool):
    """The chain goes back to before the commitments, or to between them, while their updates are being
    uploaded. Whose commitment is still there finds that it is too early for its reveal, and waits."""
    pool_id, spec = net.pool(rounds=4)
    nodes = (82, 83) if kept else (80, 81)
    first, second = workers = [net.worker(pool_id, i) for i in nodes]
    for worker in workers:
        worker.wait_for("revealed", round=0)
        worker.kill(signal.SIGSTOP)
    wait_for("round 1", lambda: net.creator.pool(pool_id).next_round == 2)
    if kept:
        first.kill(signal.SIGCONT)
        first.wait_for("committed", round=1)
    before = net.chain.rpc("evm_snapshot")
    for worker in workers:
        worker.kill(signal.SIGCONT)
        worker.wait_for("trained", round=1)
    net.orchestrator.kill(signal.SIGSTOP)
    for worker in workers:
        worker.wait_for("committed", round=1)
    time.sleep(2)  # until they wait for the store
    second.kill(signal.SIGSTOP)
    assert net.chain.rpc("evm_revert", before)
    net.orchestrator.kill(signal.SIGCONT)
    time.sleep(2)  # until the first has tried to reveal
    second.kill(signal.SIGCONT)
    for worker in workers:
        worker.end(0)
        assert not worker.events("missed")
    # A slow machine may have the chain go back over later rounds, too.
    times = [[e["round"] for e in worker.events("committed")].count(1) for worker in workers]
    assert times == ([1, 2] if kept else [2, 2])
    price = net.creator.pool_params(pool_id).price_per_slot
    for i in nodes:
        assert net.creator.total_earned(net.key("operator", i).address) == spec.rounds * price


def test_workers_outlive_a_node_and_an_orchestrator_that_are_killed(net: TestNetwork):
    pool_id, _ = net.pool(rounds=3)
    workers = [net.worker(pool_id, i) for i in (50, 51)]
    for worker in workers:
        worker.wait_for("committed", round=1)
    net.orchestrator.kill(signal.SIGKILL)
    net.chain.kill()
    net.chain.start()
    net.start_orchestrator()
    for worker in workers:
        worker.end(0)
        assert [e["agrees"] for e in worker.events("closed")][-3:] == [True] * 3
        assert not worker.events("missed")
        # A chain that forgot its last second may have asked for the same work twice; it is the same work.
        assert {e["round"] for e in worker.events("revealed")} == {0, 1, 2}
        assert {e["round"] for e in worker.events("confirmed")} == {3}
    price = net.creator.pool_params(pool_id).price_per_slot
    assert [net.creator.total_earned(net.key("operator", i).address) for i in (50, 51)] == [3 * price] * 2


def test_what_cannot_work_ends_with_one_line(net: TestNetwork):
    pool_id, spec = net.pool(rounds=1)
    elsewhere = net.creator.create_pool(spec, net.creator.pool_params(pool_id), "http://127.0.0.1:9")
    net.chain.give_gas(net.key("operator", 40).address)
    for arguments, code, message in [
        (["join", "--pool", 99], 1, "no pool 99"),
        (["join", "--pool", pool_id], 1, "lacks 100"),
        (["join", "--pool", elsewhere], 1, "http://127.0.0.1:9"),
        (["join", "--pool", pool_id, "--width", 200], 2, "widths from 1 to 4"),
        (["join", "--pool", pool_id, "--network", "base"], 2, "raw private key"),
        (["claim", "--pool", pool_id], 1, "never been a member"),
        (["leave", "--pool", pool_id], 1, "never been a member"),
        (["status", "--pool", 99], 1, "no pool 99"),
        (["join", "--pool", "x"], 2, "Usage"),
    ]:
        done = net.command(40, *arguments)
        assert done.returncode == code and message in done.stderr, (arguments, done)
        if message != "Usage":
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    assert net.creator.stake_account(net.key("operator", 40).address).bonded == 0
