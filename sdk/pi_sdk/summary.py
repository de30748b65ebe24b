"""What a run came to: `build` gives summary.json, `timeline` the series that the report draws.

Every figure comes from the chain (events, receipts, balances) or from a measurement of that run (agents'
events, sizes of stored files, memory). Money is in token wei, time in seconds, gas in gas units, losses in
nats per token; hashes are bare hex.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from .chain import CONTRACTS
from .client import Client
from .recorder import Agent, Record, of
from .types import RunSpec

_PER_AGENT = {
    "Committed": ("commit", "node"),
    "Revealed": ("reveal", "node"),
    "VerdictsCommitted": ("commit_verdicts", "validator"),
    "VerdictsRevealed": ("reveal_verdicts", "validator"),
}
_ONCE = {
    "RoundOpened": "open",
    "RoundClosed": "close",
    "SeedCaptured": "capture_seed",
    "PoolCreated": "create_pool",
    "PoolFunded": "fund_pool",
    "NodeRegistered": "register_node",
    "Joined": "join",
    "SeatTaken": "take_seat",
    "VoteCommitted": "commit_vote",
    "VoteRevealed": "reveal_vote",
    "CaseResolved": "resolve_case",
    "BondPosted": "post_bond",
    "Claimed": "claim",
}


def build(
    client: Client,
    pool_id: int,
    records: Sequence[Record],
    agents: Sequence[Agent],
    *,
    update_bytes: dict[str, int],
    dense_bytes: int,
    unigram_entropy: float,
    seconds: dict[str, float],
    peak_pss: int,
) -> dict[str, Any]:
    """The summary, version 1. `update_bytes` maps the sha256 of each update file to its size in the store."""
    chain = [r for r in records if r["source"] == "chain"]
    params = client.pool_params(pool_id)
    # the training rounds: the confirm-only round after them is never closed
    closed = sorted({r["round"] for r in of(chain, "RoundClosed")})
    rounds = [_round(n, records, agents, update_bytes, dense_bytes) for n in closed]
    losses = [r["val_loss"] for r in rounds if r["val_loss"] is not None]
    return {
        "version": 1,
        "rounds": rounds,
        "workers": [_worker(a, rounds, records, params.price_per_slot) for a in agents if a.role == "worker"],
        "validators": [_validator(a, chain) for a in agents if a.role == "validator"],
        "chain": {
            "chain_id": client.chain_id,
            "contracts": _contracts(client),
            "gas": _gas(client, chain),
        },
        "money": _money(client, pool_id, chain),
        "loss": {
            "first": losses[0] if losses else None,
            "last": losses[-1] if losses else None,
            "unigram_entropy": unigram_entropy,
        },
        "seconds": seconds,
        "memory": {"peak_pss_bytes": peak_pss},
    }


def _contracts(client: Client) -> dict[str, str]:
    return {field: getattr(client.deployment, field) for field in CONTRACTS.values()}


def _root(chain: Sequence[Record]) -> str:
    """What a round came to, from its own records: the root of its last close, or the one that the next
    round's votes put in its place."""
    return (of(chain, "CloseOverruled") or of(chain, "RoundClosed"))[-1]["root"].removeprefix("0x")


def _round(
    n: int, records: Sequence[Record], agents: Sequence[Agent], sizes: dict[str, int], dense_bytes: int
) -> dict[str, Any]:
    mine = [r for r in records if r.get("round") == n]
    chain = [r for r in mine if r["source"] == "chain"]
    excluded = {r["node"] for r in of(chain, "Excluded")}
    revealed = of(chain, "Revealed")
    losses = of(mine, "val_loss")
    # the ends of the phases, each at least the one before: a phase that nobody entered took no time
    ends = [of(chain, "RoundOpened")[0]["t"]]
    for times in (
        [r["t"] for r in of(mine, "trained")],
        [r["t"] for r in of(chain, "Committed")],
        [r["t"] for r in revealed],
        [r["t"] for r in of(chain, "RoundClosed")],
    ):
        ends.append(max([ends[-1], *times]))
    verdicts = [r["t"] for r in of(chain, "VerdictsRevealed")]
    names = ("train", "commit", "reveal", "close")
    steps: dict[str, float] = {name: b - a for name, (a, b) in zip(names, pairwise(ends), strict=True)}
    steps["audit"] = max([ends[3], *verdicts]) - ends[3]
    return {
        "round": n,
        "checkpoint_hash": _root(chain),
        "included": [r["node"] for r in revealed if r["node"] not in excluded],
        "late": [r["node"] for r in of(chain, "RevealedLate")],
        "val_loss": losses[0]["loss"] if losses else None,
        "update_bytes": {r["node"]: sizes[r["update_file"].removeprefix("0x")] for r in revealed},
        "dense_bytes": dense_bytes,
        "seconds": {name: round(value, 3) for name, value in steps.items()},
    }


