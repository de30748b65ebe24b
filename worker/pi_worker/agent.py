"""The loop behind `pi-worker join`: join, follow the pool round by round, wind down, be paid.

One `tick` looks at the chain and does the next thing that it asks for. A node, a store or an orchestrator
that is away for a while makes a tick fail, and the next one tries again; nothing is kept in memory that a
restart could not find again.
"""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pi_sdk.client import Client
from pi_sdk.codec import ZERO
from pi_sdk.errors import ChainError, ContractError, PiError, RankFailed, StoreError, WrongNetwork
from pi_sdk.eventlog import EventLog
from pi_sdk.results import MemberInfo, PoolInfo
from pi_sdk.rules import load_rules
from pi_sdk.store import HttpStore, MultiStore, through_disk
from pi_sdk.types import TOKEN, DeterminismClass, Invite, PoolParams, RunSpec
from pi_train import determinism
from pi_train.data import load_corpus

from .evidence import EvidenceServer
from .following import Following
from .journal import Journal
from .membership import Membership
from .rounds import RoundWorker, is_expected
from .trainer import Trainer
from .width import AutoWidth

log = logging.getLogger(__name__)

POLL = 0.25
MAX_BACKOFF = 5.0
MAX_REFUSALS = 5
NUDGE_AFTER = 5
"""Seconds after which a worker that is winding down seals a round, or captures its seed, itself."""


class Convicted(PiError):
    """A jury has convicted this node."""


