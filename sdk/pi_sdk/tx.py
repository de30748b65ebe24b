"""Sending transactions so that each happens exactly once, whatever the node does meanwhile.

Nonces are handed out under a lock, so threads may share a `Sender`. Several Senders of one key at the same
time (in other processes, or two Clients) are not supported: they would take each other's nonces.

A transaction that gets no receipt is offered again: the same bytes when the node forgot it (a restart from
an older state), the same nonce with higher fees when it is stuck. Nonces that a restart has lost are filled
with empty transfers, so that the transaction behind them is neither lost nor doubled.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from .chain import decode_revert
from .errors import InsufficientFunds, PiError, TransactionFailed
from .rpc import Rpc, RpcError

_BUMP = 1.25  # nodes want at least 1.10 (anvil) or 1.125 (geth) to replace a transaction
_TRIES = 8


@dataclass(frozen=True)
class Call:
    """A transaction as its sender means it. `to=None` creates a contract; `value` is wei."""

    to: str | None
    data: bytes = b""
    value: int = 0


@dataclass(frozen=True)
class _Fees:
    """Wei per gas."""

    limit: int
    tip: int

    def raised(self, at_least: "_Fees") -> "_Fees":
        return _Fees(
            max(int(self.limit * _BUMP) + 1, at_least.limit), max(int(self.tip * _BUMP) + 1, at_least.tip)
        )


@dataclass
class _Pending:
    call: Call
    nonce: int
    gas: int
    fees: _Fees
    raw: list[str]
    hashes: list[str]


class _NonceTaken(Exception):
    """The node has seen another transaction with this nonce."""


class _Underpriced(Exception):
    pass


class Sender:
    """Signs with `account` and sends. `stuck_after`: seconds without a receipt before the fees are raised;
    at most `max_bumps` times, then `TransactionFailed`."""

    def __init__(
        self,
        rpc: Rpc,
        account: LocalAccount,
        chain_id: int,
        *,
        poll: float = 0.25,
        stuck_after: float = 10.0,
        max_bumps: int = 6,
    ):
        self.account = account
        self.address: str = account.address
        self._rpc = rpc
        self._chain_id = chain_id
        self._poll = poll
        self._stuck_after = stuck_after
        self._max_bumps = max_bumps
        self._lock = threading.Lock()
        self._next = 0
        self._in_flight: set[int] = set()

    def send(self, call: Call) -> dict:
        """Sends and waits; returns the raw receipt.

        Raises `ContractError` (before anything is sent where possible), `InsufficientFunds`,
        `TransactionFailed`, or `ChainError` when the node stays away.
        """
        gas = self._estimate(call)
        with self._lock:
            pending = self._submit(call, gas)
            self._in_flight.add(pending.nonce)
        try:
            return self._wait(pending)
        finally:
            with self._lock:
                self._in_flight.discard(pending.nonce)

    # --- before -------------------------------------------------------------------------------------------

    def _request(self, call: Call) -> dict:
        request = {"from": self.address, "data": "0x" + call.data.hex(), "value": hex(call.value)}
        return request | ({"to": call.to} if call.to else {})

    def _estimate(self, call: Call) -> int:
        """Gas limit: a quarter above the estimate, and 60,000 for the one who happens to end a phase."""
        try:
            gas = self._rpc.integer("eth_estimateGas", self._request(call), "pending")
        except RpcError as error:
            raise self._explain(error, call) from error
        return gas * 5 // 4 + 60_000

    def _explain(self, error: RpcError, call: Call, cost: int = 0) -> PiError:
        if error.data is not None and len(error.data) >= 10:
            return decode_revert(bytes.fromhex(error.data[2:]))
        if "insufficient funds" in error.reason.lower():
            balance = self._rpc.integer("eth_getBalance", self.address, "latest")
            needed = f", needs {(cost + call.value) / 1e18:.6f}" if cost + call.value else ""
            return InsufficientFunds(
                f"{self.address} has {balance / 1e18:.6f} ETH for gas{needed}", "send ETH to this address"
            )
        return TransactionFailed(error.reason)

    def _fees(self) -> _Fees:
        history = self._rpc.call("eth_feeHistory", "0x1", "latest", [50])
        base = int(history["baseFeePerGas"][-1], 16)
        rewards = history.get("reward") or [["0x0"]]
        tip = max(int(rewards[0][0], 16), 1_000_000)
        return _Fees(2 * base + tip, tip)

    def _next_nonce(self) -> int:
        """The chain's count, or ours when transactions are under way. A lower count than ours with nothing
        under way is a node that lags behind, or one that was restarted from an older state: after a moment
        it is believed."""
        for _ in range(5):
            count = self._rpc.integer("eth_getTransactionCount", self.address, "pending")
            if count >= self._next or self._in_flight:
                return max(count, self._next)
            time.sleep(self._poll)
        return count

    # --- sending ------------------------------------------------------------------------------------------

    def _submit(self, call: Call, gas: int) -> _Pending:
        fees = self._fees()
        for _ in range(_TRIES):
            pending = _Pending(call, self._next_nonce(), gas, fees, [], [])
            try:
                self._sign_and_offer(pending)
            except _NonceTaken:
                self._next = 0
            except _Underpriced:
                fees = fees.raised(self._fees())
            else:
                self._next = pending.nonce + 1
                return pending
        raise TransactionFailed(
            f"no nonce of {self.address} was accepted", "does another program send from this key?"
        )

    def _sign_and_offer(self, pending: _Pending) -> None:
        fields: Any = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": pending.nonce,
            "gas": pending.gas,
            "maxFeePerGas": pending.fees.limit,
            "maxPriorityFeePerGas": pending.fees.tip,
            "to": bytes.fromhex(pending.call.to[2:]) if pending.call.to else b"",
            "value": pending.call.value,
            "data": pending.call.data,
        }
        signed = self.account.sign_transaction(fields)
        raw, tx_hash = "0x" + signed.raw_transaction.hex(), "0x" + signed.hash.hex()
        self._offer(raw, tx_hash, pending)
        pending.raw.append(raw)
        pending.hashes.append(tx_hash)

    def _offer(self, raw: str, tx_hash: str, pending: _Pending) -> None:
        """Hands signed bytes to the node. Having been handed over before is no error."""
        try:
            self._rpc.call("eth_sendRawTransaction", raw)
        except RpcError as error:
            reason = error.reason.lower()
            if "already known" in reason or "already imported" in reason:
                return
            if "nonce too low" in reason:
                if self._rpc.call("eth_getTransactionByHash", tx_hash) is None:
                    raise _NonceTaken from error
            elif "underpriced" in reason or "less than block base fee" in reason or "fee cap" in reason:
                raise _Underpriced from error
            else:
                raise self._explain(error, pending.call, pending.gas * pending.fees.limit) from error

    # --- waiting ------------------------------------------------------------------------------------------

    def _wait(self, pending: _Pending) -> dict:
        bumps = 0
        reconnects = self._rpc.reconnects
        started = bumped = checked = time.monotonic()
        while True:
            if receipt := self._receipt(pending):
                return self._succeeded(pending, receipt)
            time.sleep(self._poll)
            now = time.monotonic()
            if now - bumped > self._stuck_after:
                if bumps == self._max_bumps:
                    raise TransactionFailed(
                        f"transaction {pending.hashes[-1]} was not mined within {now - started:.0f} s",
                        "it may still be: look at it in an explorer before you send again",
                    )
                bumps += 1
                self._bump(pending)
                bumped = time.monotonic()
            elif now - checked > 2.0 or self._rpc.reconnects != reconnects:
                reconnects = self._rpc.reconnects
                self._offer_again(pending)
                checked = time.monotonic()

    def _receipt(self, pending: _Pending) -> dict | None:
        for tx_hash in reversed(pending.hashes):
            if receipt := self._rpc.call("eth_getTransactionReceipt", tx_hash):
                return receipt
        return None

    def _bump(self, pending: _Pending) -> None:
        pending.fees = pending.fees.raised(self._fees())
        self._fill_gap(pending.nonce)
        try:
            self._sign_and_offer(pending)
        except _Underpriced:
            return  # the next bump starts from these fees
        except _NonceTaken:
            self._check_not_replaced(pending)

    def _offer_again(self, pending: _Pending) -> None:
        """Brings the transaction back to a node that has forgotten it."""
        if self._rpc.call("eth_getTransactionByHash", pending.hashes[-1]) is not None:
            return
        self._fill_gap(pending.nonce)
        try:
            self._offer(pending.raw[-1], pending.hashes[-1], pending)
        except _Underpriced:
            return  # the next bump raises the fees
        except _NonceTaken:
            self._check_not_replaced(pending)

    def _check_not_replaced(self, pending: _Pending) -> None:
        """The nonce was used: by one of ours whose receipt is on its way, or by a stranger."""
        for _ in range(20):
            if self._receipt(pending):
                return
            time.sleep(self._poll)
        raise TransactionFailed(
            f"nonce {pending.nonce} of {self.address} was used by another transaction",
            "only one program at a time may send from a key",
        )

    def _fill_gap(self, nonce: int) -> None:
        """Empty transfers in the place of transactions that the node has lost and nobody waits for any
        more."""
        # not "pending": anvil counts on from what waits in its pool, with a gap before it or not
        count = self._rpc.integer("eth_getTransactionCount", self.address, "latest")
        with self._lock:
            missing = [n for n in range(count, nonce) if n not in self._in_flight]
            for n in missing:
                try:
                    self._sign_and_offer(_Pending(Call(self.address), n, 21_000, self._fees(), [], []))
                except (_NonceTaken, _Underpriced):
                    continue

    def _succeeded(self, pending: _Pending, receipt: dict) -> dict:
        if int(receipt["status"], 16) == 1:
            return receipt
        raise self._revert_reason(pending, receipt)

    def _revert_reason(self, pending: _Pending, receipt: dict) -> PiError:
        """Replays a reverted transaction, on the state after its block and then on the one before it."""
        block = int(receipt["blockNumber"], 16)
        for at in (block, block - 1):
            try:
                self._rpc.call("eth_call", self._request(pending.call), hex(at))
            except RpcError as error:
                if error.data is not None and len(error.data) >= 10:
                    return decode_revert(bytes.fromhex(error.data[2:]))
        tx, out_of_gas = receipt["transactionHash"], int(receipt["gasUsed"], 16) >= pending.gas
        return TransactionFailed(f"transaction {tx} {'ran out of gas' if out_of_gas else 'was reverted'}")
