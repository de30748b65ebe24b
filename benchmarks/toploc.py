"""Activation proofs beside the reference, the package `toploc` 0.1.6: bytes, honest rejects, speed, and what
malformed proofs do to either.

Everything runs on one core with one thread, in one process, and CPU time is measured; of the reference's ways
to be called the fastest counts. Both get bf16 activations, since the reference makes null proofs of fp32;
ours are also made from fp32 and compared with the reference's from the rounded values. Activations are
normal, heavy-tailed (Student's t with two degrees), dominated by two channels, and rounded to few values, so
that many tie at the edge of the top 128.

The reference is looked for in this environment and in the folder TOPLOC_PATH. It has no wheel for this torch:

    python -m venv toploc
    toploc/bin/pip install torch==2.13.0 numpy ninja wheel setuptools
    toploc/bin/pip install --no-build-isolation --no-binary toploc toploc==0.1.6
    TOPLOC_PATH=toploc/lib/python3.11/site-packages python -m benchmarks toploc
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import AuditSpec
from pi_train.proofs import TOP, build_proofs, check_proofs

from .common import publish

WIDTHS = (768, 1024, 2048, 4096, 5120)
SPANS = 16
"""Proofs per call: 512 tokens."""
REPEATS = 9
AUDIT = AuditSpec()
KINDS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(2, shape),
    "two channels": lambda rng, shape: rng.standard_normal(shape) * np.where(np.arange(shape[-1]) < 2, 60, 1),
    "tied": lambda rng, shape: np.round(rng.standard_normal(shape) * 2) / 2,
}
COLUMNS = (
    "hidden",
    "proofs",
    "tied",
    "bytes_equal",
    "honest_rejects",
    "build_ms",
    "build_ratio",
    "verify_ms",
    "verify_ratio",
)
NOTE = (
    "ratios: the reference's CPU time over ours, medians of interleaved calls; rejects: of proofs from the"
    " same activations, from fp32, and of each other; tied: proofs with ties at the edge of the top 128"
)


def main() -> None:
    env = {"PYTHONPATH": os.pathsep.join([*sys.path, os.environ.get("TOPLOC_PATH", "")])}
    child = [sys.executable, "-c", "import benchmarks.toploc as t; t.measure()"]
    ran = subprocess.run(child, env=os.environ | env, stdout=subprocess.PIPE, text=True)
    if ran.returncode == MISSING:
        print(f"toploc 0.1.6 is not installed, nothing to compare with.\n{__doc__}")
        return
    ran.check_returncode()
    rows = json.loads(ran.stdout)
    malformed = [{"proof": name, **outcome(name, os.environ | env)} for name in MALFORMED]
    for row in malformed:
        print(f"{row['proof']}: reference {row['reference']}; ours {row['ours']}")
    publish("toploc", "Activation proofs beside toploc 0.1.6", rows, NOTE, COLUMNS, malformed=malformed)


# --- in a process of one core -------------------------------------------------------------------------------

MISSING = 3


def measure() -> None:
    """Prints the rows as JSON; exits with MISSING where there is no reference."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before torch and toploc count the cores
    try:
        import toploc
    except ImportError:
        sys.exit(MISSING)
    import torch

    torch.set_num_threads(1)
    print(json.dumps([row(toploc, torch, width) for width in WIDTHS]))


def row(toploc: Any, torch: Any, width: int) -> dict:
    rng, compared, equal, tied, ours_rejected, theirs_rejected = np.random.default_rng(width), 0, 0, 0, 0, 0
    for kind in KINDS.values():
        hidden = kind(rng, (1, SPANS * 32, width)).astype(np.float32)
        tensor = torch.from_numpy(hidden[0]).bfloat16()
        patterns = tensor.view(torch.uint16).numpy()[None]
        theirs = toploc.build_proofs_bytes(tensor, 32, TOP, True)
        ours, from_fp32 = build_proofs(patterns), build_proofs(hidden)
        compared += SPANS
        equal += sum(a == b == c for a, b, c in zip(ours, from_fp32, theirs, strict=True))
        tied += int(ties(patterns.reshape(SPANS, -1)))
        for activations, proofs in ((patterns, ours), (hidden, ours), (patterns, theirs)):
            ours_rejected += sum(not errors.within(AUDIT) for errors in check_proofs(activations, proofs))
        listed = toploc.verify_proofs_bytes(list(tensor.split(32)), theirs, 1, TOP)  # with a prefill
        for result in (*toploc.verify_proofs_bytes(tensor, list(ours), 32, TOP, True), *listed):
            theirs_rejected += (
                result.exp_mismatches > AUDIT.max_exponent_mismatches
                or result.mant_err_mean > AUDIT.max_mantissa_mean
                or result.mant_err_median > AUDIT.max_mantissa_median
            )
    return {
        "hidden": width,
        "proofs": compared,
        "tied": tied,
        "bytes_equal": equal == compared,
        "honest_rejects": ours_rejected,
        "reference_rejects": theirs_rejected,
        **speed(toploc, torch, width),
    }


