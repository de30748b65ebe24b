"""A real `pi-orchestrator serve` process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from chain import Anvil


class Process:
    def __init__(self, home: Path, chain: Anvil, key: bytes, port: int, arguments: tuple[str, ...]):
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        home.mkdir(exist_ok=True)
        self.log = home / "log"
        command = [Path(sys.executable).parent / "pi-orchestrator", "serve", "--rpc-url", chain.url]
        command += ["--home", home, "--port", str(port), *arguments]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PI_PRIVATE_KEY": "0x" + key.hex()}
            )

    def wait_ready(self) -> None:
        give_up = time.monotonic() + 30
        while True:
            try:
                assert httpx.get(f"{self.url}/health").json()["ok"]
                return
            except httpx.HTTPError:
                assert self.popen.poll() is None and time.monotonic() < give_up, self.log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(20)
