"""A real local chain for tests: anvil on a free port, its state in a file where it is to be killed and
restarted."""

import ctypes
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pi_sdk.tools import anvil_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_the_tests() -> None:
    """In the child: SIGKILL when the test process ends, in whatever way (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Anvil:
    """One anvil process. `block_time=None` mines a block for every transaction, and on `mine`. With `keep` it
    writes its state every second, which costs more the longer it runs."""

    def __init__(self, folder: Path, block_time: float | None = None, *arguments: str, keep: bool = False):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "anvil.log"
        pace = [] if block_time is None else ["--block-time", str(block_time)]
        self._state = folder / "chain.json" if keep else None
        state = ["--state", str(self._state), "--state-interval", "1"] if keep else []
        self._arguments = [*pace, *state, *arguments]
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Starts, or starts again from the state that was last written."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [anvil_path(), "--port", str(self.port), *self._arguments],
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_the_tests,
            )
        give_up = time.monotonic() + 30
        while True:
            try:
                self.rpc("eth_chainId")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(f"anvil did not start: {self._log.read_text()[-2000:]}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9. anvil writes its state in place: where that breaks off, the one before is put back."""
        assert self._process is not None
        before = self._whole_state()
        self._process.kill()
        self._process.wait()
        if self._state is not None and before is not None and self._whole_state(tries=1) is None:
            self._state.write_bytes(before)

    def _whole_state(self, tries: int = 100) -> bytes | None:
        """What the state file holds, once it is whole; None where there is none."""
        for _ in range(tries if self._state is not None and self._state.exists() else 0):
            data = self._state.read_bytes()
            try:
                json.loads(data)
                return data
            except ValueError:
                time.sleep(0.02)
        return None

    def rpc(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
        assert "error" not in answer, answer
        return answer["result"]

    def mine(self, blocks: int = 1, seconds: int = 0) -> None:
        """Mines `blocks` blocks, the first of them `seconds` later."""
        if seconds:
            self.rpc("evm_increaseTime", seconds)
        for _ in range(blocks):
            self.rpc("evm_mine")

    def give_gas(self, address: str, ether: int = 100) -> None:
        self.rpc("anvil_setBalance", address, hex(ether * 10**18))


@contextmanager
def anvil(
    folder: Path, block_time: float | None = None, *arguments: str, keep: bool = False
) -> Iterator[Anvil]:
    chain = Anvil(folder, block_time, *arguments, keep=keep)
    try:
        yield chain
    finally:
        chain.kill()
