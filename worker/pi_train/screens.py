"""Screens: cheap looks at all updates of a round that say which slots deserve an audit. They protect the
model and inform an operator; they take nobody's stake and change no mean.

Each is meant for another fault:

norm      over the cohort's median: a scaled update, or one with nothing in it
cosine    with the mean of the others, each taken at the same length: noise, a flipped sign
overlap   of what was chosen with any other update's choice: a copy. Chosen are the places of sparse-2bit, the
          signs of the other codecs; counted is the share that is equal beyond what chance gives
loss      Gauntlet (Templar, arXiv 2505.21684): what a step along the update alone takes off the loss of text
          that was drawn for all. Nodes are rated by it (OpenSkill's Plackett-Luce)
data      how much better than the mean of all updates it does on the text that its node was assigned, against
          how it compares on the text drawn for all: an update from other text does not. Weak in one round of
          one node, so it is added up over rounds

A whole cohort may be small, young or noisy, so that every limit is relative to it. Numpy only, openskill when
nodes are rated: the loss of a model comes in as a function.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from pi_sdk.codec import round_seed, sample_ids
from pi_sdk.errors import UsageError
from pi_sdk.types import CodecSpec, RunSpec

from .codecs import UpdateFile
from .data import Corpus, windows_at
from .fixed import Q16_ONE, to_fp32
from .outer import Checkpoint, lower_median, norm_factors

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""fp32[n] parameters and tokens [s, sequence + 1] to float64[s], the loss of each sequence in nats per
token."""

SAMPLE_BLOCKS = 256
"""Blocks of 4096 values, drawn anew in each round, that updates are compared on: 2^20 values settle a cosine
to 0.001 and bound the work where the model is large."""
NORM_RATIO = 8.0
"""Above it, or below its inverse, a norm is flagged. Among honest slots of one age norms differed by a fifth;
error feedback and fresh moments of a joiner made it up to 6 (dense) or 1/3 (sparse)."""
UNRELATED, RELATED = 3.0, 9.0
"""Standard deviations of chance: a cosine below the first is flagged where the cohort's median is above the
second. Honest slots had 12 to 150, a joiner's sparse update 4.7, noise -2.5 to 2."""
TYPICAL_OVERLAP = 0.9
"""An overlap is flagged where it is more than half-way from the cohort's median to 1; the median counts as at
most this, so that a cohort of copies does not hide itself. Templar flags 0.4 to 0.5; honest sparse updates
of a tiny model had 0.65, honest dense ones 0.9, a copy with 30 % noise 1.0 (sparse)."""
HARMFUL = 4.0
"""Standard errors below zero at which a gain is flagged, where the cohort's median is as far above."""
OWN_TEXT, OTHER_TEXT = 5.0, 1.5
"""Standard deviations: a node's sum of `data` below the second is flagged where the cohort's median is above
the first. One round gave 2 for honest dense updates of a tiny model, 0.5 for sparse ones; text that was not
the assigned stays about 0."""
MEMORY = 0.95
"""Weight of a round's `data` against the next one's (Templar's average has 0.05 for the new one), so that a
sum is of about 39 rounds at most."""
STEP = 0.25
"""Of the update, along which a gain is measured: a whole one of one node alone often overshoots, which says
nothing about its direction."""
RATING_BETA, RATING_TAU = 7.0, 0.1
"""Plackett-Luce as Templar has it: a rating moves slowly, and never freezes."""
_BLOCK = 4096


# --- updates beside each other ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beside:
    """One update beside the others of its round; None where there is nothing to compare."""

    norm: float | None = None
    """Over the lower median of all norms."""
    cosine: float | None = None
    """With the mean of the others."""
    beyond_chance: float | None = None
    """That cosine, in standard deviations of what random signs would give."""
    overlap: float | None = None
    """The largest with any other update: 0 is chance, 1 is equal."""
    twin: int | None = None
    """Place of the other one."""


