"""Does what the state machine asks for: reads the chain, decides, sends transactions, keeps the database in
step.

All of it runs in the scheduler's one thread; other threads only read `state` and `head`, which are replaced
as wholes. Every action may be repeated: when somebody else was faster, the contract refuses and the chain's
next facts say so.
"""

import logging
import time
from dataclasses import asdict

from pi_sdk import ChainError, Client, ContractError, PiError
from pi_sdk.eventlog import EventLog

from .aggregate import Aggregator
from .blobs import BlobStore
from .db import Database
from .state import (
    Action,
    CaptureSeed,
    CloseRound,
    Deferred,
    Fact,
    OpenRound,
    ReportMiss,
    ResolveCase,
    SealReveals,
    State,
    Tick,
    artifacts_over,
    deadlines,
    evidence_over,
    replay,
    step,
)
from .watcher import Batch, Head, Rewound, Watcher

log = logging.getLogger("pi_orchestrator")

EVIDENCE_MARGIN = 60
"""Seconds for which evidence outlives the end of its round's verdicts."""

_RETRY = 0.5  # seconds until a refused or waiting action is tried again
_RETRY_AFTER_FAULT = 5.0  # the same after something that waiting alone does not mend
_MISS_SETTLED = ("NothingMissed", "NotMember", "UnknownRound")


