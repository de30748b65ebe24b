"""The program `pi`: networks, pools and runs. Commands import what they need when they are called."""

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from pydantic import BaseModel, ValidationError

from .errors import ConfigError, PiError, UsageError
from .networks import DEV_DEPLOYER, LOCAL_CHAIN_ID, dev_key, write_deployment
from .options import (
    HELP,
    LazyGroup,
    account_options,
    chosen_account,
    json_option,
    network_options,
    run,
    verbose_option,
    yes_option,
)

if TYPE_CHECKING:
    from .client import Client

M = TypeVar("M", bound=BaseModel)

_LAZY = {
    "demo": ("pi_sdk.demo:demo", "Run everything on this machine: chain, orchestrator, workers, validators."),
    "devnet": ("pi_sdk.devnet:devnet", "Start or stop a local chain with contracts and an orchestrator."),
    "run": ("pi_sdk.status:run_group", "Look at a run."),
    "doctor": ("pi_sdk.doctor:doctor", "Check tools, node, contracts, account, clock and ports."),
}


@click.group(cls=LazyGroup, lazy=_LAZY, context_settings=HELP, invoke_without_command=True)
@click.version_option(package_name="pi-protocol", prog_name="pi")
@verbose_option
@click.pass_context
def pi(ctx: click.Context) -> None:
    """Train one model together with strangers.

    \b
    pi demo                       a whole paid run on this machine, in minutes
    pi devnet up                  a local chain to try things on
    pi pool list                  the pools of a network
    pi run status 1               how pool 1 is doing
    pi doctor                     what is missing on this machine
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    run(pi)


# --- deploy -----------------------------------------------------------------------------------------------


@pi.command()
@network_options
@account_options
@click.option("--treasury", help="Receives slashes. [default: the account itself]")
@click.option("--unbonding-time", type=click.IntRange(min=1), default=600, show_default=True, help="Seconds.")
@yes_option
@json_option
@verbose_option
def deploy(
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    treasury: str | None,
    unbonding_time: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Deploy the six contracts.

    On `local` the default account is anvil's first one, whose first six transactions give the addresses
    that every program expects. Elsewhere the addresses are written to ./deployments/CHAIN_ID.json. With
    --json: {"token": address, ...}.
    """
    from .client import Client

    if network == "local" and not account and not private_key:
        private_key = "0x" + dev_key(0).hex()
    signer = chosen_account(account, private_key, network)
    with Client(network, signer, rpc_url=rpc_url) as client:
        if client.deployed():
            raise PiError(f"the contracts are deployed on {network} already", "pi doctor shows where")
        if client.chain_id == LOCAL_CHAIN_ID:
            used = client.rpc.integer("eth_getTransactionCount", signer.address, "latest")
            if signer.address != DEV_DEPLOYER or used:
                raise PiError(
                    "on a local chain the contracts must be the first transactions of anvil's account 0",
                    "restart the chain, and deploy without --account and --private-key",
                )
        elif not yes and not as_json:
            click.confirm(f"Deploy six contracts on {network} from {signer.address}?", abort=True, err=True)
        deployment = client.deploy(treasury, unbonding_time)
    if client.chain_id != LOCAL_CHAIN_ID:
        click.echo(f"wrote {write_deployment(client.chain_id, deployment)}", err=True)
    values = deployment.model_dump()
    click.echo(json.dumps(values) if as_json else "\n".join(f"{k:<9} {v}" for k, v in values.items()))


# --- pools ------------------------------------------------------------------------------------------------


@pi.group(context_settings=HELP)
def pool() -> None:
    """Create pools and look at them."""


