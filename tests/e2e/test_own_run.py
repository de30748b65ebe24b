"""From `pi sim` to a pool: what was tried in one process is created, uploaded, trained and audited on a
chain, through the same checkpoints."""

import json
import os
import subprocess
from pathlib import Path

from network import BIN, network


def pi(*words: object, key: str = "") -> subprocess.CompletedProcess:
    env = os.environ | ({"PI_PRIVATE_KEY": key} if key else {})
    return subprocess.run([BIN / "pi", *map(str, words)], capture_output=True, text=True, env=env)


def test_a_simulated_run_becomes_a_pool(tmp_path: Path):
    texts, tried, place = tmp_path / "texts", tmp_path / "tried", tmp_path / "net"
    for folder in (texts, place):
        folder.mkdir()
    for i in range(60):
        (texts / f"{i}.txt").write_text(f"{i} the quick brown fox jumps over the lazy dog\n" * 20)
    rules = ["--data", texts, "--workers", 2, "--rounds", 3, "--steps", 4, "--batch", 2, "--method", "muloco"]
    simulated = pi("sim", *rules, "--out", tried, "--json")
    assert simulated.returncode == 0, simulated.stderr
    only = pi("sim", *rules, "--out", tmp_path / "only", "--only-rules", "--json")
    spec = Path(json.loads(only.stdout)["spec"])
    assert spec.read_bytes() == (tried / "spec.json").read_bytes()
    assert not (tmp_path / "only" / "run").exists()

    with network(place) as net:
        windows = dict.fromkeys(
            ("min_train_window", "max_train_window", "reveal_window", "verdict_window"), 300
        )
        terms = windows | {"min_slots": 2, "min_seats": 1, "appeal_window": 8}
        (tmp_path / "params.json").write_text(json.dumps(terms))
        key = "0x" + net.key("creator").key.hex()
        net.creator.mint(net.creator.sender.address, 10**21)
        where = ["--rpc-url", net.chain.url, "--json"]
        options = ["--spec", spec, "--params", tmp_path / "params.json", "--store", net.store_url]
        options += ["--orchestrator", net.key("orchestrator").address, "--fund", 400, "--unsound", *where]

        (tmp_path / "empty").mkdir()
        lacking = pi("pool", "create", *options, "--artifacts", tmp_path / "empty", key=key)
        assert lacking.returncode == 1 and "does not hold the first checkpoint" in lacking.stderr
        assert net.creator.pool_count() == 0, "it looks before it sends anything"
        created = pi("pool", "create", *options, "--artifacts", tmp_path / "only" / "artifacts", key=key)
        assert created.returncode == 0, created.stderr
        pool = json.loads(created.stdout)["pool_id"]
        again = ["--artifacts", tmp_path / "only" / "artifacts", *where]
        uploaded = pi("pool", "upload", pool, "--spec", spec, *again, key=key)
        assert json.loads(uploaded.stdout) == {"pool_id": pool, "files": 0}
        (tmp_path / "other.json").write_text(spec.read_text().replace('"name":"pi"', '"name":"other"'))
        refused = pi("pool", "upload", pool, "--spec", tmp_path / "other.json", *again, key=key)
        assert refused.returncode == 2 and "is not the RunSpec of pool" in refused.stderr

        validator = net.validator(pool, 0)
        workers = [net.worker(pool, i) for i in range(2)]
        for program in (*workers, validator):
            program.end(0)
        assert net.findings(pool) == []
        closed = [e.args["root"].hex() for e in net.creator.events(names=["RoundClosed"], pool_id=pool)]
    records = (tried / "run" / "state" / "rounds.jsonl").read_text().splitlines()
    assert closed == [json.loads(line)["root"] for line in records]
