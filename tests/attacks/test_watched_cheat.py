"""A cheat that no draw would audit: the screens see it, a seat has the court audit it. Real processes."""

import pytest
from network import network
from pi_sdk.status import run_status
from pi_sdk.types import CaseStatus


@pytest.mark.slow
def test_a_cheat_that_is_hardly_ever_drawn_is_watched_and_convicted(tmp_path):
    with network(tmp_path) as net:
        # One slot in 10,000 is drawn, from the first round on: what is audited here was watched.
        pool, spec = net.pool(
            12, audit_segments=2, audit_rate=1, probation=0, min_slots=4, min_seats=2, auditors=1
        )
        workers = [net.worker(pool, i) for i in range(3)] + [net.worker(pool, 3, "--cheat", "scaled-update")]
        judges = [net.validator(pool, i) for i in range(2)]
        for program, code in (*zip(workers, (0, 0, 0, 1), strict=True), *((judge, 0) for judge in judges)):
            program.end(code)

        client, cheat = net.creator, net.node(3)
        events = client.events(pool_id=pool, names=["Watched"])
        watched = {(e.args["round"], e.args["node"]) for e in events}
        assert any(node == cheat for _, node in watched)
        told = [w for w in run_status(client, pool)["watched"] if w["node"] == cheat]
        assert told and told[0]["validator"] in [net.key("validator-node", i).address for i in range(2)]
        cases = [client.case(i + 1) for i in range(client.case_count())]
        assert [case.status for case in cases if case.node == cheat][0] == CaseStatus.CONVICTED
        assert {(case.round, case.node) for case in cases} <= watched and {case.node for case in cases} == {
            cheat
        }
        screened = [e for judge in judges for e in judge.events("screened") if "norm" in e["flags"]]
        assert {e["node"] for e in screened} == {cheat}
        price = client.pool_params(pool).price_per_slot
        for i in range(3):
            assert client.total_earned(net.key("operator", i).address) == spec.rounds * price
        assert net.findings(pool) == []