def _worker(agent: Agent, rounds: list[dict], records: Sequence[Record], price: int) -> dict[str, Any]:
    own = [r for r in records if r["source"] == agent.name]
    chain = [r for r in records if r["source"] == "chain"]
    trained = of(own, "trained")
    joined = [r["t"] for r in of(chain, "Joined") if r["node"] == agent.node]
    left = [r["t"] for r in of(chain, "Convicted", "Left") if r["node"] == agent.node]
    # a member until it left, was put out, or the pool's last round closed
    until = min([*left, max((r["t"] for r in of(chain, "RoundClosed")), default=0.0)])
    wall = until - joined[0] if joined else 0.0
    roots = {r["round"]: r["checkpoint_hash"] for r in rounds}
    closed = [r for r in of(own, "closed") if r["round"] in roots]
    paid = sum(r["paid"] for r in of(chain, "Settled") if r["node"] == agent.node)
    return {
        "address": agent.node,
        "cheat": agent.cheat,
        "accepted_slots": paid // price if price else 0,
        "tokens": sum(r["tokens"] for r in trained),
        **_account(agent.operator, chain),
        "claimed": sum(r["amount"] for r in of(chain, "Claimed") if r["account"] == agent.operator),
        "utilisation": round(sum(r["seconds"] for r in trained) / wall, 4) if wall > 0 else 0.0,
        "checkpoint_hashes_agree": bool(closed)
        and all(r["agrees"] and r["root"].removeprefix("0x") == roots[r["round"]] for r in closed),
    }


def _account(operator: str, chain: Sequence[Record]) -> dict[str, int]:
    return {
        "staked": sum(r["amount"] for r in of(chain, "Staked") if r["operator"] == operator),
        "slashed": sum(r["amount"] for r in of(chain, "Slashed") if r["operator"] == operator),
        "earned": sum(r["amount"] for r in of(chain, "Credited") if r["account"] == operator),
    }


def _validator(agent: Agent, chain: Sequence[Record]) -> dict[str, Any]:
    """`votes` counts judgements: verdicts about drawn slots and jury votes."""
    verdicts = sum(len(r["verdicts"]) for r in of(chain, "VerdictsRevealed") if r["validator"] == agent.node)
    jury = sum(r["juror"] == agent.node for r in of(chain, "VoteRevealed"))
    account = _account(agent.operator, chain)
    return {
        "address": agent.node,
        "votes": verdicts + jury,
        "earned": account["earned"],
        "slashed": account["slashed"],
    }


def _gas(client: Client, chain: Sequence[Record]) -> dict[str, Any]:
    """Median gas per operation. Commits, reveals and verdicts: of the agents' first ones, and of all later
    ones."""
    used = {
        tx: client.w3.eth.get_transaction_receipt(tx)["gasUsed"]
        for tx in {r["tx"] for r in of(chain, *_PER_AGENT, *_ONCE)}
    }
    gas: dict[str, Any] = {}
    for event, (name, by) in _PER_AGENT.items():
        costs: dict[str, list[int]] = {}
        for r in of(chain, event):
            costs.setdefault(r[by], []).append(used[r["tx"]])
        later = [c for values in costs.values() for c in values[1:]]
        if costs:
            gas[name] = {
                "first": int(median(values[0] for values in costs.values())),
                "steady": int(median(later)) if later else None,
            }
    for event, name in _ONCE.items():
        costs_once = [used[r["tx"]] for r in of(chain, event)]
        if costs_once:
            gas[name] = int(median(costs_once))
    return gas


def _money(client: Client, pool_id: int, chain: Sequence[Record]) -> dict[str, Any]:
    """Where the pool's budget and the stakes are, close bonds included. `conserved` compares events, books
    and the custodians' token balances.

    `paid` was claimed, `unpaid` is earned and not claimed yet, both without the treasury, whose pay is what
    convicted slots forfeited. `slashed_to` says who got the slashed stake.
    """
    books = client.budget(pool_id)
    treasury = client.treasury()
    earners = {r["account"] for r in of(chain, "Credited")}
    paid = sum(r["amount"] for r in of(chain, "Claimed") if r["account"] != treasury)
    unpaid = sum(client.earned(account) for account in earners if account != treasury)
    forfeited = sum(r["amount"] for r in of(chain, "Credited") if r["account"] == treasury)
    funded = sum(r["amount"] for r in of(chain, "PoolFunded"))
    refunded = sum(r["amount"] for r in of(chain, "Refunded"))
    owed = sum(client.earned(account) for account in earners)

    staked = sum(r["amount"] for r in of(chain, "Staked"))
    slashes = of(chain, "Slashed")
    slashed = sum(r["amount"] for r in slashes)
    fees: dict[str, int] = {}
    for r in slashes:
        if r["finder_fee"]:
            fees[r["finder"]] = fees.get(r["finder"], 0) + r["finder_fee"]
    withdrawn = sum(r["amount"] for r in of(chain, "Withdrawn"))
    sent = sum(r["amount"] for r in of(chain, "TreasuryPaid"))
    accounts = [client.stake_account(a) for a in {r["operator"] for r in of(chain, "Staked")}]
    held = sum(a.bonded + a.unbonding for a in accounts)
    to_treasury = slashed - sum(fees.values())

    conserved = (
        funded == books.funded == paid + unpaid + forfeited + refunded + books.reserved + books.free
        and client.token_balance(client.deployment.rewards) == owed + books.reserved + books.free
        and staked == held + withdrawn + to_treasury
        and client.token_balance(client.deployment.stakes) == held + to_treasury - sent
    )
    return {
        "funded": funded,
        "paid": paid,
        "unpaid": unpaid,
        "forfeited": forfeited,
        "reserved": books.reserved,
        "free": books.free,
        "refunded": refunded,
        "slashed_to": {"treasury": to_treasury, **fees},
        "conserved": conserved,
    }


