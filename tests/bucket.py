"""A bucket of moto's S3 server, in a process of its own. That server checks neither signatures nor their
expiry."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from chain import free_port


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of an empty bucket that anybody may read, with a prefix."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "-p", url.rsplit(":", 1)[1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            give_up = time.monotonic() + 60
            while not _answers(url):
                assert server.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
            httpx.put(f"{url}/artifacts", headers={"x-amz-acl": "public-read"}).raise_for_status()
            yield f"{url}/artifacts/run-1"
        finally:
            server.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False
