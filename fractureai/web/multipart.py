"""Multipart bodies (RFC 2046), read as a stream: at most one chunk and one boundary of it are in memory.

Forms and STOW-RS requests are both read here, as real clients write them: line breaks may be LF alone, and a preamble,
an epilogue and parts without headers are fine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import IO

from fractureai.web.header_parameters import media_type_of

CHUNK_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 16 * 1024
# RFC 2046 allows 70; Orthanc writes 73.
_MAX_BOUNDARY = 200
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_HEADER = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_FOLDED = re.compile(rb"\n[ \t]+")


class NotMultipart(Exception):
    """It is not what it says it is, or ends too early; with a sentence for the sender."""


class Part:
    """One part; read it before the next one is asked for. Names of headers are in lower case, their values bytes."""

    def __init__(self, headers: Mapping[str, bytes], chunks: Iterator[bytes]) -> None:
        self.headers = headers
        self.chunks = chunks

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case; ``""`` if the part has none."""
        return media_type_of(self.headers.get("content-type", b"").decode("latin-1"))


class MultipartReader:
    """The parts of a body.

    Parameters
    ----------
    stream:
        The body, read in chunks.
    boundary:
        As the content type says. Some clients put it into single quotes, which are legal characters of a boundary as
        well; which of the two is meant, the first one in the body tells.

    Raises
    ------
    NotMultipart
        Here, and while parts and their chunks are read.
    """

    def __init__(self, stream: IO[bytes], boundary: str) -> None:
        if not (0 < len(boundary) <= _MAX_BOUNDARY and boundary.isascii()):
            raise NotMultipart("The Content-Type names no boundary of the parts.")
        self._stream = stream
        self._boundary = boundary
        candidates = dict.fromkeys((boundary, boundary.strip("'") or boundary))
        self._first = re.compile(b"\n--(%s)" % b"|".join(re.escape(one.encode()) for one in candidates))
        self._newline = self._mark = b""
        # The first boundary may be at the very beginning; with this it looks like the others.
        self._held = b"\n"

    def __iter__(self) -> Iterator[Part]:
        self._skip_preamble()
        while self._goes_on():
            part = Part(self._head(), self._until_mark())
            yield part
            for _ in part.chunks:
                pass

    def _more(self, ended: str = "The request ends within a part.") -> None:
        chunk = self._stream.read(CHUNK_BYTES)
        if not chunk:
            raise NotMultipart(ended)
        self._held += chunk

    def _skip_preamble(self) -> None:
        """Find the first boundary and the line break that the sender uses."""
        while (found := self._first.search(self._held)) is None:
            self._held = self._held[-_MAX_BOUNDARY - 3 :]
            self._more(f"The body does not hold the boundary “{self._boundary}” that the Content-Type names.")
        self._held = self._held[found.end() :]
        while b"\n" not in self._held and not self._held.startswith(b"--") and len(self._held) <= _MAX_HEAD_BYTES:
            self._more()
        self._newline = b"\n" if re.match(rb"[ \t]*\n", self._held) else b"\r\n"
        self._mark = self._newline + b"--" + found[1]

    def _until_mark(self) -> Iterator[bytes]:
        """What is in front of the next boundary; afterwards the boundary is behind."""
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
        while (end := self._held.find(b"\n")) < 0 and len(self._held) <= _MAX_HEAD_BYTES:
            self._more()
        if end < 0 or self._held[:end].strip(b" \t\r"):
            raise NotMultipart("A boundary is followed by something else than a line break.")
        # The line break stays: a part without headers goes on with an empty line.
        self._held = self._held[end:]
        return True

    def _head(self) -> dict[str, bytes]:
        while (end := _END_OF_HEAD.search(self._held)) is None and len(self._held) <= _MAX_HEAD_BYTES:
            self._more()
        if end is None or end.start() > _MAX_HEAD_BYTES:
            raise NotMultipart("The headers of a part are too long.")
        head, self._held = self._held[: end.start()], self._held[end.end() :]
        # A part whose body is empty may end right here; the boundary's line break was eaten with the headers.
        if self._held.startswith(self._mark[len(self._newline) :]):
            self._held = self._newline + self._held
        lines = _FOLDED.sub(b" ", head.replace(b"\r\n", b"\n"))
        return {found[1].decode().lower(): found[2] for found in _HEADER.finditer(lines)}
