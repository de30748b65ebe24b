"""Keys: Foundry's keystores, node keys in a home, raw keys on the local chain only; networks and the
agents' event log."""

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account
from pi_sdk import (
    ConfigError,
    Deployment,
    EventLog,
    UsageError,
    derived_key,
    dev_key,
    get_network,
    load_account,
    local_deployment,
    node_key,
    read_events,
)
from pi_sdk.deployment import Plan
from pi_sdk.networks import DEV_DEPLOYER, create_address, write_deployment

KEY = "0x" + "11" * 32


@pytest.fixture
def keystores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keystores"
    folder.mkdir()
    (folder / "alice").write_text(json.dumps(Account.encrypt(KEY, "secret", kdf="pbkdf2", iterations=2)))
    monkeypatch.setenv("ETH_KEYSTORE", str(folder))
    monkeypatch.delenv("ETH_PASSWORD", raising=False)
    return folder


def test_a_keystore_opens_with_its_password(keystores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = Account.from_key(KEY).address
    assert load_account("alice", password="secret", chain_id=8453).address == expected
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("ETH_PASSWORD", str(tmp_path / "password"))
    assert load_account("alice", chain_id=8453).address == expected


def test_keystore_problems_say_what_to_do(keystores: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="wrong password"):
        load_account("alice", password="wrong", chain_id=8453)
    for name in ("bob", "../alice"):
        with pytest.raises(ConfigError, match="there are: alice"):
            load_account(name, password="secret", chain_id=8453)
    with pytest.raises(ConfigError, match="--account"):
        load_account(chain_id=8453)
    (keystores / "broken").write_text("{")
    with pytest.raises(ConfigError, match="no version-3 keystore"):
        load_account("broken", password="secret", chain_id=8453)
    monkeypatch.setenv("ETH_PASSWORD", str(keystores / "absent"))
    with pytest.raises(ConfigError, match="cannot read ETH_PASSWORD"):
        load_account("alice", chain_id=8453)


def test_raw_keys_are_for_the_local_chain():
    assert load_account(private_key=KEY, chain_id=31337).address == Account.from_key(KEY).address
    with pytest.raises(UsageError, match="refused on chain 8453"):
        load_account(private_key=KEY, chain_id=8453)
    with pytest.raises(UsageError, match="no private key") as refused:
        load_account(private_key="0xsecretsecret", chain_id=31337)
    assert "secret" not in str(refused.value)


def test_a_node_key_is_made_once_and_private(tmp_path: Path):
    home = tmp_path / "home"
    first = node_key(home)
    assert node_key(home).address == first.address
    path = home / "node.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in home.iterdir()] == ["node.key"]
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match="holds no key"):
        node_key(home)


def test_local_addresses_and_keys_are_the_well_known_ones():
    assert Account.from_key(dev_key(0)).address == DEV_DEPLOYER
    assert local_deployment().token == "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    # from the Ethereum test suites: nonces that need one byte, a length byte, and two bytes in RLP
    assert create_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", 0) == (
        "0xcd234A471b72ba2F1Ccf0A70FCABA648a5eeCD8d"
    )
    assert create_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", 1) == (
        "0x343c43A37D37dfF08AE8C4A11544c718AbB4fCF8"
    )
    assert len({create_address(DEV_DEPLOYER, n) for n in (0, 1, 127, 128, 255, 256)}) == 6
    assert derived_key(1, "worker", 0) == derived_key(1, "worker", 0) != derived_key(1, "worker", 1)


def test_networks_know_their_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert get_network("local").deployment == local_deployment()
    assert get_network("base", "http://node").rpc_url == "http://node"
    assert get_network("base").deployment is None
    plan = Plan.make(DEV_DEPLOYER, 9, unbonding_time=600, block=5)
    path = write_deployment(plan.record(8453))
    assert get_network("base").deployment == plan.contracts == Deployment.from_nonce(DEV_DEPLOYER, 9, block=5)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="no deployment file"):
        get_network("base")
    with pytest.raises(ConfigError, match="unknown network"):
        get_network("mainnet")


def test_the_event_log_survives_a_torn_line(tmp_path: Path):
    with EventLog(tmp_path) as log:
        log.write("joined", pool=1, root=b"\x01\x02")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"t": 1, "event": "torn"')
    with EventLog(tmp_path) as log:
        log.write("left")
    events = list(read_events(tmp_path))
    assert [e["event"] for e in events] == ["joined", "left"]
    assert events[0]["pool"] == 1 and events[0]["root"] == "0102" and events[0]["t"] > 0
    assert list(read_events(tmp_path / "nowhere")) == []
