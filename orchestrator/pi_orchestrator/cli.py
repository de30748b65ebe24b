"""`pi-orchestrator serve`. Everything heavy is imported when it is needed, so `--help` is instant."""

import logging
import sys
from pathlib import Path

import click
from pi_sdk.options import home_option, network_options, run, verbose_option

DEFAULT_MAX_BLOB = 256 << 20
DEFAULT_QUOTA = 4 << 30
DEFAULT_KEEP = 7 * 24 * 3600


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def cli() -> None:
    """Moves the rounds of pools on, and serves their files.

    \b
    Example:
      pi-orchestrator serve --account orchestrator --port 8700

    A pool is served when its PoolParams name this account as their orchestrator, from the moment it is
    created. Exit codes: 0 stopped on request, 1 something went wrong, 2 a flag or value that cannot be
    right.
    """


@cli.command()
@network_options
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
@verbose_option
def serve(**options: object) -> None:
    """Run the round scheduler and the store, on one port, until Ctrl-C."""


def main() -> None:
    run(cli)
