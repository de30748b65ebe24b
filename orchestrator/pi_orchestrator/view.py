"""What `GET /pools/{id}` says: a pool's state for people. Informational only; the chain is the truth."""

from typing import Any

from .model import Member, Pool, Round, State

_ROUNDS_SHOWN = 200
_REASONS = {1: "unavailable", 2: "malformed", 3: "wrong norm", 4: "other start"}


def pool_view(pool: Pool, state: State, now: int) -> dict[str, Any]:
    """Times are unix seconds of the chain, roots and files 0x hex; `history` has the latest rounds, oldest
    first.
    """
    current = pool.current
    closed = [r for r in pool.rounds.values() if r.closed_at]
    running = current if current and not current.closed_at and not pool.ended_at else None
    return {
        "id": pool.id,
        "creator": pool.creator,
        "run_spec": pool.run_spec_hash,
        "phase": pool.phase(now),
        "round": current.number if current else None,
        "rounds": pool.params["rounds"],
        "deadlines": {"commit": running.commit_deadline, "reveal": running.reveal_deadline}
        if running
        else None,
        "checkpoint": {
            "root": closed[-1].root if closed else pool.genesis_root,
            "file": closed[-1].file or None if closed else None,
        },
        "members": {node: _member(pool, node, member, running) for node, member in pool.members.items()},
        "open_cases": [
            number for number, case in state.cases.items() if case.pool == pool.id and not case.resolved
        ],
        "history": [_round(r) for r in list(pool.rounds.values())[-_ROUNDS_SHOWN:]],
    }


def _member(pool: Pool, node: str, member: Member, running: Round | None) -> dict[str, Any]:
    if node in pool.convicted:
        status = "convicted"
    elif member.left_at:
        status = "left"
    elif running is None or running.number < member.active_from:
        status = "waiting"
    elif node in running.reveals:
        status = "revealed"
    else:
        status = "committed" if node in running.committed else "training"
    return {"operator": member.operator, "width": member.width, "since": member.active_from, "status": status}


def _round(round_: Round) -> dict[str, Any]:
    return {
        "round": round_.number,
        "root": round_.root or None,
        "file": round_.file or None,
        "overruled": round_.overruled,
        "included": sorted(round_.included) if round_.closed_at else None,
        "excluded": {node: _REASONS.get(reason, str(reason)) for node, reason in round_.excluded.items()},
        "late": sorted(round_.late),
        "missed": sorted(round_.missed),
        "opened_at": round_.opened_at,
        "seconds": round_.closed_at - round_.opened_at if round_.closed_at else None,
        "final": bool(round_.final_at),
    }
