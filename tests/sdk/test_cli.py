"""The program `pi`: what it prints, and that every failure is one line and an exit code."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Anvil, anvil, free_port
from pi_sdk import Client, PoolParams, local_deployment
from pi_sdk.cli import pi
from pi_sdk.options import run
from pi_sdk.types import AuditSpec
from small_pool import STORE, TOKEN, make_pool, participant, run_spec

Result = tuple[int, str, str]
Pi = Callable[..., Result]
Someone = Callable[..., Client]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Pi:
    """Runs `pi` in a directory of its own; returns exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith(("ETH_", "PI_PRIVATE", "PI_NODE")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["pi", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(pi)
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


def test_without_arguments_it_shows_help_with_examples(cli: Pi):
    code, out, _ = cli()
    assert code == 0 and "pi pool list" in out
    assert all(name in out for name in ("demo", "devnet", "deploy", "pool", "run", "doctor"))


def test_deploy_once_to_the_expected_addresses(cli: Pi, tmp_path: Path):
    with anvil(tmp_path) as node:
        code, out, _ = cli("deploy", "--rpc-url", node.url, "--json")
        assert code == 0
        assert json.loads(out) == local_deployment().model_dump()
        code, out, err = cli("deploy", "--rpc-url", node.url)
        assert (code, out) == (1, "") and "deployed on local already" in err


def test_deploy_refuses_a_used_account(cli: Pi, tmp_path: Path):
    with anvil(tmp_path) as node:
        node.rpc("anvil_setNonce", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x3")
        code, _, err = cli("deploy", "--rpc-url", node.url)
        assert code == 1 and "restart the chain" in err


def test_create_show_list_and_status_of_a_pool(cli: Pi, chain: Anvil, someone: Someone, tmp_path: Path):
    creator = someone(tokens=100 * TOKEN)
    assert creator.account is not None
    lax = run_spec(2).model_copy(update={"audit": AuditSpec(planted=0)})
    (tmp_path / "spec.json").write_text(lax.model_dump_json())
    params = PoolParams(orchestrator=creator.account.address, rounds=2)
    (tmp_path / "params.json").write_text(params.model_dump_json())
    terms = ("--requirements", "https://example.org/rules", "--invite-signer", creator.address)
    where = ("--rpc-url", chain.url, "--json")
    key = ("--private-key", "0x" + creator.account.key.hex())
    files = ("--spec", "spec.json", "--params", "params.json", "--store", STORE)
    code, _, err = cli("pool", "create", *files, "--fund", "12.5", *terms, *key, *where)
    assert code == 2 and "lazy gains 0.1" in err and "audit.planted of 301" in err
    assert "laziness pays" in cli("pool", "economics", *files[:4])[1]
    (tmp_path / "spec.json").write_text(run_spec(2).model_dump_json())
    worth = json.loads(cli("pool", "economics", *files[:4], "--json")[1])
    assert len(worth["lines"]) > 10 and all(line["value"] < 0 for line in worth["lines"])
    code, out, err = cli("pool", "create", *files, "--fund", "12.5", *terms, *key, *where)
    assert code == 0, err
    pool_id = json.loads(out)["pool_id"]
    code, out, _ = cli("pool", "create", *files, "--fund", "1", *key, *where[:2])
    assert "4 % of its slots are yours to plant, before its rounds: pi pool plant" in out

    shown = json.loads(cli("pool", "show", pool_id, *where)[1])
    assert shown["creator"] == creator.address and shown["phase"] == "idle"
    assert (shown["requirements_uri"], shown["invite_signer"]) == (terms[1], creator.address)
    assert shown["params"]["rounds"] == 2 and shown["budget"]["free"] == 125 * 10**17
    assert [p["store_uri"] for p in json.loads(cli("pool", "list", *where)[1]) if p["id"] == pool_id] == [
        STORE
    ]

    code, _, err = cli("pool", "create", *files, "--fund", "1000", *key, *where)
    assert code == 1 and "nothing was created" in err and creator.pool_count() == pool_id + 1

    rest = (*files[:2], *files[4:], "--fund", "1", *key, *where)
    code, _, err = cli("pool", "create", *rest)
    assert code == 2 and "give --orchestrator" in err
    assert "is no address" in cli("pool", "create", *rest, "--orchestrator", "0x1")[2]
    code, out, err = cli("pool", "create", *rest, "--orchestrator", creator.address)
    assert code == 0, err
    made = json.loads(cli("pool", "show", json.loads(out)["pool_id"], *where)[1])["params"]
    assert made == PoolParams(orchestrator=creator.address, rounds=2).model_dump()
    (tmp_path / "params.json").write_text("[1]")
    assert "params.json is no JsonObject" in cli("pool", "create", *files, *rest[4:])[2]


def test_run_status_shows_members_and_money(cli: Pi, chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    worker = participant(someone, 150 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    values = json.loads(cli("run", "status", pool_id, "--rpc-url", chain.url, "--json")[1])
    assert [(m["node"], m["status"], m["bonded"]) for m in values["members"]] == [
        (worker.node, "in", 150 * TOKEN)
    ]
    assert values["round"] is None and values["closes"] == []
    code, out, _ = cli("run", "status", pool_id, "--rpc-url", chain.url)
    assert code == 0 and worker.node in out and "150.00" in out


def test_doctor_names_what_is_missing(cli: Pi, chain: Anvil, someone: Someone, tmp_path: Path):
    code, out, _ = cli("doctor", "--rpc-url", chain.url, "--port", free_port(), "--json")
    checks = {c["name"]: c["result"] for c in json.loads(out)}
    # the shared chain's clock was moved by other tests
    assert {name: result for name, result in checks.items() if name != "clock"} == dict.fromkeys(
        ("python", "node", "anvil", "forge", "solc", "port", "chain", "contracts"), "ok"
    )
    code, out, _ = cli("doctor", "--rpc-url", "http://127.0.0.1:9")
    assert code == 1 and "FAIL  chain" in out
    with anvil(tmp_path) as empty:
        code, out, _ = cli("doctor", "--rpc-url", empty.url)
        assert code == 1 and "FAIL  contracts" in out and "ok    clock" in out


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (("pool", "show", 1, "--rpc-url", "http://127.0.0.1:9"), 1, "is anvil running?"),
        (("pool", "show", 1, "--rpc-url", "nonsense"), 1, "cannot reach"),
        (("pool", "show", 1, "--network", "mainnet"), 2, "mainnet"),
        (("pool", "show", "one"), 2, "one"),
        (("deploy", "--network", "base"), 2, "--account NAME"),
        (("deploy", "--network", "base", "--private-key", "0x" + "11" * 32), 2, "refused on chain 8453"),
        (("deploy", "--account", "a", "--private-key", "0x11"), 2, "exclude each other"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_bad_input_is_one_clear_message(cli: Pi, arguments: tuple, expected: int, message: str):
    code, out, err = cli(*arguments)
    assert (code, out) == (expected, "") and message in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("spec", "fund", "message"),
    [
        (None, "1", "cannot read spec.json"),
        ("{", "1", "spec.json is no RunSpec"),
        ('{"version": 2}', "1", "spec.json is no RunSpec: version"),
        ("good", "-1", "no amount of tokens"),
        ("good", "much", "no amount of tokens"),
        ("good", "nan", "no amount of tokens"),
    ],
)
def test_bad_files_and_amounts_are_refused(
    cli: Pi, tmp_path: Path, spec: str | None, fund: str, message: str
):
    if spec is not None:
        (tmp_path / "spec.json").write_text(run_spec(2).model_dump_json() if spec == "good" else spec)
    (tmp_path / "params.json").write_text(
        PoolParams(orchestrator="0x" + "11" * 20, rounds=2).model_dump_json()
    )
    code, _, err = cli(
        "pool", "create", "--spec", "spec.json", "--params", "params.json", "--store", STORE, "--fund", fund
    )
    assert code == 2 and message in err and err.count("\n") == 1


def test_an_unknown_pool_and_a_wrong_network_are_one_line(cli: Pi, chain: Anvil):
    code, out, err = cli("run", "status", 10**6, "--rpc-url", chain.url)
    assert (code, out) == (1, "") and err == "error: no pool 1000000 (is it the right network?)\n"
    code, _, err = cli("pool", "list", "--network", "base", "--rpc-url", chain.url)
    assert code == 1 and "is chain 31337" in err and err.count("\n") == 1


def test_verbose_shows_where_an_error_came_from(
    cli: Pi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")  # puts the root logger's level back afterwards
    monkeypatch.setattr("pi_sdk.options._verbose", False)
    code, _, err = cli("pool", "list", "--rpc-url", "http://127.0.0.1:9", "-v")
    assert code == 1 and "Traceback" in err and err.splitlines()[-1].startswith("error: cannot reach")
