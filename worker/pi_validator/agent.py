"""The validator's loop: follows the chain, serves its duties by deadline, and ends when nothing needs the
seat any more.

All state is on chain or in the journal, so the agent may be killed at any time: its duties are rebuilt from
the chain's events, at a start and whenever the node was lost, since a node that restarts may have lost its
last blocks.
"""

import logging
import shutil
import signal
import threading
from dataclasses import dataclass, field, replace
from types import FrameType

from pi_sdk.errors import ChainError, ContractError
from pi_sdk.results import Event, SeatInfo
from pi_sdk.types import TOKEN, Reveal, RunSpec

from .cases import CaseDuty
from .checkpoints import recompute
from .closes import Close, Closes
from .duties import Duties, RoundDuty
from .evaluations import Evaluations
from .evidence import Slot
from .housekeeping import Housekeeping
from .screening import Screening
from .seat import Seat

log = logging.getLogger(__name__)

POLL_SECONDS = 0.4
MAX_BACKOFF_SECONDS = 8.0
KEEP_ROUNDS = 2
"""Rounds behind the latest whose evidence is kept although nothing needs it."""
EVENTS = frozenset(
    "RoundOpened Revealed RevealsSealed SeedCaptured Excluded RoundClosed CloseOverruled CloseDisproved"
    " PoolEnded SeatLeft VerdictsCommitted VerdictsRevealed CaseOpened VoteCommitted VoteRevealed"
    " CaseEscalated CaseResolved".split()
)


