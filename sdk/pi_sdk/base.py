"""The part of `Client` that everything else stands on: one connection, one deployment, reading and writing
contracts."""

from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address, to_checksum_address

from .chain import CONTRACTS, contract, decode_log, decode_revert, no_contract
from .errors import ConfigError, UsageError
from .networks import Deployment
from .results import Event, Receipt
from .rpc import Rpc, RpcError
from .tx import Call, Sender

ZERO_ADDRESS = "0x" + "0" * 40


def checksum(address: str) -> str:
    """The checksum form of an address; `UsageError` for anything else."""
    if not is_address(address):
        raise UsageError(f"{address!r} is no address", "an address is 0x and 40 hex digits")
    return to_checksum_address(address)


class Calls:
    """Reads and writes of one deployment on one chain. `Client` sets these attributes."""

    rpc: Rpc
    chain_id: int
    poll: float
    account: LocalAccount | None
    address: str | None
    """Of the account; None for a read-only client."""
    _deployment: Deployment | None
    _sender: Sender | None

    @property
    def deployment(self) -> Deployment:
        """Where the contracts are; `ConfigError` on a chain that has none."""
        if self._deployment is None:
            raise ConfigError(
                f"no contracts are known on chain {self.chain_id}", "deploy them with: pi deploy"
            )
        return self._deployment

    @property
    def sender(self) -> Sender:
        """`ConfigError` for a read-only client."""
        if self._sender is None:
            raise ConfigError("this needs an account", "pass --account NAME, or Client(account=...)")
        return self._sender

    def _own(self, address: str | None) -> str:
        if address is not None:
            return checksum(address)
        if self.address is None:
            raise ConfigError("this needs an address or an account", "pass --account NAME, or an address")
        return self.address

    def _at(self, name: str) -> str:
        return getattr(self.deployment, CONTRACTS[name])

    def _read(self, name: str, function: str, *args: Any) -> Any:
        """Calls a view function; structs come back as dicts."""
        what, address = contract(name).functions[function], self._at(name)
        request = {"to": address, "data": "0x" + what.encode(args).hex()}
        if self.address is not None:
            request["from"] = self.address
        try:
            data = bytes.fromhex(self.rpc.call("eth_call", request, "latest")[2:])
        except RpcError as error:
            if error.data is None or len(error.data) < 10:
                raise
            raise decode_revert(bytes.fromhex(error.data[2:])) from error
        if not data:
            raise no_contract(name, address)
        return what.decode(data)

    def _write(self, name: str, function: str, *args: Any) -> Receipt:
        """Sends a transaction, waits for its receipt and decodes its logs."""
        data = contract(name).functions[function].encode(args)
        raw = self.sender.send(Call(self._at(name), data))
        if not raw["logs"] and self.rpc.call("eth_getCode", self._at(name), "latest") == "0x":
            raise no_contract(name, self._at(name))
        return self._as_receipt(raw)

    def _as_receipt(self, raw: dict) -> Receipt:
        return Receipt(
            tx=raw["transactionHash"],
            block=int(raw["blockNumber"], 16),
            gas_used=int(raw["gasUsed"], 16),
            logs=tuple(event for log in raw["logs"] if (event := self._as_event(log))),
        )

    def _as_event(self, log: dict) -> Event | None:
        decoded = decode_log(self.deployment, log)
        if decoded is None:
            return None
        name, event, args = decoded
        return Event(
            name=event,
            contract=name,
            block=int(log["blockNumber"], 16),
            tx=log["transactionHash"],
            log_index=int(log["logIndex"], 16),
            args=args,
        )
