"""kill -9 of the orchestrator, of a worker and of a validator in the middle of a round: the run goes on
to its end, nobody honest loses stake, and everybody's pay is whole."""

import json

import pytest
from click.testing import CliRunner
from network import network
from pi_sdk.cli import pi
from pi_sdk.client import Client
from pi_sdk.store import LocalStore
from pi_validator.run_audit import RunAudit

ROUNDS = 4
WORKERS = 2
VALIDATORS = 3


@pytest.mark.slow
def test_a_run_survives_kill_9_of_anybody(tmp_path):
    with network(tmp_path) as net:
        pool_id, _ = net.pool(
            ROUNDS, min_slots=WORKERS, min_seats=VALIDATORS, probation=ROUNDS, verdict_reveal_window=300
        )
        workers = [net.worker(pool_id, i) for i in range(WORKERS)]
        validators = [net.validator(pool_id, i) for i in range(VALIDATORS)]

        # A worker between training and reveal: salt and update are on disk, or the round is trained again.
        workers[0].wait_for("trained", round=0)
        workers[0].kill()
        workers[0] = net.worker(pool_id, 0)

        # The orchestrator while a round is under way.
        workers[1].wait_for("training", round=1)
        net.orchestrator.kill()
        net.start_orchestrator()

        # A validator between its verdict commitment and its reveal, or a little later.
        validators[2].wait_for("verdicts_committed", round=1)
        validators[2].kill()
        validators[2] = net.validator(pool_id, 2)

        for program in workers + validators:
            program.end(0)
        chain, params = net.creator, net.creator.pool_params(pool_id)
        events = chain.events(pool_id=pool_id)
        names = [e.name for e in events]
        assert names.count("RoundClosed") == ROUNDS
        assert not {"Missed", "Convicted", "CaseOpened"} & set(names)
        assert not chain.events(names=["Slashed"])
        assert all(e["agrees"] for worker in workers for e in worker.events("closed"))
        for i in range(WORKERS):
            operator = net.key("operator", i).address
            assert chain.total_earned(operator) == ROUNDS * params.price_per_slot
            assert chain.stake_account(operator).bonded == params.stake_per_slot
        _audited(net, pool_id)
        judged = sum(len(e.args["verdicts"]) for e in events if e.name == "VerdictsRevealed")
        assert judged == ROUNDS * WORKERS * params.auditors


def _audited(net, pool_id: int) -> None:
    """The whole run holds, and one changed byte is found where it is."""
    command = ["audit", str(pool_id), "--rpc-url", net.chain.url]
    done = CliRunner().invoke(pi, [*command, "--json"], catch_exceptions=False)
    answer = json.loads(done.stdout)
    assert done.exit_code == 0 and answer["ok"], answer["findings"]
    work = ROUNDS * WORKERS
    expected = {"starts": ROUNDS + 1, "reveals": work + WORKERS, "updates": work, "outer steps": ROUNDS}
    assert expected.items() <= answer["checked"].items()
    assert answer["root"] == net.creator.pool(pool_id).checkpoint_root.hex()

    events = net.creator.events(pool_id=pool_id)
    reveal = next(e.args for e in events if e.name == "Revealed" and e.args["round"] == 2)
    close = next(e.args for e in events if e.name == "RoundClosed" and e.args["round"] == 1)
    blobs = LocalStore(net.folder / "orchestrator" / "blobs")
    for file, round_, what in [
        (reveal["update_file"], 2, f"update of {reveal['node']}"),
        (close["checkpoint_file"], 1, "checkpoint"),
    ]:
        path = blobs.path_of(file.hex())
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with Client("local", rpc_url=net.chain.url) as client:
            (first, *_) = RunAudit(client, pool_id, blobs).run()
        assert (first.round, first.what) == (round_, what), first
        path.write_bytes(whole)
