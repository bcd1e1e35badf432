"""What the first bytes of a data set say of the instance: padding of UIDs is none of it, and a missing UID is said."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from fractureai.dicom.headers import NotUnderstood, belonging

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")

CLASS, SOP, STUDY = b"1.2.840.10008.5.1.4.1.1.1", b"1.2.826.0.1.5", b"1.2.826.0.1"


def data_set(sop: bytes = SOP, study: bytes = STUDY) -> bytes:
    uids = {(0x08, 0x16): CLASS, (0x08, 0x18): sop, (0x20, 0x0D): study}
    return b"".join(struct.pack("<HH2sH", *tag, b"UI", len(value)) + value for tag, value in uids.items())


@pytest.mark.parametrize("padding", [b"", b"\0", b" ", b" \0", b"\0 ", b"\0\0\0"])
def test_padding_of_any_kind_makes_no_other_instance(padding: bytes) -> None:
    found = belonging(BytesIO(data_set(SOP + padding, b" " + STUDY + padding)), ExplicitVRLittleEndian, is_whole=True)
    assert (found.sop_instance_uid, found.study_instance_uid) == (SOP.decode(), STUDY.decode())


def test_a_leading_zero_makes_another_one() -> None:
    found = belonging(BytesIO(data_set(b"1.2.826.0.01.5")), ExplicitVRLittleEndian, is_whole=True)
    assert found.sop_instance_uid == "1.2.826.0.01.5"


@pytest.mark.parametrize(
    ("sop", "study", "missing"), [(b"", STUDY, "SOPInstanceUID"), (SOP, b"\0", "StudyInstanceUID")]
)
def test_what_does_not_name_itself_is_not_taken(sop: bytes, study: bytes, missing: str) -> None:
    with pytest.raises(NotUnderstood, match=missing):
        belonging(BytesIO(data_set(sop, study)), ExplicitVRLittleEndian, is_whole=True)
