"""The HTTP API: the store that workers and validators use, and what people want to know about the pools.

    GET /health                             who this is, its pools, limits and retention
    GET /blobs/{sha256}                     the bytes, or one range of them; HEAD asks whether they are there
    GET /blobs/{sha256}.tree                a checkpoint's part hashes: see pi_train/checkpoint_file.py
    PUT /blobs/{sha256}?pool=&kind=&round=  see `_Uploads`
    POST /blobs/{sha256}/presigned?pool=&kind=&round=&size=
                                            an upload to the bucket: see `_Uploads.presign`
    GET /pools, /pools/{id}                 see `view.py`

Every error is {"error": "..."} with a fitting status. An upload is judged by its headers before a byte of
it is read, is bounded in size and time while it comes in, and is either stored whole or not at all.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError
from pi_sdk.codec import upload_message
from pi_sdk.errors import BlobCorrupt, ChainError, StoreError
from pi_sdk.store import S3Store
from pi_sdk.store.base import TREE
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .blobs import BlobStore, DiskFull, OverQuota, Reason
from .service import EVIDENCE_MARGIN, Service
from .state import evidence_over
from .view import pool_view

_NAME = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
_NUMBER = re.compile(r"[0-9]{1,10}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")

_CLOCK_SKEW = 60  # seconds between the uploader's clock and ours
_WRITE = 1 << 20  # bytes per write to disk
_IDLE_SECONDS = 20.0  # longest pause inside an upload
_SLOWEST = 64 << 10  # bytes per second, averaged over an upload, below which it is given up
_UPLOADS = 8  # at once per address
_PRESIGNED_SECONDS = 600
_LINGER_SECONDS, _LINGER_BYTES = (
    2.0,
    16 << 20,
)  # how much of a refused body is read, so that the client sees the answer
_LOOKUP_GAP = 0.25  # seconds between two chain look-ups for addresses that we do not know
_LOOKUPS_WAITING = 64


@dataclass(frozen=True)
class Limits:
    """Bytes of one blob, bytes per (pool, address, kind), and seconds for which artifacts outlive their
    pool.
    """

    max_blob: int
    quota: int
    keep: int


def create_app(
    service: Service,
    blobs: BlobStore,
    chain_id: int,
    address: str,
    limits: Limits,
    bucket: S3Store | None = None,
) -> Starlette:
    """The ASGI application. `address` is the orchestrator's, `bucket` where its artifacts are copied to."""
    uploads = _Uploads(service, blobs, chain_id, limits, bucket)

    async def health(request: Request) -> Response:
        return JSONResponse(
            {
                "ok": True,
                "chain_id": chain_id,
                "orchestrator": address,
                "pools": sorted(service.state.pools),
                "block": service.head.block,
                "mirrors": [bucket.url] if bucket else [],
                "limits": {"max_blob_bytes": limits.max_blob, "quota_bytes": limits.quota},
                "retention": {
                    "evidence": f"until its round is final and has no open case, plus {EVIDENCE_MARGIN} s",
                    "artifact": f"until the last round of its pool is final, plus {limits.keep} s",
                },
            }
        )

    async def get_blob(request: Request) -> Response:
        try:
            file = await asyncio.to_thread(_open, blobs, request.path_params["name"])
        except FileNotFoundError:
            raise HTTPException(404, "no such blob") from None
        size = os.fstat(file.fileno()).st_size
        headers = {"content-type": "application/octet-stream", "accept-ranges": "bytes"}
        if request.method == "HEAD":
            file.close()
            return Response(headers=headers | {"content-length": str(size)})
        try:
            asked = _range(request.headers.get("range", ""), size)
        except HTTPException:
            file.close()
            raise
        start, stop = asked or (0, size)
        headers["content-length"] = str(stop - start)
        if asked:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        return StreamingResponse(_read(file, start, stop), 206 if asked else 200, headers)

    async def pools(request: Request) -> Response:
        state, now = service.state, service.head.time
        return JSONResponse(
            [
                {"id": p.id, "creator": p.creator, "phase": p.phase(now), "rounds": len(p.rounds)}
                for p in state.pools.values()
            ]
        )

    async def pool(request: Request) -> Response:
        text = request.path_params["id"]
        found = service.state.pools.get(int(text)) if _NUMBER.fullmatch(text) else None
        if found is None:
            raise HTTPException(404, "no such pool here")
        return JSONResponse(pool_view(found, service.state, service.head.time))

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/blobs/{name}", get_blob, methods=["GET"]),
            Route("/blobs/{name}", uploads.put, methods=["PUT"]),
            Route("/blobs/{name}/presigned", uploads.presign, methods=["POST"]),
            Route("/pools", pools),
            Route("/pools/{id}", pool),
        ],
        exception_handlers={HTTPException: _explain, ClientDisconnect: _gone, Exception: _our_fault},
    )
    app.router.redirect_slashes = False
    return app


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the client went away"}, 400)


