"""The program `pi-validator`. Commands import what they need when they are called: `--help` loads neither
torch nor web3.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pi_sdk.options import (
    HELP,
    LazyGroup,
    account_options,
    home_option,
    json_option,
    mirror_option,
    network_options,
    node_options,
    verbose_option,
)
from pi_sdk.options import run as run_program
from pi_sdk.types import TOKEN

if TYPE_CHECKING:
    from .seat import Seat


def seat_options(command):
    """What every command takes: pool, network, keys, home."""
    options = [network_options, account_options, node_options, home_option("validator"), verbose_option]
    for option in reversed(options):
        command = option(command)
    return click.option(
        "--pool", "pool_id", type=click.IntRange(min=1), required=True, help="The pool's id."
    )(command)


_ELSEWHERE = {
    "calibrate": ("pi_validator.calibrate:calibrate", "Measure the error limits of a run's classes."),
}


@click.group(cls=LazyGroup, lazy=_ELSEWHERE, context_settings=HELP, invoke_without_command=True)
@click.version_option(package_name="pi-protocol", prog_name="pi-validator")
@verbose_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Audit the work of a pool, sit on its juries, and be paid for it.

    \b
    pi-validator run --pool 1 --account me      register, stake, take a seat, and serve until the run ends
    pi-validator status --pool 1                seat, stake, duties and pay
    pi-validator claim --pool 1 --account me    collect what was earned
    pi-validator leave --pool 1 --account me    give the seat up and free the stake
    pi-validator calibrate --spec run.json      before a run is published: error limits for its classes

    The operator key (--account) holds the stake and is paid; the node key (made in --home) signs verdicts and
    votes. A node that has a seat needs no operator key any more. Ctrl-C gives the seat up from the next round
    on and serves what it still owes; a second Ctrl-C ends at once.

    Exit codes: 0 done, 1 something went wrong, 2 a flag or value that cannot be right.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command()
@seat_options
@click.option("--faucet", is_flag=True, help="Mint the stake that is missing (local network only).")
@mirror_option
@click.option(
    "--screen/--no-screen",
    default=True,
    show_default=True,
    help="Compare the updates of every round, test the loss of some, and watch who looks wrong.",
)
@click.option("--evaluate", is_flag=True, help="Also measure the held-out loss of every checkpoint.")
@click.option(
    "--replay-memory",
    type=click.IntRange(min=1),
    default=2 << 30,
    show_default=True,
    help="Bytes that a replay may use beyond torch and the data.",
)
@click.option("--cheat", type=click.Choice(["lazy", "false-accuser"]), hidden=True)
def run(
    faucet: bool,
    mirrors: tuple[str, ...],
    screen: bool,
    evaluate: bool,
    replay_memory: int,
    cheat: str | None,
    **keys: Any,
) -> None:
    """Take a seat and serve until the run is over and nothing is owed, or Ctrl-C.

    A case that it opened and that ended in an acquittal is taken to the next jury once, where its own replay
    found a mismatch, the operator's key is here, and the free stake covers the pool's appeal bond. Absences
    and overturned verdicts of others are reported on the way.
    """
    # For research on the juries there is also --cheat lazy|false-accuser: see cheats.py.
    with _seat(**keys) as seat:
        from .audit import SlotAudit
        from .cheats import KINDS
        from .run import serve

        done = serve(
            seat,
            home=keys["home"],
            mirrors=mirrors,
            faucet=faucet,
            screen=screen,
            evaluate=evaluate,
            replay_memory=replay_memory,
            kind=KINDS[cheat] if cheat else SlotAudit,
        )
        click.echo(
            f"the seat in pool {done.pool} is released: {done.verdicts} verdicts, {done.votes} votes,"
            f" {done.claimed / TOKEN:g} tokens claimed"
        )


@cli.command()
@seat_options
@json_option
def status(as_json: bool, **keys: Any) -> None:
    """Show the seat, its stake, what it still owes, and its pay.

    --json prints one object: pool, node, operator, seat, active_from, left_at, locked, open_rounds,
    open_cases, stake {bonded, locked, unbonding, ready_at, open_cases}, claimable, total_earned, gas. Amounts
    are in wei, times in unix seconds.
    """
    with _seat(**keys) as seat:
        from .standing import lines, standing

        found = standing(seat.chain, seat.pool_id, seat.node.address)
        click.echo(found.model_dump_json() if as_json else "\n".join(lines(found)))


@cli.command()
@seat_options
@json_option
def claim(as_json: bool, **keys: Any) -> None:
    """Pay the operator everything that it has earned.

    --json prints {"claimed": token wei, "operator": address}.
    """
    with _seat(**keys) as seat:
        operator = seat.require_operator()
        done = {"claimed": seat.claim(), "operator": operator.address}
        text = f"claimed {done['claimed'] / TOKEN:g} tokens for {operator.address}"
        click.echo(json.dumps(done) if as_json else text)


@cli.command()
@seat_options
@click.option("--withdraw", is_flag=True, help="Also claim, and take out the stake that is free.")
@json_option
def leave(withdraw: bool, as_json: bool, **keys: Any) -> None:
    """Give the seat up, and free its stake once no round or case needs it. To be repeated for the rest.

    --json prints {"left_at", "released", "locked", "claimed", "unbonding", "ready_at", "withdrawn"}: the
    first round that no longer draws the seat (null without a seat), and token wei or unix seconds.
    """
    with _seat(**keys) as seat:
        from pi_sdk.accounts import only_one

        if withdraw:
            seat.require_operator()
        # Without an operator the node key sends, and it must not do so from two processes.
        with nullcontext() if seat.operator else only_one(keys["home"]):
            info = seat.leave()
            released = seat.release()
        claimed, withdrawn = (seat.claim(), seat.withdraw()) if withdraw else (0, 0)
        owner = seat.chain.operator_of(seat.node.address)
        stake = seat.chain.stake_account(owner) if owner else None
        done = {
            "left_at": info.left_at if info else None,
            "released": released,
            "locked": seat.locked(),
            "claimed": claimed,
            "unbonding": stake.unbonding if stake else 0,
            "ready_at": stake.ready_at if stake and stake.unbonding else None,
            "withdrawn": withdrawn,
        }
        click.echo(json.dumps(done) if as_json else "\n".join(_left_lines(done)))


def _left_lines(done: dict[str, Any]) -> list[str]:
    from pi_sdk.participant import money_lines

    out = ["there was no seat"]
    if done["left_at"] is not None:
        out = [f"the seat is given up from round {done['left_at']} on"]
        if done["released"]:
            out.append("its stake is free")
        else:
            out.append(
                f"{done['locked'] / TOKEN:g} tokens stay locked while rounds or cases may need the seat:"
                " pi-validator run serves them; then run this again"
            )
    return out + money_lines(done["claimed"], done["withdrawn"], done["unbonding"], done["ready_at"])


def _seat(**keys: Any) -> "AbstractContextManager[Seat]":
    """The seat with its connections. The operator is optional: most commands can do without."""
    from .seat import Seat

    return Seat.connected(**keys)


def main() -> NoReturn:
    run_program(cli)
