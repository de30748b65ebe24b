"""Keys and money of a node: registration, stake, gas, joining, leaving, and what may be claimed or freed
when.

The operator key stakes and is paid; the node key signs the work and pays the gas of it. A node that is a
member already needs no operator key at all.
"""

from pi_sdk.errors import ContractError, NotFound, PiError, UsageError
from pi_sdk.participant import Participant
from pi_sdk.results import MemberInfo
from pi_sdk.types import Invite, PoolParams


class Membership(Participant):
    """A node as a worker of its pool."""

    def info(self) -> MemberInfo | None:
        return self.chain.member(self.pool_id, self.node.address)

    @staticmethod
    def is_in(member: MemberInfo | None) -> bool:
        """Whether a next round will expect the node."""
        return member is not None and member.next_width > 0 and not member.convicted

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
        self.check_operator(self._missing(params, width), faucet=faucet)

    def ensure(
        self, params: PoolParams, *, width: int | None, invite: Invite | None, node_gas: int, faucet: bool
    ) -> bool:
        """Registers, stakes and joins as far as it is still needed. True when this call joined.

        A member that is to have another `width` declares it, from the next round on. `node_gas` (wei) is
        what the node key holds afterwards; `faucet` mints missing test tokens (local chain). Raises what
        `check` does, and `ContractError`.
        """
        member = self.info()
        new = not self.is_in(member)
        wanted = width or 1 if new or member is None else width or member.next_width
        if new or (member is not None and wanted != member.next_width):
            self.check(params, width=wanted, faucet=faucet)
            self.register()
            self.stake(self._missing(params, wanted))
        self.top_up(node_gas)
        if new:
            self.require_operator().join(self.pool_id, self.node.address, wanted, invite)
        elif member is not None and wanted != member.next_width:
            self.require_operator().set_width(self.pool_id, self.node.address, wanted)
        return new

    def change_width(self, params: PoolParams, width: int, *, faucet: bool) -> int:
        """Declares the width for the next round, or as much of it as the stake reaches for; returns it.
        Raises what `check` does, and `ContractError`.
        """
        member, operator = self._known(), self.require_operator()
        if width > member.next_width and not faucet and params.stake_per_slot:
            means = operator.stake_account().free + operator.token_balance() + self.locked(member)
            width = max(member.next_width, min(width, means // params.stake_per_slot))
        if width != member.next_width:
            self.check(params, width=width, faucet=faucet)
            self.stake(self._missing(params, width))
            operator.set_width(self.pool_id, self.node.address, width)
        return width

    def _missing(self, params: PoolParams, width: int) -> int:
        """Free stake that a width needs beside what is locked already, in token wei."""
        member = self.info()
        return max(0, params.stake_per_slot * width - (self.locked(member) if member else 0))

    def leave(self) -> bool:
        """Takes the node out from the next round on. False when it was out already."""
        if not self.is_in(self.info()):
            return False
        (self.operator or self.chain).leave(self.pool_id, self.node.address)
        return True

    def settle_all(self) -> None:
        """Credits what all nodes of this node's operator have earned in the pool."""
        operator = self._known().operator
        joined = self.chain.events(pool_id=self.pool_id, names=["Joined"])
        for node in dict.fromkeys(e.args["node"] for e in joined if e.args["operator"] == operator):
            (self.operator or self.chain).settle(self.pool_id, node)

    def settle_and_release(self) -> int:
        """Credits what the node has earned, and frees the stake that it does not need any more where its
        rounds are over: one transaction where both can be. Returns the stake that stays locked, in token
        wei.
        """
        member = self._known()
        sender = self.operator or self.chain
        if not self.is_in(member) and self.locked(member):
            try:
                sender.release_lock(self.pool_id, self.node.address)
                return self.locked(member)
            except ContractError as error:
                if error.name != "StillLocked":
                    raise
        sender.settle(self.pool_id, self.node.address)
        return self.locked(member)

    def locked(self, member: MemberInfo) -> int:
        return self.chain.lock_of(member.operator, self.chain.worker_lock_id(self.pool_id, self.node.address))

    def appeal(self, case_id: int) -> int:
        """Takes a case that was decided against this node's operator to the next jury; stakes the bond where
        it is missing. Returns the bond, in token wei. Raises `UsageError`, `InsufficientFunds`,
        `ContractError`.
        """
        case = self.chain.case(case_id)
        operator = self.require_operator()
        if (case.pool_id, case.operator) != (self.pool_id, operator.address):
            raise UsageError(
                f"case {case_id} is not about a node of {operator.address} in pool {self.pool_id}"
            )
        bond = self.chain.pool_params(self.pool_id).appeal_bond
        self.check_operator(bond, faucet=False)
        self.stake(bond)
        operator.appeal(case_id)
        return bond

    def _known(self) -> MemberInfo:
        member = self.info()
        if member is None:
            raise NotFound(f"node {self.node.address} has never been a member of pool {self.pool_id}")
        return member

    def slashed(self, from_block: int = 0) -> list[tuple[int, int]]:
        """(block, amount in token wei) of every slash of this node's stake in this pool."""
        lock = self.chain.worker_lock_id(self.pool_id, self.node.address)
        events = self.chain.events(from_block=from_block, names=["Slashed"])
        return [(e.block, e.args["amount"]) for e in events if e.args["lock_id"] == lock]
