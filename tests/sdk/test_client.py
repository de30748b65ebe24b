"""A run's whole life through `Client`, on a real chain: the honest are paid, the cheat is slashed, the
money adds up."""

from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Anvil
from pi_sdk import (
    CaseStatus,
    Client,
    ContractError,
    InsufficientFunds,
    LocalStore,
    NotFound,
    Outcome,
    OuterRule,
    Phase,
    PoolParams,
    RecordStatus,
    SpecMismatch,
    UsageError,
    Verdict,
    local_deployment,
)
from pi_sdk.base import ZERO_ADDRESS
from pi_sdk.chain import contract
from pi_sdk.codec import canonical_json, round_seed, run_spec_hash
from pi_sdk.rules import load_rules
from pi_sdk.tx import Call
from pi_sdk.why import why
from pi_validator.run import watcher
from small_pool import (
    STORE,
    TOKEN,
    Participant,
    confirmed,
    make_hash,
    make_pool,
    opened,
    participant,
    run_spec,
)

Someone = Callable[..., Client]


def play_round(creator: Client, pool_id: int, workers: list[Participant]) -> int:
    """Opens a round, lets everybody commit and reveal honestly formed values, and closes it if it trains."""
    creator.open_round(pool_id, 60)
    pool = creator.pool(pool_id)
    number = pool.next_round - 1
    assert pool.phase == Phase.COMMIT
    reveals = {}
    for w in workers:
        member = creator.member(pool_id, w.node)
        assert member is not None
        state = () if pool.last else (member.state_out,)
        reveals[w.node] = (confirmed if pool.last else opened)(pool.checkpoint_root, w.node, number, *state)
        w.client.commit(pool_id, w.client.commitment(pool_id, number, w.node, reveals[w.node]))
    assert creator.pool(pool_id).phase == Phase.REVEAL
    for w in workers:
        w.client.reveal(pool_id, reveals[w.node], make_hash("file", w.node).hex(), f"{STORE},http://mirror")
    if not pool.last:
        assert creator.pool(pool_id).phase == Phase.SEALED
        creator.close_round(pool_id, make_hash("root", number), make_hash("checkpoint", number).hex())
    return number


def judge(validators: list[Participant], pool_id: int, round_: int, guilty: str) -> None:
    """Every seat commits and reveals its verdicts."""
    salt = make_hash("verdicts", round_)
    verdicts = {}
    for v in validators:
        workers = v.client.nodes(pool_id)
        drawn = [w for w in workers if v.node in v.client.auditors_of(pool_id, round_, w)]
        verdicts[v.node] = [
            Verdict(
                node=w,
                outcome=Outcome.MISMATCH if w == guilty else Outcome.ACCEPT,
                digest=make_hash(v.node, w),
            )
            for w in drawn
        ]
        v.client.commit_verdicts(
            pool_id, round_, v.client.verdicts_commitment(pool_id, round_, v.node, verdicts[v.node], salt)
        )
    for v in validators:
        v.client.reveal_verdicts(pool_id, round_, verdicts[v.node], salt)


def convict(validators: list[Participant], case_id: int) -> int:
    """The present jury of a case finds guilty; returns its size."""
    jury = validators[0].client.jury_of(case_id)
    jurors = [v for v in validators if v.node in jury]
    level = validators[0].client.case(case_id).level
    salt = make_hash("vote", level)
    for v in jurors:
        digest = make_hash("digest", v.node, level)
        v.client.commit_vote(
            case_id, v.client.vote_commitment(case_id, v.node, Outcome.MISMATCH, digest, salt)
        )
    for v in jurors:
        v.client.reveal_vote(case_id, Outcome.MISMATCH, make_hash("digest", v.node, level), salt)
    return len(jurors)


