"""Each cheat of a worker hands in a slot that is well formed, and that audits see through: always, or exactly
when a segment is drawn that it faked."""

import math
from itertools import combinations

import pytest
from attacks.slots import NODE, PEER, Stage
from pi_sdk.cheats import CHEATS
from pi_sdk.codec import Trace, audit_segments, sha256
from pi_sdk.types import Outcome
from pi_train.replay import AuditReport
from pi_worker.cheats import Cheat, kind
from pi_worker.trainer import trainer


@pytest.mark.parametrize("width", [1, 2])
def test_honest_work_passes_whatever_is_drawn(stage: Stage, width: int):
    slot = stage.train(trainer(None), 1, width=width, follows=stage.first)
    for seed in stage.draws().values():
        report = stage.audit(slot, seed)
        assert (report.outcome, report.reasons) == (Outcome.ACCEPT, []) and report.bitwise


@pytest.mark.parametrize("name", CHEATS)
def test_an_audit_finds_a_cheat_when_it_draws_what_was_faked(stage: Stage, name: str):
    cheat, slot = CHEATS[name], stage.cheated(name)
    reports = {drawn: stage.audit(slot, seed) for drawn, seed in stage.draws().items()}
    found = {drawn: report for drawn, report in reports.items() if report.outcome != Outcome.ACCEPT}

    chance = cheat.found(stage.spec.segments, stage.spec.audit.segments)
    assert len(found) / len(reports) == pytest.approx(chance), {d: r.reasons for d, r in reports.items()}
    for report in found.values():
        assert report.outcome == cheat.outcome, report.reasons
        if cheat.bad is None:
            assert report.worst_error is None, "the bytes alone show it"
        else:
            assert replay_disagrees(report), report.reasons
    if cheat.bad is not None:  # what no replay touches is as it should be
        spec = stage.spec
        Trace.decode(slot.result.trace, steps=spec.inner.steps, segments=spec.segments, per_step=1)
        assert all(report.bitwise for drawn, report in reports.items() if drawn not in found)


def replay_disagrees(report: AuditReport) -> bool:
    return report.worst_error is not None and report.worst_error > 2 * report.limit


def test_who_has_nothing_to_cheat_with_is_honest(stage: Stage):
    for name, cheat in CHEATS.items():
        if cheat.after:
            assert stage.train(trainer(name), 0).result.trace == stage.first.result.trace


def test_a_copy_is_one(stage: Stage):
    assert stage.cheated("copy").result.update == bytes(stage.peer.data)
    noisy = stage.cheated("copy-noise").result
    assert noisy.update != bytes(stage.peer.data) and noisy.norm == pytest.approx(stage.peer.norm, rel=0.2)


def test_two_nodes_cannot_hand_in_one_computation(stage: Stage):
    """A Sybil's second node has data of its own: its slot is wrong as it is, and wrong with other digests."""
    plain, disguised = stage.train(trainer(None), 1), stage.sybil()
    assert stage.audit(plain, stage.draws()[0,]).outcome == Outcome.ACCEPT
    for seed in stage.draws(PEER).values():
        report = stage.audit(plain, seed, node=PEER)
        assert report.outcome == Outcome.MISMATCH and "other data" in report.reasons[0]
        report = stage.audit(disguised, seed, node=PEER)
        assert report.outcome == Outcome.MISMATCH and replay_disagrees(report)


def test_every_cheat_is_implemented_and_its_chance_is_what_draws_give():
    for name, cheat in CHEATS.items():
        assert issubclass(kind(name), Cheat)
        for segments, drawn in ((1, 1), (5, 2), (8, 3)):
            bad = cheat.bad_segments(segments)
            sets = list(combinations(range(segments), drawn))
            share = sum(any(s < bad for s in chosen) for chosen in sets) / len(sets)
            assert cheat.found(segments, drawn) == pytest.approx(share)


def test_segments_are_drawn_evenly():
    """What the chances rest on: every segment is drawn with probability k / n."""
    runs, n, k = 2000, 5, 2
    drawn = [s for i in range(runs) for s in audit_segments(sha256(b"%d" % i), NODE, n, k)]
    deviation = math.sqrt(runs * (k / n) * (1 - k / n))
    assert all(abs(drawn.count(s) - runs * k / n) < 4 * deviation for s in range(n))
