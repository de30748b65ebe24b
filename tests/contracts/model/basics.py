"""What every part of the model uses."""

RING = 16
"""Rounds that the ledger and the court keep."""

NOBODY = 255
"""The zero address among the actors."""


class Reverted(Exception):
    """The move is not allowed; nothing has changed."""


def require(allowed: object, why: str) -> None:
    if not allowed:
        raise Reverted(why)


class Clock:
    """`block.timestamp` and `block.number`, in seconds and blocks."""

    def __init__(self, now: int = 1_000_000, block: int = 1000):
        self.now = now
        self.block = block
