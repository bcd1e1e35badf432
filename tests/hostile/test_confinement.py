"""What a decoding child that was taken over cannot do any more."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from fractureai.imaging.decoder import ChildDecoder
from tests.pictures import bone, png

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

_ATTEMPT = """
import contextlib, fcntl, json, os, resource, socket, struct, sys, threading
import ctypes
from fractureai.imaging.confinement import confine
from fractureai.imaging.limits import DecodeLimits
walls = confine(DecodeLimits())
folder, parent = sys.argv[1], os.getppid()
libc = ctypes.CDLL(None, use_errno=True)

def called(function, *values):
    if function(*values) != 0:
        raise OSError(ctypes.get_errno(), function.__name__)

def connect():
    with socket.create_connection(("127.0.0.1", 9), 1):
        pass

def thread():
    done = threading.Event()
    threading.Thread(target=done.set).start()
    done.wait(5) or sys.exit(9)

attempts = {
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "socket": lambda: socket.socket().close(),
    "unix socket": lambda: socket.socketpair(),
    "connect": connect,
    "kill": lambda: os.kill(parent, 0),
    "kill a thread": lambda: called(libc.tgkill, parent, parent, 0),
    "queue a signal": lambda: called(libc.sigqueue, parent, 0, None),
    "parent's limits": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
    "signals on input": lambda: fcntl.fcntl(0, 8, parent),  # F_SETOWN
    "more signals on input": lambda: fcntl.fcntl(0, 15, struct.pack("=ii", 1, parent)),  # F_SETOWN_EX
    "ptrace": lambda: called(libc.ptrace, 16, parent, 0, 0),
    "parent's environment": lambda: open(f"/proc/{parent}/environ", "rb").read(),
    "parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").read(1),
    "devices": lambda: os.listdir("/dev"),
    "secrets": lambda: os.listdir("/run"),
    "new file": lambda: open(folder + "/new", "wb").close(),
    "new folder": lambda: os.mkdir(folder + "/new-folder"),
    "remove": lambda: os.unlink(folder + "/there"),
    "rename": lambda: os.rename(folder + "/there", folder + "/elsewhere"),
    "truncate": lambda: os.truncate(folder + "/there", 0),
    "rights": lambda: os.chmod(folder + "/there", 0o777),
    "owner": lambda: os.chown(folder + "/there", os.getuid(), os.getgid()),
    "times": lambda: os.utime(folder + "/there"),
    "attributes": lambda: os.setxattr(folder + "/there", "user.x", b"y"),
    "parent's priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 5),
    "parent's processors": lambda: os.sched_setaffinity(parent, os.sched_getaffinity(0)),
    "shared memory": lambda: called(lambda *v: libc.shmget(*v) < 0, 0, 4096, 0o600),
    "read": lambda: open(folder + "/there", "rb").read(),
    "memory": lambda: bytearray(4 << 30),
}
found = {}
for name, attempt in attempts.items():
    try:
        attempt()
        found[name] = "done"
    except (OSError, MemoryError) as error:
        found[name] = type(error).__name__
print(json.dumps({"walls": walls, "found": found}))
"""
_DONE = {"read": "done", "memory": "MemoryError"}
_BY_SECCOMP = (
    "fork", "exec", "socket", "unix socket", "connect", "kill", "kill a thread", "queue a signal", "parent's limits",
    "signals on input", "more signals on input", "ptrace", "truncate", "rights", "owner", "times", "attributes",
    "parent's priority", "parent's processors", "shared memory",
)  # fmt: skip


def _attempted(folder: Path) -> dict[str, dict[str, str]]:
    (folder / "there").write_bytes(b"kept")
    answer = subprocess.run(
        [sys.executable, "-c", _ATTEMPT, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, dict[str, str]] = json.loads(answer.stdout)
    return found


def test_a_child_that_was_taken_over_is_behind_walls(tmp_path: Path) -> None:
    answer = _attempted(tmp_path)
    walls, found = answer["walls"], answer["found"]
    if "seccomp" in walls:
        for name in _BY_SECCOMP:
            assert found[name] == "PermissionError", name
    if "landlock" in walls:
        for name in ("parent's environment", "parent's memory", "devices", "secrets", "new file", "new folder"):
            assert found[name] == "PermissionError", name
        for name in ("remove", "rename"):
            assert found[name] == "PermissionError", name
    assert {name: found[name] for name in _DONE} == _DONE
    assert (tmp_path / "there").read_bytes() == b"kept"


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no table of calls for this machine")
def test_the_filter_stands_where_we_serve(tmp_path: Path) -> None:
    status = Path("/proc/self/status").read_text()
    if "Seccomp:" not in status:
        pytest.skip("this kernel has no seccomp")
    assert "seccomp" in _attempted(tmp_path)["walls"]


def test_the_warm_child_is_behind_them_too(tmp_path: Path) -> None:
    file = tmp_path / "good.png"
    file.write_bytes(png())
    with ChildDecoder() as decoder:
        decoder.decode(file)
        status = Path(f"/proc/{decoder.child_pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        if "Seccomp:" in status:
            assert "Seccomp:\t2" in status
        # It lives on after the walls stand, and still knows how much memory it uses.
        assert decoder.decode(file).pixels.shape == (120, 90)


_AS_NOBODY = """
import os, sys
import cv2
from pathlib import Path
from PIL import Image
from fractureai.imaging import dicom, raster
from fractureai.imaging.confinement import confine
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.reader import read_radiograph
cv2.setNumThreads(1)
Image.init()  # the interpreter's folders may not be open to everybody
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
confine(DecodeLimits())
for kind in sys.argv[2:]:
    print(kind, read_radiograph(Path(kind), DecodeLimits()).pixels.shape == (120, 90))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody; for others every test of decoding is this")
def test_every_format_is_read_by_an_ordinary_user() -> None:
    kinds = ["PNG", "JPEG", "WEBP", "TIFF"]
    # Not pytest's own folder, which is closed to everybody else.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for kind in kinds:
            Image.fromarray(bone()).save(Path(folder) / kind, kind)
        command = [sys.executable, "-c", _AS_NOBODY, folder, *kinds]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [word for kind in kinds for word in (kind, "True")]
