"""kill -9 of the orchestrator, of a worker and of a validator in the middle of a round: the run goes on
to its end, nobody honest loses stake, and everybody's pay is whole."""

import pytest
from network import network

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
        judged = sum(len(e.args["verdicts"]) for e in events if e.name == "VerdictsRevealed")
        assert judged == ROUNDS * WORKERS * params.auditors
