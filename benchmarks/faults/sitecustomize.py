"""Faults that a process has from its start on, for `churn.py`; python imports this from PYTHONPATH.

PI_FAULT_CLOCK    seconds by which its clock is ahead
PI_FAULT_UPLOAD   bytes per second that it sends, in requests of more than 1 KiB
"""

import os
import socket
import time

_AHEAD = float(os.environ.get("PI_FAULT_CLOCK", "0"))
_RATE = float(os.environ.get("PI_FAULT_UPLOAD", "0"))
_time, _send = time.time, socket.socket.send


def _wrong_time() -> float:
    return _time() + _AHEAD


def _slow_send(self: socket.socket, data: bytes, flags: int = 0) -> int:
    if len(data) <= 1024:
        return _send(self, data, flags)
    piece = memoryview(data)[:512]
    time.sleep(len(piece) / _RATE)
    return _send(self, piece, flags)


if _AHEAD:
    time.time = _wrong_time
if _RATE:
    socket.socket.send = _slow_send  # type: ignore[method-assign]
