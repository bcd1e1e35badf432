"""The process that decodes untrusted files: ``python -m fractureai.imaging.child LIMITS_AS_JSON``.

It reads requests from standard input and answers on standard output until its parent goes away. Before the first
request it gives up what a decoder does not need (:mod:`fractureai.imaging.confinement`): memory beyond a limit, writing
to files, other processes, the network, new privileges.

A request is one JSON line ``{"op", "path"}``. An answer is the header's length in 4 bytes, big endian, a JSON header,
and for a decoded image its ``height × width`` bytes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import resource
import select
import struct
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from fractureai.errors import RejectedInput
from fractureai.imaging.confinement import confine
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.reader import read_identity, read_radiograph

LENGTH = struct.Struct(">I")
DEIDENTIFY = frozenset({"identify", "deidentify", "read"})
_PARENT_CHECK_S = 30.0
# Processor time beyond the parent's timeout, which should strike first; this one works without a parent.
_CPU_MARGIN_S = 10
_WORN_BYTES = 192 * 1024 * 1024
_RESIDENT = re.compile(rb"\d+ (\d+)")


def serve(requests: BinaryIO, answers: BinaryIO, limits: DecodeLimits) -> None:
    """Confine this process, then answer until the other end closes."""
    parent = os.getppid()
    memory = _Memory()
    walls = confine(limits)
    _send(answers, {"ok": "ready", "walls": walls})
    while True:
        while not select.select([requests], [], [], _PARENT_CHECK_S)[0]:
            # A fork of the parent may hold the pipe open after the parent has died.
            if os.getppid() != parent:
                return
        line = requests.readline()
        if not line:
            return
        _allow_cpu(limits.timeout_s)
        header, pixels = _answer(json.loads(line), limits)
        header["worn"] = memory.resident_bytes() > _WORN_BYTES
        _send(answers, header, pixels)


def _answer(request: dict[str, str], limits: DecodeLimits) -> tuple[dict[str, Any], memoryview | None]:
    try:
        if request["op"] in DEIDENTIFY:
            # Imported where it is asked for: most children never de-identify, and it brings a large table.
            from fractureai.imaging.deidentify_work import answer

            return answer(request, limits)
        if request["op"] == "identify_instance":
            found = read_identity(Path(request["path"]), limits)
            return {"ok": "instance", **(asdict(found) if found else {})}, None
        image = read_radiograph(Path(request["path"]), limits)
    except RejectedInput as error:
        return {"rejected": error.code, "detail": error.detail}, None
    except MemoryError:
        return {"rejected": "decoder_memory", "detail": ""}, None
    except OSError as error:
        return {"os_error": error.errno or 0}, None
    height, width = image.pixels.shape
    header = {
        "ok": "image",
        "shape": [height, width],
        "source": [image.source_height_px, image.source_width_px],
        "spacing_mm": image.pixel_spacing_mm,
        "header": image.header.to_json(),
        "dicom_context": base64.b64encode(image.dicom_context).decode(),
    }
    return header, image.pixels.reshape(-1).data


def _send(answers: BinaryIO, header: dict[str, Any], pixels: memoryview | None = None) -> None:
    text = json.dumps(header).encode()
    answers.write(LENGTH.pack(len(text)) + text)
    if pixels is not None:
        answers.write(pixels)
    answers.flush()


class _Memory:
    """How much memory this process has resident, told by a file that cannot be opened any more later."""

    def __init__(self) -> None:
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident_bytes(self) -> int:
        """0 where the system does not tell. A large file may leave so much behind that a fresh child is better."""
        if self._file < 0:
            return 0
        found = _RESIDENT.match(os.pread(self._file, 100, 0))
        return int(found[1]) * resource.getpagesize() if found else 0


def _allow_cpu(timeout_s: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + timeout_s) + _CPU_MARGIN_S
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipes on descriptors of their own: what a C library prints must not get between the answers."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests, answers


def main() -> None:
    """Entry point."""
    cv2.setNumThreads(1)
    limits = DecodeLimits(**json.loads(sys.argv[1]))
    requests, answers = _private_streams()
    serve(requests, answers, limits)


if __name__ == "__main__":
    main()