def test_a_run_from_its_pool_to_the_last_claim(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator, rounds=2, jury_size=1)
    workers = [participant(someone, 150 * TOKEN) for _ in range(3)]
    validators = [participant(someone, 100 * TOKEN) for _ in range(4)]
    cheat = workers[-1]

    pool = creator.pool(pool_id)
    assert pool.run_spec_hash == run_spec_hash(run_spec(2))
    assert (pool.creator, pool.store_uri, pool.phase) == (creator.address, STORE, Phase.IDLE)
    params = creator.pool_params(pool_id)
    assert params.audit_rate == 10_000 and params.orchestrator == creator.address

    for w in workers:
        w.operator.join(pool_id, w.node)
    for i, v in enumerate(validators):
        assert v.operator.take_seat(pool_id, v.node) == i
    assert creator.nodes(pool_id) == [w.node for w in workers]
    assert [s.node for s in creator.seats(pool_id)] == [v.node for v in validators]
    watched = validators[0].client.watch_node(pool_id, cheat.node).event("Watched").args
    assert (watched["round"], watched["validator"]) == (0, validators[0].node)
    with pytest.raises(ContractError, match="AlreadyDone"):
        validators[1].client.watch_node(pool_id, cheat.node)
    account = cheat.operator.stake_account()
    assert (account.bonded, account.locked, account.free) == (150 * TOKEN, 100 * TOKEN, 50 * TOKEN)
    lock = creator.worker_lock_id(pool_id, cheat.node)
    assert creator.lock_of(cheat.operator.address or "", lock) == 100 * TOKEN

    round_ = play_round(creator, pool_id, workers)
    info = creator.round(pool_id, round_)
    assert info.exists and (info.revealed, info.live_seats, info.poster) == (3, 4, creator.address)
    assert creator.record(pool_id, round_, cheat.node).status == RecordStatus.REVEALED
    assert creator.pool(pool_id).checkpoint_root == make_hash("root", 0)

    story = why(creator, pool_id, cheat.node, round_)
    assert (story.answer, story.because) == ("open", "verdicts about the round may still come")

    chain.mine(2)
    creator.capture_seed(pool_id, round_)
    assert creator.is_audited(pool_id, round_, cheat.node)
    judge(validators, pool_id, round_, guilty=cheat.node)
    assert creator.is_final(pool_id, round_)
    verdict_round = creator.verdict_round(pool_id, round_)
    assert verdict_round.committed == verdict_round.revealed == 4
    assert any(verdict_round.seed) and verdict_round.open_cases == creator.open_cases(pool_id) == 1

    case_id = creator.case_about(pool_id, round_, cheat.node)
    story = why(creator, pool_id, cheat.node, round_)
    assert (story.answer, story.because) == ("open", f"case {case_id} about it has not ended")
    case = creator.case(case_id)
    assert (case.pool_id, case.node, case.fault, case.status) == (
        pool_id,
        cheat.node,
        Outcome.MISMATCH,
        CaseStatus.OPEN,
    )
    assert convict(validators, case_id) == case.jurors == 1
    creator.resolve_case(case_id)
    case = creator.case(case_id)
    assert (case.status, case.guilty_outcome, case.is_open) == (CaseStatus.DECIDED, True, True)
    with pytest.raises(ContractError) as refused:
        workers[0].operator.appeal(case_id)
    assert refused.value.name == "NoAppeal"
    cheat.operator.appeal(case_id)
    case = creator.case(case_id)
    assert (case.status, case.level, case.jurors) == (CaseStatus.OPEN, 1, 3)
    convict(validators, case_id)  # all who may judge: what they find is the end
    creator.resolve_case(case_id)
    case = creator.case(case_id)
    assert (case.status, case.is_open) == (CaseStatus.CONVICTED, False)

    # the cheat lost its slash, its appeal bond and its pay, and is out
    member = creator.member(pool_id, cheat.node)
    assert member is not None and member.convicted
    assert cheat.operator.stake_account().bonded == 150 * TOKEN - params.slash_conviction - params.appeal_bond

    story = why(creator, pool_id, cheat.node, round_, run_seed=1)
    assert (story.answer, story.settled) == ("forfeited", False)
    assert story.because == f"a jury found that its work did not pass replay (case {case_id})"
    assert story.audited and story.auditors == creator.auditors_of(pool_id, round_, cheat.node)
    assert story.data_seed == round_seed(1, round_, make_hash("genesis")).hex()
    told = [s.event for s in story.steps]
    assert told[:6] == ["Watched", "RoundOpened", "Committed", "Revealed", "RevealsSealed", "RoundClosed"]
    assert [s.text for s in story.steps if s.event == "CaseResolved"] == [
        f"case {case_id}: convicted, 3 to 0, {params.slash_conviction / TOKEN:g} tokens of stake lost"
    ]
    assert told.count("VoteRevealed") == 4 and "CaseEscalated" in told and "Convicted" in told
    assert all(s.time > 0 and len(s.tx) == 66 for s in story.steps)

    # once the next round has opened, its close decides no more about the first one
    play_round(creator, pool_id, workers[:2])
    creator.settle(pool_id, cheat.node)
    settled = [e.args for e in creator.events(pool_id=pool_id, names=["Settled"])]
    assert [(s["node"], s["paid"], s["forfeited"]) for s in settled] == [
        (cheat.node, 0, params.price_per_slot)
    ]
    assert creator.total_earned(cheat.operator.address) == 0

    # the honest are paid for the first round, whose record settle finds final
    worker = workers[0]
    creator.settle(pool_id, worker.node)
    assert worker.operator.earned() == params.price_per_slot
    assert worker.operator.claim() == params.price_per_slot
    assert worker.operator.token_balance() == params.price_per_slot
    assert (worker.operator.earned(), worker.operator.total_earned()) == (0, params.price_per_slot)
    assert sum(creator.total_earned(v.operator.address) for v in validators) > 0

    story = why(creator, pool_id, worker.node, round_)
    assert (story.answer, story.because, story.settled) == ("paid", "the work was accepted", True)
    assert (story.slots, story.pay) == (1, params.price_per_slot)
    assert story.steps[-1].text.endswith(f"{params.price_per_slot / TOKEN:g} tokens credited")
    assert why(creator, pool_id, cheat.node, 1).answer == "not expected"

    # the confirm-only round after the last one ends the pool
    pool = creator.pool(pool_id)
    assert pool.last and not pool.ended
    chain.mine(2)
    creator.capture_seed(pool_id, 1)
    judge(validators, pool_id, 1, guilty="")
    assert play_round(creator, pool_id, workers[:2]) == 2
    assert creator.pool(pool_id).ended
    assert why(creator, pool_id, worker.node, 2).because.startswith("the round only confirmed")

    # the bond is free once the last close can no longer be disproved
    assert creator.result_root(pool_id, 1) == make_hash("root", 1)
    assert creator.bond_of(pool_id) == params.close_bond
    until = creator.disprovable_until(pool_id, 1)
    with pytest.raises(ContractError) as refused:
        creator.release_bond(pool_id)
    assert refused.value.name == "StillLocked"
    chain.mine(seconds=until - creator.now() + 1)
    creator.release_bond(pool_id)
    assert creator.bond_of(pool_id) == 0 and creator.stake_account().free == params.close_bond

    for w in workers[:2]:
        w.operator.leave(pool_id, w.node)
        w.operator.release_lock(pool_id, w.node)
        assert w.operator.stake_account().locked == 0
    creator.settle(pool_id, workers[1].node)
    for seat in creator.seats(pool_id):
        v = validators[seat.index]
        v.operator.leave_seat(pool_id, seat.index)
        v.operator.release_seat(pool_id, seat.index)
        assert v.operator.stake_account().locked == 0

    # whatever is left goes back to the creator, and the books agree
    budget = creator.budget(pool_id)
    assert budget.reserved == 0 and budget.free > 0
    assert creator.refund_pool(pool_id) == budget.free == creator.token_balance()
    assert creator.budget(pool_id).free == 0

    operator = workers[0].operator
    operator.request_unbond(150 * TOKEN)
    with pytest.raises(ContractError) as refused:
        operator.withdraw()
    assert refused.value.name == "StillUnbonding"
    chain.mine(seconds=operator.unbonding_time() + 1)
    operator.withdraw()
    assert operator.stake_account().bonded == 0
    assert operator.token_balance() == 150 * TOKEN + 2 * params.price_per_slot - operator.earned()


