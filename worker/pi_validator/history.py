"""What the chain's events say about a run, round by round, and whom its seeds draw."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pi_sdk.codec import audit_draw, auditor_draw, juror_draw
from pi_sdk.results import Event
from pi_sdk.types import CaseStatus, Outcome, PoolParams

from .cases import LAST_LEVEL


@dataclass
class Round:
    """One round's events."""

    number: int
    posted_start: bytes
    committed: dict[str, bytes] = field(default_factory=dict)
    revealed: dict[str, Event] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    """By the last close that stands."""
    closes: list[Event] = field(default_factory=list)
    disproved: bool = False
    """The last close, where another one was still possible."""
    overruled: bytes | None = None
    seed: bytes | None = None
    seed_block: int = 0
    verdicts: list[Event] = field(default_factory=list)
    members: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Operator and first round of each node, when the round opened."""
    places: int = 0
    """Seats, left ones included, when it opened."""
    watched: set[str] = field(default_factory=set)
    """Nodes that validators had audited for certain."""


@dataclass
class Trial:
    """One case, with its latest jury."""

    round: Round
    node: str
    accuser: str
    jury: set[str] = field(default_factory=set)
    votes: dict[str, Outcome] = field(default_factory=dict)

    def outcome(self) -> CaseStatus:
        """Two thirds of the jury as drawn."""
        guilty = sum(vote != Outcome.ACCEPT for vote in self.votes.values())
        if self.jury and 3 * guilty >= 2 * len(self.jury):
            return CaseStatus.CONVICTED
        if self.jury and 3 * (len(self.votes) - guilty) >= 2 * len(self.jury):
            return CaseStatus.ACQUITTED
        return CaseStatus.HUNG


@dataclass
class SeatHeld:
    """A holder of a seat, live in rounds [active_from, left_at); `left_at` 0: still in."""

    operator: str
    validator: str
    active_from: int
    left_at: int = 0

    def judges(self, number: int) -> bool:
        return self.active_from <= number and (not self.left_at or number < self.left_at)


class History:
    """All of a pool's `events`, in order."""

    def __init__(self, events: list[Event], params: PoolParams):
        self.events, self.params = events, params
        self.rounds: dict[int, Round] = {}
        self.seats: dict[int, list[SeatHeld]] = defaultdict(list)
        """Holders by place."""
        self._last_joined: dict[str, int] = {}
        self._read()
        self.rolled_back = {e.args["round"]: e.args["to_round"] for e in events if e.name == "RolledBack"}

    def _read(self) -> None:
        members: dict[str, tuple[str, int]] = {}
        watched: dict[int, set[str]] = defaultdict(set)
        for event in self.events:
            args, name = event.args, event.name
            if name == "Joined":
                members[args["node"]] = (args["operator"], args["active_from"])
                self._last_joined[args["node"]] = args["active_from"]
            elif name == "SeatTaken":
                held = SeatHeld(args["operator"], args["node"], args["active_from"])
                self.seats[args["seat"]].append(held)
            elif name == "SeatLeft" and args["seat"] in self.seats:
                self.seats[args["seat"]][-1].left_at = args["left_at"]
            elif name == "Watched":  # before the round opens
                watched[args["round"]].add(args["node"])
            elif name == "RoundOpened":
                round_ = Round(args["round"], args["start_root"])
                round_.members, round_.places = dict(members), len(self.seats)
                round_.watched = watched[round_.number]
                self.rounds[round_.number] = round_
            elif args.get("round") in self.rounds:
                self._note(self.rounds[args["round"]], event, args["round"] + 1 in self.rounds)

    @staticmethod
    def _note(round_: Round, event: Event, is_past: bool) -> None:
        args = event.args
        match event.name:
            case "Committed":
                round_.committed[args["node"]] = args["commitment"]
            case "Revealed":
                round_.revealed[args["node"]] = event
            case "RevealsSealed" | "SeedRepinned":
                round_.seed_block = args["seed_block"]
            case "SeedCaptured":
                round_.seed = args["seed"]
            case "Excluded":
                round_.excluded[args["node"]] = args["reason"]
            case "RoundClosed":
                round_.closes.append(event)
                round_.disproved = False
            case "CloseDisproved" if not is_past:
                round_.excluded, round_.disproved = {}, True
            case "CloseOverruled":
                round_.overruled = args["root"]
            case "VerdictsRevealed":
                round_.verdicts.append(event)

    # --- draws ---------------------------------------------------------------------------------------------

    def auditors(self, round_: Round, node: str) -> list[str]:
        """The validators that the seed draws for a slot."""
        assert round_.seed is not None
        if node not in round_.members:
            return []
        operator, since = round_.members[node]
        chance = self.params.audit_chance(max(0, round_.number - since))
        came_back = self._last_joined[node] > round_.number  # then its older slots are a newcomer's
        certain = came_back or node in round_.watched
        if not certain and audit_draw(round_.seed, node) >= chance:
            return []
        starts = (auditor_draw(round_.seed, node, k, round_.places) for k in range(self.params.auditors))
        return _drawn(round_.places, self._eligible(round_, operator), starts)

    def jury(self, case_id: int, trial: Trial, level: int) -> set[str]:
        """The validators of a case's jury."""
        round_ = trial.round
        assert round_.seed is not None, "the chain opens no case about a round without a seed"
        held = (seat for holders in self.seats.values() for seat in holders if seat.judges(round_.number))
        accuser = {seat.operator for seat in held if seat.validator == trial.accuser}
        eligible = self._eligible(round_, round_.members[trial.node][0], *accuser)
        if level == LAST_LEVEL:
            return set(eligible.values())
        wanted = self.params.jury_size if level == 0 else 2 * self.params.jury_size + 1
        ks = (level * 256 + k for k in range(wanted))
        starts = (juror_draw(round_.seed, case_id, k, round_.places) for k in ks)
        return set(_drawn(round_.places, eligible, starts))

    def _eligible(self, round_: Round, *without: str) -> dict[int, str]:
        """Validators by place that may judge a round, none of these operators'."""
        return {
            place: seat.validator
            for place in range(round_.places)
            for seat in self.seats[place]
            if seat.judges(round_.number) and seat.operator not in without
        }

    def guilty(self) -> set[tuple[int, str]]:
        """Slots (round, node) that a case ended against; planted ones are among them."""
        about = {
            e.args["case_id"]: (e.args["round"], e.args["node"])
            for e in self.events
            if e.name == "CaseOpened"
        }
        convicted = (
            e.args["case_id"]
            for e in self.events
            if e.name == "CaseResolved" and e.args["status"] == CaseStatus.CONVICTED
        )
        return {about[number] for number in convicted if number in about}


def _drawn(n: int, eligible: dict[int, str], starts: Iterator[int]) -> list[str]:
    """Without replacement: from each start forward to the next place that is left."""
    taken = []
    for start in starts:
        if not eligible:
            break
        taken.append(eligible.pop(next(p % n for p in range(start, start + n) if p % n in eligible)))
    return taken