def timeline(
    spec: RunSpec,
    records: Sequence[Record],
    agents: Sequence[Agent],
    *,
    pool_id: int,
    sample: str,
    params: dict,
) -> dict[str, Any]:
    """The series behind the report; times are seconds since the first record."""
    chain = [r for r in records if r["source"] == "chain"]
    start = min(r["t"] for r in records)
    names = {a.node: a.name for a in agents}
    closes = {r["round"]: r["t"] for r in of(chain, "RoundClosed")}
    return {
        "pool_id": pool_id,
        "name": spec.name,
        "start": start,
        "seconds": max(r["t"] for r in records) - start,
        "agents": [
            {
                "name": a.name,
                "role": a.role,
                "address": a.node,
                "operator": a.operator,
                "cheat": a.cheat,
                "spans": _spans([r for r in records if r["source"] == a.name], start),
                "stake": _stake(a.operator, chain, start),
                "earned": _earned(a.operator, chain, start),
            }
            for a in agents
        ],
        "genesis_loss": next((r["loss"] for r in of(records, "val_loss") if r["round"] == -1), None),
        "rounds": [
            {"round": r["round"], "opened": r["t"] - start, "closed": closes[r["round"]] - start}
            for r in of(chain, "RoundOpened")
            if r["round"] in closes
        ],
        "faults": [_fault(r, records, names) for r in of(chain, "CaseOpened")],
        "misses": [
            {"round": r["round"], "agent": names.get(r["node"], r["node"]), "penalty": r["penalty"]}
            for r in of(chain, "Missed")
        ],
        "sample": sample,
        "spec": spec.model_dump(mode="json"),
        "params": params,
    }


def _spans(own: Sequence[Record], start: float) -> list[dict[str, Any]]:
    """What an agent did when: train, commit, reveal (workers), audit (validators)."""
    spans = []
    for kind, event, before in (("commit", "committed", "trained"), ("reveal", "revealed", "committed")):
        since = {r["round"]: r["t"] for r in of(own, before)}
        for r in of(own, event):
            begin = since.get(r["round"], r["t"])
            spans.append({"kind": kind, "round": r["round"], "start": begin - start, "end": r["t"] - start})
    for kind, event in (("train", "trained"), ("audit", "audit")):
        for r in of(own, event):
            end = r["t"] - start
            spans.append({"kind": kind, "round": r["round"], "start": end - r["seconds"], "end": end})
    return sorted(spans, key=lambda s: s["start"])


def _stake(operator: str, chain: Sequence[Record], start: float) -> list[list[float]]:
    total, series = 0, []
    for r in of(chain, "Staked", "Slashed", "Withdrawn"):
        if r["event"] == "Slashed":
            change = (r["finder"] == operator) * r["finder_fee"] - (r["operator"] == operator) * r["amount"]
        else:
            change = (r["operator"] == operator) * (r["amount"] if r["event"] == "Staked" else -r["amount"])
        if change:
            total += change
            series.append([r["t"] - start, total])
    return series


def _earned(operator: str, chain: Sequence[Record], start: float) -> list[list[float]]:
    total, series = 0, []
    for r in of(chain, "Credited"):
        if r["account"] == operator:
            total += r["amount"]
            series.append([r["t"] - start, total])
    return series


def _fault(case: Record, records: Sequence[Record], names: dict[str, str]) -> dict[str, Any]:
    resolved = [r for r in of(records, "CaseResolved") if r["case_id"] == case["case_id"]]
    accuser = names.get(case["accuser"], case["accuser"])
    details = [
        r["detail"]
        for r in of(records, "audit", source=accuser)
        if (r["round"], r["node"]) == (case["round"], case["node"])
    ]
    return {
        "case": case["case_id"],
        "round": case["round"],
        "accused": names.get(case["node"], case["node"]),
        "accuser": accuser,
        "fault": case["fault"],
        "detail": details[0] if details else "",
        "votes": [
            {"juror": names.get(r["juror"], r["juror"]), "outcome": r["outcome"]}
            for r in of(records, "VoteRevealed")
            if r["case_id"] == case["case_id"]
        ],
        "status": resolved[0]["status"] if resolved else 1,
        "slashed": resolved[0]["slashed"] if resolved else 0,
        "planted": any(
            (r["round"], r["node"]) == (case["round"], case["node"]) for r in of(records, "PlantOpened")
        ),
    }
