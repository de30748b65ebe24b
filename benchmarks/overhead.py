"""What a worker does in a round beside its inner steps, as a share of the bare loop of the same steps.

One process, pinned to the default class, the demo's model and data. The bare loop is forward, backward and
AdamW on the same batches. On top of it come, in the order of a round: the trace (batch digests, activation
proofs), the border states (hashed and written), the update (error feedback, codec, root), the fsynced
journal, and after the close the outer step of four updates with its root.

    python -m benchmarks overhead
"""

import tempfile
import time
from pathlib import Path

from pi_sdk.store import LocalStore
from pi_sdk.types import Reveal
from pi_train.codecs import UpdateFile
from pi_train.data import batches, load_corpus
from pi_train.determinism import default_class, pin
from pi_train.layout import parameter_count
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step
from pi_train.prepare import prepare

from .common import publish

NODE = "0x" + "11" * 20
REPEATS = 3


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


def main() -> None:
    cls = default_class()
    pin(cls)
    from pi_train.fixed import to_fp32
    from pi_train.inner import InnerLoop, learning_rate
    from pi_train.slot import train_slot
    from pi_train.state import Border, PrivateState
    from pi_worker.journal import Journal

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = LocalStore(home / "store")
        spec = prepare(store=store)
        n = parameter_count(spec.model)
        corpus = load_corpus(spec, store.get, home / "data")
        size = checkpoint_bytes(n, False)
        genesis = Checkpoint.from_bytes(store.get(spec.genesis_file, size), n, False)

        def bare() -> None:
            zeros = PrivateState.zeros(n)
            loop = InnerLoop(spec, cls, Border(to_fp32(genesis.theta, spec.frac_bits), zeros.m, zeros.v, 0))
            for i, batch in enumerate(batches(spec, corpus, genesis.root(), node=NODE, round_=0, width=1)):
                loop.train_step(batch.tokens, learning_rate(spec, i))

        journal = Journal(home / "journal")
        parts: dict[str, list[float]] = {"bare": [], "slot": [], "journal": [], "outer": []}
        for _ in range(REPEATS + 1):
            at = time.perf_counter()
            bare()
            parts["bare"].append(time.perf_counter() - at)
            at = time.perf_counter()
            result = train_slot(
                spec,
                corpus,
                genesis,
                node=NODE,
                round_=0,
                width=1,
                state=None,
                class_id=cls.id,
                borders=home / "b",
            )
            parts["slot"].append(time.perf_counter() - at)
            at = time.perf_counter()
            journal.begin(0)
            journal.write(opened(result), 0, update=result.update, trace=result.trace, state=result.state)
            parts["journal"].append(time.perf_counter() - at)
            at = time.perf_counter()
            updates = [(UpdateFile(spec.codec, result.update, n), 1) for _ in range(4)]
            outer_step(spec, genesis, updates).root()
            parts["outer"].append(time.perf_counter() - at)
        median = {name: sorted(times[1:])[REPEATS // 2] for name, times in parts.items()}
        rows = [
            {"part": label, "seconds": value, "share of the bare loop": value / median["bare"]}
            for label, value in (
                ("bare loop of 20 steps", median["bare"]),
                ("trace, borders, update", median["slot"] - median["bare"]),
                ("journal, fsynced", median["journal"]),
                ("outer step of 4 updates", median["outer"]),
                ("all overhead", median["slot"] + median["journal"] + median["outer"] - median["bare"]),
            )
        ]
    publish("overhead", f"A worker's round, {n} parameters, one thread", rows, "median of three")
