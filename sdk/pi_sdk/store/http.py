"""A store behind HTTP: an orchestrator's, or a mirror with the same paths."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self, TypeVar

from pydantic_core import from_json

from ..codec import sha256 as digest
from ..codec import upload_message
from ..errors import BlobNotFound, BlobTooLarge, StoreError, UploadRefused, UsageError
from .base import Kind, Parts, RangeRefused, Reading, check_key, check_name, verified
from .fetching import fetch

if TYPE_CHECKING:
    import httpx
    from eth_account.signers.local import LocalAccount

T = TypeVar("T")
MIN_RATE = 16 << 10
"""Bytes per second below which a peer is too slow."""
MAX_MIRRORS = 4
_CLOCK_TOLERANCE = 5.0
"""Seconds that two clocks may be apart before a signature is worth another try."""
_ANSWER = 64 << 10
"""Bytes of an answer that are looked at."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")
_BOUND = re.compile(r"content-length|x-amz-[a-z0-9-]{1,64}", re.IGNORECASE)
_PRINTABLE = re.compile(r"[ -~]{0,4096}")
_LENGTH = re.compile(r"[0-9]{1,15}")


class Presigned(NamedTuple):
    """A request that needs no credentials until it expires."""

    url: str
    headers: dict[str, str]
    """To be sent exactly so: they are signed."""


