"""Pins a determinism class: everything that was seen to change torch's bits, set before torch is imported.

Bits depend on the torch build, the number of threads, the dtype, and on which instruction set ATen, oneDNN
and MKL pick (`ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA`, `MKL_CBWR`); these are read when torch loads. One
class per process. Importing this module does not import torch.
"""

import os
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pi_sdk.errors import SpecMismatch, ToolMissing, UsageError
from pi_sdk.types import DeterminismClass, RunSpec

_pinned: DeterminismClass | None = None


def torch_version() -> str:
    """Base version of the installed torch, e.g. "2.13.0", read without importing it."""
    try:
        return version("torch").split("+")[0]
    except PackageNotFoundError:
        raise ToolMissing("torch is not installed", "pip install 'pi-protocol[worker]'") from None


def default_classes(ranks: int = 1, compile: bool = False) -> tuple[DeterminismClass, ...]:
    """What a run admits by default: fp32 on one thread of x86-64 and the installed torch, faster class first;
    with `ranks` and `compile` classes that differ in these alone.

    MKL pinned to AVX2 takes a third longer per step than with AVX-512, where the machine has it.
    """
    kind = (f"-r{ranks}" if ranks > 1 else "") + ("-compiled" if compile else "")
    return tuple(class_named(f"cpu-t1-fp32-{isa}{kind}") for isa in ("avx512", "avx2"))


_NAME = re.compile(
    r"(?:cpu-t(?P<threads>[1-9]\d{0,2})|cuda)-(?P<dtype>fp32|bf16)(?:-(?P<isa>avx2|avx512))?"
    r"(?:-r(?P<ranks>[2-9]|[1-5]\d|6[0-4]))?(?P<compile>-compiled)?"
)


def class_named(name: str) -> DeterminismClass:
    """The class of the installed torch that a name like those of `default_classes` describes:
    `cpu-tTHREADS-fp32|bf16-avx2|avx512` or `cuda-fp32|bf16`, then `-rRANKS` and `-compiled`. `UsageError`."""
    found = _NAME.fullmatch(name)
    if not found or (found["threads"] is None) != (found["isa"] is None):
        raise UsageError(f"no such class: {name}", "as cpu-t1-fp32-avx2, cpu-t2-bf16-avx512, cuda-bf16")
    caps = {"avx512": ("avx512", "AVX512_CORE", "AVX512"), "avx2": ("avx2", "AVX2", "AVX2")}
    aten, onednn, mkl = caps.get(found["isa"], ("default", "AVX2", "AVX2"))
    return DeterminismClass.model_validate(
        {
            "id": name,
            "device": "cpu" if found["isa"] else "cuda",
            "torch": torch_version(),
            "threads": int(found["threads"] or 1),
            "dtype": found["dtype"],
            "aten": aten,
            "onednn": onednn,
            "mkl": mkl,
            "ranks": int(found["ranks"] or 1),
            "compile": bool(found["compile"]),
        }
    )


def default_class() -> DeterminismClass:
    """The first of `default_classes` that this machine fits; `SpecMismatch` without AVX2."""
    return _fitting(default_classes())[0]


def admitted(spec: RunSpec) -> list[DeterminismClass]:
    """The classes of a run that this machine fits, in the RunSpec's order. `SpecMismatch` when there is
    none."""
    return _fitting(spec.classes)


def fits(cls: DeterminismClass) -> bool:
    """Whether this machine fits a class."""
    return not lack(cls)


def _fitting(classes: tuple[DeterminismClass, ...]) -> list[DeterminismClass]:
    found = [c for c in classes if fits(c)]
    if not found:
        wanted = "; ".join(f"{c.id} needs {lack(c)}" for c in classes)
        raise SpecMismatch(
            f"this machine fits none of the classes: {wanted}",
            "another version of torch fits into a virtual environment of its own",
        )
    return found


def lack(cls: DeterminismClass) -> str:
    """What this machine lacks for a class; empty where it fits."""
    if cls.torch != torch_version():
        return f"torch {cls.torch}, {torch_version()} is installed"
    if cls.device == "cuda" and _gpus() < cls.ranks:
        return f"{cls.ranks} GPUs and a torch that uses them, {_gpus()} found"
    if cls.device == "cpu" and cls.ranks > (os.cpu_count() or 1):
        return f"{cls.ranks} cores"
    if not _has_isa(cls):
        return f"a CPU with {cls.aten}"
    return _compiler_lack(cls)


def _compiler_lack(cls: DeterminismClass) -> str:
    compiler = os.environ.get("CXX", "g++")
    return f"a C++ compiler, no {compiler} found" if cls.compile and not shutil.which(compiler) else ""


def _gpus() -> int:
    """NVIDIA GPUs that this process may use, counted without torch."""
    if "+cpu" in version("torch"):
        return 0
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return sum(name.strip() not in ("", "-1") for name in visible.split(","))
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.exists() else 0


def _has_isa(cls: DeterminismClass) -> bool:
    """Whether the CPU has the instructions that the class caps torch at; where nobody says, it is assumed."""
    cpuinfo = Path("/proc/cpuinfo")
    if cls.aten == "default" or not cpuinfo.exists():
        return True
    return ("avx512f" if cls.aten == "avx512" else "avx2") in cpuinfo.read_text().split()


def environment(cls: DeterminismClass) -> dict[str, str]:
    """Environment variables of a class."""
    threads = {
        name: str(cls.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    caps = {"ATEN_CPU_CAPABILITY": cls.aten, "ONEDNN_MAX_CPU_ISA": cls.onednn, "MKL_CBWR": cls.mkl}
    return {**threads, **caps, "MKL_DYNAMIC": "FALSE", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def pin(cls: DeterminismClass) -> None:
    """Makes this process a member of `cls`: sets the environment, then imports and configures torch.

    Raises `SpecMismatch` when torch's build differs, when the class's device is missing, or when torch was
    imported before (a different class was pinned, or none); `ToolMissing` without the compiler that it needs.
    """
    global _pinned
    if _pinned == cls:
        return
    if _pinned is not None:
        raise SpecMismatch(f"this process is pinned to {_pinned.id}", f"start another process for {cls.id}")
    if torch_version() != cls.torch:
        raise SpecMismatch(
            f"class {cls.id} needs torch {cls.torch}, {torch_version()} is installed",
            f"pip install torch=={cls.torch}",
        )
    if lack := _compiler_lack(cls):
        raise ToolMissing(f"class {cls.id} needs {lack}", "install it, or name it in CXX")
    if "torch" in sys.modules:
        raise SpecMismatch("torch was imported before its determinism class was pinned")
    os.environ.update(environment(cls))
    import torch

    if cls.device == "cuda" and torch.cuda.device_count() < cls.ranks:
        raise SpecMismatch(
            f"class {cls.id} needs {cls.ranks} CUDA devices, torch finds {torch.cuda.device_count()}"
        )
    torch.set_num_threads(cls.threads)
    torch.use_deterministic_algorithms(True)
    # Its companion costs 6 % of a step, and no operation here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    _pinned = cls


def pinned() -> DeterminismClass:
    """The class of this process. `SpecMismatch` when none is pinned: unpinned bits prove nothing."""
    if _pinned is None:
        raise SpecMismatch("no determinism class is pinned", "call pi_train.determinism.pin before training")
    return _pinned
