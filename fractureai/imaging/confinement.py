"""What the decoding child gives up before it sees a foreign byte, for good and without needing root.

Limits on resources hold everywhere. On Linux there are two more walls, each used where the kernel has it: seccomp
takes away the system calls for other processes, programs and the network; Landlock takes away writing, and reading
below ``/proc``, ``/sys``, ``/run`` and ``/dev``, where a process could look into its neighbours, at their secrets, or
at disks. A kernel without them leaves the limits; :func:`confine` says which walls stand.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys
from pathlib import Path

from fractureai.imaging.limits import DecodeLimits

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

# Landlock's calls have the same numbers on every architecture.
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# By version of the interface: 13 rights on files; moving between folders; truncating; devices' controls.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_HIDDEN = frozenset({"proc", "sys", "run", "dev", "boot"})
_SHOWN = (Path("/dev/null"), Path("/dev/zero"), Path("/dev/urandom"), Path("/dev/random"), Path("/dev/shm"))  # noqa: S108

# Names of the two architectures we serve on: the kernel's number for them, and the calls that no decoder makes.
# ``truncate`` is one since Landlock knows it only from Linux 6.2 on; abort() ends a process without ``tgkill`` too.
_CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49, "listen": 50,
            "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "truncate": 76, "ptrace": 101,
            "rt_sigqueueinfo": 129, "mount": 165, "tkill": 200, "tgkill": 234, "add_key": 248, "request_key": 249,
            "keyctl": 250, "unshare": 272, "accept4": 288, "rt_tgsigqueueinfo": 297, "perf_event_open": 298,
            "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "bpf": 321, "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424,
            "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
            # What Landlock leaves open: metadata of files, how others run, memory that others map.
            "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "msgget": 68, "chmod": 90, "fchmod": 91,
            "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setpriority": 141, "sched_setparam": 142,
            "sched_setscheduler": 144, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
            "lremovexattr": 198, "fremovexattr": 199, "sched_setaffinity": 203, "utimes": 235, "ioprio_set": 251,
            "fchownat": 260, "futimesat": 261, "fchmodat": 268, "utimensat": 280, "sched_setattr": 314,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
            "sendto": 206, "sendmsg": 211, "execve": 221, "kill": 129, "truncate": 45, "ptrace": 117,
            "rt_sigqueueinfo": 138, "mount": 40, "tkill": 130, "tgkill": 131, "add_key": 217, "request_key": 218,
            "keyctl": 219, "unshare": 97, "accept4": 242, "rt_tgsigqueueinfo": 240, "perf_event_open": 241,
            "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
            "process_vm_writev": 271, "bpf": 280, "execveat": 281, "userfaultfd": 282, "pidfd_send_signal": 424,
            "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
            # What Landlock leaves open: metadata of files, how others run, memory that others map.
            "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
            "ioprio_set": 30, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88,
            "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122, "setpriority": 140,
            "msgget": 186, "semget": 190, "shmget": 194, "shmctl": 195, "shmat": 196, "sched_setattr": 274,
        },
    ),
}  # fmt: skip
# Newer ways to the same, with one number everywhere; older kernels do not know them.
_LATER = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466}
_CLONE = {"x86_64": 56, "aarch64": 220}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_FCNTL = {"x86_64": 72, "aarch64": 25}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_SET_OWNER, _SET_OWNER_EX = 8, 15
_EPERM, _ENOSYS = 1, 38

_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_X32 = 0x40000000


def confine(limits: DecodeLimits) -> tuple[str, ...]:
    """Give up, for good, what no decoder needs. Returns the walls that stand: ``limits``, ``seccomp``, ``landlock``."""
    for what, limit in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    if sys.platform != "linux":
        return ("limits",)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    walls = {"landlock": _hide_files(libc), "seccomp": _drop_calls(libc)}
    return ("limits", *(name for name, stands in walls.items() if stands))


def _hide_files(libc: ctypes.CDLL) -> bool:
    """Landlock: nothing is written, made, removed or executed; files are read, but none of the hidden folders."""
    call = libc.syscall
    call.restype = ctypes.c_long
    version = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, max(_FILE_RIGHTS.values()))) - 1
    handled = struct.pack("<Q", rights)
    rules = call(_LANDLOCK_CREATE, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint(0))
    if rules < 0:
        return False
    try:
        for entry in (*(entry for entry in Path("/").iterdir() if entry.name not in _HIDDEN), *_SHOWN):
            with contextlib.suppress(OSError):
                _allow_reading(call, rules, entry)
        return call(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0)) == 0
    finally:
        os.close(rules)


def _allow_reading(call: ctypes._NamedFuncPointer, rules: int, entry: Path) -> None:
    allowed = _READ_FILE | _READ_FOLDER if entry.is_dir() else _READ_FILE
    place = os.open(entry, os.O_PATH | os.O_CLOEXEC)
    try:
        beneath = struct.pack("=Qi", allowed, place)
        call(_LANDLOCK_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), beneath, ctypes.c_uint(0))
    finally:
        os.close(place)


def _drop_calls(libc: ctypes.CDLL) -> bool:
    """seccomp: the calls of the table fail with EPERM; threads may be begun, processes not."""
    machine = platform.machine()
    if machine not in _CALLS or struct.calcsize("P") != 8:
        return False
    program = b"".join(struct.pack("<HBBI", *line) for line in _filter(machine))
    lines = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("<H6xQ", len(program) // 8, ctypes.addressof(lines))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0) == 0)


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter as classic BPF: ``(code, jump if true, jump if false, value)``."""
    architecture, calls = _CALLS[machine]
    refuse, allow = (_RETURN, 0, 0, _FAIL | _EPERM), (_RETURN, 0, 0, _ALLOW)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture),
        refuse,
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        lines += [(_IF_AT_LEAST, 0, 1, _X32), refuse]
    for number in (*calls.values(), *_LATER.values()):
        lines += [(_IF_EQUAL, 0, 1, number), refuse]
    # Two more ways to end another process: a limit on its processor time, and the signal that tells a file's owner.
    lines += [(_IF_EQUAL, 0, 4, _PRLIMIT[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_IF_EQUAL, 1, 0, 0)]
    lines += [refuse, allow]
    lines += [(_IF_EQUAL, 0, 5, _FCNTL[machine]), (_LOAD, 0, 0, _SECOND_ARGUMENT_AT)]
    lines += [(_IF_EQUAL, 1, 0, _SET_OWNER), (_IF_EQUAL, 0, 1, _SET_OWNER_EX), refuse, allow]
    # glibc falls back from clone3, whose flags a filter cannot see, to clone, whose flags it can.
    lines += [(_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _FAIL | _ENOSYS)]
    lines += [(_IF_EQUAL, 0, 3, _CLONE[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_IF_ANY_BIT, 1, 0, _CLONE_THREAD)]
    return [*lines, refuse, allow]
