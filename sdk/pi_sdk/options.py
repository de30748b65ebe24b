"""Options that all our programs share, spelled once, and `run`, which turns errors into one line and an
exit code.

    @click.command(context_settings=HELP)
    @network_options
    @account_options
    @verbose_option
    def main(network, rpc_url, account, private_key): ...

    run(main)
"""

import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .errors import PiError, UsageError, report
from .networks import NETWORKS

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

HELP = {"help_option_names": ["-h", "--help"]}
"""`context_settings` of every command."""

_verbose = False


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--network and --rpc-url, as `network` and `rpc_url`."""
    for option in (
        click.option("--rpc-url", envvar="ETH_RPC_URL", help="Node to talk to. [env: ETH_RPC_URL]"),
        click.option("--network", type=click.Choice(list(NETWORKS)), default="local", show_default=True),
    ):
        command = option(command)
    return command


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--account and --private-key, as `account` and `private_key`: for `chosen_account`."""
    for option in (
        click.option(
            "--private-key", envvar="PI_PRIVATE_KEY", help="Raw key, local chain only. [env: PI_PRIVATE_KEY]"
        ),
        click.option(
            "--account",
            envvar="ETH_KEYSTORE_ACCOUNT",
            help="Keystore in ~/.foundry/keystores. [env: ETH_KEYSTORE_ACCOUNT, ETH_PASSWORD]",
        ),
    ):
        command = option(command)
    return command


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--node-account and --node-key, as `node_account` and `node_key`: for `chosen_node`."""
    for option in (
        click.option(
            "--node-key", envvar="PI_NODE_KEY", help="Raw node key, local chain only. [env: PI_NODE_KEY]"
        ),
        click.option("--node-account", help="Keystore of the node key. [default: a key made in --home]"),
    ):
        command = option(command)
    return command


def home_option(program: str) -> Decorator:
    """--home, as a `Path`; default ~/.pi/PROGRAM."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path.home() / ".pi" / program,
        show_default=f"~/.pi/{program}",
        help="Where this program keeps its state.",
    )


mirror_option = click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Further place to download checkpoints and data from, beside the pool's store: another"
    " orchestrator, or a copy of its blobs. May be repeated.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on stdout; never asks anything."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def _set_verbose(_: click.Context, __: click.Parameter, value: bool) -> None:
    global _verbose
    _verbose = _verbose or value
    if value:
        logging.getLogger().setLevel(logging.DEBUG)


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show tracebacks and debug messages.",
)


def chosen_account(account: str | None, private_key: str | None, network: str) -> "LocalAccount":
    """The account of `account_options`. Raises `ConfigError` when neither is given, `UsageError` for both."""
    from .accounts import load_account

    if account and private_key:
        raise UsageError("--account and --private-key exclude each other", "give one of them")
    return load_account(account, private_key, chain_id=NETWORKS[network].chain_id)


def chosen_node(node_account: str | None, node_key: str | None, home: Path, network: str) -> "LocalAccount":
    """The node key of `node_options`; without any, the one in `home`, made on first use."""
    from .accounts import node_key as key_of_home

    if node_account or node_key:
        return chosen_account(node_account, node_key, network)
    return key_of_home(home)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: name -> ("module:attribute", short help)."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute = self._lazy[cmd_name][0].split(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, help_) for name, (_, help_) in self._lazy.items()]
        for name in super().list_commands(ctx):
            command = super().get_command(ctx, name)
            assert command is not None
            rows.append((name, command.get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def run(command: click.Command) -> NoReturn:
    """Runs a click command with `sys.argv` and exits: 0 done, 1 failed or interrupted, 2 wrong usage.

    A `PiError` becomes one line on stderr (with -v the traceback too); anything else is a bug and keeps its
    traceback.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    for noisy in ("httpx", "httpcore", "web3", "urllib3", "apscheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        code = command.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except PiError as error:
        code = report(error, verbose=_verbose)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from complaining when it flushes again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
