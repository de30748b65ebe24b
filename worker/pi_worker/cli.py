"""The program `pi-worker`. Commands import what they need when they are called: `--help` loads neither torch
nor web3.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pi_sdk.options import (
    HELP,
    account_options,
    home_option,
    json_option,
    network_options,
    node_options,
    run,
    verbose_option,
)
from pi_sdk.types import TOKEN

if TYPE_CHECKING:
    from .membership import Membership

CHEATS = ("half-steps", "copy", "wrong-shard")


def agent_options(command):
    """What every command takes: pool, network, keys, home."""
    options = [network_options, account_options, node_options, home_option("worker"), verbose_option]
    for option in reversed(options):
        command = option(command)
    return click.option(
        "--pool", "pool_id", type=click.IntRange(min=1), required=True, help="The pool's id."
    )(command)


@click.group(context_settings=HELP, invoke_without_command=True)
@click.version_option(package_name="pi-protocol", prog_name="pi-worker")
@verbose_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train in a pool and be paid for it.

    \b
    pi-worker join --pool 1 --account me      register, stake, join, and work until the run ends
    pi-worker status --pool 1                 stake, rounds, pay, and what is locked until when
    pi-worker claim --pool 1 --account me     collect what was earned
    pi-worker leave --pool 1 --account me     leave the pool and free the stake

    The operator key (--account) holds the stake and is paid; the node key (made in --home) signs the work. A
    node that has joined needs no operator key any more. Ctrl-C leaves the pool cleanly: a committed round is
    still revealed.

    Exit codes: 0 done, 1 something went wrong or the node was convicted, 2 a flag or value that cannot be
    right.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command()
@agent_options
@click.option(
    "--width", type=click.IntRange(min=1), default=1, show_default=True, help="Slots to work on per round."
)
@click.option(
    "--node-gas",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="Ether to keep on the node key; sent from the operator when less than half of it is left.",
)
@click.option("--faucet", is_flag=True, help="Mint the stake that is missing (local network only).")
@click.option("--cheat", type=click.Choice(CHEATS), hidden=True)
def join(width: int, node_gas: float, faucet: bool, cheat: str | None, **keys: Any) -> None:
    """Join a pool and work until the run ends or Ctrl-C."""
    # For research on the audits there is also --cheat half-steps|copy|wrong-shard: see cheats.py.
    with _node(**keys) as member:
        from pi_sdk.accounts import only_one
        from pi_sdk.client import Client

        from .agent import Agent
        from .trainer import trainer

        def connect() -> Client:
            return Client(keys["network"], rpc_url=keys["rpc_url"])

        with only_one(keys["home"]):
            agent = Agent(
                member=member,
                connect=connect,
                home=keys["home"],
                trainer=trainer(cheat),
                width=width,
                node_gas=int(node_gas * 10**18),
                faucet=faucet,
            )
            click.echo(agent.run())


@cli.command()
@agent_options
@json_option
def status(as_json: bool, **keys: Any) -> None:
    """Show stake, membership, rounds and pay of this node.

    --json prints one object: pool, node, operator, member, width, active_from, left_at, missed, convicted,
    rounds [{round, status, final, final_by, case}], locked, locked_until, stake {bonded, locked, unbonding,
    ready_at, open_cases}, claimable, total_earned, gas. Amounts are in wei, times in unix seconds.
    """
    with _node(**keys) as member:
        from .standing import lines, standing

        found = standing(member.chain, member.pool_id, member.node.address)
        click.echo(found.model_dump_json() if as_json else "\n".join(lines(found)))


@cli.command()
@agent_options
@json_option
def claim(as_json: bool, **keys: Any) -> None:
    """Settle this node's final rounds and pay the operator everything that it has earned.

    --json prints {"claimed": token wei, "operator": address}.
    """
    with _node(**keys) as member:
        operator = member.require_operator()
        member.settle()
        amount = member.claim()
        done = {"claimed": amount, "operator": operator.address}
        click.echo(
            json.dumps(done) if as_json else f"claimed {amount / TOKEN:g} tokens for {operator.address}"
        )


@cli.command()
@agent_options
@click.option("--withdraw", is_flag=True, help="Also claim, and take out the stake that is free.")
@json_option
def leave(withdraw: bool, as_json: bool, **keys: Any) -> None:
    """Leave the pool, settle, and free the stake as far as its rounds are final. To be repeated for the rest.

    --json prints {"left", "locked", "locked_until", "claimed", "unbonding", "ready_at", "withdrawn"}: whether
    this call left, and token wei or unix seconds.
    """
    with _node(**keys) as member:
        from pi_sdk.accounts import only_one

        from .standing import standing

        if withdraw:
            member.require_operator()
        # Without an operator the node key sends, and it must not do so from two processes.
        with nullcontext() if member.operator else only_one(keys["home"]):
            left = member.leave()
            locked = member.settle_and_release()
        claimed, withdrawn = (member.claim(), member.withdraw()) if withdraw else (0, 0)
        found = standing(member.chain, member.pool_id, member.node.address)
        stake = found.stake
        done = {
            "left": left,
            "locked": locked,
            "locked_until": found.locked_until,
            "claimed": claimed,
            "unbonding": stake.unbonding if stake else 0,
            "ready_at": stake.ready_at if stake and stake.unbonding else None,
            "withdrawn": withdrawn,
        }
        click.echo(json.dumps(done) if as_json else "\n".join(_left_lines(done)))


def _left_lines(done: dict[str, Any]) -> list[str]:
    from pi_sdk.participant import clock, money_lines

    out = ["left the pool" if done["left"] else "was out of the pool already"]
    if done["locked"]:
        until = f" until its rounds are final, by {clock(done['locked_until'])} if no case comes up"
        out.append(f"{done['locked'] / TOKEN:g} tokens stay locked{until}: run this again then")
    else:
        out.append("no stake is locked in this pool any more")
    return out + money_lines(done["claimed"], done["withdrawn"], done["unbonding"], done["ready_at"])


def _node(**keys: Any) -> "AbstractContextManager[Membership]":
    """The node with its connections. The operator is optional: most commands can do without."""
    from .membership import Membership

    return Membership.connected(**keys)


def main() -> NoReturn:
    run(cli)
