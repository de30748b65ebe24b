"""What the orchestrator's state machine is fed, asks for, and knows: events, actions and state.

A `Fact` is what happened for good (a log of our contracts, or a round seen to be final); facts are stored,
and the state is rebuilt by folding them again. A `Tick` carries the time and asks what is to be done now.
Which actions are in flight is the only thing in the state that no fact holds: every action may be repeated
without harm, so a restart forgets it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """A chain log with its arguments in snake case (bytes as 0x hex), or `RoundFinal` as seen by us.

    `PoolCreated` has the pool's parameters under `params` besides what the log says.
    """

    name: str
    block: int
    time: int
    """Timestamp of the block, unix seconds."""
    args: dict[str, Any]


@dataclass(frozen=True)
class Tick:
    """Asks for what is due. `now` and `block` are the chain's head; `clock` is ours, for retries only, in
    seconds.
    """

    now: int
    block: int
    clock: float


# --- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenRound:
    pool: int
    round: int


@dataclass(frozen=True)
class SealReveals:
    pool: int
    round: int


@dataclass(frozen=True)
class CaptureSeed:
    pool: int
    round: int


@dataclass(frozen=True)
class CloseRound:
    pool: int
    round: int


@dataclass(frozen=True)
class ReportMiss:
    pool: int
    round: int
    node: str


@dataclass(frozen=True)
class PunishClose:
    pool: int
    round: int


@dataclass(frozen=True)
class ReleaseBond:
    pool: int


@dataclass(frozen=True)
class ResolveCase:
    case: int


Action = (
    OpenRound | SealReveals | CaptureSeed | CloseRound | ReportMiss | PunishClose | ReleaseBond | ResolveCase
)


@dataclass(frozen=True)
class Deferred:
    """An action that could not be done: it is due again from `until` on (our clock)."""

    action: Action
    until: float


Event = Fact | Tick | Deferred

# --- state ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    operator: str
    width: int
    active_from: int
    left_at: int = 0
    """First round that no longer expects the node; 0 while it is in."""


@dataclass(frozen=True)
class Revealed:
    """What the aggregation needs of a reveal. Hashes are 0x hex."""

    width: int
    norm: int
    start_root: str
    update_root: str
    update_file: str
    locations: str


@dataclass(frozen=True)
class Round:
    number: int
    opened_at: int
    start_root: str
    """The posted one, or from the seal on the one that the votes put in its place."""
    commit_deadline: int
    reveal_deadline: int
    expected: int
    """Nodes, when it opened."""
    committed: Mapping[str, int] = field(default_factory=dict)
    """Chain time of each commitment, by node."""
    reveals: Mapping[str, Revealed] = field(default_factory=dict)
    """By node, in the order of the reveals."""
    late: tuple[str, ...] = ()
    sealed_at: int = 0
    seed_block: int = 0
    seed: str = ""
    closed_at: int = 0
    poster: str = ""
    root: str = ""
    """The result: as posted, as the next round's votes have it, or what the pool's creator went back to."""
    file: str = ""
    """Of the result; empty where nobody named one, since the votes replaced what was posted."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Reason by node: 1 unavailable, 2 malformed, 3 wrong norm, 4 another start root than the voted one."""
    overruled: bool = False
    punished: bool = False
    """The bond behind the close was taken, or is out of reach."""
    disproved: frozenset[str] = frozenset()
    """Roots that a proof showed to be wrong."""
    missed: tuple[str, ...] = ()
    final_at: int = 0

    @property
    def counting(self) -> dict[str, Revealed]:
        """The reveals that started from the round's root, in order."""
        return {node: r for node, r in self.reveals.items() if r.start_root == self.start_root}

    @property
    def included(self) -> dict[str, Revealed]:
        """The reveals that the mean was taken over."""
        return {node: r for node, r in self.counting.items() if node not in self.excluded}


@dataclass(frozen=True)
class Pool:
    id: int
    creator: str
    run_spec_hash: str
    genesis_root: str
    params: Mapping[str, Any]
    """`PoolParams`, dumped."""
    rounds: Mapping[int, Round] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    """Everybody who ever joined, by node; the latest membership of each."""
    seats: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """(operator, node) by seat index, seats given up included."""
    convicted: frozenset[str] = frozenset()
    rollbacks: Mapping[int, int] = field(default_factory=dict)
    """Round -> the older one that it starts from again."""
    bonded: bool = False
    """Whether we may have a close bond locked."""
    ended_at: int = 0

    @property
    def current(self) -> Round | None:
        return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def next_round(self) -> int:
        return max(self.rounds, default=-1) + 1

    def expected(self, number: int) -> Iterator[str]:
        """The nodes that a round expects, as far as is known by now."""
        for node, member in self.members.items():
            if member.active_from <= number and not 0 < member.left_at <= number:
                yield node

    def is_confirmation(self, round_: Round) -> bool:
        """Whether a sealed round was the confirm-only one: its seal has ended the pool, and it has no
        close.
        """
        return bool(self.ended_at and round_ is self.current and not round_.closed_at)

    def uploaders(self) -> set[str]:
        """Addresses that may store files for this pool."""
        people = {self.creator, self.params["orchestrator"]}
        for node, member in self.members.items():
            people |= {node, member.operator}
        return people.union(*self.seats.values())

    def phase(self, now: int) -> str:
        """idle, commit, reveal, sealed or ended, at the chain time `now`."""
        current = self.current
        if self.ended_at:
            return "ended"
        if current is None or current.closed_at:
            return "idle"
        if current.sealed_at:
            return "sealed"
        complete = len(current.committed) >= current.expected
        return "reveal" if complete or now > current.commit_deadline else "commit"


@dataclass(frozen=True)
class Case:
    pool: int
    round: int
    node: str
    jurors: int
    """Of the present jury, as are the counts below."""
    deadline: int
    """Chain time at which the votes, or the time for an appeal, are over."""
    committed: int = 0
    revealed: int = 0
    resolved: bool = False


@dataclass(frozen=True)
class State:
    pools: Mapping[int, Pool] = field(default_factory=dict)
    cases: Mapping[int, Case] = field(default_factory=dict)
    pending: Mapping[Action, float] = field(default_factory=dict)
    """Due actions that were handed out, and from when on (our clock) they are handed out again."""
