"""One file to one radiograph, whatever its format: what the decoding child does."""

from __future__ import annotations

import os
from pathlib import Path

from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.sizes import above_limit
from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.limits import DecodeLimits

# ISO 9660 begins with sixteen sectors of anything.
_DISC_AT = slice(0x8001, 0x8006)
_DISC_IMAGE = "the image of a disc; send its files"


def read_radiograph(path: Path, limits: DecodeLimits) -> Radiograph:
    """Read one radiograph, by content. Raises ``RejectedInput``.

    The parsers are imported on first use: a child that meets no DICOM file stays 25 MB smaller.
    """
    data = contents(path, limits.max_bytes)
    kind = media.sniff(data[: media.HEAD_BYTES])
    if kind.media_type == media.DICOM:
        from fractureai.imaging.dicom import read_dicom

        return read_dicom(data, limits)
    if kind.media_type is not None:
        from fractureai.imaging.raster import read_raster

        return read_raster(data, kind.media_type, limits)
    is_disc = not kind.instead and data[_DISC_AT] == b"CD001"
    raise RejectedInput("unknown_type", _DISC_IMAGE if is_disc else kind.instead)


def read_identity(path: Path, limits: DecodeLimits) -> InstanceIdentity | None:
    """Which instance a DICOM file claims to be; ``None`` for anything else, and for what cannot be parsed."""
    data = contents(path, limits.max_bytes)
    if media.sniff(data[: media.HEAD_BYTES]).media_type != media.DICOM:
        return None
    from fractureai.imaging.dicom import instance_identity

    return instance_identity(data, limits)


def contents(path: Path, max_bytes: int) -> bytes:
    """The whole file. Raises ``RejectedInput`` if it is empty or too large."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > max_bytes:
            raise RejectedInput("too_many_bytes", above_limit(size_bytes, max_bytes))
        data = file.read(size_bytes)
    if not data:
        raise RejectedInput("empty_file")
    return data
