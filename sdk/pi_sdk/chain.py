"""Our contracts' ABIs as Python: calls are encoded, results and events decoded to snake-case dicts, and
custom errors become `ContractError`s that say what to do. No I/O besides reading the package's JSON files.
"""

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.codec import ABICodec
from eth_abi.decoding import StringDecoder
from eth_abi.exceptions import DecodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from .errors import ChainError, ContractError, InsufficientFunds, NotFound, PiError
from .networks import Deployment
from .types import CaseStatus, Outcome, Phase, RecordStatus

CONTRACTS = {
    "TestToken": "token",
    "NodeRegistry": "registry",
    "StakeManager": "stakes",
    "Rewards": "rewards",
    "Pools": "pools",
    "RoundLedger": "ledger",
    "Court": "court",
    "FraudProofs": "proofs",
}
"""Contract name -> its field in `Deployment`, in the order of deployment."""

_ENUMS: dict[str, type[IntEnum]] = {
    "enum IRoundLedger.Phase": Phase,
    "enum IRoundLedger.RecordStatus": RecordStatus,
    "enum ICourt.Outcome": Outcome,
    "enum ICourt.CaseStatus": CaseStatus,
}

_HINTS = {
    "InsufficientFreeStake": "the operator must stake more: Client.stake",
    "StillUnbonding": "wait until the unbonding time is over",
    "CaseOpen": "a case against this operator must be resolved first",
    "NothingUnbonding": "request_unbond comes before withdraw",
    "BudgetTooSmall": "fund the pool: Client.fund_pool",
    "NothingToClaim": "pay is credited once a round is final; settle credits it earlier than the next reveal",
    "PoolNotEnded": "end the pool first: Client.end_pool",
    "OnlyPoolCreator": "only the account that created the pool may do this",
    "OnlyOperator": "send this from the operator that registered the node",
    "AlreadyRegistered": "a node key belongs to one operator for ever; use a new node key",
    "SignatureExpired": "the node's signature is too old; register again, and check the clock",
    "NotMember": "join the pool first: pi-worker join",
    "AlreadyMember": "this node is in the pool already",
    "PoolFull": "all slots of the pool are taken; wait for a place or pick another pool",
    "BadWidth": "width must be between 1 and the pool's max_width",
    "PoolHasEnded": "the run is over",
    "EntryPaused": "the guardian has paused entry; rounds, pay and withdrawals go on",
    "OnlyGuardian": "only the contracts' guardian may do this",
    "BadInvite": "ask the pool's creator for an invite that is for this chain, pool and operator",
    "InviteExpired": "ask the pool's creator for a new invite",
    "InviteUsed": "an invite works once: ask the pool's creator for another",
    "AlreadyRevoked": "this node key was given up; use a new node key",
    "BadParams": "contracts/src/libraries/ParamsLib.sol says what a pool may choose",
    "BondMissing": "lock the pool's close bond first: Client.post_bond",
    "NotPunishable": "this close was not overruled, or its bond was taken already",
    "TooLate": "the time to disprove this close is over",
    "NothingWrong": "everything fits, and what was accused is right",
    "BadProof": "the proof does not fit what the chain knows",
    "NotAbsent": "this seat did what it had to, or was punished already",
    "NotOverturned": "the final outcome does not contradict this vote, or it was punished already",
    "NoAppeal": "only the side that lost may appeal, and only where a larger jury is left",
    "ConfirmOnly": "the confirm-only round takes no update",
    "NodeConvicted": "this node was convicted in this pool; another pool takes it",
    "WrongPhase": "the round is in another phase",
    "TooEarly": "only the orchestrator may do this before that time",
    "TooFewSlots": "more workers must join before a round can open",
    "TooFewSeats": "more validators must take a seat before a round can open",
    "RoundNotFinal": "verdicts about an old round are still pending",
    "NotExpected": "the node joined after this round opened; it is expected from the next one",
    "AlreadyCommitted": "this node has committed in this round",
    "AlreadyRevealed": "this node has revealed this commitment",
    "CommitmentMismatch": "what is revealed is not what was committed",
    "BrokenStateChain": "state_in must be the state_out of the last on-time reveal, or zero",
    "SeedNotReady": "wait for the pinned block, then try again",
    "SeedMissing": "the round's audit seed is not captured yet: Client.capture_seed",
    "StillLocked": "rounds that may still name this node are not final yet",
    "StillNeeded": "rounds that may still draw this seat are not final yet",
    "OnlySeat": "take a seat first: pi-validator run",
    "AlreadySeated": "this node has a seat in the pool",
}

