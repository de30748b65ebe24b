"""`Client`: the test token, node keys and stakes."""

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from .base import ZERO_ADDRESS, Calls, checksum
from .codec import node_authorization
from .errors import InsufficientFunds
from .results import Receipt, StakeAccount

_NODE_SIGNATURE_SECONDS = 600


class StakeCalls(Calls):
    # --- token --------------------------------------------------------------------------------------------

    def mint(self, to: str, amount: int) -> Receipt:
        """Gives `amount` token wei of the test token to `to`. Anybody may on test chains."""
        return self._write("TestToken", "mint", checksum(to), amount)

    def token_balance(self, address: str | None = None) -> int:
        """Token wei of an address (default: own)."""
        return self._read("TestToken", "balanceOf", self._own(address))

    def gas_balance(self, address: str | None = None) -> int:
        """Wei of the chain's own coin, which pays for gas."""
        return self.rpc.integer("eth_getBalance", self._own(address), "latest")

    def _allow(self, spender: str, amount: int) -> None:
        """Approves `amount` when the allowance is short. Raises `InsufficientFunds` before anything is
        sent."""
        owner = self.sender.address
        balance = self.token_balance(owner)
        if balance < amount:
            raise InsufficientFunds(
                f"{owner} holds {balance / 1e18:g} tokens, needs {amount / 1e18:g}",
                f"get tokens of {self.deployment.token}; on test chains Client.mint gives them",
            )
        if self._read("TestToken", "allowance", owner, spender) < amount:
            self._write("TestToken", "approve", spender, amount)

    # --- node keys ----------------------------------------------------------------------------------------

    def register_node(self, node: LocalAccount) -> Receipt:
        """Binds a node key to this account, for ever. The node key signs the consent here; it sends
        nothing."""
        operator, deadline = self.sender.address, self.now() + _NODE_SIGNATURE_SECONDS
        message = node_authorization(
            self.chain_id, self.deployment.registry, operator, node.address, deadline
        )
        signed = node.sign_message(encode_typed_data(full_message=message))
        return self._write("NodeRegistry", "registerNode", node.address, deadline, bytes(signed.signature))

    def revoke_node(self, node: str) -> Receipt:
        """Gives up a node key of this operator, lost or leaked, for ever: it can enter no pool any more.
        Where it is in already, `leave` and `leave_seat` take it out."""
        return self._write("NodeRegistry", "revokeNode", checksum(node))

    def operator_of(self, node: str) -> str | None:
        """The operator of a node key, revoked or not, or None when it is not registered."""
        operator = self._read("NodeRegistry", "operatorOf", checksum(node))
        return None if operator == ZERO_ADDRESS else operator

    # --- stakes -------------------------------------------------------------------------------------------

    def stake(self, amount: int) -> Receipt:
        """Deposits token wei (approves them first when needed)."""
        self._allow(self.deployment.stakes, amount)
        return self._write("StakeManager", "stake", amount)

    def request_unbond(self, amount: int) -> Receipt:
        """Moves free stake to the unbonding bucket and restarts its clock."""
        return self._write("StakeManager", "requestUnbond", amount)

    def rebond(self) -> Receipt:
        return self._write("StakeManager", "rebond")

    def withdraw(self) -> Receipt:
        """Pays out what has finished unbonding."""
        return self._write("StakeManager", "withdraw")

    def pay_treasury(self) -> Receipt:
        """Sends the treasury its share of all slashes."""
        return self._write("StakeManager", "payTreasury")

    def stake_account(self, operator: str | None = None) -> StakeAccount:
        """An operator's stake (default: own)."""
        return StakeAccount(**self._read("StakeManager", "account", self._own(operator)))

    def lock_of(self, operator: str, lock_id: bytes) -> int:
        """Token wei of `operator` that a lock holds."""
        return self._read("StakeManager", "lockOf", checksum(operator), lock_id)

    def worker_lock_id(self, pool_id: int, node: str) -> bytes:
        return self._read("RoundLedger", "lockId", pool_id, checksum(node))

    def seat_lock_id(self, pool_id: int, node: str) -> bytes:
        return self._read("Court", "seatLockId", pool_id, checksum(node))

    def unbonding_time(self) -> int:
        """Seconds between `request_unbond` and `withdraw`."""
        return self._read("StakeManager", "unbondingTime")

    # --- the chain's clock --------------------------------------------------------------------------------

    def now(self) -> int:
        """Timestamp of the latest block, unix seconds."""
        return int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def block_number(self) -> int:
        return self.rpc.integer("eth_blockNumber")
