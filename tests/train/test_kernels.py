"""The compiled loops: the same bits as numpy, nothing outside their arrays; and numpy without them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_sdk.types import CodecSpec, OuterSpec, RunSpec
from pi_train import kernels, proofs
from pi_train.codecs import UpdateFile, encode_update
from pi_train.outer import Checkpoint, outer_step

INT32 = (-(1 << 31), (1 << 31) - 1)
MOMENTUM_MAX = (1 << 46) - 1
CODECS = st.one_of(
    st.builds(CodecSpec, name=st.just("sparse-2bit"), k=st.sampled_from([1, 2, 5, 8, 63, 64, 4096])),
    st.sampled_from([CodecSpec(name="dense-int8"), CodecSpec(name="dense-fixed")]),
    st.builds(CodecSpec, name=st.just("dct-topk"), k=st.sampled_from([1, 4, 32, 63, 64])),
).map(lambda codec: codec.model_copy(update={"max_step": 1 << 31}))
RULES = st.one_of(
    st.builds(OuterSpec, rule=st.sampled_from(["sgd", "sign"]), lr=st.sampled_from([0, 1, 98304, 1 << 24])),
    st.builds(
        OuterSpec,
        rule=st.just("nesterov"),
        lr=st.sampled_from([1, 45875, 1 << 24]),
        momentum=st.sampled_from([1, 58982, 65535]),
    ),
)


def numbers(rng: np.random.Generator, n: int, low: int, high: int, dtype: type) -> np.ndarray:
    """Anything between the ends, the ends among them, mostly of one size."""
    size = 10.0 ** rng.integers(0, 16)
    values = rng.normal(0, size, n).clip(low, high).astype(dtype)
    return np.where(rng.random(n) < 0.1, rng.choice(np.array([low, high, 0, 1, -1], dtype), n), values)


@settings(max_examples=60, deadline=None)
@given(
    CODECS,
    RULES,
    st.sampled_from([1, 63, 300, 4096, 4097, 9000]),
    st.lists(st.integers(1, 4000), min_size=1, max_size=5),
    st.integers(0, 1 << 32),
)
def test_both_ways_give_the_same_checkpoint(
    codec: CodecSpec, rule: OuterSpec, n: int, widths: list[int], seed: int
):
    rng, spec = np.random.default_rng(seed), RunSpec.model_construct(codec=codec, outer=rule)
    momentum = numbers(rng, n, -MOMENTUM_MAX, MOMENTUM_MAX, np.int64) if rule.momentum else None
    before = Checkpoint(numbers(rng, n, *INT32, np.int32), momentum)
    files = [encode_update(codec, numbers(rng, n, *INT32, np.int32)) for _ in widths]
    assert kernels.load() is not None
    results = []
    for patched in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if patched:
                patch.setattr(kernels, "load", lambda: None)
            updates = [UpdateFile(codec, data, n) for data in files]
            after = outer_step(spec, before, list(zip(updates, widths, strict=True)))
            decoded = [update.decode().tobytes() for update in updates]
            results.append((after.to_bytes(), decoded, [update.squares for update in updates]))
    assert results[0] == results[1]


@pytest.mark.parametrize("width", [4, 64, 4096])
@pytest.mark.parametrize("kind", ["normal", "heavy-tailed", "tied", "rising", "zero"])
def test_both_ways_give_the_same_proofs(width: int, kind: str, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(width)
    hidden = rng.standard_normal((2, 32, width), dtype=np.float32)
    changes = {
        "heavy-tailed": hidden**5,
        "tied": hidden.round(),
        "rising": np.sort(hidden),
        "zero": hidden * 0,
    }
    hidden = changes.get(kind, hidden)
    near = hidden * (1 + 0.02 * rng.standard_normal(hidden.shape, dtype=np.float32))
    results = []
    assert kernels.load() is not None
    for _ in range(2):
        made = proofs.build_proofs(hidden)
        compared = [proofs.check_proofs(own, made) for own in (hidden, near, -hidden)]
        results.append((made, compared, proofs.build_proofs(proofs.bf16_patterns(hidden))))
        monkeypatch.setattr(kernels, "load", lambda: None)
    assert results[0] == results[1]
    assert results[0][0] == results[0][2]


def test_both_ways_round_to_bf16_alike(monkeypatch: pytest.MonkeyPatch):
    """As torch rounds; it lets the CPU choose which NaN."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, np.uint32)
    edges = np.array([0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 1], np.uint32)
    values = np.concatenate([bits, edges]).view(np.float32)
    compiled = proofs.bf16_patterns(values)
    monkeypatch.setattr(kernels, "load", lambda: None)
    assert np.array_equal(compiled, proofs.bf16_patterns(values))
    numbers = values[~np.isnan(values)]
    theirs = torch.from_numpy(numbers).bfloat16().view(torch.uint16).numpy()
    assert np.array_equal(proofs.bf16_patterns(numbers), theirs)


