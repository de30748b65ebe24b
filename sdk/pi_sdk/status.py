"""`pi run status`: how a run is doing, read from the chain alone."""

import json
from typing import TYPE_CHECKING, Any

import click

from .cli import plain
from .options import HELP, json_option, network_options, verbose_option
from .types import Phase

if TYPE_CHECKING:
    from .client import Client

_LAST = 5
"""Events of a kind that are shown."""


@click.group("run", context_settings=HELP)
def run_group() -> None:
    """Look at a run."""


@run_group.command()
@click.argument("pool_id", type=click.IntRange(min=1))
@network_options
@json_option
@verbose_option
def status(pool_id: int, network: str, rpc_url: str | None, as_json: bool) -> None:
    """Show a pool's phase, deadlines, members and last closes.

    With --json: {"pool": {...}, "rounds", "now", "round": {...} | null, "members": [{"node", "operator",
    "status", "width", "missed", "bonded", "locked", "earned"}], "seats": [{...}], "closes": [{"round",
    "root", "poster", "block"}], "watched": [{"round", "node", "validator"}]}; money in token wei. A watched
    slot is audited for certain: a validator's screens found something odd.
    """
    from .client import Client

    with Client(network, rpc_url=rpc_url) as client:
        values = run_status(client, pool_id)
    click.echo(json.dumps(values) if as_json else _text(values))


def run_status(client: "Client", pool_id: int) -> dict[str, Any]:
    """What `pi run status --json` prints."""
    pool = client.pool(pool_id)
    events = client.events(pool_id=pool_id, names=["RoundClosed", "Watched"])
    closes = [e for e in events if e.name == "RoundClosed"][-_LAST:]
    watched = [e for e in events if e.name == "Watched"][-_LAST:]
    return {
        "pool": plain(pool),
        "rounds": client.pool_params(pool_id).rounds,
        "now": client.now(),
        "round": plain(client.round(pool_id, pool.next_round - 1)) if pool.next_round else None,
        "members": [_member(client, pool_id, node) for node in client.nodes(pool_id)],
        "seats": [plain(seat) for seat in client.seats(pool_id)],
        "closes": [
            {
                "round": e.args["round"],
                "root": e.args["root"].hex(),
                "poster": e.args["poster"],
                "block": e.block,
            }
            for e in closes
        ],
        "watched": [{name: e.args[name] for name in ("round", "node", "validator")} for e in watched],
    }


def _member(client: "Client", pool_id: int, node: str) -> dict[str, Any]:
    member = client.member(pool_id, node)
    assert member is not None, "it joined, says the event"
    account = client.stake_account(member.operator)
    return {
        "node": node,
        "operator": member.operator,
        "status": "convicted" if member.convicted else "left" if member.left_at else "in",
        "width": member.next_width or member.width,
        "missed": member.missed,
        "bonded": account.bonded,
        "locked": account.locked,
        "earned": client.total_earned(member.operator),
    }


def _text(values: dict[str, Any]) -> str:
    pool, round_ = values["pool"], values["round"]
    state = "ended" if pool["ended"] else pool["phase"]
    opened = min(pool["next_round"], values["rounds"])
    last = ", the confirm-only round is next or running" if pool["last"] and not pool["ended"] else ""
    lines = [f"pool {pool['id']}: {state}, {opened} of {values['rounds']} rounds opened{last}"]
    if round_ and not pool["ended"]:
        for phase, name in ((Phase.COMMIT, "commit_deadline"), (Phase.REVEAL, "reveal_deadline")):
            if pool["phase"] == phase.name.lower():
                lines.append(f"{name.replace('_', ' ')} in {round_[name] - values['now']} s")
        counts = ", ".join(f"{round_[name]} {name}" for name in ("expected", "committed", "revealed"))
        lines.append(f"round {pool['next_round'] - 1}: {counts}")
    heads = ("node", "status", "width", "missed", "stake", "earned")
    lines += ["", "{:<42}  {:<9} {:>5} {:>6} {:>10} {:>10}".format(*heads)]
    for m in values["members"]:
        lines.append(
            f"{m['node']:<42}  {m['status']:<9} {m['width']:>5} {m['missed']:>6} {m['bonded'] / 1e18:>10.2f} "
            f"{m['earned'] / 1e18:>10.2f}"
        )
    lines += ["", f"{sum(not s['left_at'] for s in values['seats'])} validator seats"]
    lines += [f"round {c['round']} closed: {c['root']}" for c in values["closes"]]
    lines += [f"round {w['round']}: {w['node']} is watched by {w['validator']}" for w in values["watched"]]
    return "\n".join(lines)
