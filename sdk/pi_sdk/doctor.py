"""`pi doctor`: one line per thing that a run needs, each with what to do when it is missing."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import click

from .errors import PiError
from .networks import LOCAL_CHAIN_ID
from .options import account_options, chosen_account, json_option, network_options, verbose_option
from .tools import anvil_path, forge_path, solc_path

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from .client import Client

_CLOCK_SECONDS = 60  # stores refuse uploads that are signed with a clock further off
_GAS_WEI = 10**15  # some dozens of transactions on a public chain


@dataclass(frozen=True)
class Check:
    """`note` is for what is missing but not needed now."""

    name: str
    result: Literal["ok", "FAIL", "note"]
    detail: str


@click.command()
@network_options
@account_options
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8700, show_default=True, help="Port of an orchestrator."
)
@json_option
@verbose_option
def doctor(
    network: str, rpc_url: str | None, account: str | None, private_key: str | None, port: int, as_json: bool
) -> int:
    """Check tools, node, contracts, account, clock and ports; exit code 1 when something needed is missing.

    With --json: [{"name", "result": "ok" | "FAIL" | "note", "detail"}].
    """
    checks = []
    for check in _checks(network, rpc_url, account, private_key, port):
        checks.append(check)
        if not as_json:
            click.echo(f"{check.result:<5} {check.name:<10} {check.detail}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks]))
    return int(any(check.result == "FAIL" for check in checks))


def _checks(
    network: str, rpc_url: str | None, account: str | None, private_key: str | None, port: int
) -> Iterator[Check]:
    version = sys.version.split()[0]
    yield Check("python", "ok", version)
    yield _node()
    for name, find in (("anvil", anvil_path), ("forge", forge_path), ("solc", solc_path)):
        yield _attempt(name, lambda find=find: str(find()))
    yield _port(port)

    from .client import Client

    signer = None
    if account or private_key:
        try:
            signer = chosen_account(account, private_key, network)
        except PiError as error:
            yield Check("account", "FAIL", str(error))
    try:
        client = Client(network, rpc_url=rpc_url)
    except PiError as error:
        # on a machine of one's own the demo and the devnet start the chain
        needed = network != "local" or rpc_url is not None
        yield Check("chain", "FAIL" if needed else "note", str(error))
        return
    with client:
        yield Check("chain", "ok", f"{network}, id {client.chain_id}, block {client.block_number()}")
        yield _contracts(client)
        yield _clock(client)
        if signer:
            yield _funds(client, signer)


def _attempt(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", find())
    except PiError as error:
        return Check(name, "FAIL", str(error))


def _node() -> Check:
    path = shutil.which("node")
    if path is None:
        return Check("node", "FAIL", "Node.js was not found (install Node 20 or newer with npm)")
    out = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=20, check=False
    ).stdout.strip()
    major = out.removeprefix("v").split(".")[0]
    if not major.isdigit() or int(major) < 20:
        return Check("node", "FAIL", f"{out or path} is too old (install Node 20 or newer)")
    return Check("node", "ok", out)


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Check(
                "port", "note", f"{port} is taken: an orchestrator of yours, or choose another --port"
            )
    return Check("port", "ok", f"{port} is free")


def _contracts(client: "Client") -> Check:
    if client.deployed():
        return Check("contracts", "ok", f"ledger at {client.deployment.ledger}, {client.pool_count()} pools")
    return Check("contracts", "FAIL", f"none on {client.network.name} (pi deploy, or pi devnet up)")


def _clock(client: "Client") -> Check:
    skew = client.now() - time.time()
    detail = f"the chain's latest block is {abs(skew):.0f} s {'ahead' if skew > 0 else 'old'}"
    if abs(skew) <= _CLOCK_SECONDS:
        return Check("clock", "ok", detail)
    hint = "the chain stands still, or this machine's clock is wrong"
    return Check("clock", "FAIL", f"{detail} ({hint})")


def _funds(client: "Client", signer: "LocalAccount") -> Check:
    gas = client.gas_balance(signer.address)
    detail = f"{signer.address} has {gas / 1e18:.4f} ETH"
    if client.deployed():
        detail += f" and {client.token_balance(signer.address) / 1e18:g} tokens"
    if gas >= _GAS_WEI:
        return Check("account", "ok", detail)
    hint = "anvil funds its own accounts" if client.chain_id == LOCAL_CHAIN_ID else "send it ETH for gas"
    return Check("account", "FAIL", f"{detail} ({hint})")