_NOT_FOUND = {"UnknownPool": "pool", "UnknownRound": "round", "UnknownCase": "case", "UnknownSeat": "seat"}


class _LenientString(StringDecoder):
    """Anybody may put bytes that are no UTF-8 into an event's string: they must not break the reader."""

    @staticmethod
    def decoder_fn(data: bytes, handle_string_errors: str = "strict") -> str:
        return data.decode("utf-8", errors="replace")


def _codec() -> ABICodec:
    registry = default_registry.copy()
    registry.unregister_decoder("string")
    registry.register_decoder(BaseEquals("string"), _LenientString, label="string")
    return ABICodec(registry)


CODEC = _codec()


def snake(name: str) -> str:
    """inARow -> in_a_row, storeURI -> store_uri."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name.lstrip("_"))
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _type(component: dict) -> str:
    kind = component["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type(c) for c in component["components"]) + ")" + kind[len("tuple") :]


def _shape(component: dict, value: Any) -> Any:
    """A decoded ABI value as Python wants it: structs as dicts, checksum addresses, enums."""
    kind = component["type"]
    if kind.endswith("]"):
        inner = {**component, "type": kind[: kind.rindex("[")]}
        return [_shape(inner, item) for item in value]
    if kind == "tuple":
        return {
            snake(c["name"]): _shape(c, item) for c, item in zip(component["components"], value, strict=True)
        }
    if kind == "address":
        return to_checksum_address(value)
    enum = _ENUMS.get(component.get("internalType", ""))
    return enum(value) if enum else value


class _Signature:
    """Name and canonical types of one ABI entry."""

    def __init__(self, entry: dict):
        self.name: str = entry["name"]
        self.inputs: list[dict] = entry.get("inputs", [])
        self.types = [_type(c) for c in self.inputs]
        self.hash = keccak(text=f"{self.name}({','.join(self.types)})")


class Function(_Signature):
    """One function: `encode(args)` gives calldata, `decode(data)` the single result or a tuple of results."""

    def __init__(self, entry: dict):
        super().__init__(entry)
        self.outputs: list[dict] = entry["outputs"]
        self._output_types = [_type(c) for c in self.outputs]

    def encode(self, args: tuple) -> bytes:
        return self.hash[:4] + CODEC.encode(self.types, args)

    def decode(self, data: bytes) -> Any:
        values = CODEC.decode(self._output_types, data)
        shaped = [_shape(c, value) for c, value in zip(self.outputs, values, strict=True)]
        return shaped[0] if len(shaped) == 1 else tuple(shaped)


class EventType(_Signature):
    """One event: `decode(topics, data)` gives its arguments by snake-case name."""

    def __init__(self, entry: dict):
        super().__init__(entry)
        self._indexed = [c for c in self.inputs if c["indexed"]]
        self._plain = [c for c in self.inputs if not c["indexed"]]
        self._plain_types = [_type(c) for c in self._plain]

    def decode(self, topics: list[bytes], data: bytes) -> dict[str, Any]:
        values = {
            c["name"]: _shape(c, CODEC.decode([_type(c)], topic)[0])
            for c, topic in zip(self._indexed, topics[1:], strict=True)
        }
        plain = CODEC.decode(self._plain_types, data)
        values |= {c["name"]: _shape(c, value) for c, value in zip(self._plain, plain, strict=True)}
        return {snake(c["name"]): values[c["name"]] for c in self.inputs}


@dataclass(frozen=True)
class Contract:
    """The ABI of one contract, its creation code, and what it was compiled from: `compiler` is {"version",
    "settings", "sources": {path: keccak256}}."""

    name: str
    abi: list[dict]
    bytecode: bytes
    compiler: dict[str, Any]
    functions: dict[str, Function]
    events: dict[bytes, EventType]

    def constructor_arguments(self, args: tuple) -> bytes:
        """What follows the creation code in the transaction that deploys it."""
        inputs = next((e["inputs"] for e in self.abi if e["type"] == "constructor"), [])
        return CODEC.encode([_type(c) for c in inputs], args)


@cache
def contract(name: str) -> Contract:
    """Loads `contracts/{name}.json` of the package."""
    source = resources.files("pi_sdk") / "contracts" / f"{name}.json"
    artifact = json.loads(source.read_text())
    abi = artifact["abi"]
    functions = {e["name"]: Function(e) for e in abi if e["type"] == "function"}
    events = {event.hash: event for event in (EventType(e) for e in abi if e["type"] == "event")}
    bytecode = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
    return Contract(name, abi, bytecode, artifact["compiler"], functions, events)


@cache
def _errors() -> dict[bytes, _Signature]:
    """Selector -> custom error, over all contracts (they call each other)."""
    entries = [e for name in CONTRACTS for e in contract(name).abi if e["type"] == "error"]
    return {error.hash[:4]: error for error in map(_Signature, entries)}


@cache
def event_topics(names: frozenset[str]) -> list[str]:
    """Topic hashes (0x hex) of the events with these names, of any of our contracts. ValueError for an
    unknown name."""
    known: dict[str, set[bytes]] = {}
    for contract_name in CONTRACTS:
        for topic, event in contract(contract_name).events.items():
            known.setdefault(event.name, set()).add(topic)
    if missing := names - known.keys():
        raise ValueError(f"no such event: {', '.join(sorted(missing))}")
    return sorted("0x" + topic.hex() for name in names for topic in known[name])


def decode_revert(data: bytes) -> PiError:
    """The error that revert data stands for: a `ContractError`, or the `PiError` that says the same more
    plainly."""
    selector, body = data[:4], data[4:]
    try:
        if selector == bytes.fromhex("08c379a0"):
            return ContractError("Error", CODEC.decode(["string"], body))
        if selector == bytes.fromhex("4e487b71"):
            return ContractError(
                "Panic", CODEC.decode(["uint256"], body), "an assertion of the contract failed"
            )
        error = _errors().get(selector)
        if error is None:
            return ContractError("UnknownError", (data,), "do the contracts fit this version of pi_sdk?")
        values = CODEC.decode(error.types, body)
    except (DecodingError, OverflowError, ValueError):  # the library's, for absurd offsets and strings
        return ContractError("UnknownError", (data,))
    args = tuple(_shape(c, value) for c, value in zip(error.inputs, values, strict=True))
    if error.name in _NOT_FOUND:
        return NotFound(f"no {_NOT_FOUND[error.name]} {args[0]}", "is it the right network?")
    if error.name == "ERC20InsufficientBalance":
        account, balance, needed = args
        return InsufficientFunds(
            f"{account} holds {balance} token wei, needs {needed}", "Client.mint on test chains"
        )
    return ContractError(error.name, args, _HINTS.get(error.name, ""))


def decode_log(deployment: Deployment, log: dict) -> tuple[str, str, dict[str, Any]] | None:
    """(contract, event name, arguments) of a raw log, or None when it is not one of our events."""
    address = log["address"].lower()
    for name, field in CONTRACTS.items():
        if getattr(deployment, field).lower() == address:
            topics = [bytes.fromhex(t[2:]) for t in log["topics"]]
            event = contract(name).events.get(topics[0]) if topics else None
            if event is None:
                return None
            return name, event.name, event.decode(topics, bytes.fromhex(log["data"][2:]))
    return None


def no_contract(name: str, address: str) -> ChainError:
    return ChainError(
        f"no {name} at {address}", "are the contracts deployed on this chain? pi deploy, pi devnet up"
    )