@dataclass
class Agent:
    """One seat at work. `run` returns when the run is over, or the seat was given up, and every obligation is
    fulfilled.
    """

    seat: Seat
    info: SeatInfo
    spec: RunSpec
    duties: Duties
    evaluations: Evaluations | None
    screening: Screening | None
    housekeeping: Housekeeping
    closes: Closes
    stop: threading.Event
    rounds: dict[int, RoundDuty] = field(default_factory=dict)
    cases: dict[int, CaseDuty] = field(default_factory=dict)
    pool_ended: bool = False
    interrupts: int = 0
    verdicts: int = 0
    votes: int = 0
    """Verdicts and votes of this validator that stand on chain."""
    claimed: int = 0
    """Token wei, at the end of this run."""

    def __post_init__(self):
        self._next_block = 0
        self._reconnects = self.seat.chain.rpc.reconnects
        self._reachable = True
        self._told: set[tuple] = set()
        self._rebuild()

    # --- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until done. The first Ctrl-C gives the seat up and serves what remains; the second ends at
        once.
        """
        before = signal.signal(signal.SIGINT, self._interrupted)
        pause = POLL_SECONDS
        try:
            while not self._tick_or_outage():
                pause = POLL_SECONDS if self._reachable else min(2 * pause, MAX_BACKOFF_SECONDS)
                self.stop.wait(pause)
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self.interrupts += 1
        if self.interrupts > 1:
            raise KeyboardInterrupt

    def _tick_or_outage(self) -> bool:
        """One look at everything; True when there is nothing left to do."""
        try:
            done = self._tick()
        except ChainError as error:
            self._tell(("chain", str(error)), "%s; trying again", error)
            self._reachable = False
            self._rebuild()
            return False
        self._reachable = True
        return done

    def _tick(self) -> bool:
        chain = self.seat.chain
        self._follow()
        if self.interrupts and self.info.left_at == 0:
            self._give_up_seat()
        now = chain.now()
        for duty in sorted([*self.rounds.values(), *self.cases.values()], key=lambda d: d.deadline):
            try:
                duty.serve(self.duties, now)
            except ContractError as error:
                # One duty that the contract refuses must not cost the others their deadline.
                self._tell(
                    (type(duty), duty.number, error.name),
                    "%s %d: %s",
                    type(duty).__name__,
                    duty.number,
                    error,
                )
        self.housekeeping.serve(now)
        self.closes.serve(now)
        if self.screening is not None:
            self.screening.serve()
        if self.evaluations is not None:
            self.evaluations.serve()
        self._clean_up()
        return self._finish()

    # --- following the chain --------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Forgets what was read from the chain; the next look reads it again."""
        self._next_block = 0
        self.housekeeping.forget()
        self.closes.forget()
        self.rounds, self.cases, self.pool_ended, self.verdicts, self.votes = {}, {}, False, 0, 0
        self._joined: dict[str, int] = {}  # node -> round of its first reveal
        self._note_checkpoint(-1, bytes.fromhex(self.spec.genesis_root), self.spec.genesis_file)

    def _follow(self) -> None:
        chain, head = self.seat.chain, self.seat.chain.block_number()
        if chain.rpc.reconnects != self._reconnects or head < self._next_block - 1:
            self._reconnects = chain.rpc.reconnects
            self._rebuild()
        if head < self._next_block:
            return
        for event in chain.events(self._next_block, head, self.seat.pool_id, EVENTS):
            self._note(event)
            self.housekeeping.note(event)
        self._next_block = head + 1

    def _note(self, event: Event) -> None:
        args, me = event.args, self.duties.node
        match event.name:
            case "RoundOpened":
                duty = RoundDuty(args["round"], args["start_root"])
                duty.over = not self._is_live(duty.number)
                self.rounds[duty.number] = duty
            case "Revealed":
                duty = self.rounds[args["round"]]
                self._joined.setdefault(args["node"], duty.number)
                duty.slots[args["node"]] = Slot(
                    duty.number,
                    args["node"],
                    Reveal(**args["reveal"]),
                    args["update_file"].hex(),
                    args["locations"],
                    duty.start_root,
                    self._data_root(duty.number),
                )
            case "RevealsSealed":
                self.rounds[args["round"]].sealed = True
            case "SeedCaptured":
                duty = self.rounds[args["round"]]
                duty.seed = args["seed"]
                self._note_screen(duty)
            case "Excluded":
                self.rounds[args["round"]].excluded.add(args["node"])
            case "CloseDisproved" if args["round"] + 1 not in self.rounds:
                self.rounds[args["round"]].excluded.clear()
            case "CloseOverruled":
                self._note_overruled(args["round"], args["root"])
            case "RoundClosed":
                self._note_checkpoint(args["round"], args["root"], args["checkpoint_file"].hex())
                self._note_close(args["round"], args["root"])
            case "PoolEnded":
                self.pool_ended = True
            case "SeatLeft":
                if args["seat"] == self.info.index:
                    self.info = self.info.model_copy(update={"left_at": args["left_at"]})
            case "VerdictsCommitted" if args["validator"] == me:
                self.rounds[args["round"]].committed = True
            case "VerdictsRevealed" if args["validator"] == me:
                self.rounds[args["round"]].over = True
                self.verdicts += len(args["verdicts"])
            case "CaseOpened":
                duty = self.rounds[args["round"]]
                slot, number = duty.slots[args["node"]], args["case_id"]
                self.cases[number] = CaseDuty(
                    number, slot, duty.seed, accuser=me == args["accuser"], juror=me in args["jury"]
                )
            case "CaseEscalated":
                case = self.cases[args["case_id"]]
                case.escalate(args["level"], me in args["jury"])
                case.appealed = case.appealed or args["appellant"] == self.info.operator
            case "CaseResolved":
                self.cases[args["case_id"]].end(args["status"])
            case "VoteCommitted" if args["juror"] == me:
                self.cases[args["case_id"]].committed = True
            case "VoteRevealed" if args["juror"] == me:
                self.cases[args["case_id"]].revealed = True
                self.votes += 1

    def _data_root(self, number: int) -> bytes | None:
        """What the data of a round follow from, where it is not its start root. The votes about an earlier
        round are over by then."""
        delay = self.spec.outer.delay
        return self.rounds[number - delay].start_root if 0 < delay <= number else None

    def _note_overruled(self, number: int, root: bytes) -> None:
        """The votes of round `number` + 1 put `root` in the place of the result that was posted."""
        before, voted = self.rounds[number], self.rounds[number + 1]
        voted.start_root = root
        voted.slots = {node: replace(slot, start_root=root) for node, slot in voted.slots.items()}
        bench, start = self.duties.bench, before.start_root
        included = [slot for slot in before.counting() if slot.node not in before.excluded]
        bench.checkpoints.note_recipe(
            root,
            lambda: recompute(self.spec, bench.store, number, bench.checkpoints.read(start), included, root),
        )

    def _note_screen(self, duty: RoundDuty) -> None:
        if self.screening is not None and self._is_live(duty.number):
            ages = {node: duty.number - self._joined[node] for node in duty.slots}
            self.screening.note(duty.number, duty.seed, duty.counting(), ages)

    def _note_close(self, number: int, posted: bytes) -> None:
        duty = self.rounds[number]
        slots, excluded = tuple(duty.slots.values()), frozenset(duty.excluded)
        self.closes.note(Close(number, duty.start_root, posted, slots, excluded))

    def _note_checkpoint(self, round_: int, root: bytes, file: str) -> None:
        self.duties.bench.checkpoints.note(root, file)
        if self.evaluations is not None:
            self.evaluations.note(round_, root)

    def _is_live(self, round_: int) -> bool:
        """Whether the seat has a say about a round."""
        return self.info.active_from <= round_ and (self.info.left_at == 0 or round_ < self.info.left_at)

    def _may_need(self, case: CaseDuty) -> bool:
        """Whether a case still needs this seat, or may call it to a larger jury."""
        return not case.over and (case.involved or self._is_live(case.slot.round))

    # --- ending ---------------------------------------------------------------------------------------------

    def _give_up_seat(self) -> None:
        seat = self.seat.leave()
        assert seat is not None
        self.info = seat
        open_rounds = [n for n, duty in sorted(self.rounds.items()) if not duty.over and self._is_live(n)]
        open_cases = [n for n, case in sorted(self.cases.items()) if self._may_need(case)]
        log.warning(
            "the seat is given up from round %d on; still to serve: rounds %s, cases %s"
            " (Ctrl-C again ends at once; run again to serve them)",
            self.info.left_at,
            open_rounds or "none",
            open_cases or "none",
        )

    def _finish(self) -> bool:
        """Once the run is over or the seat was left, and all that may still name it is done: claims, leaves,
        releases.
        """
        if not (self.pool_ended or self.info.left_at):
            return False
        if any(not duty.over for n, duty in self.rounds.items() if self._is_live(n)):
            return False
        if any(map(self._may_need, self.cases.values())):
            return False
        if self.evaluations and self.evaluations.pending or self.screening and self.screening.pending:
            return False
        pool_id, events = self.seat.pool_id, self.duties.bench.events
        if not all(self.seat.chain.is_final(pool_id, n) for n in self.rounds if self._is_live(n)):
            return False
        self.info = self.seat.leave() or self.info
        if not self.seat.release():
            return False
        events.write("left", seat=self.info.index, left_at=self.info.left_at)
        self.claimed = self.seat.claim()
        if self.claimed:
            events.write("claimed", amount=self.claimed)
            log.info("claimed %g tokens", self.claimed / TOKEN)
        return True

    def _clean_up(self) -> None:
        """Deletes the evidence and the checkpoints that nothing needs any more."""
        needed = {case.slot.round for case in self.cases.values() if not case.over}
        latest = max(self.rounds, default=0)
        gone = [n for n, d in self.rounds.items() if d.over and n < latest - KEEP_ROUNDS and n not in needed]
        bench = self.duties.bench
        for n in gone:
            shutil.rmtree(bench.folder / str(n), ignore_errors=True)
        keep = {d.start_root for n, d in self.rounds.items() if n not in gone}
        if self.evaluations is not None:
            keep |= set(self.evaluations.pending.values())
        bench.checkpoints.drop_all_but(keep)

    def _tell(self, key: tuple, message: str, *args: object) -> None:
        """A warning, once for each key."""
        if key not in self._told:
            self._told.add(key)
            log.warning(message, *args)
