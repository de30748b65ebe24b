"""A pool's people, scripted: they speak to the real chain and the real store, and train nothing."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from chain import Anvil
from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, HttpStore, PoolParams, Reveal, RunSpec, dev_key, load_account
from pi_sdk.codec import ZERO, sha256
from pi_sdk.types import CodecSpec, GptSpec, InnerSpec
from pi_train.codecs import UpdateFile, encode_update
from pi_train.layout import parameter_count
from pi_train.prepare import prepare

MODEL = GptSpec(layers=1, heads=1, width=8, context=32, vocab=256)
N = parameter_count(MODEL)
WINDOW = 60
"""Seconds of every window of a pool: long enough for a slow machine, since tests move the chain's time."""


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Looks again and again until it is so."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"waited in vain for: {what}"
        time.sleep(0.05)


def dev_account(i: int) -> LocalAccount:
    return load_account(private_key=dev_key(i), chain_id=31337)


def connect(chain: Anvil, account: LocalAccount | None) -> Client:
    return Client("local", account, rpc_url=chain.url, poll=0.05)


def tiny_spec(store: object, folder: Path, rounds: int) -> RunSpec:
    text = folder / "text"
    text.mkdir()
    for i in range(64):
        (text / f"{i}.txt").write_text(f"{i} " * 40)
    return prepare(
        store=store,
        data=text,
        rounds=rounds,
        name="tiny",
        model=MODEL,
        inner=InnerSpec(sequence=32),
        codec=CodecSpec(name="dense-int8"),
    )


@dataclass
class Worker:
    """A funded operator with a registered, staked node key; `client` sends as the node."""

    operator: Client
    client: Client
    node: LocalAccount
    store: HttpStore | None = None
    opened: dict[int, tuple[Reveal, bytes]] = field(default_factory=dict)

    @classmethod
    def make(cls, chain: Anvil, funder: Client) -> "Worker":
        operator, node = Account.create(), Account.create()
        chain.give_gas(operator.address)
        chain.give_gas(node.address)
        funder.mint(operator.address, 1000 * 10**18)
        client = connect(chain, operator)
        client.register_node(node)
        client.stake(500 * 10**18)
        return cls(client, connect(chain, node), node)

    def join(self, pool: int, url: str, width: int = 1) -> None:
        self.operator.join(pool, self.node.address, width)
        self.store = HttpStore(url, self.node, 31337, pool)

    def commit(
        self, pool: int, number: int, spec: RunSpec, start: bytes, width: int = 1, lie: str = ""
    ) -> None:
        """Commits to a random update. `lie`: 'malformed' bytes, or another 'norm' than the update's."""
        values = np.random.default_rng(random.randrange(1 << 30)).integers(-1000, 1000, N).astype(np.int32)
        data = encode_update(spec.codec, values)
        update = UpdateFile(spec.codec, data, N)
        if lie == "malformed":
            data = data[:-3] + b"\x80\x80\x80"
        self.opened[number] = (
            Reveal(
                salt=os.urandom(32),
                start_root=start,
                update_root=update.root,
                trace_root=sha256(b"trace"),
                state_in=ZERO,
                state_out=sha256(b"state"),
                norm=update.norm + (lie == "norm"),
                width=width,
            ),
            data,
        )
        opened = self.opened[number][0]
        self.client.commit(pool, self.client.commitment(pool, number, self.node.address, opened))

    def confirm(self, pool: int, number: int, start: bytes, width: int = 1) -> None:
        """Commits to the confirm-only round: a root, and no work."""
        opened = Reveal(
            salt=os.urandom(32),
            start_root=start,
            update_root=ZERO,
            trace_root=ZERO,
            state_in=ZERO,
            state_out=ZERO,
            norm=0,
            width=width,
        )
        self.opened[number] = (opened, b"")
        self.client.commit(pool, self.client.commitment(pool, number, self.node.address, opened))

    def reveal(self, pool: int, number: int, *, upload: bool = True, locations: str = "") -> None:
        opened, data = self.opened[number]
        if upload and data:
            assert self.store is not None
            self.store.put(data)
        self.client.reveal(pool, opened, sha256(data).hex() if data else "00" * 32, locations)

    def update(self, spec: RunSpec, number: int) -> UpdateFile:
        return UpdateFile(spec.codec, self.opened[number][1], N)

    def close(self) -> None:
        self.operator.close()
        self.client.close()
        if self.store:
            self.store.close()


def pool_params(orchestrator: str, rounds: int, **changes: int) -> PoolParams:
    names = """min_train_window max_train_window reveal_window verdict_window verdict_reveal_window
        vote_window vote_reveal_window""".split()
    fields = {"rounds": rounds} | dict.fromkeys(names, WINDOW)
    return PoolParams(orchestrator=orchestrator, **(fields | changes))