async def _our_fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "internal error"}, 500)


def _open(blobs: BlobStore, key: str) -> BinaryIO:
    """A blob's file, or that of its part hashes. `FileNotFoundError`."""
    name = key.removesuffix(TREE)
    if not _NAME.fullmatch(name):
        raise HTTPException(400, "a blob is named by its sha256, 64 lower-case hex digits")
    path = blobs.path(name) if key == name else blobs.tree(name)
    if path is None:
        raise FileNotFoundError
    return path.open("rb")


def _range(header: str, size: int) -> tuple[int, int] | None:
    """[start, stop) of a single range that a GET asks for; None where it asks for the whole, or in a form
    that may be ignored (RFC 9110, 14.2). 416 where it lies beyond the end."""
    found = _RANGE.fullmatch(header)
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise HTTPException(416, f"the blob has {size} bytes", headers={"content-range": f"bytes */{size}"})
    return start, stop


def _read(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(_WRITE, stop - start))):
            start += len(chunk)
            yield chunk


def _blob_name(request: Request) -> str:
    name = request.path_params["name"]
    if not _NAME.fullmatch(name):
        raise HTTPException(400, "a blob is named by its sha256, 64 lower-case hex digits")
    return name


class _Uploads:
    """PUT /blobs/{sha256}?pool=ID&kind=artifact|evidence&round=R, Content-Length, and an EIP-191 signature
    over `codec.upload_message` in X-Pi-Address, X-Pi-Time, X-Pi-Signature.

    201 stored, 200 known already, 400 nonsense, 401 no valid signature, 403 not of this pool, 404 no such
    pool, 408 too slow, 409 evidence for a round that has not opened, or that is final without an open case,
    411 no length, 413 too large or over quota, 422 other bytes than announced, 429 too many at once, 503 the
    chain is out of reach, 507 disk full.
    """

    def __init__(
        self, service: Service, blobs: BlobStore, chain_id: int, limits: Limits, bucket: S3Store | None
    ):
        self._service, self._blobs, self._chain_id, self._limits = service, blobs, chain_id, limits
        self._bucket = bucket
        self._running: dict[str, int] = {}
        self._lookup = asyncio.Lock()
        self._lookups_waiting = 0
        self._looked_up: dict[int, tuple[float, set[str], int]] = {}

    async def put(self, request: Request) -> Response:
        try:
            created = await self._put(request)
        except HTTPException:
            await _linger(request)
            raise
        return JSONResponse({"created": created}, 201 if created else 200)

    async def presign(self, request: Request) -> Response:
        """Who may upload an artifact here may do so to the bucket: a URL that takes these bytes, once they
        are counted, the headers that belong to it, and the location to announce. Refusals as above; 404
        without a bucket.
        """
        name, reason_parts, size = _blob_name(request), _query(request), request.query_params.get("size", "")
        if self._bucket is None:
            raise HTTPException(404, "no bucket belongs to this store")
        if not _NUMBER.fullmatch(size) or reason_parts[1] != "artifact":
            raise HTTPException(400, "size must be a number, and kind artifact")
        if int(size) > self._limits.max_blob:
            raise HTTPException(413, f"a blob has at most {self._limits.max_blob} bytes")
        reason = Reason(
            *reason_parts, await asyncio.to_thread(self._authenticate, request, name, *reason_parts)
        )
        await self._authorize(reason)
        try:
            await asyncio.to_thread(self._blobs.reserve, name, int(size), reason, self._limits.quota)
        except OverQuota as error:
            raise HTTPException(413, str(error)) from None
        url, headers = self._bucket.presigned_put(name, int(size), _PRESIGNED_SECONDS)
        said = {"url": url, "headers": headers, "location": self._bucket.url, "expires": _PRESIGNED_SECONDS}
        return JSONResponse(said, 201)

    async def _put(self, request: Request) -> bool:
        name = _blob_name(request)
        reason_parts = _query(request)
        size = _length(request, self._limits.max_blob)
        owner = await asyncio.to_thread(self._authenticate, request, name, *reason_parts)
        reason = Reason(*reason_parts, owner)
        await self._authorize(reason)
        self._check_size(reason, size)
        if await asyncio.to_thread(self._blobs.knows, name, reason):
            await _linger(request)
            return False
        if self._running.get(owner, 0) >= _UPLOADS:
            raise HTTPException(429, f"{_UPLOADS} uploads of this address are under way")
        self._running[owner] = self._running.get(owner, 0) + 1
        try:
            return await self._receive(request, name, size, reason)
        finally:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]

    # --- who --------------------------------------------------------------------------------------

    def _authenticate(self, request: Request, name: str, pool: int, kind: str, round_: int) -> str:
        """The checksum address that signed this upload."""
        headers = request.headers
        address, when, signature = (
            headers.get(f"x-pi-{part}", "") for part in ("address", "time", "signature")
        )
        if not (_ADDRESS.fullmatch(address) and _NUMBER.fullmatch(when) and _SIGNATURE.fullmatch(signature)):
            raise HTTPException(401, "X-Pi-Address, X-Pi-Time and X-Pi-Signature are needed")
        if abs(time.time() - int(when)) > _CLOCK_SKEW:
            raise HTTPException(401, f"X-Pi-Time is more than {_CLOCK_SKEW} s off; check the clock")
        text = upload_message(self._chain_id, pool, kind, round_, name, int(when))
        try:
            signer = Account.recover_message(encode_defunct(text=text), signature=signature)
        except (BadSignature, ValidationError, ValueError):
            raise HTTPException(401, "X-Pi-Signature is no signature") from None
        if signer != to_checksum_address(address):
            raise HTTPException(401, "X-Pi-Signature is not X-Pi-Address's over this upload")
        return signer

    async def _authorize(self, reason: Reason) -> None:
        people, rounds = self._known(reason.pool)
        if reason.owner not in people or (reason.kind == "evidence" and reason.round >= rounds):
            further, rounds = await self._look_up(reason.pool)
            # Known is asked anew: the look-up began where the scheduler had read to by then.
            people, _ = self._known(reason.pool)
            people |= further
        if not people:
            raise HTTPException(404, f"pool {reason.pool} is not served here")
        if reason.owner not in people:
            raise HTTPException(403, f"{reason.owner} has no part in pool {reason.pool}")
        if reason.kind == "evidence":
            if reason.round >= rounds:
                raise HTTPException(409, f"round {reason.round} has not opened")
            state = self._service.state
            # A jury may look at it after the verdicts are over: that is how a worker answers "withheld".
            if reason.pool in state.pools and evidence_over(state, reason.pool, reason.round):
                raise HTTPException(409, f"round {reason.round} is final: nobody needs its evidence")

    def _known(self, pool_id: int) -> tuple[set[str], int]:
        """Uploaders and number of rounds, as far as the scheduler has read."""
        pool = self._service.state.pools.get(pool_id)
        return (pool.uploaders(), pool.next_round) if pool else (set(), 0)

    async def _look_up(self, pool_id: int) -> tuple[set[str], int]:
        """Further uploaders and the number of rounds straight from the chain, later than this call. One
        look-up serves all who wait.
        """
        if self._lookups_waiting >= _LOOKUPS_WAITING:
            raise HTTPException(429, "too many requests of unknown addresses")
        asked = time.monotonic()
        self._lookups_waiting += 1
        try:
            async with self._lookup:
                started, people, rounds = self._looked_up.get(pool_id, (0.0, set(), 0))
                if started < asked:
                    last = max((s for s, _, _ in self._looked_up.values()), default=0.0)
                    await asyncio.sleep(max(0.0, last + _LOOKUP_GAP - time.monotonic()))
                    started = time.monotonic()
                    people, rounds = await asyncio.to_thread(self._service.uploaders_since, pool_id)
                    if len(self._looked_up) >= 4 * _LOOKUPS_WAITING:
                        self._looked_up.clear()
                    self._looked_up[pool_id] = (started, people, rounds)
                return people, rounds
        except ChainError:
            raise HTTPException(503, "the chain cannot be reached") from None
        finally:
            self._lookups_waiting -= 1

    # --- how much ---------------------------------------------------------------------------------

    def _check_size(self, reason: Reason, size: int) -> None:
        limit = self._service.evidence_limit(reason.pool) if reason.kind == "evidence" else None
        if limit is not None and size > limit:
            raise HTTPException(413, f"evidence of this pool has at most {limit} bytes")

    async def _receive(self, request: Request, name: str, size: int, reason: Reason) -> bool:
        try:
            incoming = await asyncio.to_thread(self._blobs.receive, name, size, reason, self._limits.quota)
        except OverQuota as error:
            raise HTTPException(413, str(error)) from None
        except DiskFull as error:
            raise HTTPException(507, str(error)) from None
        with incoming:
            try:
                async with asyncio.timeout(_IDLE_SECONDS + size / _SLOWEST):
                    async for data in _pieces(request):
                        await asyncio.to_thread(incoming.write, data)
                return await asyncio.to_thread(incoming.commit)
            except TimeoutError:
                raise HTTPException(408, "the upload was too slow", headers={"connection": "close"}) from None
            except BlobCorrupt as error:
                raise HTTPException(422, str(error)) from None
            except StoreError as error:
                raise HTTPException(400, str(error)) from None


