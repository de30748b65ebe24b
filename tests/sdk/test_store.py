"""Stores: what they return is what was asked for, or a typed error; a server can be dead, slow, huge or
lying."""

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chain import free_port
from eth_account import Account
from eth_account.messages import encode_defunct
from pi_sdk import (
    BlobCorrupt,
    BlobNotFound,
    BlobTooLarge,
    HttpStore,
    LocalStore,
    MultiStore,
    StoreError,
    UploadRefused,
    UsageError,
)
from pi_sdk.codec import upload_message

DATA = b"some bytes of an update"
NAME = sha256(DATA).hexdigest()
ABSENT = "0" * 64


class Server(ThreadingHTTPServer):
    """Serves `blobs`; `script` holds statuses to answer first, `said` what /health and a POST are told;
    `uploads` records what was put."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.script: list[int] = []
        self.said = b""
        self.uploads: list[tuple[str, bytes, dict[str, str]]] = []
        self.requests = 0
        self.hide_length = False
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if not self.server.hide_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except ConnectionError:
                return  # the client had enough

    def _scripted(self) -> bool:
        self.server.requests += 1
        if self.server.script:
            self._answer(self.server.script.pop(0), b"no: because")
            return True
        return False

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, self.server.said)
        elif not self._scripted():
            blob = self.server.blobs.get(self.path.removeprefix("/blobs/"))
            self._answer(404) if blob is None else self._answer(200, blob)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._answer(201, self.server.said)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._scripted():
            self.server.uploads.append((self.path, body, dict(self.headers)))
            self._answer(201)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def http(server: Server) -> Iterator[HttpStore]:
    with HttpStore(server.url, Account.create(), 31337, 7) as store:
        yield store


def test_a_local_store_returns_what_was_put(tmp_path: Path):
    store = LocalStore(tmp_path)
    assert store.put(DATA) == NAME and store.has(NAME)
    assert store.path_of(NAME) == tmp_path / NAME[:2] / NAME
    assert store.get(NAME, len(DATA)) == DATA
    assert store.put(DATA, "evidence", 3) == NAME
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [NAME]


def test_a_local_store_trusts_no_file(tmp_path: Path):
    store = LocalStore(tmp_path)
    with pytest.raises(BlobNotFound):
        store.get(ABSENT, 10)
    store.put(DATA)
    assert store.get(NAME, 1 << 50) == DATA, "a bound is not a size to set aside"
    with pytest.raises(BlobTooLarge):
        store.get(NAME, len(DATA) - 1)
    store.path_of(NAME).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(BlobCorrupt):
        store.get(NAME, 100)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", NAME.upper(), NAME + "0", "0x" + NAME, NAME + "\n"])
def test_a_name_that_is_no_hash_never_becomes_a_path_or_url(
    tmp_path: Path, http: HttpStore, server: Server, name: str
):
    for store in (LocalStore(tmp_path), http, MultiStore([http])):
        with pytest.raises(UsageError, match="no blob name"):
            store.get(name, 10)
        with pytest.raises(UsageError, match="no blob name"):
            store.has(name)
    assert server.requests == 0


def test_http_reads_verify_and_bound(http: HttpStore, server: Server):
    server.blobs = {NAME: DATA, ABSENT: DATA}
    assert http.get(NAME, len(DATA)) == DATA
    assert http.has(NAME) and not http.has("1" * 64)
    with pytest.raises(BlobNotFound):
        http.get("1" * 64, 10)
    with pytest.raises(BlobCorrupt):
        http.get(ABSENT, 100)
    with pytest.raises(BlobTooLarge):
        http.get(NAME, len(DATA) - 1)


def test_a_length_that_is_hidden_does_not_lift_the_bound(http: HttpStore, server: Server):
    server.hide_length = True
    server.blobs = {NAME: bytes(50_000_000)}
    with pytest.raises(BlobTooLarge):
        http.get(NAME, 1000)


def test_passing_failures_are_repeated_and_lasting_ones_reported(http: HttpStore, server: Server):
    server.blobs = {NAME: DATA}
    server.script = [503, 500]
    assert http.get(NAME, 100) == DATA
    server.script = [503] * 3
    with pytest.raises(StoreError, match="answers 503"):
        http.get(NAME, 100)
    server.script = [503]
    assert http.put(DATA) == NAME


def test_an_upload_is_signed_for_its_bytes_pool_and_round(http: HttpStore, server: Server):
    http.put(DATA, "evidence", 4)
    path, body, headers = server.uploads[0]
    assert path == f"/blobs/{NAME}?pool=7&kind=evidence&round=4" and body == DATA
    text = upload_message(31337, 7, "evidence", 4, NAME, int(headers["X-Pi-Time"]))
    signer = Account.recover_message(encode_defunct(text=text), signature=headers["X-Pi-Signature"])
    assert signer == headers["X-Pi-Address"]


def test_a_refused_upload_says_what_the_server_said(http: HttpStore, server: Server):
    server.script = [413]
    with pytest.raises(UploadRefused, match="413.*because") as refused:
        http.put(DATA)
    assert refused.value.status == 413 and server.requests == 1
    with HttpStore(server.url) as anonymous, pytest.raises(UsageError, match="need an account"):
        anonymous.put(DATA)


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"content-length": "99999"}},
        {"headers": {"x-amz-date": "\ud800"}},
        {"url": "http://elsewhere.example/"},
        {"location": 5},
        "[" * 5000,
    ],
    ids=["length", "header", "host", "type", "depth"],
)
def test_nonsense_about_a_bucket_is_refused_in_words(http: HttpStore, server: Server, change: dict | str):
    url = f"{server.url}/blobs/{NAME}?signed=1"
    answer = {"url": url, "headers": {"content-length": str(len(DATA))}, "location": server.url}
    server.said = json.dumps(answer).encode()
    assert http.put_in_bucket(DATA, 0, 5) == server.url and len(server.uploads) == 1
    server.said = change.encode() if isinstance(change, str) else json.dumps(answer | change).encode()
    with pytest.raises(StoreError, match="nonsense about its bucket"):
        http.put_in_bucket(DATA, 0, 5)
    assert http.mirrors() == [] and len(server.uploads) == 1


def test_dead_and_lying_mirrors_are_passed_over(tmp_path: Path, http: HttpStore, server: Server):
    server.blobs = {NAME: b"lies"}
    good = LocalStore(tmp_path)
    good.put(DATA)
    with HttpStore(f"http://127.0.0.1:{free_port()}", Account.create(), 31337, 7, tries=1) as dead:
        with pytest.raises(StoreError, match="cannot reach the store"):
            dead.get(NAME, 100)
        assert MultiStore([dead, http, good]).get(NAME, 100) == DATA
        assert MultiStore([dead, good]).has(NAME)
        with pytest.raises(BlobCorrupt):
            MultiStore([http, LocalStore(tmp_path / "empty")]).get(NAME, 100)
        with pytest.raises(BlobNotFound):
            MultiStore([good]).get(ABSENT, 100)
        assert MultiStore([dead, good]).put(DATA + b"!") and good.has(sha256(DATA + b"!").hexdigest())


def test_a_store_url_must_be_one():
    with pytest.raises(UsageError, match="no store URL"):
        HttpStore("localhost:8700")
