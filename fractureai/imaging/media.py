"""What a file is, by its first bytes. Only what is certainly no image by them may be told apart further by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from fractureai.domain.contents import DICOM_DIRECTORY, Content, FoundContent, kept_kind

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

# What came instead of an image: what to say of it, and which content it is.
_OTHERS: tuple[tuple[re.Pattern[bytes], str, FoundContent], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name, FoundContent(content, kind))
    for pattern, name, content, kind in (
        (rb"GIF8[79]a", "a GIF image", Content.PICTURE, ""),
        (rb"BM....\x00\x00\x00\x00", "a BMP image", Content.PICTURE, ""),
        (rb"....ftyp(?:heic|heix|hevc|heim|heis|mif1|msf1|avif|avis)", "a HEIF image", Content.PICTURE, ""),
        (rb"....ftyp", "a video", Content.NO_IMAGE, "audio or video"),
        (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a bare JPEG 2000 image", Content.PICTURE, ""),
        (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a bare JPEG XL image", Content.PICTURE, ""),
        (rb"%PDF-", "a PDF document", Content.NO_IMAGE, "document"),
        (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive", Content.ARCHIVE, ""),
        (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; send a ZIP archive", Content.ARCHIVE, ""),
        (rb"Rar!\x1a\x07", "a RAR archive; send a ZIP archive", Content.ARCHIVE, ""),
        (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive; send a ZIP archive", Content.ARCHIVE, ""),
        (rb"\xd0\xcf\x11\xe0", "an office document", Content.NO_IMAGE, "document"),
        (rb"\s*<(?i:\?xml|!doctype|html|svg)", "a web page or XML", Content.NO_IMAGE, "web page"),
        (
            rb"MZ|\x7fELF|\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|MSCF",
            "a program",
            Content.NO_IMAGE,
            "program",
        ),
        (rb"\x00\x00\x01\x00[\x01-\xff]\x00", "an icon", Content.NO_IMAGE, "icon"),
        (rb"ID3|OggS|RIFF....(?:WAVE|AVI )", "audio or video", Content.NO_IMAGE, "audio or video"),
    )
)

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon", "autorun.inf"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin", "system volume information"})
# Endings of images: whatever the bytes are, such a file is read, for a damaged image must be reported.
_IMAGE_ENDINGS = frozenset(
    [
        *("dcm", "dicom", "dic", "dc3", "ima", "acr", "img", "raw"),
        *("png", "jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "webp", "bmp", "gif", "heic", "heif", "avif", "dng"),
        *("jp2", "j2k", "jpx", "j2c", "jls", "jxl"),
    ]
)
_ENDINGS: dict[str, str] = {
    ending: kind
    for kind, endings in {
        "program": "exe dll ocx sys com bat cmd ps1 sh msi cab class jar war so dylib app inf pdb lib drv vbs",
        "web page": "html htm xhtml xml xsl xslt xsd css js json svg map",
        "text": "txt md rtf log ini cfg conf csv tsv nfo lic properties manifest",
        "document": "pdf doc docx xls xlsx ppt pptx odt ods odp epub chm hlp eml msg",
        "icon": "ico cur icns",
        "font": "ttf otf woff woff2 eot fon",
        "shortcut": "lnk url webloc desktop",
        "audio or video": "wav mp3 m4a ogg wma avi mpg mpeg mp4 mov wmv mkv webm swf",
        "data": "dat bin db sqlite mdb idx pak res rsc mo qm lng",
        "disc image": "iso nrg mds mdf dmg vhd",
    }.items()
    for ending in endings.split()
}
_NAME_LIKE_ENDING = re.compile(r"(?=.*[a-z])[a-z0-9_]{1,6}")


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
    for pattern, name, _ in _OTHERS:
        if pattern.match(head):
            return Kind(None, name)
    return Kind(None, "text" if _is_text(head) else "")


def content_of(name: str, head: bytes) -> FoundContent:
    """Tell what a file that came with others is, from its name with folders and its first :data:`HEAD_BYTES` bytes.

    ``NO_IMAGE`` only for what neither its bytes nor its name make an image. A file without an ending, as on most
    patient discs, and one whose ending is an image's are ``UNKNOWN`` unless their bytes say more.
    """
    *folders, last = name.lower().split("/")
    if last == "dicomdir":
        return FoundContent(Content.NO_IMAGE, DICOM_DIRECTORY)
    if last.startswith(".") or last.rstrip("\r") in _SYSTEM_FILES or not _SYSTEM_FOLDERS.isdisjoint(folders):
        return FoundContent(Content.NO_IMAGE, "system file")
    media_type = sniff(head).media_type
    if media_type is not None:
        return FoundContent(Content.DICOM if media_type == DICOM else Content.PICTURE)
    ending = PurePosixPath(last).suffix[1:]
    by_name = _ENDINGS.get(ending, "")
    by_bytes = next((found for pattern, _, found in _OTHERS if pattern.match(head)), None)
    if by_bytes is not None and by_bytes.content is not Content.NO_IMAGE:
        # Documents and programs of some kinds are archives inside.
        is_part = by_bytes.content is Content.ARCHIVE and by_name
        return FoundContent(Content.NO_IMAGE, by_name) if is_part else by_bytes
    if ending in _IMAGE_ENDINGS:
        return FoundContent(Content.UNKNOWN)
    by_name = by_name or kept_kind(head)
    if by_bytes is not None:
        return by_bytes
    kind = by_name or ("text" if _is_text(head) else "other" if _NAME_LIKE_ENDING.fullmatch(ending) else "")
    return FoundContent(Content.NO_IMAGE, kind) if kind else FoundContent(Content.UNKNOWN)


def _is_text(head: bytes) -> bool:
    return bool(head) and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)
