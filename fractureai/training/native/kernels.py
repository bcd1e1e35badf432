"""Compiles ``kernels.cpp`` once and loads it.

PyTorch's and TensorFlow's CPU kernels spend most of an EfficientNet's training step in the gradient of depthwise
convolutions. These need a CPU with AVX-512 BF16 and a C++ compiler; without them train with Keras.
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

_SOURCE = Path(__file__).with_name("kernels.cpp")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
_SIGNATURES = {
    "depthwise_forward": (_P, _P, _P, *(_I,) * 10),
    "depthwise_of_input": (_P, _P, _P, *(_I,) * 10),
    "depthwise_of_weight": (_P, _P, _P, *(_I,) * 10),
    "norm_statistics": (_P, _L, _I, _P, _P),
    "norm_apply": (_P, _P, _L, _I, _P, _P, _I),
    "norm_backward_sums": (_P, _P, _L, _I, _P, _P, _I, _P),
    "norm_backward_input": (_P, _P, _P, _L, _I, _P, _P, _I, _P, _P),
    "excite_mean": (_P, _P, _I, _L, _I, _F),
    "excite_scale": (_P, _P, _P, _I, _L, _I),
    "excite_of_scale": (_P, _P, _P, _I, _L, _I),
    "excite_of_input": (_P, _P, _P, _P, _I, _L, _I),
}


def available() -> bool:
    """Whether this machine can compile and run the kernels."""
    cpu = Path("/proc/cpuinfo")
    return bool(shutil.which("g++")) and cpu.is_file() and "avx512_bf16" in cpu.read_text(encoding="utf-8")


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels; kept in the user's cache folder by the hash of their source.

    Raises
    ------
    BrokenDeployment
        If the machine cannot compile or run them.
    """
    if not available():
        raise BrokenDeployment("the native engine needs g++ and a CPU with AVX-512 BF16; use --engine keras")
    digest = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fractureai"
    target = folder / f"kernels-{digest}.so"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(f".{os.getpid()}")
        done = subprocess.run(["g++", *_FLAGS, "-o", str(scratch), str(_SOURCE)], capture_output=True, text=True)  # noqa: S603, S607
        if done.returncode:
            raise BrokenDeployment(f"the kernels do not compile: {done.stderr.strip()[-300:]}")
        scratch.replace(target)
    loaded = ctypes.CDLL(str(target))
    for name, signature in _SIGNATURES.items():
        getattr(loaded, name).argtypes = signature
    return loaded
