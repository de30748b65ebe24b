"""Streaming DiLoCo: fragments in turn, parameters of one's own, returns that are mixed and that wait."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pi_sdk.codec import ZERO
from pi_sdk.errors import MalformedArtifact
from pi_sdk.types import CodecSpec, Outcome, OuterSpec, Reveal
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.fixed import to_fixed, to_fp32
from pi_train.outer import Checkpoint, outer_step
from pi_train.replay import AuditReport, audit_slot
from pi_train.slot import SlotResult, first_border, train_slot
from pi_train.state import PrivateState, private_bytes
from pydantic import ValidationError
from train.tiny_run import MemoryStore, TinyRun

NODES = ["0x" + f"{i:02x}" * 20 for i in (1, 2)]
SEED = bytes(range(32))
HALF = 1 << 15


def rules(**more: int) -> OuterSpec:
    return OuterSpec(rule="nesterov", lr=45875, momentum=58982, fragments=2, **more)


class Streamed:
    """A run of two nodes, every slot of which is there to look at."""

    def __init__(self, folder: Path, outer: OuterSpec, rounds: int):
        self.run = TinyRun(folder, outer=outer, codec=CodecSpec(name="dense-int8"), rounds=rounds)
        self.spec = self.run.spec
        self.checkpoints: list[Checkpoint] = [self.run.genesis]
        self.slots: list[dict[str, SlotResult]] = []
        for round_ in range(rounds):
            self.slots.append({node: self.train(node, round_) for node in NODES})
            values = self.spec.update_values(round_)
            updates = [
                (UpdateFile(self.spec.codec, slot.update, values), 1) for slot in self.slots[-1].values()
            ]
            self.checkpoints.append(outer_step(self.spec, self.checkpoints[-1], updates, round_))

    def data_root(self, round_: int) -> bytes:
        return self.checkpoints[max(0, round_ - self.spec.outer.delay)].root()

    def state(self, node: str, round_: int) -> PrivateState:
        """At the end of a round."""
        return PrivateState.from_bytes(self.slots[round_][node].state, self.spec)

    def train(self, node: str, round_: int, checkpoint: Checkpoint | None = None) -> SlotResult:
        return train_slot(
            self.spec,
            self.run.corpus,
            checkpoint or self.checkpoints[round_],
            node=node,
            round_=round_,
            width=1,
            state=self.slots[round_ - 1][node].state if round_ else None,
            class_id=self.run.class_id,
            borders=self.run.folder / "borders" / node / str(round_),
            data_root=self.data_root(round_),
        )

    def audit(self, node: str, round_: int, data_root: bytes | None = None) -> AuditReport:
        slot, evidence = self.slots[round_][node], MemoryStore()
        evidence.put(slot.trace)
        if round_:
            evidence.put(self.slots[round_ - 1][node].state)
        for path in (self.run.folder / "borders" / node / str(round_)).glob("*.bin"):
            evidence.put(path.read_bytes())
        names = ("update_root", "trace_root", "state_in", "state_out", "norm")
        revealed = {name: getattr(slot, name) for name in names}
        checkpoint = self.checkpoints[round_]
        return audit_slot(
            self.spec,
            self.run.corpus,
            checkpoint,
            node=node,
            round_=round_,
            reveal=Reveal(salt=bytes(32), start_root=checkpoint.root(), width=1, **revealed),
            seed=SEED,
            update=slot.update,
            fetch=evidence.fetch,
            validator=NODES[0],
            class_id=self.run.class_id,
            data_root=data_root or self.data_root(round_),
        )


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Streamed:
    return Streamed(tmp_path_factory.mktemp("streamed"), rules(mix=HALF, delay=1), 4)


def test_a_round_moves_its_fragment_and_nothing_else(streamed: Streamed):
    spec = streamed.spec
    assert [spec.fragment(r) for r in range(3)] == [slice(0, 4096), slice(4096, 7728), slice(0, 4096)]
    for round_, slots in enumerate(streamed.slots):
        before, after = streamed.checkpoints[round_ : round_ + 2]
        assert before.momentum is not None and after.momentum is not None
        moved = np.zeros(streamed.run.n, bool)
        moved[spec.fragment(round_)] = True
        assert ((before.theta != after.theta) <= moved).all()
        assert ((before.momentum != after.momentum) <= moved).all()
        assert (before.theta != after.theta)[moved].mean() > 0.5
        size = max_update_bytes(spec.codec, spec.update_values(round_))
        assert {len(slot.update) for slot in slots.values()} == {size}


def test_an_update_goes_from_the_checkpoint_to_where_the_node_has_come(streamed: Streamed):
    """Since the fragment's last turn: two rounds of steps, not one."""
    node, spec = NODES[0], streamed.spec
    end, place = streamed.state(node, 3), spec.fragment(3)
    assert end.params is not None and end.round == 3
    delta = streamed.checkpoints[3].theta[place] - to_fixed(end.params[place], spec.frac_bits)
    update = UpdateFile(spec.codec, streamed.slots[3][node].update, spec.update_values(3)).decode()
    sent_and_kept = update + end.feedback[place]
    decayed = streamed.state(node, 2).feedback[place].astype(np.int64) * spec.codec.beta / (1 << 16)
    assert np.abs(sent_and_kept - delta - decayed).max() <= 2  # roundings
    elsewhere = spec.fragment(2)
    assert (end.feedback[elsewhere] == streamed.state(node, 2).feedback[elsewhere]).all()


