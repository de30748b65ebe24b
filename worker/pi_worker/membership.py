"""Keys and money of a node: registration, stake, gas, joining, leaving, and what may be claimed or freed
when.

The operator key stakes and is paid; the node key signs the work and pays the gas of it. A node that is a
member already needs no operator key at all.
"""

from pi_sdk.errors import ContractError, NotFound, PiError, UsageError
from pi_sdk.participant import Participant
from pi_sdk.results import MemberInfo
from pi_sdk.types import PoolParams


class Membership(Participant):
    """A node as a worker of its pool."""

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
        if not 1 <= width <= params.max_width:
            raise UsageError(f"pool {self.pool_id} admits widths from 1 to {params.max_width}, not {width}")
        member = self.info()
        if member is not None and member.convicted:
            raise PiError(
                f"node {self.node.address} was convicted in pool {self.pool_id} and cannot come back",
                "another pool takes it",
            )
        released = self.locked(member) if member is not None else 0
        self.check_operator(params.stake_per_slot * width - released, faucet=faucet)

    def ensure(self, params: PoolParams, *, width: int, node_gas: int, faucet: bool) -> bool:
        """Registers, stakes and joins as far as it is still needed. True when this call joined.

        `node_gas` (wei) is what the node key holds afterwards; `faucet` mints missing test tokens (local
        chain). Raises what `check` does, and `ContractError`.
        """
        if self.is_in(self.info()):
            self.top_up(node_gas)
            return False
        self.check(params, width=width, faucet=faucet)
        self.register()
        self._free_old_lock()
        self.stake(params.stake_per_slot * width)
        self.top_up(node_gas)
        self.require_operator().join(self.pool_id, self.node.address, width)
        return True

    def _free_old_lock(self) -> None:
        """A node that was a member before comes back once the stake of that time is free."""
        member = self.info()
        if member is not None and member.width and self.settle_and_release():
            raise PiError(
                f"node {self.node.address} left pool {self.pool_id}, and its last rounds are not final yet",
                "try again in a minute; pi-worker status says what is open",
            )

    def leave(self) -> bool:
        """Takes the node out from the next round on. False when it was out already."""
        if not self.is_in(self.info()):
            return False
        (self.operator or self.chain).leave(self.pool_id, self.node.address)
        return True

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

    def slashed(self, from_block: int = 0) -> list[tuple[int, int]]:
        """(block, amount in token wei) of every slash of this node's stake in this pool."""
        lock = self.chain.worker_lock_id(self.pool_id, self.node.address)
        events = self.chain.events(from_block=from_block, names=["Slashed"])
        return [(e.block, e.args["amount"]) for e in events if e.args["lock_id"] == lock]
