"""The program `pi`: networks, pools and runs. Commands import what they need when they are called."""

import json
import secrets
from decimal import Decimal, InvalidOperation
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from pydantic import BaseModel, RootModel, ValidationError

from .errors import ConfigError, PiError, StoreError, UsageError
from .options import (
    HELP,
    LazyGroup,
    account_options,
    chosen_account,
    json_option,
    network_options,
    run,
    verbose_option,
)

if TYPE_CHECKING:
    from .client import Client
    from .types import PoolParams, RunSpec

M = TypeVar("M", bound=BaseModel)

_INVITE_SECONDS = 7 * 24 * 3600

_LAZY = {
    "demo": ("pi_sdk.demo:demo", "Run everything on this machine: chain, orchestrator, workers, validators."),
    "sim": ("pi_worker.sim:sim", "Train with simulated workers in one process, without a chain."),
    "devnet": ("pi_sdk.devnet:devnet", "Start or stop a local chain with contracts and an orchestrator."),
    "deploy": ("pi_sdk.deploy:deploy", "Deploy the contracts, or show what that would take and cost."),
    "run": ("pi_sdk.status:run_group", "Look at a run."),
    "why": ("pi_sdk.why:why_command", "Tell what became of a node's work in a round, and why."),
    "audit": ("pi_validator.run_audit:audit", "Check a whole run again, from the chain and any mirror."),
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
    pi sim                        its training alone: no chain, one process
    pi devnet up                  a local chain to try things on
    pi pool list                  the pools of a network
    pi run status 1               how pool 1 is doing
    pi audit 1                    check the whole run again, believing nobody
    pi why 0xNODE 7               what became of a node's work in round 7
    pi doctor                     what is missing on this machine
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    run(pi)


# --- pools ------------------------------------------------------------------------------------------------


@pi.group(context_settings=HELP)
def pool() -> None:
    """Create pools and look at them."""


@pool.command("create")
@network_options
@account_options
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="RunSpec, JSON.")
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    help="PoolParams, JSON; what it leaves out has its default, or is the RunSpec's.",
)
@click.option("--orchestrator", help="Address that moves the rounds. [default: that in --params]")
@click.option("--store", required=True, help="URL of the store that will serve the pool's files.")
@click.option("--fund", required=True, help="Tokens for the budget, such as 250 or 12.5.")
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path),
    help="Folder with data, first checkpoint and model files, to be put into the store with the RunSpec.",
)
@click.option("--requirements", default="", help="URL of what the pool asks for beyond its RunSpec.")
@click.option("--invite-signer", help="Address whose invites let operators in. [default: the pool is open]")
@click.option("--unsound", is_flag=True, help="Also where a cheat or laziness is worth its while.")
@json_option
@verbose_option
def create(
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    spec: Path,
    params: Path | None,
    orchestrator: str | None,
    store: str,
    fund: str,
    artifacts: Path | None,
    requirements: str,
    invite_signer: str | None,
    unsound: bool,
    as_json: bool,
) -> None:
    """Create a pool and fund it. With --json: {"pool_id": n, "run_spec": sha256}.

    Refused where dishonesty would pay (pi pool economics). Nodes join once the store holds what the run
    starts from: --artifacts puts it there, or `pi pool upload` later.

    \b
    pi sim --method muloco --steps 30 --rounds 200 --only-rules          what to train, and how
    pi pool create --spec runs/sim/spec.json --artifacts runs/sim/artifacts ...
    """
    from .client import Client
    from .codec import run_spec_hash
    from .rules import publish_run
    from .store import LocalStore
    from .types import RunSpec

    run_spec = read_model(RunSpec, spec)
    rules = pool_params(params, run_spec, orchestrator)
    if artifacts:
        publish_run(run_spec, LocalStore(artifacts), None)
    amount = parse_tokens(fund)
    signer = chosen_account(account, private_key, network)
    with Client(network, signer, rpc_url=rpc_url) as client:
        if client.token_balance() < amount:
            raise PiError(
                f"{signer.address} holds fewer than {fund} tokens", "nothing was created; lower --fund"
            )
        pool_id = client.create_pool(run_spec, rules, store, requirements, invite_signer, unsound=unsound)
        client.fund_pool(pool_id, amount)
        if artifacts:
            _upload(client, pool_id, store, run_spec, artifacts)
    name = run_spec_hash(run_spec).hex()
    if as_json:
        click.echo(json.dumps({"pool_id": pool_id, "run_spec": name}))
        return
    click.echo(f"pool {pool_id}, RunSpec {name}, funded with {fund} tokens")
    if planted := run_spec.audit.planted:
        click.echo(
            f"{planted / 100:g} % of its slots are yours to plant, before its rounds: pi pool plant {pool_id}"
        )


def _upload(client: "Client", pool_id: int, store: str, spec: "RunSpec", artifacts: Path) -> int:
    from .rules import publish_run
    from .store import HttpStore, LocalStore

    try:
        with HttpStore(store, client.account, client.chain_id, pool_id) as remote:
            return publish_run(spec, LocalStore(artifacts), remote)
    except StoreError as error:
        raise StoreError(
            f"pool {pool_id} is there, but not all of its files: {error.message}",
            f"once that is mended: pi pool upload {pool_id} --spec SPEC --artifacts {artifacts}",
        ) from error


