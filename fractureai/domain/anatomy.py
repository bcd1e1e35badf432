"""Parts of the body: DICOM's terms, their SNOMED CT codes, and the regions the models read.

The one table behind header checks, SR, FHIR and phantoms. Terms are those of Body Part Examined (0018,0015), PS3.16
annex L, with the spellings that sites use instead; codes are those of PS3.16 CID 4031, with the SRT codes they replace,
which most files still carry. A code is only given where it says the same as the term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A part of the body.

    Attributes
    ----------
    term:
        As in Body Part Examined.
    code, meaning:
        The SNOMED CT concept and what DICOM calls it.
    """

    term: str
    code: str
    meaning: str


# term, its SNOMED CT code, its meaning; other codes that name it; other spellings of the term
_TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    ("HAND", "85562004", "Hand", "T-D8700", ""),
    ("WRIST", "8205005", "Wrist region", "74670003 T-D8600 T-15460", ""),
    ("FINGER", "7569003", "Finger", "T-D8800", "FINGERS"),
    ("THUMB", "76505004", "Thumb", "T-D8810", ""),
    ("ELBOW", "127949000", "Elbow region", "16953009 T-15430 T-D8300", ""),
    ("FOREARM", "14975008", "Forearm", "T-D8500", ""),
    ("UPPERARM", "40983000", "Upper arm", "T-D8200", ""),
    ("HUMERUS", "85050009", "Humerus", "T-12410", ""),
    ("RADIUS", "62413002", "Radius", "T-12420", ""),
    ("ULNA", "23416004", "Ulna", "T-12430", ""),
    ("ARM", "53120007", "Upper limb", "T-D8000", "UPPERLIMB UPPEREXTREMITY"),
    ("SHOULDER", "16982005", "Shoulder region", "T-D2220", ""),
    ("CLAVICLE", "51299004", "Clavicle", "T-12310", ""),
    ("SCAPULA", "79601000", "Scapula", "T-12280", ""),
    ("HIP", "29836001", "Hip region", "24136001 T-D2500 T-15710", "HIPJOINT"),
    ("PELVIS", "12921003", "Pelvis", "816092008 T-D6000", ""),
    ("FEMUR", "71341001", "Femur", "T-12710", ""),
    ("THIGH", "68367000", "Thigh", "T-D9100", "UPPERLEG"),
    ("KNEE", "72696002", "Knee region", "T-D9200", ""),
    ("LEG", "61685007", "Lower limb", "T-D9000", "LOWERLIMB LOWEREXTREMITY"),
    ("LOWERLEG", "30021000", "Lower leg", "T-D9400", ""),
    ("TIBIA", "12611008", "Tibia", "T-12740", ""),
    ("FIBULA", "87342007", "Fibula", "T-12750", ""),
    ("ANKLE", "344001", "Ankle region", "70258002 T-15750", ""),
    ("FOOT", "56459004", "Foot", "T-D9700", ""),
    ("TOE", "29707007", "Toe", "T-D9800", "TOES"),
    ("CALCANEUS", "80144004", "Calcaneus", "T-12770", ""),
    ("PATELLA", "64234005", "Patella", "T-12730", ""),
    ("CHEST", "51185008", "Chest", "T-D3000", "THORAX"),
    ("RIB", "113197003", "Rib", "T-11300", "RIBS"),
    ("STERNUM", "56873002", "Sternum", "T-11210", ""),
    ("SKULL", "89546000", "Skull", "T-11100", ""),
    ("HEAD", "69536005", "Head", "T-D1100", ""),
    ("ABDOMEN", "113345001", "Abdomen", "818981001 T-D4000", ""),
    ("CSPINE", "122494005", "Cervical spine", "T-11501", ""),
    ("TSPINE", "122495006", "Thoracic spine", "T-11502", ""),
    ("LSPINE", "122496007", "Lumbar spine", "T-11503", ""),
    ("SPINE", "421060004", "Vertebral column", "T-D04FF", ""),
    ("BREAST", "76752008", "Breast", "T-04000", ""),
    ("NECK", "45048000", "Neck", "T-D1600", ""),
)

PARTS: Mapping[str, BodyPart] = MappingProxyType(
    {
        spelling: BodyPart(term, code, meaning)
        for term, code, meaning, _, spellings in _TABLE
        for spelling in (term, *spellings.split())
    }
)
"""Every part that has a code, by its term and by the other spellings of it."""

_TERM_OF_CODE: Mapping[str, str] = MappingProxyType(
    {each: term for term, code, _, codes, _ in _TABLE for each in (code, *codes.split())}
)

_LIMB_TERMS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        region: frozenset(terms.split())
        for region, terms in {
            "elbow": "ELBOW FOREARM ARM HUMERUS RADIUS ULNA RADIUSULNA UPPERARM",
            "hand": "HAND WRIST FINGER FINGERS THUMB CARPUS SCAPHOID FOREARM METACARPUS",
            "shoulder": "SHOULDER CLAVICLE SCAPULA HUMERUS ACJOINT UPPERARM ARM",
            "hip": "HIP PELVIS FEMUR THIGH UPPERLEG HIPJOINT",
            "leg": "LEG KNEE LOWERLEG TIBIA FIBULA TIBIAFIBULA ANKLE FOOT TOE TOES CALCANEUS HEEL PATELLA FEMUR THIGH "
            "UPPERLEG FOREFOOT",
        }.items()
    }
)
"""By region, the terms of a header that agree with it. ``ARM`` and ``LEG`` may be said of a part or of the whole."""

# What holds all that a region may show: the hand's model reads wrists, the elbow's whole forearms, the leg's everything
# from femur to foot, so that no narrower code is sure without the header's word.
_WHOLE: Mapping[str, str] = MappingProxyType(
    {"elbow": "ARM", "hand": "ARM", "shoulder": "SHOULDER", "hip": "HIP", "leg": "LEG"}
)

_ALL_LIMBS = frozenset().union(*_LIMB_TERMS.values())
_NO_LIMB = frozenset(
    {"CHEST", "THORAX", "RIB", "RIBS", "STERNUM", "SKULL", "HEAD", "JAW", "FACE", "ABDOMEN", "SPINE", "CSPINE",
     "TSPINE", "LSPINE", "BREAST", "NECK"}
)  # fmt: skip


def term_of_code(code: str) -> str:
    """The term of a SNOMED CT or SRT code; ``""`` for a code outside the table."""
    return _TERM_OF_CODE.get(code.strip(), "")


def finding_site(region: str, body_part_examined: str) -> BodyPart | None:
    """Where a finding on an image lies, as narrow as is sure.

    The part that the header names, where it has a code and belongs to the region seen; else what holds all that the
    region may show. ``None`` for a region outside the table.
    """
    term = _term(body_part_examined)
    if term in PARTS and term in _LIMB_TERMS.get(region, frozenset()):
        return PARTS[term]
    return PARTS[_WHOLE[region]] if region in _WHOLE else None


def names_no_limb(body_part_examined: str) -> bool:
    """Whether the header names a part of the body no region can be; vague and unknown terms say nothing."""
    return _term(body_part_examined) in _NO_LIMB


def contradicts(body_part_examined: str, region: str) -> bool:
    """Whether the header names another limb than the region seen.

    Unknown or vague terms (``EXTREMITY``, empty) say nothing, and a region outside the table is never contradicted.
    """
    term, known = _term(body_part_examined), _LIMB_TERMS.get(region)
    return known is not None and term in _ALL_LIMBS and term not in known


def _term(body_part_examined: str) -> str:
    return "".join(letter for letter in body_part_examined.upper() if letter.isalpha())
