"""The server's part of `fuzz.py`: mutated requests and bodies for a real `pi-orchestrator serve` with a pool
on a real chain. Workers and validators serve nothing.

Two thirds are valid requests (health, pools, blobs, ranges, signed uploads) with bytes changed anywhere; the
rest are well-formed HTTP with nonsense in path, query and headers, and signed uploads of mutated bodies. The
server must never answer 5xx, never leave a request that has ended unanswered for ten seconds, log no
traceback, take good requests afterwards, and stop on SIGTERM with code 0.
"""

import random
import re
import select
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, HttpStore, LocalStore, PoolParams
from pi_sdk.codec import sha256, upload_message
from pi_sdk.networks import dev_key
from pi_sdk.processes import Process, Processes, accepts, free_port
from pi_sdk.tools import anvil_path
from pi_train.prepare import prepare

from .fuzz import mutated

_SILENT = 10
_FRESH = 40
"""Seconds for which a signature serves; it is valid for 60."""
_WAIT = 1
"""Seconds for which the sender of a request that looks whole stays on the line."""
_THREADS = 16
_JUNK = (
    *("", "0", "1", "-1", "1e9", "None", "{}", "[]", '{"a":', "../../etc/passwd", "%00", "%2e%2e%2f", "\xe9"),
    *("9" * 30, "f" * 64, "F" * 64, "0x" + "1" * 40, "0x" + "f" * 130, "artifact", "evidence", str(2**64)),
    *("a" * 5000, "bytes=0-", "bytes=5-1", "bytes=-0", "bytes=" + "9" * 15 + "-", "chunked", "100-continue"),
)
_NAMES = (
    "X-Pi-Address",
    "X-Pi-Time",
    "X-Pi-Signature",
    "Content-Type",
    "Range",
    "Expect",
    "Transfer-Encoding",
)


class Requests:
    """Valid requests of a member of the pool, as bytes, with mutations."""

    def __init__(self, account: LocalAccount, pool: int, stored: str):
        self._account, self._pool, self._stored = account, pool, stored
        self._samples, self._made = list[bytes](), 0.0

    def next(self, rng: random.Random) -> bytes:
        if time.monotonic() - self._made > _FRESH:
            self._samples, self._made = self._valid(), time.monotonic()
        kind = rng.random()
        if kind < 0.65:
            return mutated(rng, self._samples)
        if kind < 0.7:
            return self._upload(mutated(rng, [b"some bytes", bytes(3000)]))
        return self._nonsense(rng)

    def _valid(self) -> list[bytes]:
        blob = f"/blobs/{self._stored}"
        plain = [("GET", "/health"), ("GET", "/pools"), ("GET", f"/pools/{self._pool}"), ("HEAD", blob)]
        found = [request(method, path, {}, b"") for method, path in plain]
        found.append(request("GET", blob, {"Range": "bytes=2-5"}, b""))
        return [*found, self._upload(b"an upload"), self._upload(bytes(2000)), self._upload(b"", "presigned")]

    def _upload(self, body: bytes, what: str = "") -> bytes:
        name, now = sha256(body).hex(), int(time.time())
        text = upload_message(31337, self._pool, "artifact", 0, name, now)
        headers = {
            "X-Pi-Address": self._account.address,
            "X-Pi-Time": str(now),
            "X-Pi-Signature": "0x" + self._account.sign_message(encode_defunct(text=text)).signature.hex(),
        }
        query = f"pool={self._pool}&kind=artifact&round=0"
        if what:
            return request("POST", f"/blobs/{name}/{what}?{query}&size=0", headers, body)
        return request("PUT", f"/blobs/{name}?{query}", headers, body)

    def _nonsense(self, rng: random.Random) -> bytes:
        path = rng.choice(("/blobs/", "/pools/", "/health/", "/blobs/x/", "/")) + rng.choice(_JUNK)
        query = "&".join(f"{name}={rng.choice(_JUNK)}" for name in ("pool", "kind", "round", "size", "x"))
        headers = {name: rng.choice(_JUNK) for name in rng.sample(_NAMES, rng.randrange(5))}
        method = rng.choice(("PUT", "PUT", "POST", "DELETE", "GET", "HEAD", "OPTIONS", "X"))
        body = rng.choice((b"", b"{}", b"[" * 1000, rng.randbytes(100)))
        return request(method, f"{path}?{query}", headers, body)


