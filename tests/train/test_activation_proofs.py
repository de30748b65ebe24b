"""Activation proofs: the wire format, what the screen sees, and malformed proofs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.errors import MalformedArtifact, PiError
from pi_sdk.types import AuditSpec
from pi_train.proofs import PRIME, TOP, build_proofs, check_proofs, parse_proofs

AUDIT = AuditSpec()


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
    top = flat.abs().float().topk(TOP).indices[:100]  # clear of ties at the edge
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


def test_infinite_activations_fit_in_the_field_and_nan_has_no_proof():
    hidden = activations(sequences=1, tokens=32)
    hidden[0, 0, :2] = np.inf, -np.inf
    assert check_proofs(hidden, build_proofs(hidden))[0].exponent_mismatches == 0
    hidden[0, 0, 0] = np.nan
    with pytest.raises(PiError):
        build_proofs(hidden)


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
