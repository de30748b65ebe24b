"""Keys and money of a validator: registration, stake, gas, taking a seat and giving it back.

The operator key stakes and is paid; the node key commits, reveals and votes, and pays the gas of it.
"""

import logging
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from pi_sdk.client import Client
from pi_sdk.errors import ContractError, InsufficientFunds, UsageError
from pi_sdk.networks import LOCAL_CHAIN_ID
from pi_sdk.results import SeatInfo
from pi_sdk.tx import Call
from pi_sdk.types import PoolParams

log = logging.getLogger(__name__)

TOKEN = 10**18
NODE_GAS = 5 * 10**16
"""Gas money in wei that the operator sends to the node key when it has less than half of that."""


@dataclass
class Seat:
    """One node's seat in one pool. `chain` acts with the node key, `operator` with the operator's, where
    there is one.
    """

    chain: Client
    operator: Client | None
    node: LocalAccount
    pool_id: int

    def info(self) -> SeatInfo | None:
        """The seat that the node holds, given up or not; None when it has none (any more)."""
        seats = self.chain.seats(self.pool_id)
        return next((s for s in seats if s.node == self.node.address), None)

    def prepare(self, params: PoolParams, *, faucet: bool) -> None:
        """Registers, stakes and sends gas money as far as a seat still needs it.

        `faucet` mints missing test tokens (local network only). Raises `UsageError`, `InsufficientFunds`.
        """
        if self.info() is not None:
            self._top_up()
            return
        if self.operator is None:
            raise UsageError(
                f"node {self.node.address} has no seat in pool {self.pool_id},"
                " and taking one needs its operator's key",
                "give --account NAME, or --private-key on the local network",
            )
        operator = self.operator
        owner = operator.operator_of(self.node.address)
        if owner is None:
            operator.register_node(self.node)
        elif owner != operator.address:
            raise UsageError(
                f"node {self.node.address} belongs to operator {owner}, not to {operator.address}",
                "use that operator's key, or another --home or --node-key for a new node",
            )
        self._stake(params.seat_stake, faucet)
        self._top_up()

    def take(self) -> SeatInfo:
        """The node's seat; takes one where it has none. `prepare` comes first."""
        if self.info() is None:
            assert self.operator is not None
            self.operator.take_seat(self.pool_id, self.node.address)
        seat = self.info()
        assert seat is not None
        return seat

    def leave(self) -> SeatInfo | None:
        """Gives the seat up from the next round on, if that was not done yet."""
        seat = self.info()
        if seat is not None and seat.left_at == 0:
            self.chain.leave_seat(self.pool_id, seat.index)
            seat = self.info()
        return seat

    def release(self) -> bool:
        """Frees the stake of a seat that was given up. False while a round or a case may still need it."""
        seat = self.info()
        if seat is None:
            return True
        try:
            self.chain.release_seat(self.pool_id, seat.index)
        except ContractError as error:
            if error.name != "StillNeeded":
                raise
            return False
        return True

    def require_operator(self) -> Client:
        if self.operator is None:
            raise UsageError("this needs the operator's key", "give --account NAME, or --private-key locally")
        return self.operator

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

    def locked(self) -> int:
        """Stake behind the seat, in token wei."""
        owner = self.chain.operator_of(self.node.address)
        return (
            self.chain.lock_of(owner, self.chain.seat_lock_id(self.pool_id, self.node.address))
            if owner
            else 0
        )

    def claim(self) -> int:
        """Claims what the operator has earned, in token wei; 0 without the operator's key or without pay."""
        if self.operator is None or self.operator.earned() == 0:
            return 0
        return self.operator.claim()

    def _stake(self, needed: int, faucet: bool) -> None:
        operator = self.operator
        assert operator is not None and operator.address is not None
        missing = needed - operator.stake_account(operator.address).free
        if missing <= 0:
            return
        short = missing - operator.token_balance(operator.address)
        if short > 0 and faucet:
            if operator.chain_id != LOCAL_CHAIN_ID:
                raise UsageError("--faucet exists on the local network only")
            operator.mint(operator.address, short)
        elif short > 0:
            raise InsufficientFunds(
                f"operator {operator.address} needs {missing / TOKEN:g} tokens of stake"
                f" and lacks {short / TOKEN:g}",
                "get tokens (on the local network: --faucet mints them)",
            )
        operator.stake(missing)

    def _top_up(self) -> None:
        have = self.chain.gas_balance(self.node.address)
        if 2 * have >= NODE_GAS:
            return
        if self.operator is not None:
            self.operator.sender.send(Call(self.node.address, value=NODE_GAS - have))
        elif have == 0:
            raise InsufficientFunds(
                f"node {self.node.address} has no gas money",
                f"send it about {NODE_GAS / 10**18:g} ether, or give the operator's key",
            )
