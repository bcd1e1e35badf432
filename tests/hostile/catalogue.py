"""The catalogue of hostile inputs: each a name, its bytes, made on the spot, and the expected answer."""

from __future__ import annotations

from functools import cache

from tests.hostile.archive_files import archive_files
from tests.hostile.dicom_files import dicom_files
from tests.hostile.hostile import Hostile
from tests.hostile.picture_files import picture_files


@cache
def catalogue() -> tuple[Hostile, ...]:
    """All of it; about 40 MB."""
    return (*dicom_files(), *picture_files(), *archive_files())
