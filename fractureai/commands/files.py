"""Which files the user means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import click

from fractureai.client import Sorting
from fractureai.domain.name_pattern import NamePattern
from fractureai.domain.study import Grouping


def safe_stem(label: str, study_id: str) -> str:
    """A file name anywhere: letters, digits, dots and hyphens of a study's label, and the start of its id."""
    return f"{re.sub(r'[^a-zA-Z0-9_.-]+', '_', label).strip('._')[:80] or 'study'}-{study_id[:8]}"


def expand(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """List files and, for folders, every file below, hidden ones left out.

    Returns
    -------
    ``(name, path)`` in a stable order; the name of a file in a folder is relative to the folder's parent.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            below = sorted(item for item in path.rglob("*") if item.is_file())
            visible = [item for item in below if not any(part.startswith(".") for part in item.relative_to(path).parts)]
            found += [(item.relative_to(path.parent).as_posix(), item) for item in visible]
        elif path.is_file():
            found.append((path.name, path))
        else:
            raise click.BadParameter(f"there is no file or folder {path}")
    if not found:
        raise click.BadParameter("there is nothing to read: the folder is empty")
    return found


def sorting_of(text: str) -> Sorting:
    """What ``--group`` says: ``file``, ``folder``, ``study``, or a pattern of file names."""
    if text in {Grouping.FILE, Grouping.FOLDER, Grouping.STUDY}:
        return Sorting(text)
    try:
        return Sorting(Grouping.PATTERN, NamePattern(text).text)
    except ValueError as error:
        raise click.BadParameter(
            f"“{text}” is none of file, folder, study, and no pattern either. {error}", param_hint="--group"
        ) from None


group_option = click.option(
    "--group",
    default="file",
    metavar="file|folder|study|PATTERN",
    show_default=True,
    help="What makes a study of files that are not DICOM: each file, each folder, all of them, or what their names "
    "share, such as '{study}_*'.",
)

paths_argument = click.argument(
    "paths", metavar="FILE|FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
