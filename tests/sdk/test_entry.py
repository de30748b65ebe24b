"""Who may enter a pool: invites and what binds them, the guardian's pause, revoked node keys."""

from collections.abc import Callable

import pytest
from chain import Anvil
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from pi_sdk import Client, ContractError, Invite, UsageError, dev_key
from pi_sdk.codec import invite as invite_message
from small_pool import TOKEN, make_pool, participant

Someone = Callable[..., Client]


def refusal(call: Callable[[], object]) -> str:
    """The name of the custom error that a call ends with."""
    with pytest.raises(ContractError) as refused:
        call()
    return refused.value.name


def test_an_invite_lets_its_operator_in_once(someone: Someone):
    creator, signer = someone(), someone()
    pool_id = make_pool(creator, invite_signer=signer.address)
    assert creator.pool(pool_id).invite_signer == signer.address
    worker = participant(someone, 300 * TOKEN)
    deadline = creator.now() + 1000
    assert refusal(lambda: worker.operator.join(pool_id, worker.node)) == "InviteExpired"

    invite = Invite.from_text(
        signer.sign_invite(pool_id, worker.operator.address or "", 7, deadline).to_text()
    )
    receipt = worker.operator.join(pool_id, worker.node, 2, invite)
    assert receipt.event("InviteAccepted").args["nonce"] == 7
    assert receipt.event("Joined").args["width"] == 2
    assert creator.is_invite_used(pool_id, 7) and not creator.is_invite_used(pool_id, 8)

    # a second node needs a second invite
    other = Account.create()
    worker.operator.register_node(other)
    assert refusal(lambda: worker.operator.join(pool_id, other.address, 1, invite)) == "InviteUsed"
    again = signer.sign_invite(pool_id, worker.operator.address or "", 8, deadline)
    worker.operator.join(pool_id, other.address, 1, again)


def test_an_invite_works_for_nothing_else(chain: Anvil, someone: Someone):
    """Not for another operator, pool, nonce, deadline, contract or chain, not from anybody else, not too
    late."""
    creator, signer = someone(), someone()
    pool_id, other_pool = (make_pool(creator, invite_signer=signer.address) for _ in range(2))
    worker, thief = participant(someone, 100 * TOKEN), participant(someone, 100 * TOKEN)
    operator, deadline = worker.operator.address or "", creator.now() + 1000
    good = signer.sign_invite(pool_id, operator, 1, deadline)

    def join(invite: Invite, who=worker, pool: int = pool_id) -> str:
        return refusal(lambda: who.operator.join(pool, who.node, 1, invite))

    assert join(good, who=thief) == "BadInvite"
    assert join(good, pool=other_pool) == "BadInvite"
    assert join(good.model_copy(update={"nonce": 2})) == "BadInvite"
    assert join(good.model_copy(update={"deadline": deadline + 1})) == "BadInvite"
    assert join(creator.sign_invite(pool_id, operator, 1, deadline)) == "BadInvite"
    for chain_id, pools in ((84532, signer.deployment.pools), (31337, signer.deployment.ledger)):
        message = invite_message(chain_id, pools, pool_id, operator, 1, deadline)
        signed = signer.sender.account.sign_message(encode_typed_data(full_message=message))
        foreign = Invite(nonce=1, deadline=deadline, signature=bytes(signed.signature))
        assert join(foreign) == "BadInvite"
    chain.mine(seconds=1001)
    assert join(good) == "InviteExpired"


@given(st.integers(0, (1 << 256) - 1), st.integers(0, (1 << 64) - 1), st.binary(min_size=1, max_size=1024))
def test_an_invite_is_one_word(nonce: int, deadline: int, signature: bytes):
    invite = Invite(nonce=nonce, deadline=deadline, signature=signature)
    text = invite.to_text()
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert Invite.from_text(f" {text}\n") == invite


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no invite"),
        ("0x1234", "no invite"),
        ("pi-invite-", "not complete"),
        ("pi-invite-AAAA", "not complete"),
        ("pi-invite-!!!", "damaged"),
        ("pi-invite-AAAAA", "damaged"),
        ("pi-invite-ä", "damaged"),
        ("pi-invite-" + "A" * 100_000, "no invite"),
    ],
)
def test_text_that_is_no_invite_is_refused(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        Invite.from_text(text)


@given(st.text(max_size=200))
def test_any_text_is_an_invite_or_a_usage_error(text: str):
    for candidate in (text, "pi-invite-" + text):
        try:
            invite = Invite.from_text(candidate)
        except UsageError:
            continue
        assert len(invite.signature) <= 1024


def test_the_pause_stops_entry_and_nothing_else(chain: Anvil, someone: Someone):
    creator, worker = someone(), participant(someone, 100 * TOKEN)
    pool_id = make_pool(creator)
    early = participant(someone, 100 * TOKEN)
    early.operator.join(pool_id, early.node)
    seat = participant(someone, 100 * TOKEN)
    assert refusal(lambda: creator.set_entry_paused(True)) == "OnlyGuardian"
    guardian = someone(account=Account.from_key(dev_key(0)))
    assert guardian.guardian() == guardian.address
    guardian.set_entry_paused(True)
    try:
        assert creator.entry_paused()
        for enter in (
            lambda: worker.operator.join(pool_id, worker.node),
            lambda: seat.operator.take_seat(pool_id, seat.node),
            lambda: make_pool(creator),
        ):
            assert refusal(enter) == "EntryPaused"
        early.operator.leave(pool_id, early.node)
        early.operator.release_lock(pool_id, early.node)
        early.operator.request_unbond(100 * TOKEN)
        chain.mine(seconds=early.operator.unbonding_time() + 1)
        early.operator.withdraw()
        assert early.operator.token_balance() == 100 * TOKEN
    finally:
        guardian.set_entry_paused(False)
    worker.operator.join(pool_id, worker.node)


def test_a_revoked_node_key_enters_no_pool(someone: Someone):
    creator, worker = someone(), participant(someone, 200 * TOKEN)
    pool_id, other = make_pool(creator), make_pool(creator)
    worker.operator.join(pool_id, worker.node)
    assert refusal(lambda: creator.revoke_node(worker.node)) == "OnlyOperator"
    worker.operator.revoke_node(worker.node)
    assert refusal(lambda: worker.operator.join(other, worker.node)) == "AlreadyRevoked"
    assert refusal(lambda: worker.operator.revoke_node(worker.node)) == "AlreadyRevoked"
    assert worker.operator.operator_of(worker.node) == worker.operator.address
    worker.operator.leave(pool_id, worker.node)


def test_a_creator_ejects_a_node_for_the_future(someone: Someone):
    creator, worker = someone(), participant(someone, 100 * TOKEN)
    pool_id = make_pool(creator)
    worker.operator.join(pool_id, worker.node)
    assert refusal(lambda: worker.operator.eject(pool_id, worker.node)) == "OnlyPoolCreator"
    creator.eject(pool_id, worker.node)
    member = creator.member(pool_id, worker.node)
    assert member is not None and member.next_width == 0 and creator.pool(pool_id).members == 0
