"""A round whose exchange goes on while the next one is trained (`outer.delay`), with real processes."""

from pathlib import Path

from network import network
from pi_sdk.types import CodecSpec, OuterSpec

OUTER = OuterSpec(rule="nesterov", lr=45875, momentum=58982, fragments=2, mix=1 << 15, delay=1, guard=4)


def test_rounds_overlap_replay_and_survive_a_kill(tmp_path: Path):
    with network(tmp_path) as net:
        recipe = {"outer": OUTER, "codec": CodecSpec(name="dense-int8")}
        pool, spec = net.pool(3, recipe=recipe, audit_rate=10_000, min_seats=1)
        validator = net.validator(pool, 0)
        workers = [net.worker(pool, i) for i in range(2)]
        workers[0].wait_for("committed", round=1)
        workers[0].kill()
        workers[0] = net.worker(pool, 0)
        for program in (*workers, validator):
            program.end(0)
        assert net.findings(pool) == []
        assert all(worker.events("closed")[-1]["agrees"] for worker in workers)

        done = [(e["event"], e.get("round")) for e in workers[1].events()]
        for round_ in range(1, spec.rounds):  # under way before the round before it was even committed
            assert done.index(("training", round_)) < done.index(("committed", round_ - 1))
            assert done.count(("training", round_)) == 1
        audits = validator.events("audit")
        assert len(audits) == 2 * spec.rounds
        assert all((e["outcome"], e["bitwise"]) == ("accept", True) for e in audits)
