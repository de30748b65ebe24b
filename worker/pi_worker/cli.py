"""The program `pi-worker`. Commands import what they need when they are called: `--help` loads neither torch
nor web3.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pi_sdk.cheats import CHEATS
from pi_sdk.options import (
    HELP,
    account_options,
    home_option,
    json_option,
    mirror_option,
    network_options,
    node_options,
    run,
    verbose_option,
)
from pi_sdk.types import TOKEN

if TYPE_CHECKING:
    from .membership import Membership


class Width(click.IntRange):
    """A number of slots, or "auto"."""

    name = "integer|auto"

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


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
    pi-worker leave --pool 1 --account me     leave the pool and free the stake; --withdraw also takes it out
    pi-worker appeal 7 --pool 1 --account me  take a conviction to a larger jury

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
    "--width",
    type=Width(),
    show_default="1, or what the node declared before",
    help="Slots to work on per round, from the next one on; auto: as many as this machine trains in the time"
    " that the pool's slowest node takes, as far as the stake reaches.",
)
@click.option("--invite", metavar="TEXT", help="The pool's permission, where it is not open to everybody.")
@click.option(
    "--node-gas",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="Ether to keep on the node key; sent from the operator when less than half of it is left.",
)
@mirror_option
@click.option("--faucet", is_flag=True, help="Mint the stake that is missing (local network only).")
@click.option(
    "--plants",
    type=click.Path(path_type=Path),
    help="Slots to work badly in, from the pool's creator: pi pool plant.",
)
@click.option("--cheat", type=click.Choice(list(CHEATS)), hidden=True)
def join(
    width: int | str | None,
    invite: str | None,
    node_gas: float,
    mirrors: tuple[str, ...],
    faucet: bool,
    plants: Path | None,
    cheat: str | None,
    **keys: Any,
) -> None:
    """Join a pool and work until the run ends or Ctrl-C."""
    # For research on the audits there is also --cheat NAME: see pi_sdk/cheats.py.
    with _node(**keys) as member:
        from pi_sdk.accounts import only_one
        from pi_sdk.client import Client
        from pi_sdk.plants import Plants
        from pi_sdk.store import HttpStore
        from pi_sdk.types import Invite

        from .agent import Agent
        from .trainer import trainer

        def connect() -> Client:
            return Client(keys["network"], rpc_url=keys["rpc_url"])

        salts: dict[int, str] = {}
        if plants:
            planted = Plants.load(plants, member.pool_id, member.node.address)
            planted.check(member.chain)
            salts = planted.salts
        with only_one(keys["home"]):
            agent = Agent(
                member=member,
                connect=connect,
                home=keys["home"],
                trainer=trainer(cheat, salts),
                plants=salts,
                width=None if isinstance(width, str) else width,
                auto_width=width == "auto",
                invite=Invite.from_text(invite) if invite else None,
                node_gas=int(node_gas * 10**18),
                faucet=faucet,
                mirrors=[HttpStore(url) for url in mirrors],
            )
            click.echo(agent.run())


@cli.command()
@agent_options
@json_option
def status(as_json: bool, **keys: Any) -> None:
    """Show stake, membership, rounds and pay of this node.

    --json prints one object: pool, node, operator, member, width, next_width, change_at, accrued,
    active_from, left_at, missed, convicted, rounds [{round, status, final, final_by, case}], locked,
    locked_until, stake {bonded, locked, unbonding, ready_at, open_cases}, claimable, total_earned, gas.
    Amounts are in wei, times in unix seconds.
    """
    with _node(**keys) as member:
        from .standing import lines, standing

        found = standing(member.chain, member.pool_id, member.node.address)
        click.echo(found.model_dump_json() if as_json else "\n".join(lines(found)))


@cli.command()
@agent_options
@json_option
def claim(as_json: bool, **keys: Any) -> None:
    """Settle the final rounds of all the operator's nodes in the pool, and pay out everything that it has
    earned.

    --json prints {"claimed": token wei, "operator": address}.
    """
    with _node(**keys) as member:
        operator = member.require_operator()
        member.settle_all()
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
    """Leave the pool, settle, and free the stake as far as its rounds are over. With --withdraw, everything
    that is owed is taken out, as far as it can be now. To be repeated for the rest: it says what remains,
    and when.

    --json prints {"left", "locked", "locked_until", "unsettled_rounds", "settles_by", "claimed", "unbonding",
    "ready_at", "withdrawn", "done"}: whether this call left, token wei, round numbers or unix seconds, and
    whether nothing remains.
    """
    with _node(**keys) as member:
        from pi_sdk.accounts import only_one

        if withdraw:
            member.require_operator()
        # Without an operator the node key sends, and it must not do so from two processes.
        with nullcontext() if member.operator else only_one(keys["home"]):
            left = member.leave()
            locked = member.settle_and_release()
        claimed, withdrawn = (member.claim(), member.withdraw()) if withdraw else (0, 0)
        found = member.chain.exit_state(member.pool_id, member.node.address)
        stake = found.stake
        done = {
            "left": left,
            "locked": locked,
            "locked_until": found.unlocks_by if locked else None,
            "unsettled_rounds": found.unsettled_rounds,
            "settles_by": found.settles_by,
            "claimed": claimed,
            "unbonding": stake.unbonding if stake else 0,
            "ready_at": stake.ready_at if stake and stake.unbonding else None,
            "withdrawn": withdrawn,
            "done": not (locked or found.unsettled_rounds or (withdraw and stake and stake.unbonding)),
        }
        click.echo(json.dumps(done) if as_json else "\n".join(_left_lines(done, found.open_cases)))


def _left_lines(done: dict[str, Any], cases: Sequence[int]) -> list[str]:
    from pi_sdk.participant import clock, money_lines

    out = ["left the pool" if done["left"] else "was out of the pool already"]
    if done["locked"]:
        until = f" until its rounds are over, by {clock(done['locked_until'])}: run this again then"
        out.append(f"{done['locked'] / TOKEN:g} tokens stay locked{until}")
        out += [f"case {number} is open: pi-worker status" for number in cases]
    else:
        out.append("no stake is locked in this pool any more")
    if done["unsettled_rounds"]:
        rounds = ", ".join(map(str, done["unsettled_rounds"]))
        out.append(
            f"the pay of round {rounds} is decided by {clock(done['settles_by'])}: run this again then"
        )
    return out + money_lines(done["claimed"], done["withdrawn"], done["unbonding"], done["ready_at"])


@cli.command()
@click.argument("case", type=click.IntRange(min=1))
@agent_options
@json_option
def appeal(case: int, as_json: bool, **keys: Any) -> None:
    """Take a case that was decided against this operator to a larger jury.

    Stakes and locks the pool's appeal bond, which is lost when the outcome stays the same. The evidence
    should be in the store by then: a running pi-worker join puts it there.

    --json prints {"case", "bond"}: the case's number, token wei.
    """
    with _node(**keys) as member:
        bond = member.appeal(case)
        text = f"case {case} goes to the next jury; {bond / TOKEN:g} tokens are locked until it has decided"
        click.echo(json.dumps({"case": case, "bond": bond}) if as_json else text)


def _node(**keys: Any) -> "AbstractContextManager[Membership]":
    """The node with its connections. The operator is optional: most commands can do without."""
    from .membership import Membership

    return Membership.connected(**keys)


def main() -> NoReturn:
    run(cli)
