"""What each entry of the catalogue is told over DICOM: at the door, or else by the reason of its study."""

from __future__ import annotations

from tests.hostile.dicom_scu import NO_CONTEXT, NOTHING_TO_SEND
from tests.hostile.hostile import Hostile

NOT_UNDERSTOOD, ANOTHER_CLASS, OTHER_INSTANCE = "C000", "0122", "A900"
"""Statuses of C-STORE (PS3.4 table B.2-1) and failure reasons of STOW-RS (PS3.18 table I.2-2) are the same numbers."""

_NO_RADIOGRAPH = dict.fromkeys(
    ("dicom-ct.dcm", "dicom-directory-leads-out.dcm", "dicom-report.dcm", "dicom-with-pdf.dcm"), NO_CONTEXT
)
_NO_SYNTAX = dict.fromkeys(
    ("dicom-meta-without-end.dcm", "dicom-syntax-traversal.dcm", "dicom-syntax-unknown.dcm"), NO_CONTEXT
)
# What does not say in its first bytes, in the order of the standard, which instance of which study it is.
_UNREADABLE = dict.fromkeys(
    (
        "dicom-backwards.dcm",
        "dicom-characters-never-told.dcm",
        "dicom-class-never-told.dcm",
        "dicom-deep-sequence.dcm",
        "dicom-deflate-bomb.dcm",
        "dicom-deflate-garbage.dcm",
        "dicom-endless-sequence.dcm",
        "dicom-garbage.dcm",
        "dicom-giant-private.dcm",
        "dicom-item-without-sequence.dcm",
        "dicom-meta-never-told.dcm",
        "dicom-modality-never-told.dcm",
        "dicom-only-preamble.dcm",
        "dicom-sequence-end-first.dcm",
        "dicom-study-never-told.dcm",
        "dicom-twice-rows.dcm",
        "dicom-uid-traversal.dcm",
        "dicom-unknown-length-nested.dcm",
    ),
    NOT_UNDERSTOOD,
)
_BY_STORE = {
    **_NO_RADIOGRAPH,
    **_NO_SYNTAX,
    **_UNREADABLE,
    "dicom-vr-class-as-number.dcm": OTHER_INSTANCE,
    "dicom-only-preamble.dcm": NOTHING_TO_SEND,
    "empty.dcm": NOTHING_TO_SEND,
}
# There is no association: what it is an instance of, and how it is encoded, is seen where it arrives. It is a file of
# PS3.10, with its preamble.
_BY_STOW = {
    **dict.fromkeys(("dicom-vr-class-as-number.dcm", *_NO_RADIOGRAPH), ANOTHER_CLASS),
    **{name: answer for name, answer in _UNREADABLE.items() if name != "dicom-item-without-sequence.dcm"},
    **dict.fromkeys(("dicom-directory-leads-out.dcm", "dicom-no-preamble.dcm", *_NO_SYNTAX), NOT_UNDERSTOOD),
}


def is_dicom(entry: Hostile) -> bool:
    """Whether it is a data set at all, however broken. Of what is not, there is nothing that C-STORE or STOW-RS could
    send; whoever sends its bytes as if they were one is told that they are not understood.
    """
    return entry.name.startswith("dicom-")


def by_store(entry: Hostile) -> str:
    """Over C-STORE: a status, :data:`NO_CONTEXT`, or the answer of its study."""
    return _at_the_door(entry, _BY_STORE)


def by_stow(entry: Hostile) -> str:
    """Over STOW-RS: a failure reason, or the answer of its study."""
    return _at_the_door(entry, _BY_STOW)


def is_taken(answer: str) -> bool:
    """Whether it becomes a study."""
    return answer not in {NO_CONTEXT, NOTHING_TO_SEND, NOT_UNDERSTOOD, ANOTHER_CLASS, OTHER_INSTANCE}


def _at_the_door(entry: Hostile, table: dict[str, str]) -> str:
    if not is_dicom(entry):
        return table.get(entry.name, NOT_UNDERSTOOD)
    assert isinstance(entry.expected, str)
    return table.get(entry.name, entry.expected)