class HttpStore:
    """The blobs of an orchestrator or a mirror at `url`. Reading needs nothing more; uploads are signed by
    `account` for one pool.

    A request that fails in transit is repeated `tries` times: names make it idempotent. A peer that brings
    less than `min_rate` bytes per second in any `patience` seconds is cut off, and `deadline` seconds are the
    most that one `get` takes altogether, so that a peer which sends a byte now and then cannot hold the
    caller.
    """

    def __init__(
        self,
        url: str,
        account: "LocalAccount | None" = None,
        chain_id: int | None = None,
        pool_id: int | None = None,
        *,
        tries: int = 3,
        deadline: float = 300.0,
        min_rate: int = MIN_RATE,
        patience: float = 20.0,
    ):
        import httpx

        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"{url[:200]!r} is no store URL: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError(f"{url[:200]!r} is no store URL", "it starts with http:// or https://")
        self.url = url.rstrip("/")
        self._account, self._chain_id, self._pool_id = account, chain_id, pool_id
        self._tries, self._deadline = tries, deadline
        self._min_rate, self._patience = min_rate, patience
        self._ahead = 0.0  # seconds of the server's clock before ours
        self._lines: list[_Line] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while self._lines:
            self._lines.pop().client.close()

    def get(self, sha256: str, max_bytes: int) -> bytes:
        name = check_name(sha256)
        return verified(name, self._attempts(lambda: self._whole(name, max_bytes)), self)

    def fetch(self, sha256: str, path: Path, max_bytes: int, parts: Parts | None = None) -> None:
        fetch([self], sha256, path, max_bytes, parts, tries=self._tries)

    def has(self, sha256: str) -> bool:
        name = check_name(sha256)

        def ask() -> bool:
            url = self._address("HEAD", name)
            with self._request("HEAD", url, seconds=self._deadline) as (response, _):
                self._refuse_unless(response, 200, 404)
                return response.status_code == 200

        return self._attempts(ask)

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Uploads `data` and returns its name. `UploadRefused` when the server says no, whatever its
        reason."""
        name = digest(data).hex()
        self._attempts(lambda: self._upload(name, data, kind, round))
        return name

    def put_in_bucket(self, data: bytes, round: int, seconds: float) -> str:
        """Uploads, in one try, `data` to the S3 bucket that the orchestrator keeps, by a URL that it signs
        for these bytes, and returns the location where everybody finds it. `UploadRefused` with status 404
        where it keeps none.
        """
        request, location = self._presigned(digest(data).hex(), len(data), round)
        self._send("PUT", request.url, data, len(data), request.headers, seconds=seconds)
        return location

    def mirrors(self) -> list[str]:
        """URLs that the orchestrator says its artifacts are copied to, `MAX_MIRRORS` of them; none when it
        cannot be asked."""
        try:
            with self._request("GET", f"{self.url}/health", seconds=10) as (response, watch):
                said = bytearray()
                for chunk in watch.counted(response.iter_raw()):
                    said += chunk
                    if len(said) > _ANSWER:
                        return []
            urls = from_json(said)["mirrors"]
            return [HttpStore(url).url for url in urls[:MAX_MIRRORS]]
        except (StoreError, UsageError, ValueError, KeyError, TypeError):
            return []

    @contextmanager
    def read(
        self, key: str, start: int = 0, stop: int | None = None, *, seconds: float | None = None
    ) -> Iterator[Reading]:
        """See `Source`. `seconds` bounds the whole of it; the minimum rate holds in any case."""
        check_key(key)
        ranged = start > 0 or stop is not None
        asked = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if ranged else {}
        with self._request("GET", self._address("GET", key), asked, seconds=seconds) as (response, watch):
            if response.status_code == 404:
                raise BlobNotFound(f"no blob {key} at {self.url}")
            if response.status_code == 416 and ranged:
                raise RangeRefused(f"{self.url} has no bytes of {key} from {start} on")
            self._refuse_unless(response, 200, 206) if ranged else self._refuse_unless(response, 200)
            begin, size = 0, None
            length = response.headers.get("Content-Length", "")
            if response.status_code == 206:
                found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if found is None or int(found[1]) != start:
                    raise _Transient(f"{self.url} answers with another range than the one asked for")
                begin, size = start, None if found[3] == "*" else int(found[3])
            elif _LENGTH.fullmatch(length):
                size = int(length)
            yield Reading(watch.counted(response.iter_raw()), begin, size)

    def _whole(self, name: str, max_bytes: int) -> bytes:
        too_large = BlobTooLarge(f"blob {name} at {self.url} is larger than {max_bytes} bytes")
        with self.read(name, seconds=self._deadline) as reading:
            if reading.size is not None and reading.size > max_bytes:
                raise too_large
            data = bytearray()
            for chunk in reading.chunks:
                data += chunk
                if len(data) > max_bytes:
                    raise too_large
            return bytes(data)

    def _upload(self, name: str, data: bytes, kind: Kind, round: int) -> None:
        params, headers = self._signed(name, kind, round)
        headers["Content-Type"] = "application/octet-stream"
        self._send("PUT", self._address("PUT", name), data, len(data), headers, params)

    def _presigned(self, name: str, size: int, round: int) -> "tuple[Presigned, str]":
        params, headers = self._signed(name, "artifact", round)
        url = f"{self.url}/blobs/{name}/presigned"
        answer = self._send("POST", url, b"", 0, headers, params | {"size": size})
        try:
            said = from_json(answer)
            url, location = str(said["url"]), HttpStore(said["location"]).url
            signed = {k: str(v) for k, v in said["headers"].items() if _BOUND.fullmatch(k)}
            if not url.startswith(f"{location}/blobs/{name}?"):
                raise ValueError("a URL elsewhere")
            if not all(_PRINTABLE.fullmatch(text) for text in (url, *signed.values())):
                raise ValueError("a URL or header that cannot be sent")
            if any(v != str(size) for k, v in signed.items() if k.lower() == "content-length"):
                raise ValueError("another length than the upload's")
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise StoreError(f"{self.url} answers nonsense about its bucket") from error
        return Presigned(url, signed), location

    def _signed(self, name: str, kind: Kind, round: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Parameters and headers of an upload of our account."""
        from eth_account.messages import encode_defunct

        if self._account is None or self._chain_id is None or self._pool_id is None:
            raise UsageError(
                "uploads need an account, a chain id and a pool id", "HttpStore(url, account, ...)"
            )
        now = int(time.time() + self._ahead)
        text = upload_message(self._chain_id, self._pool_id, kind, round, name, now)
        signature = self._account.sign_message(encode_defunct(text=text)).signature
        params = {"pool": self._pool_id, "kind": kind, "round": round}
        headers = {
            "X-Pi-Address": self._account.address,
            "X-Pi-Time": str(now),
            "X-Pi-Signature": "0x" + signature.hex(),
        }
        return params, headers

    def _send(
        self,
        method: str,
        url: str,
        content: bytes | BinaryIO,
        size: int,
        headers: dict[str, str],
        params: dict | None = None,
        *,
        seconds: float | None = None,
    ) -> bytes:
        """One upload of `size` bytes; the beginning of the answer. `UploadRefused`."""
        seconds = seconds or self._deadline + size / self._min_rate
        with self._request(method, url, headers, params, content, seconds=seconds) as (response, _):
            status = response.status_code
            if status == 429 or status >= 500 or (status == 401 and self._set_clock(response)):
                raise _Transient(f"{self.url} answers {status}")
            said = bytearray()
            for chunk in response.iter_raw():
                said += chunk
                if len(said) >= _ANSWER:
                    break
        if status not in (200, 201):
            text = said[:200].decode(errors="replace").strip()
            raise UploadRefused(
                status, f"{self.url} refused an upload ({status}): {text}", _PUT_HINTS.get(status, "")
            )
        return bytes(said)

    def _set_clock(self, response: "httpx.Response") -> bool:
        """Signs by the server's clock from now on; whether that is another one than before. Signatures name
        the bytes and their place, so no time makes them good for anything else."""
        try:
            ahead = parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
        except (KeyError, ValueError, OverflowError, OSError):
            return False
        before, self._ahead = self._ahead, ahead
        return abs(ahead - before) > _CLOCK_TOLERANCE

    def _address(self, method: str, key: str) -> str:
        """The URL of a request for a blob or its part hashes; a subclass may sign it."""
        return f"{self.url}/blobs/{key}"

    @contextmanager
    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        params: dict | None = None,
        content: bytes | BinaryIO | None = None,
        *,
        seconds: float | None,
    ) -> "Iterator[tuple[httpx.Response, _Watch]]":
        """One exchange, the answer's body still to be read. What fails in transit is `_Transient`."""
        import httpx

        rate = self._min_rate if method == "GET" else 0  # an upload is answered when it is over
        with self._line() as line, _Watch(line.cut, rate, self._patience, seconds) as watch:
            try:
                with line.client.stream(
                    method,
                    url,
                    params=params,
                    headers=headers,
                    content=content,
                    extensions={"trace": line.trace},
                ) as response:
                    yield response, watch
            except httpx.HTTPError as error:
                if watch.expired:
                    raise _Transient(f"{self.url} is too slow: {watch.expired}") from error
                raise _Transient(
                    f"cannot reach the store at {self.url}: {error}", "is it running?"
                ) from error

    @contextmanager
    def _line(self) -> "Iterator[_Line]":
        try:
            line = self._lines.pop()
        except IndexError:
            line = _Line()
        try:
            yield line
        finally:
            self._lines.append(line)

    def _refuse_unless(self, response: "httpx.Response", *statuses: int) -> None:
        if response.status_code not in statuses:
            raise _Transient(f"{self.url} answers {response.status_code}")

    def _attempts(self, attempt: Callable[[], T]) -> T:
        for left in range(self._tries - 1, -1, -1):
            try:
                return attempt()
            except _Transient:
                if not left:
                    raise
            time.sleep(0.2 * 2 ** (self._tries - 1 - left))
        raise AssertionError("tries is at least 1")


