"""What a class measures of a run, for its error limits: honest segments, segments of the cheats that are
hardest to see, and how far a replay of either is off.

One process per class holds a `Calibrator`; files of borders go from class to class. A worker's class trains a
slot with the code that workers use, then trains drawn segments of it again as each cheat would, from the same
borders. A validator's class replays those segments and measures the honest and the false ends as an audit
does.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pi_sdk.codec import Trace
from pi_sdk.types import DeterminismClass, RunSpec

from .codecs import UpdateFile
from .data import Batch, Corpus, batches
from .inner import InnerLoop, Loop, inner_loop, learning_rate
from .model import Files
from .outer import Checkpoint, outer_step
from .proofs import build_proofs, check_proofs
from .replay import segment_error
from .slot import proven, train_slot, working_class
from .state import Border

NODE = "0x" + "ca" * 20
"""Whose batches a calibration trains on."""
CHEATS = ("half rate", "half batch", "poisoned step", "int8 weights", "stale weights", "bf16 products")
"""Half the learning rate; half of each batch; one step of the segment whose targets are all off by one;
gradients of weights rounded to 8 bits per row; gradients of the weights one step before, the segment's first
step excepted; and, where the class computes in fp32, bf16."""
STATISTICS = ("error", "loss", "exponent_mismatches", "mantissa_mean", "mantissa_median")
"""What is measured of a segment: the state's error, the largest relative error of a loss, and the largest of
each of the screen's statistics."""


@dataclass(frozen=True)
class _End:
    """How a segment ended, by somebody's account."""

    border: Border
    losses: list[float]
    proofs: list[tuple[bytes, ...]]


class Calibrator:
    """A worker and a validator of the class that this process is pinned to. `train` goes on round by round:
    the class's own checkpoints and private state are carried along."""

    def __init__(self, spec: RunSpec, corpus: Corpus, class_id: str, genesis: Checkpoint):
        self.spec, self.corpus, self.class_id = spec, corpus, class_id
        self.checkpoint, self.state, self.round = genesis, None, 0
        self.data_root = genesis.root()

    def train(self, folder: Path) -> None:
        """Trains the next round's slot. `folder` gets its borders, trace and `start.json`."""
        spec, before = self.spec, self.checkpoint.root()
        root = self.data_root if spec.outer.delay else before
        result = train_slot(
            spec,
            self.corpus,
            self.checkpoint,
            node=NODE,
            round_=self.round,
            width=1,
            state=self.state,
            class_id=self.class_id,
            borders=folder,
            data_root=root,
        )
        (folder / "trace").write_bytes(result.trace)
        (folder / "start.json").write_text(json.dumps({"round": self.round, "root": root.hex()}))
        update = UpdateFile(spec.codec, result.update, spec.update_values(self.round))
        self.checkpoint = outer_step(spec, self.checkpoint, [(update, 1)], self.round)
        self.data_root, self.state, self.round = before, result.state, self.round + 1

    def cheat(self, folder: Path, segment: int) -> list[str]:
        """Trains a segment of the slot in `folder` as each cheat would. The folder gets their ends."""
        cls = working_class(self.spec, self.class_id)
        steps = self._steps(folder, segment)
        start = _border(folder, str(segment), self.spec)
        names = [c for c in CHEATS if c != "bf16 products" or cls.dtype == "fp32"]
        before = start
        if len(steps) == 1:  # such a segment is as stale as the border before it
            names = [c for c in names if c != "stale weights" or segment]
            before = _border(folder, str(max(segment - 1, 0)), self.spec)
        if cls.ranks > 1:  # what a cheat changes inside a step is out of reach
            names = ["half rate"]
            loop = inner_loop(self.spec, cls, start, self.corpus.files)
        else:
            loop = _CheatingLoop(self.spec, cls, start, self.corpus.files)
        for name in names:
            loop.load(start)
            if isinstance(loop, _CheatingLoop):
                loop.become(name, len(steps), before)
            end = _run(self.spec, loop, steps, 0.5 if name == "half rate" else 1.0)
            _write_end(folder / f"{segment}-{name}", end)
        return names

    def measure(self, folder: Path, segment: int, cheats: list[str]) -> dict[str, dict[str, float]]:
        """Replays a segment of the slot in `folder`: `STATISTICS` of the honest end, by the name "honest",
        and of each cheat's."""
        spec, cls = self.spec, working_class(self.spec, self.class_id)
        start = _border(folder, str(segment), spec)
        loop = inner_loop(spec, cls, start, self.corpus.files)
        hidden: list[np.ndarray] = []
        mine = _run(spec, loop, self._steps(folder, segment), 1.0, hidden.append)
        found = {"honest": _measure(start, self._honest(folder, segment), mine, hidden)}
        for name in cheats:
            end = _read_end(folder / f"{segment}-{name}", spec)
            found[name] = _measure(start, end, mine, hidden)
        return found

    def _honest(self, folder: Path, segment: int) -> _End:
        spec, length = self.spec, self.spec.trace.segment
        trace = Trace.decode(
            (folder / "trace").read_bytes(),
            steps=spec.inner.steps,
            segments=spec.segments,
            per_step=spec.proofs_per_step,
        )
        part = slice(segment * length, (segment + 1) * length)
        losses = np.array(trace.losses[part], np.uint32).view(np.float32).tolist()
        return _End(_border(folder, str(segment + 1), spec), losses, list(trace.proofs[part]))

    def _steps(self, folder: Path, segment: int) -> list[tuple[Batch, float]]:
        """Batches of a segment with their learning rates."""
        spec, length = self.spec, self.spec.trace.segment
        start = json.loads((folder / "start.json").read_text())
        round_, root = start["round"], bytes.fromhex(start["root"])
        of_slot = batches(spec, self.corpus, root, node=NODE, round_=round_, width=1)
        return [
            (batch, learning_rate(spec, round_ * spec.inner.steps + i))
            for i, batch in enumerate(of_slot)
            if i // length == segment
        ]


