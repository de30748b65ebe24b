"""Validators that do not judge, for research: what a pool does about them must be seen."""

import os

from pi_sdk.types import Outcome

from .audit import Bench, Report, SlotAudit
from .evidence import Slot


class _Unlooked(SlotAudit):
    """A verdict, and votes, that nothing was fetched or replayed for. Nobody else could tell the digest."""

    outcome: Outcome

    def __init__(self, bench: Bench, slot: Slot, seed: bytes):
        self.bench, self.slot, self.seed = bench, slot, seed
        self.abstained = None
        self.report = Report(self.outcome, (), os.urandom(32), None, 0.0, False, 0.0)


class Lazy(_Unlooked):
    """Accepts everything. Loses where somebody else looked: a conviction overturns what it said."""

    outcome = Outcome.ACCEPT


class FalseAccuser(_Unlooked):
    """Accuses everybody. Loses the price of a false accusation wherever a jury looks."""

    outcome = Outcome.MISMATCH


KINDS: dict[str, type[SlotAudit]] = {"lazy": Lazy, "false-accuser": FalseAccuser}
