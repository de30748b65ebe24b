"""Validators that do not judge, beside those who do: processes on a real chain."""

import pytest
from network import network
from pi_sdk.types import CaseStatus, Outcome

WINDOWS = {
    "reveal_window": 60,
    "verdict_window": 120,
    "verdict_reveal_window": 60,
    "vote_window": 120,
    "vote_reveal_window": 60,
    "appeal_window": 16,
}


@pytest.mark.slow
def test_a_lazy_validator_and_a_false_accuser_lose_stake_and_change_nothing(tmp_path):
    with network(tmp_path) as net:
        # All four seats audit both slots; a jury has the three that did not accuse.
        pool_id, _ = net.pool(rounds=1, audit_segments=2, min_slots=2, min_seats=4, auditors=4, **WINDOWS)
        workers = [net.worker(pool_id, 0), net.worker(pool_id, 1, "--cheat", "forward-only")]
        cheats = ((), (), ("--cheat", "lazy"), ("--cheat", "false-accuser"))
        judges = [net.validator(pool_id, i, *cheat) for i, cheat in enumerate(cheats)]
        for judge in judges:
            judge.end()
        for worker, code in zip(workers, (0, 1), strict=True):
            worker.end(code)

        client, params = net.creator, net.creator.pool_params(pool_id)
        nodes = [net.key("validator-node", i).address for i in range(4)]
        cases = {case.node: case for case in map(client.case, range(1, client.case_count() + 1))}
        honest, cheat = cases[net.node(0)], cases[net.node(1)]
        assert (honest.status, honest.accuser) == (CaseStatus.ACQUITTED, nodes[3])
        assert (cheat.status, cheat.fault) == (CaseStatus.CONVICTED, Outcome.MISMATCH)
        assert client.total_earned(honest.operator) == params.price_per_slot
        assert client.stake_account(honest.operator).bonded == params.stake_per_slot

        lost: dict[str, list[int]] = {}
        for event in client.events(names=["Slashed"]):
            lost.setdefault(event.args["operator"], []).append(event.args["amount"])
        lazy, liar = (net.key("validator-operator", i).address for i in (2, 3))
        # Its verdict and its vote on the cheat were overturned, which costs more than all its fees.
        assert lost.pop(lazy) == [params.slash_overturned] * 2
        assert client.total_earned(lazy) < params.slash_overturned
        assert params.slash_false_accusation in lost.pop(liar)
        assert lost.keys() == {cheat.operator}