def beside(codec: CodecSpec, updates: Sequence[UpdateFile], seed: bytes) -> list[Beside]:
    """Each of a round's updates beside the others. `seed` draws the places that are looked at; nobody should
    know it while training."""
    count, norms = len(updates), [update.norm for update in updates]
    sparse, median = codec.name == "sparse-2bit", lower_median(norms)
    scale = np.array([[1 / norm if norm else 0.0] for norm in norms])
    dots, spread, own, others = np.zeros((4, count))
    equal, chance, most = np.zeros((3, count, count))
    for start, stop in _places(updates[0].n, seed):
        values = np.stack([update.decode(start, stop) for update in updates])
        unit = values * scale
        rest = unit.sum(axis=0) - unit
        dots += (unit * rest).sum(axis=1)
        spread += (unit * unit * rest * rest).sum(axis=1)
        own += (unit * unit).sum(axis=1)
        others += (rest * rest).sum(axis=1)
        signs = np.sign(values).astype(np.float32)
        both = np.abs(signs) @ np.abs(signs).T
        sent = np.diag(both)
        equal += both if sparse else (both + signs @ signs.T) / 2
        chance += np.outer(sent, sent) / (stop - start) if sparse else both / 2
        most += np.minimum.outer(sent, sent) if sparse else both
    overlap = np.full((count, count), -1.0)
    np.divide(equal - chance, most - chance, out=overlap, where=most > chance)
    np.fill_diagonal(overlap, -1.0)
    return [
        Beside(
            norm=norms[i] / median if median else None,
            cosine=float(dots[i] / sqrt(own[i] * others[i])) if own[i] and others[i] else None,
            beyond_chance=float(dots[i] / sqrt(spread[i])) if spread[i] else None,
            overlap=float(overlap[i].max()) if overlap[i].max() > -1 else None,
            twin=int(overlap[i].argmax()) if overlap[i].max() > -1 else None,
        )
        for i in range(count)
    ]


def _places(n: int, seed: bytes) -> list[tuple[int, int]]:
    """The ranges of n values that are looked at, ascending."""
    starts = range(0, n, _BLOCK)
    if len(starts) > SAMPLE_BLOCKS:
        drawn = np.random.default_rng(list(seed)).choice(len(starts), SAMPLE_BLOCKS, replace=False)
        starts = [starts[i] for i in sorted(drawn.tolist())]
    return [(start, min(start + _BLOCK, n)) for start in starts]


# --- what an update does to the loss ------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """What a step along one update alone does to the loss of two samples of text."""

    mean: float
    """Nats per token that it takes off on the text drawn for all."""
    errors: float
    """That, in standard errors of the sample."""
    data: float
    """How much better than the mean of all it does on the assigned text than on the other, in standard
    errors; cut at 3, since few sequences tell their own spread badly."""


class Gauntlet:
    """The loss test of one round: a checkpoint, its updates, and the text drawn for all."""

    def __init__(
        self,
        spec: RunSpec,
        corpus: Corpus,
        loss: Loss,
        checkpoint: Checkpoint,
        updates: Sequence[UpdateFile],
        *,
        round_: int,
        data_root: bytes,
        seed: bytes,
        sequences: int,
    ):
        """`sequences` in each sample. `data_root` as in `pi_train.slot.train_slot`; `seed` draws the text."""
        self.spec, self.corpus, self.loss, self.updates = spec, corpus, loss, updates
        self.round, self.sequences = round_, sequences
        self._seed = round_seed(spec.seed, round_, data_root)
        self._draw = np.random.default_rng(list(seed))
        self._factors = norm_factors([update.norm for update in updates])
        self._theta = to_fp32(checkpoint.theta, spec.frac_bits)
        self._mean = self._moved(range(len(updates)))
        ids = self._draw.integers(self._windows, size=sequences)
        self._shared = windows_at(corpus.train, ids.tolist(), spec.inner.sequence)
        self._shared_before = loss(self._theta, self._shared)
        self._shared_mean = loss(self._mean, self._shared)

    def gain(self, place: int, node: str, width: int) -> Gain:
        """Of the update at `place`, by `node` with that width."""
        mine, assigned = self._moved([place]), self._assigned(node, width)
        shared = self.loss(mine, self._shared)
        better_own = self.loss(self._mean, assigned) - self.loss(mine, assigned)
        data = _errors(better_own, self._shared_mean - shared)
        gains = self._shared_before - shared
        return Gain(float(gains.mean()), _errors(gains), max(-3.0, min(3.0, data)))

    @property
    def _windows(self) -> int:
        return len(self.corpus.train) - self.spec.inner.sequence

    def _assigned(self, node: str, width: int) -> np.ndarray:
        """Tokens [sequences, sequence + 1] out of what the node was assigned."""
        inner, ids = self.spec.inner, []
        for _ in range(self.sequences):
            slot, step, at = (int(self._draw.integers(n)) for n in (width, inner.steps, inner.batch))
            ids.append(sample_ids(self._seed, node, slot, step, inner.batch, self._windows)[at])
        return windows_at(self.corpus.train, ids, inner.sequence)

    def _moved(self, places: Sequence[int]) -> np.ndarray:
        """fp32[n]: the checkpoint after a part of the mean of these updates, each as long as the outer step
        takes it. A rule that takes signs moves every parameter by its lr."""
        spec, after = self.spec, self._theta.copy()
        first, n = spec.outer.fragment(len(after), self.round).start, self.updates[0].n
        for start in range(0, n, 16 * _BLOCK):
            stop = min(start + 16 * _BLOCK, n)
            total = np.zeros(stop - start)
            for i in places:
                total += self.updates[i].decode(start, stop) * (self._factors[i] / Q16_ONE / len(places))
            step = np.sign(total) * spec.outer.lr if spec.outer.rule == "sign" else total
            after[first + start : first + stop] -= STEP * 2.0**-spec.frac_bits * step
        return after


