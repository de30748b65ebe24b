"""What anybody can do, and how traces are written.

A file holds traces, each u32 length and bytes. A trace is a list of steps: the move's number (u8), whether it
must succeed (u8), its arguments (u8 count, then u32 each). `CHECK` is followed by a u16 count and the words
of `state.words`, 16 bytes each. All big-endian. `contracts/test/model/Replay.t.sol` reads it.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .basics import Reverted
from .state import words
from .world import World

MOVES = (
    "warp",
    "roll",
    "stake",
    "request_unbond",
    "rebond",
    "withdraw",
    "pay_treasury",
    "fund",
    "claim",
    "refund",
    "create_pool",
    "pause",
    "revoke",
    "join",
    "set_width",
    "leave",
    "eject",
    "release_lock",
    "settle",
    "report_miss",
    "end_pool",
    "roll_back",
    "open_round",
    "commit",
    "reveal",
    "seal",
    "close",
    "post_bond",
    "release_bond",
    "punish_close",
    "convict_proven",
    "disprove",
    "take_seat",
    "leave_seat",
    "release_seat",
    "watch",
    "plant",
    "open_plant",
    "capture_seed",
    "commit_verdicts",
    "reveal_verdicts",
    "release_verdict_reserve",
    "commit_vote",
    "reveal_vote",
    "resolve_case",
    "appeal",
    "report_absence",
    "report_absent_juror",
    "report_overturned_vote",
    "report_overturned_verdict",
)
CHECK = len(MOVES)


class Move(NamedTuple):
    """`name` of `MOVES`; the first of `args` is who makes it (not for `warp` and `roll`)."""

    name: str
    args: Sequence[int]


def play(world: World, move: Move) -> bool:
    """Makes a move; False where it reverts."""
    try:
        getattr(world, move.name)(*move.args)
    except Reverted:
        return False
    return True


def encode_step(move: Move, succeeds: bool) -> bytes:
    n = len(move.args)
    return struct.pack(f">BBB{n}I", MOVES.index(move.name), succeeds, n, *move.args)


def encode_check(world: World) -> bytes:
    values = [value for _, value in words(world)]
    return struct.pack(">BH", CHECK, len(values)) + b"".join(value.to_bytes(16) for value in values)


def encode(moves: Iterable[Move], *, check_every_step: bool = False) -> bytes:
    """A trace: the moves with the outcomes that the model says, and its state at the end."""
    world, parts = World(), []
    for move in moves:
        parts.append(encode_step(move, play(world, move)))
        if check_every_step:
            parts.append(encode_check(world))
    if not check_every_step:
        parts.append(encode_check(world))
    return b"".join(parts)


def write(traces: Iterable[bytes]) -> bytes:
    """The file."""
    return b"".join(struct.pack(">I", len(trace)) + trace for trace in traces)
