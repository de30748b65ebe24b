"""A store of the test that serves blobs with ranges, and misbehaves as it is told."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Peer:
    """What it has, what it does wrong, and what it was asked for."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    """Key -> bytes: a blob's name, or that of its part hashes."""
    flip: int | None = None
    """Byte of every blob that it changes."""
    dies_after: int | None = None
    """Bytes of a body after which it closes the connection; what it answers next is in `then`, or whole."""
    then: list[int] = field(default_factory=list)
    dies_always: bool = False
    stalls_after: int | None = None
    """Bytes of a body after which nothing more comes."""
    drip_header: bool = False
    """Its header never ends: a byte every 50 ms."""
    ranges: bool = True
    endless: bool = False
    wrong_range: bool = False
    script: list[int] = field(default_factory=list)
    """Statuses to answer first."""
    asked: list[tuple[str, int, int | None]] = field(default_factory=list)
    """(key, start, stop) of each GET; stop is None for the rest."""
    puts: list[dict[str, str]] = field(default_factory=list)
    """Headers, in lower case, and "path" of each PUT; nothing is kept."""
    sent: int = 0
    """Bytes of bodies."""
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    peer: Peer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        peer, key = self.peer, self.path.removeprefix("/blobs/")
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        stop = int(found[2]) + 1 if found and found[2] else None
        peer.asked.append((key, start, stop))
        try:
            self._answer(key, start, stop, found is not None and peer.ranges)
        except ConnectionError:
            self.close_connection = True  # the client had enough

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.peer.puts.append(
            {name.lower(): value for name, value in self.headers.items()} | {"path": self.path}
        )
        self._head(self.peer.script.pop(0) if self.peer.script else 201, 0)

    def _answer(self, key: str, start: int, stop: int | None, ranged: bool) -> None:
        peer, blob = self.peer, self.peer.blobs.get(key)
        if peer.drip_header:
            while not peer.stopped.wait(0.05):
                self.wfile.write(b"x")
        if peer.script or blob is None:
            return self._head(peer.script.pop(0) if peer.script else 404, 0)
        if peer.flip is not None and len(blob) > peer.flip:
            blob = blob[: peer.flip] + bytes([blob[peer.flip] ^ 1]) + blob[peer.flip + 1 :]
        size = len(blob)
        if ranged and start >= size:
            return self._head(416, 0, f"bytes */{size}")
        if ranged:
            stop = min(stop or size, size)
            shown = f"bytes {start + peer.wrong_range}-{stop - 1}/{size}"
            self._head(206, stop - start, shown)
            blob = blob[start:stop]
        else:
            self._head(200, None if peer.endless else size)
        self._body(blob)

    def _head(self, status: int, length: int | None, content_range: str = "") -> None:
        self.send_response(status)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _body(self, data: bytes) -> None:
        peer, last = self.peer, len(data)
        if peer.dies_after is not None:
            last, self.close_connection = peer.dies_after, True
            peer.dies_after = last if peer.dies_always else None
            peer.script = list(peer.then)
        if peer.stalls_after is not None:
            last = peer.stalls_after
        for at in range(0, min(last, len(data)), 1 << 16):
            self._send(data[at : min(at + (1 << 16), last)])
        while peer.endless:
            self._send(bytes(1 << 16))
        if peer.stalls_after is not None:
            peer.stopped.wait(30)
            self.close_connection = True

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.peer.sent += len(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


@contextmanager
def serving(peer: Peer) -> Iterator[Peer]:
    handler = type("Handler", (_Handler,), {"peer": peer})
    with _Server(("127.0.0.1", 0), handler) as server:
        peer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield peer
        finally:
            peer.stopped.set()
            server.shutdown()
            thread.join()


def until(what: str, probe, seconds: float = 20.0) -> None:
    """Polls until `probe()` is true."""
    give_up = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)
