"""`--width auto`: a node takes as many slots as it can train in the time that the slowest node of its pool
needs, so that nobody waits for anybody.

A round's commit phase ends when the last node has committed. What was left of it after this node's own
commitment is time in which it could have trained further slots, and so is the time that a slot which was
trained ahead lay ready before its round opened. So the width rises by itself to what fits,
and falls only where the node comes near the longest time that a round may have.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

_ROUNDS = 3
"""Rounds that a decision is made from; the next one needs as many new ones."""


@dataclass(frozen=True)
class Pace:
    """Seconds of one round: this node's training, its whole way from the beginning to its commitment but for
    the time that the slot lay ready, and what was left then: that time, and the rest of the commit phase.
    """

    trained: float
    own: float
    slack: float


@dataclass
class AutoWidth:
    """Chooses a width. `longest` is the pool's longest commit phase in seconds, `limit` its largest width."""

    longest: int
    limit: int
    _paces: deque[Pace] = field(default_factory=lambda: deque(maxlen=_ROUNDS))

    def note(self, pace: Pace) -> None:
        self._paces.append(pace)

    def choose(self, width: int) -> int:
        """The width to have after rounds of width `width`; the same one until there is enough to go by."""
        if len(self._paces) < _ROUNDS:
            return width
        trained = median(p.trained for p in self._paces)
        own, slack = median(p.own for p in self._paces), median(p.slack for p in self._paces)
        half = self.longest / 2
        if own > half:
            wanted = int(width * half / own)
        else:
            wanted = int(width * (trained + min(slack, half - own)) / max(trained, 1e-3))
        wanted = min(max(wanted, 1), self.limit)
        if wanted != width:
            self._paces.clear()
        return wanted
