"""A node and its operator in one pool: what worker and validator share in keys and money.

The operator key stakes and is paid; the node key signs the work and pays the gas of it. Once a node has
joined it needs no operator key at all."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eth_account.signers.local import LocalAccount

from .client import Client
from .errors import InsufficientFunds, UsageError
from .networks import LOCAL_CHAIN_ID
from .options import chosen_account, chosen_node
from .tx import Call
from .types import TOKEN

log = logging.getLogger(__name__)


@dataclass
class Participant:
    """`chain` acts with the node key; `operator` with the operator's, where that is here."""

    chain: Client
    operator: Client | None
    node: LocalAccount
    pool_id: int

    @classmethod
    @contextmanager
    def connected(
        cls,
        pool_id: int,
        network: str,
        rpc_url: str | None,
        account: str | None,
        private_key: str | None,
        node_account: str | None,
        node_key: str | None,
        home: Path,
    ) -> Iterator[Self]:
        """With its connections, from the options of a command line."""
        operator = chosen_account(account, private_key, network) if account or private_key else None
        node = chosen_node(node_account, node_key, home, network)
        if operator is not None and operator.address == node.address:
            raise UsageError(
                "operator and node must be different keys", "leave --node-key out: one is made in --home"
            )
        with ExitStack() as stack:
            chain = stack.enter_context(Client(network, node, rpc_url=rpc_url))
            owner = stack.enter_context(Client(network, operator, rpc_url=rpc_url)) if operator else None
            yield cls(chain, owner, node, pool_id)

    def require_operator(self) -> Client:
        if self.operator is None:
            raise UsageError(
                f"this needs the key of the operator of node {self.node.address}",
                "give --account NAME, or --private-key on the local network",
            )
        return self.operator

    def check_operator(self, stake: int, *, faucet: bool) -> Client:
        """The operator's client, where it owns this node (or may register it) and has, or may mint, the
        tokens for a free stake of `stake` wei. Sends nothing. Raises `UsageError`, `InsufficientFunds`."""
        operator = self.require_operator()
        if faucet and operator.chain_id != LOCAL_CHAIN_ID:
            raise UsageError("--faucet exists on the local network only")
        owner = operator.operator_of(self.node.address)
        if owner not in (None, operator.address):
            raise UsageError(
                f"node {self.node.address} belongs to operator {owner}, not to {operator.address}",
                "use that operator's key, or another --home or --node-key for a new node",
            )
        missing = stake - operator.stake_account().free
        short = missing - operator.token_balance()
        if short > 0 and not faucet:
            raise InsufficientFunds(
                f"operator {operator.address} needs {missing / TOKEN:g} more tokens of stake"
                f" and lacks {short / TOKEN:g}",
                "get tokens (on the local network: --faucet mints them)",
            )
        return operator

    def register(self) -> None:
        """Binds the node key to the operator, where that was not done yet."""
        operator = self.require_operator()
        if operator.operator_of(self.node.address) is None:
            operator.register_node(self.node)
            log.info("registered node %s for operator %s", self.node.address, operator.address)

    def stake(self, needed: int) -> None:
        """Stakes exactly what a free stake of `needed` wei lacks; `check_operator` has seen that it is
        there, or that it may be minted."""
        operator = self.require_operator()
        missing = needed - operator.stake_account().free
        if missing <= 0:
            return
        short = missing - operator.token_balance()
        if short > 0:
            operator.mint(operator.sender.address, short)
        operator.stake(missing)
        log.info("staked %g tokens", missing / TOKEN)

    def top_up(self, node_gas: int) -> None:
        """Sends the node gas money from the operator when it has less than half of `node_gas` wei."""
        have = self.chain.gas_balance(self.node.address)
        if 2 * have >= node_gas:
            return
        if self.operator is not None:
            self.operator.sender.send(Call(self.node.address, value=node_gas - have))
            log.info("sent %g ether of gas money to the node", (node_gas - have) / 10**18)
        elif have == 0:
            raise InsufficientFunds(
                f"node {self.node.address} has no gas money",
                f"send it about {node_gas / 10**18:g} ether, or give the operator's key",
            )

    def claim(self) -> int:
        """Claims everything that the operator has earned, in token wei; 0 without its key or without pay."""
        if self.operator is None or self.operator.earned() == 0:
            return 0
        return self.operator.claim()

    def withdraw(self) -> int:
        """Takes out what has finished unbonding, then starts to unbond what is free. Returns what was taken
        out, in token wei."""
        operator = self.require_operator()
        account = operator.stake_account()
        withdrawn = 0
        if account.unbonding and not account.open_cases and operator.now() >= account.ready_at:
            operator.withdraw()
            withdrawn, account = account.unbonding, operator.stake_account()
        if account.free and not account.unbonding:  # a second request would restart the clock of the first
            operator.request_unbond(account.free)
        return withdrawn


def clock(when: int) -> str:
    """Unix seconds as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def money_lines(claimed: int, withdrawn: int, unbonding: int, ready_at: int | None) -> list[str]:
    """What leaving with `--withdraw` did about money, as a person reads it. Token wei and unix seconds."""
    out = []
    if claimed:
        out.append(f"claimed {claimed / TOKEN:g} tokens")
    if withdrawn:
        out.append(f"withdrew {withdrawn / TOKEN:g} tokens")
    if unbonding and ready_at is not None:
        ready = clock(ready_at)
        out.append(f"{unbonding / TOKEN:g} tokens are unbonding, ready at {ready}: run this again then")
    return out
