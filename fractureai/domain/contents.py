"""What files turn out to be, and which of a set are no images: system files, viewers on patient discs, documents.

What is skipped is counted by kind and shown, never analysed. What could be an image, damaged ones included, is not
skipped: it is analysed or rejected with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

DICOM_DIRECTORY = "DICOM directory"
PICTURE_OF_A_VIEWER = "picture of a disc's viewer"
SKIPPED = "not_an_image"
"""The reason code of what is skipped; its detail is the kind."""

_NOT_KEPT = "FractureAI has not kept this file: "
_PLURALS = {
    DICOM_DIRECTORY: "DICOM directories",
    PICTURE_OF_A_VIEWER: "pictures of a disc's viewer",
    "text": "texts",
    "audio or video": "audio or video files",
    "data": "data files",
    "other": "others",
}


class Content(Enum):
    """What a file holds, as far as its first bytes and its name tell."""

    DICOM = "DICOM"
    PICTURE = "picture"
    """Of any format, those included that cannot be analysed."""
    ARCHIVE = "archive"
    NO_IMAGE = "no image"
    UNKNOWN = "unknown"
    """Perhaps a damaged image: only reading it tells."""


@dataclass(frozen=True, slots=True)
class FoundContent:
    """A content, and for ``NO_IMAGE`` the kind: ``program``, ``web page`` …"""

    content: Content
    kind: str = ""


def not_kept(kind: str) -> bytes:
    """What is kept in the place of a file of that kind, where names may not stay; :func:`kept_kind` tells it again."""
    return f"{_NOT_KEPT}{kind}\n".encode()


def kept_kind(head: bytes) -> str:
    """The kind of a file that was not kept; ``""`` for any other file."""
    found = re.match(f"{_NOT_KEPT}([A-Za-z' ]{{1,40}})\n".encode(), head)
    return found[1].decode() if found else ""


def skipped_kinds(files: Sequence[tuple[str, FoundContent]]) -> list[str]:
    """For each file of a folder, archive or batch the kind it is skipped as; ``""`` if it is not.

    Below a folder with a ``DICOMDIR`` that holds DICOM files (PS3.10, a patient's disc), pictures of other formats
    belong to the disc's viewer or are its copies of the images.

    Parameters
    ----------
    files:
        Names with folders, and contents.
    """
    indexed = {PurePosixPath(name).parent for name, found in files if found.kind == DICOM_DIRECTORY}
    holding = {
        parent for name, found in files if found.content is Content.DICOM for parent in PurePosixPath(name).parents
    }
    discs = indexed & holding
    kinds = []
    for name, found in files:
        kind = found.kind
        if found.content is Content.PICTURE and not discs.isdisjoint(PurePosixPath(name).parents):
            kind = PICTURE_OF_A_VIEWER
        kinds.append(kind)
    return kinds


def skipped_sentence(counts: Iterable[tuple[str, int]]) -> str:
    """``88 files that are not images (43 programs, 30 web pages, …)``, from counts by kind."""
    ordered = sorted(counts, key=lambda entry: (-entry[1], entry[0]))
    total = sum(count for _, count in ordered)
    parts = [f"{count:,} {kind if count == 1 else _PLURALS.get(kind, f'{kind}s')}" for kind, count in ordered]
    what = "1 file that is not an image" if total == 1 else f"{total:,} files that are not images"
    return f"{what} ({', '.join(parts)})"


def count_kinds(kinds: Iterable[str]) -> dict[str, int]:
    """How many of each kind, the most frequent first."""
    counts = Counter(kind for kind in kinds if kind)
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
