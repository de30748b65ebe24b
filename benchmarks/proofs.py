"""Activation proofs: tokens per second of building and of checking, against the floor of finding the 128
largest.

Floor: rounding the activations to bf16 and one `argpartition` of their magnitudes, which any proof in this
format must do on both sides. Interpolating (build) and evaluating (check) a polynomial over a prime field
come on top.

    python -m benchmarks proofs
"""

import numpy as np
from pi_train.proofs import TOP, build_proofs, check_proofs

from .common import publish, seconds

SPANS = 16
"""Proofs per call: 512 tokens."""


def floor(hidden: np.ndarray) -> None:
    flat = hidden.reshape(SPANS, -1)
    bf16 = ((flat.view(np.uint32) + 0x8000) >> 16).astype(np.uint16) & 0x7FFF
    np.argpartition(bf16, bf16.shape[1] - TOP, axis=1)


def main() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for width in (128, 768, 1024, 2048, 4096):
        hidden = rng.standard_normal((1, SPANS * 32, width), dtype=np.float32)
        proofs = build_proofs(hidden)
        floor_s = seconds(lambda h=hidden: floor(h))
        build_s = seconds(lambda h=hidden: build_proofs(h))
        check_s = seconds(lambda h=hidden, p=proofs: check_proofs(h, p))
        rows.append(
            {
                "width": width,
                "build tokens/s": round(SPANS * 32 / build_s),
                "check tokens/s": round(SPANS * 32 / check_s),
                "build ms/proof": 1000 * build_s / SPANS,
                "check ms/proof": 1000 * check_s / SPANS,
                "build/floor": build_s / floor_s,
                "check/floor": check_s / floor_s,
            }
        )
    publish(
        "proofs",
        "Activation proofs (258 bytes per 32 tokens), numpy, one process",
        rows,
        "floor: bf16 and top 128",
    )