def test_the_contracts_are_where_every_program_expects_them(chain: Anvil):
    with Client("local", rpc_url=chain.url) as client:
        assert client.deployment == local_deployment()
        assert client.deployed()


def test_commitments_are_what_the_contract_recomputes(someone: Someone):
    """A reveal that differs in one field is refused, so all of them are in the hash."""
    creator = someone()
    pool_id = make_pool(creator)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    creator.open_round(pool_id, 60)
    reveal = opened(make_hash("genesis"), worker.node, 0)
    worker.client.commit(pool_id, worker.client.commitment(pool_id, 0, worker.node, reveal))
    with pytest.raises(ContractError) as refused:
        other = reveal.model_copy(update={"norm": reveal.norm + 1})
        worker.client.reveal(pool_id, other, make_hash("file").hex(), STORE)
    assert refused.value.name == "CommitmentMismatch"
    receipt = worker.client.reveal(pool_id, reveal, make_hash("file").hex(), STORE)
    args = receipt.event("Revealed").args
    assert args["reveal"]["norm"] == reveal.norm and args["reveal"]["state_out"] == reveal.state_out
    assert args["update_file"] == make_hash("file") and args["locations"] == STORE


def test_a_seat_has_one_node_of_a_round_audited(someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    seats, workers = ([participant(someone, 100 * TOKEN) for _ in range(2)] for _ in range(2))
    for seat in seats:
        seat.operator.take_seat(pool_id, seat.node)
    first, second = (watcher(seat.client, pool_id) for seat in seats)
    one, two = (w.node for w in workers)
    assert first(one) and not second(one) and not first(two) and second(two)
    assert not watcher(workers[0].client, pool_id)(two), "it has no seat"
    found = creator.events(pool_id=pool_id, names=["Watched"])
    assert [(e.args["round"], e.args["node"]) for e in found] == [(0, one), (0, two)]


def test_a_miss_is_reported_once_the_round_is_closed(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    workers = [participant(someone, 100 * TOKEN) for _ in range(2)]
    seat = participant(someone, 100 * TOKEN)
    seat.operator.take_seat(pool_id, seat.node)
    for w in workers:
        w.operator.join(pool_id, w.node)
    creator.open_round(pool_id, 60)
    reveal = opened(make_hash("genesis"), workers[0].node, 0)
    workers[0].client.commit(pool_id, workers[0].client.commitment(pool_id, 0, workers[0].node, reveal))
    chain.mine(seconds=61)
    workers[0].client.reveal(pool_id, reveal, make_hash("file").hex(), STORE)
    excluded = [(workers[0].node, 1)]
    creator.close_round(pool_id, make_hash("genesis"), make_hash("genesis file").hex(), excluded)
    assert creator.record(pool_id, 0, workers[0].node).status == RecordStatus.EXCLUDED
    creator.report_miss(pool_id, 0, workers[1].node)
    member = creator.member(pool_id, workers[1].node)
    assert member is not None and member.missed == 1


def test_a_round_without_commitments_is_sealed_by_anybody(chain: Anvil, someone: Someone):
    creator = someone()
    pool_id = make_pool(creator)
    worker, seat = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    worker.operator.join(pool_id, worker.node)
    seat.operator.take_seat(pool_id, seat.node)
    creator.open_round(pool_id, 60)
    chain.mine(seconds=61)
    worker.client.seal_reveals(pool_id)
    assert creator.pool(pool_id).phase == Phase.SEALED


def test_contract_errors_arrive_with_name_arguments_and_a_hint(someone: Someone):
    creator, poor = someone(), participant(someone, 10 * TOKEN)
    pool_id = make_pool(creator)
    with pytest.raises(ContractError) as refused:
        poor.operator.join(pool_id, poor.node)
    assert refused.value.name == "InsufficientFreeStake"
    assert refused.value.args_ == (10 * TOKEN, 100 * TOKEN)
    assert "stake more" in str(refused.value)
    with pytest.raises(ContractError) as refused:
        creator.commit(pool_id, make_hash("x"))
    assert refused.value.name == "WrongPhase" and refused.value.args_ == (Phase.IDLE,)
    with pytest.raises(ContractError) as refused:
        creator.leave(pool_id, poor.node)
    assert (refused.value.name, refused.value.args_) == ("NotMember", (poor.node,))
    with pytest.raises(ContractError) as refused:
        someone().register_node(poor.key)
    assert (refused.value.name, refused.value.args_) == ("AlreadyRegistered", (poor.operator.address,))


def test_what_is_not_there_is_not_found(someone: Someone):
    client = someone()
    for call in (
        lambda: client.pool(10**6),
        lambda: client.pool_params(10**6),
        lambda: client.fund_pool(10**6, 1),
        lambda: client.open_round(10**6, 60),
        lambda: client.case(10**6),
    ):
        with pytest.raises(NotFound):
            call()
    pool_id = make_pool(client)
    stranger = "0x" + "11" * 20
    assert client.operator_of(stranger) is None
    assert client.member(pool_id, stranger) is None
    assert not client.round(pool_id, 7).exists
    assert client.record(pool_id, 7, stranger).status == RecordStatus.NONE
    with pytest.raises(UsageError, match="no address"):
        client.member(pool_id, "0x1234")


def test_too_few_tokens_are_named_before_anything_is_sent(someone: Someone):
    client = someone(tokens=5 * TOKEN)
    nonce = client.rpc.integer("eth_getTransactionCount", client.address, "latest")
    with pytest.raises(InsufficientFunds, match="holds 5 tokens, needs 6"):
        client.stake(6 * TOKEN)
    assert client.rpc.integer("eth_getTransactionCount", client.address, "latest") == nonce
    client.stake(5 * TOKEN)
    client.request_unbond(2 * TOKEN)
    assert (client.stake_account().bonded, client.stake_account().unbonding) == (3 * TOKEN, 2 * TOKEN)
    client.rebond()
    assert client.stake_account().unbonding == 0


def test_a_pool_whose_outer_rule_is_not_its_run_specs_is_refused(someone: Someone, tmp_path: Path):
    """Nobody may be drawn into a pool where a right checkpoint could be disproved."""
    creator, spec, store = someone(), run_spec(2), LocalStore(tmp_path)
    params = PoolParams(orchestrator=creator.address or "", rounds=2)
    store.put(canonical_json(spec))
    assert load_rules(creator, creator.create_pool(spec, params, STORE), store) == (spec, params)
    rule = OuterRule.from_spec(spec).model_copy(update={"lr": 1})
    new_pool = (
        params.to_abi(),
        rule.to_abi(),
        run_spec_hash(spec),
        make_hash("root"),
        ZERO_ADDRESS,
        STORE,
        "",
    )
    data = contract("Pools").functions["createPool"].encode((new_pool,))
    creator.sender.send(Call(creator.deployment.pools, data))
    with pytest.raises(SpecMismatch, match="outer lr is 1 in the pool and 98304 in its RunSpec"):
        load_rules(creator, creator.pool_count(), store)


def test_windows_that_outlast_the_unbonding_time_are_refused(someone: Someone):
    creator = someone()
    params = PoolParams(orchestrator=creator.address or "", rounds=2)
    slack = creator.unbonding_time() - params.total_windows()
    fitting = params.model_copy(update={"grace_window": params.grace_window + slack})
    creator.create_pool(run_spec(2), fitting, STORE)
    longer = fitting.model_copy(update={"grace_window": fitting.grace_window + 1})
    with pytest.raises(UsageError, match="take 601 s together, but stakes unbond after 600 s"):
        creator.create_pool(run_spec(2), longer, STORE)
    for window, times in (("vote_window", 3), ("vote_reveal_window", 3), ("appeal_window", 2)):
        value = getattr(params, window) + 1
        assert params.model_copy(update={window: value}).total_windows() == params.total_windows() + times


def test_a_pool_that_contradicts_its_run_spec_is_not_created(someone: Someone):
    creator = someone()
    params = PoolParams(orchestrator=creator.address or "", rounds=3)
    with pytest.raises(SpecMismatch, match="rounds is 3 in the pool and 2"):
        creator.create_pool(run_spec(2), params, STORE)


def test_a_pool_in_which_dishonesty_pays_is_created_only_on_purpose(someone: Someone):
    creator = someone()
    params = PoolParams(orchestrator=creator.address or "", rounds=2, auditors=1)
    with pytest.raises(UsageError, match="lazy gains 0.1"):
        creator.create_pool(run_spec(2), params, STORE)
    assert (
        creator.pool(creator.create_pool(run_spec(2), params, STORE, unsound=True)).creator == creator.address
    )
