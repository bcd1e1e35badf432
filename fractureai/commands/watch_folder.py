"""A folder that others put files into: what is complete in it, and where it goes. No service here.

Folders are looked at again and again, for network file systems tell nobody of changes. What is not complete is left
alone: a file or folder counts as complete when its names, sizes and times have stayed the same for a while.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DONE, REJECTED, MEMORY = "done", "rejected", ".fractureai-watch"
_OURS = {DONE, REJECTED, MEMORY}
# What programs call a file they have not finished, and what operating systems leave behind.
_UNFINISHED = re.compile(
    r"\.(part|partial|tmp|temp|filepart|crdownload|download|swp|lock|uploading)$|~$", re.IGNORECASE
)
_JUNK = {"thumbs.db", "desktop.ini", "dicomdir"}

Look = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in the watched folder, with the files it consists of."""

    name: str
    files: tuple[str, ...]
    """Relative to the watched folder, with ``/``."""


class Inbox:
    """The watched folder.

    Parameters
    ----------
    settle_s:
        How long something must stay the same.
    """

    def __init__(self, root: Path, settle_s: float) -> None:
        self.root = root
        self._settle_s = settle_s
        self._seen: dict[str, tuple[Look, float]] = {}

    def complete(self, now_s: float, *, taken: set[str]) -> tuple[list[Entry], bool]:
        """What is complete, in order of names, and whether something else is still being written.

        Parameters
        ----------
        now_s:
            On any clock that only goes forward.
        taken:
            Files (relative names) that are somebody's already.
        """
        seen: dict[str, tuple[Look, float]] = {}
        found, unsettled = [], False
        for path in sorted(self._entries()):
            look = _look(path)
            if look is None:
                continue  # it went away while it was looked at
            before, since = self._seen.get(path.name, (None, now_s))
            seen[path.name] = (look, since if before == look else now_s)
            names = [name for name in self._files(path) if name not in taken]
            if not names:
                continue
            if now_s - seen[path.name][1] < self._settle_s:
                unsettled = True
            elif not any(_UNFINISHED.search(name) for name, _, _ in look):
                found.append(Entry(path.name, tuple(names)))
        self._seen = seen
        return found, unsettled

    def finish(self, relative: str) -> None:
        """The file was dealt with."""
        self._move(relative, _free(self.root / DONE / relative))

    def reject(self, relative: str, reason: str) -> None:
        """The file cannot be used; why is written beside it."""
        target = _free(self.root / REJECTED / relative)
        if (self.root / relative).exists():
            # First the reason: a kill must not leave a file that lies there without one.
            write_whole(target.with_name(f"{target.name}.reason.txt"), f"{reason}\n".encode())
            self._move(relative, target)

    def clear(self, name: str) -> None:
        """Remove the folders that are empty now."""
        folder = self.root / name
        if not folder.is_dir():
            return
        for path in sorted((item for item in folder.rglob("*") if item.is_dir()), reverse=True):
            with suppress(OSError):
                path.rmdir()
        with suppress(OSError):
            folder.rmdir()

    def _entries(self) -> Iterator[Path]:
        with os.scandir(self.root) as items:
            for item in items:
                if item.name not in _OURS and not item.name.startswith(".") and not item.is_symlink():
                    yield Path(item.path)

    def _files(self, path: Path) -> list[str]:
        items = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        relative = (item.relative_to(self.root).as_posix() for item in items if not item.is_symlink())
        return [name for name in relative if not _is_junk(name) and not _UNFINISHED.search(name)]

    def _move(self, relative: str, target: Path) -> None:
        """One atomic step, for it stays on one file system; nothing happens if the file is gone, as after a kill."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (self.root / relative).rename(target)


def _look(path: Path) -> Look | None:
    """Names, sizes and times of all that a file or folder consists of."""
    try:
        items = [path] if path.is_file() else sorted(path.rglob("*"))
        status = ((item, item.stat(follow_symlinks=False)) for item in items)
        return tuple((item.name, one.st_size, one.st_mtime_ns) for item, one in status)
    except OSError:
        return None


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() in _JUNK


def _free(path: Path) -> Path:
    """The path, or the next like it that nobody has."""
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_memory(path: Path) -> dict[str, Any] | None:
    """What :func:`write_whole` wrote as JSON; ``None`` if there is nothing that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def sha256_of(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