class Service:
    """One orchestrator. `keep`: seconds for which artifacts outlive their pool."""

    def __init__(self, client: Client, db: Database, blobs: BlobStore, events: EventLog, keep: int):
        assert client.address is not None
        self._client, self._db, self._blobs, self._events, self._keep = client, db, blobs, events, keep
        self._watcher = Watcher(client, db, client.address)
        self._aggregator = Aggregator(blobs)
        self._said: dict[Action, str] = {}
        self.state: State = replay(db.facts())
        self.head = Head(self._watcher.block, "", 0)

    # --- jobs -------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Reads what is new and does what is due, until neither is left."""
        try:
            while self._look() or self._act():
                pass
        except ChainError as error:
            log.warning("%s", error)

    def finish_rounds(self) -> None:
        """Notes the closed rounds about which no verdict can come any more."""
        try:
            for pool in self.state.pools.values():
                for round_ in pool.rounds.values():
                    if (
                        round_.closed_at
                        and not round_.final_at
                        and self._client.is_final(pool.id, round_.number)
                    ):
                        args = {"pool_id": pool.id, "round": round_.number}
                        self._take([Fact("RoundFinal", self.head.block, self.head.time, args)])
        except ChainError as error:
            log.warning("%s", error)

    def prune(self) -> None:
        """Deletes the blobs whose time is over."""
        for pool_id, round_ in self._db.evidence_rounds():
            if pool_id in self.state.pools and evidence_over(
                self.state, pool_id, round_, self.head.time, EVIDENCE_MARGIN
            ):
                self._blobs.drop(pool_id, "evidence", round_)
        for pool_id in self.state.pools:
            if artifacts_over(self.state, pool_id, self.head.time, self._keep):
                self._blobs.drop(pool_id, "artifact")

    def next_deadline(self) -> int | None:
        """Unix seconds of the next thing that time alone makes due."""
        return min((t for t in deadlines(self.state) if t > self.head.time), default=None)

    def evidence_limit(self, pool_id: int) -> int | None:
        """Bytes that no honest evidence blob of this pool exceeds; None while its RunSpec is not known."""
        return self._aggregator.evidence_limit(pool_id)

    def uploaders_since(self, pool_id: int) -> tuple[set[str], int]:
        """Further uploaders of a pool, and its number of rounds, from the chain as it is now. Any thread
        may ask.
        """
        return self._watcher.uploaders_since(pool_id)

    # --- reading ----------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Takes in one batch; whether there is more to read."""
        match self._watcher.look(self.state):
            case Rewound(block):
                log.warning("the chain went back to block %d: starting again from there", block)
                self._db.rewind(block)
                self._aggregator.forget()
                self.state = replay(self._db.facts())
                return True
            case Batch() as batch:
                cursor = (batch.head.block, batch.head.hash) if batch.remember else None
                self._take(batch.facts, cursor)
                self._watcher.advance(batch)
                self.head = batch.head
                return batch.more

    def _take(self, facts: list[Fact], cursor: tuple[int, str] | None = None) -> None:
        """Stores facts and folds them into the state. Facts that change nothing are not kept."""
        state, kept = self.state, []
        for fact in facts:
            folded, _ = step(state, fact)
            if folded is not state:
                state = folded
                kept.append(fact)
        if kept or cursor:
            self._db.append(kept, cursor)
        self.state = state
        for fact in kept:
            self._announce(fact)

    def _announce(self, fact: Fact) -> None:
        """The lines in events.jsonl and in the log for people."""
        args = fact.args
        about = {"pool": args.get("pool_id"), "round": args.get("round")}
        match fact.name:
            case "PoolCreated":
                log.info("pool %d is ours", args["pool_id"])
            case "RoundOpened":
                self._say("opened", **about, expected=args["expected"], root=args["start_root"])
            case "RevealsSealed":
                self._say("sealed", **about, revealed=args["revealed"])
            case "SeedCaptured":
                self._say("seed", **about, seed=args["seed"])
            case "RoundClosed":
                round_ = self.state.pools[args["pool_id"]].rounds[args["round"]]
                seconds, excluded = round_.closed_at - round_.opened_at, dict(round_.excluded)
                self._say("closed", **about, root=args["root"], seconds=seconds, excluded=excluded)
            case "Missed":
                self._say("miss", **about, node=args["node"], in_a_row=args["in_a_row"])
            case "CaseResolved":
                self._say("resolved", case=args["case_id"], status=args["status"])
            case "PoolEnded":
                self._say("ended", pool=args["pool_id"])

    def _say(self, event: str, **fields: object) -> None:
        self._events.write(event, **fields)
        log.info("%s %s", event, " ".join(f"{name}={value}" for name, value in fields.items()))

    # --- acting -----------------------------------------------------------------------------------

    def _act(self) -> bool:
        """Does what is due; whether something was, so that its consequences can be read."""
        self.state, actions = step(self.state, Tick(self.head.time, self.head.block, time.monotonic()))
        done = False
        for at, action in enumerate(actions):
            try:
                waiting = self._execute(action)
            except ContractError as error:
                if not (isinstance(action, ReportMiss) and error.name in _MISS_SETTLED):
                    self._defer(action, str(error), _RETRY)
            except ChainError as error:  # the others would meet the same
                for left in actions[at:]:
                    self._defer(left, str(error), _RETRY_AFTER_FAULT)
                break
            except PiError as error:
                self._defer(action, str(error), _RETRY_AFTER_FAULT)
            except (
                Exception
            ):  # one pool's trouble must not stop the others; it is said in full and tried again
                log.exception("%s failed", _name(action))
                self._defer(action, "see above", _RETRY_AFTER_FAULT)
            else:
                if waiting:
                    self._defer(action, waiting, _RETRY)
                else:
                    done = True
        return done

    def _defer(self, action: Action, why: str, seconds: float) -> None:
        if self._said.get(action) != why:
            self._said[action] = why
            log.info("%s waits: %s", _name(action), why)
        self.state, _ = step(self.state, Deferred(action, time.monotonic() + seconds))

    def _execute(self, action: Action) -> str | None:
        """Does one action; what it waits for, or None when it is done."""
        client = self._client
        match action:
            case OpenRound(pool_id):
                pool = self.state.pools[pool_id]
                if missing := self._aggregator.missing(pool):
                    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                    return "not in the store yet: " + ", ".join(missing[:3]) + more
                client.open_round(pool_id, pool.params["max_train_window"])
            case SealReveals(pool_id):
                client.seal_reveals(pool_id)
            case CaptureSeed(pool_id, number):
                client.capture_seed(pool_id, number)
            case CloseRound(pool_id, number):
                pool = self.state.pools[pool_id]
                root, file, excluded = self._aggregator.close(pool, pool.rounds[number])
                client.close_round(pool_id, root, file, list(excluded.items()))
            case ReportMiss(pool_id, number, node):
                client.report_miss(pool_id, number, node)
            case ResolveCase(case_id):
                client.resolve_case(case_id)
        self._said.pop(action, None)
        return None


def _name(action: Action) -> str:
    return " ".join([type(action).__name__, *(f"{name}={value}" for name, value in asdict(action).items())])
