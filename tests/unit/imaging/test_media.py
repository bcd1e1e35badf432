from __future__ import annotations

import pytest

from fractureai.imaging.media import sniff


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
        (b"RIFF\x10\0\0\0WAVE", ""),
        (b"\x89PN\0", ""),
        (b"\0", ""),
        (b"", ""),
    ],
)
def test_other_kinds_say_what_they_are(head, instead):
    kind = sniff(head)
    assert kind.media_type is None
    assert kind.instead == instead
