"""Getting out: what a node still has in a pool, what keeps it there and until when; widths; close bonds."""

from collections.abc import Callable

import pytest
from chain import Anvil
from pi_sdk import Client, ContractError, Outcome, Verdict
from small_pool import STORE, TOKEN, Participant, make_hash, make_pool, opened, participant

Someone = Callable[..., Client]


def reveal_alone(creator: Client, pool_id: int, worker: Participant) -> None:
    """A round of one worker, up to its seal."""
    creator.open_round(pool_id, 60)
    pool = creator.pool(pool_id)
    number, member = pool.next_round - 1, creator.member(pool_id, worker.node)
    assert member is not None
    said = opened(pool.checkpoint_root, worker.node, number, member.state_out)
    worker.client.commit(pool_id, worker.client.commitment(pool_id, number, worker.node, said))
    worker.client.reveal(pool_id, said, make_hash("file").hex(), STORE)


def accept(seat: Participant, pool_id: int, round_: int, worker: Participant) -> None:
    verdicts, salt = [Verdict(node=worker.node, outcome=Outcome.ACCEPT, digest=bytes(32))], make_hash("s")
    committed = seat.client.verdicts_commitment(pool_id, round_, seat.node, verdicts, salt)
    seat.client.commit_verdicts(pool_id, round_, committed)
    seat.client.reveal_verdicts(pool_id, round_, verdicts, salt)


