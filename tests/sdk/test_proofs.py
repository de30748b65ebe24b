"""Fraud proofs on a real chain: built from files by `pi_train/fraud.py`, carried by `Client`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from pi_sdk import Client, ContractError, Phase, PoolParams, RunSpec
from pi_sdk.proofs import NO_PROGRESS
from pi_sdk.types import CodecSpec, GptSpec, OuterSpec
from pi_train import fraud
from pi_train.codecs import UpdateFile, encode_update
from pi_train.outer import Checkpoint, outer_step
from pi_worker.artifacts import PoolLog
from small_pool import STORE, TOKEN, Participant, make_hash, opened, participant, run_spec

Someone = Callable[..., Client]
MODEL = GptSpec(layers=1, heads=1, width=8, context=32)
N = MODEL.parameters
GENESIS = Checkpoint(np.arange(N, dtype=np.int32) * 1000)


@dataclass
class Round:
    """A sealed round of a pool with real updates."""

    creator: Client
    pool_id: int
    spec: RunSpec
    workers: list[Participant]
    reveals: list[fraud.RevealedUpdate]

    def right(self) -> Checkpoint:
        files = [UpdateFile(self.spec.codec, r.file or b"", N) for r in self.reveals]
        return outer_step(self.spec, GENESIS, [(file, 1) for file in files])

    def close(self, checkpoint: Checkpoint) -> None:
        self.creator.close_round(self.pool_id, checkpoint.root(), make_hash("checkpoint").hex())


def sealed_round(someone: Someone, codec: CodecSpec, false_norm: int = 0, rounds_funded: int = 1) -> Round:
    """Two workers reveal updates; the last one's norm is off by `false_norm`."""
    outer = OuterSpec(rule="sign", lr=16777) if codec.name == "dct-topk" else OuterSpec()
    spec = run_spec(2).model_copy(
        update={"model": MODEL, "codec": codec, "outer": outer, "genesis_root": GENESIS.root().hex()}
    )
    creator = someone()
    params = PoolParams(orchestrator=creator.address or "", rounds=2, min_seats=0)
    budget = params.reserve_per_round() * rounds_funded
    creator.mint(creator.address or "", budget + params.close_bond)
    pool_id = creator.create_pool(spec, params, STORE)
    creator.fund_pool(pool_id, budget)
    creator.stake(params.close_bond)
    creator.post_bond(pool_id)
    workers = [participant(someone, 100 * TOKEN) for _ in range(2)]
    for w in workers:
        w.operator.join(pool_id, w.node)
    creator.open_round(pool_id, 60)
    said, reveals = {}, []
    for i, w in enumerate(workers):
        values = np.random.default_rng(i).integers(-1000 << i, 1000 << i, N).astype(np.int32)
        file = encode_update(codec, values)
        update = UpdateFile(codec, file, N)
        norm = update.norm + (false_norm if w is workers[-1] else 0)
        work = {"start_root": GENESIS.root(), "update_root": update.root, "norm": norm}
        said[w.node] = opened(GENESIS.root(), w.node, 0).model_copy(update=work)
        w.client.commit(pool_id, w.client.commitment(pool_id, 0, w.node, said[w.node]))
        reveals.append(fraud.RevealedUpdate(w.node, GENESIS.root(), update.root, norm, 1, file))
    for w in workers:
        w.client.reveal(pool_id, said[w.node], make_hash("file").hex(), STORE)
    return Round(creator, pool_id, spec, workers, reveals)


