"""Networks by name, where our contracts are on them, and the well-known keys of a local development chain."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from .errors import ConfigError
from .types import Model

LOCAL_CHAIN_ID = 31337
DEV_MNEMONIC = "test test test test test test test test test test test junk"
"""anvil's default mnemonic. Everybody knows these keys: they hold nothing of value anywhere."""
DEV_DEPLOYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""Account 0 of `DEV_MNEMONIC`."""


class Deployment(Model):
    """Checksum addresses of the contracts, in the order of deployment. `block` is where events begin; nothing
    of ours is older."""

    token: str
    registry: str
    stakes: str
    rewards: str
    pools: str
    ledger: str
    court: str
    proofs: str
    block: int = 0

    @classmethod
    def from_nonce(cls, deployer: str, nonce: int, block: int = 0) -> "Deployment":
        """The addresses that CREATEs of `deployer` from `nonce` on give, in the deployment order."""
        names = [name for name in cls.model_fields if name != "block"]
        addresses = {name: create_address(deployer, nonce + i) for i, name in enumerate(names)}
        return cls(**addresses, block=block)


class DeploymentRecord(Model):
    """A deployment file: what `pi deploy` has done on a network, enough to repeat and to verify it."""

    version: Literal[1] = 1
    chain_id: int
    deployer: str
    nonce: int
    """Of the first of its transactions."""
    contracts: Deployment
    constructor_args: dict[str, str]
    """ABI-encoded, 0x hex, by contract name."""
    compiler: str
    """solc's version."""
    settings_hash: str
    """sha256 of the compiler settings as canonical JSON (RFC 8785)."""


class Network(Model):
    name: str
    chain_id: int
    rpc_url: str
    deployment: Deployment | None = None


def create_address(sender: str, nonce: int) -> str:
    """Address of the contract that `sender` creates with `nonce`: the last 20 bytes of keccak(rlp([sender,
    nonce]))."""
    raw = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    item = raw if nonce and nonce < 0x80 else bytes([0x80 + len(raw)]) + raw
    payload = b"\x94" + bytes.fromhex(sender[2:]) + item
    return to_checksum_address(keccak(bytes([0xC0 + len(payload)]) + payload)[12:])


@cache
def local_deployment() -> Deployment:
    """Where the contracts are on a local chain: deployed by anvil's account 0 as its first transactions."""
    return Deployment.from_nonce(DEV_DEPLOYER, 0)


NETWORKS = {
    "local": Network(name="local", chain_id=LOCAL_CHAIN_ID, rpc_url="http://127.0.0.1:8545"),
    "base-sepolia": Network(name="base-sepolia", chain_id=84532, rpc_url="https://sepolia.base.org"),
    "base": Network(name="base", chain_id=8453, rpc_url="https://mainnet.base.org"),
}


def get_network(name: str, rpc_url: str | None = None) -> Network:
    """A network with its deployment (None where there is none yet). `rpc_url` replaces the public endpoint.

    The deployment of a public chain is read from `./deployments/{chain_id}.json`, a `DeploymentRecord` that
    `pi deploy` wrote, else from the package. Raises `ConfigError` for an unknown name or a deployment file
    that does not parse.
    """
    if name not in NETWORKS:
        raise ConfigError(f"unknown network {name!r}", f"one of: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    deployment = local_deployment() if name == "local" else _read_deployment(network.chain_id)
    return network.model_copy(update={"rpc_url": rpc_url or network.rpc_url, "deployment": deployment})


def deployment_file(chain_id: int) -> Path:
    """Where `pi deploy` writes what it did on a public chain."""
    return Path("deployments") / f"{chain_id}.json"


def _read_deployment(chain_id: int) -> Deployment | None:
    packaged = resources.files("pi_sdk") / "deployments" / f"{chain_id}.json"
    for source in (deployment_file(chain_id), packaged):
        if source.is_file():
            try:
                return DeploymentRecord.model_validate_json(source.read_text()).contracts
            except ValueError as error:
                raise ConfigError(f"{source} is no deployment file", "run pi deploy again") from error
    return None


def write_deployment(record: DeploymentRecord) -> Path:
    path = deployment_file(record.chain_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json(indent=2) + "\n")
    return path


@cache
def dev_key(index: int) -> bytes:
    """Private key of anvil's account `index` (10,000 ETH each on a fresh local chain)."""
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return bytes(Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key)


def derived_key(seed: int, role: str, index: int) -> bytes:
    """Private key of a demo participant, the same for the same seed. For local chains only: anybody can
    compute it."""
    return keccak(text=f"pi-protocol/demo/{seed}/{role}/{index}")
