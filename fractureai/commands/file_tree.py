"""The files below a folder, whatever they are called and however deep they are."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from fractureai.domain.contents import FoundContent
from fractureai.imaging import media


@dataclass(frozen=True, slots=True)
class FileTree:
    """Files in order of their names, and the folders that could not be looked at."""

    files: list[Path] = field(default_factory=list)
    errors: list[tuple[Path, OSError]] = field(default_factory=list)


def walk(folder: Path) -> FileTree:
    """All files below a folder. Links to files are followed, links to folders are not.

    ``Path.rglob`` would end at the first folder that cannot be opened, or whose path is too long for the system.
    """
    tree = FileTree()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file():
                    tree.files.append(Path(entry.path))
        except OSError as error:
            tree.errors.append((current, error))
    tree.files.sort()
    return tree


def content_of(path: Path, name: str) -> FoundContent:
    """What a file is, by its first bytes and its name. Raises ``OSError`` if it cannot be opened."""
    with path.open("rb") as file:
        return media.content_of(name, file.read(media.HEAD_BYTES))


def why(error: OSError) -> str:
    """What the system says, without the path: ``permission denied``."""
    return (error.strerror or type(error).__name__).lower()