class _Transient(StoreError):
    """A failure or an answer that may be another one the next time."""


_PUT_HINTS = {
    401: "check the clock: a signature is valid for 60 s",
    403: "only members of the pool may upload",
    413: "the blob is too large, or this node's quota is used up",
}


@cache
def _tls() -> Any:
    import httpx

    return httpx.create_ssl_context()  # slow to make


class _Line:
    """One connection, used by one thread at a time, that another one can cut."""

    def __init__(self) -> None:
        import httpx

        # identity: a compressed answer could grow beyond max_bytes while it is unpacked
        self.client = httpx.Client(
            timeout=httpx.Timeout(30.0, connect=5.0),
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=1),
            verify=_tls(),
        )
        self._stream: Any = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore's `trace` extension: notes the connection's latest network stream."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]

    def cut(self) -> None:
        """Ends what the thread of this line is waiting for."""
        connection = self._stream.get_extra_info("socket") if self._stream is not None else None
        if connection is not None:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass  # it is over already


class _Watch(threading.Thread):
    """Cuts a request that takes longer than `seconds`, or that brings less than `rate` bytes per second in
    any `patience` seconds. Timeouts of httpx bound single reads: a byte now and then, in a body or a header,
    would do for ever.
    """

    def __init__(self, cut: Callable[[], None], rate: int, patience: float, seconds: float | None):
        super().__init__(daemon=True, name="watch")
        self.expired = ""
        self._cut, self._rate, self._patience = cut, rate, patience
        self._give_up = time.monotonic() + seconds if seconds is not None else float("inf")
        self._seconds, self._received = seconds, 0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._received += len(chunk)
            yield chunk

    def run(self) -> None:
        before = 0
        while not self._over.wait(max(0.0, min(self._patience, self._give_up - time.monotonic()))):
            received = self._received
            if time.monotonic() >= self._give_up:
                self.expired = f"not done within {self._seconds:.0f} s"
            elif received - before < self._rate * self._patience:
                self.expired = f"{received - before} bytes in {self._patience:g} s"
            if self.expired:
                return self._cut()
            before = received
