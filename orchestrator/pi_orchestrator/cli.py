"""`pi-orchestrator serve`. Everything heavy is imported when it is needed, so `--help` is instant."""

from pathlib import Path

import click
from pi_sdk.options import (
    HELP,
    account_options,
    chosen_account,
    home_option,
    network_options,
    run,
    verbose_option,
)


@click.group(context_settings=HELP, no_args_is_help=True)
def cli() -> None:
    """Moves the rounds of pools on, and serves their files.

    \b
    Example:
      pi-orchestrator serve --account orchestrator --port 8700

    A pool is served when its PoolParams name this account as their orchestrator, from the moment it is
    created. Exit codes: 0 stopped on request, 1 something went wrong, 2 wrong usage.
    """


@cli.command()
@network_options
@account_options
@home_option("orchestrator")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8700, show_default=True, type=click.IntRange(0, 65535), help="Port.")
@click.option(
    "--max-blob",
    default=256 << 20,
    show_default=True,
    type=click.IntRange(1),
    help="Largest upload, in bytes.",
)
@click.option(
    "--quota",
    default=4 << 30,
    show_default=True,
    type=click.IntRange(1),
    help="Bytes that one address may keep here per pool: so many of artifacts, and as many of evidence.",
)
@click.option(
    "--keep",
    default=7 * 24 * 3600,
    show_default=True,
    type=click.IntRange(0),
    help="Seconds that a pool's artifacts stay after its last round is final. "
    "Evidence goes a minute after its round is final and no case about it is open.",
)
@click.option(
    "--s3",
    metavar="URL",
    help="Bucket that artifacts are also copied to, as https://endpoint/bucket/prefix, readable by everybody."
    " It is announced, and workers upload their updates there too, by URLs that this program signs."
    " [env: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION]",
)
@click.option("--cheat", type=click.Choice(["wrong-close"]), hidden=True)
@verbose_option
def serve(
    network: str,
    rpc_url: str | None,
    account: str | None,
    private_key: str | None,
    home: Path,
    host: str,
    port: int,
    max_blob: int,
    quota: int,
    keep: int,
    s3: str | None,
    cheat: str | None,
) -> None:
    """Run the round scheduler and the store, on one port, until Ctrl-C.

    The account stakes the close bond of each pool that it moves, so it needs that many tokens beside its gas
    money. The bond comes back when the pool has ended and no close can be wrong any more.
    """
    # For research on the votes there is also --cheat wrong-close: see cheats.py.
    key = chosen_account(account, private_key, network)

    from pi_sdk import Client, S3Store

    from .api import Limits
    from .cheats import wrong_close
    from .serve import serve

    with Client(network, key, rpc_url=rpc_url) as client:
        bucket = S3Store(s3) if s3 else None
        serve(client, home, host, port, Limits(max_blob, quota, keep), wrong_close if cheat else None, bucket)


def main() -> None:
    run(cli)
