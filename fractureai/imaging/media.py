"""What a file is, by its first bytes; never by its name or by what the sender calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 512

DICOM = "application/dicom"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
WEBP = "image/webp"
NAMES = {DICOM: "DICOM", PNG: "PNG", JPEG: "JPEG", TIFF: "TIFF", WEBP: "WebP"}

# Part 10 files start with 128 bytes of anything and the letters DICM. Older files lack both and start with the
# first element of group 2 or 8, little or big endian.
_BARE_DICOM = re.compile(
    rb"(?:[\x02\x08]\x00[\x00-\x18]\x00|\x00\x08\x00[\x00-\x18])(?:[A-Z]{2}|[\x00-\x80]\x00\x00\x00)", re.DOTALL
)

_KNOWN: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x89PNG\r\n\x1a\n", PNG),
        (rb"\xff\xd8\xff", JPEG),
        (rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]", TIFF),
        (rb"RIFF....WEBP", WEBP),
    )
)

# Only to say what came instead of an image.
_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"GIF8[79]a", "a GIF image"),
        (rb"BM....\x00\x00\x00\x00", "a BMP image"),
        (rb"....ftyp", "a HEIF image or a video"),
        (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a bare JPEG 2000 image"),
        (rb"%PDF-", "a PDF document"),
        (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive"),
        (rb"7z\xbc\xaf\x27\x1c|Rar!|\x1f\x8b|BZh|\xfd7zXZ", "an archive"),
        (rb"\xd0\xcf\x11\xe0", "an office document"),
        (rb"\s*<(?i:\?xml|!doctype|html|svg)", "a web page or XML"),
    )
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A media type we read, or ``None`` and a few words on what the file is instead."""

    media_type: str | None
    instead: str = ""


def sniff(head: bytes) -> Kind:
    """Tell the kind of a file from its first :data:`HEAD_BYTES` bytes.

    The DICOM marker wins over the rest: the 128 bytes before it may legally be anything, a TIFF header included
    (PS3.10 section 7.1).
    """
    if head[128:132] == b"DICM":
        return Kind(DICOM)
    for pattern, media_type in _KNOWN:
        if pattern.match(head):
            return Kind(media_type)
    if _BARE_DICOM.match(head):
        return Kind(DICOM)
    for pattern, name in _OTHERS:
        if pattern.match(head):
            return Kind(None, name)
    return Kind(None, "text" if _is_text(head) else "")


def _is_text(head: bytes) -> bool:
    return bool(head) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)
