"""A small RunSpec and participants for tests. No training happens: roots are made-up hashes."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, PoolParams, Reveal, RunSpec

TOKEN = 10**18
STORE = "http://127.0.0.1:8700"


def make_hash(*parts: object) -> bytes:
    return sha256(repr(parts).encode()).digest()


def run_spec(rounds: int) -> RunSpec:
    shard = {"sha256": make_hash("shard").hex(), "bytes": 1000}
    cpu = {"id": "cpu", "torch": "2.13.0"}
    return RunSpec.model_validate(
        {
            "name": "test",
            "seed": 1,
            "rounds": rounds,
            "model": {"kind": "gpt"},
            "data": {"train": [shard], "validation": [shard]},
            "genesis_root": make_hash("genesis").hex(),
            "genesis_file": make_hash("genesis file").hex(),
            "inner": {},
            "codec": {},
            "outer": {},
            "trace": {},
            "audit": {},
            "classes": [cpu],
            "limits": [{"worker": "cpu", "validator": "cpu", "limit": 0.1}],
        }
    )


@dataclass
class Participant:
    """An operator's client, its node key, and the node's own client."""

    operator: Client
    key: LocalAccount
    client: Client

    @property
    def node(self) -> str:
        return self.key.address


def participant(someone: Callable[..., Client], stake: int) -> Participant:
    """Registered and staked."""
    operator, key = someone(tokens=stake), Account.create()
    operator.register_node(key)
    operator.stake(stake)
    return Participant(operator, key, someone(account=key))


def make_pool(creator: Client, rounds: int = 2, invite_signer: str | None = None, **params: int) -> int:
    """A funded pool whose creator is its orchestrator and has posted the close bond; everybody is audited."""
    assert creator.address is not None
    terms = PoolParams(orchestrator=creator.address, rounds=rounds, audit_rate=10_000, **params)
    pool_id = creator.create_pool(run_spec(rounds), terms, STORE, invite_signer=invite_signer, unsound=True)
    budget = rounds * terms.reserve_per_round()
    creator.mint(creator.address, budget + terms.close_bond)
    creator.fund_pool(pool_id, budget)
    if terms.close_bond:
        creator.stake(terms.close_bond)
        creator.post_bond(pool_id)
    return pool_id


def confirmed(start_root: bytes, node: str, round_: int) -> Reveal:
    """What a node says in the confirm-only round: the root that it recomputed, and no work."""
    zero = bytes(32)
    return Reveal(
        salt=make_hash("salt", node, round_),
        start_root=start_root,
        update_root=zero,
        trace_root=zero,
        state_in=zero,
        state_out=zero,
        norm=0,
        width=1,
    )


def opened(start_root: bytes, node: str, round_: int, state_in: bytes = bytes(32)) -> Reveal:
    """What a node claims to have done in a round."""
    return Reveal(
        salt=make_hash("salt", node, round_),
        start_root=start_root,
        update_root=make_hash("update", node, round_),
        trace_root=make_hash("trace", node, round_),
        state_in=state_in,
        state_out=make_hash("state", node, round_),
        norm=1234,
        width=1,
    )
