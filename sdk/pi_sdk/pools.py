"""`Client`: pools, their money and their members."""

from .base import checksum
from .codec import run_spec_hash
from .errors import NotFound
from .results import BudgetInfo, MemberInfo, PoolInfo, Receipt
from .stakes import StakeCalls
from .types import PoolParams, RunSpec

_ZERO = "0x" + "0" * 40


class PoolCalls(StakeCalls):
    # --- pools --------------------------------------------------------------------------------------------

    def create_pool(self, spec: RunSpec, params: PoolParams, store_url: str) -> int:
        """Creates a pool and returns its id. `SpecMismatch` when spec and params disagree.

        The spec's canonical JSON, its shards and its first checkpoint must be put into the store at
        `store_url`: the store lets the pool's creator do so from now on.
        """
        params.check(spec)
        receipt = self._write(
            "RoundLedger",
            "createPool",
            params.to_abi(),
            run_spec_hash(spec),
            bytes.fromhex(spec.genesis_root),
            store_url,
        )
        return receipt.event("PoolCreated").args["pool_id"]

    def end_pool(self, pool_id: int) -> Receipt:
        """Ends a pool between rounds; its creator only."""
        return self._write("RoundLedger", "endPool", pool_id)

    def pool(self, pool_id: int) -> PoolInfo:
        """`NotFound` for an unknown id."""
        values = self._read("RoundLedger", "pool", pool_id)
        if values["creator"] == _ZERO:
            raise NotFound(f"no pool {pool_id}", "pi pool list shows the pools of this chain")
        return PoolInfo(id=pool_id, store_uri=self._read("RoundLedger", "storeURI", pool_id), **values)

    def pool_params(self, pool_id: int) -> PoolParams:
        params = PoolParams.model_construct(**self._read("RoundLedger", "params", pool_id))
        if not params.rounds:
            raise NotFound(f"no pool {pool_id}", "pi pool list shows the pools of this chain")
        return params

    def pool_count(self) -> int:
        """Ids run from 1 to this."""
        return self._read("RoundLedger", "poolCount")

    # --- money --------------------------------------------------------------------------------------------

    def fund_pool(self, pool_id: int, amount: int) -> Receipt:
        """Adds token wei to a pool's budget (approves them first when needed)."""
        self.pool(pool_id)
        self._allow(self.deployment.rewards, amount)
        return self._write("Rewards", "fund", pool_id, amount)

    def refund_pool(self, pool_id: int) -> int:
        """Returns the free budget of an ended pool to its creator; token wei."""
        return self._write("Rewards", "refund", pool_id).event("Refunded").args["amount"]

    def budget(self, pool_id: int) -> BudgetInfo:
        return BudgetInfo(**self._read("Rewards", "budget", pool_id))

    def claim(self, to: str | None = None) -> int:
        """Pays everything that this account has earned to `to` (default: itself); returns token wei."""
        return self._write("Rewards", "claim", self._own(to)).event("Claimed").args["amount"]

    def earned(self, address: str | None = None) -> int:
        """Token wei that an account may claim now."""
        return self._read("Rewards", "earned", self._own(address))

    def total_earned(self, address: str | None = None) -> int:
        """Token wei that an account has earned so far, claimed or not."""
        return self._read("Rewards", "totalEarned", self._own(address))

    def treasury(self) -> str:
        """The address that slashed stakes and forfeited pay go to."""
        return self._read("Rewards", "treasury")

    # --- members ------------------------------------------------------------------------------------------

    def join(self, pool_id: int, node: str, width: int = 1) -> Receipt:
        """Adds a registered node of this operator and locks its stake. It is expected from the next round
        on."""
        return self._write("RoundLedger", "join", pool_id, checksum(node), width)

    def leave(self, pool_id: int, node: str) -> Receipt:
        """Takes a node out from the next round on; its operator or the node itself."""
        return self._write("RoundLedger", "leave", pool_id, checksum(node))

    def release_lock(self, pool_id: int, node: str) -> Receipt:
        """Frees the stake of a node that has left, once its last round is final."""
        return self._write("RoundLedger", "releaseLock", pool_id, checksum(node))

    def settle(self, pool_id: int, node: str) -> Receipt:
        """Credits the pay of every final, uncontested record of a node."""
        return self._write("RoundLedger", "settle", pool_id, checksum(node))

    def member(self, pool_id: int, node: str) -> MemberInfo | None:
        """None when the node never joined."""
        values = self._read("RoundLedger", "member", pool_id, checksum(node))
        return None if values["operator"] == _ZERO else MemberInfo(**values)
