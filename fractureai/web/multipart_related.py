"""``multipart/related`` (RFC 2387), read as a stream: at most one chunk and one boundary of it are in memory.

Werkzeug reads ``multipart/form-data`` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from typing import IO

CHUNK_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 16 * 1024
# RFC 2046 allows 70; Orthanc writes 73.
_MAX_BOUNDARY = 200


class NotMultipart(Exception):
    """It is not what it says it is, or ends too early; with a sentence for the sender."""


class Part:
    """One part; read it before the next one is asked for."""

    def __init__(self, headers: Mapping[str, str], chunks: Iterator[bytes]) -> None:
        self.headers = headers
        self.chunks = chunks

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case; ``""`` if the part has none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class RelatedParts:
    """The parts of a body.

    Parameters
    ----------
    stream:
        The body, read in chunks.
    boundary:
        As the content type says.
    """

    def __init__(self, stream: IO[bytes], boundary: str) -> None:
        if not (0 < len(boundary) <= _MAX_BOUNDARY and boundary.isascii()):
            raise NotMultipart("The content type names no boundary of the parts.")
        self._stream = stream
        self._mark = b"\r\n--" + boundary.encode()
        # The first boundary may stand at the very beginning; with this it looks like the others.
        self._held = b"\r\n"

    def __iter__(self) -> Iterator[Part]:
        for _ in self._until_mark():
            pass  # what stands before the first part belongs to nobody
        while self._goes_on():
            part = Part(self._head(), self._until_mark())
            yield part
            for _ in part.chunks:
                pass

    def _more(self) -> None:
        chunk = self._stream.read(CHUNK_BYTES)
        if not chunk:
            raise NotMultipart("The request ends within a part.")
        self._held += chunk

    def _until_mark(self) -> Iterator[bytes]:
        """What stands before the next boundary; afterwards the boundary is behind."""
        while (found := self._held.find(self._mark)) < 0:
            certain = len(self._held) - len(self._mark) + 1
            if certain > 0:
                piece, self._held = self._held[:certain], self._held[certain:]
                yield piece
            self._more()
        piece, self._held = self._held[:found], self._held[found + len(self._mark) :]
        if piece:
            yield piece

    def _goes_on(self) -> bool:
        """Whether another part follows the boundary just read."""
        while len(self._held) < 2:
            self._more()
        if self._held.startswith(b"--"):
            return False
        while (end := self._held.find(b"\r\n")) < 0:
            if len(self._held) > _MAX_HEAD_BYTES:
                raise NotMultipart("A boundary is followed by something else than a line break.")
            self._more()
        if self._held[:end].strip(b" \t"):
            raise NotMultipart("A boundary is followed by something else than a line break.")
        # The line break stays: a part without headers goes on with an empty line.
        self._held = self._held[end:]
        return True

    def _head(self) -> dict[str, str]:
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _MAX_HEAD_BYTES:
                raise NotMultipart("The headers of a part are too long.")
            self._more()
        if end > _MAX_HEAD_BYTES:
            raise NotMultipart("The headers of a part are too long.")
        text, self._held = self._held[:end].decode("latin-1"), self._held[end + 4 :]
        # A part whose body is empty may end right here; the boundary's line break was eaten with the headers.
        if self._held.startswith(self._mark[2:]):
            self._held = b"\r\n" + self._held
        message = HeaderParser().parsestr(text.lstrip("\r\n"))
        return {name.lower(): str(value) for name, value in message.items()}
