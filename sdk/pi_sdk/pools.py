"""`Client`: pools, who may enter them, their money and their members."""

from collections.abc import Sequence

from eth_account.messages import encode_typed_data

from . import economics
from .base import ZERO_ADDRESS, checksum
from .codec import invite as invite_message
from .codec import plant_hash, run_spec_hash
from .errors import NotFound, UsageError
from .results import BudgetInfo, MemberInfo, PoolInfo, Receipt
from .stakes import StakeCalls
from .types import NO_INVITE, Invite, OuterRule, PoolParams, RunSpec

_HINT = "pi pool list shows the pools of this chain"


class PoolCalls(StakeCalls):
    _fixed_of_pool: dict[int, dict]
    """What never changes of a pool, by its id: read once."""

    # --- pools --------------------------------------------------------------------------------------------

    def create_pool(
        self,
        spec: RunSpec,
        params: PoolParams,
        store_url: str,
        requirements_url: str = "",
        invite_signer: str | None = None,
        *,
        unsound: bool = False,
    ) -> int:
        """Creates a pool and returns its id. `SpecMismatch` when spec and params disagree, `UsageError` when
        the windows outlast the unbonding time, or where dishonesty would pay (`economics.check`) and it
        need not be `unsound`.

        The spec's canonical JSON, its shards and its first checkpoint must be put into the store at
        `store_url`: the store lets the pool's creator do so from now on. `requirements_url` is where workers
        read what else the pool asks for. With an `invite_signer` only operators with its invite may join.
        """
        params.check(spec)
        if not unsound:
            economics.check(params, spec)
        needed, limit = params.total_windows(), self.unbonding_time()
        if needed > limit:
            raise UsageError(
                f"the pool's windows take {needed} s together, but stakes unbond after {limit} s",
                "shorten the windows",
            )
        new_pool = (
            params.to_abi(),
            OuterRule.from_spec(spec).to_abi(),
            run_spec_hash(spec),
            bytes.fromhex(spec.genesis_root),
            checksum(invite_signer) if invite_signer else ZERO_ADDRESS,
            store_url,
            requirements_url,
        )
        return self._write("Pools", "createPool", new_pool).event("PoolCreated").args["pool_id"]

    def end_pool(self, pool_id: int) -> Receipt:
        """Ends a pool early: its next round is the confirm-only one. Between rounds; its creator only."""
        return self._write("RoundLedger", "endPool", pool_id)

    def pool(self, pool_id: int) -> PoolInfo:
        """`NotFound` for an unknown id."""
        values = self._read("RoundLedger", "pool", pool_id)
        if values["creator"] == ZERO_ADDRESS:
            raise NotFound(f"no pool {pool_id}", _HINT)
        return PoolInfo(id=pool_id, **values, **self._fixed(pool_id))

    def _fixed(self, pool_id: int) -> dict:
        if pool_id not in self._fixed_of_pool:
            store_uri, requirements_uri = self._read("Pools", "uris", pool_id)
            signer = self._read("Pools", "inviteSigner", pool_id)
            self._fixed_of_pool[pool_id] = {
                "run_spec_hash": self._read("Pools", "runSpecHash", pool_id),
                "store_uri": store_uri,
                "requirements_uri": requirements_uri,
                "invite_signer": None if signer == ZERO_ADDRESS else signer,
            }
        return self._fixed_of_pool[pool_id]

    def pool_params(self, pool_id: int) -> PoolParams:
        """`NotFound` for an unknown id."""
        return PoolParams.model_construct(**self._read("Pools", "params", pool_id))

    def outer_rule(self, pool_id: int) -> OuterRule:
        """What the contracts know of the pool's outer step. `NotFound` for an unknown id."""
        return OuterRule.model_construct(**self._read("Pools", "outerRule", pool_id))

    def pool_count(self) -> int:
        """Ids run from 1 to this."""
        return self._read("Pools", "poolCount")

    # --- entry --------------------------------------------------------------------------------------------

    def set_entry_paused(self, paused: bool) -> Receipt:
        """Stops or allows new pools, nodes and seats; the guardian only. Everything else goes on."""
        return self._write("Pools", "setEntryPaused", paused)

    def entry_paused(self) -> bool:
        return self._read("Pools", "entryPaused")

    def guardian(self) -> str:
        """Who may pause entry."""
        return self._read("Pools", "guardian")

    def sign_invite(self, pool_id: int, operator: str, nonce: int, deadline: int) -> Invite:
        """This account's permission, as the pool's invite signer, for one operator to join with a node.
        Works once per nonce, until `deadline` (unix seconds). Sends nothing."""
        message = invite_message(
            self.chain_id, self.deployment.pools, pool_id, checksum(operator), nonce, deadline
        )
        signed = self.sender.account.sign_message(encode_typed_data(full_message=message))
        return Invite(nonce=nonce, deadline=deadline, signature=bytes(signed.signature))

    def is_invite_used(self, pool_id: int, nonce: int) -> bool:
        return self._read("Pools", "isInviteUsed", pool_id, nonce)

    # --- planted slots ------------------------------------------------------------------------------------

    def plant(self, pool_id: int, slots: Sequence[tuple[int, str, bytes]]) -> Receipt:
        """Hides slots (round, node, 32-byte salt) of rounds that have not opened, which will be bad on
        purpose; the creator only. A conviction costs such a slot nothing; who accepted it has been
        overturned."""
        at = self.chain_id, self.deployment.pools, pool_id
        hashes = [plant_hash(*at, round_, checksum(node), salt) for round_, node, salt in slots]
        return self._write("Pools", "plant", pool_id, hashes)

    def open_plant(self, pool_id: int, round: int, node: str, salt: bytes) -> Receipt:
        """Shows that a slot was planted, before the case about it ends. `NotPlanted`."""
        return self._write("Pools", "openPlant", pool_id, round, checksum(node), salt)

    def is_planted(self, pool_id: int, round: int, node: str) -> bool:
        """Whether a slot has been opened as planted."""
        return self._read("Pools", "isPlanted", pool_id, round, checksum(node))

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

    def join(self, pool_id: int, node: str, width: int = 1, invite: Invite | None = None) -> Receipt:
        """Adds a registered node of this operator and locks its stake; pools with an invite signer want an
        `invite`. It is expected from the next round on."""
        permission = invite.to_abi() if invite else NO_INVITE
        return self._write("Pools", "join", pool_id, checksum(node), width, permission)

    def set_width(self, pool_id: int, node: str, width: int) -> Receipt:
        """Declares another width from the next round on; locks the stake that is missing for it."""
        return self._write("RoundLedger", "setWidth", pool_id, checksum(node), width)

    def leave(self, pool_id: int, node: str) -> Receipt:
        """Takes a node out from the next round on; its operator or the node itself."""
        return self._write("RoundLedger", "leave", pool_id, checksum(node))

    def roll_back(self, pool_id: int, to_round: int) -> Receipt:
        """Has the next round start from what an older one, at most 15 before it, started from; the pool's
        creator only. The rounds since are paid, and forgotten."""
        return self._write("RoundLedger", "rollBack", pool_id, to_round)

    def eject(self, pool_id: int, node: str) -> Receipt:
        """Takes a node out from the next round on; the pool's creator only. What it has done stays paid."""
        return self._write("RoundLedger", "eject", pool_id, checksum(node))

    def release_lock(self, pool_id: int, node: str) -> Receipt:
        """Frees the stake that a node's present width does not need, once earlier rounds are over; settles
        too."""
        return self._write("RoundLedger", "releaseLock", pool_id, checksum(node))

    def settle(self, pool_id: int, node: str) -> Receipt:
        """Credits what a node has earned to its operator."""
        return self._write("RoundLedger", "settle", pool_id, checksum(node))

    def member(self, pool_id: int, node: str) -> MemberInfo | None:
        """None when the node never joined."""
        values = self._read("RoundLedger", "member", pool_id, checksum(node))
        return None if values["operator"] == ZERO_ADDRESS else MemberInfo(**values)