def _errors(a: np.ndarray, b: np.ndarray | None = None) -> float:
    """Mean of a sample, or what it is above that of another one, in standard errors."""
    variance = a.var(ddof=1) / len(a) + (0.0 if b is None else b.var(ddof=1) / len(b))
    return float((a.mean() - (0.0 if b is None else b.mean())) / max(sqrt(variance), 1e-12))


# --- over rounds, and what is flagged -----------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """What is kept about a node from round to round."""

    mu: float = 25.0
    sigma: float = 25 / 3
    """Its rating, and the doubt about it."""
    sum: float = 0.0
    squares: float = 0.0
    """Of `data`, weighted by age, and of the weights."""

    @property
    def rating(self) -> float:
        """OpenSkill's ordinal: what the node is worth with near certainty."""
        return self.mu - 3 * self.sigma

    @property
    def data(self) -> float:
        """In standard deviations of what text that was not the assigned gives."""
        return self.sum / sqrt(self.squares) if self.squares else 0.0


def rated(records: Mapping[str, Record], gains: Mapping[str, Gain]) -> dict[str, Record]:
    """The records of the nodes of a round, after it. Raises `UsageError` without openskill."""
    try:
        from openskill.models import PlackettLuce
    except ImportError:
        raise UsageError("ratings need openskill", "pip install 'pi-protocol[worker]'") from None
    model, nodes = PlackettLuce(beta=RATING_BETA, tau=RATING_TAU), list(gains)
    old = [records.get(node, Record()) for node in nodes]
    teams = [[model.rating(mu=record.mu, sigma=record.sigma)] for record in old]
    if len(teams) > 1:
        teams = model.rate(teams, scores=[gains[node].mean for node in nodes])
    return {
        node: Record(
            mu=team[0].mu,
            sigma=team[0].sigma,
            sum=MEMORY * record.sum + gains[node].data,
            squares=MEMORY**2 * record.squares + 1,
        )
        for node, team, record in zip(nodes, teams, old, strict=True)
    }


@dataclass(frozen=True)
class Screened:
    """What the screens say about one slot."""

    beside: Beside
    gain: Gain | None = None
    record: Record | None = None
    """After the round. None, like the gain, where the loss was not tested."""


def flags(cohort: Mapping[str, Screened], newcomers: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """The screens that each node of a round fails. `newcomers` are younger than most: what they send is
    honestly unlike the others', and they are audited anyway."""
    judged = {node: slot for node, slot in cohort.items() if node not in newcomers}
    related = _typical(slot.beside.beyond_chance for slot in judged.values())
    overlap = min(_typical(slot.beside.overlap for slot in cohort.values()) or 0.0, TYPICAL_OVERLAP)
    errors = _typical(slot.gain.errors for slot in judged.values() if slot.gain)
    data = _typical(slot.record.data for slot in judged.values() if slot.record)
    found = {}
    for node, slot in cohort.items():
        this, wrong = slot.beside, []
        if node in judged:
            if this.norm is not None and not 1 / NORM_RATIO <= this.norm <= NORM_RATIO:
                wrong.append("norm")
            if this.beyond_chance is not None and this.beyond_chance < UNRELATED and (related or 0) > RELATED:
                wrong.append("cosine")
            if slot.gain and slot.gain.errors < -HARMFUL and (errors or 0) > HARMFUL:
                wrong.append("loss")
            if slot.record and slot.record.data < OTHER_TEXT and (data or 0) > OWN_TEXT:
                wrong.append("data")
        if this.overlap is not None and this.overlap > (1 + max(overlap, 0.0)) / 2:
            wrong.append("overlap")
        found[node] = wrong
    return found


def _typical(values: Iterable[float | None]) -> float | None:
    """The lower median of those that are there."""
    there = sorted(value for value in values if value is not None)
    return there[(len(there) - 1) // 2] if there else None
