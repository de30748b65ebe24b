"""`pi devnet up | down`: a local chain with our contracts and an orchestrator, for a person with several
terminals.

The chain keeps its state in the devnet's home, so `up` after `down` (or after a crash) goes on where it was.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from .errors import PiError, ToolMissing
from .processes import Process, Processes, accepts, require_free
from .types import TOKEN

UNBONDING_SECONDS = 1200
"""Longer than all windows of a round and its cases together."""
_ORCHESTRATOR = 1
_CREATOR = 2
_USERS = range(1, 10)
"""Dev accounts that get test tokens; 0 deploys, 1 is the orchestrator's, which stakes them behind its
closes."""
_COPY_SECONDS = 10


def program(name: str) -> Path:
    """A console script of this installation. Raises `ToolMissing`."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise ToolMissing(f"{name} is not installed", "pip install 'pi-protocol[worker,orchestrator]'")
    return path


def start_anvil(processes: Processes, anvil: Path, port: int, state: Path) -> Process:
    """Starts a chain of id 31337 with a block every 0.25 s, whose state survives `kill -9` in `state`; waits
    for it."""
    process = processes.start(
        "anvil",
        [anvil, "--host", "127.0.0.1", "--port", str(port), "--block-time", "0.25", "--state", state,
         "--state-interval", "1", "--prune-history", "64", "--quiet"],
    )  # fmt: skip
    processes.wait_ready(process, lambda: accepts(port))
    return process


def copy_state(state: Path) -> None:
    """Keeps a copy of the chain's state. anvil writes it in place, every second: killed in the middle of that
    it leaves half of it."""
    if state.exists() and _is_json(data := state.read_bytes()):
        temporary = state.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(state.with_suffix(".copy"))


def mend_state(state: Path) -> None:
    """Puts the copy in the place of a state that is not whole. `PiError` where there is none."""
    if not state.exists() or _is_json(state.read_bytes()):
        return
    copy = state.with_suffix(".copy")
    if not copy.exists():
        raise PiError(f"{state} is damaged", f"remove {state.parent} to start a new chain")
    copy.replace(state)
    click.echo("the chain's state was damaged; going back to a copy of some seconds before", err=True)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
        return True
    except ValueError:
        return False


def start_orchestrator(processes: Processes, *, rpc_url: str, port: int, key: bytes, home: Path) -> Process:
    """Starts `pi-orchestrator serve` with an operator's key; does not wait."""
    return processes.start(
        "orchestrator",
        [program("pi-orchestrator"), "serve", "--rpc-url", rpc_url, "--port", str(port),
         "--home", home],
        env={"PI_PRIVATE_KEY": "0x" + key.hex()},
    )  # fmt: skip


def deploy(rpc_url: str) -> None:
    """Deploys the contracts with dev account 0 where they are not yet."""
    from .accounts import load_account
    from .client import Client
    from .networks import LOCAL_CHAIN_ID, dev_key

    account = load_account(private_key=dev_key(0), chain_id=LOCAL_CHAIN_ID)
    with Client("local", account, rpc_url=rpc_url) as client:
        if not client.deployed():
            client.deploy(unbonding_time=UNBONDING_SECONDS)


def _mint(rpc_url: str) -> None:
    from eth_account import Account

    from .client import Client
    from .networks import dev_key

    with Client("local", Account.from_key(dev_key(0)), rpc_url=rpc_url) as client:
        for i in _USERS:
            address = Account.from_key(dev_key(i)).address
            if not client.token_balance(address):
                client.mint(address, 100_000 * TOKEN)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the program the way Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_home = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path.home() / ".pi" / "devnet",
    show_default="~/.pi/devnet",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def devnet() -> None:
    """A local chain with the contracts and an orchestrator.

    \b
    pi devnet up             in one terminal, until Ctrl-C
    pi devnet up --detach    in the background; pi devnet down stops it
    """


@devnet.command()
@_home
@click.option("--rpc-port", default=8545, show_default=True, help="Port of the chain.")
@click.option("--port", default=8700, show_default=True, help="Port of the orchestrator.")
@click.option("--detach", is_flag=True, help="Run in the background.")
def up(home: Path, rpc_port: int, port: int, detach: bool) -> None:
    """Start the chain, deploy the contracts, start the orchestrator."""
    from .tools import anvil_path

    anvil = anvil_path()
    program("pi-orchestrator")
    if running := _running(home):
        raise PiError(f"a devnet runs from {home} already (pid {running})", "pi devnet down stops it")
    require_free(rpc_port, "--rpc-port")
    require_free(port, "--port")
    home.mkdir(parents=True, exist_ok=True)
    if detach:
        _detach(home, rpc_port, port)
    else:
        _serve(home, anvil, rpc_port, port)


