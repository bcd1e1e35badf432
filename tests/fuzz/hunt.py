"""Trying inputs on one reader: in this process, or watched from outside in a process of its own."""

from __future__ import annotations

import hashlib
import mmap
import resource
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import Mutator
from tests.fuzz.readers import Reader

MEMORY_BYTES = 3 << 30
_MOST_INPUT = 1 << 20
_HEAD = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a promise."""

    reader: str
    what: str
    data: bytes

    @property
    def name(self) -> str:
        """A file name, the same for the same trouble."""
        return f"{self.reader}-{hashlib.sha256(self.what.encode()).hexdigest()[:12]}"


@dataclass
class Tally:
    """What was tried, and what was found, each kind once."""

    executions: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


def attempt(reader: Reader, data: bytes, tally: Tally) -> None:
    """Try one input."""
    tally.executions += 1
    try:
        reader.read(data)
    except Exception as error:
        finding = Finding(reader.name, _what(error), data)
        tally.findings.setdefault(finding.name, finding)


def hunt(reader: Reader, *, executions: int, seed: int) -> Tally:
    """Try the seeds and so many changed inputs, the same ones for the same ``seed``."""
    tally = Tally()
    for data in inputs(reader, seed, executions):
        attempt(reader, data, tally)
    return tally


def inputs(reader: Reader, seed: int, executions: int | None = None) -> Iterator[bytes]:
    """The seeds, then changed ones; without end if no number is given."""
    seeds = reader.seeds()
    yield from seeds
    mutator, made = Mutator(seeds, seed), 0
    while executions is None or made < executions:
        made += 1
        yield mutator.next()


class Slate:
    """A shared page on which the hunting process writes what it is about to try, for whoever watches it."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_HEAD.size + _MOST_INPUT))
        with file.open("r+b") as stream:
            self._page = mmap.mmap(stream.fileno(), 0)

    def write(self, count: int, data: bytes) -> None:
        """Note the input that comes next."""
        kept = data[:_MOST_INPUT]
        self._page[_HEAD.size : _HEAD.size + len(kept)] = kept
        self._page[: _HEAD.size] = _HEAD.pack(count, len(kept))

    def read(self) -> tuple[int, bytes]:
        """How many were tried, and the latest."""
        count, length = _HEAD.unpack(self._page[: _HEAD.size])
        return count, bytes(self._page[_HEAD.size : _HEAD.size + length])


def hunt_here(reader: Reader, folder: Path, *, seconds: float, seed: int) -> None:
    """Hunt in this process until the time is over; findings are files in ``folder``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    attempt_it = watched(reader, folder)
    end = time.monotonic() + seconds
    for data in inputs(reader, seed):
        if time.monotonic() > end:
            return
        attempt_it(data)


def watched(reader: Reader, folder: Path) -> Callable[[bytes], None]:
    """What tries one input, noting it first; findings are files in ``folder``."""
    slate, tally = Slate(folder / f"{reader.name}.slate"), Tally()

    def attempt_it(data: bytes) -> None:
        slate.write(tally.executions, data)
        known = len(tally.findings)
        attempt(reader, data, tally)
        if len(tally.findings) > known:
            keep(list(tally.findings.values())[-1], folder)

    return attempt_it


def keep(finding: Finding, folder: Path) -> None:
    """Leave a finding as two files: the input, and what happened."""
    (folder / f"{finding.name}.input").write_bytes(finding.data)
    (folder / f"{finding.name}.txt").write_text(finding.what)


def _what(error: BaseException) -> str:
    """The error's kind and where it came from: the last lines of ours and of what we call."""
    frames: list[Any] = traceback.extract_tb(error.__traceback__)[-6:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    words = str(error)[:80] if isinstance(error, AssertionError) else ""
    return "\n".join([f"{type(error).__name__} {words}".strip(), *places])