@pool.command()
@click.argument("pool_id", type=click.IntRange(min=1))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="Its RunSpec, JSON.")
@click.option(
    "--artifacts", required=True, type=click.Path(path_type=Path), help="Folder of the files that it names."
)
@network_options
@account_options
@json_option
@verbose_option
def upload(
    pool_id: int,
    spec: Path,
    artifacts: Path,
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    as_json: bool,
) -> None:
    """Put what a run starts from into its pool's store, but for what is there.

    Its creator and its members may. With --json: {"pool_id", "files"}: how many were put.
    """
    from .client import Client
    from .codec import run_spec_hash
    from .types import RunSpec

    run_spec, signer = read_model(RunSpec, spec), chosen_account(account, private_key, network)
    with Client(network, signer, rpc_url=rpc_url) as client:
        found = client.pool(pool_id)
        if found.run_spec_hash != run_spec_hash(run_spec):
            raise UsageError(
                f"{spec} is not the RunSpec of pool {pool_id}", "give the one it was created with"
            )
        files = _upload(client, pool_id, found.store_uri, run_spec, artifacts)
        store = found.store_uri
    answer = {"pool_id": pool_id, "files": files}
    click.echo(json.dumps(answer) if as_json else f"{files} files put into {store}")


@pool.command()
@click.argument("pool_id", type=click.IntRange(min=1))
@click.argument("operator")
@click.option(
    "--nonce", type=click.IntRange(min=0), help="An invite of one nonce works once. [default: random]"
)
@click.option("--deadline", type=click.IntRange(min=1), help="Unix seconds. [default: a week from now]")
@network_options
@account_options
@json_option
@verbose_option
def invite(
    pool_id: int,
    operator: str,
    nonce: int | None,
    deadline: int | None,
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    as_json: bool,
) -> None:
    """Sign an operator's invite to a pool, as the pool's invite signer.

    Prints one word for `pi-worker join --invite`. Nothing is sent. With --json: {"invite", "pool_id",
    "operator", "nonce", "deadline"}, the nonce as a string.
    """
    from .base import checksum
    from .client import Client

    operator = checksum(operator)
    signer = chosen_account(account, private_key, network)
    nonce = secrets.randbits(64) if nonce is None else nonce
    with Client(network, signer, rpc_url=rpc_url) as client:
        expected = client.pool(pool_id).invite_signer
        if expected is None:
            raise UsageError(f"pool {pool_id} is open", "its workers join without an invite")
        if expected != signer.address:
            raise UsageError(f"the invites of pool {pool_id} are signed by {expected}", "give its key")
        if client.is_invite_used(pool_id, nonce):
            raise UsageError(f"an invite with nonce {nonce} was used already", "choose another --nonce")
        deadline = client.now() + _INVITE_SECONDS if deadline is None else deadline
        text = client.sign_invite(pool_id, operator, nonce, deadline).to_text()
    values = {"pool_id": pool_id, "operator": operator, "nonce": str(nonce), "deadline": deadline}
    click.echo(json.dumps({"invite": text, **values}) if as_json else text)


@pool.command("rollback")
@click.argument("pool_id", type=click.IntRange(min=1))
@click.option("--to", "to_round", type=click.IntRange(min=0), required=True, help="A round of the last 15.")
@network_options
@account_options
@json_option
@verbose_option
def rollback(
    pool_id: int,
    to_round: int,
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    as_json: bool,
) -> None:
    """Go back to the checkpoint that round --to started from, as the pool's creator: the next round that
    opens starts from it again. The rounds since stay paid. With --json: {"pool_id", "round", "to", "tx"}.
    """
    from .client import Client

    signer = chosen_account(account, private_key, network)
    with Client(network, signer, rpc_url=rpc_url) as client:
        found = client.pool(pool_id)
        if found.creator != signer.address:
            raise UsageError(f"only its creator {found.creator} can take pool {pool_id} back", "give its key")
        if not max(0, found.next_round - 15) <= to_round < found.next_round:
            known = f"rounds {max(0, found.next_round - 15)} to {found.next_round - 1}"
            raise UsageError(
                f"round {to_round} is not one to go back to",
                f"choose one of {known}" if found.next_round else "",
            )
        receipt = client.roll_back(pool_id, to_round)
    number = receipt.event("RolledBack").args["round"]
    done = {"pool_id": pool_id, "round": number, "to": to_round, "tx": receipt.tx}
    click.echo(
        json.dumps(done)
        if as_json
        else f"pool {pool_id}: round {number} will start from what round {to_round} started from"
    )


