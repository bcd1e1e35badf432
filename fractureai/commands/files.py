"""Which files the user means, and what is said of those that are not read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from fractureai.client import Sorting
from fractureai.commands.file_tree import content_of, walk, why
from fractureai.domain.contents import FoundContent, count_kinds, skipped_kinds, skipped_sentence
from fractureai.domain.name_pattern import NamePattern
from fractureai.domain.names import distinct_names, safe_name
from fractureai.domain.study import Grouping


def safe_stem(label: str, study_id: str) -> str:
    """A file name anywhere: letters, digits, dots and hyphens of a study's label, and the start of its id."""
    return f"{re.sub(r'[^a-zA-Z0-9_.-]+', '_', label).strip('._')[:80] or 'study'}-{study_id[:8]}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The files a user means.

    Attributes
    ----------
    files:
        Names for people, and paths; in a stable order. The name of a file in a folder begins with the folder's.
    skipped:
        What of folders is no image, counted by kind.
    left_out:
        What cannot be read, and why.
    """

    files: list[tuple[str, Path]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def expand(paths: Iterable[Path]) -> Selection:
    """Look for files and, in folders, for every file below that may be an image; hidden ones do not count.

    A file that is named itself is always among them, whatever it is.
    """
    found: list[tuple[str, Path]] = []
    kinds: list[str] = []
    left_out: list[tuple[str, str]] = []
    for path in paths:
        if path.is_dir():
            images, others, unreadable = _of_folder(path)
            found += images
            kinds += others
            left_out += unreadable
        elif path.is_file():
            found.append((path.name, path))
        else:
            raise click.BadParameter(f"there is no file or folder {safe_name(str(path))}")
    skipped = count_kinds(kinds)
    if not found:
        raise click.BadParameter(f"there is nothing to read: {_nothing(skipped, left_out)}")
    names = distinct_names([name for name, _ in found])
    return Selection(list(zip(names, (path for _, path in found), strict=True)), skipped, left_out)


def say_left_out(left_out: Iterable[tuple[str, str]], skipped: Mapping[str, int], say: Callable[[str], object]) -> None:
    """Tell what was not read: a line each for what could not be, one line for all that is no image."""
    for name, sentence in left_out:
        say(f"left out: {name}: {sentence}")
    if skipped:
        say(f"skipped: {skipped_sentence(skipped.items())}")


def _of_folder(folder: Path) -> tuple[list[tuple[str, Path]], list[str], list[tuple[str, str]]]:
    """Files that may be images, kinds of the others, and what cannot be read."""
    tree = walk(folder)
    left_out = [(safe_name(_below(folder, path)), why(error)) for path, error in tree.errors]
    found: list[tuple[str, Path, FoundContent]] = []
    for path in tree.files:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        name = _below(folder, path)
        try:
            found.append((name, path, content_of(path, name)))
        except OSError as error:
            left_out.append((safe_name(name), why(error)))
    kinds = skipped_kinds([(name, content) for name, _, content in found])
    images = [(name, path) for (name, path, _), kind in zip(found, kinds, strict=True) if not kind]
    return images, [kind for kind in kinds if kind], left_out


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder.parent).as_posix()


def _nothing(skipped: Mapping[str, int], left_out: Sequence[tuple[str, str]]) -> str:
    parts = [skipped_sentence(skipped.items())] if skipped else []
    parts += [f"{name}: {reason}" for name, reason in left_out[:3]]
    return "; ".join(parts) or "the folder is empty"


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
