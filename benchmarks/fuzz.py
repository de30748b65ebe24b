"""A million mutated inputs for what parses strangers' bytes, and 50,000 bodies for a live server.

Seeded mutations of valid inputs: bits flipped, numbers set to extremes, pieces cut out, repeated, appended or
spliced in from another input; JSON values replaced. A parser must accept, or raise a `PiError`. Anything else
counts as a crash: another exception, a process that dies or runs into its memory limit (1 GiB above what it
starts with), an input that takes more than a second of CPU time. `fuzz_api.py` has the server's part.

    python -m benchmarks fuzz
    python -m benchmarks.fuzz --inputs 3000 --bodies 300 --seed 7      writes nothing
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from pi_sdk.chain import decode_revert
from pi_sdk.codec import PROOF_BYTES, Trace, canonical_json, parse_run_spec, sha256
from pi_sdk.errors import PiError
from pi_sdk.store import HttpStore
from pi_sdk.types import CodecSpec, Invite, RunSpec
from pi_train.checkpoint_file import CheckpointParts, part_hashes
from pi_train.codecs import UpdateFile, encode_update
from pi_train.outer import Checkpoint
from pi_train.proofs import build_proofs, check_proofs, parse_proofs
from pi_train.state import Border, PrivateState
from pi_train.tokens import byte_tokenizer, load_tokenizer

from .common import publish

INPUTS, BODIES = 1_000_000, 50_000
BATCH = 2000
SECONDS = 1.0
"""CPU time that one input may take."""
_MEMORY = 1 << 30
_TRACED = 100
"""Inputs of each batch whose peak of memory is measured."""


class Target(NamedTuple):
    """What is fuzzed: valid inputs, and what parses them."""

    samples: list[bytes]
    parse: Callable[[bytes], object]


# --- mutations ----------------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 127, 128, 255, 256, 32767, 32768, 65497, 65535)
_EXTREMES += (1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1 << 31, 1 << 53, 1 << 64, 10**40, 0.5, 1e308, -0.0)
_VALUES += ("", "0" * 64, "\ud800", "x" * 5000, "gpt", "hf", "factory", [], {}, [[]], {"kind": "hf"})
_VALUES += (float("inf"), float("nan"))


def mutated(rng: random.Random, samples: list[bytes]) -> bytes:
    data = rng.choice(samples)
    if data[:1] == b"{" and rng.random() < 0.7:
        return mutated_json(rng, data)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1) if rng.random() < 0.7 else rng.randrange(min(len(out), 64) + 1)
        kind = rng.randrange(10)
        if kind < 4 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind < 7:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(_EXTREMES) & (1 << 8 * size) - 1
            out[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))[: len(out) - at]
        elif kind == 7:
            other = rng.choice(samples)
            size = rng.randrange(len(other) + 1)
            start = at if rng.random() < 0.5 else rng.randrange(len(other) + 1)
            out[at : at + size] = other[start : start + size]
        elif kind == 8:
            del out[at : at + rng.choice((1, 2, 32, 256, len(out)))]
        else:
            out += rng.choice((b"\x00", rng.randbytes(rng.randrange(300)), bytes(out[at : at + 256])))
    return bytes(out)


def mutated_json(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.02:
        depth = rng.choice((10, 1000, 30_000))
        return b'{"model":' + b"[" * depth + rng.choice((b"", b"]" * depth + b"}"))
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(_places(value))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind < 3:
            holder[key] = deepcopy(rng.choice(_VALUES))
        elif kind == 3:
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = deepcopy(other[name])
        elif kind == 4:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(("x", "", "kind", "k" * 300))] = deepcopy(rng.choice(_VALUES))
        else:
            holder.extend(holder[:1] * rng.choice((1, 300)))
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place that holds a value: (dict or list, key)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


# --- what is fuzzed -----------------------------------------------------------------------------------------

N = 4500
"""Values of an update and a checkpoint: a whole chunk of every codec, and a part of one."""


def spec_of(**changes: Any) -> RunSpec:
    shard = {"sha256": "ab" * 32, "bytes": 1000}
    spec = {
        "name": "fuzz",
        "seed": 1,
        "rounds": 3,
        "model": {"kind": "gpt", "layers": 1, "heads": 1, "width": 8, "context": 32, "vocab": 16},
        "data": {"train": [shard], "validation": [shard]},
        "genesis_root": "cd" * 32,
        "genesis_file": "ef" * 32,
        "inner": {"steps": 4, "batch": 2, "sequence": 32},
        "codec": {},
        "outer": {},
        "trace": {"segment": 2},
        "audit": {},
        "classes": [{"id": "cpu", "torch": "2.13.0"}],
        "limits": [{"worker": "cpu", "validator": "cpu", "limit": 0.1}],
    }
    return RunSpec.model_validate(spec | changes)


def _proofs() -> Target:
    hidden = np.random.default_rng(0).standard_normal((1, 64, 16), dtype=np.float32)
    samples = [b"".join(build_proofs(hidden + i)) for i in range(3)]

    def parse(data: bytes) -> object:
        return check_proofs(hidden, [data[i : i + PROOF_BYTES] for i in range(0, len(data), PROOF_BYTES)])

    return Target(samples, parse)


def _update(codec: CodecSpec) -> Target:
    rng = np.random.default_rng(0)
    samples = [encode_update(codec, rng.normal(0, 1 << 12, N).astype(np.int32)) for _ in range(2)]
    samples.append(encode_update(codec, np.zeros(N, np.int32)))

    def parse(data: bytes) -> object:
        update = UpdateFile(codec, data, N)
        return update.norm, update.root, update.decode()

    return Target(samples, parse)


def _checkpoint(momentum: bool, guards: int) -> Target:
    rng = np.random.default_rng(0)

    def one() -> bytes:
        guard = np.ones((guards, 4), np.uint64) if guards else None
        moved = rng.integers(-(1 << 40), 1 << 40, N) if momentum else None
        return Checkpoint(rng.integers(-(1 << 24), 1 << 24, N, np.int32), moved, guard).to_bytes()

    return Target([one(), one()], lambda data: Checkpoint.from_bytes(data, N, momentum, guards).root())


def _checkpoint_file() -> Target:
    path = Path(tempfile.mkdtemp()) / "checkpoint"
    n = 300_000  # two parts
    samples = [Checkpoint(np.full(n, i, np.int32)).to_bytes() for i in (0, 1)]

    def parse(data: bytes) -> object:
        path.write_bytes(data)
        return part_hashes(path)

    return Target([*samples, *(s[:64] for s in samples)], parse)


def _part_hashes() -> Target:
    samples = [bytes(32 * 5), bytes(range(160))]
    parts = CheckpointParts(bytes(32), 5 << 18, False)
    return Target(samples, parts.load)


def _trace() -> Target:
    hidden = np.random.default_rng(0).standard_normal((1, 32, 16), dtype=np.float32)
    proofs = (build_proofs(hidden),) * 4
    roots = [sha256(bytes([i])) for i in range(4)]
    samples = [Trace("cpu", tuple(roots[:3]), tuple(roots), (1, 2, 3, i), proofs).encode() for i in (4, 5)]

    def parse(data: bytes) -> object:
        trace = Trace.decode(data, steps=4, segments=2, per_step=1)
        np.array(trace.losses, np.uint32)
        return parse_proofs([proof for step in trace.proofs for proof in step])

    return Target(samples, parse)


def _private_state(**outer: int) -> Target:
    spec = spec_of(outer=outer) if outer else spec_of()
    n, rng = spec.model.parameters, np.random.default_rng(0)

    def one() -> bytes:
        m = rng.standard_normal(n, np.float32)
        own = m if spec.outer.keeps_parameters else None
        return PrivateState(m, m * m, (m * 1000).astype(np.int32), 7, own, 2).to_bytes()

    return Target([one(), one()], lambda data: PrivateState.from_bytes(data, spec))


def _border() -> Target:
    rng = np.random.default_rng(0)
    m = rng.standard_normal(1000, np.float32)
    samples = [Border(m, m, m * m, step).to_bytes() for step in (1, 1 << 40)]
    return Target(samples, lambda data: Border.from_bytes(data, 1000))


def _run_spec() -> Target:
    layout = [["a", [4, 4]], ["b.weight", [64]]]
    shard = {"sha256": "ab" * 32, "bytes": 1000}
    module = {"layout": layout, "context": 32, "vocab": 16}
    lora = {"rank": 4, "alpha": 8.0, "targets": ["q_proj"]}
    hf = {"kind": "hf", "transformers": "5.23.0", "config": {"model_type": "llama", "rope": {"theta": 1e4}}}
    models = [
        {"kind": "gpt"},
        {**module, **hf},
        {**module, **hf, "base": [shard], "lora": lora},
        {**module, "kind": "factory", "factory": "a.b:make", "arguments": {"n": [1, 2.5, None, "x"]}},
    ]
    samples = [canonical_json(spec_of(model=model)) for model in models]
    samples.append(
        canonical_json(spec_of(model={"kind": "gpt"}, outer={"fragments": 2, "delay": 1, "mix": 5}))
    )

    def parse(data: bytes) -> object:
        spec = parse_run_spec(data)
        places = [spec.update_values(round_) for round_ in range(3)]
        return canonical_json(spec), spec.checkpoint_shape, spec.segments, spec.files, places

    return Target(samples, parse)


def _invite() -> Target:
    samples = [Invite(nonce=5, deadline=6, signature=bytes(65)).to_text().encode()]
    samples.append(Invite(nonce=1 << 200, deadline=1 << 60, signature=b"\xff" * 999).to_text().encode())
    return Target(samples, lambda data: Invite.from_text(data.decode("latin-1")))


def _revert() -> Target:
    words = (32).to_bytes(32) + (5).to_bytes(32) + b"hello".ljust(32, b"\0")
    samples = [bytes.fromhex("08c379a0") + words, bytes.fromhex("4e487b71") + (17).to_bytes(32)]
    return Target(samples, decode_revert)


def _answers() -> Target:
    """Answers of an orchestrator, out of a real server: its mirrors, and an upload to its bucket."""
    answer = [b""]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(min(int(self.headers.get("content-length") or 0), 1 << 16))
            self.send_response(200)
            self.send_header("content-length", str(len(answer[0])))
            self.end_headers()
            self.wfile.write(answer[0])

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that go away are none of its trouble."""

    server = Server(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    from eth_account import Account

    url = f"http://127.0.0.1:{server.server_port}"
    store = HttpStore(url, Account.from_key(bytes(31) + b"\1"), 31337, 1, tries=1)
    data = b"update"
    headers = {"content-length": "6", "x-amz-date": "now", "host": "elsewhere"}
    bucket = {"url": f"{url}/blobs/{sha256(data).hex()}?signed=1", "headers": headers, "location": url}
    samples = [json.dumps({**bucket, "expires": 600, "mirrors": [url, "https://mirror.example"]}).encode()]

    def parse(body: bytes) -> object:
        answer[0] = body
        return store.mirrors(), store.put_in_bucket(data, 0, 5.0)

    return Target(samples, parse)


TARGETS: dict[str, tuple[int, Callable[[], Target]]] = {
    "proofs": (200, _proofs),
    "update sparse-2bit": (60, lambda: _update(CodecSpec(k=64))),
    "update sparse-2bit, odd k": (40, lambda: _update(CodecSpec(k=7))),
    "update dense-int8": (60, lambda: _update(CodecSpec(name="dense-int8"))),
    "update dense-fixed": (40, lambda: _update(CodecSpec(name="dense-fixed"))),
    "update dct-topk": (60, lambda: _update(CodecSpec(name="dct-topk", k=8))),
    "checkpoint": (40, lambda: _checkpoint(False, 0)),
    "checkpoint, momentum": (40, lambda: _checkpoint(True, 0)),
    "checkpoint, momentum, guards": (40, lambda: _checkpoint(True, 2)),
    "checkpoint file": (1, _checkpoint_file),
    "part hashes": (20, _part_hashes),
    "trace": (90, _trace),
    "private state": (40, _private_state),
    "private state, parameters": (40, lambda: _private_state(mix=5)),
    "border": (80, _border),
    "RunSpec": (80, _run_spec),
    "invite": (60, _invite),
    "tokenizer": (5, lambda: Target([byte_tokenizer()], load_tokenizer)),
    "revert data": (20, _revert),
    "API answers": (1, _answers),
}
"""Shares of the inputs, and what makes a target."""
_target = cache(lambda name: TARGETS[name][1]())


# --- running ------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """What came of some inputs. `peak` is in bytes, `slowest` in seconds of CPU time."""

    accepted: int
    crashes: list[str]
    peak: int
    slowest: float


def run_batch(name: str, seed: str, count: int) -> Batch:
    """Feeds `count` inputs to a parser. The same seed gives the same inputs."""
    target, rng = _target(name), random.Random(f"{name} {seed}")
    for sample in target.samples:  # valid ones, and whatever is loaded at first use
        try:
            target.parse(sample)
        except PiError:
            pass
    accepted, crashes, peak, slowest = 0, [], 0, 0.0
    for i in range(count):
        data = mutated(rng, target.samples)
        if i == count - _TRACED:
            tracemalloc.start()
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
        began = time.thread_time()
        try:
            target.parse(data)
            accepted += 1
        except PiError:
            pass
        except BaseException as error:  # whatever it is: a panic of a native library is no Exception
            crashes.append(f"{name} {seed}: {type(error).__name__}: {str(error)[:150]}: {data[:60].hex()}")
        taken = time.thread_time() - began
        slowest = max(slowest, taken)
        if taken > SECONDS:
            crashes.append(f"{name} {seed}: {taken:.1f} s: {data[:60].hex()}")
        if tracemalloc.is_tracing():
            peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return Batch(accepted, crashes, peak, slowest)


def _limited() -> None:
    """Bounds a process's memory."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, -1))


def parsers(inputs: int, seed: str) -> list[dict]:
    """Rows by parser. A process that dies is one crash, and ends its parser's batch."""
    rows, shares = [], sum(share for share, _ in TARGETS.values())
    for name, (share, _) in TARGETS.items():
        count, row = -(-inputs * share // shares), []
        left = count
        while left > 0:
            with ProcessPoolExecutor(1, initializer=_limited) as pool:
                batches = []
                while left > 0 and len(batches) < 50:  # a fresh process now and then
                    size = min(left, BATCH)
                    batches.append(pool.submit(run_batch, name, f"{seed}.{left}", size))
                    left -= size
                for i, batch in enumerate(batches):
                    try:
                        row.append(batch.result())
                    except BrokenProcessPool:
                        row.append(Batch(0, [f"{name} {seed}: the process died in batch {i}"], 0, 0.0))
                        break
        crashes = [crash for batch in row for crash in batch.crashes]
        print(*crashes[:10], sep="\n", end="\n" if crashes else "", file=sys.stderr)
        rows.append(
            {
                "parser": name,
                "inputs": count,
                "accepted": sum(batch.accepted for batch in row),
                "crashes": len(crashes),
                "peak KiB": round(max(batch.peak for batch in row) / 1024),
                "slowest ms": round(1000 * max(batch.slowest for batch in row), 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--bodies", type=int, default=BODIES)
    parser.add_argument("--seed", default="1")
    whole = __name__ != "__main__"
    chosen = parser.parse_args([] if whole else None)
    rows = parsers(chosen.inputs, chosen.seed)
    server = {}
    if chosen.bodies:
        from .fuzz_api import attack_a_server

        server = attack_a_server(chosen.bodies, chosen.seed)
    totals = {
        "inputs": sum(row["inputs"] for row in rows) + chosen.bodies,
        "crashes": sum(row["crashes"] for row in rows) + server.get("failures", 0),
    }
    if whole:
        note = "parsers: by parser; peak KiB and slowest ms are those of the worst input"
        publish("fuzz", "Mutated inputs", [totals], note, parsers=rows, server=server)
    print(json.dumps({**totals, "server": server}))


if __name__ == "__main__":
    main()