def test_a_worker_sees_what_keeps_its_stake_and_until_when(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    params = creator.pool_params(pool_id)
    worker, seat = participant(someone, 150 * TOKEN), participant(someone, 100 * TOKEN)

    state = creator.exit_state(pool_id, worker.node)
    assert (state.operator, state.member, state.is_in) == (worker.operator.address, None, False)
    assert (state.locked, state.unlocks_by, state.pending_rounds) == (0, None, ())

    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    state = creator.exit_state(pool_id, worker.node)
    assert state.is_in and state.unlocks_by is None and state.worker_lock == 100 * TOKEN

    reveal_alone(creator, pool_id, worker)
    creator.close_round(pool_id, make_hash("root"), make_hash("checkpoint").hex())
    worker.operator.leave(pool_id, worker.node)
    state = creator.exit_state(pool_id, worker.node)
    assert not state.is_in and state.pending_rounds == (0,) and state.stake is not None
    assert state.stake.free == 50 * TOKEN
    sealed = creator.round(pool_id, 0).sealed_at
    windows = params.verdict_window + params.verdict_reveal_window + params.case_seconds()
    assert state.unlocks_by == sealed + windows
    with pytest.raises(ContractError, match="StillLocked"):
        worker.operator.release_lock(pool_id, worker.node)

    # the auditor accepts, the round is over, and the stake can go at once
    chain.mine(2)
    creator.capture_seed(pool_id, 0)
    accept(seat, pool_id, 0, worker)
    state = creator.exit_state(pool_id, worker.node)
    assert state.pending_rounds == () and state.unlocks_by is not None
    assert state.unlocks_by <= creator.now()
    worker.operator.release_lock(pool_id, worker.node)
    state = creator.exit_state(pool_id, worker.node)
    assert (state.locked, state.unlocks_by, state.earned) == (0, None, 0)
    assert state.stake is not None and state.stake.free == 150 * TOKEN

    # a validator is out once the time to report it is over
    state = creator.exit_state(pool_id, seat.node)
    assert state.is_in and state.seat is not None and state.seat_lock == 100 * TOKEN
    seat.operator.leave_seat(pool_id, state.seat.index)
    with pytest.raises(ContractError, match="StillNeeded"):
        seat.operator.release_seat(pool_id, state.seat.index)
    until = creator.exit_state(pool_id, seat.node).unlocks_by
    assert until is not None
    chain.mine(seconds=until - creator.now() + 1)
    seat.operator.release_seat(pool_id, state.seat.index)
    assert creator.exit_state(pool_id, seat.node).locked == 0

    # its pay waits for the next round, or until the close can no longer be disproved
    state = creator.exit_state(pool_id, worker.node)
    assert (state.unsettled_rounds, state.settles_by) == ((0,), creator.disprovable_until(pool_id, 0) + 1)
    chain.mine(seconds=state.settles_by - creator.now())
    creator.settle(pool_id, worker.node)
    state = creator.exit_state(pool_id, worker.node)
    assert (state.unsettled_rounds, state.settles_by) == ((), None)
    assert state.earned == params.price_per_slot


def test_an_open_case_keeps_both_sides(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    params = creator.pool_params(pool_id)
    worker = participant(someone, 100 * TOKEN)
    seats = [participant(someone, 100 * TOKEN) for _ in range(3)]
    worker.operator.join(pool_id, worker.node)
    for seat in seats:
        seat.operator.take_seat(pool_id, seat.node)
    reveal_alone(creator, pool_id, worker)
    creator.close_round(pool_id, make_hash("root"), make_hash("checkpoint").hex())
    chain.mine(2)
    creator.capture_seed(pool_id, 0)
    drawn = creator.auditors_of(pool_id, 0, worker.node)
    salt = make_hash("s")
    fault = [Verdict(node=worker.node, outcome=Outcome.MISMATCH, digest=bytes(32))]
    lists = {seat.node: fault if seat.node in drawn else [] for seat in seats}
    for seat in seats:
        committed = seat.client.verdicts_commitment(pool_id, 0, seat.node, lists[seat.node], salt)
        seat.client.commit_verdicts(pool_id, 0, committed)
    for seat in seats:
        seat.client.reveal_verdicts(pool_id, 0, lists[seat.node], salt)
    case_id = creator.case_about(pool_id, 0, worker.node)
    case = creator.case(case_id)

    worker.operator.leave(pool_id, worker.node)
    state = creator.exit_state(pool_id, worker.node)
    assert (state.pending_rounds, state.open_cases) == ((), (case_id,))
    further = 2 * (params.vote_window + params.vote_reveal_window + params.appeal_window)
    assert state.unlocks_by == case.reveal_deadline + params.appeal_window + further
    assert creator.exit_state(pool_id, case.accuser).open_cases == (case_id,)
    assert state.stake is not None and state.stake.open_cases == 1
    with pytest.raises(ContractError, match="StillLocked"):
        worker.operator.release_lock(pool_id, worker.node)

    # nobody votes: hung juries, until there is no larger one
    while creator.case(case_id).is_open:
        chain.mine(seconds=params.vote_window + params.vote_reveal_window + 1)
        creator.resolve_case(case_id)
    assert creator.now() <= state.unlocks_by + 1
    worker.operator.release_lock(pool_id, worker.node)
    assert creator.exit_state(pool_id, worker.node).locked == 0


def test_a_narrower_node_gets_back_what_its_width_does_not_need(someone: Someone):
    creator, worker = someone(), participant(someone, 300 * TOKEN)
    pool_id = make_pool(creator)
    worker.operator.join(pool_id, worker.node, 1)
    worker.operator.set_width(pool_id, worker.node, 3)
    member = creator.member(pool_id, worker.node)
    assert member is not None and (member.width, member.next_width, member.change_at) == (0, 3, 0)
    assert creator.exit_state(pool_id, worker.node).worker_lock == 300 * TOKEN
    worker.operator.set_width(pool_id, worker.node, 2)
    worker.operator.release_lock(pool_id, worker.node)
    assert creator.exit_state(pool_id, worker.node).worker_lock == 200 * TOKEN


def test_a_close_needs_its_posters_bond(someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    creator.release_bond(pool_id)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    reveal_alone(creator, pool_id, worker)
    close = (pool_id, make_hash("root"), make_hash("checkpoint").hex())
    with pytest.raises(ContractError, match="post_bond") as refused:
        creator.close_round(*close)
    assert (refused.value.name, refused.value.args_) == ("BondMissing", (0, 100 * TOKEN))
    assert creator.disprovable_until(pool_id, 0) == 0
    creator.post_bond(pool_id)
    assert creator.bond_of(pool_id, creator.address) == 100 * TOKEN == creator.stake_account().locked
    creator.close_round(*close)
    params = creator.pool_params(pool_id)
    closed = creator.round(pool_id, 0).closed_at
    window = params.grace_window + params.verdict_window
    assert creator.disprovable_until(pool_id, 0) == closed + window
    with pytest.raises(ContractError, match="NotPunishable"):
        creator.punish_close(pool_id, 0)


def test_an_overruled_close_loses_its_bond(someone: Someone):
    """All slots of the next round name another root: it replaces the posted one."""
    creator = someone()
    pool_id = make_pool(creator)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    reveal_alone(creator, pool_id, worker)
    creator.close_round(pool_id, make_hash("wrong"), make_hash("checkpoint").hex())
    creator.open_round(pool_id, 60)
    member = creator.member(pool_id, worker.node)
    assert member is not None
    said = opened(make_hash("right"), worker.node, 1, member.state_out)
    worker.client.commit(pool_id, worker.client.commitment(pool_id, 1, worker.node, said))
    receipt = worker.client.reveal(pool_id, said, make_hash("file").hex(), STORE)
    overruled = receipt.event("CloseOverruled").args
    assert (overruled["posted"], overruled["root"]) == (make_hash("wrong"), make_hash("right"))
    assert creator.pool(pool_id).checkpoint_root == make_hash("right")
    assert creator.punish_close(pool_id, 0).event("ClosePunished").args["slashed"] == 100 * TOKEN
    assert creator.bond_of(pool_id) == 0


def test_a_silent_seat_pays_for_its_absence(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    params = creator.pool_params(pool_id)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    reveal_alone(creator, pool_id, worker)
    chain.mine(2)
    creator.capture_seed(pool_id, 0)
    chain.mine(seconds=params.verdict_window + params.verdict_reveal_window + 1)
    receipt = creator.report_absence(pool_id, 0, 0)
    args = receipt.event("AbsencePunished").args
    assert (args["validator"], args["slashed"]) == (seat.node, params.slash_absence)
    assert seat.operator.stake_account().bonded == 100 * TOKEN - params.slash_absence
    with pytest.raises(ContractError, match="NotAbsent"):
        creator.report_absence(pool_id, 0, 0)