class _CheatingLoop(InnerLoop):
    """A loop that becomes one cheat after another. `load` comes before `become`; `before` is what the first
    step's stale weights are."""

    def __init__(self, spec: RunSpec, cls: DeterminismClass, start: Border, files: Files | None):
        super().__init__(spec, cls, start, files)
        self.cls, self.cheat = cls, ""

    def become(self, cheat: str, steps: int, before: Border) -> None:
        self.cheat, self.left = cheat, steps
        stale = cheat == "stale weights"
        self.before = torch.from_numpy(before.params.copy()).to(self.device) if stale else None
        dtype = "bf16" if cheat == "bf16 products" else self.cls.dtype
        self.model.network.cls = self.cls.model_copy(update={"dtype": dtype})

    def gradients(self, windows: torch.Tensor) -> tuple[float, torch.Tensor]:
        self.left -= 1
        model = self.model
        if self.cheat == "half batch":
            return super().gradients(windows[: max(1, len(windows) // 2)])
        if self.cheat == "poisoned step" and self.left == 0:
            return self._poisoned(windows)
        if self.cheat not in ("int8 weights", "stale weights"):
            return super().gradients(windows)
        own = model.params.clone()
        if self.before is not None:
            model.params.copy_(self.before)
        else:
            for weight in model.weights.values():
                _round_to_int8(weight)
        self.before = own if self.before is not None else None
        answer = super().gradients(windows)
        model.params.copy_(own)
        return answer

    def _poisoned(self, windows: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Gradients towards false targets, with the loss and the activations of the true step."""
        honest = super().gradients(windows)
        model = self.model
        model.grad.zero_()
        for part in windows.split(self.spec.inner.micro_batch or len(windows)):
            with model.network.autocast():
                logits, _ = model.forward(part[:, :-1])
            false = (part[:, 1:] + 1) % self.spec.model.vocab
            loss = F.cross_entropy(logits.float().flatten(0, 1), false.flatten())
            (loss * (len(part) / len(windows))).backward()
        return honest


def _round_to_int8(weight: torch.Tensor) -> None:
    """Symmetric, one scale per row, in place."""
    if weight.dim() < 2:
        return
    with torch.no_grad():
        scale = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).clamp_min(1e-12) / 127
        weight.copy_((weight / scale).round_() * scale)


def _run(
    spec: RunSpec,
    loop: Loop,
    steps: list[tuple[Batch, float]],
    share: float,
    see: Callable[[np.ndarray], None] = lambda hidden: None,
) -> _End:
    """Trains steps at a share of their learning rates; `see` gets the proven activations of each."""
    losses, proofs = [], []
    for batch, lr in steps:
        loss, hidden = loop.train_step(batch.tokens, share * lr)
        hidden = proven(spec, hidden)
        see(hidden)
        losses.append(loss)
        proofs.append(build_proofs(hidden))
    return _End(loop.border(), losses, proofs)


def _measure(start: Border, claimed: _End, mine: _End, hidden: list[np.ndarray]) -> dict[str, float]:
    error = segment_error(start, claimed.border, mine.border)
    loss = max(abs(a - b) / max(abs(b), 1.0) for a, b in zip(claimed.losses, mine.losses, strict=True))
    found = dict.fromkeys(STATISTICS, 0.0) | {"error": error, "loss": loss}
    for activations, proofs in zip(hidden, claimed.proofs, strict=True):
        for errors in check_proofs(activations[: _sequences(activations, proofs)], proofs):
            for name, value in vars(errors).items():
                found[name] = max(found[name], min(float(value), 128.0))  # inf: nothing agrees
    return found


def _sequences(activations: np.ndarray, proofs: tuple[bytes, ...]) -> int:
    """Sequences that proofs are of: half a batch may have fewer than are proven."""
    return len(proofs) * 32 // activations.shape[1]


def _border(folder: Path, name: str, spec: RunSpec) -> Border:
    return Border.from_bytes((folder / f"{name}.bin").read_bytes(), spec.model.parameters)


def _write_end(path: Path, end: _End) -> None:
    with open(f"{path}.bin", "wb") as file:
        for part in end.border.parts():
            file.write(part)
    claims = {"losses": end.losses, "proofs": [[p.hex() for p in step] for step in end.proofs]}
    Path(f"{path}.json").write_text(json.dumps(claims))


def _read_end(path: Path, spec: RunSpec) -> _End:
    claims = json.loads(Path(f"{path}.json").read_text())
    proofs = [tuple(bytes.fromhex(p) for p in step) for step in claims["proofs"]]
    return _End(_border(path.parent, path.name, spec), claims["losses"], proofs)
