"""Proofs for `contracts/src/FraudProofs.sol`, built from files: a wrong checkpoint, or a false norm. Numpy
only, no chain.

What goes to the contract is plain tuples in the order of the structs in `IFraudProofs.sol`: bytes, ints,
bools and 0x-addresses, as an ABI encoder takes them. The contract believes none of it: it replays the
round's reveals, so a proof has to list all of them, in the order in which they were revealed.

    fault = find_fault(spec, round_, before, reveals, excluded, posted)
    proof = outer_step_proof(spec, pool_id, round_, before, reveals, excluded, posted, fault)
    contract.proveOuterStep(proof.leaf, proof.reveals, proof.excluded)
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pi_sdk.codec import ZERO, accumulate, leaf_hash, merkle_proof, merkle_sum_proof, merkle_sum_root, sha256
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec, RunSpec

from .codecs import UpdateFile, chunk_values, max_update_bytes, update_header
from .fixed import Q16_ONE
from .outer import Checkpoint, lower_median, outer_step

_LEAF = 256
_NOBODY = "0x" + 40 * "0"
_HEADER = 16


@dataclass(frozen=True)
class RevealedUpdate:
    """One reveal of a round as the chain has it, and the file behind it (None where nobody has it)."""

    node: str
    start_root: bytes
    update_root: bytes
    norm: int
    width: int
    file: bytes | None = None


@dataclass(frozen=True)
class Fault:
    """Where a close is wrong: at a leaf, or in counting a node whose chunk for that leaf is malformed."""

    leaf: int
    malformed: str | None = None


@dataclass(frozen=True)
class OuterStepProof:
    """Arguments of `proveOuterStep`: a `Leaf`, the `Contribution`s of all reveals, and the excluded nodes."""

    leaf: tuple
    reveals: list[tuple]
    excluded: list[str]


class _AsRevealed(UpdateFile):
    """An update as the contract takes it: with the norm that was revealed."""

    def __init__(self, codec: CodecSpec, data: bytes, n: int, norm: int):
        super().__init__(codec, data, n)
        self._norm = norm

    @property
    def norm(self) -> int:
        return self._norm


# --- the outer step -----------------------------------------------------------------------------------------


def counting(
    reveals: Sequence[RevealedUpdate], start_root: bytes, excluded: Collection[str]
) -> list[RevealedUpdate]:
    """The reveals whose updates make up the mean."""
    out = {int(node, 16) for node in excluded}
    return [r for r in reveals if r.start_root == start_root and int(r.node, 16) not in out]


def find_fault(
    spec: RunSpec,
    round_: int,
    before: Checkpoint,
    reveals: Sequence[RevealedUpdate],
    excluded: Collection[str],
    posted: Checkpoint,
) -> Fault | None:
    """The first leaf at which a posted checkpoint is wrong; None where it is right.

    A close that counts a malformed update is wrong whatever it posted, and that is found first.
    `MalformedArtifact` where a counting update's file is missing or has another size: no proof can show its
    chunks, and only the vote of the next round can tell.
    """
    place = spec.outer.fragment(len(before.theta), round_)
    n = place.stop - place.start
    counted = counting(reveals, before.root(), excluded)
    for reveal in counted:
        if reveal.file is not None and len(reveal.file) == max_update_bytes(spec.codec, n):
            chunk = malformed_chunk(spec.codec, reveal.file, n)
            if chunk is not None:
                return Fault((place.start + chunk * chunk_values(spec.codec)) // _LEAF, reveal.node)
    updates = [
        (_AsRevealed(spec.codec, _file(spec.codec, reveal, n), n, reveal.norm), reveal.width)
        for reveal in counted
    ]
    right = outer_step(spec, before, updates, round_)
    differs = right.theta != posted.theta
    if right.momentum is not None and posted.momentum is not None:
        differs |= right.momentum != posted.momentum
    if differs.any():
        return Fault(int(differs.argmax()) // _LEAF)
    if right.guard is None or posted.guard is None or np.array_equal(right.guard, posted.guard):
        return None
    return Fault(-(-len(differs) // _LEAF))


def outer_step_proof(
    spec: RunSpec,
    pool_id: int,
    round_: int,
    before: Checkpoint,
    reveals: Sequence[RevealedUpdate],
    excluded: Collection[str],
    posted: Checkpoint,
    fault: Fault,
) -> OuterStepProof:
    """Shows a fault of a posted checkpoint beside everything that it follows from.

    `MalformedArtifact` where the file of an update to be shown is missing or is not what its root says.
    """
    place = spec.outer.fragment(len(before.theta), round_)
    n, at = place.stop - place.start, fault.leaf * _LEAF - place.start
    counted = counting(reveals, before.root(), excluded)
    moves = 0 <= at < n  # no update is about a leaf outside the round's fragment
    shown = {r.node for r in counted if moves and fault.malformed in (None, r.node)}
    chunk = at // chunk_values(spec.codec)
    contributions = []
    for r in reveals:
        encoded, squares, siblings = b"", 0, b""
        if r.node in shown:
            leaves = list(chunks(spec.codec, _file(spec.codec, r, n), n))
            if merkle_sum_root(leaves)[0] != r.update_root:
                raise MalformedArtifact(f"the update of {r.node} does not have the revealed root")
            encoded, squares = leaves[chunk]
            path = merkle_sum_proof(leaves, chunk)
            siblings = b"".join(node + total.to_bytes(16) for node, total in path)
        contributions.append(
            (r.node, r.start_root, r.update_root, r.norm, r.width, encoded, squares, siblings)
        )
    nodes = sorted(excluded, key=lambda node: int(node, 16))
    if fault.malformed is not None:
        leaf = (pool_id, round_, fault.leaf, b"", [], ZERO, [], 0, fault.malformed, b"", [])
        return OuterStepProof(leaf, contributions, nodes)

    norms = [r.norm for r in counted]
    old, new = list(before.leaves()), list(posted.leaves())
    leaf = (
        pool_id,
        round_,
        fault.leaf,
        old[fault.leaf],
        merkle_proof(old, fault.leaf),
        leaf_hash(new[fault.leaf]),
        merkle_proof(new, fault.leaf),
        lower_median(norms) if norms else 0,
        _NOBODY,
        b"" if before.guard is None else old[-1],
        [] if before.guard is None else merkle_proof(old, len(old) - 1),
    )
    return OuterStepProof(leaf, contributions, nodes)


def progress_after(spec: RunSpec, start_root: bytes, n: int, proof: OuterStepProof, stop: int) -> tuple:
    """The `Progress` that `continueOuterStep` leaves once the first `stop` reveals of a proof are in.

    `start_root` is the round's, `n` the number of parameters. A trimmed mean is proved in one transaction.
    """
    assert not spec.outer.trim, "a trimmed mean needs all updates at once"
    index, median, named = proof.leaf[2], proof.leaf[7], int(proof.leaf[8], 16)
    out = {int(node, 16) for node in proof.excluded}
    accumulator, counted, below, up_to, total_width, malformed = ZERO, 0, 0, 0, 0, False
    sums = np.zeros(_LEAF, np.int64)
    place = spec.outer.fragment(n, proof.leaf[1])
    n, at = place.stop - place.start, index * _LEAF - place.start
    chunk, first = divmod(at, chunk_values(spec.codec))
    for node, root, update_root, norm, width, encoded, _, _ in proof.reveals[:stop]:
        accumulator = accumulate(accumulator, node, root, update_root, norm, width)
        if root != start_root or int(node, 16) in out:
            continue
        if named:
            malformed |= int(node, 16) == named
            continue
        counted += 1
        below += norm < median
        up_to += norm <= median
        total_width += width
        if not 0 <= at < n:
            continue
        values = _decoded(spec.codec, encoded, _length(spec.codec, n, chunk))
        assert values is not None, "a malformed chunk is to be named as the fault"
        part = values[first : first + _LEAF].astype(np.int64)
        factor = Q16_ONE if norm <= median else median * Q16_ONE // norm
        sums[: len(part)] += part * (width * factor)
    return (accumulator, stop, counted, below, up_to, total_width, malformed, sums.tolist())


# --- norms --------------------------------------------------------------------------------------------------


def norm_proof(
    codec: CodecSpec,
    pool_id: int,
    round_: int,
    reveals: Sequence[RevealedUpdate],
    accused: int,
    n: int,
    sums: Sequence[int] | None = None,
) -> tuple[tuple, list[tuple]] | None:
    """Arguments of `proveNorm` against reveal number `accused`: a `Norm`, and the `Contribution`s of all.

    `sums` are the sums of squares that the accused put at its chunks, where they are not those of the file.
    None where the norm is true, or where file and sums do not lead to the revealed root (then only an
    exclusion helps). `n` is the number of values in an update.
    """
    reveal = reveals[accused]
    leaves = list(chunks(codec, _file(codec, reveal, n), n))
    true_sums = [total for _, total in leaves]
    if sums is not None:
        leaves = [(chunk, total) for (chunk, _), total in zip(leaves, sums, strict=True)]
    root, total = merkle_sum_root(leaves)
    if root != reveal.update_root:
        return None
    fault = malformed_chunk(codec, _file(codec, reveal, n), n)
    if fault is None:
        wrong = (i for i, (_, claimed) in enumerate(leaves) if claimed != true_sums[i])
        fault = next(wrong, None)
    at_root = math.isqrt(total) != reveal.norm
    if fault is None and not at_root:
        return None
    top, path, go_left = _descent(leaves, 0 if fault is None else fault)
    if at_root or fault is None:
        path, go_left, encoded = [], [], b""
    else:
        encoded = leaves[fault][0]
    replayed = [(r.node, r.start_root, r.update_root, r.norm, r.width, b"", 0, b"") for r in reveals]
    return (pool_id, round_, accused, top, total, path, go_left, encoded), replayed


def _descent(leaves: list[tuple[bytes, int]], index: int) -> tuple[bytes, list[tuple], list[bool]]:
    """Top hash of a Merkle-sum tree, its inner nodes (left, sum, right, sum) from the top down to a chunk's
    parent, and at each whether the way goes left."""
    node, total = leaf_hash(leaves[index][0]), leaves[index][1]
    path, go_left = [], []
    for level, (sibling, beside) in enumerate(merkle_sum_proof(leaves, index)):
        go_left.append(index >> level & 1 == 0)
        pair = (node, total, sibling, beside) if go_left[-1] else (sibling, beside, node, total)
        path.append(pair)
        node = sha256(b"\x01" + pair[0] + pair[1].to_bytes(16) + pair[2] + pair[3].to_bytes(16))
        total += beside
    return node, path[::-1], go_left[::-1]


# --- chunks -------------------------------------------------------------------------------------------------


def chunks(codec: CodecSpec, data: bytes, n: int) -> Iterator[tuple[bytes, int]]:
    """(encoded chunk, sum of squares of its values) of an update file of the right length.

    A malformed chunk gets the sum that its levels give, which is what a tree over it most likely says, or 0
    where a codec's levels alone give none.
    """
    try:
        squares = UpdateFile(codec, update_header(codec, n) + data[_HEADER:], n).squares
    except MalformedArtifact:
        squares = None
    at = _HEADER
    for chunk in range(-(-n // chunk_values(codec))):
        length = _length(codec, n, chunk)
        size = max_update_bytes(codec, length) - _HEADER
        encoded = data[at : at + size]
        yield encoded, squares[chunk] if squares else _squares(codec, encoded, length)
        at += size


def malformed_chunk(codec: CodecSpec, data: bytes, n: int) -> int | None:
    """The first chunk of an update file of the right length that no encoder writes."""
    try:
        UpdateFile(codec, update_header(codec, n) + data[_HEADER:], n)
        return None
    except MalformedArtifact:
        encoded = (chunk for chunk, _ in chunks(codec, data, n))
        found = (i for i, c in enumerate(encoded) if _decoded(codec, c, _length(codec, n, i)) is None)
        return next(found, None)


def _length(codec: CodecSpec, n: int, chunk: int) -> int:
    """Values of a chunk."""
    return min(chunk_values(codec), n - chunk * chunk_values(codec))


def _file(codec: CodecSpec, reveal: RevealedUpdate, n: int) -> bytes:
    """The update's chunks behind a right header: roots do not cover the header."""
    if reveal.file is None or len(reveal.file) != max_update_bytes(codec, n):
        raise MalformedArtifact(f"the update of {reveal.node} is missing or has another size")
    return update_header(codec, n) + reveal.file[_HEADER:]


