"""Content-addressed stores: a file is named by its sha256, so whoever serves it can withhold it but not
change it.

`LocalStore` is a directory, `HttpStore` speaks to an orchestrator or a mirror, `MultiStore` tries several.
All of them verify what they return and never hold more than the caller's `max_bytes`.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar

from .codec import sha256 as digest
from .codec import upload_message
from .errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError, UploadRefused, UsageError

if TYPE_CHECKING:
    import httpx
    from eth_account.signers.local import LocalAccount

Kind = Literal["artifact", "evidence"]
T = TypeVar("T")
_NAME = re.compile(r"[0-9a-f]{64}")


def check_name(sha256: str) -> str:
    """The name itself when it is 64 lower-case hex digits, else `UsageError`: names become paths and URLs."""
    if not _NAME.fullmatch(sha256):
        raise UsageError(
            f"{sha256[:80]!r} is no blob name", "64 lower-case hex digits, the sha256 of the bytes"
        )
    return sha256


class Store(Protocol):
    """What every store offers. `get` raises `BlobNotFound`, `BlobCorrupt`, `BlobTooLarge` or another
    `StoreError`."""

    def get(self, sha256: str, max_bytes: int) -> bytes: ...
    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str: ...
    def has(self, sha256: str) -> bool: ...


def _verified(sha256: str, data: bytes, source: object) -> bytes:
    if digest(data).hex() != sha256:
        raise BlobCorrupt(f"{source} has other bytes under the name {sha256}", "try another location")
    return data


class LocalStore:
    """A directory; a blob is the file `{first two digits}/{sha256}`. A blob that is there is complete."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.path)!r})"

    def path_of(self, sha256: str) -> Path:
        """Where a blob is, or would be."""
        return self.path / check_name(sha256)[:2] / sha256

    def get(self, sha256: str, max_bytes: int) -> bytes:
        try:
            with self.path_of(sha256).open("rb") as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise BlobNotFound(f"no blob {sha256} in {self.path}") from error
        except OSError as error:
            raise StoreError(f"cannot read {self.path_of(sha256)}: {error.strerror}") from error
        if len(data) > max_bytes:
            raise BlobTooLarge(f"blob {sha256} is larger than {max_bytes} bytes")
        return _verified(sha256, data, self)

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Stores `data` and returns its name. A directory keeps everything: `kind` and `round` matter to
        servers."""
        name = digest(data).hex()
        path = self.path_of(name)
        if path.exists():
            return name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
            try:
                with os.fdopen(file, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error
        return name

    def has(self, sha256: str) -> bool:
        return self.path_of(sha256).is_file()


class HttpStore:
    """The blobs of an orchestrator at `url`. Reading needs nothing more; uploads are signed by `account`
    for one pool.

    A request that fails in transit is repeated `tries` times: names make it idempotent. `deadline`: seconds
    that one download may take altogether, so that a peer which sends a byte now and then cannot hold the
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
    ):
        import httpx

        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no store URL", "it starts with http:// or https://")
        self.url = url.rstrip("/")
        self._account, self._chain_id, self._pool_id = account, chain_id, pool_id
        self._tries, self._deadline = tries, deadline
        # identity: a compressed answer could grow beyond max_bytes while it is unpacked
        self._client = httpx.Client(
            timeout=httpx.Timeout(30.0, connect=5.0), headers={"Accept-Encoding": "identity"}
        )

    def __repr__(self) -> str:
        return f"HttpStore({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, sha256: str, max_bytes: int) -> bytes:
        name = check_name(sha256)
        return _verified(name, self._attempts(lambda: self._download(name, max_bytes)), self)

    def has(self, sha256: str) -> bool:
        name = check_name(sha256)

        def ask() -> bool:
            response = self._client.head(f"{self.url}/blobs/{name}")
            self._refuse_unless(response, 200, 404)
            return response.status_code == 200

        return self._attempts(ask)

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Uploads `data` and returns its name. `UploadRefused` when the server says no, whatever its
        reason."""
        if self._account is None or self._chain_id is None or self._pool_id is None:
            raise UsageError(
                "uploads need an account, a chain id and a pool id", "HttpStore(url, account, ...)"
            )
        name = digest(data).hex()
        self._attempts(lambda: self._upload(name, data, kind, round))
        return name

    def _download(self, name: str, max_bytes: int) -> bytes:
        give_up = time.monotonic() + self._deadline
        with self._client.stream("GET", f"{self.url}/blobs/{name}") as response:
            if response.status_code == 404:
                raise BlobNotFound(f"no blob {name} at {self.url}")
            self._refuse_unless(response, 200)
            too_large = BlobTooLarge(f"blob {name} at {self.url} is larger than {max_bytes} bytes")
            length = response.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
                raise too_large
            data = bytearray()
            for chunk in response.iter_raw(1 << 16):
                data += chunk
                if len(data) > max_bytes:
                    raise too_large
                if time.monotonic() > give_up:
                    raise StoreError(
                        f"blob {name} did not arrive within {self._deadline:.0f} s from {self.url}"
                    )
            return bytes(data)

    def _upload(self, name: str, data: bytes, kind: Kind, round: int) -> None:
        from eth_account.messages import encode_defunct

        assert self._account is not None and self._chain_id is not None and self._pool_id is not None
        now = int(time.time())
        text = upload_message(self._chain_id, self._pool_id, kind, round, name, now)
        signature = self._account.sign_message(encode_defunct(text=text)).signature
        response = self._client.put(
            f"{self.url}/blobs/{name}",
            params={"pool": self._pool_id, "kind": kind, "round": round},
            content=data,
            headers={
                "Content-Type": "application/octet-stream",
                "X-Pi-Address": self._account.address,
                "X-Pi-Time": str(now),
                "X-Pi-Signature": "0x" + signature.hex(),
            },
        )
        status = response.status_code
        if status in (200, 201):
            return
        if status == 429 or status >= 500:
            raise _Transient(f"{self.url} answers {status}")
        raise UploadRefused(
            status,
            f"{self.url} refused an upload ({status}): {response.text[:200].strip()}",
            _PUT_HINTS.get(status, ""),
        )

    def _refuse_unless(self, response: "httpx.Response", *statuses: int) -> None:
        if response.status_code not in statuses:
            raise _Transient(f"{self.url} answers {response.status_code}")

    def _attempts(self, attempt: Callable[[], T]) -> T:
        import httpx

        for left in range(self._tries - 1, -1, -1):
            try:
                return attempt()
            except _Transient:
                if not left:
                    raise
            except httpx.InvalidURL as error:
                raise UsageError(f"{self.url!r} is no store URL") from error
            except httpx.HTTPError as error:
                if not left:
                    raise StoreError(
                        f"cannot reach the store at {self.url}: {error}", "is it running?"
                    ) from error
            time.sleep(0.2 * 2 ** (self._tries - 1 - left))
        raise AssertionError("tries is at least 1")


class _Transient(StoreError):
    """An answer that may be another one the next time."""


_PUT_HINTS = {
    401: "check the clock: a signature is valid for 60 s",
    403: "only members of the pool may upload",
    413: "the blob is too large, or this node's quota is used up",
}


class MultiStore:
    """Several stores with the same blobs: reads try them in order, and one that is dead or lies is passed
    over."""

    def __init__(self, stores: Sequence[Store]):
        if not stores:
            raise UsageError("a MultiStore needs at least one store")
        self.stores = list(stores)

    def get(self, sha256: str, max_bytes: int) -> bytes:
        """Raises the last store's error when none has the blob."""
        check_name(sha256)
        problem: StoreError | None = None
        for store in self.stores:
            try:
                return store.get(sha256, max_bytes)
            except StoreError as error:
                # that one store does not have a blob says less than how another one failed
                if problem is None or not isinstance(error, BlobNotFound):
                    problem = error
        assert problem is not None
        raise problem

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Puts into every store; succeeds when at least one takes it."""
        name, problem = None, None
        for store in self.stores:
            try:
                name = store.put(data, kind, round)
            except StoreError as error:
                problem = error
        if name is None:
            assert problem is not None
            raise problem
        return name

    def has(self, sha256: str) -> bool:
        return any(self._has(store, sha256) for store in self.stores)

    @staticmethod
    def _has(store: Store, sha256: str) -> bool:
        try:
            return store.has(sha256)
        except StoreError:
            return False
