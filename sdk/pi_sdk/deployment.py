"""How the contracts are deployed: one creation after the other from one account, each with the addresses of
the others, which are predicted from the account's nonce. `contracts/script/Deployer.sol` does the same, so
that the same account at the same nonce gets the same addresses and code by either road.

Also what a block explorer needs to verify them: a standard-JSON compiler input per contract, put together
from the sources and checked against the hashes that stand in the package's artifacts.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eth_utils.crypto import keccak

from .base import checksum
from .chain import CONTRACTS, contract
from .codec import canonical_json, sha256
from .errors import ChainError, NotFound
from .networks import Deployment, DeploymentRecord
from .tx import Call


@dataclass(frozen=True)
class Step:
    """One creation. `arguments` are the constructor's, ABI-encoded."""

    name: str
    address: str
    arguments: bytes

    @property
    def call(self) -> Call:
        return Call(None, contract(self.name).bytecode + self.arguments)


@dataclass(frozen=True)
class Plan:
    """All creations of `deployer` from `nonce` on, in order."""

    deployer: str
    nonce: int
    contracts: Deployment
    steps: tuple[Step, ...]

    @classmethod
    def make(
        cls,
        deployer: str,
        nonce: int,
        *,
        treasury: str | None = None,
        guardian: str | None = None,
        unbonding_time: int,
        block: int = 0,
    ) -> Self:
        """`treasury` receives slashes, `guardian` may pause entry (both default to the deployer);
        `unbonding_time` is in seconds."""
        at = Deployment.from_nonce(deployer, nonce, block)
        treasury = checksum(treasury) if treasury else deployer
        guardian = checksum(guardian) if guardian else deployer
        arguments: dict[str, tuple] = {
            "TestToken": (),
            "NodeRegistry": (),
            "StakeManager": (at.token, at.ledger, at.court, treasury, unbonding_time),
            "Rewards": (at.token, at.ledger, at.court, treasury),
            "Pools": (at.registry, at.stakes, at.ledger, guardian),
            "RoundLedger": (at.stakes, at.rewards, at.pools, at.court, at.proofs),
            "Court": (at.stakes, at.rewards, at.pools, at.ledger),
            "FraudProofs": (at.pools, at.ledger),
        }
        steps = (
            Step(name, getattr(at, field), contract(name).constructor_arguments(arguments[name]))
            for name, field in CONTRACTS.items()
        )
        return cls(deployer, nonce, at, tuple(steps))

    def carry_out(self, send: Callable[[Call], dict]) -> Iterator[tuple[Step, dict]]:
        """Sends one creation after the other with `send`, which returns the raw receipt; yields both.
        `ChainError` when the account was used meanwhile."""
        for step in self.steps:
            receipt = send(step.call)
            if checksum(receipt["contractAddress"]) != step.address:
                raise ChainError(
                    f"{step.name} is not where it was predicted",
                    "send nothing else from this account while it deploys",
                )
            yield step, receipt

    def record(self, chain_id: int) -> DeploymentRecord:
        """What is kept of it, once it is done."""
        return DeploymentRecord(
            chain_id=chain_id,
            deployer=self.deployer,
            nonce=self.nonce,
            contracts=self.contracts,
            constructor_args={step.name: "0x" + step.arguments.hex() for step in self.steps},
            compiler=contract("Court").compiler["version"],
            settings_hash=sha256(canonical_json(contract("Court").compiler["settings"])).hex(),
        )


# --- verification -----------------------------------------------------------------------------------------


def standard_input(name: str, root: Path) -> dict[str, Any]:
    """The compiler input of one contract, whose output is the package's bytecode. `root` is a checkout after
    `npm ci`. `NotFound` where a source is not there, or is not the one that was compiled."""
    compiler = contract(name).compiler
    sources = {}
    for path, digest in compiler["sources"].items():
        file = root / path
        if not file.is_file() or keccak(file.read_bytes()).hex() != digest.removeprefix("0x"):
            raise NotFound(
                f"{path} is not the source that {name} was compiled from",
                "run this in a checkout of the same version, after npm ci",
            )
        sources[path] = {"content": file.read_text()}
    selection = {"*": {"*": ["abi", "metadata", "evm.bytecode.object"]}}
    settings = {**compiler["settings"], "outputSelection": selection}
    return {"language": "Solidity", "sources": sources, "settings": settings}


def checkout() -> Path:
    """The repository that this package runs from, or the current directory."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "contracts" / "src").is_dir() else Path.cwd()


def write_verification(inputs: dict[str, dict[str, Any]], record: DeploymentRecord, folder: Path) -> None:
    """`{Name}.json`, the standard-JSON input, and `{Name}.args`, the constructor's arguments in hex."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in inputs.items():
        (folder / f"{name}.json").write_text(json.dumps(value) + "\n")
        (folder / f"{name}.args").write_text(record.constructor_args[name].removeprefix("0x") + "\n")
