"""The part of the body a header names: by its defined term, or by the code that DX images must carry instead."""

from __future__ import annotations

import contextlib

from pydicom.dataset import Dataset

from fractureai.domain.anatomy import term_of_code
from fractureai.imaging.dicom_header import element
from fractureai.imaging.text import clean


def body_part_examined(dataset: Dataset) -> str:
    """Body Part Examined or, where it is empty, the term of the Anatomic Region's code; ``""`` where neither tells."""
    written = clean(element(dataset, "BodyPartExamined") or "")
    if written:
        return written
    with contextlib.suppress(Exception):  # a sequence of anything: pydicom raises any type then
        return term_of_code(clean(element(dataset.AnatomicRegionSequence[0], "CodeValue") or ""))
    return ""