@pytest.mark.parametrize("codec", ["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"])
def test_a_wrong_checkpoint_is_disproved_and_the_round_closed_again(someone: Someone, codec):
    played, finder = sealed_round(someone, CodecSpec(name=codec)), someone()
    right = played.right()
    wrong = Checkpoint(right.theta.copy())
    wrong.theta[N - 5] += 1
    played.close(wrong)

    args = (played.pool_id, 0, GENESIS, played.reveals, [], wrong)
    fault = fraud.find_fault(played.spec, 0, GENESIS, played.reveals, [], wrong)
    assert fault is not None and fault.leaf == (N - 5) // 256
    honest = fraud.outer_step_proof(played.spec, *args, fraud.Fault(0))
    with pytest.raises(ContractError) as refused:
        finder.prove_outer_step(honest.leaf, honest.reveals, honest.excluded)
    assert refused.value.name == "NothingWrong"

    proof = fraud.outer_step_proof(played.spec, *args, fault)
    receipt = finder.prove_outer_step(proof.leaf, proof.reveals, proof.excluded)
    disproved = receipt.event("OuterStepDisproved").args
    assert (disproved["leaf"], disproved["finder"]) == (fault.leaf, finder.address)
    assert disproved["slashed"] == 100 * TOKEN and played.creator.bond_of(played.pool_id) == 0
    fee = 100 * TOKEN * played.creator.pool_params(played.pool_id).finder_fee // 10_000
    assert finder.stake_account().bonded == fee
    assert played.creator.pool(played.pool_id).phase == Phase.SEALED

    played.creator.mint(played.creator.address or "", 100 * TOKEN)
    played.creator.stake(100 * TOKEN)
    played.creator.post_bond(played.pool_id)
    played.close(right)
    assert fraud.find_fault(played.spec, 0, GENESIS, played.reveals, [], right) is None
    assert played.creator.result_root(played.pool_id, 0) == right.root()


def test_who_recomputes_closes_sees_whether_a_disproved_one_is_done_again(someone: Someone):
    for is_late in (False, True):
        played, finder = sealed_round(someone, CodecSpec(), rounds_funded=2), someone()
        wrong = Checkpoint(played.right().theta + np.int32(1))
        played.close(wrong)
        log = PoolLog(finder, played.pool_id)
        log.refresh()
        assert log.closed[0].root == wrong.root()
        if is_late:
            played.creator.open_round(played.pool_id, 60)
        args = (played.pool_id, 0, GENESIS, played.reveals, [], wrong)
        proof = fraud.outer_step_proof(played.spec, *args, fraud.Fault(1))
        finder.prove_outer_step(proof.leaf, proof.reveals, proof.excluded)
        log.refresh()
        # The votes of a round that has opened are about the close that it opened with.
        assert [close.root for close in log.closed.values()] == [wrong.root()] * is_late
        assert played.creator.pool(played.pool_id).phase == (Phase.COMMIT if is_late else Phase.SEALED)


def test_a_proof_goes_on_over_several_transactions(someone: Someone):
    played, finder = sealed_round(someone, CodecSpec()), someone()
    wrong = Checkpoint(played.right().theta + np.int32(1))
    played.close(wrong)
    args = (played.spec, played.pool_id, 0, GENESIS, played.reveals, [], wrong, fraud.Fault(1))
    proof = fraud.outer_step_proof(*args)
    progress = NO_PROGRESS
    for i in range(2):
        finder.continue_outer_step(proof.leaf, progress, proof.reveals[i : i + 1], proof.excluded)
        assert any(finder.outer_step_progress(played.pool_id, 0))
        progress = fraud.progress_after(played.spec, GENESIS.root(), N, proof, i + 1)
    receipt = finder.finish_outer_step(proof.leaf, progress, proof.excluded)
    assert receipt.event("CloseDisproved").args["finder"] == finder.address


def test_a_false_norm_is_proved(someone: Someone):
    played, finder = sealed_round(someone, CodecSpec(), false_norm=-1), someone()
    cheat = played.workers[-1]
    arguments = (played.spec.codec, played.pool_id, 0, played.reveals)
    assert fraud.norm_proof(*arguments, 0, N) is None
    proof = fraud.norm_proof(*arguments, 1, N)
    assert proof is not None
    receipt = finder.prove_norm(*proof)
    assert receipt.event("NormDisproved").args["node"] == cheat.node
    member = finder.member(played.pool_id, cheat.node)
    assert member is not None and member.convicted
    params = finder.pool_params(played.pool_id)
    assert cheat.operator.stake_account().bonded == 100 * TOKEN - params.slash_conviction
