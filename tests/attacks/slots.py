"""Slots of cheating workers, trained for real and audited by real replay, in one process without a chain."""

from dataclasses import dataclass, replace
from itertools import combinations, count
from pathlib import Path
from typing import Any

from pi_sdk.cheats import CHEATS
from pi_sdk.codec import Trace, audit_segments, sha256
from pi_sdk.errors import BlobNotFound, BlobTooLarge, StoreError
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, GptSpec, InnerSpec, Reveal, RunSpec, TraceSpec
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.data import Corpus, batches, load_corpus
from pi_train.determinism import admitted
from pi_train.outer import Checkpoint, outer_step
from pi_train.prepare import prepare
from pi_train.replay import AuditReport, audit_slot
from pi_train.slot import SlotResult
from pi_worker.trainer import SlotJob, Trainer, trainer

NODE, PEER, VALIDATOR = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20


@dataclass(frozen=True)
class Slot:
    """What a node reveals of its slot, and what it serves: blobs by their sha256."""

    result: SlotResult
    width: int
    blobs: dict[str, bytes]

    def fetch(self, name: str, max_bytes: int) -> bytes:
        """As a store does."""
        if name not in self.blobs:
            raise BlobNotFound(name)
        if len(self.blobs[name]) > max_bytes:
            raise BlobTooLarge(name)
        return self.blobs[name]


class Stage:
    """The first two rounds of a run with two nodes: everything that a slot of round 1 follows from.

    `segments` per slot, of two inner steps each, of which an audit draws `drawn`; `recipe`: other arguments
    of `prepare`.
    """

    def __init__(self, folder: Path, *, segments: int, drawn: int, **recipe: Any):
        self.folder, self._attempts = folder, count()
        (folder / "text").mkdir()
        for i in range(60):
            text = "".join(f"{i} times {j} is {i * j}\n" for j in range(40))
            (folder / "text" / f"{i}.txt").write_text(text)
        store = LocalStore(folder / "store")
        defaults: dict[str, Any] = {
            "model": GptSpec(layers=2, heads=2, width=32, context=32),
            "inner": InnerSpec(steps=2 * segments, batch=2, sequence=32, warmup=0),
            "trace": TraceSpec(segment=2),
            "audit": AuditSpec(segments=drawn),
        }
        self.spec: RunSpec = prepare(store=store, data=folder / "text", **{**defaults, **recipe})
        self.corpus: Corpus = load_corpus(self.spec, store.get, folder / "cache")
        n, momentum, guards = self.spec.checkpoint_shape
        assert not guards
        genesis = store.get(self.spec.genesis_file, 1 << 24)
        self.checkpoints = [Checkpoint.from_bytes(genesis, n, momentum)]
        self.first = self.train(trainer(None), 0)
        self.peer = self._parsed(self.train(trainer(None), 0, node=PEER))
        included = [(self._parsed(self.first), 1), (self.peer, 1)]
        self.checkpoints.append(outer_step(self.spec, self.checkpoints[0], included))

    def _parsed(self, slot: Slot) -> UpdateFile:
        return UpdateFile(self.spec.codec, slot.result.update, self.spec.update_values(0))

    def train(
        self, by: Trainer, round_: int, *, width: int = 1, node: str = NODE, follows: Slot | None = None
    ) -> Slot:
        """A slot of round 0 or 1; `follows` is the node's slot of the round before."""
        borders = self.folder / "borders" / str(next(self._attempts))
        state = follows.result.state if follows else None
        checkpoint = self.checkpoints[round_]
        job = SlotJob(
            spec=self.spec,
            corpus=self.corpus,
            checkpoint=checkpoint,
            data_root=checkpoint.root(),
            node=node,
            round=round_,
            width=width,
            state=state,
            class_id=admitted(self.spec)[0].id,
            borders=borders,
            progress=lambda *_: None,
            peers=lambda: [self.peer] if round_ else [],
        )
        result = by(job)
        served = [result.update, result.trace, *(path.read_bytes() for path in borders.iterdir())]
        served += [state] if state is not None else []
        return Slot(result, width, {sha256(blob).hex(): blob for blob in served})

    def sybil(self) -> Slot:
        """The node's slot, as if it were the peer's: everything that a replay does not need is the peer's."""
        slot, spec = self.train(trainer(None), 1), self.spec
        trace = Trace.decode(
            slot.result.trace, steps=spec.inner.steps, segments=spec.segments, per_step=spec.proofs_per_step
        )
        root = self.checkpoints[1].root()
        assigned = batches(spec, self.corpus, root, node=PEER, round_=1, width=1)
        data = replace(trace, batches=tuple(batch.digest() for batch in assigned)).encode()
        result = replace(slot.result, trace=data, trace_root=sha256(data))
        return Slot(result, 1, slot.blobs | {sha256(data).hex(): data})

    def cheated(self, name: str) -> Slot:
        """The cheat's slot of round 1. It was honest in round 0."""
        by, cheat = trainer(name), CHEATS[name]
        if cheat.after:
            assert self.train(by, 0).result.trace == self.first.result.trace, "nothing to cheat with yet"
        return self.train(by, 1, width=cheat.width, follows=self.first)

    def audit(self, slot: Slot, seed: bytes, node: str = NODE) -> AuditReport:
        """A validator's audit of a node's slot of round 1, with what it can fetch."""
        spec, result = self.spec, slot.result
        update: bytes | None = None
        try:
            size = max_update_bytes(spec.codec, spec.update_values(1))
            update = slot.fetch(sha256(result.update).hex(), size)
        except StoreError:
            pass  # it is not to be had
        return audit_slot(
            spec,
            self.corpus,
            self.checkpoints[1],
            node=node,
            round_=1,
            reveal=Reveal(
                salt=bytes(32),
                start_root=self.checkpoints[1].root(),
                update_root=result.update_root,
                trace_root=result.trace_root,
                state_in=result.state_in,
                state_out=result.state_out,
                norm=result.norm,
                width=slot.width,
            ),
            seed=seed,
            update=update,
            fetch=slot.fetch,
            validator=VALIDATOR,
            class_id=admitted(spec)[0].id,
        )

    def draws(self, node: str = NODE) -> dict[tuple[int, ...], bytes]:
        """A seed for every set of segments that an audit of a node can draw."""
        k, left = self.spec.audit.segments, self.spec.segments
        found: dict[tuple[int, ...], bytes] = {}
        wanted = len(list(combinations(range(left), k)))
        for i in count():
            seed = sha256(b"seed %d" % i)
            found.setdefault(tuple(audit_segments(seed, node, left, k)), seed)
            if len(found) == wanted:
                return found
        raise AssertionError
