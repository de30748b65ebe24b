"""A whole run in memory, small enough to train and audit in a second."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pi_sdk.codec import Trace, sha256
from pi_sdk.errors import BlobNotFound
from pi_sdk.types import CodecSpec, GptSpec, InnerSpec, Reveal, RunSpec, TraceSpec
from pi_train.codecs import UpdateFile
from pi_train.data import Batch, Corpus, batches, load_corpus
from pi_train.determinism import admitted
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, outer_step
from pi_train.prepare import prepare
from pi_train.replay import AuditReport, audit_slot
from pi_train.slot import SlotResult, SlotRun

NODE = "0x" + "a1" * 20
VALIDATOR = "0x" + "b2" * 20
SEED = bytes(range(32))


class MemoryStore(dict):
    """Blobs by hash, with the interface of a store."""

    def put(self, data: bytes, kind: str = "artifact", round: int = 0) -> str:
        name = sha256(data).hex()
        self[name] = data
        return name

    def fetch(self, name: str, max_bytes: int) -> bytes:
        if name not in self:
            raise BlobNotFound(f"no blob {name}")
        assert len(self[name]) <= max_bytes, "asked for less than the blob has"
        return self[name]


class TinyRun:
    """Model of 7,728 parameters, 4 inner steps in 2 segments, both audited."""

    round = 1

    def __init__(self, folder: Path, **overrides):
        self.folder, self.store = folder, MemoryStore()
        texts = folder / "text"
        texts.mkdir(parents=True)
        for i in range(60):
            (texts / f"{i}.txt").write_text("".join(f"{j} plus {i} is {i + j}\n" for j in range(40)))
        options = {
            "model": GptSpec(layers=1, heads=2, width=16, context=32),
            "inner": InnerSpec(steps=4, batch=2, sequence=32, warmup=2),
            "trace": TraceSpec(segment=2),
            "codec": CodecSpec(k=256),
            "data": texts,
        }
        self.spec: RunSpec = prepare(store=self.store, **options | overrides)
        self.n = parameter_count(self.spec.model)
        self.corpus: Corpus = load_corpus(self.spec, self.store.fetch, folder / "cache")
        self.class_id = admitted(self.spec)[0].id
        has_momentum = self.spec.outer.rule == "nesterov"
        self.genesis = Checkpoint.from_bytes(self.store[self.spec.genesis_file], self.n, has_momentum)

    @cached_property
    def first(self) -> SlotResult:
        """The node's slot of round 0, which leaves it a private state."""
        return self.train(SlotRun, self.genesis, 0, None)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        update = UpdateFile(self.spec.codec, self.first.update, self.n)
        return outer_step(self.spec, self.genesis, [(update, 1)])

    @cached_property
    def honest(self) -> "Work":
        return self.work(SlotRun)

    def train(
        self, kind: type[SlotRun], checkpoint: Checkpoint, round_: int, state: bytes | None, width: int = 1
    ) -> SlotResult:
        """A slot by a (possibly cheating) kind of SlotRun."""
        borders = self.folder / kind.__name__ / str(round_)
        run = kind(
            self.spec,
            checkpoint,
            round_=round_,
            state=state,
            class_id=self.class_id,
            borders=borders,
            files=self.corpus.files,
        )
        for batch in self.batches(checkpoint, round_, width):
            run.step(batch)
        return run.finish()

    def batches(self, checkpoint: Checkpoint, round_: int, width: int = 1) -> list[Batch]:
        root = checkpoint.root()
        return list(batches(self.spec, self.corpus, root, node=NODE, round_=round_, width=width))

    def work(self, kind: type[SlotRun], width: int = 1) -> "Work":
        """The slot of the second round with everything that its node would serve."""
        result = self.train(kind, self.checkpoint, self.round, self.first.state, width)
        evidence = MemoryStore()
        evidence.put(result.trace)
        evidence.put(self.first.state)
        for path in (self.folder / kind.__name__ / str(self.round)).glob("*.bin"):
            evidence.put(path.read_bytes())
        return Work(self, result, evidence, width)


class Work:
    """A slot as its node reveals and serves it; `audit` is what a validator makes of it."""

    def __init__(self, run: TinyRun, result: SlotResult, evidence: MemoryStore, width: int = 1):
        self.run, self.result, self.evidence = run, result, evidence
        self.update: bytes | None = result.update
        self.reveal = Reveal(
            salt=bytes(32),
            start_root=run.checkpoint.root(),
            update_root=result.update_root,
            trace_root=result.trace_root,
            state_in=result.state_in,
            state_out=result.state_out,
            norm=result.norm,
            width=width,
        )

    def copy(self) -> "Work":
        """The same slot, to be tampered with."""
        other = Work(self.run, self.result, MemoryStore(self.evidence), self.reveal.width)
        other.update, other.reveal = self.update, self.reveal
        return other

    def claim(self, **changes) -> "Work":
        self.reveal = self.reveal.model_copy(update=changes)
        return self

    @property
    def trace(self) -> Trace:
        spec = self.run.spec
        return Trace.decode(
            self.evidence[self.reveal.trace_root.hex()],
            steps=spec.inner.steps,
            segments=spec.segments,
            per_step=spec.proofs_per_step,
        )

    def retrace(self, **changes) -> "Work":
        """Serves and commits to a changed trace."""
        data = replace(self.trace, **changes).encode()
        return self.claim(trace_root=bytes.fromhex(self.evidence.put(data)))

    def audit(self, fetch: Callable[[str, int], bytes] | None = None, **changes) -> AuditReport:
        run = self.run
        options = {
            "node": NODE,
            "round_": run.round,
            "reveal": self.reveal,
            "seed": SEED,
            "update": self.update,
            "fetch": fetch or self.evidence.fetch,
            "validator": VALIDATOR,
            "class_id": run.class_id,
        }
        return audit_slot(run.spec, run.corpus, run.checkpoint, **options | changes)
