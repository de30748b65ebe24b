"""`pi deploy`: a rehearsal that sends nothing, and what a deployment leaves behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chain import Anvil, anvil
from eth_account import Account
from pi_sdk import NETWORKS, Client, ContractError, Deployment, DeploymentRecord, dev_key, get_network
from pi_sdk.chain import CONTRACTS, contract
from pi_sdk.cli import pi
from pi_sdk.deployment import Plan, checkout, standard_input
from pi_sdk.errors import NotFound
from pi_sdk.networks import DEV_DEPLOYER
from pi_sdk.options import run
from pi_sdk.tools import forge_path

Result = tuple[int, str, str]
ORACLE = "0x420000000000000000000000000000000000000F"
FRIEND = "0x" + "ab" * 20


@pytest.fixture
def sepolia(tmp_path: Path) -> Iterator[Anvil]:
    """A chain with Base Sepolia's id."""
    with anvil(tmp_path, None, "--chain-id", "84532") as node:
        yield node


@pytest.fixture
def deploy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Runs `pi deploy` in a directory of its own, with a keystore `deployer`: anvil's account 3."""
    for name in [n for n in os.environ if n.startswith(("ETH_", "PI_PRIVATE"))]:
        monkeypatch.delenv(name)
    keystores, password = tmp_path / "keystores", tmp_path / "password"
    keystores.mkdir()
    keystore = Account.encrypt(dev_key(3), "secret", kdf="pbkdf2", iterations=1)
    (keystores / "deployer").write_text(json.dumps(keystore))
    password.write_text("secret\n")
    monkeypatch.setenv("ETH_KEYSTORE", str(keystores))
    monkeypatch.setenv("ETH_PASSWORD", str(password))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["pi", "deploy", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(pi)
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


def test_a_rehearsal_tells_what_the_deployment_then_costs(deploy, sepolia: Anvil):
    """Addresses and gas of every transaction, from the account's present nonce; nothing is sent."""
    deployer = Account.from_key(dev_key(3)).address
    sepolia.rpc("anvil_setNonce", deployer, "0x5")
    where = ("--network", "base-sepolia", "--rpc-url", sepolia.url, "--account", "deployer")
    code, out, err = deploy(*where, "--dry-run", "--gas-price", 2, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert (shown["chain_id"], shown["deployer"], shown["nonce"]) == (84532, deployer, 5)
    assert [t["name"] for t in shown["transactions"]] == list(CONTRACTS)
    assert shown["gas"] == sum(t["gas"] for t in shown["transactions"]) > 5_000_000
    assert (shown["gas_price"], shown["data_fee"]) == (2 * 10**9, None)
    assert shown["cost"] == shown["gas"] * 2 * 10**9
    assert int(sepolia.rpc("eth_getTransactionCount", deployer, "latest"), 16) == 5
    assert not Path("deployments").exists()

    code, out, err = deploy(*where, "-y", "--json")
    assert code == 0, err
    contracts = json.loads(out)
    assert [contracts[field] for field in CONTRACTS.values()] == [t["address"] for t in shown["transactions"]]
    blocks = int(sepolia.rpc("eth_blockNumber"), 16)
    spent = [
        int(sepolia.rpc("eth_getTransactionReceipt", tx)["gasUsed"], 16)
        for block in range(1, blocks + 1)
        for tx in sepolia.rpc("eth_getBlockByNumber", hex(block), False)["transactions"]
    ]
    assert spent == [t["gas"] for t in shown["transactions"]]
    code, _, err = deploy(*where, "--dry-run")
    assert code == 1 and "deployed on base-sepolia already" in err


def test_a_rehearsal_takes_the_networks_price_and_data_fee(deploy, sepolia: Anvil):
    sepolia.rpc("anvil_setCode", ORACLE, "0x600760005260206000f3")  # whatever is asked, it answers 7
    code, out, err = deploy("--network", "base-sepolia", "--rpc-url", sepolia.url, "--dry-run", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert shown["data_fee"] == 7 * len(CONTRACTS)
    assert shown["gas_price"] == int(sepolia.rpc("eth_gasPrice"), 16)
    assert shown["cost"] == shown["gas"] * shown["gas_price"] + shown["data_fee"]
    assert shown["deployer"] is None and {t["address"] for t in shown["transactions"]} == {None}


def test_a_rehearsal_needs_no_node(deploy, monkeypatch: pytest.MonkeyPatch):
    nowhere = get_network("base-sepolia", "http://127.0.0.1:9")
    monkeypatch.setitem(NETWORKS, "base-sepolia", nowhere)
    code, out, err = deploy("--network", "base-sepolia", "--dry-run")
    assert code == 0 and "without a node" in err and "give --gas-price" in out
    assert all(name in out for name in CONTRACTS)
    code, out, _ = deploy("--network", "base-sepolia", "--dry-run", "--gas-price", "0.01")
    assert code == 0 and "0.01 gwei" in out and "ETH" in out
    code, _, err = deploy("--network", "base-sepolia", "--dry-run", "--rpc-url", "http://127.0.0.1:9")
    assert code == 1 and "cannot reach" in err


def test_a_deployment_leaves_a_file_and_what_verifies_it(deploy, sepolia: Anvil):
    where = ("--network", "base-sepolia", "--rpc-url", sepolia.url, "--account", "deployer")
    code, out, err = deploy(*where, "-y", "--json", "--guardian", FRIEND, "--unbonding-time", 1000)
    assert code == 0 and "wrote deployments/84532.json" in err
    record = DeploymentRecord.model_validate_json(Path("deployments/84532.json").read_text())
    assert record.contracts == Deployment(**json.loads(out)) == get_network("base-sepolia").deployment
    assert (record.chain_id, record.nonce) == (84532, 0) and record.compiler.startswith("0.8.30")
    with Client("base-sepolia", rpc_url=sepolia.url) as client:
        assert client.deployed() and client.unbonding_time() == 1000
        assert client.guardian().lower() == FRIEND and client.treasury() == record.deployer
    for name, field in CONTRACTS.items():
        given = json.loads(Path(f"deployments/84532/{name}.json").read_text())
        assert given == standard_input(name, checkout())
        arguments = Path(f"deployments/84532/{name}.args").read_text().strip()
        assert record.constructor_args[name] == "0x" + arguments
        assert sepolia.rpc("eth_getCode", getattr(record.contracts, field), "latest") != "0x"


def test_a_source_that_was_changed_is_no_verification_input(tmp_path: Path):
    with pytest.raises(NotFound, match="is not the source"):
        standard_input("Court", tmp_path)
    for path in contract("NodeRegistry").compiler["sources"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((checkout() / path).read_bytes())
    standard_input("NodeRegistry", tmp_path)
    with (tmp_path / "contracts/src/NodeRegistry.sol").open("a") as source:
        source.write("\n")
    with pytest.raises(NotFound, match="is not the source"):
        standard_input("NodeRegistry", tmp_path)


def test_an_unbonding_time_that_no_pool_fits_is_refused(deploy, tmp_path: Path):
    code, _, err = deploy("--network", "local", "--dry-run", "--unbonding-time", 1)
    assert code == 1 and "contract refused: BadParams(unbondingTime)" in err
    with anvil(tmp_path) as node, Client("local", Account.from_key(dev_key(0)), rpc_url=node.url) as client:
        with pytest.raises(ContractError) as refused:
            client.deploy(unbonding_time=1)
    assert (refused.value.name, refused.value.args_) == ("BadParams", ("unbondingTime",))


def test_a_plan_is_a_function_of_deployer_and_nonce():
    plan = Plan.make(DEV_DEPLOYER, 7, unbonding_time=600)
    assert plan.contracts == Deployment.from_nonce(DEV_DEPLOYER, 7)
    assert [step.name for step in plan.steps] == list(CONTRACTS)
    assert plan == Plan.make(
        DEV_DEPLOYER, 7, treasury=DEV_DEPLOYER, guardian=DEV_DEPLOYER, unbonding_time=600
    )
    assert plan != Plan.make(DEV_DEPLOYER, 7, guardian=FRIEND, unbonding_time=600)


@pytest.mark.slow
def test_the_foundry_script_deploys_the_same(tmp_path: Path):
    """Same addresses and same code, immutables included, from the same account at the same nonce."""
    folders = [tmp_path / name for name in ("script", "sdk")]
    for folder in folders:
        folder.mkdir()
    with anvil(folders[0]) as by_script, anvil(folders[1]) as by_sdk:
        for node in (by_script, by_sdk):
            node.rpc("anvil_setNonce", DEV_DEPLOYER, "0x2")
        with Client("local", Account.from_key(dev_key(0)), rpc_url=by_sdk.url, poll=0.02) as client:
            contracts = client.deploy(FRIEND, 700, FRIEND)
        command = [forge_path(), "script", "contracts/script/Deploy.s.sol", "--root", checkout()]
        command += ["--sig", "run(address,address,uint64)", FRIEND, FRIEND, "700", "--broadcast", "--slow"]
        command += ["--rpc-url", by_script.url, "--private-key", "0x" + dev_key(0).hex()]
        command += ["--out", tmp_path / "out", "--cache-path", tmp_path / "cache"]
        env = {**os.environ, "FOUNDRY_BROADCAST": str(tmp_path / "broadcast")}
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr + done.stdout
        for field in CONTRACTS.values():
            codes = [
                node.rpc("eth_getCode", getattr(contracts, field), "latest") for node in (by_script, by_sdk)
            ]
            assert codes[0] == codes[1] != "0x", field