def ties(patterns: np.ndarray) -> int:
    """Spans whose 128th and 129th magnitudes are equal: where the choice is the tie rule's."""
    magnitudes = np.sort(patterns & 0x7FFF, axis=1)
    return (magnitudes[:, -TOP] == magnitudes[:, -TOP - 1]).sum()


def speed(toploc: Any, torch: Any, width: int) -> dict:
    """CPU milliseconds per proof of normal activations."""
    generator = torch.Generator().manual_seed(width)
    tensor = torch.randn(SPANS * 32, width, generator=generator).bfloat16()
    pieces = list(tensor.split(32))
    proofs = toploc.build_proofs_bytes(tensor, 32, TOP, True)

    def patterns() -> np.ndarray:
        return tensor.view(torch.uint16).numpy()[None]

    took = timed(
        {
            "build": lambda: build_proofs(patterns()),
            "verify": lambda: check_proofs(patterns(), proofs),
            "their build": lambda: toploc.build_proofs_bytes(tensor, 32, TOP, True),
            "their build of pieces": lambda: toploc.build_proofs_bytes(pieces, 1, TOP, True),
            "their verify": lambda: toploc.verify_proofs_bytes(tensor, proofs, 32, TOP, True),
            "their verify of pieces": lambda: toploc.verify_proofs_bytes(pieces, proofs, 1, TOP, True),
        }
    )
    their_build = min(took["their build"], took["their build of pieces"])
    their_verify = min(took["their verify"], took["their verify of pieces"])
    return {
        "build_ms": took["build"],
        "reference_build_ms": their_build,
        "build_ratio": their_build / took["build"],
        "verify_ms": took["verify"],
        "reference_verify_ms": their_verify,
        "verify_ratio": their_verify / took["verify"],
    }


def timed(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU milliseconds per proof of each, run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(REPEATS + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if repeat:  # the first warms up
                taken[name].append(1000 * (time.process_time() - start) / SPANS)
    return {name: statistics.median(values) for name, values in taken.items()}


# --- malformed proofs ---------------------------------------------------------------------------------------

MALFORMED = {
    "modulus 0": [bytes(258)],
    "no coefficients": [b"\x80\x01"],
    "no bytes": [b""],
    "modulus above the prime": [b"\xff\xff" + bytes(256)],
    "coefficients above the prime": [b"\xff\xd9" + b"\xff" * 256],
    "one coefficient": [b"\xff\xd9\x3f\x80"],
    "a thousand coefficients": [b"\xff\xd9" + bytes(2000)],
    "no proofs": [],
    "a proof too many": [b"\xff\xd9" + bytes(256)] * 3,
}
"""What is given for two spans; a single proof is followed by a well-formed one."""
_ZERO = b"\xff\xd9" + bytes(256)
_REFERENCE = """
import sys, torch, toploc
hidden = torch.randn(64, 768, generator=torch.Generator().manual_seed(0)).bfloat16()
results = toploc.verify_proofs_bytes(hidden, [bytes.fromhex(p) for p in sys.argv[1:]], 32, 128, True)
print(f"gives {len(results)} results", end="")
"""


def outcome(name: str, env: dict[str, str]) -> dict[str, str]:
    proofs = MALFORMED[name] if len(MALFORMED[name]) != 1 else [*MALFORMED[name], _ZERO]
    child = [sys.executable, "-c", _REFERENCE, *(proof.hex() for proof in proofs)]
    ran = subprocess.run(child, env=env, capture_output=True, text=True)
    reference = ran.stdout
    if ran.returncode < 0:
        reference = f"dies of {signal.Signals(-ran.returncode).name}"
    elif ran.returncode:
        reference = f"raises {ran.stderr.strip().splitlines()[-1][:100]}"
    hidden = np.random.default_rng(0).standard_normal((1, 64, 768), dtype=np.float32)
    try:
        check_proofs(hidden, proofs)
    except MalformedArtifact as error:
        return {"reference": reference, "ours": f"refuses: {error.message}"}
    return {"reference": reference, "ours": "gives results"}
