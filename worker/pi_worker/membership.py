"""Keys and money of a node: registration, stake, gas, joining, leaving, and what may be claimed or freed
when.

The operator key stakes and is paid; the node key signs the work and pays the gas of it. A node that is a
member already needs no operator key at all.
"""

import logging
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from pi_sdk.client import Client
from pi_sdk.errors import ContractError, InsufficientFunds, NotFound, PiError, UsageError
from pi_sdk.results import MemberInfo
from pi_sdk.tx import Call
from pi_sdk.types import PoolParams

log = logging.getLogger(__name__)

TOKEN = 10**18
LOCAL_CHAIN = 31337


@dataclass
class Membership:
    """One node in one pool. `chain` acts with the node key; `operator` with the operator's, where there is
    one.
    """

    chain: Client
    operator: Client | None
    node: LocalAccount
    pool_id: int

    def info(self) -> MemberInfo | None:
        return self.chain.member(self.pool_id, self.node.address)

    @staticmethod
    def is_in(member: MemberInfo | None) -> bool:
        """Whether a next round will expect the node."""
        return member is not None and member.left_at == 0 and not member.convicted

    def check(self, params: PoolParams, *, width: int, faucet: bool) -> None:
        """Raises what would keep a node from joining, before anything is sent: `UsageError` (operator's key
        needed or wrong, width out of bounds), `InsufficientFunds`, `PiError` (not allowed back).
        """
        operator = self.require_operator()
        if faucet and operator.chain_id != LOCAL_CHAIN:
            raise UsageError("--faucet exists on the local network only")
        if not 1 <= width <= params.max_width:
            raise UsageError(f"pool {self.pool_id} admits widths from 1 to {params.max_width}, not {width}")
        owner = operator.operator_of(self.node.address)
        if owner not in (None, operator.address):
            raise UsageError(
                f"node {self.node.address} belongs to operator {owner}, not to {operator.address}",
                "use that operator's key, or another --home or --node-key for a new node",
            )
        member = self.info()
        if member is not None and member.convicted:
            raise PiError(
                f"node {self.node.address} was convicted in pool {self.pool_id} and cannot come back",
                "another pool takes it",
            )
        released = self.locked(member) if member is not None else 0
        missing = params.stake_per_slot * width - operator.stake_account().free - released
        short = missing - operator.token_balance()
        if short > 0 and not faucet:
            raise InsufficientFunds(
                f"operator {operator.address} needs {missing / TOKEN:g} more tokens of stake"
                f" and lacks {short / TOKEN:g}",
                "get tokens (on the local network: --faucet mints them)",
            )

    def ensure(self, params: PoolParams, *, width: int, node_gas: int, faucet: bool) -> bool:
        """Registers, stakes and joins as far as it is still needed. True when this call joined.

        `node_gas` (wei) is what the node key holds afterwards; `faucet` mints missing test tokens (local
        chain). Raises what `check` does, and `ContractError`.
        """
        if self.is_in(self.info()):
            self.top_up(node_gas)
            return False
        self.check(params, width=width, faucet=faucet)
        operator = self.require_operator()
        if operator.operator_of(self.node.address) is None:
            operator.register_node(self.node)
            log.info("registered node %s for operator %s", self.node.address, operator.address)
        self._free_old_lock()
        self._stake(operator, params.stake_per_slot * width)
        self.top_up(node_gas)
        operator.join(self.pool_id, self.node.address, width)
        return True

    def _free_old_lock(self) -> None:
        """A node that was a member before comes back once the stake of that time is free."""
        member = self.info()
        if member is not None and member.width and self.settle_and_release():
            raise PiError(
                f"node {self.node.address} left pool {self.pool_id}, and its last rounds are not final yet",
                "try again in a minute; pi-worker status says what is open",
            )

    def _stake(self, operator: Client, needed: int) -> None:
        """Stakes exactly what is missing; `check` has seen that it is there, or that it may be minted."""
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
        if self.operator is None:
            if have == 0:
                raise InsufficientFunds(
                    f"node {self.node.address} has no gas money",
                    f"send it about {node_gas / 10**18:g} ether, or give the operator's key",
                )
            return
        self.operator.sender.send(Call(self.node.address, value=node_gas - have))
        log.info("sent %g ether of gas money to the node", (node_gas - have) / 10**18)

    def leave(self) -> bool:
        """Takes the node out from the next round on. False when it was out already."""
        if not self.is_in(self.info()):
            return False
        (self.operator or self.chain).leave(self.pool_id, self.node.address)
        return True

    def require_operator(self) -> Client:
        if self.operator is None:
            raise UsageError(
                f"this needs the key of the operator of node {self.node.address}",
                "give --account NAME, or --private-key on the local network",
            )
        return self.operator

    def settle(self) -> MemberInfo:
        """Credits the pay of all final rounds to the operator."""
        member = self.info()
        if member is None:
            raise NotFound(f"node {self.node.address} has never been a member of pool {self.pool_id}")
        (self.operator or self.chain).settle(self.pool_id, self.node.address)
        return member

    def settle_and_release(self) -> int:
        """Settles, and frees the stake if it can be. Returns the stake that stays locked, in token wei."""
        member = self.settle()
        if member.left_at and member.width:
            try:
                (self.operator or self.chain).release_lock(self.pool_id, self.node.address)
            except ContractError as error:
                if error.name != "StillLocked":
                    raise
        return self.locked(member)

    def locked(self, member: MemberInfo) -> int:
        return self.chain.lock_of(member.operator, self.chain.worker_lock_id(self.pool_id, self.node.address))

    def claim(self) -> int:
        """Claims everything that the operator has earned. 0 without the operator's key, or when there is
        nothing.
        """
        if self.operator is None or self.operator.earned() == 0:
            return 0
        return self.operator.claim()

    def withdraw(self) -> int:
        """Takes out what has finished unbonding, then starts to unbond what is free. Returns what was taken
        out.
        """
        operator = self.require_operator()
        account = operator.stake_account()
        withdrawn = 0
        if account.unbonding and not account.open_cases and operator.now() >= account.ready_at:
            operator.withdraw()
            withdrawn, account = account.unbonding, operator.stake_account()
        if account.free and not account.unbonding:  # a second request would restart the clock of the first
            operator.request_unbond(account.free)
        return withdrawn

    def slashed(self, from_block: int = 0) -> list[tuple[int, int]]:
        """(block, amount in token wei) of every slash of this node's stake in this pool."""
        lock = self.chain.worker_lock_id(self.pool_id, self.node.address)
        events = self.chain.events(from_block=from_block, names=["Slashed"])
        return [(e.block, e.args["amount"]) for e in events if e.args["lock_id"] == lock]
