"""`Client`: everything that a program does with a deployment of pi-protocol, over one connection.

    with Client("local", account) as client:
        pool = client.create_pool(spec, params, "http://127.0.0.1:8700")
        client.fund_pool(pool, 100 * 10**18)

Its methods stand in groups, one file each: `stakes.py`, `pools.py`, `rounds.py`, `court.py`, `proofs.py`,
`exits.py`, `events.py`. Every write waits for its receipt; a revert arrives as `ContractError` with the
custom error's name, before anything is sent where possible.
"""

from typing import Self

from eth_account.signers.local import LocalAccount
from web3 import Web3

from .accounts import load_account
from .deployment import Plan
from .errors import PiError, WrongNetwork
from .events import EventCalls
from .exits import ExitCalls
from .networks import Deployment, get_network
from .proofs import ProofCalls
from .rpc import Rpc
from .tx import Sender


class Client(ExitCalls, ProofCalls, EventCalls):
    """A connection to one network, as `account` or read only (`account=None`).

    `account` is a `LocalAccount`, the name of a keystore, or on the local chain a raw key as 0x and 64 hex
    digits. `poll`: seconds between looks for a receipt or a new block. `patience`: seconds that a call
    waits for a node that went away; the first contact does not wait. Raises `ChainError` when there is no
    node, `WrongNetwork` when it speaks for another chain.
    """

    def __init__(
        self,
        network: str = "local",
        account: LocalAccount | str | None = None,
        *,
        rpc_url: str | None = None,
        deployment: Deployment | None = None,
        poll: float = 0.25,
        patience: float = 30.0,
        stuck_after: float = 10.0,
    ):
        self.network = get_network(network, rpc_url)
        self.chain_id = self.network.chain_id
        if isinstance(account, str):
            account = _named(account, self.chain_id)
        self.account = account
        self.address = account.address if account else None
        self.poll = poll
        self._deployment = deployment or self.network.deployment
        self._pool_of_case = {}
        self._fixed_of_pool = {}
        self.rpc = Rpc(self.network.rpc_url, patience)
        try:
            self._check_chain()
        except PiError:
            self.rpc.close()
            raise
        self._sender = account and Sender(
            self.rpc, account, self.chain_id, poll=poll, stuck_after=stuck_after
        )

    def _check_chain(self) -> None:
        actual = self.rpc.integer("eth_chainId", patience=0)
        if actual != self.chain_id:
            raise WrongNetwork(
                f"{self.network.rpc_url} is chain {actual}, {self.network.name} is chain {self.chain_id}",
                "choose --network and --rpc-url of the same chain",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.rpc.close()

    @property
    def w3(self) -> Web3:
        """web3.py's object on the same connection, for what this class does not offer."""
        return self.rpc.w3

    def deployed(self) -> bool:
        """Whether the contracts have code on this chain."""
        if self._deployment is None:
            return False
        return self.rpc.call("eth_getCode", self._deployment.proofs, "latest") != "0x"

    def deployment_plan(
        self, treasury: str | None = None, unbonding_time: int = 600, guardian: str | None = None
    ) -> Plan:
        """What `deploy` would do now; sends nothing."""
        return Plan.make(
            self.sender.address,
            self.rpc.integer("eth_getTransactionCount", self.sender.address, "pending"),
            treasury=treasury,
            guardian=guardian,
            unbonding_time=unbonding_time,
            block=self.block_number(),
        )

    def deploy(
        self, treasury: str | None = None, unbonding_time: int = 600, guardian: str | None = None
    ) -> Deployment:
        """Deploys the contracts from this account and uses them from now on.

        Each is given the addresses of the others, predicted from the account's nonce: nothing else may send
        from it meanwhile. `treasury` (default: this account) receives slashes, `guardian` (default: this
        account) may pause entry; `unbonding_time` is in seconds.
        """
        return self.carry_out(self.deployment_plan(treasury, unbonding_time, guardian))

    def carry_out(self, plan: Plan) -> Deployment:
        """Sends a deployment's transactions, which must be this account's next ones."""
        for _ in plan.carry_out(self.sender.send):
            pass
        self._deployment = plan.contracts
        return plan.contracts


def _named(account: str, chain_id: int) -> LocalAccount:
    if len(account) == 66 and account.startswith("0x"):
        return load_account(private_key=account, chain_id=chain_id)
    return load_account(account, chain_id=chain_id)