def request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answer(port: int, data: bytes) -> str:
    """The status of the answer; "closed" where there is none, "silent" where there is none in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_SILENT) as connection:
            connection.sendall(data)
            if not (looks_whole(data) and select.select([connection], [], [], _WAIT)[0]):
                connection.shutdown(socket.SHUT_WR)
            said = connection.recv(1 << 16)
    except TimeoutError:
        return "silent"
    except OSError:  # reset before all of it was sent
        return "closed"
    return said[9:12].decode("latin-1") if said.startswith(b"HTTP/1.1 ") else "closed"


def looks_whole(data: bytes) -> bool:
    """Whether a server may take it for a whole request; it drops one whose sender hangs up before."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", head.lower() + b"\r\n")
    return bool(end) and (length is None or len(body) >= int(length[1]))


def attack(port: int, requests: Requests, count: int, seed: str) -> tuple[Counter, list[str]]:
    """Sends `count` requests; statuses by number, and what the server must not do."""
    rng, statuses, failures = random.Random(seed), Counter(), []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, count, 1000):
            batch = [requests.next(rng) for _ in range(min(1000, count - start))]
            for data, status in zip(batch, pool.map(lambda d: answer(port, d), batch), strict=True):
                statuses[status] += 1
                if status == "silent" or status.startswith("5"):
                    failures.append(f"{status}: {data[:200]!r}")
    return statuses, failures


def attack_a_server(count: int, seed: str) -> dict:
    """Starts chain and server, attacks, and says what came of it."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "logs") as processes:
        home, rpc, port = Path(name), free_port(), free_port()
        chain = processes.start("anvil", [anvil_path(), "--port", str(rpc), "--quiet"])
        processes.wait_ready(chain, lambda: accepts(rpc))
        creator, url = Account.from_key(dev_key(0)), f"http://127.0.0.1:{port}"
        with Client("local", creator, rpc_url=f"http://127.0.0.1:{rpc}", poll=0.01) as client:
            client.deploy(unbonding_time=3600)
            spec = prepare(store=LocalStore(home / "spec"), rounds=2, data=Path(__file__).parent)
            params = PoolParams(
                orchestrator=Account.from_key(dev_key(2)).address, rounds=2, max_width=spec.max_width
            )
            pool = client.create_pool(spec, params, url)
        program = Path(sys.executable).parent / "pi-orchestrator"
        argv = [program, "serve", "--rpc-url", f"http://127.0.0.1:{rpc}", "--port", str(port)]
        key = {"PI_PRIVATE_KEY": "0x" + dev_key(2).hex()}
        server = processes.start("orchestrator", [*argv, "--home", home / "home"], key)
        processes.wait_ready(server, lambda: accepts(port))
        with HttpStore(url, creator, 31337, pool) as store:
            stored = store.put(b"a good upload")
            before = peak_rss(server)
            statuses, failures = attack(port, Requests(creator, pool, stored), count, seed)
            after = peak_rss(server)
            assert httpx.get(f"{url}/health").json()["ok"]
            assert store.get(store.put(b"another good upload"), 100) == b"another good upload"
        server.popen.terminate()
        code = server.popen.wait(20)
        traceback = "Traceback" in server.log.read_text()
        if code or traceback:
            failures.append(f"the server ended with code {code}: {server.tail()}")
    print(*failures[:10], sep="\n", end="\n" if failures else "", file=sys.stderr)
    return {
        "bodies": count,
        "failures": len(failures),
        "statuses": dict(sorted(statuses.items())),
        "peak MiB before": before >> 20,
        "peak MiB after": after >> 20,
    }


def peak_rss(process: Process) -> int:
    """Bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10
