"""`kernels.c`, compiled at first use and called: the check of an update, its values, the outer step near the
speed of memory, and activation proofs.

The system's C compiler makes a library in a folder that only this user can write, pi-protocol below
`$XDG_CACHE_HOME` or ~/.cache. Its name is a hash of source, flags, compiler and CPU, and it appears there
whole, so any number of processes may start at once. `load()` is None where there is no compiler or no such
folder, or where PI_KERNELS=0 forbids it; then numpy computes the same bits.
"""

import ctypes
import hashlib
import os
import platform
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from pi_sdk.codec import PROOF_BYTES
from pi_sdk.types import CodecSpec, OuterSpec

from . import dct

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ["-std=c11", "-O3", "-march=native", "-fwrapv", "-shared", "-fPIC"]
if platform.machine() in ("x86_64", "AMD64"):
    _FLAGS.append("-mprefer-vector-width=512")
_CODECS = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3, "dct-topk": 4}
_RULES = {"sgd": 0, "nesterov": 1, "sign": 2}
_COMPILE_SECONDS = 120
BLOCK = 4096
"""Values that the loops work on at a time; ranges start at a multiple of it."""
_BASIS = np.ascontiguousarray(dct.BASIS, np.int32)
_BINOMIALS = np.ascontiguousarray(dct.BINOMIALS.T, np.int64)


class _Format(ctypes.Structure):
    _fields_ = [
        ("codec", ctypes.c_int32),
        ("k", ctypes.c_int32),
        ("values", ctypes.c_int64),
        ("rank_bits", ctypes.c_int32),
        ("basis", ctypes.c_void_p),
        ("binomials", ctypes.c_void_p),
    ]


def _format(codec: CodecSpec, n: int) -> _Format:
    bits = dct.rank_bits(codec.k) if codec.name == "dct-topk" else 0
    return _Format(_CODECS[codec.name], codec.k, n, bits, _BASIS.ctypes.data, _BINOMIALS.ctypes.data)


