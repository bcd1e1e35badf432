"""Compiles the kernels beside this module once and loads them.

PyTorch's and TensorFlow's CPU kernels spend most of an EfficientNet's training step in the gradient of depthwise
convolutions. These need a C++ compiler and a CPU with AVX-512 BF16 (activations are then bf16) or with AVX2 and FMA
(float32); without them train with Keras.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from fractureai.errors import BrokenDeployment

_FOLDER = Path(__file__).parent
_SOURCES = tuple(_FOLDER / name for name in ("depthwise.cpp", "normalisation.cpp", "matrix.cpp"))
_HEADERS = (_FOLDER / "lanes.h",)
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_CPU = Path("/proc/cpuinfo")
_BF16 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512_bf16"})
_FLOAT32 = frozenset({"avx2", "fma"})
_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
_SIGNATURES = {
    "depthwise_forward": (_P, _P, _P, *(_I,) * 10),
    "depthwise_of_input": (_P, _P, _P, *(_I,) * 10),
    "depthwise_of_weight": (_P, _P, _P, *(_I,) * 10),
    "norm_statistics": (_P, _L, _I, _P, _P),
    "norm_apply": (_P, _P, _L, _I, _P, _P, _I),
    "norm_backward_sums": (_P, _P, _P, _L, _I, _P, _P, _I, _P),
    "norm_backward_input": (_P, _P, _P, _L, _I, _P, _P, _P),
    "excite_mean": (_P, _P, _I, _L, _I, _F),
    "excite_scale": (_P, _P, _P, _I, _L, _I),
    "excite_of_scale": (_P, _P, _P, _I, _L, _I),
    "excite_of_input": (_P, _P, _P, _P, _I, _L, _I),
    "matrix_forward": (_P, _P, _P, _L, _I, _I),
    "matrix_of_input": (_P, _P, _P, _L, _I, _I),
    "matrix_of_weight": (_P, _P, _P, _L, _I, _I),
}


def cpu_flags(path: Path = _CPU) -> frozenset[str]:
    """What the first processor of Linux's ``/proc/cpuinfo`` can do; empty where there is no such file."""
    if not path.is_file():
        return frozenset()
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


@functools.cache
def available() -> bool:
    """Whether this machine can compile and run the kernels."""
    flags = cpu_flags()
    return bool(shutil.which("g++")) and (flags >= _BF16 or flags >= _FLOAT32)


def keep_memory() -> None:
    """Let this process keep what it frees, with glibc's allocator; elsewhere nothing happens.

    A step allocates the same gigabytes again and again. Handing them back in between costs more than half of the time,
    because the kernel clears every page before it gives it out anew.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_M_MMAP_MAX, 0)
        setting(_M_TRIM_THRESHOLD, -1)


@functools.cache
def stores_bf16() -> bool:
    """Whether activations are bf16 on this machine; else they are float32."""
    return cpu_flags() >= _BF16


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels; kept in the user's cache folder by the hash of their source and of the CPU's abilities.

    Raises
    ------
    BrokenDeployment
        If the machine cannot compile or run them.
    """
    if not available():
        raise BrokenDeployment(
            "the native engine needs g++ and a CPU with AVX2 and FMA, or with AVX-512 BF16; train with "
            "`fractureai train region` and `fracture` (Keras) instead"
        )
    flags = (*_FLAGS, "-DFRACTUREAI_BF16") if stores_bf16() else _FLAGS
    # -march=native: a cache folder shared by machines must not hand one the other's instructions.
    told = " ".join((*flags, *sorted(cpu_flags())))
    written = b"".join(path.read_bytes() for path in (*_SOURCES, *_HEADERS))
    digest = hashlib.sha256(written + told.encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fractureai"
    target = folder / f"kernels-{digest}.so"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(f".{os.getpid()}")
        done = subprocess.run(["g++", *flags, "-o", str(scratch), *map(str, _SOURCES)], capture_output=True, text=True)  # noqa: S603, S607
        if done.returncode:
            raise BrokenDeployment(f"the kernels do not compile: {done.stderr.strip()[-300:]}")
        scratch.replace(target)
    loaded = ctypes.CDLL(str(target))
    for name, signature in _SIGNATURES.items():
        getattr(loaded, name).argtypes = signature
    return loaded
