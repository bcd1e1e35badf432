"""The filter of system calls for both architectures, wherever the test runs: its numbers, and what it answers."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from fractureai.imaging import confinement

MACHINES = ("x86_64", "aarch64")
# Debian: linux-libc-dev. arm64 has the numbers that every newer architecture has.
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOWED, REFUSED, MISSING = 0x7FFF0000, 0x00050001, 0x00050026
# What decoders live on: read, write, openat, newfstatat or its like, mmap, munmap, futex.
NEEDED = {"x86_64": (0, 1, 257, 262, 9, 11, 202), "aarch64": (63, 64, 56, 79, 222, 215, 98)}
THREAD, FORK = 0x003D0F00, 17


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter returns for a call."""
    whole = architecture if architecture is not None else confinement._CALLS[machine][0]
    data = struct.pack("<IIQ6Q", number, whole, 0, *arguments, *(0,) * (6 - len(arguments)))
    lines, at, loaded = confinement._filter(machine), 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("no kernel headers (Debian: linux-libc-dev)")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    numbers = {name: int(number) for name, number in defined}
    ours = confinement._CALLS[machine][1] | {
        "clone": confinement._CLONE[machine],
        "clone3": confinement._CLONE3,
        "prlimit64": confinement._PRLIMIT[machine],
        "fcntl": confinement._FCNTL[machine],
        "landlock_create_ruleset": confinement._LANDLOCK_CREATE,
        "landlock_add_rule": confinement._LANDLOCK_ADD_RULE,
        "landlock_restrict_self": confinement._LANDLOCK_RESTRICT,
    }
    assert {name: numbers.get(name) for name in ours} == ours
    later = confinement._LATER
    assert {name: numbers.get(name, number) for name, number in later.items()} == later


def test_both_architectures_lack_the_same_calls() -> None:
    x86, arm = (set(confinement._CALLS[machine][1]) for machine in MACHINES)
    # What arm64 has only in its newer forms.
    assert x86 - arm == {"fork", "vfork", "chmod", "chown", "lchown", "utime", "utimes", "futimesat"}
    assert not arm - x86


@pytest.mark.parametrize("machine", MACHINES)
def test_what_the_filter_answers(machine: str) -> None:
    calls = confinement._CALLS[machine][1] | confinement._LATER
    assert {name for name, number in calls.items() if answer(machine, number) != REFUSED} == set()
    assert [answer(machine, number) for number in NEEDED[machine]] == [ALLOWED] * len(NEEDED[machine])
    clone, limit, control = confinement._CLONE[machine], confinement._PRLIMIT[machine], confinement._FCNTL[machine]
    assert (answer(machine, clone, THREAD), answer(machine, clone, FORK)) == (ALLOWED, REFUSED)
    assert answer(machine, confinement._CLONE3) == MISSING
    assert (answer(machine, limit, 0, 7), answer(machine, limit, 1, 7)) == (ALLOWED, REFUSED)
    assert [answer(machine, control, 0, command) for command in (3, 8, 15)] == [ALLOWED, REFUSED, REFUSED]
    # A process of the other architecture, such as a 32-bit one, has other numbers.
    assert answer(machine, NEEDED[machine][0], architecture=0x40000028) == REFUSED
