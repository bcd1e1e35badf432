"""The mixed batch of the demonstration: what a hospital's upload looks like, troubles included."""

from __future__ import annotations

import io
import zipfile
from uuid import NAMESPACE_OID, uuid5

from fractureai.phantoms.files import chest_dicom, to_dicom, to_jpeg, to_png
from fractureai.phantoms.render import Phantom, PhantomSpec, render

_SIZE_PX = (1320, 1056)


def _uid(*words: object) -> str:
    """A UID derived from its meaning (PS3.5 B.2), so that the same batch has the same UIDs."""
    return f"2.25.{uuid5(NAMESPACE_OID, 'fractureai/phantoms/' + '/'.join(map(str, words))).int}"


def _phantom(region: str, view: str, seed: int, *, fractured: bool) -> Phantom:
    return render(PhantomSpec(region, view, fractured, seed, *_SIZE_PX))


def _dicom(phantom: Phantom, number: int = 1) -> bytes:
    spec = phantom.spec
    key = (spec.region, spec.seed, spec.fractured)
    sop = _uid("sop", *key, spec.view)
    return to_dicom(
        phantom, study_uid=_uid("study", *key), series_uid=_uid("series", *key), sop_uid=sop, instance_number=number
    )


def _two_views(region: str, seed: int, *, fractured: bool) -> list[bytes]:
    views = (_phantom(region, view, seed, fractured=fractured) for view in ("frontal", "lateral"))
    return [_dicom(phantom, number) for number, phantom in enumerate(views, 1)]


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 5, 9, 30, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _archive(seed: int) -> bytes:
    """Two-view elbow study, a hand as JPEG and a hip as PNG in nested folders, with what archives carry along."""
    elbow = _two_views("elbow", seed + 6, fractured=True)
    return _zip(
        [
            ("ward-3/elbow/IM0001", elbow[0]),
            ("ward-3/elbow/IM0002", elbow[1]),
            ("ward-3/pictures/hand.jpg", to_jpeg(_phantom("hand", "oblique", seed + 7, fractured=False))),
            ("outpatients/2026/hip.png", to_png(_phantom("hip", "frontal", seed + 8, fractured=False))),
            ("readme.txt", b"Exported by the X-ray department.\n"),
            (".DS_Store", b"\0\0\0\1Bud1" + b"\0" * 64),
        ]
    )


def demo_files(seed: int = 7) -> list[tuple[str, bytes]]:
    """The batch as ``(file name, bytes)``: five regions, intact and broken, in many forms; out of scope; damaged."""
    hand = _two_views("hand", seed + 1, fractured=True)
    shoulder = _two_views("shoulder", seed + 2, fractured=False)
    elbow = _dicom(_phantom("elbow", "frontal", seed, fractured=True))
    damaged = _dicom(_phantom("elbow", "frontal", seed + 11, fractured=False))
    chest_uids = {f"{level}_uid": _uid("chest", level, seed) for level in ("study", "series", "sop")}
    chest = chest_dicom(seed, **chest_uids, size_px=1200)
    return [
        ("elbow-fractured.dcm", elbow),
        ("elbow-intact.png", to_png(_phantom("elbow", "lateral", seed + 3, fractured=False), bits=16)),
        ("hand-two-views-1.dcm", hand[0]),
        ("hand-two-views-2.dcm", hand[1]),
        ("hand-intact.jpg", to_jpeg(_phantom("hand", "frontal", seed + 4, fractured=False))),
        ("shoulder-two-views-1.dcm", shoulder[0]),
        ("shoulder-two-views-2.dcm", shoulder[1]),
        ("shoulder-fractured.jpg", to_jpeg(_phantom("shoulder", "frontal", seed + 5, fractured=True))),
        ("leg-fractured.png", to_png(_phantom("leg", "frontal", seed + 9, fractured=True))),
        ("hip-intact.dcm", _dicom(_phantom("hip", "frontal", seed + 10, fractured=False))),
        ("upload.zip", _archive(seed)),
        ("chest.dcm", chest),
        ("damaged.dcm", damaged[: len(damaged) // 3]),
        ("notes.png", b"This is a text file that somebody renamed.\n"),
    ]