def _query(request: Request) -> tuple[int, str, int]:
    """(pool, kind, round)"""
    query = request.query_params
    pool, kind, round_ = query.get("pool", ""), query.get("kind", ""), query.get("round", "")
    if not _NUMBER.fullmatch(pool) or not _NUMBER.fullmatch(round_):
        raise HTTPException(400, "pool and round must be numbers")
    if kind not in ("artifact", "evidence"):
        raise HTTPException(400, "kind must be artifact or evidence")
    return int(pool), kind, int(round_)


def _length(request: Request, limit: int) -> int:
    length = request.headers.get("content-length")
    if length is None:
        raise HTTPException(411, "Content-Length is needed")
    size = int(length)  # digits: the HTTP parser has seen to it
    if size > limit:
        raise HTTPException(413, f"a blob has at most {limit} bytes")
    return size


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces worth a write. `TimeoutError` when the client stalls."""
    stream, held = request.stream(), bytearray()
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                held += await anext(stream)
        except StopAsyncIteration:
            break
        if len(held) >= _WRITE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


async def _linger(request: Request) -> None:
    """Reads on for a moment: closing on a client that still sends would reset the connection before it
    reads the answer.
    """
    with suppress(
        TimeoutError, ClientDisconnect, RuntimeError
    ):  # RuntimeError: the body has been read already
        async with asyncio.timeout(_LINGER_SECONDS):
            read = 0
            async for data in request.stream():
                read += len(data)
                if read > _LINGER_BYTES:
                    return
