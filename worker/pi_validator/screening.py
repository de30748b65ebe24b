"""Screens every round (`pi_train/screens.py`) once its reveals are known: fetches the updates, has the replay
process compare them and test the loss, keeps what is remembered of each node, and has the court watch whoever
looks wrong. Nothing of it touches a verdict.

Behind every audit and vote, and bounded in time: what cannot be screened by then is left out.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from pi_sdk.codec import sha256
from pi_sdk.errors import StoreError
from pi_sdk.store import LocalStore
from pi_train.codecs import max_update_bytes
from pi_train.screens import Beside, Gain, Record, Screened, flags, rated

from .audit import SCREEN, Bench
from .checkpoints import fetched
from .evidence import Slot
from .replay_process import ReplayFailed

log = logging.getLogger(__name__)

LOSS_TESTS = 16
"""Slots of a round whose loss is tested, as Templar has it; validators draw different ones."""
TRAINING_SHARE = 64
"""A slot's loss test takes this part of its training, where that gives a sample of the sizes below: three
forward passes are as much work as one training step."""
SEQUENCES = (4, 32)
TIME_SHARE = 1 / 8
"""Of the time that an audit may take, for the loss tests of a round: an audit that comes meanwhile waits."""
ROUNDS_AT_ONCE = 2
NEWCOMER_ROUNDS = 5
"""In which a joiner's moments and error feedback make its updates honestly unlike the others'."""


@dataclass
class _Round:
    """One round under way."""

    seed: bytes
    start_root: bytes
    slots: list[Slot]
    newcomers: frozenset[str]
    gathered: Future[list[Slot]]
    until: float
    """Of `time.monotonic`."""
    answer: Future[dict] | None = None


@dataclass
class Screening:
    """Writes the event `screened{round, node, flags, norm, cosine, beyond_chance, overlap, twin, gain,
    gain_errors, data, rating}` about each slot; numbers as in `screens.py`, null where there is none.
    """

    bench: Bench
    pool_id: int
    watch: Callable[[str], bool]
    """Has the court audit a node's next slot; whether that was done. A seat may have it for one node of a
    round."""
    pending: dict[int, _Round] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rated({}, {})  # says at once if openskill is missing
        self._thread = ThreadPoolExecutor(1, "screening")
        self._file = self.bench.folder.parent / "screens.json"
        self._done: list[str] = []
        self._latest = 0
        if self._file.exists():
            kept = json.loads(self._file.read_text())
            self._done = kept["done"]
            self.records = {node: Record(**record) for node, record in kept["records"].items()}

    def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def note(self, round_: int, seed: bytes, slots: list[Slot], ages: dict[str, int]) -> None:
        """A round whose seed is known, and the slots that started from its root. `ages` in rounds."""
        self._latest = max(self._latest, round_)
        for old in [n for n in self.pending if n <= self._latest - ROUNDS_AT_ONCE]:
            self._drop(old, "newer rounds are waiting")
        if not slots or _key(round_, seed) in self._done:
            return
        order = sorted(slots, key=lambda slot: self._order(seed, slot.node))
        middle = sorted(ages[slot.node] for slot in slots)[(len(slots) - 1) // 2]
        young, until = min(NEWCOMER_ROUNDS, middle), time.monotonic() + 2 * self.bench.time_limit
        self.pending[round_] = _Round(
            seed,
            slots[0].start_root,
            order,
            frozenset(slot.node for slot in slots if ages[slot.node] < young),
            self._thread.submit(self._gather, order, until),
            until,
        )

    def serve(self) -> None:
        """Starts and collects what it can, without waiting."""
        for round_, work in sorted(self.pending.items()):
            if work.answer is not None and work.answer.done():
                self._collect(round_, work)
            elif time.monotonic() > work.until:
                self._drop(round_, "not finished in time")
            elif work.answer is None and work.gathered.done():
                self._ask(round_, work)

    def _order(self, seed: bytes, node: str) -> bytes:
        return sha256(self.bench.node.encode() + seed + node.encode())

    def _drop(self, round_: int, reason: str) -> None:
        work = self.pending.pop(round_)
        work.gathered.cancel()
        if work.answer is not None:
            work.answer.cancel()
        log.info("round %d: not screened: %s", round_, reason)

    def _gather(self, slots: list[Slot], until: float) -> list[Slot]:
        """The slots whose update files are on disk in time. In the thread."""
        spec, found = self.bench.spec, []
        for slot in slots:
            limit = max_update_bytes(spec.codec, spec.update_values(slot.round))
            try:
                if self.bench.stop.is_set() or time.monotonic() > until:
                    break
                if not self._updates(slot.round).has(slot.update_file):
                    self._updates(slot.round).put(fetched(slot, self.bench.store, limit))
                found.append(slot)
            except StoreError as error:
                log.debug("round %d: the update of %s: %s", slot.round, slot.node, error)
        return found

    def _updates(self, round_: int) -> LocalStore:
        return LocalStore(self.bench.folder / str(round_) / "updates")

    def _ask(self, round_: int, work: _Round) -> None:
        checkpoint, slots = self.bench.checkpoints.ready(work.start_root), work.gathered.result()
        if not slots:
            self._drop(round_, "no update is to be had")
        elif checkpoint is not None:
            inner, (least, most) = self.bench.spec.inner, SEQUENCES
            request = {
                "op": "screen",
                "folder": str(checkpoint[0]),
                "checkpoint": checkpoint[1],
                "root": work.start_root.hex(),
                "data_root": (slots[0].data_root or work.start_root).hex(),
                "updates": str(self._updates(round_).path),
                "slots": [[slot.node, slot.update_file, slot.reveal.width] for slot in slots],
                "round": round_,
                "seed": work.seed.hex(),
                "tests": LOSS_TESTS,
                "sequences": min(max(inner.steps * inner.batch // TRAINING_SHARE, least), most),
                "seconds": self.bench.time_limit * TIME_SHARE,
            }
            work.answer = self.bench.replay.submit(
                request, priority=SCREEN, deadline=round_, time_limit=self.bench.time_limit
            )

    def _collect(self, round_: int, work: _Round) -> None:
        assert work.answer is not None
        del self.pending[round_]
        try:
            answer = work.answer.result()
        except ReplayFailed as error:
            log.warning("round %d: not screened: %s", round_, error)
            return
        seen = {node: Beside(**slot) for node, slot in answer["beside"].items()}
        gains = {node: Gain(**gain) for node, gain in answer["gains"].items()}
        records = rated(self.records, gains)
        self.records |= records
        cohort = {node: Screened(seen[node], gains.get(node), records.get(node)) for node in seen}
        found = flags(cohort, work.newcomers)
        nodes = list(seen)
        for node, slot in cohort.items():
            twin = None if slot.beside.twin is None else nodes[slot.beside.twin]
            self._tell(round_, node, slot, twin, found[node])
        self._keep(_key(round_, work.seed))
        flagged = sorted((node for node in nodes if found[node]), key=lambda node: -len(found[node]))
        log.info("round %d: %d slots screened, %d flagged", round_, len(nodes), len(flagged))
        any(map(self.watch, flagged))  # where others were first, the next one

    def _tell(self, round_: int, node: str, slot: Screened, twin: str | None, wrong: list[str]) -> None:
        this, gain, record = slot.beside, slot.gain, slot.record
        numbers = {
            "norm": this.norm,
            "cosine": this.cosine,
            "beyond_chance": this.beyond_chance,
            "overlap": this.overlap,
            "gain": gain and gain.mean,
            "gain_errors": gain and gain.errors,
            "data": record and record.data,
            "rating": record and record.rating,
        }
        rounded = {name: None if x is None else round(x, 4) for name, x in numbers.items()}
        self.bench.events.write(
            "screened", round=round_, node=node, pool=self.pool_id, flags=wrong, twin=twin, **rounded
        )
        if wrong:
            said = ", ".join(f"{name} {x:g}" for name, x in rounded.items() if x is not None)
            log.warning("round %d, %s: flagged by %s (%s)", round_, node, " and ".join(wrong), said)

    def _keep(self, done: str) -> None:
        self._done = [*self._done, done][-2 * ROUNDS_AT_ONCE :]
        records = {node: asdict(record) for node, record in self.records.items()}
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"done": self._done, "records": records}))
        os.replace(temporary, self._file)


def _key(round_: int, seed: bytes) -> str:
    return f"{round_}-{seed.hex()}"
