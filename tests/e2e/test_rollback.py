"""A creator that takes its run back to an older checkpoint: everybody follows, everybody is paid."""

import json
import os
import subprocess
from pathlib import Path

from network import BIN, TestNetwork, network, wait_for
from pi_sdk.types import Phase


def roll_back(net: TestNetwork, pool: int, to: int, role: str = "creator") -> subprocess.CompletedProcess:
    command = [BIN / "pi", "pool", "rollback", pool, "--to", to, "--rpc-url", net.chain.url, "--json"]
    keys = {"PI_PRIVATE_KEY": "0x" + net.key(role).key.hex()}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={**os.environ, **keys}
    )


def test_a_run_goes_back_to_an_older_checkpoint(tmp_path: Path):
    with network(tmp_path) as net:
        pool, spec = net.pool(6, min_seats=1)
        assert "no pool" in roll_back(net, 9, 0).stderr
        assert "only its creator" in roll_back(net, pool, 1, "orchestrator").stderr
        assert "not one to go back to" in roll_back(net, pool, 77).stderr
        validator = net.validator(pool, 0)
        workers = [net.worker(pool, i) for i in range(2)]
        wait_for("the third round", lambda: net.creator.pool(pool).next_round >= 3)
        done = roll_back(net, pool, 1)
        assert done.returncode == 0, done.stderr
        back = json.loads(done.stdout)["round"]
        for program in (*workers, validator):
            program.end(0)

        starts = {e.args["round"]: e.args["start_root"] for e in net.creator.events(names=["RoundOpened"])}
        assert starts[back] == starts[1] != starts[back - 1] and len(set(starts.values())) == len(starts) - 1
        pool_info = net.creator.pool(pool)
        assert pool_info.ended and pool_info.phase != Phase.COMMIT
        reveals = {
            (e.args["round"], e.args["node"]): e.args["reveal"]
            for e in net.creator.events(names=["Revealed"], pool_id=pool)
        }
        price = net.creator.pool_params(pool).price_per_slot
        for i, worker in enumerate(workers):
            said = [(e["round"], e["to"], e["root"]) for e in worker.events("rolled_back")]
            assert (back, 1, starts[1].hex()) in said
            assert worker.events("claimed")[0]["amount"] == spec.rounds * price
            assert reveals[back, net.node(i)]["state_in"] == bytes(32)  # the old one is of what was given up
        assert {a["outcome"] for a in validator.events("audit")} == {"accept"}
        assert net.findings(pool) == []
