"""The integer outer step of a round, against the memory-bandwidth floor of the same arrays.

Floor: every encoded byte of every update read once (a sum over it), the parameters (and momentum) read and
written once (a copy). The step decodes, scales by the norms, averages and applies the outer rule on top.
The check of an update and the root of a checkpoint are timed by themselves, the root against hashing the same
bytes in one go.

    python -m benchmarks outer_step
"""

import hashlib

import numpy as np
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train.codecs import UpdateFile, encode_update
from pi_train.outer import Checkpoint, outer_step

from .common import publish, seconds

PARAMETERS = 16 * 1024 * 1024
WORKERS = 16
SETTINGS = (
    ("sparse-2bit k=64", CodecSpec(), OuterSpec()),
    ("dense-int8", CodecSpec(name="dense-int8"), OuterSpec(rule="nesterov", lr=45875, momentum=58982)),
    ("dense-fixed", CodecSpec(name="dense-fixed"), OuterSpec()),
)


def run_spec(codec: CodecSpec, outer: OuterSpec) -> RunSpec:
    """A RunSpec with the only parts that the outer step reads."""
    return RunSpec.model_construct(codec=codec, outer=outer, frac_bits=24)


def main() -> None:
    rng = np.random.default_rng(0)
    theta = rng.integers(-(1 << 22), 1 << 22, PARAMETERS, dtype=np.int32)
    base = (rng.standard_normal(PARAMETERS, dtype=np.float32) * 20_000).astype(np.int32)
    rows = []
    for name, codec, outer in SETTINGS:
        momentum = np.zeros(PARAMETERS, np.int64) if outer.momentum else None
        checkpoint = Checkpoint(theta, momentum)
        files = [encode_update(codec, np.roll(base, 977 * i)) for i in range(WORKERS)]
        updates = [(UpdateFile(codec, data, PARAMETERS), 1) for data in files]
        spec = run_spec(codec, outer)

        words = [np.frombuffer(data, np.uint8) for data in files]
        words = [w[: len(w) // 8 * 8].view(np.int64) for w in words]
        out = np.empty_like(theta)
        out_momentum = None if momentum is None else np.empty_like(momentum)

        def floor(words=words, momentum=momentum, out=out, out_momentum=out_momentum):
            for w in words:
                w.sum()
            np.copyto(out, theta)
            if momentum is not None:
                np.copyto(out_momentum, momentum)

        def step(spec=spec, checkpoint=checkpoint, updates=updates):
            outer_step(spec, checkpoint, updates)

        def check(codec=codec, data=files[0]):
            UpdateFile(codec, data, PARAMETERS)

        floor_s, step_s = seconds(floor), seconds(step, repeats=3)
        check_s = seconds(check, repeats=3)
        root_s = seconds(checkpoint.root, repeats=2)
        hash_s = seconds(lambda c=checkpoint: hashlib.sha256(c.to_bytes()).digest(), repeats=2)
        rows.append(
            {
                "codec": name,
                "workers": WORKERS,
                "params": PARAMETERS,
                "update MB": len(files[0]) / 1e6,
                "step s": step_s,
                "floor s": floor_s,
                "step/floor": step_s / floor_s,
                "check s": check_s,
                "root s": root_s,
                "root/sha256": root_s / hash_s,
            }
        )
    publish(
        "outer_step",
        "Outer step on one thread",
        rows,
        "floor: read every update byte, copy parameters and momentum; check: parse, root, norm of one update",
    )
