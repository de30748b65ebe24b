"""What a node's next round starts from: it recomputes every close, and keeps what it found.

A commitment names the root that the node itself recomputed, which is its vote on the close before. So a wrong
posted root never becomes this node's, not even by a restart: the recomputed checkpoint is on disk, under
what it follows from. Only where the votes themselves went another way does the node go on from what the
chain has.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pi_sdk.client import Client
from pi_sdk.codec import sha256
from pi_sdk.errors import ChainError, ContractError, MalformedArtifact, StoreError
from pi_sdk.eventlog import EventLog
from pi_sdk.results import MemberInfo, PoolInfo
from pi_sdk.store import Store
from pi_sdk.types import RING, Phase, RunSpec
from pi_train.codecs import UpdateFile
from pi_train.outer import Checkpoint, was_skipped

from .artifacts import Announced, Checkpoints, PoolLog
from .journal import Journal

log = logging.getLogger(__name__)

FETCH_TRIES = 5
"""Times that a round's updates are asked for before the posted checkpoint is taken instead."""


@dataclass
class Following:
    """One node's own line of checkpoints in one pool. `follow` may raise `ChainError` or `StoreError` and be
    called again.

    `expected` says whether the chain expected a member in a round.
    """

    chain: Client
    store: Store
    """Where checkpoints and updates are downloaded from."""
    events: EventLog
    journal: Journal
    spec: RunSpec
    pool_id: int
    node: str
    expected: Callable[[MemberInfo, int], bool]

    at: int = -1
    """The round that `checkpoint` starts; -1 before the first one is known."""
    checkpoint: Checkpoint | None = None
    root: bytes = b""
    basis: bytes | None = None
    """What the checkpoint follows from; None where that is not known any more."""
    missed: int = 0
    _checked: int = -1
    _tries: int = 0

    def __post_init__(self) -> None:
        self.log = PoolLog(self.chain, self.pool_id)
        self.checkpoints = Checkpoints(
            self.spec, self.log, self.store, self.journal.root / "fetched", self._own_update
        )
        self._punished: set[int] = set()

    def start(self, round_: int) -> tuple[Checkpoint, bytes]:
        """C_round and its root. `follow` has come that far."""
        assert self.checkpoint is not None and self.at == round_
        return self.checkpoint, self.root

    def peers(self, round_: int) -> list[UpdateFile]:
        """What other nodes revealed in a round, newest last."""
        self.log.refresh()
        return [self.checkpoints.update(a) for a in self.log.included(round_) if a.node != self.node]

    def follow(self, pool: PoolInfo, member: MemberInfo) -> None:
        """Brings `checkpoint` up to the round that runs, or that would open next."""
        if pool.ended:
            return
        running = pool.next_round if pool.phase == Phase.IDLE else pool.next_round - 1
        # A node that restarted may have forgotten a close, and a disproved one is done again, perhaps unseen.
        if self.checkpoint is None or self.at > running or self._was_closed_again(pool, running):
            self._begin(running)
        while self.at < running:
            self._close(self.at)
            self._look_back(self.at - 1, member)

    def punish_overruled(self) -> None:
        """Has the bond taken of whoever posted a result that the votes replaced."""
        self.log.refresh()
        for round_ in self.log.overruled.keys() - self._punished:
            try:
                self.chain.punish_close(self.pool_id, round_)
                log.info("round %d: its poster has lost the close bond", round_)
            except ContractError as error:
                log.debug("round %d: %s", round_, error)  # somebody else was first
            self._punished.add(round_)

    # --- steps ------------------------------------------------------------------------------------------

    def _begin(self, running: int) -> None:
        """Starts from the latest checkpoint of its own that is here, else from one that the chain has."""
        self.log.from_block = 0
        self.log.refresh()
        for round_ in range(running, max(0, running - RING), -1):
            basis = self._basis(round_)
            data = None if basis is None else self.journal.checkpoint(round_, basis)
            if data is not None:
                self._go_on(round_, Checkpoint.from_bytes(data, *self.spec.checkpoint_shape), basis)
                return
        # The root before the last is what the votes left standing. The last one is recomputed like any other.
        before = max(0, running - 1)
        self._go_on(before, self.checkpoints.posted(before), self._basis(before))

    def _go_on(self, round_: int, checkpoint: Checkpoint, basis: bytes | None) -> None:
        self.checkpoint, self.root, self.at, self.basis = checkpoint, checkpoint.root(), round_, basis
        self._tries = 0
        self.log.done(round_)

    def _was_closed_again(self, pool: PoolInfo, running: int) -> bool:
        """Looked at once per round, when it has opened: from then on the close before it cannot be redone."""
        if pool.phase == Phase.IDLE or self._checked == running or self.at != running:
            return False
        self.log.refresh()
        again = self._basis(running) != self.basis
        if not again:
            self._checked = running
        return again

    def _basis(self, round_: int) -> bytes | None:
        """What C_round follows from: the reveals of the round before, in order, the root that they started
        from, whom the close left out, and the round that the creator went back to. None where the chain no
        longer, or not yet, says so.
        """
        info = self.chain.round(self.pool_id, round_ - 1) if round_ else None
        if info is None or not info.exists or round_ - 1 not in self.log.closed:
            return None
        out = sorted(bytes.fromhex(node[2:]) for node in self.log.excluded.get(round_ - 1, {}))
        back = self.log.rolled_back.get(round_)
        to = b"" if back is None else back.to_bytes(4)
        return sha256(b"".join([info.start_root, info.accumulator, *out, to]))

    def _close(self, round_: int) -> None:
        """Recomputes C_{r+1} and compares it with what the chain says."""
        assert self.checkpoint is not None
        self.punish_overruled()
        if round_ not in self.log.closed:
            raise ChainError(f"the close of round {round_} is not among the node's events yet")
        if round_ + 1 in self.log.rolled_back:
            self._go_back(round_ + 1)
            return
        posted, basis = self.log.closed[round_].root, self._basis(round_ + 1)
        checkpoint = self._recomputed(round_)
        if checkpoint is None:
            self._go_on(round_ + 1, self.checkpoints.posted(round_ + 1), basis)
            self.events.write("closed", round=round_, root=self.root, agrees=False)
            return
        if basis is not None:
            self.journal.keep_checkpoint(round_ + 1, basis, checkpoint.to_bytes())
        skipped = was_skipped(self.checkpoint, checkpoint)
        self._go_on(round_ + 1, checkpoint, basis)
        agrees = self.root == posted
        self.events.write("closed", round=round_, root=self.root, agrees=agrees, skipped=skipped)
        if skipped:
            log.warning("round %d: skipped, its updates are far larger than those before", round_)
        if self.root != posted:
            log.error(
                "round %d: the posted checkpoint is wrong: %s, not %s; going on from the recomputed one",
                round_,
                posted.hex()[:16],
                self.root.hex()[:16],
            )

    def _go_back(self, round_: int) -> None:
        """C_round is an older checkpoint again."""
        self.log.from_block = 0
        self.log.refresh()
        to, basis = self.log.rolled_back[round_], self._basis(round_)
        checkpoint = self.checkpoints.posted(round_)
        if basis is not None:
            self.journal.keep_checkpoint(round_, basis, checkpoint.to_bytes())
        self._go_on(round_, checkpoint, basis)
        self.events.write("rolled_back", round=round_, to=to, root=self.root)
        log.warning("round %d: the creator has gone back to what round %d started from", round_, to)

    def _recomputed(self, round_: int) -> Checkpoint | None:
        """C_{r+1}; None where the posted one must do, since this node's C_r is not the round's, or an update
        is not to be had.
        """
        assert self.checkpoint is not None
        start = self.log.start_of(round_)
        if self.root != start:
            log.error(
                "round %d: the votes settled on start %s, not on this node's %s: its work is unpaid, and it"
                " goes on from what the chain has",
                round_,
                start.hex()[:16],
                self.root.hex()[:16],
            )
            return None
        try:
            return self.checkpoints.recompute(round_, self.checkpoint)
        except (StoreError, MalformedArtifact) as error:
            self._tries += 1
            if isinstance(error, StoreError) and self._tries < FETCH_TRIES:
                raise
            log.error("round %d: cannot recompute its close: %s; taking the posted checkpoint", round_, error)
            return None

    def _look_back(self, round_: int, member: MemberInfo) -> None:
        """Says what became of this node's work in a closed round, where it was not taken."""
        if not self.expected(member, round_):
            return
        mine = self.log.revealed_by(round_, self.node)
        if mine is None:
            self.missed += 1
            self.events.write("missed", round=round_)
            log.warning("round %d: missed; no pay, and the second miss in a row costs stake", round_)
        elif reason := self.log.excluded.get(round_, {}).get(self.node):
            log.error(
                "round %d: this node's update was left out of the mean, reason %s; no pay", round_, reason
            )

    def _own_update(self, announced: Announced) -> bytes | None:
        """What this node itself revealed, without a download."""
        if announced.node != self.node:
            return None
        for round_ in (self.at, self.at - 1):
            entry = self.journal.load(round_)
            if entry is not None and entry.update == announced.update_file:
                return self.journal.update(entry)
        return None
