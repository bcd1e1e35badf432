"""The part of the body a header names: by its defined term, or by the code that DX images must carry instead.

The codes are those of PS3.16 CID 4031 that concern a radiograph, in SNOMED CT and in the older SRT form that most files
still use.
"""

from __future__ import annotations

import contextlib

from pydicom.dataset import Dataset

from fractureai.imaging.dicom_header import element
from fractureai.imaging.text import clean

_CODES: dict[str, str] = {
    code: term
    for term, codes in {
        "HAND": "85562004 T-D8700",
        "WRIST": "8205005 T-D8600 T-15460",
        "FINGER": "7569003 T-D8800",
        "THUMB": "76505004 T-D8810",
        "ELBOW": "127949000 16953009 T-15430 T-D8300",
        "FOREARM": "14975008 T-D8500",
        "UPPERARM": "40983000 T-D8200",
        "HUMERUS": "85050009 T-12410",
        "RADIUS": "62413002 T-12420",
        "ULNA": "23416004 T-12430",
        "ARM": "53120007 T-D8000",
        "SHOULDER": "16982005 T-D2220",
        "CLAVICLE": "51299004 T-12310",
        "SCAPULA": "79601000 T-12280",
        "HIP": "29836001 24136001 T-D2500 T-15710",
        "PELVIS": "12921003 T-D6000",
        "FEMUR": "71341001 T-12710",
        "THIGH": "68367000 T-D9100",
        "KNEE": "72696002 T-D9200",
        "LOWERLEG": "30021000 T-D9400",
        "TIBIA": "12611008 T-12740",
        "FIBULA": "87342007 T-12750",
        "ANKLE": "344001 70258002 T-15750",
        "FOOT": "56459004 T-D9700",
        "TOE": "29707007 T-D9800",
        "CALCANEUS": "80144004 T-12770",
        "PATELLA": "64234005 T-12730",
        "CHEST": "51185008 T-D3000",
        "RIB": "113197003 T-11300",
        "STERNUM": "56873002 T-11210",
        "SKULL": "89546000 T-11100",
        "HEAD": "69536005 T-D1100",
        "ABDOMEN": "113345001 T-D4000",
        "CSPINE": "122494005 T-11501",
        "TSPINE": "122495006 T-11502",
        "LSPINE": "122496007 T-11503",
        "SPINE": "421060004 T-D04FF",
        "BREAST": "76752008 T-04000",
        "NECK": "45048000 T-D1600",
    }.items()
    for code in codes.split()
}


def body_part_examined(dataset: Dataset) -> str:
    """Body Part Examined or, where it is empty, the term of the Anatomic Region's code; ``""`` where neither tells."""
    written = clean(element(dataset, "BodyPartExamined") or "")
    if written:
        return written
    with contextlib.suppress(Exception):  # a sequence of anything: pydicom raises any type then
        return _CODES.get(clean(element(dataset.AnatomicRegionSequence[0], "CodeValue") or ""), "")
    return ""