@pool.command("economics")
@click.argument("pool_id", type=click.IntRange(min=1), required=False)
@click.option(
    "--spec", type=click.Path(path_type=Path), help="RunSpec as JSON, with --params: a pool to come."
)
@click.option("--params", type=click.Path(path_type=Path), help="PoolParams as JSON.")
@click.option(
    "--dishonest",
    type=click.FloatRange(0, 1),
    default=1 / 3,
    show_default="1/3",
    help="Share of seats that accept everything.",
)
@network_options
@json_option
@verbose_option
def economics_(
    pool_id: int | None,
    spec: Path | None,
    params: Path | None,
    dishonest: float,
    network: str,
    rpc_url: str | None,
    as_json: bool,
) -> None:
    """What each cheat, and laziness, is worth in a pool, in tokens per slot or verdict.

    For a node with a long clean record, who is audited least. --json prints {"lines": [{"who", "name",
    "what", "probability", "value"}], "least_planted": basis points or null}.
    """
    from dataclasses import asdict

    from . import economics
    from .types import PoolParams, RunSpec

    if spec and params and not pool_id:
        run_spec, pool_params = read_model(RunSpec, spec), read_model(PoolParams, params)
    elif pool_id and not (spec or params):
        from .client import Client
        from .rules import load_rules
        from .store import HttpStore

        with Client(network, rpc_url=rpc_url) as client, HttpStore(client.pool(pool_id).store_uri) as store:
            run_spec, pool_params = load_rules(client, pool_id, store)
    else:
        raise UsageError("which pool?", "give its number, or --spec and --params")
    lines = list(economics.evaluate(pool_params, run_spec, dishonest))
    least = economics.least_planted(pool_params, dishonest)
    if as_json:
        click.echo(json.dumps({"lines": [asdict(line) for line in lines], "least_planted": least}))
        return
    click.echo(f"{'':10}{'':18}{'caught':>8}{'value':>9}   tokens per slot or verdict, at most")
    for line in lines:
        click.echo(f"{line.who:10}{line.name:18}{line.probability:8.1%}{line.value:+9.3f}   {line.what}")
    if any(line.name == "lazy" and line.value > 0 for line in lines):
        end = (
            f"audit.planted of {least} basis points ends it" if least else "no share of planted slots ends it"
        )
        click.echo(f"laziness pays: {end}")


@pool.command("plant")
@click.argument("pool_id", type=click.IntRange(min=1))
@click.option("--node", required=True, help="A node of yours, or of somebody that you trust.")
@click.option(
    "--round",
    "rounds",
    type=click.IntRange(min=0),
    multiple=True,
    help="Repeatable. [default: drawn from all to come, as many as the RunSpec's audit.planted asks for]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="New file for pi-worker join --plants."
)
@network_options
@account_options
@json_option
@verbose_option
def plant(
    pool_id: int,
    node: str,
    rounds: tuple[int, ...],
    out: Path,
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    as_json: bool,
) -> None:
    """Plant bad slots, as the pool's creator: who accepts one without a replay loses stake.

    The node works badly in these rounds (its data are others'), which costs it nothing, and the model little.
    Nobody can tell until it is accused. With --json: {"pool_id", "node", "rounds", "file"}.
    """
    from .base import checksum
    from .client import Client
    from .plants import Plants
    from .rules import load_rules
    from .store import HttpStore

    node, signer = checksum(node), chosen_account(account, private_key, network)
    if out.exists():
        raise UsageError(f"{out} exists", "choose another --out; it may hold plants that are still needed")
    with Client(network, signer, rpc_url=rpc_url) as client:
        found = client.pool(pool_id)
        if found.creator != signer.address:
            raise UsageError(f"only its creator {found.creator} can plant in pool {pool_id}", "give its key")
        if early := [r for r in rounds if r < found.next_round]:
            raise UsageError(f"round {early[0]} has opened already", f"the next one is {found.next_round}")
        chosen = list(rounds)
        if not chosen:
            with HttpStore(found.store_uri) as store:
                spec, params = load_rules(client, pool_id, store)
            slots = max(found.member_slots, params.min_slots)
            to_come = range(found.next_round, spec.rounds)
            chosen = Plants.draw(spec.audit.planted, slots, to_come, SystemRandom())
        if not chosen:
            raise UsageError(f"pool {pool_id} has no rounds to plant, or plants none", "choose some: --round")
        Plants.hide(client, pool_id, node, chosen, out)
    done = {"pool_id": pool_id, "node": node, "rounds": chosen, "file": str(out)}
    click.echo(
        json.dumps(done) if as_json else f"{len(chosen)} slots of {node} are planted; keep {out} secret"
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
        raise ConfigError(f"{path} is no {model.__name__}: {_first_fault(error)}") from error


class JsonObject(RootModel[dict[str, Any]]):
    """Any."""


def pool_params(path: Path | None, spec: "RunSpec", orchestrator: str | None) -> "PoolParams":
    """What stands in a JSON file, with that orchestrator, if one is given; rounds and width are the
    RunSpec's where the file does not say. `ConfigError` names the first thing that is wrong."""
    from .base import checksum
    from .types import PoolParams

    values: dict[str, Any] = {"rounds": spec.rounds, "max_width": spec.max_width}
    values |= read_model(JsonObject, path).root if path else {}
    values |= {"orchestrator": checksum(orchestrator)} if orchestrator else {}
    if "orchestrator" not in values:
        raise UsageError("who moves the rounds?", "give --orchestrator, or --params with one")
    try:
        return PoolParams.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path or 'this'} is no PoolParams: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"