@pool.command("create")
@network_options
@account_options
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="RunSpec, JSON.")
@click.option("--params", required=True, type=click.Path(path_type=Path), help="PoolParams, JSON.")
@click.option("--store", required=True, help="URL of the store that will serve the pool's files.")
@click.option("--fund", required=True, help="Tokens for the budget, such as 250 or 12.5.")
@json_option
@verbose_option
def create(
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    spec: Path,
    params: Path,
    store: str,
    fund: str,
    as_json: bool,
) -> None:
    """Create a pool and fund it. With --json: {"pool_id": n, "run_spec": sha256}.

    The RunSpec's file, its shards and its first checkpoint must then be put into the store, as
    examples/create_pool.py does.
    """
    from .client import Client
    from .codec import run_spec_hash
    from .types import PoolParams, RunSpec

    run_spec, pool_params = read_model(RunSpec, spec), read_model(PoolParams, params)
    amount = parse_tokens(fund)
    signer = chosen_account(account, private_key, network)
    with Client(network, signer, rpc_url=rpc_url) as client:
        if client.token_balance() < amount:
            raise PiError(
                f"{signer.address} holds fewer than {fund} tokens", "nothing was created; lower --fund"
            )
        pool_id = client.create_pool(run_spec, pool_params, store)
        client.fund_pool(pool_id, amount)
    name = run_spec_hash(run_spec).hex()
    created = {"pool_id": pool_id, "run_spec": name}
    click.echo(
        json.dumps(created) if as_json else f"pool {pool_id}, RunSpec {name}, funded with {fund} tokens"
    )


@pool.command("list")
@network_options
@json_option
@verbose_option
def list_(network: str, rpc_url: str | None, as_json: bool) -> None:
    """List all pools. With --json: a list of what `pi pool show` prints, without params and budget."""
    from .client import Client

    with Client(network, rpc_url=rpc_url) as client:
        pools = [client.pool(i) for i in range(1, client.pool_count() + 1)]
    if as_json:
        click.echo(json.dumps([plain(p) for p in pools]))
        return
    if not pools:
        click.echo(f"no pools on {network} yet; examples/create_pool.py makes one", err=True)
    for p in pools:
        state = "ended" if p.ended else p.phase.name.lower()
        click.echo(f"{p.id:>4}  {state:<7} round {p.next_round:<5} {p.members:>3} members  {p.store_uri}")


@pool.command()
@click.argument("pool_id", type=click.IntRange(min=1))
@network_options
@json_option
@verbose_option
def show(pool_id: int, network: str, rpc_url: str | None, as_json: bool) -> None:
    """Show one pool's state, rules and money.

    With --json: {"id", "creator", ..., "params": {...}, "budget": {...}}, hashes in hex, money in token wei.
    """
    from .client import Client

    with Client(network, rpc_url=rpc_url) as client:
        values = describe(client, pool_id)
    if as_json:
        click.echo(json.dumps(values))
        return
    for key, value in values.items():
        if isinstance(value, dict):
            click.echo(f"\n{key}")
            for name, item in value.items():
                click.echo(f"  {name:<24} {item}")
        else:
            click.echo(f"{key:<26} {value}")


# --- helpers that other commands use ----------------------------------------------------------------------


def describe(client: "Client", pool_id: int) -> dict[str, Any]:
    """A pool with its params and its budget, as JSON has it."""
    values = plain(client.pool(pool_id))
    budget = client.budget(pool_id)
    values["params"] = plain(client.pool_params(pool_id))
    values["budget"] = {**plain(budget), "free": budget.free}
    return values


def plain(model: BaseModel) -> dict[str, Any]:
    """A model as JSON has it: bytes in hex, enums by lower-case name."""
    return {
        key: value.hex()
        if isinstance(value, bytes)
        else value.name.lower()
        if hasattr(value, "name")
        else value
        for key, value in model
    }


def parse_tokens(text: str) -> int:
    """Token wei of a decimal amount of tokens; `UsageError` when it is none."""
    try:
        wei = Decimal(text) * 10**18
        if not wei.is_finite() or wei <= 0 or wei != int(wei) or wei >= 1 << 128:
            raise UsageError(
                f"{text!r} is no amount of tokens", "such as 250 or 12.5, with at most 18 decimals"
            )
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is no amount of tokens", "such as 250 or 12.5") from error
    return int(wei)


def read_model(model: type[M], path: Path) -> M:
    """A model from a JSON file; `ConfigError` names the first thing that is wrong with it."""
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{path} is no {model.__name__}: {where + ': ' if where else ''}{first['msg']}"
        ) from error