@devnet.command()
@_home
def down(home: Path) -> None:
    """Stop the devnet of a home, wherever it was started."""
    pid = _running(home)
    if pid is None:
        raise PiError(f"no devnet runs from {home}", "pi devnet up starts one")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while _is_devnet(pid):
        if time.monotonic() > deadline:
            raise PiError(
                f"the devnet (pid {pid}) does not stop", f"kill -9 {pid} ends it with all its processes"
            )
        time.sleep(0.05)
    click.echo("devnet stopped", err=True)


def _serve(home: Path, anvil: Path, rpc_port: int, port: int) -> None:
    from .networks import dev_key

    rpc_url, store_url = f"http://127.0.0.1:{rpc_port}", f"http://127.0.0.1:{port}"
    pid_file, chain = home / "devnet.json", home / "chain.json"
    pid_file.write_text(json.dumps({"pid": os.getpid(), "ready": False}))
    try:
        with interruptible(), Processes(home / "logs") as processes:
            mend_state(chain)
            start_anvil(processes, anvil, rpc_port, chain)
            deploy(rpc_url)
            orchestrator = start_orchestrator(
                processes, rpc_url=rpc_url, port=port, key=dev_key(_ORCHESTRATOR), home=home / "orchestrator"
            )
            _mint(rpc_url)
            processes.wait_ready(orchestrator, lambda: accepts(port))
            pid_file.write_text(json.dumps({"pid": os.getpid(), "ready": True}))
            click.echo(_welcome(rpc_url, store_url, home))
            sys.stdout.flush()
            copied = time.monotonic()
            while all(p.running() for p in processes.all):
                time.sleep(0.5)
                if time.monotonic() > copied + _COPY_SECONDS:
                    copy_state(chain)
                    copied = time.monotonic()
            raise next(p for p in processes.all if not p.running()).died()
    except KeyboardInterrupt:
        click.echo("devnet stopped; its chain goes on with the next: pi devnet up", err=True)
    finally:
        pid_file.unlink(missing_ok=True)


def _welcome(rpc_url: str, store_url: str, home: Path) -> str:
    from eth_account import Account

    from .networks import dev_key

    def key(i: int) -> str:
        return "0x" + dev_key(i).hex()

    orchestrator = Account.from_key(dev_key(_ORCHESTRATOR)).address
    return f"""chain          {rpc_url}  (id 31337, a block every 0.25 s)
orchestrator   {store_url}  ({orchestrator})
logs           {home / "logs"}

From other terminals, with export ETH_RPC_URL={rpc_url} (keys of anvil's accounts 2 to 9; they hold ether and
tokens):

  create a pool   python examples/create_pool.py --orchestrator {orchestrator} --store {store_url} \\
                    --private-key {key(_CREATOR)}
  work            pi-worker join --pool 1 --home /tmp/worker-1 --private-key {key(3)}
  validate        pi-validator run --pool 1 --home /tmp/validator-1 --private-key {key(4)}
  look            pi run status 1

Ctrl-C stops the devnet."""


def _detach(home: Path, rpc_port: int, port: int) -> None:
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    argv: Sequence[str | Path] = [
        program("pi"), "devnet", "up", "--home", home, "--rpc-port", str(rpc_port), "--port", str(port)
    ]  # fmt: skip
    log = logs / "devnet.log"
    with open(log, "wb") as out:
        popen = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    process = Process("devnet", log, popen)
    while _state(home) != {"pid": popen.pid, "ready": True}:
        if not process.running():
            raise process.died()
        time.sleep(0.1)
    click.echo(log.read_text().replace("Ctrl-C stops the devnet.", "pi devnet down stops the devnet."))


def _state(home: Path) -> dict:
    try:
        return json.loads((home / "devnet.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _running(home: Path) -> int | None:
    """The process id of the devnet of a home; a file that a crash left behind does not count."""
    pid = _state(home).get("pid")
    return pid if pid and _is_devnet(pid) else None


def _is_devnet(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # the number may have gone to another program since
        words = Path(f"/proc/{pid}/cmdline")
        return not Path("/proc").is_dir() or {b"devnet", b"up"} <= set(words.read_bytes().split(b"\0"))
    except OSError:
        return False
