"""What colluding seats below a third can do: scripted validators on a real chain, the worst jury drawn."""

from collections.abc import Callable, Sequence

import pytest
from chain import Anvil
from pi_sdk import CaseStatus, Client, ContractError, Outcome, Verdict
from pi_sdk.results import CaseInfo
from small_pool import STORE, TOKEN, Participant, make_hash, make_pool, opened, participant

SEATS = 10
Someone = Callable[..., Client]


def judged(
    chain: Anvil, someone: Someone, auditors: int = 1
) -> tuple[Client, int, Participant, list[Participant]]:
    """A pool with one revealed slot, its audit seed drawn: creator, pool, worker, seats."""
    creator = someone()
    pool_id = make_pool(creator, rounds=1, jury_size=3, auditors=auditors)
    worker = participant(someone, 150 * TOKEN)
    seats = [participant(someone, 150 * TOKEN) for _ in range(SEATS)]
    worker.operator.join(pool_id, worker.node)
    for seat in seats:
        seat.operator.take_seat(pool_id, seat.node)
    creator.open_round(pool_id, 60)
    reveal = opened(creator.pool(pool_id).checkpoint_root, worker.node, 0)
    worker.client.commit(pool_id, creator.commitment(pool_id, 0, worker.node, reveal))
    worker.client.reveal(pool_id, reveal, make_hash("file").hex(), STORE)
    chain.mine(2)
    someone().capture_seed(pool_id, 0)  # whoever opens and closes rounds cannot withhold it
    return creator, pool_id, worker, seats


def say(seats: Sequence[Participant], pool_id: int, worker: str, outcome: Outcome) -> Participant:
    """All seats commit and open their verdicts; the one auditor says `outcome`. That auditor."""
    salt, client = make_hash("salt"), seats[0].client
    (drawn,) = [s for s in seats if s.node in client.auditors_of(pool_id, 0, worker)]
    verdicts = {seat.node: [] for seat in seats}
    verdicts[drawn.node] = [Verdict(node=worker, outcome=outcome, digest=make_hash("digest"))]
    for seat in seats:
        hidden = client.verdicts_commitment(pool_id, 0, seat.node, verdicts[seat.node], salt)
        seat.client.commit_verdicts(pool_id, 0, hidden)
        if seat is seats[0]:
            with pytest.raises(ContractError, match="AlreadyDone"):  # nobody gives two verdicts
                seat.client.commit_verdicts(pool_id, 0, make_hash("another"))
    for seat in seats:
        seat.client.reveal_verdicts(pool_id, 0, verdicts[seat.node], salt)
    return drawn


def vote(case: CaseInfo, seats: Sequence[Participant], says: Callable[[str], Outcome]) -> CaseInfo:
    """The present jury votes, and the case moves on."""
    client, salt, digest = seats[0].client, make_hash("vote"), make_hash("replayed")
    number = client.case_about(case.pool_id, case.round, case.node)
    jury = [s for s in seats if s.node in client.jury_of(number)]
    for juror in jury:
        hidden = client.vote_commitment(number, juror.node, says(juror.node), digest, salt)
        juror.client.commit_vote(number, hidden)
    for juror in jury:
        juror.client.reveal_vote(number, says(juror.node), digest, salt)
    client.resolve_case(number)
    return client.case(number)


@pytest.mark.parametrize("is_guilty", [False, True], ids=["an honest worker", "an accomplice"])
def test_colluding_seats_below_a_third_change_no_outcome(chain: Anvil, someone: Someone, is_guilty: bool):
    """Three of ten seats hold a whole first jury of three, or with the accuser two of it; the next juries are
    larger than they are."""
    creator, pool_id, worker, seats = judged(chain, someone)
    right, wrong = (Outcome.MISMATCH, Outcome.ACCEPT) if is_guilty else (Outcome.ACCEPT, Outcome.MISMATCH)
    accuser = say(seats, pool_id, worker.node, Outcome.MISMATCH)
    number = creator.case_about(pool_id, 0, worker.node)
    colluding = creator.jury_of(number) if is_guilty else [accuser.node, *creator.jury_of(number)[:2]]
    assert 3 * len(colluding) < SEATS

    def says(node: str) -> Outcome:
        return wrong if node in colluding else right

    case = vote(creator.case(number), seats, says)
    assert (case.status, case.guilty_outcome) == (CaseStatus.DECIDED, not is_guilty), (
        "they won the first jury"
    )
    loser = accuser.operator if is_guilty else worker.operator
    loser.appeal(number)
    case = vote(creator.case(number), seats, says)
    while case.status in (CaseStatus.OPEN, CaseStatus.DECIDED):
        if case.status == CaseStatus.DECIDED:
            assert case.guilty_outcome == is_guilty
            chain.mine(seconds=case.appeal_deadline - creator.now() + 1)
            creator.resolve_case(number)
            case = creator.case(number)
        else:
            case = vote(case, seats, says)
    assert case.status == (CaseStatus.CONVICTED if is_guilty else CaseStatus.ACQUITTED)

    params = creator.pool_params(pool_id)
    taken = params.slash_conviction if is_guilty else 0
    assert worker.operator.stake_account().bonded == 150 * TOKEN - taken
    if not is_guilty:
        assert accuser.operator.stake_account().bonded == 150 * TOKEN - params.slash_false_accusation
    indices = {seat.node: seat.index for seat in creator.seats(pool_id)}
    for juror in [s for s in seats if s.node in colluding and s is not accuser]:
        before = juror.operator.stake_account().bonded
        creator.report_overturned_vote(number, 0, indices[juror.node])
        assert juror.operator.stake_account().bonded == before - params.slash_overturned


def test_a_copied_verdict_opens_for_nobody_else(chain: Anvil, someone: Someone):
    creator, pool_id, worker, seats = judged(chain, someone, auditors=2)
    auditors = creator.auditors_of(pool_id, 0, worker.node)
    honest, copier = (next(s for s in seats if s.node == node) for node in auditors)
    verdicts = [Verdict(node=worker.node, outcome=Outcome.ACCEPT, digest=make_hash("replayed"))]
    salt = make_hash("salt")
    hidden = creator.verdicts_commitment(pool_id, 0, honest.node, verdicts, salt)
    for seat in (honest, copier):
        seat.client.commit_verdicts(pool_id, 0, hidden)
    for seat in [s for s in seats if s not in (honest, copier)]:
        nothing = creator.verdicts_commitment(pool_id, 0, seat.node, [], salt)
        seat.client.commit_verdicts(pool_id, 0, nothing)
    honest.client.reveal_verdicts(pool_id, 0, verdicts, salt)
    with pytest.raises(ContractError, match="CommitmentMismatch"):
        copier.client.reveal_verdicts(pool_id, 0, verdicts, salt)

    chain.mine(seconds=creator.verdict_round(pool_id, 0).reveal_deadline - creator.now() + 1)
    index = next(seat.index for seat in creator.seats(pool_id) if seat.node == copier.node)
    creator.report_absence(pool_id, 0, index)
    taken = creator.pool_params(pool_id).slash_absence
    assert copier.operator.stake_account().bonded == 150 * TOKEN - taken
    assert creator.total_earned(str(copier.operator.address)) == 0