def _decoded(codec: CodecSpec, encoded: bytes, length: int) -> np.ndarray | None:
    """int32[length] values of one chunk, read as a file of its own; None where it is malformed."""
    try:
        return UpdateFile(codec, update_header(codec, length) + encoded, length).decode()
    except MalformedArtifact:
        return None


def _squares(codec: CodecSpec, encoded: bytes, length: int) -> int:
    if codec.name == "dct-topk":
        values = _decoded(codec, encoded, length)
        return 0 if values is None else sum(value * value for value in values.tolist())
    raw = np.frombuffer(encoded, np.uint8)
    if codec.name == "dense-fixed":
        squares = raw.view(">i4").astype(np.int64) ** 2
        return (int((squares >> 32).sum()) << 32) + int((squares & 0xFFFFFFFF).sum())
    code = int.from_bytes(encoded[:2])
    step = (code >> 5) << (code & 31)
    if codec.name == "dense-int8":
        levels = raw[2:].view(np.int8).astype(np.int64)
    else:
        kept = min(codec.k, length)
        bits = np.unpackbits(raw[2:])[12 * kept : 14 * kept].reshape(-1, 2)
        levels = 2 * (2 * bits[:, 0].astype(np.int64) + bits[:, 1]) - 3
    return step**2 * int((levels**2).sum())
