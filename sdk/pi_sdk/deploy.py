"""`pi deploy`: puts the contracts on a network, or says what that would take."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import ChainError, NotFound, PiError, WrongNetwork
from .networks import DEV_DEPLOYER, LOCAL_CHAIN_ID, NETWORKS, dev_key, write_deployment
from .options import (
    HELP,
    account_options,
    chosen_account,
    json_option,
    network_options,
    verbose_option,
    yes_option,
)

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from .client import Client
    from .deployment import Plan
    from .networks import Deployment
    from .rpc import Rpc
    from .tx import Call

_GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000F"
"""Where an OP-stack rollup says what it charges for its data on L1."""
_ENVELOPE = 120
"""Bytes of a signed creation beside its data."""


@click.command(context_settings=HELP)
@network_options
@account_options
@click.option("--treasury", help="Receives slashes. [default: the account itself]")
@click.option("--guardian", help="May pause entry. [default: the account itself]")
@click.option("--unbonding-time", type=click.IntRange(min=1), default=600, show_default=True, help="Seconds.")
@click.option("--dry-run", is_flag=True, help="Show transactions, gas and cost; send nothing.")
@click.option(
    "--gas-price", type=float, help="Gwei per gas, for the cost of a dry run. [default: the network's now]"
)
@yes_option
@json_option
@verbose_option
def deploy(
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    treasury: str | None,
    guardian: str | None,
    unbonding_time: int,
    dry_run: bool,
    gas_price: float | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Deploy the contracts.

    On `local` the default account is anvil's first one, whose first transactions give the addresses that
    every program expects. Elsewhere ./deployments/CHAIN_ID.json gets the addresses and what they were made
    from, and ./deployments/CHAIN_ID/ what a block explorer needs to verify each: the compiler's
    standard-JSON input and the constructor's arguments. With --json: {"token": address, ...}.

    \b
    pi deploy --network base-sepolia --dry-run            transactions in order, gas and cost
    pi deploy --network base-sepolia --account NAME       does it

    --dry-run runs the transactions on a throw-away anvil. Nonce and price come from the network; without a
    node nonce 0 is assumed, and --gas-price gives the cost; without an account no addresses are shown. With
    --json: {"chain_id", "deployer", "nonce", "transactions": [{"name", "address", "gas", "bytes"}], "gas",
    "gas_price", "data_fee", "cost"}, prices in wei, what is not known null.
    """
    if network == "local" and not account and not private_key:
        private_key = "0x" + dev_key(0).hex()
    terms = {"treasury": treasury, "guardian": guardian, "unbonding_time": unbonding_time}
    known = account or private_key or not dry_run
    signer = chosen_account(account, private_key, network) if known else None
    if dry_run:
        shown = _rehearse(network, rpc_url, signer.address if signer else None, terms, gas_price)
        click.echo(json.dumps(shown) if as_json else _text(shown))
        return
    assert signer is not None
    contracts = _deploy(network, rpc_url, signer, terms, ask=not yes and not as_json).model_dump()
    click.echo(json.dumps(contracts) if as_json else "\n".join(f"{k:<9} {v}" for k, v in contracts.items()))


# --- for real ---------------------------------------------------------------------------------------------


def _deploy(
    network: str, rpc_url: str | None, signer: "LocalAccount", terms: dict[str, Any], *, ask: bool
) -> "Deployment":
    from .client import Client
    from .deployment import write_verification

    with Client(network, signer, rpc_url=rpc_url) as client:
        plan = client.deployment_plan(**terms)
        _check(client, plan)
        if client.chain_id == LOCAL_CHAIN_ID:
            return client.carry_out(plan)
        inputs = _verification_inputs(plan)
        if ask:
            count = len(plan.steps)
            click.confirm(
                f"Deploy {count} contracts on {network} from {signer.address}?", abort=True, err=True
            )
        client.carry_out(plan)
    record = plan.record(client.chain_id)
    path = write_deployment(record)
    click.echo(f"wrote {path}", err=True)
    if inputs:
        folder = path.with_suffix("")
        write_verification(inputs, record, folder)
        click.echo(f"wrote {folder}/, what a block explorer needs to verify the contracts", err=True)
    return plan.contracts


def _check(client: "Client", plan: "Plan") -> None:
    if client.deployed():
        raise PiError(f"the contracts are deployed on {client.network.name} already", "pi doctor shows where")
    if client.chain_id == LOCAL_CHAIN_ID and (plan.deployer, plan.nonce) != (DEV_DEPLOYER, 0):
        raise PiError(
            "on a local chain the contracts must be the first transactions of anvil's account 0",
            "restart the chain, and deploy without --account and --private-key",
        )


def _verification_inputs(plan: "Plan") -> dict[str, dict[str, Any]]:
    """By contract; empty where the sources are not here, which must not keep anybody from deploying."""
    from .deployment import checkout, standard_input

    try:
        return {step.name: standard_input(step.name, checkout()) for step in plan.steps}
    except NotFound as error:
        click.echo(f"no verification inputs: {error}", err=True)
        return {}


# --- a rehearsal ------------------------------------------------------------------------------------------


