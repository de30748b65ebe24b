"""The HTTP API of the real process: who may store what, and that nonsense is answered and leaves nothing."""

import json
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from chain import Anvil, free_port
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from pi_orchestrator.aggregate import Aggregator
from pi_orchestrator.blobs import BlobStore, OverQuota, Reason
from pi_orchestrator.db import Database
from pi_orchestrator.model import Pool
from pi_sdk import HttpStore, MalformedArtifact, SpecMismatch, UploadRefused, dev_key
from pi_sdk.codec import canonical_json, run_spec_hash, sha256, upload_message
from process import Process
from scripted import N, Worker, connect, dev_account, pool_params, tiny_spec

MAX_BLOB, QUOTA = 64 << 10, 150_000


@dataclass
class World:
    """A pool that never opens a round, its creator and one member; requests go to `http`."""

    process: Process
    http: httpx.Client
    pool: int
    creator: LocalAccount
    member: Worker

    def put(
        self,
        data: bytes,
        account: LocalAccount,
        name: str = "",
        headers: dict | None = None,
        **changes: object,
    ) -> httpx.Response:
        """An honest upload, but for the changes: of what is signed, then of the headers alone."""
        name = name or sha256(data).hex()
        signed = {"chain": 31337, "pool": self.pool, "kind": "artifact", "round": 0, "time": int(time.time())}
        signed |= changes
        text = upload_message(*(signed[k] for k in ("chain", "pool", "kind", "round")), name, signed["time"])
        sent = {
            "X-Pi-Address": account.address,
            "X-Pi-Time": str(signed["time"]),
            "X-Pi-Signature": "0x" + account.sign_message(encode_defunct(text=text)).signature.hex(),
        }
        params = {k: str(signed[k]) for k in ("pool", "kind", "round")}
        return self.http.put(f"/blobs/{name}", content=data, params=params, headers=sent | (headers or {}))

    def stored(self) -> set[str]:
        """Names of all files under the store, unfinished ones included."""
        return {p.name for p in (self.process.home / "blobs").rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def world(chain: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("api")
    arguments = ("--max-blob", str(MAX_BLOB), "--quota", str(QUOTA))
    process = Process(folder / "home", chain, dev_key(2), free_port(), arguments)
    with connect(chain, dev_account(3)) as client, httpx.Client(base_url=process.url, timeout=10) as http:
        try:
            process.wait_ready()
            spec = tiny_spec(BlobStoreless(), folder, 2)
            pool = client.create_pool(spec, pool_params(dev_account(2).address, 2), process.url)
            member = Worker.make(chain, client)
            member.join(pool, process.url)
            yield World(process, http, pool, dev_account(3), member)
            member.close()
        finally:
            assert process.stop() == 0
    assert "Traceback" not in process.log.read_text()


class BlobStoreless:
    """Names files without keeping them: the RunSpec is all that is wanted."""

    def put(self, data: bytes, kind: str = "artifact", round: int = 0) -> str:
        return sha256(data).hex()


def refused(response: httpx.Response, status: int, why: str) -> None:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and why in response.json()["error"], response.text


def test_an_upload_is_stored_once_and_served(world: World):
    data = random.Random(1).randbytes(30_000)
    name = sha256(data).hex()
    assert world.http.head(f"/blobs/{name}").status_code == 404
    assert world.put(data, world.creator).status_code == 201
    assert world.put(data, world.creator).status_code == 200
    assert world.put(data, world.member.node).status_code == 201  # another reason to keep it
    assert world.http.get(f"/blobs/{name}").content == data
    head = world.http.head(f"/blobs/{name}")
    assert head.status_code == 200 and head.headers["content-length"] == "30000" and not head.content
    assert world.stored() == {name}
    for person in (world.member.operator.account, dev_account(2)):
        assert person and world.put(b"from " + person.address.encode(), person).status_code == 201


def test_the_sdk_store_works_with_it(world: World):
    with HttpStore(world.process.url, world.member.node, 31337, world.pool) as store:
        name = store.put(b"")
        assert store.has(name) and store.get(name, 0) == b""
    with HttpStore(world.process.url, Account.create(), 31337, world.pool) as store:
        with pytest.raises(UploadRefused, match="no part in pool"):
            store.put(b"stranger")


@pytest.mark.parametrize("ahead", [-3600, 90, 10**9])
def test_a_wrong_clock_is_no_reason_to_lose_an_upload(
    world: World, monkeypatch: pytest.MonkeyPatch, ahead: int
):
    wrong = SimpleNamespace(**vars(time))
    wrong.time = lambda: time.time() + ahead
    monkeypatch.setattr("pi_sdk.store.http.time", wrong)
    with HttpStore(world.process.url, world.member.node, 31337, world.pool) as store:
        for i in range(2):
            assert store.has(store.put(b"late %d %d" % (ahead, i)))


def test_refusals(world: World):
    before, data, node = world.stored(), b"some bytes", world.member.node
    put = world.put
    refused(put(data, node, name="0" * 64), 422, "do not hash")
    refused(put(bytes(MAX_BLOB + 1), node), 413, "at most")
    refused(put(data, Account.create()), 403, "no part")
    refused(put(data, node, pool=world.pool + 1000), 404, "not served here")
    refused(put(data, node, kind="evidence"), 409, "has not opened")
    refused(put(data, node, time=int(time.time()) - 120), 401, "X-Pi-Time")
    refused(put(data, node, time=int(time.time()) + 120), 401, "X-Pi-Time")
    refused(put(data, node, chain=1), 401, "X-Pi-Signature")
    refused(put(data, node, headers={"X-Pi-Time": str(int(time.time()) - 1)}), 401, "X-Pi-Signature")
    refused(put(data, node, headers={"X-Pi-Address": world.creator.address}), 401, "X-Pi-Signature")
    refused(put(data, node, headers={"X-Pi-Signature": "0x" + "ff" * 65}), 401, "X-Pi-Signature")
    refused(put(data, node, headers={"X-Pi-Signature": "0x" + "00" * 65}), 401, "X-Pi-Signature")
    refused(put(data, node, headers={"X-Pi-Address": "nobody"}), 401, "are needed")
    refused(put(data, node, kind="junk"), 400, "kind")
    refused(put(data, node, round="x"), 400, "numbers")
    refused(put(data, node, pool="1e3"), 400, "numbers")
    refused(put(data, node, name="A" * 64), 400, "64 lower-case hex")
    refused(world.http.put("/blobs/" + "0" * 64, content=iter([b"x"])), 400, "numbers")
    name = sha256(data).hex()
    params = {"pool": str(world.pool), "kind": "artifact", "round": "0"}
    refused(world.http.put(f"/blobs/{name}", params=params, content=iter([data])), 411, "Content-Length")
    refused(world.http.put(f"/blobs/{name}", params=params, content=data), 401, "are needed")
    assert world.stored() == before


def test_quota_counts_per_address(world: World):
    node, blobs = world.member.node, [bytes([i]) * MAX_BLOB for i in range(2)]
    other = world.member.operator.account
    assert other is not None
    first = [world.put(blob, node).status_code for blob in blobs]
    assert 413 in first or world.put(bytes([9]) * MAX_BLOB, node).status_code == 413
    refused(world.put(bytes([10]) * MAX_BLOB, node), 413, "are used by this address")
    assert world.put(bytes([10]) * MAX_BLOB, other).status_code == 201


def test_a_new_member_need_not_wait(world: World, chain: Anvil):
    with connect(chain, dev_account(3)) as client:
        worker = Worker.make(chain, client)
        worker.join(world.pool, world.process.url)
        assert world.put(b"at once", worker.node).status_code == 201
        worker.close()


def test_what_people_see(world: World):
    health = world.http.get("/health").json()
    assert health["ok"] and health["chain_id"] == 31337 and world.pool in health["pools"]
    assert health["orchestrator"] == dev_account(2).address
    assert "604800 s" in health["retention"]["artifact"]
    assert world.pool in [p["id"] for p in world.http.get("/pools").json()]
    shown = world.http.get(f"/pools/{world.pool}").json()
    assert shown["phase"] == "idle" and shown["round"] is None and shown["history"] == []
    assert shown["members"][world.member.node.address]["status"] == "waiting"
    for path in ("/pools/999", "/pools/-1", "/pools/abc", "/pools/" + "9" * 400, "/nothing", "/"):
        response = world.http.get(path)
        assert response.status_code == 404 and "error" in response.json()


def test_random_nonsense_is_answered_and_leaves_nothing(world: World):
    """Well-formed HTTP with nonsense in it: always a 4xx with an error in JSON."""
    chance, before = random.Random(7), world.stored()
    junk = [
        "",
        "0",
        "-1",
        "1e9",
        "None",
        "{}",
        "[]",
        '{"a":',
        "../../etc/passwd",
        "%00",
        "%2e%2e%2f",
        "é",
        "0x",
        "9" * 30,
    ]
    junk += [
        "f" * 64,
        "F" * 64,
        "0x" + "1" * 40,
        "0x" + "f" * 130,
        "artifact",
        "evidence",
        str(2**64),
        "a" * 5000,
    ]
    for _ in range(120):
        path = chance.choice(["/blobs/", "/pools/", "/health/", "/blobs/x/", "/"]) + chance.choice(junk)
        names = ["pool", "kind", "round", "sha256", "X"]
        params = {name: chance.choice(junk) for name in chance.sample(names, chance.randrange(5))}
        heads = ["X-Pi-Address", "X-Pi-Time", "X-Pi-Signature", "Content-Type", "Range"]
        headers = {h: chance.choice(junk).encode() for h in chance.sample(heads, chance.randrange(5))}
        method = chance.choice(["PUT", "PUT", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "GET"])
        body = chance.choice([b"", b"{}", b"[[[[", chance.randbytes(100)])
        if method == "GET" and path in ("/pools/", "/"):
            continue
        response = world.http.request(method, path, params=params, headers=headers, content=body)
        request = (method, path, params, headers)
        assert 400 <= response.status_code < 500 and "error" in response.json(), (request, response.text)
    assert world.stored() == before


def test_broken_http_and_broken_uploads_leave_nothing(world: World):
    chance, before = random.Random(8), world.stored()
    host, port = world.process.url.removeprefix("http://").split(":")
    starts = [
        b"PUT /blobs/",
        b"GET /",
        b"\x16\x03\x01",
        b"PUT /blobs/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\n",
    ]
    tails = [
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"\r\n\r\n",
        b" HTTP/9.9\r\n\r\n",
    ]
    tails += [
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ]
    for _ in range(60):
        request = chance.choice(starts) + chance.choice([b"", chance.randbytes(50)]) + chance.choice(tails)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert not answer or answer.startswith(b"HTTP/1.1 4"), (request, answer)
    # An upload that is announced, begun and broken off.
    data = chance.randbytes(50_000)
    name, when = sha256(data).hex(), int(time.time())
    text = upload_message(31337, world.pool, "artifact", 0, name, when)
    signature = world.creator.sign_message(encode_defunct(text=text)).signature.hex()
    head = (
        f"PUT /blobs/{name}?pool={world.pool}&kind=artifact&round=0 HTTP/1.1\r\nHost: x\r\n"
        f"Content-Length: {len(data)}\r\nX-Pi-Address: {world.creator.address}\r\nX-Pi-Time: {when}\r\n"
        f"X-Pi-Signature: 0x{signature}\r\n\r\n"
    ).encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head + data[:20_000])
        deadline = time.monotonic() + 10
        while world.stored() == before:  # it has begun
            assert time.monotonic() < deadline
    deadline = time.monotonic() + 10
    while world.stored() != before:  # and is gone again
        assert time.monotonic() < deadline
    assert world.http.get(f"/blobs/{name}").status_code == 404
    assert world.put(data, world.creator).status_code == 201
    assert world.http.get(f"/blobs/{name}").content == data


def test_errors_at_the_start_are_one_line(world: World, chain: Anvil, tmp_path: Path):
    def serve(*arguments: str, key: bytes = dev_key(2), rpc: str = chain.url) -> tuple[int, str]:
        program = world.process.popen.args[0]  # type: ignore[index]
        command = [program, "serve", "--rpc-url", rpc, "--private-key", "0x" + key.hex(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    home, port = str(tmp_path / "home"), world.process.url.rsplit(":", 1)[1]
    for code, why, arguments, rpc in (
        (1, f"cannot listen on 127.0.0.1:{port}", ("--home", home, "--port", port), chain.url),
        (2, "is in use by a running program", ("--home", str(world.process.home), "--port", "0"), chain.url),
        (1, "cannot reach", ("--home", home, "--port", "0"), f"http://127.0.0.1:{free_port()}"),
    ):
        returned, said = serve(*arguments, rpc=rpc)
        assert returned == code and said.startswith("error: ") and said.count("\n") == 1 and why in said, said


def test_a_file_goes_with_its_last_reason(tmp_path: Path):
    db = Database(tmp_path / "db")
    (tmp_path / "blobs" / ".incoming").mkdir(parents=True)
    (tmp_path / "blobs" / ".incoming" / "left-over").write_bytes(b"of a crash")
    blobs = BlobStore(tmp_path / "blobs", db)
    assert not list((tmp_path / "blobs").rglob("left-over"))

    def upload(data: bytes, reason: Reason, quota: int = 100) -> str:
        name = sha256(data).hex()
        with blobs.receive(name, len(data), reason, quota) as incoming:
            incoming.write(data)
            incoming.commit()
        return name

    shared = upload(b"shared", Reason(1, "evidence", 3, "0xA"))
    assert shared == upload(b"shared", Reason(1, "evidence", 4, "0xA"))
    alone = upload(b"alone", Reason(1, "evidence", 3, "0xA"))
    artifact = blobs.put(b"artifact", 1, "0xO")
    assert sorted(db.evidence_rounds()) == [(1, 3), (1, 4)]
    with pytest.raises(OverQuota):
        upload(b"x" * 84, Reason(1, "evidence", 5, "0xA"))
    upload(b"x" * 84, Reason(1, "evidence", 5, "0xB"))
    blobs.drop(1, "evidence", 3)
    assert blobs.has(shared) and not blobs.has(alone) and blobs.has(artifact)
    blobs.drop(1, "evidence", 4)
    assert not blobs.has(shared)
    upload(b"x" * 100, Reason(1, "evidence", 6, "0xA"))  # the quota is free again
    # What is arriving counts too, and no longer once it has failed.
    with blobs.receive("0" * 64, 60, Reason(2, "artifact", 0, "0xA"), 100), pytest.raises(OverQuota):
        upload(b"y" * 60, Reason(2, "artifact", 0, "0xA"))
    upload(b"y" * 60, Reason(2, "artifact", 0, "0xA"))
    blobs.drop(1, "artifact")
    assert not blobs.has(artifact)
    db.close()


def test_missing_files_and_evidence_limit_follow_the_run_spec(tmp_path: Path):
    db = Database(tmp_path / "db")
    blobs = BlobStore(tmp_path / "blobs", db)

    class Creator:
        files: list[bytes] = []

        def put(self, data: bytes, kind: str = "artifact", round: int = 0) -> str:
            self.files.append(data)
            return sha256(data).hex()

    spec = tiny_spec(Creator(), tmp_path, 2)
    params = pool_params(dev_account(2).address, 2).model_dump()
    pool = Pool(1, "0xC", "0x" + run_spec_hash(spec).hex(), "0x" + spec.genesis_root, params)
    aggregator = Aggregator(blobs)
    assert [str(file) for file in aggregator.missing(pool)] == [f"RunSpec {run_spec_hash(spec).hex()}"]
    assert aggregator.evidence_limit(1) is None
    blobs.put(canonical_json(spec), 1, "0xC")
    assert f"genesis checkpoint {spec.genesis_file}" in map(str, aggregator.missing(pool))
    assert aggregator.evidence_limit(1) == 12 * N + (1 << 20)
    for data in Creator.files:
        blobs.put(data, 1, "0xC")
    assert aggregator.missing(pool) == []
    with pytest.raises(SpecMismatch, match="rounds is 3 in the pool and 2"):
        aggregator.missing(replace(pool, params=params | {"rounds": 3}))
    with pytest.raises(MalformedArtifact, match="another genesis root"):
        aggregator.missing(replace(pool, genesis_root="0x" + "00" * 32))
    assert json.loads(canonical_json(aggregator.spec(pool))) == json.loads(canonical_json(spec))
    db.close()
