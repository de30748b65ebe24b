"""Keys and money of a validator: registration, stake, gas, taking a seat and giving it back.

The operator key stakes and is paid; the node key commits, reveals and votes, and pays the gas of it.
"""

from pi_sdk.errors import ContractError
from pi_sdk.participant import Participant
from pi_sdk.results import SeatInfo
from pi_sdk.types import PoolParams

NODE_GAS = 5 * 10**16
"""Gas money in wei that the operator sends to the node key when it has less than half of that."""


class Seat(Participant):
    """A node as a validator of its pool."""

    def info(self) -> SeatInfo | None:
        """The seat that the node holds, given up or not; None when it has none (any more)."""
        seats = self.chain.seats(self.pool_id)
        return next((s for s in seats if s.node == self.node.address), None)

    def prepare(self, params: PoolParams, *, faucet: bool) -> None:
        """Registers, stakes and sends gas money as far as a seat still needs it.

        `faucet` mints missing test tokens (local network only). Raises `UsageError`, `InsufficientFunds`.
        """
        if self.info() is None:
            self.check_operator(params.seat_stake, faucet=faucet)
            self.register()
            self.stake(params.seat_stake)
        self.top_up(NODE_GAS)

    def take(self) -> SeatInfo:
        """The node's seat; takes one where it has none. `prepare` comes first."""
        if self.info() is None:
            self.require_operator().take_seat(self.pool_id, self.node.address)
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

    def locked(self) -> int:
        """Stake behind the seat, in token wei."""
        owner = self.chain.operator_of(self.node.address)
        return (
            self.chain.lock_of(owner, self.chain.seat_lock_id(self.pool_id, self.node.address))
            if owner
            else 0
        )
