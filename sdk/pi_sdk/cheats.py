"""What a worker can do wrong, and what must happen to it: the table behind every `--cheat`. How each is done
is in `pi_worker/cheats.py`; what validators, orchestrators and Sybils can do is in `tests/attacks/README.md`.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb

from .types import Outcome

ONE = Fraction(0)
"""As a share of segments: just one of them."""


@dataclass(frozen=True)
class Cheat:
    """One way to be paid for work that was not done, or to do harm."""

    does: str
    outcome: Outcome = Outcome.MISMATCH
    """What an audit that finds it says."""
    bad: Fraction | None = None
    """Share of a slot's segments whose replay shows it. None: the bytes alone do, without any replay."""
    after: int = 0
    """Rounds that it must take part in before it can begin."""
    width: int = 1
    """Slots that it claims per round."""
    saved: float | None = 0.0
    """Share of the claimed slots' compute that it is spared, at the most. None: one segment's."""

    def bad_segments(self, segments: int) -> int:
        """How many of a slot's segments show it; all of them where no replay is needed."""
        return segments if self.bad is None else max(1, ceil(self.bad * segments))

    def spared(self, segments: int) -> float:
        """`saved` of slots with so many segments."""
        return 1 / segments if self.saved is None else self.saved

    def found(self, segments: int, drawn: int) -> float:
        """Probability that an audit which replays `drawn` of `segments` segments finds it."""
        return 1 - comb(segments - self.bad_segments(segments), drawn) / comb(segments, drawn)


_ALL = Fraction(1)

CHEATS = {
    # --- work that was not done
    "half-steps": Cheat(
        "trains the first half of the inner steps, pretends the rest", bad=Fraction(1, 2), saved=0.5
    ),
    "idle-segment": Cheat("trains all but the last segment, pretends that one", bad=ONE, saved=None),
    "no-compute": Cheat("computes nothing: made-up losses, proofs and parameters", bad=_ALL, saved=1),
    "forward-only": Cheat("makes the forward passes and no step", bad=_ALL, saved=2 / 3),
    "half-batch": Cheat("trains on half of every batch", bad=_ALL, saved=0.5),
    "false-width": Cheat("claims two slots, trains on the batches of one", bad=_ALL, width=2, saved=0.5),
    "dropped-layer": Cheat("leaves the last block out", bad=_ALL, saved=0.25),
    "int8-weights": Cheat("takes gradients at weights of 8 bits", bad=_ALL, saved=0.5),
    "int4-weights": Cheat("takes gradients at weights of 4 bits", bad=_ALL, saved=0.75),
    "stale-1": Cheat("takes gradients at weights that are one step old", bad=_ALL),
    "stale-2": Cheat("takes gradients at weights that are two steps old", bad=_ALL),
    "stale-checkpoint": Cheat("starts from the round before's checkpoint", after=1),
    "hidden-stale": Cheat("starts from an old checkpoint behind the right first border", bad=ONE, after=1),
    # --- other work than was assigned
    "wrong-shard": Cheat("trains on other data than assigned, claims the assigned", bad=_ALL),
    "half-lr": Cheat("trains with half the learning rate", bad=_ALL),
    "poisoned-labels": Cheat("trains towards labels of its own in every step", bad=_ALL),
    "one-poisoned-step": Cheat("trains towards labels of its own in the last step", bad=ONE),
    # --- somebody else's work, or older work
    "copy": Cheat("hands in what another node revealed in the round before", after=1, saved=1),
    "copy-noise": Cheat("copies with noise, and a last border to fit", bad=_ALL, after=1, saved=1),
    "replay-old": Cheat(
        "hands in its own first update again, and a last border to fit", bad=_ALL, after=1, saved=1
    ),
    # --- honest work, another result
    "sign-flip": Cheat("trains, and hands in the negated update"),
    "scaled-update": Cheat("trains, and hands in ten times the update"),
    "forged-border": Cheat("trains, and negates what came out in its last border too", bad=ONE),
    "forged-state": Cheat("trains, and carries other moments into the next round"),
    "false-norm": Cheat("claims half of its update's norm, so that it is not scaled down"),
    # --- evidence
    "withheld": Cheat("commits and reveals, and serves no border", outcome=Outcome.WITHHELD),
    "malformed-update": Cheat("hands in an update that is none"),
    "malformed-trace": Cheat("serves a trace that ends too early"),
    "malformed-proofs": Cheat("serves activation proofs outside the field"),
    "malformed-border": Cheat("serves a last border that is not finite"),
    "oversized-update": Cheat("hands in an update of any size", outcome=Outcome.WITHHELD),
    "oversized-trace": Cheat("serves a trace of any size", outcome=Outcome.WITHHELD),
    "oversized-border": Cheat("serves a last border of any size", outcome=Outcome.WITHHELD),
}