# Bodies of the right length and any content, in allocations of their own size. What is found does not matter.
STRANGERS = """
import sys
from pathlib import Path
import numpy as np
from pi_sdk.types import CodecSpec, OuterSpec
from pi_train.codecs import chunk_values, max_update_bytes
from pi_train.kernels import Kernels
from pi_train.proofs import PROOF_BYTES, _inverses
lib, rng = Kernels(Path(sys.argv[1])), np.random.default_rng(0)
codecs = [CodecSpec(name="dense-int8"), CodecSpec(name="dense-fixed")]
codecs += [CodecSpec(k=k) for k in (1, 4, 7, 64, 4096)]
codecs += [CodecSpec(name="dct-topk", k=k) for k in (1, 4, 32, 64)]
for codec in codecs:
    for n in (1, 70, 1025, 4096, 4099, 9000):
        for fill in (0, 255, None):
            size = max_update_bytes(codec, n) - 16
            body = rng.integers(0, 256, size, np.uint8) if fill is None else np.full(size, fill, np.uint8)
            lib.check(codec, body, n, chunk_values(codec), 1 << 31)
            lib.decode(codec, body, n, 0, n)
            for outer in (OuterSpec(), OuterSpec(rule="nesterov", momentum=5), OuterSpec(rule="sign")):
                theta = rng.integers(-5, 5, n, np.int32), np.empty(n, np.int32)
                momentum = (np.ones(n, np.int64), np.empty(n, np.int64)) if outer.momentum else (None, None)
                lib.step(codec, outer, n, [(body, 65536), (body, 1)], 3, 0, theta, momentum)
for size in (128, 129, 1000, 70000):
    for patterns in (0, 0x7FC0, 0xFFFF, None):
        spans = np.full((2, size), patterns, np.uint16) if patterns is not None else None
        spans = rng.integers(0, 0x7F80, (2, size), np.uint16) if spans is None else spans
        lib.build_proofs(spans, _inverses())
        for modulus in (0, 1, 32769, 65497, 65535):
            words = rng.integers(0, 1 << 16, (2, PROOF_BYTES // 2)).astype(">u2")
            words[:, 0] = modulus
            out = np.empty((2, 3), np.int32)
            lib._check_proofs(*spans.shape, spans.ctypes.data, words.tobytes(), out.ctypes.data)
values = rng.integers(0, 1 << 32, 77, np.uint32).view(np.float32)
lib.bf16(values)
print("nothing outside")
"""


def test_whatever_the_bytes_say_nothing_outside_is_touched(tmp_path: Path):
    found = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    guard, library = found.stdout.strip(), tmp_path / "guarded.so"
    if not os.path.isabs(guard):
        pytest.skip("the compiler has no address sanitizer")
    flags = ["-std=c11", "-O1", "-fwrapv", "-shared", "-fPIC", "-fsanitize=address"]
    subprocess.run(["cc", *flags, "-o", library, Path(kernels.__file__).with_name("kernels.c")], check=True)
    env = os.environ | {"LD_PRELOAD": guard, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    ran = subprocess.run([sys.executable, "-c", STRANGERS, library], env=env, capture_output=True, text=True)
    assert ran.stdout == "nothing outside\n", ran.stderr[:3000]


LOAD = "from pi_train import kernels; print(kernels.load() is not None)"


def loads(cache: Path, **env: str) -> "subprocess.Popen[str]":
    environ = os.environ | {"XDG_CACHE_HOME": str(cache)} | env
    return subprocess.Popen([sys.executable, "-c", LOAD], env=environ, stdout=subprocess.PIPE, text=True)


def test_processes_that_start_at_once_leave_one_library(tmp_path: Path):
    both = [loads(tmp_path / "new") for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["True\n"] * 2
    (library,) = (tmp_path / "new" / "pi-protocol").iterdir()
    assert library.suffix == ".so" and not stat.S_IMODE(library.stat().st_mode) & 0o022


def test_numpy_serves_where_there_is_no_compiler_or_it_is_forbidden_or_the_folder_is_open_to_others(
    tmp_path: Path,
):
    (tmp_path / "pi-protocol").mkdir(mode=0o700)
    (tmp_path / "pi-protocol").chmod(0o770)
    without = [loads(tmp_path / "a", PI_KERNELS="0"), loads(tmp_path / "b", PATH=""), loads(tmp_path)]
    assert [process.communicate()[0] for process in without] == ["False\n"] * 3
    assert not list(tmp_path.rglob("*.so"))