def test_what_comes_back_is_mixed_and_what_has_not_stays_ones_own(streamed: Streamed):
    spec, node = streamed.spec, NODES[0]
    private, checkpoint = streamed.state(node, 1), streamed.checkpoints[2]
    assert private.params is not None
    back, own = spec.fragment(0), spec.fragment(1)  # what round 0 moved has waited for a round
    start = first_border(spec, checkpoint, private, 2)
    assert (start.params[own] == private.params[own]).all()
    theirs = to_fp32(checkpoint.theta[back], spec.frac_bits)
    assert np.abs(start.params[back] - (theirs + private.params[back]) / 2).max() < 1e-7
    assert (start.params[back] != private.params[back]).mean() > 0.5

    at_once = spec.model_copy(update={"outer": rules()})
    start = first_border(at_once, checkpoint, private, 2)
    assert (start.params[own] == to_fp32(checkpoint.theta[own], spec.frac_bits)).all()
    assert (start.params[back] == private.params[back]).all()


def test_who_missed_a_round_starts_from_the_checkpoint(streamed: Streamed):
    spec, checkpoint = streamed.spec, streamed.checkpoints[3]
    private = streamed.state(NODES[0], 1)
    start = first_border(spec, checkpoint, private, 3)
    assert (start.params == to_fp32(checkpoint.theta, spec.frac_bits)).all()
    assert (start.m == private.m).all() and start.step == private.step
    assert (first_border(spec, checkpoint, streamed.state(NODES[0], 2), 3).params != start.params).any()


def test_a_round_can_be_trained_before_its_checkpoint_is_known(streamed: Streamed):
    late, ahead = (streamed.train(NODES[1], 3, streamed.checkpoints[i]) for i in (3, 2))
    assert late.update == ahead.update and late.state == ahead.state and late.trace == ahead.trace


def test_streamed_slots_replay(streamed: Streamed):
    assert streamed.slots[0][NODES[0]].state_in == ZERO
    for round_ in range(4):
        report = streamed.audit(NODES[0], round_)
        assert (report.outcome, report.bitwise, report.reasons) == (Outcome.ACCEPT, True, [])
    wrong = streamed.audit(NODES[0], 3, data_root=streamed.checkpoints[3].root())
    assert wrong.outcome == Outcome.MISMATCH and "other data" in wrong.reasons[0]


def test_parameters_of_ones_own_are_not_free_to_choose(tmp_path: Path):
    """A node that starts a round from other parameters than it ended the last one with."""
    run, node = Streamed(tmp_path, rules(), 3), NODES[0]
    honest, private = run.slots[1][node], run.state(node, 1)
    assert private.params is not None
    moved = replace(private, params=private.params + np.float32(1e-4))
    run.slots[1][node] = replace(honest, state=moved.to_bytes())
    cheat = run.train(node, 2)
    run.slots[1][node] = honest
    run.slots[2][node] = replace(cheat, state_in=honest.state_out)
    report = run.audit(node, 2)
    assert report.outcome == Outcome.MISMATCH and "first border" in report.reasons[0]


def test_private_states_with_parameters_have_one_encoding(streamed: Streamed):
    data = streamed.slots[1][NODES[0]].state
    assert len(data) == private_bytes(streamed.spec)
    assert PrivateState.from_bytes(data, streamed.spec).to_bytes() == data
    n = streamed.run.n
    nan = bytearray(data)
    nan[12 * n + 8 : 12 * n + 12] = np.float32(np.nan).tobytes()
    for bad in (data[:-1], data[: 12 * n + 8], bytes(nan)):
        with pytest.raises(MalformedArtifact):
            PrivateState.from_bytes(bad, streamed.spec)


def test_fragments_that_do_not_fit_are_refused(tmp_path: Path, streamed: Streamed):
    for bad in ({"mix": (1 << 16) + 1}, {"fragments": 1, "delay": 1}, {"fragments": 257}):
        with pytest.raises(ValidationError):
            OuterSpec(**bad)
    outer = OuterSpec(fragments=3).model_dump()
    with pytest.raises(ValidationError, match="without parameters"):
        type(streamed.spec)(**streamed.spec.model_dump() | {"outer": outer})
