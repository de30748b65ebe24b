"""Puts the parts of the process together: HTTP server in the main thread, scheduler in its own, one home
directory.
"""

import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from pi_sdk import Client, PiError
from pi_sdk.accounts import only_one
from pi_sdk.eventlog import EventLog
from pi_sdk.store import S3Store
from starlette.applications import Starlette

from .aggregate import Falsify
from .api import Limits, create_app
from .blobs import BlobStore
from .db import Database
from .jobs import Jobs
from .mirror import Mirror
from .service import Service

log = logging.getLogger("pi_orchestrator")

_CONNECTIONS = 512


def serve(
    client: Client,
    home: Path,
    host: str,
    port: int,
    limits: Limits,
    falsify: Falsify | None = None,
    bucket: S3Store | None = None,
) -> None:
    """Runs until SIGINT or SIGTERM. `PiError` when the port is taken, the home in use or the contracts
    absent. `falsify`: see `cheats.py`. `bucket`: where artifacts are copied to.
    """
    assert client.address is not None
    if not client.deployed():
        raise PiError(f"no contracts on chain {client.chain_id}", "deploy them with: pi deploy")
    with only_one(home), _listen(host, port) as listener, EventLog(home) as events:
        db = Database(home / "orchestrator.db")
        blobs = BlobStore(home / "blobs", db)
        mirror = Mirror(blobs, bucket) if bucket else None
        service = Service(client, db, blobs, events, limits.keep, falsify, mirror)
        jobs = Jobs(service, client.poll)
        app = create_app(service, blobs, client.chain_id, client.address, limits, bucket)
        jobs.start()
        if mirror:
            mirror.start()
        log.info("serving %s on http://%s:%d", client.address, *listener.getsockname()[:2])
        try:
            _run_server(app, listener)
        finally:
            client.close()  # a job that waits for a lost node gives up
            jobs.stop()
            if mirror:
                mirror.stop()
            db.close()
            log.info("stopped")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PiError(f"cannot listen on {host}: {error.strerror}", "choose another --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PiError(f"cannot listen on {host}:{port}: {error.strerror}", "choose another --port") from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn, but a signal ends `run` instead of the process, so that the scheduler can finish its step."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _run_server(app: Starlette, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",  # strangers' broken requests are not worth a line each
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )
    _Server(config).run(sockets=[listener])
