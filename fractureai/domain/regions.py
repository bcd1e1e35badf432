"""Region names against DICOM body parts (PS3.16 annex L, CID 4031 and the terms hospitals write instead).

A region is data, a model card; this table only tells which headers speak for or against one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_BODY_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "elbow": frozenset({"ELBOW", "FOREARM", "ARM", "HUMERUS", "RADIUS", "ULNA", "RADIUSULNA", "UPPERARM"}),
        "hand": frozenset({"HAND", "WRIST", "FINGER", "THUMB", "CARPUS", "SCAPHOID", "FOREARM", "METACARPUS"}),
        "shoulder": frozenset({"SHOULDER", "CLAVICLE", "SCAPULA", "HUMERUS", "ACJOINT", "UPPERARM", "ARM"}),
        "hip": frozenset({"HIP", "PELVIS", "FEMUR", "THIGH", "UPPERLEG", "HIPJOINT"}),
        "leg": frozenset(
            {"LEG", "KNEE", "LOWERLEG", "TIBIA", "FIBULA", "TIBIAFIBULA", "ANKLE", "FOOT", "TOE", "CALCANEUS", "HEEL",
             "PATELLA", "FEMUR", "THIGH", "UPPERLEG", "TOES", "FOREFOOT"}
        ),
    }
)  # fmt: skip

_ALL = frozenset().union(*_BODY_PARTS.values())

_NO_LIMB = frozenset(
    {"CHEST", "THORAX", "RIB", "RIBS", "STERNUM", "SKULL", "HEAD", "JAW", "FACE", "ABDOMEN", "SPINE", "CSPINE",
     "TSPINE", "LSPINE", "BREAST", "NECK"}
)  # fmt: skip


def names_no_limb(body_part_examined: str) -> bool:
    """Whether the header names a part of the body no region can be; vague and unknown terms say nothing."""
    return _term(body_part_examined) in _NO_LIMB


def contradicts(body_part_examined: str, region: str) -> bool:
    """Whether the header names another limb than the region seen.

    Unknown or vague terms (``EXTREMITY``, empty) say nothing, and a region outside the table is never contradicted.
    """
    term, known = _term(body_part_examined), _BODY_PARTS.get(region)
    return known is not None and term in _ALL and term not in known


def _term(body_part_examined: str) -> str:
    return "".join(letter for letter in body_part_examined.upper() if letter.isalpha())
