"""Nothing outlives the program that started it."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pi_sdk.errors import PiError
from pi_sdk.processes import ProcessDied, Processes, accepts, free_port, require_free, session_pss

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]

STARTER = """
import subprocess, sys, time
from pathlib import Path
from pi_sdk.processes import Processes

child = "import subprocess as s, time; print(s.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
with Processes(Path(sys.argv[1])) as processes:
    process = processes.start("child", [sys.executable, "-c", child])
    processes.wait_ready(process, lambda: process.log.read_text().endswith("\\n"))
    print(process.pid, process.log.read_text().strip(), flush=True)
    time.sleep(600)
"""


def test_kill_of_the_starter_takes_children_and_grandchildren_along(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    with starter.stdout:
        family = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
    starter.kill()
    starter.wait()
    assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_stop_is_asked_first_and_forced_after(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    with Processes(tmp_path) as processes:
        polite = processes.start("polite", SLEEP)
        rude = processes.start("rude", [sys.executable, "-c", stubborn])
        for process in (polite, rude):
            processes.wait_ready(process, lambda p=process: p.log.read_text() == "up\n")
        processes.stop([polite, rude], seconds=0.5)
        assert polite.popen.returncode == -signal.SIGTERM
        assert rude.popen.returncode == -signal.SIGKILL
        assert processes.all == []


def test_a_process_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start(
            "worker-1", [sys.executable, "-c", "import sys; sys.exit('error: no such pool')"]
        )
        with pytest.raises(ProcessDied, match="worker-1 ended with code 1: error: no such pool"):
            processes.wait_ready(process, lambda: False)
        with pytest.raises(ProcessDied, match="no such pool"):
            processes.check()


def test_ports() -> None:
    port = free_port()
    assert not accepts(port)
    require_free(port, "--port")
    with socket.create_server(("127.0.0.1", port)):
        assert accepts(port)
        with pytest.raises(PiError, match=f"port {port} is taken.*--port"):
            require_free(port, "--port")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_pss_counts_descendants(tmp_path: Path) -> None:
    big = "import time; data = b'x' * (64 << 20); print('up', flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {big!r}])"
    with Processes(tmp_path) as processes:
        process = processes.start("parent", [sys.executable, "-c", parent])
        processes.wait_ready(process, lambda: process.log.read_text() == "up\n")
        assert session_pss([process]) > session_pss([]) + (64 << 20)
