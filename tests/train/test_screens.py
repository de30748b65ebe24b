"""Screens, held against real updates of tiny models: nobody honest is flagged, and each fault is, by the
screen that is meant for it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pi_sdk.types import AuditSpec, CodecSpec, GptSpec, InnerSpec, OuterSpec, TraceSpec
from pi_train.codecs import UpdateFile, encode_update
from pi_train.evaluate import sequence_loss
from pi_train.outer import Checkpoint, outer_step
from pi_train.screens import Beside, Gain, Gauntlet, Record, Screened, beside, flags, rated
from pi_train.slot import train_slot
from train.tiny_run import TinyRun

HONEST = ["0x" + f"{i:02x}" * 20 for i in (1, 2, 3, 4)]
WRONG_TEXT, RIDER = "0x" + "ee" * 20, "0x" + "f1" * 20
SHORT = InnerSpec(steps=10, batch=2, sequence=32, lr=5e-3, warmup=5)


@dataclass
class Played:
    """Rounds of a run; each a list of (node, update)."""

    run: TinyRun
    checkpoint: Checkpoint
    round: int
    states: dict[str, bytes]

    def updates(self, folder: Path, nodes: dict[str, str]) -> dict[str, UpdateFile]:
        """One update of each node, which trains on the text of the node that it is mapped to."""
        found, run = {}, self.run
        for node, trains_as in nodes.items():
            result = train_slot(
                run.spec,
                run.corpus,
                self.checkpoint,
                node=trains_as,
                round_=self.round,
                width=1,
                state=self.states.get(node),
                class_id=run.class_id,
                borders=folder,
            )
            shutil.rmtree(folder)
            self.states[node] = result.state
            found[node] = UpdateFile(run.spec.codec, result.update, run.n)
        return found

    def advance(self, updates: dict[str, UpdateFile]) -> None:
        self.checkpoint = outer_step(self.run.spec, self.checkpoint, [(u, 1) for u in updates.values()])
        self.round += 1


def played(folder: Path, width: int, **rules) -> Played:
    random, texts = Random(1), folder / "words"
    words = ["".join(random.choices("abcdefghijklmnop", k=random.randint(2, 6))) for _ in range(300)]
    texts.mkdir(parents=True)
    for i in range(60):
        lines = (" ".join(random.choices(words, k=8)) for _ in range(100))
        (texts / f"{i}.txt").write_text("\n".join(lines))
    run = TinyRun(
        folder,
        data=texts,
        model=GptSpec(layers=1, heads=2, width=width, context=32),
        inner=SHORT,
        trace=TraceSpec(segment=10),
        audit=AuditSpec(segments=1),
        **rules,
    )
    return Played(run, run.genesis, 0, {})


def altered(update: UpdateFile, change) -> UpdateFile:
    values = change(update.decode().astype(np.float64)).clip(-(2**31), 2**31 - 1)
    return UpdateFile(update.codec, encode_update(update.codec, values.astype(np.int32)), update.n)


def noise(values: np.ndarray, share: float) -> np.ndarray:
    drawn = np.random.default_rng(7).normal(size=len(values))
    return drawn * share * np.linalg.norm(values) / np.linalg.norm(drawn)


def judged(cohort: dict[str, UpdateFile], newcomers: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """What the screens that need no model say about updates."""
    updates = list(cohort.values())
    seen = beside(updates[0].codec, updates, bytes(range(32)))
    return flags({node: Screened(b) for node, b in zip(cohort, seen, strict=True)}, newcomers)


def test_loss_and_data_over_rounds(tmp_path):
    """Four honest nodes, one that trains on other text than its own, and one that sends noise."""
    outer = OuterSpec(rule="nesterov", lr=45875, momentum=58982)
    play = played(tmp_path, 64, codec=CodecSpec(name="dense-int8"), outer=outer)
    spec, corpus = play.run.spec, play.run.corpus
    loss = sequence_loss(spec, play.checkpoint, corpus.files)
    texts = {node: node for node in HONEST} | {WRONG_TEXT: "0x" + "dd" * 20}
    records: dict[str, Record] = {}
    for round_ in range(8):
        found = play.updates(tmp_path / "borders", texts)
        rider = altered(found[HONEST[0]], lambda values: noise(values, 1.0))
        cohort, seed, root = found | {RIDER: rider}, bytes([round_]) * 32, play.checkpoint.root()
        test = Gauntlet(
            spec,
            corpus,
            loss,
            play.checkpoint,
            list(cohort.values()),
            round_=round_,
            data_root=root,
            seed=seed,
            sequences=20,
        )
        gains = {node: test.gain(i, node, 1) for i, node in enumerate(cohort)}
        records |= rated(records, gains)
        seen = dict(zip(cohort, beside(spec.codec, list(cohort.values()), seed), strict=True))
        slots = {node: Screened(seen[node], gains[node], records[node]) for node in cohort}
        assert flags(slots)[RIDER] == ["cosine"]
        wrong = flags({node: slots[node] for node in found})
        assert not any(wrong[node] for node in HONEST), f"round {round_}: {wrong}"
        if round_ == 1:  # the opposite of an update does harm
            cohort[RIDER] = altered(found[HONEST[0]], np.negative)
            test.updates = list(cohort.values())
            slots[RIDER] = Screened(Beside(), test.gain(len(found), RIDER, 1))
            assert flags(slots)[RIDER] == ["loss"]
        play.advance(found)
    assert wrong[WRONG_TEXT] == ["data"]
    assert min(records[node].rating for node in HONEST) > records[RIDER].rating + 10


DCT = CodecSpec(name="dct-topk", k=8, max_step=1 << 31)


@pytest.mark.parametrize("codec", [CodecSpec(k=256), DCT], ids=lambda codec: codec.name)
def test_updates_beside_each_other(tmp_path, codec):
    play = played(tmp_path, 32, codec=codec, outer=OuterSpec(lr=65536))
    for _ in range(2):
        cohort = play.updates(tmp_path / "borders", {node: node for node in HONEST})
        assert not any(judged(cohort).values())
        play.advance(cohort)
    joiner = "0x" + "aa" * 20
    cohort = play.updates(tmp_path / "borders", {node: node for node in [*HONEST, joiner]})
    assert not any(judged(cohort, frozenset({joiner})).values())
    del cohort[joiner]

    victim = cohort[HONEST[1]]
    copied = altered(victim, lambda values: values + noise(values, 0.3))
    for number, change, screen in [
        (0, np.negative, "cosine"),
        (1, lambda values: noise(values, 1.0), "cosine"),
        (2, lambda values: 20 * values, "norm"),
        (3, lambda values: 0 * values, "norm"),
    ]:
        node = HONEST[number]
        found = judged(cohort | {node: altered(cohort[node], change)})
        assert found[node] == [screen]
        assert not any(found[other] for other in HONEST if other != node)
    if codec.name == "sparse-2bit":
        found = judged(cohort | {HONEST[0]: copied})
        assert found == {node: ["overlap"] * (node in HONEST[:2]) for node in HONEST}
    found = judged(cohort | {HONEST[0]: victim})
    assert found == {node: ["overlap"] * (node in HONEST[:2]) for node in HONEST}


def test_small_cohorts():
    codec, draw = CodecSpec(k=16), np.random.default_rng(3)
    files = [
        UpdateFile(codec, encode_update(codec, values), 5000)
        for values in draw.normal(size=(2, 5000), scale=1e5).astype(np.int32)
    ]
    (alone,) = beside(codec, files[:1], bytes(32))
    assert alone == Beside(norm=1.0)
    assert judged({"a": files[0], "b": files[1]}) == {"a": [], "b": []}
    nothing = altered(files[0], lambda values: 0 * values)
    assert judged({"a": nothing, "b": nothing}) == {"a": [], "b": []}
    found = beside(codec, [nothing, files[1]], bytes(32))
    assert found[0].cosine is None and found[0].overlap is None and found[1].overlap is None
    assert rated({}, {"a": Gain(1.0, 1.0, 1.0)})["a"].mu == Record().mu


def test_a_large_update_is_compared_on_a_sample():
    codec, n = CodecSpec(name="dense-int8"), 300 * 4096
    values = np.random.default_rng(5).normal(size=(3, n), scale=1e5)
    values[1] += values[0]
    files = [UpdateFile(codec, encode_update(codec, v.astype(np.int32)), n) for v in values]
    one, two = (beside(codec, files, seed * 32) for seed in (b"\x01", b"\x02"))
    assert one == beside(codec, files, b"\x01" * 32)
    assert one[0].cosine != two[0].cosine and abs(one[0].cosine - two[0].cosine) < 0.01
    assert one[0].twin == 1 and one[1].twin == 0
