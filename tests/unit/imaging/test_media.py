from __future__ import annotations

import pytest

from fractureai.domain.contents import Content
from fractureai.errors import RejectedInput
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.media import content_of, sniff
from fractureai.imaging.reader import read_radiograph


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\0" * 128 + b"DICM", "application/dicom"),
        (b"II*\0".ljust(128, b"\0") + b"DICM", "application/dicom"),
        (b"MZ".ljust(128, b"\0") + b"DICM", "application/dicom"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "application/dicom"),
        (b"\x02\x00\x00\x00UL\x04\x00", "application/dicom"),
        (b"\x08\x00\x08\x00\x16\x00\x00\x00ORIGINAL", "application/dicom"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"II*\0....", "image/tiff"),
        (b"MM\0*....", "image/tiff"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_known_kinds(head, media_type):
    assert sniff(head).media_type == media_type


@pytest.mark.parametrize(
    ("head", "instead"),
    [
        (b"GIF89a....", "a GIF image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"<!DOCTYPE html>", "a web page or XML"),
        (b"hello, I am a radiograph.png\n", "text"),
        (b"RIFF\x10\0\0\0WAVE", "audio or video"),
        (b"RIFF\x10\0\0\0ACON", ""),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; send a ZIP archive"),
        (b"\0\0\0\x18ftypheic", "a HEIF image"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"\x89PN\0", ""),
        (b"\0", ""),
        (b"", ""),
    ],
)
def test_other_kinds_say_what_they_are(head, instead):
    kind = sniff(head)
    assert kind.media_type is None
    assert kind.instead == instead


PNG, DICOM, ZIP = b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM", b"PK\x03\x04"


@pytest.mark.parametrize(
    ("name", "head", "content", "kind"),
    [
        ("IM0001", DICOM, Content.DICOM, ""),
        ("CD/a.exe", DICOM, Content.DICOM, ""),
        ("a.txt", PNG, Content.PICTURE, ""),
        ("a.dcm", b"GIF89a", Content.PICTURE, ""),
        # What may be a damaged image.
        ("IM0001", bytes(512), Content.UNKNOWN, ""),
        ("IM0001", b"", Content.UNKNOWN, ""),
        ("1.2.840.113619.2", bytes(512), Content.UNKNOWN, ""),
        ("hand.dcm", b"<html>", Content.UNKNOWN, ""),
        ("hand.PNG", b"text", Content.UNKNOWN, ""),
        ("hand.jpg", b"MZ", Content.UNKNOWN, ""),
        # What holds others.
        ("more.zip", ZIP, Content.ARCHIVE, ""),
        ("hand.dcm", ZIP, Content.ARCHIVE, ""),
        ("more.7z", b"7z\xbc\xaf\x27\x1c", Content.ARCHIVE, ""),
        ("letter.docx", ZIP, Content.NO_IMAGE, "document"),
        ("VIEW.JAR", ZIP, Content.NO_IMAGE, "program"),
        # What is no image.
        ("CD/DICOMDIR", DICOM, Content.NO_IMAGE, "DICOM directory"),
        ("dicomdir", b"", Content.NO_IMAGE, "DICOM directory"),
        ("a/.DS_Store", b"\0\0\0\x01Bud1", Content.NO_IMAGE, "system file"),
        ("__MACOSX/a/._hand.dcm", b"\0\x05\x16\x07", Content.NO_IMAGE, "system file"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0", Content.NO_IMAGE, "system file"),
        ("VIEWER/VIEW.EXE", b"MZ\x90\0", Content.NO_IMAGE, "program"),
        ("VIEWER/Weasis", b"\xcf\xfa\xed\xfe", Content.NO_IMAGE, "program"),
        ("LIB.DLL", b"", Content.NO_IMAGE, "program"),
        ("INDEX.HTM", b"<html>", Content.NO_IMAGE, "web page"),
        ("README", b"Read me.\r\n", Content.NO_IMAGE, "text"),
        ("report.pdf", b"%PDF-1.7", Content.NO_IMAGE, "document"),
        ("VIEW.ICO", b"\0\0\x01\0\x01\0", Content.NO_IMAGE, "icon"),
        ("lang.dat", bytes(512), Content.NO_IMAGE, "data"),
        ("what.xyz", bytes(512), Content.NO_IMAGE, "other"),
    ],
)
def test_what_came_along_is_told_by_bytes_then_by_name(name, head, content, kind):
    found = content_of(name, head)
    assert (found.content, found.kind) == (content, kind)


def test_the_image_of_a_disc_is_called_one(tmp_path):
    disc = bytearray(40_000)
    disc[0x8001:0x8006] = b"CD001"
    (tmp_path / "cd.iso").write_bytes(disc)
    with pytest.raises(RejectedInput) as refused:
        read_radiograph(tmp_path / "cd.iso", DecodeLimits())
    assert refused.value.detail == "the image of a disc; send its files"
