"""The outer step of DiLoCo (arXiv 2311.08105) in integers: checkpoint and revealed updates in, next
checkpoint out.

A pure function with written rounding, so that all workers get the same bits and a checkpoint is a hash. In
numpy, and where there is a compiler the same in C (`kernels.py`).

    f_i   = 2^16 where norm_i <= M, else floor(M * 2^16 / norm_i)      M = lower median of the norms
    mean  = sum_i width_i * f_i * delta_i / (sum_i width_i * 2^16)
    sgd:       theta' = theta - lr * mean
    nesterov:  m' = mu * m + mean;  theta' = theta - lr * (mean + mu * m')
    sign:      theta' = theta - lr * sign(sum_i width_i * f_i * delta_i)        DeMo, arXiv 2411.19870

A trimmed mean (`outer.trim` = b > 0) leaves out extremes, parameter by parameter: an update's value there
counts as width_i copies of f_i * delta_i, zero where a sparse codec sends none. Of these sum_i width_i = W
copies in order, the first and the last t = floor(W * b / 10^4) go, and sums and mean are of the W - 2t that
stay. So t follows the number of slots that are included: it is 0 while they are few, W = ceil(10^4 / b) - 1
at most.

A guard (`outer.guard` = k > 0) skips a round whose updates are far larger than those before: M above L + k *
max(D, L / 16), where L and D are running means of M and of |M - L|, each an eighth of the new value, of the
same fragment's rounds. The first 8 rounds are never skipped, and at most two in a row: the third starts the
means anew. A skipped round moves no parameter.

lr and mu are Q16, but sign's lr is in fixed-point units: nothing of it is rounded, the sign is that of the
exact sum. Every division rounds half away from zero; theta saturates to int32, m to +-(2^46 - 1). A
checkpoint's file is

    b"PICK" | version u8 = 1 | has_momentum u8 | guards u16 | n u64, big-endian both | theta int32 LE |
    momentum int64 LE | L, D, rounds, skipped u64 LE of each guard

and its root is a Merkle root over leaves of 256 parameters, big-endian as the EVM reads them: theta, then
momentum; and a last leaf, the guards. There is one for each fragment.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pi_sdk.codec import merkle_root
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import RunSpec

from . import kernels
from .codecs import UpdateFile
from .fixed import Q16_ONE, divide_q16, saturate

_HEADER = struct.Struct(">4sBBHQ")
_LEAF = 256
_BLOCK = (
    1 << 16
)  # values per step of the loop: int64 work arrays stay in a core's cache; a multiple of every chunk
_TRIM_BLOCK = 1 << 14
_MOMENTUM_MAX = (1 << 46) - 1
GUARD_BYTES = 32
_GUARD_ROUNDS, _MOST_SKIPPED, _GUARD_MAX = 8, 2, (1 << 64) - 1
MAX_TOTAL_WIDTH = (1 << 15) - 1
"""Above it the int64 sums of the mean could overflow."""


def checkpoint_bytes(n: int, has_momentum: bool, guards: int = 0) -> int:
    """Exact size of a checkpoint file of that `RunSpec.checkpoint_shape`."""
    return _HEADER.size + n * (12 if has_momentum else 4) + GUARD_BYTES * guards


def checkpoint_head(n: int, has_momentum: bool, guards: int = 0) -> bytes:
    """The first 16 bytes of a checkpoint file of that `RunSpec.checkpoint_shape`."""
    return _HEADER.pack(b"PICK", 1, has_momentum, guards, n)


@dataclass(frozen=True)
class Checkpoint:
    """Global parameters: `theta` int32[n] in fixed point, int64[n] momentum if the outer rule has one, and
    uint64[fragments, 4] where it has a guard: L, D, rounds, rounds skipped in a row."""

    theta: np.ndarray
    momentum: np.ndarray | None = None
    guard: np.ndarray | None = None

    def root(self) -> bytes:
        """32 bytes; the last leaf is padded with zeros."""
        return merkle_root(self.leaves())

    def leaves(self) -> Iterator[bytes]:
        """The tree's leaves in order: 1,024 bytes each, 3,072 with momentum; the guards' 32 for each."""
        for start in range(0, len(self.theta), _BLOCK):
            columns = [_padded(self.theta[start : start + _BLOCK], ">i4")]
            if self.momentum is not None:
                columns.append(_padded(self.momentum[start : start + _BLOCK], ">i8"))
            rows = np.concatenate(columns, axis=1)
            width, data = rows.shape[1], rows.tobytes()
            for at in range(0, len(data), width):
                yield data[at : at + width]
        if self.guard is not None:
            yield self.guard.astype(">u8").tobytes()

    def to_bytes(self) -> bytes:
        guards = 0 if self.guard is None else len(self.guard)
        parts = [checkpoint_head(len(self.theta), self.momentum is not None, guards)]
        for values, dtype in ((self.theta, "<i4"), (self.momentum, "<i8"), (self.guard, "<u8")):
            if values is not None:
                parts.append(values.astype(dtype).tobytes())
        return b"".join(parts)

    @classmethod
    def from_bytes(
        cls, data: bytes | memoryview, n: int, has_momentum: bool, guards: int = 0
    ) -> "Checkpoint":
        """Parses a file of that `RunSpec.checkpoint_shape`; the arrays are read-only. `MalformedArtifact`."""
        size = checkpoint_bytes(n, has_momentum, guards)
        if len(data) != size:
            raise MalformedArtifact(f"checkpoint has {len(data)} bytes, expected {size}")
        if data[: _HEADER.size] != checkpoint_head(n, has_momentum, guards):
            raise MalformedArtifact("checkpoint header does not fit the RunSpec")
        theta = np.frombuffer(data, "<i4", n, _HEADER.size)
        momentum = guard = None
        if has_momentum:
            momentum = np.frombuffer(data, "<i8", n, _HEADER.size + 4 * n)
            if momentum.min() < -_MOMENTUM_MAX or momentum.max() > _MOMENTUM_MAX:
                raise MalformedArtifact("momentum is out of range")
        if guards:
            guard = np.frombuffer(data, "<u8", 4 * guards, size - GUARD_BYTES * guards).reshape(-1, 4)
        return cls(theta, momentum, guard)


def _padded(values: np.ndarray, dtype: str) -> np.ndarray:
    """(leaves, bytes) uint8 of values in that dtype, zeros after the last one."""
    out = np.zeros(-(-len(values) // _LEAF) * _LEAF, dtype)
    out[: len(values)] = values
    return out.view(np.uint8).reshape(-1, _LEAF * out.itemsize)


def lower_median(norms: Sequence[int]) -> int:
    return sorted(norms)[(len(norms) - 1) // 2]


def guarded(k: int, state: Sequence[int], norm: int) -> tuple[tuple[int, ...], bool]:
    """A guard's L, D, rounds and skipped after a round of that median norm, and whether it is skipped."""
    mean, deviation, rounds, skipped = state
    norm = min(norm, _GUARD_MAX)
    if rounds >= _GUARD_ROUNDS and norm > mean + k * max(deviation, mean // 16):
        if skipped < _MOST_SKIPPED:
            return (mean, deviation, rounds, skipped + 1), True
        rounds = 0
    if rounds == 0:
        return (norm, 0, 1, 0), False
    off = abs(norm - mean)
    return ((7 * mean + norm) // 8, (7 * deviation + off) // 8, rounds + 1, 0), False


def was_skipped(before: Checkpoint, after: Checkpoint) -> bool:
    """Whether a guard skipped the round between two checkpoints."""
    if before.guard is None or after.guard is None:
        return False
    return bool((after.guard[:, 3] > before.guard[:, 3]).any())


def norm_factors(norms: Sequence[int]) -> list[int]:
    """Q16 factor of each update, which bounds its norm by the lower median of all norms."""
    median = lower_median(norms)
    return [Q16_ONE if norm <= median else median * Q16_ONE // norm for norm in norms]


def outer_step(
    spec: RunSpec,
    checkpoint: Checkpoint,
    contributions: Sequence[tuple[UpdateFile, int]],
    round_: int | None = None,
) -> Checkpoint:
    """The next checkpoint from (update, width) of the included nodes in any order; the same from none.

    Where a run has fragments, `round_` says which one moves. The others stay as they are.
    """
    if not contributions:
        return checkpoint
    fragments, guard = spec.outer.fragments, checkpoint.guard
    assert fragments == 1 or round_ is not None, "which fragment moves follows from the round"
    assert (guard is not None) == (spec.outer.guard > 0), "the rule and its checkpoints fit together"
    number = round_ or 0
    if guard is not None:
        mine, median = number % fragments, lower_median([update.norm for update, _ in contributions])
        state, skip = guarded(spec.outer.guard, guard[mine].tolist(), median)
        guard = guard.copy()
        guard[mine] = state
        if skip:
            return replace(checkpoint, guard=guard)
    if fragments == 1:
        return replace(_step(spec, checkpoint, contributions), guard=guard)
    place, momentum = spec.outer.fragment(len(checkpoint.theta), number), checkpoint.momentum
    part = Checkpoint(checkpoint.theta[place], None if momentum is None else momentum[place])
    moved = _step(spec, part, contributions)
    theta = checkpoint.theta.copy()
    theta[place] = moved.theta
    if momentum is not None and moved.momentum is not None:
        momentum = momentum.copy()
        momentum[place] = moved.momentum
    return Checkpoint(theta, momentum, guard)


def _step(
    spec: RunSpec, checkpoint: Checkpoint, contributions: Sequence[tuple[UpdateFile, int]]
) -> Checkpoint:
    """The outer step of as many parameters as the updates have."""
    total_width = sum(width for _, width in contributions)
    assert total_width <= MAX_TOTAL_WIDTH, "the mean would overflow"
    assert (checkpoint.momentum is None) == (spec.outer.rule != "nesterov"), "momentum belongs to nesterov"
    factors = norm_factors([update.norm for update, _ in contributions])
    n = len(checkpoint.theta)
    after = Checkpoint(np.empty(n, np.int32), None if checkpoint.momentum is None else np.empty(n, np.int64))
    if spec.outer.trim:
        _trimmed_step(spec, contributions, factors, checkpoint, after)
        return after
    weighted = [
        (update, width * factor)
        for (update, width), factor in zip(contributions, factors, strict=True)
        if factor
    ]
    step_block(spec, weighted, total_width, 0, checkpoint, after)
    return after


def step_block(
    spec: RunSpec,
    weighted: Sequence[tuple[UpdateFile, int]],
    total_width: int,
    start: int,
    before: Checkpoint,
    after: Checkpoint,
) -> None:
    """The outer step of the updates' values from `start` on: reads `before` and writes `after`, which hold as
    many values. `start` is a multiple of 4096, and so is where they stop, unless the updates end there.
    `weighted` are updates with width * factor, at least one.
    """
    compiled = kernels.load()
    if compiled is not None:
        bodies = [(update.body, weight) for update, weight in weighted]
        pairs = (before.theta, after.theta), (before.momentum, after.momentum)
        compiled.step(spec.codec, spec.outer, weighted[0][0].n, bodies, total_width, start, *pairs)
        return
    stop = start + len(before.theta)
    for at in range(start, stop, _BLOCK):
        total = np.zeros(min(_BLOCK, stop - at), np.int64)
        for update, weight in weighted:
            for where, values in update.entries(at, at + len(total)):
                total[where] += values * np.int64(weight)  # places of one update differ: += meets each once
        _apply(spec, total, total_width, slice(at - start, at - start + len(total)), before, after)


def _trimmed_step(
    spec: RunSpec,
    contributions: Sequence[tuple[UpdateFile, int]],
    factors: Sequence[int],
    before: Checkpoint,
    after: Checkpoint,
) -> None:
    """The outer step of a trimmed mean: writes `after`. Memory is that of 2^14 values of every update."""
    widths = np.array([[width] for _, width in contributions], np.int64)
    scale = np.array([[factor] for factor in factors], np.int64)
    total_width = int(widths.sum())
    cut = total_width * spec.outer.trim // 10_000
    for at in range(0, len(before.theta), _TRIM_BLOCK):
        here = slice(at, min(at + _TRIM_BLOCK, len(before.theta)))
        values = np.stack([update.decode(here.start, here.stop) for update, _ in contributions]) * scale
        _apply(spec, trimmed_sum(values, widths, cut), total_width - 2 * cut, here, before, after)


def trimmed_sum(values: np.ndarray, widths: np.ndarray, cut: int) -> np.ndarray:
    """int64[places]: the sums of `widths` copies (int64[updates, 1], each below 2^15) of values
    (int64[updates, places], at most 2^47) without the `cut` smallest and the `cut` largest ones."""
    copies = np.sort(values << 15 | widths, axis=0)  # a value and its width in one word
    width = copies & 0x7FFF
    end = width.cumsum(axis=0)
    kept = np.minimum(end, int(widths.sum()) - cut) - np.maximum(end - width, cut)
    return ((copies >> 15) * np.maximum(kept, 0)).sum(axis=0)


def _apply(
    spec: RunSpec, total: np.ndarray, total_width: int, here: slice, before: Checkpoint, after: Checkpoint
) -> None:
    """Writes theta and momentum of the places `here`, whose weighted sum is `total` (int64)."""
    theta = before.theta[here]
    if spec.outer.rule == "sign":
        after.theta[here] = saturate(theta - spec.outer.lr * np.sign(total))
        return
    if before.momentum is None and spec.codec.name == "sparse-2bit":  # what nobody sent stays as it is
        moved = np.flatnonzero(total)
        after.theta[here] = theta
        after.theta[here][moved] = _descend(theta[moved], _mean(total[moved], total_width), spec.outer.lr)
        return
    step = _mean(total, total_width)
    if before.momentum is not None and after.momentum is not None:
        decayed = divide_q16(spec.outer.momentum * before.momentum[here])
        after.momentum[here] = momentum = np.clip(decayed + step, -_MOMENTUM_MAX, _MOMENTUM_MAX)
        step += divide_q16(spec.outer.momentum * momentum)
    after.theta[here] = _descend(theta, step, spec.outer.lr)


def _mean(total: np.ndarray, total_width: int) -> np.ndarray:
    """total / (total_width * 2^16), half away from zero. Exact: |total| <= 2^47 * total_width < 2^62."""
    if total_width & (total_width - 1) == 0:  # shifts are several times faster than divisions
        shift = 15 + total_width.bit_length()
        return (total + (1 << shift - 1) + (total >> 63)) >> shift
    size = np.abs(total)
    size += total_width << 15
    size >>= 16
    size //= total_width  # floor(floor(x / 2^16) / w) = floor(x / (2^16 w))
    return np.where(total < 0, -size, size)


def _descend(theta: np.ndarray, step: np.ndarray, lr: int) -> np.ndarray:
    """int32 theta - lr * step. |step| < 2^47 and lr <= 2^24 would overflow: a step is cut where lr * step
    reaches 2^62, far above the 2^48 at which theta saturates anyway, so that the result is exact."""
    bound = (1 << 62) // max(lr, 1)
    if bound < 1 << 47:
        step = np.clip(step, -bound, bound)
    return saturate(theta - divide_q16(step * lr))
