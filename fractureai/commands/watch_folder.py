"""A folder that others put files into: what is complete in it, and where it goes. No service here.

Folders are looked at again and again, for network file systems tell nobody of changes. What is not complete is left
alone: a file or folder counts as complete when its names, sizes and times have stayed the same for a while.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fractureai.commands.file_tree import content_of, walk, why
from fractureai.domain.contents import (
    DICOM_DIRECTORY,
    Content,
    FoundContent,
    count_kinds,
    skipped_kinds,
    skipped_sentence,
)
from fractureai.domain.names import derived_name, safe_name

DONE, REJECTED, MEMORY = "done", "rejected", ".fractureai-watch"
_OURS = {DONE, REJECTED, MEMORY}
# What programs call a file they have not finished.
_UNFINISHED = re.compile(
    r"\.(part|partial|tmp|temp|filepart|crdownload|download|swp|lock|uploading)$|~$", re.IGNORECASE
)
_MAX_ENDING_BYTES = 16

Look = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in the watched folder, with the files it consists of.

    Names are as the file system has them: relative to the watched folder, with ``/``, perhaps not UTF-8 (PEP 383).
    """

    name: str
    files: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Of a folder: what is no image, the index of a disc last."""
    skipped: str = ""
    """The same in words."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, not a single file."""
        return self.files != (self.name,)


class Inbox:
    """The watched folder.

    Parameters
    ----------
    settle_s:
        How long something must stay the same.
    tell:
        Is told once of each file or folder that cannot be looked at or moved. It is left alone; the others are not.
    """

    def __init__(self, root: Path, settle_s: float, tell: Callable[[str], None]) -> None:
        self.root = root
        self._settle_s = settle_s
        self._tell = tell
        self._seen: dict[str, tuple[Look, float]] = {}
        self._told: set[tuple[str, str]] = set()
        self._stuck: set[str] = set()

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
            try:
                look = _look(path)
                before, since = self._seen.get(path.name, (None, now_s))
                seen[path.name] = (look, since if before == look else now_s)
                if now_s - seen[path.name][1] < self._settle_s:
                    unsettled = unsettled or bool(set(self._names(path)) - taken - self._stuck)
                elif not any(_UNFINISHED.search(name) for name, _, _ in look):
                    entry = self._entry(path, taken | self._stuck)
                    found += [entry] if entry.files or entry.others else []
            except FileNotFoundError:
                continue  # it went away while it was looked at
            except OSError as error:
                self._trouble(path.name, error)
        self._seen = seen
        return found, unsettled

    def finish(self, relative: str) -> None:
        """The file was dealt with."""
        with self._troubled(relative):
            self._move(relative, _free(self.root / DONE / relative))

    def reject(self, relative: str, reason: str) -> None:
        """The file cannot be used; why is written beside it."""
        with self._troubled(relative):
            target = _free(self.root / REJECTED / relative)
            if (self.root / relative).exists():
                # First the reason: a kill must not leave a file there without one.
                write_whole(target.with_name(derived_name(target.name, ".reason.txt")), f"{reason}\n".encode())
                self._move(relative, target)

    def set_aside(self, entry: Entry) -> None:
        """Move what is no image, before the images are sent."""
        for name in entry.others:
            self.finish(name)
        if entry.skipped:
            self._tell(f"skipped in {safe_name(entry.name)}: {entry.skipped}")
        if not entry.files:
            self.clear(entry.name)

    def clear(self, name: str) -> None:
        """Remove the folders that are empty now."""
        folder = self.root / name
        if not folder.is_dir():
            return
        for current, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):
                Path(current).rmdir()

    def _entries(self) -> Iterator[Path]:
        with os.scandir(self.root) as items:
            for item in items:
                if item.name not in _OURS and not item.name.startswith(".") and not item.is_symlink():
                    yield Path(item.path)

    def _names(self, path: Path) -> list[str]:
        """The files of an entry that are neither hidden nor links nor unfinished."""
        files = [path] if path.is_file() else _tree(path)
        names = (file.relative_to(self.root).as_posix() for file in files if not file.is_symlink())
        return [name for name in names if not _is_hidden(name) and not _UNFINISHED.search(name)]

    def _entry(self, path: Path, taken: set[str]) -> Entry:
        names = [name for name in self._names(path) if name not in taken]
        if path.is_file():
            return Entry(path.name, tuple(names))
        contents = [(name, self._content(name)) for name in names]
        kinds = dict(zip(names, skipped_kinds(contents), strict=True))
        others = [name for name, kind in kinds.items() if kind]
        # As long as the index is there, the pictures beside it are known for what they are.
        others.sort(key=lambda name: kinds[name] == DICOM_DIRECTORY)
        sentence = skipped_sentence(count_kinds(kinds.values()).items()) if others else ""
        return Entry(path.name, tuple(name for name, kind in kinds.items() if not kind), tuple(others), sentence)

    def _content(self, name: str) -> FoundContent:
        try:
            return content_of(self.root / name, name)
        except OSError:  # told when it is to be sent
            return FoundContent(Content.UNKNOWN)

    def _move(self, relative: str, target: Path) -> None:
        """One atomic step, for it stays on one file system; nothing happens if the file is gone, as after a kill."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            (self.root / relative).rename(target)

    @contextmanager
    def _troubled(self, relative: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._stuck.add(relative)
            self._trouble(relative, error)

    def _trouble(self, relative: str, error: OSError) -> None:
        told = (relative, why(error))
        if told not in self._told:
            self._told.add(told)
            self._tell(f"left alone: {safe_name(relative)}: {told[1]}")


def _tree(folder: Path) -> list[Path]:
    """Raises ``OSError`` if a part of it cannot be looked at: then it cannot be told whether it is complete."""
    tree = walk(folder)
    for _, error in tree.errors:
        raise error
    return tree.files


def _look(path: Path) -> Look:
    """Names, sizes and times of all files that a file or folder consists of."""
    files = [path] if path.is_file() else _tree(path)
    status = ((file, file.stat(follow_symlinks=False)) for file in files)
    return tuple((file.name, one.st_size, one.st_mtime_ns) for file, one in status)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _free(path: Path) -> Path:
    """The path, or the next like it that nobody has."""
    ending = path.suffix if len(os.fsencode(path.suffix)) <= _MAX_ENDING_BYTES else ""
    stem = path.name.removesuffix(ending) if ending else path.name
    number = 2
    free = path
    while free.exists():
        free = path.with_name(derived_name(stem, f"-{number}{ending}"))
        number += 1
    return free


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_memory(path: Path, data: dict[str, Any]) -> None:
    """Remember something; :func:`read_memory` gives it back, names that are not UTF-8 included."""
    write_whole(path, json.dumps(data).encode("ascii"))


def read_memory(path: Path) -> dict[str, Any] | None:
    """What :func:`write_memory` wrote; ``None`` if there is nothing that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def sha256_of(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
