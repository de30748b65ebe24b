"""What a worker does in a round of about 30 seconds beside its inner steps, as a share of the bare loop of
the same steps.

One process, pinned to the default class, on two shapes: the demo's model and data with more steps, and a
model of four times the parameters. The bare loop is forward, backward and AdamW on the same batches; the
slot's own steps add the trace (batch digests, activation proofs) and the border states every four steps,
copied here and hashed and written by a thread beside it. The two loops take their steps in turn, so that both
see the same machine, and seconds are those of the one thread that trains, which others on a shared machine do
not change. Behind the last step come the update (error feedback, codec, root), the journal, whose seconds are
the clock's since it waits for the disk, and after the close the outer step of four updates with its root.

    python -m benchmarks overhead
"""

import tempfile
import time
from pathlib import Path

from pi_sdk.store import LocalStore
from pi_sdk.types import GptSpec, InnerSpec, Reveal
from pi_train.codecs import UpdateFile
from pi_train.data import batches, load_corpus
from pi_train.determinism import default_class, pin
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step
from pi_train.prepare import prepare

from .common import publish

NODE = "0x" + "11" * 20
SHAPES = (GptSpec(), GptSpec(layers=4, heads=8, width=256))
ROUND_SECONDS = 30
TRIAL_STEPS = 12


def opened(result) -> Reveal:
    """What the worker would reveal of a slot."""
    return Reveal(
        salt=bytes(32),
        start_root=bytes(32),
        update_root=result.update_root,
        trace_root=result.trace_root,
        state_in=result.state_in,
        state_out=result.state_out,
        norm=result.norm,
        width=1,
    )


class Setting:
    """A run of one model with rounds of so many inner steps, at its start."""

    def __init__(self, model: GptSpec, steps: int, home: Path):
        from pi_train.fixed import to_fp32
        from pi_train.inner import InnerLoop
        from pi_train.state import Border, PrivateState

        store = LocalStore(home / "store")
        self.spec = prepare(store=store, model=model, inner=InnerSpec(steps=steps))
        self.n = n = parameter_count(self.spec.model)
        self.corpus = load_corpus(self.spec, store.get, home / "data")
        file = store.get(self.spec.genesis_file, checkpoint_bytes(n, False))
        self.genesis = Checkpoint.from_bytes(file, n, False)
        zeros = PrivateState.zeros(n)
        start = Border(to_fp32(self.genesis.theta, self.spec.frac_bits), zeros.m, zeros.v, 0)
        self.bare = InnerLoop(self.spec, default_class(), start)

    def batches(self):
        return batches(self.spec, self.corpus, self.genesis.root(), node=NODE, round_=0, width=1)


def steps_of_a_round(model: GptSpec, home: Path) -> int:
    """Whole segments, about as many as fit into `ROUND_SECONDS` on a core that has nothing else to do."""
    from pi_train.inner import learning_rate

    setting = Setting(model, TRIAL_STEPS, home)
    segment, began = setting.spec.trace.segment, 0.0
    for i, batch in enumerate(setting.batches()):
        if i == segment:
            began = time.thread_time()
        setting.bare.train_step(batch.tokens, learning_rate(setting.spec, i))
    pace = (time.thread_time() - began) / (TRIAL_STEPS - segment)
    return segment * round(ROUND_SECONDS / pace / segment)


def measure(model: GptSpec, steps: int, home: Path) -> list[dict]:
    from pi_train.inner import learning_rate
    from pi_train.slot import SlotRun
    from pi_worker.journal import Journal

    setting = Setting(model, steps, home)
    spec, n, genesis, bare = setting.spec, setting.n, setting.genesis, setting.bare
    journal, cls = Journal(home / "journal"), default_class()
    slot = SlotRun(spec, genesis, round_=0, state=None, class_id=cls.id, borders=journal.begin(0))
    taken = dict.fromkeys(("bare", "slot", "finish", "journal", "outer", "beside"), 0.0)
    all_threads, clock = time.process_time(), time.thread_time()
    for i, batch in enumerate(setting.batches()):
        at = time.thread_time()
        bare.train_step(batch.tokens, learning_rate(spec, i))
        between = time.thread_time()
        slot.step(batch)
        taken["bare"] += between - at
        taken["slot"] += time.thread_time() - between
    at = time.thread_time()
    result = slot.finish()
    taken["finish"] = time.thread_time() - at
    taken["beside"] = time.process_time() - all_threads - (time.thread_time() - clock)
    at = time.perf_counter()
    journal.write(opened(result), 0, update=result.update, trace=result.trace, state=result.state)
    taken["journal"] = time.perf_counter() - at
    at = time.thread_time()
    outer_step(spec, genesis, [(UpdateFile(spec.codec, result.update, n), 1) for _ in range(4)]).root()
    taken["outer"] = time.thread_time() - at
    more = taken["slot"] - taken["bare"]
    overhead = more + taken["finish"] + taken["journal"] + taken["outer"]
    parts = (
        (f"bare loop of {steps} steps", taken["bare"]),
        ("trace, borders", more),
        ("update, last border, state", taken["finish"]),
        ("journal, fsynced", taken["journal"]),
        ("outer step of 4 updates", taken["outer"]),
        ("all overhead", overhead),
        ("beside it: borders hashed and written", taken["beside"]),
    )
    return [
        {"params": n, "part": part, "seconds": seconds, "share of the bare loop": seconds / taken["bare"]}
        for part, seconds in parts
    ]


def main() -> None:
    pin(default_class())
    rows = []
    for model in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            steps = steps_of_a_round(model, Path(folder, "trial"))
            rows += measure(model, steps, Path(folder, "round"))
    publish(
        "overhead", "A worker's round of about 30 s, one thread", rows, "seconds of the thread that trains"
    )
