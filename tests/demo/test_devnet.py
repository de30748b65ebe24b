"""`pi devnet` as a person uses it: real processes, own ports, own home."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import psutil
from peers import until
from pi_sdk import Client
from pi_sdk.networks import local_deployment
from pi_sdk.processes import free_port

from .conftest import PI, processes_of


def ports() -> tuple[int, int]:
    return free_port(), free_port()


def first_block(rpc: int) -> str:
    """Hash of the chain's first block: no two chains have the same."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["0x1", False]}
    return httpx.post(f"http://127.0.0.1:{rpc}", json=body).json()["result"]["hash"]


def test_up_detached_then_down_then_up_goes_on_with_the_same_chain(pi, tmp_path: Path) -> None:
    home, (rpc, store) = tmp_path / "net", ports()
    options = ["--home", home, "--rpc-port", rpc, "--port", store]
    up = pi("devnet", "up", "--detach", *options)
    assert (up.returncode, up.stderr) == (0, "")
    assert f"http://127.0.0.1:{rpc}" in up.stdout and "pi-worker join" in up.stdout
    try:
        with Client("local", rpc_url=f"http://127.0.0.1:{rpc}") as client:
            assert client.deployed() and client.deployment == local_deployment()
        block = first_block(rpc)
        assert httpx.get(f"http://127.0.0.1:{store}/health").json()["chain_id"] == 31337

        again = pi("devnet", "up", *options)
        assert again.returncode == 1
        assert again.stderr.startswith("error: a devnet runs from") and "pi devnet down" in again.stderr
    finally:
        down = pi("devnet", "down", "--home", home)
    assert down.returncode == 0
    assert processes_of(home) == []

    assert pi("devnet", "up", "--detach", *options).returncode == 0
    try:
        with Client("local", rpc_url=f"http://127.0.0.1:{rpc}") as client:
            assert client.deployed() and first_block(rpc) == block
    finally:
        assert pi("devnet", "down", "--home", home).returncode == 0
    assert pi("devnet", "down", "--home", home).returncode == 1


def test_ctrl_c_and_kill_leave_nothing_running(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        home, (rpc, store) = tmp_path / number.name, ports()
        argv = [PI, "devnet", "up", "--home", home, "--rpc-port", str(rpc), "--port", str(store)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as devnet:
            assert devnet.stdout and devnet.stdout.readline().startswith("chain ")
            family = psutil.Process(devnet.pid).children(recursive=True)
            assert any("anvil" in p.name() for p in family)
            devnet.send_signal(number)
            devnet.communicate()
        assert devnet.returncode == (0 if number == signal.SIGINT else -signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []


def test_a_chain_whose_state_was_half_written_goes_on_from_a_copy(pi, tmp_path: Path) -> None:
    home, (rpc, store) = tmp_path / "net", ports()
    state, copy = home / "chain.json", home / "chain.copy"
    options = ["--detach", "--home", home, "--rpc-port", rpc, "--port", store]
    assert pi("devnet", "up", *options).returncode == 0
    try:
        block = first_block(rpc)
        until("a copy", copy.exists)
    finally:
        assert pi("devnet", "down", "--home", home).returncode == 0
    os.truncate(state, state.stat().st_size // 2)

    assert pi("devnet", "up", *options).returncode == 0
    try:
        assert first_block(rpc) == block
    finally:
        assert pi("devnet", "down", "--home", home).returncode == 0

    os.truncate(state, 100)
    copy.unlink(missing_ok=True)
    up = pi("devnet", "up", *options[1:])
    assert (up.returncode, up.stderr.count("\n")) == (1, 1)
    assert up.stderr.startswith(f"error: {state} is damaged") and str(home) in up.stderr


def test_a_taken_port_is_one_clear_line(pi, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        for flag, other in (("--rpc-port", "--port"), ("--port", "--rpc-port")):
            done = pi("devnet", "up", "--home", tmp_path / "net", flag, taken, other, free_port())
            assert done.returncode == 1
            assert done.stderr == (
                f"error: port {taken} is taken (stop what listens there, or choose another with {flag})\n"
            )
    assert not (tmp_path / "net").exists()


def test_a_missing_anvil_is_one_clear_line(pi, tmp_path: Path) -> None:
    for command in (["devnet", "up", "--home", tmp_path / "net"], ["demo", "--out", tmp_path / "out"]):
        done = pi(*command, PI_ANVIL=str(tmp_path / "nothing"))
        assert done.returncode == 1
        assert done.stderr.startswith("error: PI_ANVIL names") and done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_stale_pid_file_does_not_stop_a_devnet(pi, tmp_path: Path) -> None:
    home, (rpc, store) = tmp_path / "net", ports()
    home.mkdir()
    (home / "devnet.json").write_text(json.dumps({"pid": os.getpid(), "ready": True}))
    assert pi("devnet", "down", "--home", home).returncode == 1
    up = pi("devnet", "up", "--detach", "--home", home, "--rpc-port", rpc, "--port", store)
    try:
        assert up.returncode == 0, up.stderr
    finally:
        assert pi("devnet", "down", "--home", home).returncode == 0
