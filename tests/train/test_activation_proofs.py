"""Activation proofs: the wire format, what the screen sees, and malformed proofs."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.errors import MalformedArtifact, PiError
from pi_sdk.types import AuditSpec
from pi_train import kernels
from pi_train.proofs import PRIME, TOP, bf16_patterns, build_proofs, check_proofs, parse_proofs

AUDIT = AuditSpec()
REFERENCE = {
    768: "8e7b00e7339f2cb3aca83130014d84a869647d9b3102683309adf8d321dce086",
    4096: "a23a24a17912ba35720b439830d432e0725db9ec805d140dd7c29de1855bd00d",
}
"""sha256 of two proofs by width."""


def activations(seed: int = 0, width: int = 64, sequences: int = 2, tokens: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (sequences, tokens, width)).astype(np.float32)


@pytest.mark.parametrize("width", [16, 128, 4096])
def test_a_proof_goes_through_the_largest_activations(width: int):
    """Evaluated point by point as the format says: sum of c_j (index mod m)^j over GF(65497)."""
    hidden = activations(width=width, sequences=1, tokens=32)
    (proof,) = build_proofs(hidden)
    assert len(proof) == 258
    modulus, *coefficients = (int.from_bytes(proof[i : i + 2]) for i in range(0, 258, 2))
    flat = torch.from_numpy(hidden.reshape(-1)).to(torch.bfloat16)
    top = (
        flat.abs().topk(TOP).indices[: TOP if width > 128 else 100]
    )  # torch's ties are others below 8192 values
    patterns = flat.view(torch.uint16)
    for i in top.tolist():
        value = sum(c * pow(i % modulus, j, PRIME) for j, c in enumerate(coefficients)) % PRIME
        assert value == int(patterns[i])


def test_equal_activations_agree_exactly():
    hidden = activations()
    proofs = build_proofs(hidden)
    assert len(proofs) == 4 and build_proofs(hidden) == proofs
    errors = check_proofs(hidden, proofs)
    assert {(e.exponent_mismatches, e.mantissa_mean, e.mantissa_median) for e in errors} == {(0, 0.0, 0.0)}


def test_rounding_noise_passes_and_other_activations_do_not():
    hidden = activations()
    proofs = build_proofs(hidden)
    noisy = hidden * (1 + 1e-3 * activations(1))
    assert all(e.within(AUDIT) for e in check_proofs(noisy, proofs))
    assert not any(e.within(AUDIT) for e in check_proofs(activations(2), proofs))


def test_the_sign_counts():
    hidden = activations()
    assert all(e.exponent_mismatches == TOP for e in check_proofs(-hidden, build_proofs(hidden)))


def test_ties_and_zeros_have_one_proof():
    hidden = np.zeros((1, 32, 16), np.float32)
    hidden[0, :, 3] = 2.0
    (proof,) = build_proofs(hidden)
    assert build_proofs(hidden.copy()) == (proof,)
    assert check_proofs(hidden, [proof])[0].exponent_mismatches == 0


@pytest.mark.parametrize("compiled", [True, False])
def test_infinite_activations_fit_in_the_field_and_nan_has_no_proof(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
):
    if not compiled:
        monkeypatch.setattr(kernels, "load", lambda: None)
    hidden = activations(sequences=1, tokens=32)
    hidden[0, 0, :2] = np.inf, -np.inf
    assert check_proofs(hidden, build_proofs(hidden))[0].exponent_mismatches == 0
    for nan in (0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF):  # rounding must not carry one into a number
        hidden.view(np.uint32)[0, 0, 0] = nan
        with pytest.raises(PiError):
            build_proofs(hidden)


def test_bf16_activations_are_proved_as_they_are():
    hidden = torch.from_numpy(activations()).bfloat16()
    patterns = hidden.view(torch.uint16).numpy()
    proofs = build_proofs(patterns)
    assert proofs == build_proofs(hidden.float().numpy())
    assert all(e.exponent_mismatches == 0 for e in check_proofs(patterns, proofs))


def test_a_span_of_fewer_values_than_points_has_no_proof():
    with pytest.raises(PiError):
        build_proofs(activations(width=3))


def test_proofs_are_the_references():
    """toploc 0.1.6 made the same from these activations, which have ties at the edge. `benchmarks/toploc.py`
    compares many more."""
    for width, digest in REFERENCE.items():
        values = (np.arange(64 * width) * 40503 % 65521 - 32760).astype(np.float32).reshape(1, 64, width)
        patterns = bf16_patterns(values * values * values)
        assert hashlib.sha256(b"".join(build_proofs(patterns))).hexdigest() == digest


def test_no_proven_sequence_means_no_proof():
    nothing = activations()[:0]
    assert build_proofs(nothing) == () and check_proofs(nothing, ()) == []


def proof_of(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(2) for word in words)


@pytest.mark.parametrize(
    "proof",
    [
        b"",
        bytes(257),
        bytes(259),
        proof_of([0] * 129),  # what the reference package emits on error, and dies of
        proof_of([32768] + [1] * 128),
        proof_of([65498] + [1] * 128),
        proof_of([65497] + [1] * 127 + [65497]),
    ],
    ids=["empty", "short", "long", "modulus 0", "modulus low", "modulus high", "coefficient high"],
)
def test_malformed_proofs_are_refused(proof: bytes):
    with pytest.raises(MalformedArtifact):
        parse_proofs([proof])


def test_the_number_of_proofs_must_fit():
    hidden = activations()
    proofs = build_proofs(hidden)
    for some in ((), proofs[:-1], (*proofs, proofs[0])):
        with pytest.raises(MalformedArtifact):
            check_proofs(hidden, some)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=258, max_size=258))
def test_any_bytes_are_malformed_or_a_proof_that_fails(proof: bytes):
    hidden = activations(sequences=1, tokens=32)
    try:
        (errors,) = check_proofs(hidden, [proof])
    except MalformedArtifact:
        return
    assert not errors.within(AUDIT)
