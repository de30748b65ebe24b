"""A planted slot: judged like any other, convicted, and its node loses nothing; with real processes."""

import json
import subprocess
from pathlib import Path

import pytest
from network import BIN, TestNetwork, network
from pi_sdk.errors import ConfigError
from pi_sdk.plants import Plants
from pi_sdk.types import CaseStatus


def plant(net: TestNetwork, key: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BIN / "pi", "pool", "plant", *map(str, words), "--rpc-url", net.chain.url, "--json"],
        capture_output=True,
        text=True,
        env={"PI_PRIVATE_KEY": "0x" + net.key(key).key.hex()},
    )


def test_planted_slot_is_convicted_and_costs_its_node_nothing(tmp_path: Path):
    with network(tmp_path) as net:
        pool, spec = net.pool(2, audit_rate=10_000, min_seats=2, auditors=1)
        file = tmp_path / "plants.json"
        words = (pool, "--node", net.node(1), "--round", 0, "--out", file)
        assert "only its creator" in plant(net, "operator", *words).stderr and not file.exists()
        done = plant(net, "creator", *words)
        assert json.loads(done.stdout)["rounds"] == [0], done.stderr
        assert "exists" in plant(net, "creator", *words).stderr

        validators = [net.validator(pool, i) for i in range(2)]
        workers = [net.worker(pool, 0), net.worker(pool, 1, "--plants", file)]
        for program in (*workers, *validators):
            program.end(0)
        assert workers[1].events("plant_opened")[0]["round"] == 0

        (case,) = [net.creator.case(i + 1) for i in range(net.creator.case_count())]
        assert (case.node, case.round, case.status) == (net.node(1), 0, CaseStatus.CONVICTED)
        assert net.creator.is_planted(pool, 0, net.node(1))
        member = net.creator.member(pool, net.node(1))
        assert member is not None and not member.convicted
        price = net.creator.pool_params(pool).price_per_slot
        assert net.creator.total_earned(net.key("operator", 1).address) == spec.rounds * price
        assert net.creator.stake_account(net.key("operator", 1).address).locked == 0
        assert net.findings(pool) == []


def test_plants_of_another_node_are_refused(tmp_path: Path):
    file, node = tmp_path / "plants.json", "0x" + "11" * 20
    file.write_text(Plants(pool_id=1, node=node, salts={3: "ab" * 32}).model_dump_json())
    assert Plants.load(file, 1, node).salts == {3: "ab" * 32}
    for pool, other in ((2, node), (1, "0x" + "22" * 20)):
        with pytest.raises(ConfigError):
            Plants.load(file, pool, other)
    file.write_text("{")
    with pytest.raises(ConfigError):
        Plants.load(file, 1, node)
