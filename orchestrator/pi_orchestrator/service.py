"""Does what the state machine asks for: reads the chain, decides, sends transactions, keeps the database in
step.

All of it runs in the scheduler's one thread; other threads only read `state` and `head`, which are replaced
as wholes. Every action may be repeated: when somebody else was faster, the contract refuses and the chain's
next facts say so.
"""

import logging
import math
import time
from dataclasses import asdict

from pi_sdk import ChainError, Client, ContractError, PiError
from pi_sdk.eventlog import EventLog
from pi_sdk.types import TOKEN

from .aggregate import Aggregator, Falsify
from .blobs import BlobStore
from .db import Database
from .mirror import Mirror
from .model import (
    Action,
    CaptureSeed,
    CloseRound,
    Deferred,
    Fact,
    OpenRound,
    Pool,
    PunishClose,
    ReleaseBond,
    ReportMiss,
    ResolveCase,
    SealReveals,
    State,
    Tick,
)
from .state import artifacts_over, deadlines, evidence_over, replay, step, train_window
from .watcher import Batch, Head, Rewound, Watcher

log = logging.getLogger("pi_orchestrator")

EVIDENCE_MARGIN = 60
"""Seconds for which evidence outlives the end of its round's verdicts."""

_RETRY = 0.5  # seconds until a refused or waiting action is tried again
_RETRY_AFTER_FAULT = 5.0  # the same after something that waiting alone does not mend
_SETTLED = {
    ReportMiss: ("NothingMissed", "NotMember", "UnknownRound"),
    CaptureSeed: ("NothingToJudge", "WrongPhase"),
    PunishClose: ("NotPunishable",),
}
"""Refusals after which there is nothing left to do."""


class Service:
    """One orchestrator. `keep`: seconds for which artifacts outlive their pool."""

    def __init__(
        self,
        client: Client,
        db: Database,
        blobs: BlobStore,
        events: EventLog,
        keep: int,
        falsify: Falsify | None = None,
        mirror: Mirror | None = None,
    ):
        assert client.address is not None
        self._client, self._db, self._blobs, self._events, self._keep = client, db, blobs, events, keep
        self._watcher = Watcher(client, db, client.address)
        self._aggregator, self._mirror = Aggregator(blobs, falsify), mirror
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
                    over = round_.closed_at or pool.is_confirmation(round_)
                    if over and not round_.final_at and self._client.is_final(pool.id, round_.number):
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
            case "CloseOverruled":
                self._say("overruled", **about, posted=args["posted"], root=args["root"])
            case "CloseDisproved":
                self._say("disproved", **about, finder=args["finder"])
            case "ClosePunished":
                self._say("punished", **about, poster=args["poster"], slashed=args["slashed"])
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
                if error.name in _SETTLED.get(type(action), ()):
                    self.state, _ = step(self.state, Deferred(action, math.inf))
                else:
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
                    self._defer(action, *waiting)
                else:
                    done = True
        return done

    def _defer(self, action: Action, why: str, seconds: float) -> None:
        if self._said.get(action) != why:
            self._said[action] = why
            log.info("%s waits: %s", _name(action), why)
        self.state, _ = step(self.state, Deferred(action, time.monotonic() + seconds))

    def _execute(self, action: Action) -> tuple[str, float] | None:
        """Does one action. What it waits for, and the seconds until it is worth another try; None: done."""
        client = self._client
        match action:
            case OpenRound(pool_id):
                pool = self.state.pools[pool_id]
                if missing := self._missing(pool):
                    return missing, _RETRY
                self._ensure_bond(pool)
                ahead = self._aggregator.spec(pool).outer.delay > 0
                client.open_round(pool_id, train_window(pool, ahead))
            case SealReveals(pool_id):
                client.seal_reveals(pool_id)
            case CaptureSeed(pool_id, number):
                client.capture_seed(pool_id, number)
            case CloseRound(pool_id, number):
                pool = self.state.pools[pool_id]
                if missing := self._missing(pool):
                    return missing, _RETRY
                root, file, excluded = self._aggregator.close(pool, pool.rounds[number])
                if "0x" + root.hex() in pool.rounds[number].disproved:
                    raise PiError(
                        f"round {number} of pool {pool_id}: the result was proved wrong, and comes out again",
                        "this program or machine computes wrongly; anybody else may close the round",
                    )
                self._ensure_bond(pool)
                client.close_round(pool_id, root, file, list(excluded.items()))
            case ReportMiss(pool_id, number, node):
                client.report_miss(pool_id, number, node)
            case PunishClose(pool_id, number):
                client.punish_close(pool_id, number)
            case ReleaseBond(pool_id):
                return self._release_bond(self.state.pools[pool_id])
            case ResolveCase(case_id):
                client.resolve_case(case_id)
        self._said.pop(action, None)
        return None

    def _missing(self, pool: Pool) -> str:
        """Which of a pool's files are not here, in words; the bucket is asked for them."""
        missing = self._aggregator.missing(pool)
        if missing and self._mirror:
            self._mirror.want(pool, missing)
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"not in the store yet: {', '.join(map(str, missing[:3]))}{more}" if missing else ""

    # --- the close bond ---------------------------------------------------------------------------

    def _ensure_bond(self, pool: Pool) -> None:
        """Stakes and locks what is missing of the bond that a close needs. `PiError` when the tokens are
        missing.
        """
        client, wanted = self._client, pool.params["close_bond"]
        missing = wanted - client.bond_of(pool.id)
        if missing <= 0:
            return
        free, balance = client.stake_account().free, client.token_balance()
        if free + balance < missing:
            raise PiError(
                f"pool {pool.id} wants a close bond of {wanted / TOKEN:g} tokens of {client.address}:"
                f" {(missing - free - balance) / TOKEN:g} tokens are missing",
                "send them to this address",
            )
        if free < missing:
            client.stake(missing - free)
        client.post_bond(pool.id)
        log.info("pool %d: close bond of %g tokens locked", pool.id, wanted / TOKEN)

    def _release_bond(self, pool: Pool) -> tuple[str, float] | None:
        """Frees the bond of an ended pool once our last close can no longer be wrong."""
        client = self._client
        if not client.bond_of(pool.id):
            return None
        ours = [n for n, round_ in pool.rounds.items() if round_.poster == client.address]
        until = client.disprovable_until(pool.id, max(ours)) if ours else 0
        if self.head.time <= until:
            return f"the close bond is locked until {until}", min(_RETRY, until - self.head.time + 1)
        client.release_bond(pool.id)
        log.info("pool %d: close bond released", pool.id)
        return None


def _name(action: Action) -> str:
    return " ".join([type(action).__name__, *(f"{name}={value}" for name, value in asdict(action).items())])
