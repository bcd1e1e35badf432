"""Files that are made while they are sent: never whole in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Response, stream_with_context

from fractureai.web.context import web

_EARLIEST_S = 315_532_800.0  # 1980, before which an archive knows no date


def streamed(chunks: Iterator[bytes], media_type: str, file_name: str) -> Response:
    """A download."""
    response = Response(stream_with_context(chunks), mimetype=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


def zip_entry(name: str, at_s: float | None = None) -> zipfile.ZipInfo:
    """A member of an archive, readable by its owner."""
    at = datetime.fromtimestamp(max(at_s or web().ports.clock(), _EARLIEST_S), UTC)
    entry = zipfile.ZipInfo(name, at.timetuple()[:6])
    entry.external_attr = 0o600 << 16
    return entry


class Pipe(io.RawIOBase):
    """What the archive is written into: never more than what was written since the last look."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        """What was written since."""
        taken, self._waiting = bytes(self._waiting), bytearray()
        return taken
