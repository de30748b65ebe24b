"""Keys. Operators use version-3 keystores under Foundry's directory and names, so `cast wallet import NAME`
makes one; node keys live in an agent's home and sign work only. Raw keys are accepted on the local
development chain alone.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from .errors import ConfigError, UsageError
from .networks import LOCAL_CHAIN_ID


def load_account(
    name: str | None = None,
    private_key: str | bytes | None = None,
    keystore_dir: Path | None = None,
    password: str | None = None,
    *,
    chain_id: int,
) -> LocalAccount:
    """The account of a keystore (`name`) or of a raw key (chain id 31337 only).

    The directory is `keystore_dir`, else `ETH_KEYSTORE`, else `~/.foundry/keystores`. The password is
    `password`, else the first line of the file that `ETH_PASSWORD` names, else it is asked for. Raises
    `ConfigError`.
    """
    if private_key:
        return _from_key(private_key, chain_id)
    if not name:
        raise ConfigError("no account", "pass --account NAME, a keystore as made by: cast wallet import NAME")
    path = _keystore(name, keystore_dir)
    try:
        key = Account.decrypt(json.loads(path.read_text()), _password(name, password))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"cannot open keystore {path}", "wrong password, or no version-3 keystore"
        ) from error
    return Account.from_key(key)


def keystore_names(keystore_dir: Path | None = None) -> list[str]:
    """The accounts that `load_account` can open."""
    folder = _keystore_dir(keystore_dir)
    return sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []


def node_key(home: Path) -> LocalAccount:
    """The node key of an agent's home directory; made on first use, readable by its owner alone."""
    path = home / "node.key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        _write_new(path, Account.create().key.hex().encode() + b"\n")
    try:
        return Account.from_key(path.read_text().strip())
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} holds no key", "move it away, and a new node key is made") from error


def _write_new(path: Path, data: bytes) -> None:
    """Creates a file that is either complete or absent, whenever the program is killed; mode 0600."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(temporary, path)  # unlike a rename it never replaces the key of a twin that was faster
        except FileExistsError:
            return
    finally:
        temporary.unlink()


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keeps a second process with the same home out: two processes must not send from one node key. The lock
    goes with the process, however it ends. `UsageError`."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{home} is in use by a running program", "stop it, or give another --home"
            ) from None
        yield


def _from_key(private_key: str | bytes, chain_id: int) -> LocalAccount:
    if chain_id != LOCAL_CHAIN_ID:
        raise UsageError(
            f"a raw private key is refused on chain {chain_id}",
            "import it: cast wallet import NAME; --account NAME",
        )
    try:
        return Account.from_key(private_key)
    except Exception as error:  # eth_keys raises several kinds; none of them may print the key
        raise UsageError("this is no private key", "32 bytes in hex") from error


def _keystore_dir(keystore_dir: Path | None) -> Path:
    return keystore_dir or Path(os.environ.get("ETH_KEYSTORE") or Path.home() / ".foundry" / "keystores")


def _keystore(name: str, keystore_dir: Path | None) -> Path:
    folder = _keystore_dir(keystore_dir)
    names = keystore_names(keystore_dir)
    if name not in names:  # this also keeps path separators out
        known = f"there are: {', '.join(names)}" if names else "make one: cast wallet import NAME"
        raise ConfigError(f"no keystore {name!r} in {folder}", known)
    return folder / name


def _password(name: str, password: str | None) -> str:
    if password is not None:
        return password
    if file := os.environ.get("ETH_PASSWORD"):
        try:
            lines = Path(file).read_text().splitlines()
        except OSError as error:
            raise ConfigError(f"cannot read ETH_PASSWORD file {file}", "it is the path of a file") from error
        return lines[0] if lines else ""
    if not sys.stdin.isatty():
        raise ConfigError(f"no password for keystore {name!r}", "set ETH_PASSWORD to a file that holds it")
    from getpass import getpass

    return getpass(f"Password of keystore {name}: ")