class Agent:
    """One node working in one pool. `connect` makes a further, read-only client; `node_gas` is wei; no
    `width` means 1 for a new member, and what it declared for one that is in; `auto_width` changes it by
    measured speed.
    """

    def __init__(
        self,
        *,
        member: Membership,
        connect: Callable[[], Client],
        home: Path,
        trainer: Trainer,
        width: int | None,
        auto_width: bool,
        invite: Invite | None,
        node_gas: int,
        faucet: bool,
        mirrors: Sequence[HttpStore] = (),
        plants: Mapping[int, str] | None = None,
    ):
        self.member = member
        self.chain = member.chain
        self.node = member.node
        self.pool_id = member.pool_id
        self.connect = connect
        self.home = home
        self.trainer = trainer
        self.width = width
        self.auto_width = auto_width
        self.invite = invite
        self.node_gas = node_gas
        self.faucet = faucet
        self.mirrors = mirrors
        self.plants = plants or {}
        self.events = EventLog(home)
        self.stop = threading.Event()
        self.wake = threading.Event()
        """Ends a pause."""
        self._ended_by = ""
        self._fuelled = 0
        self._slashes_said = 0

    # --- start ------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Works until the run is over or `stop` is set; returns one line about it. Raises `Convicted`."""
        pool = self.chain.pool(self.pool_id)
        is_in = self.member.is_in(self.member.info())
        if pool.ended and not is_in:
            raise PiError(f"pool {self.pool_id} has ended", "pi pool list shows the pools that are open")
        with HttpStore(pool.store_uri, self.node, self.chain.chain_id, self.pool_id) as store:
            spec, params = load_rules(self.chain, self.pool_id, MultiStore([store], self.mirrors))
            cls = determinism.admitted(spec)[0]
            log.info("run %r: %d rounds, class %s", spec.name, spec.rounds, cls.id)
            if not is_in:
                self.member.check(params, width=self.width or 1, faucet=self.faucet)
                # before money moves. Who comes back may have to reveal before torch is here
                determinism.pin(cls)
                from pi_train.model import check

                check(spec.model)
            return self._work(store, spec, params, cls)

    def _work(self, store: HttpStore, spec: RunSpec, params: PoolParams, cls: DeterminismClass) -> str:
        announced = store.mirrors()
        mirrors = [*self.mirrors, *(HttpStore(url, tries=1) for url in announced)]
        sources, shards = MultiStore([store], mirrors), self.home / "data" / "shards"
        corpus = load_corpus(spec, through_disk(sources, shards), self.home / "data")
        shutil.rmtree(shards, ignore_errors=True)  # they are in the corpus now
        journal = Journal(self.home / f"pool-{self.pool_id}")
        evidence = EvidenceServer(
            self.connect, store, spec, journal, self.events, pool_id=self.pool_id, node=self.node.address
        )
        evidence.plants = {r: partial(self._open_plant, r, salt) for r, salt in self.plants.items()}
        self.following = Following(
            chain=self.chain,
            store=sources,
            events=self.events,
            journal=journal,
            spec=spec,
            pool_id=self.pool_id,
            node=self.node.address,
            expected=is_expected,
        )
        self.rounds = RoundWorker(
            chain=self.chain,
            store=store,
            events=self.events,
            journal=journal,
            evidence=evidence,
            spec=spec,
            params=params,
            cls=cls,
            corpus=corpus,
            trainer=self.trainer,
            pool_id=self.pool_id,
            node=self.node.address,
            stop=self.stop,
            wake=self.wake,
            following=self.following,
            auto=AutoWidth(params.max_train_window, params.max_width) if self.auto_width else None,
            has_bucket=bool(announced),
        )
        self.params = params
        with self._signals():
            self._join(params)
            self.joined_at = time.monotonic()
            self._watch_old_rounds()
            evidence.start()
            try:
                return self._loop()
            finally:
                evidence.stop()

    def _join(self, params: PoolParams) -> None:
        new = self.member.ensure(
            params, width=self.width, invite=self.invite, node_gas=self.node_gas, faucet=self.faucet
        )
        member = self.member.info()
        assert member is not None
        self.events.write(
            "joined",
            pool=self.pool_id,
            node=self.node.address,
            operator=member.operator,
            width=member.next_width,
            resumed=not new,
        )
        log.info(
            "node %s %s pool %d with width %d, from round %d on",
            self.node.address,
            "joined" if new else "goes on in",
            self.pool_id,
            member.next_width,
            member.active_from,
        )

    def _open_plant(self, round_: int, salt: str) -> None:
        self.chain.open_plant(self.pool_id, round_, self.node.address, bytes.fromhex(salt))
        self.events.write("plant_opened", round=round_)
        log.info("round %d: accused, as it should be: the slot was planted", round_)

    def _watch_old_rounds(self) -> None:
        """After a restart: rounds that were revealed before it may still be audited."""
        self.following.log.refresh()
        for round_ in self.rounds.journal.rounds():
            mine = self.following.log.revealed_by(round_, self.node.address)
            entry = self.rounds.journal.load(round_)
            if mine and entry and entry.reveal() == mine.reveal and not entry.confirms_only:
                self.rounds.evidence.add(entry)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM asks to wind down; the next one ends the process at once."""

        def ask(number: int, _: object) -> None:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, lambda *_: os._exit(1))  # nothing on disk is ever half written
            log.warning("%s: leaving the pool; once more ends at once", signal.Signals(number).name)
            self.stop.set()  # not `wake`: this thread may hold its lock

        before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    # --- the loop ---------------------------------------------------------------------------------------

    def _loop(self) -> str:
        backoff, said, refusals = POLL, "", 0
        while True:
            try:
                summary = self.tick()
                if summary is not None:
                    return summary
                backoff, said, refusals = POLL, "", 0
            except WrongNetwork:
                raise
            except (ChainError, StoreError, ContractError, RankFailed) as error:
                # A contract refuses what somebody else was faster with: the next look will show that.
                refusals += isinstance(error, ContractError | RankFailed)
                if refusals == MAX_REFUSALS:
                    raise
                if str(error) != said:
                    said = str(error)
                    log.warning("%s; trying again", said)
                backoff = min(backoff * 2, MAX_BACKOFF)
            self.wake.wait(backoff)
            self.wake.clear()

    def tick(self) -> str | None:
        """Does the next thing. A line when there is nothing left to do."""
        self.rounds.evidence.check()
        pool = self.chain.pool(self.pool_id)
        member = self.member.info()
        assert member is not None
        if member.convicted:
            self.stop.set()
        if not self.stop.is_set():  # who leaves must not depend on the store any more
            self.following.follow(pool, member)
            if pool.next_round > self._fuelled:
                self.member.top_up(self.node_gas)
                self._fuelled = pool.next_round
        if not member.convicted and self.rounds.work(pool, member):
            return None
        self._adapt_width(pool, member)
        if self.stop.is_set() or pool.ended or not self.member.is_in(member):
            return self._wind_down(pool, member)
        return None

    def _adapt_width(self, pool: PoolInfo, member: MemberInfo) -> None:
        """Declares another width for the next round where the node's speed asks for it."""
        auto = self.rounds.auto
        if auto is None or self.stop.is_set() or pool.ended or pool.last or not self.member.is_in(member):
            return
        if member.width != member.next_width or (wanted := auto.choose(member.width)) == member.width:
            return
        try:
            width = self.member.change_width(self.params, wanted, faucet=self.faucet)
        except PiError as error:  # no key, no stake or no room for it: the old width works as well
            log.info("width stays %d: %s", member.width, error)
            return
        if width != member.width:
            self.events.write("width", width=width)
            log.info("width %d from the next round on", width)

    # --- the end ----------------------------------------------------------------------------------------

    def _wind_down(self, pool: PoolInfo, member: MemberInfo) -> str | None:
        """Leaves, lets the evidence be served, settles, claims. None while that is not done."""
        evidence = self.rounds.evidence
        if not self._ended_by or (member.convicted and self._ended_by != "convicted"):
            self._ended_by = self._why(pool, member)
            self._say_slashes(member)
            self.following.punish_overruled()
            if evidence.unserved():
                log.info("rounds %s may still be audited: staying until that is drawn", evidence.unserved())
        if self.member.leave():
            member = self.member.info() or member
        for round_ in evidence.unserved():
            self._nudge(round_)
        # A run that is over is waited out to the last verdict. Who stops before only lets no audit fail.
        patient = pool.ended and not self.stop.is_set() and not member.convicted
        if evidence.pending() if patient else evidence.unserved():
            return None
        self._say_slashes(member)
        locked = self.member.settle_and_release()
        claimed = self.member.claim()
        if claimed:
            self.events.write("claimed", amount=claimed)
        self.events.write(
            "left",
            reason=self._ended_by,
            locked=locked,
            trained_seconds=self.rounds.trained_seconds,
            joined_seconds=time.monotonic() - self.joined_at,
        )
        if member.convicted:
            taken = sum(amount for _, amount in self.member.slashed())
            raise Convicted(
                f"node {self.node.address} was convicted in pool {self.pool_id}: {taken / TOKEN:g} tokens of"
                f" stake were taken, {locked / TOKEN:g} stay locked",
                "pi-worker leave frees the rest once its rounds are final",
            )
        return self._summary(claimed, locked)

    def _why(self, pool: PoolInfo, member: MemberInfo) -> str:
        """Why the agent winds down, as one word."""
        if member.convicted:
            log.error("convicted: this node is out of the pool, and its later pay is forfeited")
            return "convicted"
        if not self.member.is_in(member) and member.missed >= 2:
            log.error("taken out of the pool after %d rounds missed in a row; join again", member.missed)
            return "evicted"
        if pool.ended:
            log.info("the run is over; waiting for the last verdicts")
            return "ended"
        return "stopped" if self.stop.is_set() else "left"

    def _say_slashes(self, member: MemberInfo) -> None:
        if not member.convicted and member.missed < 2:
            return
        slashes = self.member.slashed()
        for block, amount in slashes[self._slashes_said :]:
            self.events.write("slashed", amount=amount, block=block)
            log.error("slashed: %g tokens", amount / TOKEN)
        self._slashes_said = len(slashes)

    def _nudge(self, round_: int) -> None:
        """Moves a round towards its audit seed where nobody else does."""
        info = self.chain.round(self.pool_id, round_)
        now = self.chain.now()
        try:
            if not info.sealed_at and now > info.reveal_deadline + NUDGE_AFTER:
                self.chain.seal_reveals(self.pool_id)
            elif info.sealed_at and now > info.sealed_at + NUDGE_AFTER:
                if self.chain.verdict_round(self.pool_id, round_).seed == ZERO:
                    self.chain.capture_seed(self.pool_id, round_)
        except ContractError as error:
            log.debug("round %d: %s", round_, error)  # somebody else was first

    def _summary(self, claimed: int, locked: int) -> str:
        words = {"ended": "the run is over", "evicted": "taken out of the pool"}
        done = f"{words.get(self._ended_by, 'left the pool')}: {self.rounds.revealed} rounds revealed"
        parts = [done, f"{self.following.missed} missed", f"{claimed / TOKEN:g} tokens claimed"]
        if locked:
            rounds = ", ".join(map(str, self.rounds.evidence.pending())) or "the last ones"
            parts.append(
                f"{locked / TOKEN:g} tokens stay locked until rounds {rounds} are final:"
                f" then `pi-worker leave --pool {self.pool_id}` frees them"
            )
        else:
            parts.append("no stake is locked")
        return "; ".join(parts)