class Kernels:
    """The compiled functions. A body is an update file of n values behind its header: uint8, as many as
    codec and n make it."""

    def __init__(self, path: Path):
        lib = ctypes.CDLL(str(path))
        form, array, number = ctypes.POINTER(_Format), ctypes.c_void_p, ctypes.c_int64
        self._check, self._decode, self._step = lib.pi_check, lib.pi_decode, lib.pi_step
        self._check.argtypes = [form, array, number, number, array]
        self._check.restype = ctypes.c_int32
        self._decode.argtypes, self._decode.restype = [form, array, number, number, array], None
        self._step.argtypes = [
            form,
            number,
            array,
            array,
            number,
            ctypes.c_int32,
            *[number] * 4,
            *[array] * 4,
        ]
        self._step.restype = None
        self._bf16, self._build_proofs = lib.pi_bf16, lib.pi_build_proofs
        self._check_proofs = lib.pi_check_proofs
        self._bf16.argtypes, self._bf16.restype = [number, array, array], None
        self._build_proofs.argtypes = [number, number, array, array, array]
        self._check_proofs.argtypes = [number, number, array, array, array]
        self._build_proofs.restype = self._check_proofs.restype = number

    def check(
        self, codec: CodecSpec, body: np.ndarray, n: int, chunk: int, largest: int
    ) -> np.ndarray | None:
        """Sums of squares of the chunks of `chunk` values, uint64 (chunks, 2), high words first; None where
        the body is malformed. `largest` is the largest step."""
        squares = np.empty((-(-n // chunk), 2), np.uint64)
        sets = dct.sets(codec.k) if codec.name == "dct-topk" else 0
        fine = self._check(_format(codec, n), body.ctypes.data, largest, sets, squares.ctypes.data)
        return squares if fine else None

    def decode(self, codec: CodecSpec, body: np.ndarray, n: int, start: int, stop: int) -> np.ndarray:
        """Values [start, stop) as int32; start is a multiple of 4096, stop one of the chunk size,
        or n."""
        assert start % BLOCK == 0 and 0 <= start <= stop <= n
        out = np.empty(stop - start, np.int32)
        self._decode(_format(codec, n), body.ctypes.data, start, stop, out.ctypes.data)
        return out

    def step(
        self,
        codec: CodecSpec,
        outer: OuterSpec,
        n: int,
        updates: Sequence[tuple[np.ndarray, int]],
        total_width: int,
        start: int,
        theta: tuple[np.ndarray, np.ndarray],
        momentum: tuple[np.ndarray | None, np.ndarray | None],
    ) -> None:
        """`outer.step_block` from (body, weight) of the updates; theta and momentum are before and after."""
        stop = start + len(theta[0])
        assert start % BLOCK == 0 and 0 <= start <= stop <= n
        bodies = np.array([body.ctypes.data for body, _ in updates], np.uintp)
        weights = np.array([weight for _, weight in updates], np.int32)
        arrays = []
        for pair, dtype in ((theta, np.int32), (momentum, np.int64)):
            for array in pair:
                if array is not None:
                    assert array.dtype == dtype and array.flags.c_contiguous and len(array) == stop - start
                arrays.append(None if array is None else array.ctypes.data)
        assert all(arrays) or outer.rule != "nesterov"
        self._step(
            _format(codec, n),
            len(updates),
            bodies.ctypes.data,
            weights.ctypes.data,
            total_width,
            _RULES[outer.rule],
            outer.lr,
            outer.momentum,
            start,
            stop,
            *arrays,
        )

    def bf16(self, values: np.ndarray) -> np.ndarray:
        """`proofs.bf16_patterns` of contiguous fp32."""
        assert values.dtype == np.float32 and values.flags.c_contiguous
        out = np.empty(values.shape, np.uint16)
        self._bf16(values.size, values.ctypes.data, out.ctypes.data)
        return out

    def build_proofs(self, spans: np.ndarray, inverses: np.ndarray) -> bytes:
        """One proof after the other of bf16 patterns, uint16 (proofs, values), up to a span that has NaN or
        no modulus. `inverses` of the field are uint32 (65497,)."""
        assert inverses.dtype == np.uint32 and len(inverses) == 65497
        out = np.empty((len(spans), PROOF_BYTES), np.uint8)
        _check_spans(spans)
        made = self._build_proofs(*spans.shape, spans.ctypes.data, inverses.ctypes.data, out.ctypes.data)
        return out[:made].tobytes()

    def check_proofs(self, spans: np.ndarray, proofs: bytes) -> list[list[int]]:
        """Of each proof of well-formed ones: how many signs or exponents differ, and sum and twice the
        median of the distances of the other mantissas."""
        _check_spans(spans)
        assert len(proofs) == len(spans) * PROOF_BYTES
        out = np.empty((len(spans), 3), np.int32)
        held = self._check_proofs(*spans.shape, spans.ctypes.data, proofs, out.ctypes.data)
        assert held == len(spans)
        return out.tolist()


def _check_spans(spans: np.ndarray) -> None:
    assert spans.dtype == np.uint16 and spans.flags.c_contiguous and 128 <= spans.shape[1] < 1 << 31


@cache
def load() -> Kernels | None:
    """The functions, or None. The first call on a machine takes a second or two."""
    if os.environ.get("PI_KERNELS") == "0" or sys.byteorder != "little":
        return None
    try:
        return Kernels(_compiled(_folder()))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # no home, no compiler, not the right one
        return None


def _folder() -> Path:
    """The cache folder. `OSError` where somebody else could put a library there."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "pi-protocol"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _compiled(folder: Path) -> Path:
    version = subprocess.run(["cc", "--version"], capture_output=True, check=True, timeout=10).stdout
    what = (_SOURCE.read_bytes(), " ".join(_FLAGS).encode(), version, _cpu().encode())
    path = folder / f"kernels-{hashlib.sha256(b'|'.join(what)).hexdigest()[:32]}.so"
    if not path.exists():
        handle, temporary = tempfile.mkstemp(".so", dir=folder)
        os.close(handle)
        try:
            command = ["cc", *_FLAGS, "-o", temporary, str(_SOURCE)]
            subprocess.run(command, capture_output=True, check=True, timeout=_COMPILE_SECONDS)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def _cpu() -> str:
    """What `-march=native` looks at, so that a home on several machines has a library for each."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    about = (line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    return "|".join([platform.machine(), platform.processor(), *dict.fromkeys(about)])