def _rehearse(
    network: str, rpc_url: str | None, deployer: str | None, terms: dict[str, Any], gas_price: float | None
) -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    from .deployment import Plan

    nonce, price, data_fee = 0, None if gas_price is None else int(Decimal(str(gas_price)) * 10**9), None
    with _node(network, rpc_url) as client:
        if client is not None and deployer is not None:
            nonce = client.rpc.integer("eth_getTransactionCount", deployer, "pending")
        plan = Plan.make(deployer or DEV_DEPLOYER, nonce, **terms)
        if client is not None:
            _check(client, plan)
            price = client.rpc.integer("eth_gasPrice") if price is None else price
            data_fee = _data_fee(client.rpc, plan)
    gas = _simulate(plan, NETWORKS[network].chain_id)
    return {
        "chain_id": NETWORKS[network].chain_id,
        "deployer": deployer,
        "nonce": nonce if deployer else None,
        "transactions": [
            {
                "name": step.name,
                "address": step.address if deployer else None,
                "gas": used,
                "bytes": len(step.call.data),
            }
            for step, used in zip(plan.steps, gas, strict=True)
        ],
        "gas": sum(gas),
        "gas_price": price,
        "data_fee": data_fee,
        "cost": None if price is None else sum(gas) * price + (data_fee or 0),
    }


@contextmanager
def _node(network: str, rpc_url: str | None) -> Iterator["Client | None"]:
    """A connection; None where nobody named a node and the network's own is out of reach."""
    from .client import Client

    try:
        client = Client(network, rpc_url=rpc_url)
    except WrongNetwork:
        raise
    except ChainError as error:
        if rpc_url is not None:
            raise
        click.echo(f"without a node: {error.message}", err=True)
        yield None
        return
    with client:
        yield client


def _simulate(plan: "Plan", chain_id: int) -> list[int]:
    """Gas of each creation, measured on a chain that lives as long as this call, as `plan.deployer`."""
    from .chain import decode_revert
    from .processes import Processes, accepts, free_port
    from .rpc import Rpc, RpcError
    from .tools import anvil_path

    anvil, port = anvil_path(), free_port()
    with tempfile.TemporaryDirectory() as logs, Processes(Path(logs)) as processes:
        options = ["--port", str(port), "--chain-id", str(chain_id), "--hardfork", "prague", "--no-mining"]
        process = processes.start("anvil", [anvil, *options])
        processes.wait_ready(process, lambda: accepts(port))
        rpc = Rpc(f"http://127.0.0.1:{port}")
        rpc.call("anvil_autoImpersonateAccount", True)
        rpc.call("anvil_setBalance", plan.deployer, hex(10**24))
        rpc.call("anvil_setNonce", plan.deployer, hex(plan.nonce))

        def send(call: "Call") -> dict:
            request = {"from": plan.deployer, "data": "0x" + call.data.hex()}
            try:
                gas = rpc.call("eth_estimateGas", request)
            except RpcError as error:
                if error.data is None or len(error.data) < 10:
                    raise
                raise decode_revert(bytes.fromhex(error.data[2:])) from error
            tx = rpc.call("eth_sendTransaction", {**request, "gas": gas})
            rpc.call("evm_mine")
            return rpc.call("eth_getTransactionReceipt", tx)

        used = [int(receipt["gasUsed"], 16) for _, receipt in plan.carry_out(send)]
        rpc.close()
    return used


def _data_fee(rpc: "Rpc", plan: "Plan") -> int | None:
    """Wei that an OP-stack rollup charges at most for the transactions' bytes on L1; None elsewhere."""
    from eth_utils.crypto import keccak

    if rpc.call("eth_getCode", _GAS_PRICE_ORACLE, "latest") == "0x":
        return None
    selector, total = keccak(text="getL1FeeUpperBound(uint256)")[:4], 0
    for step in plan.steps:
        data = selector + (len(step.call.data) + _ENVELOPE).to_bytes(32)
        total += rpc.integer("eth_call", {"to": _GAS_PRICE_ORACLE, "data": "0x" + data.hex()}, "latest")
    return total


def _text(shown: dict[str, Any]) -> str:
    who = f"{shown['deployer']}, nonce {shown['nonce']}" if shown["deployer"] else "no account given"
    lines = [f"chain     {shown['chain_id']}", f"deployer  {who}", ""]
    for i, t in enumerate(shown["transactions"], 1):
        lines.append(
            f"{i:>3}  {t['name']:<13} {t['gas']:>11,} gas {t['bytes']:>8,} bytes  {t['address'] or ''}"
        )
    lines += ["", f"total     {shown['gas']:,} gas"]
    if shown["gas_price"] is None:
        return "\n".join([*lines, "cost      unknown without a node: give --gas-price"])
    lines.append(f"price     {shown['gas_price'] / 10**9:g} gwei per gas")
    if shown["data_fee"] is not None:
        lines.append(f"data      at most {shown['data_fee'] / 10**18:.6f} ETH for the bytes on L1")
    return "\n".join([*lines, f"cost      {shown['cost'] / 10**18:.6f} ETH"])
