"""The one table of anatomy: its codes are DICOM's, and a finding site never says more than is known."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from fractureai.domain.anatomy import PARTS, finding_site, term_of_code

_MEANINGS = {code: meaning for by_code in concepts["SCT"].values() for code, (meaning, _) in by_code.items()}
# Concepts of SNOMED CT that pydicom's copy of PS3.16 does not list.
_BEYOND_PYDICOM = {"127949000": "Elbow region", "344001": "Ankle region"}


@pytest.mark.parametrize("part", sorted(set(PARTS.values()), key=lambda part: part.term), ids=lambda part: part.term)
def test_a_code_means_what_the_table_says(part) -> None:
    if part.code in _BEYOND_PYDICOM:
        assert part.meaning == _BEYOND_PYDICOM[part.code]
        return
    known = _MEANINGS[part.code].lower().removesuffix(" (body structure)").replace("structure of", "")
    said = part.meaning.lower().removesuffix(" region").removesuffix("s")
    aliases = {"chest": "thorac", "pelvi": "pelvi", "abdomen": "abdom", "cervical spine": "cervical vertebral column"}
    assert aliases.get(said, said) in known
    assert term_of_code(part.code) == part.term
    if part.code in mapping["SCT"]:
        assert term_of_code(mapping["SCT"][part.code]) == part.term


@pytest.mark.parametrize(
    ("region", "body_part", "code"),
    [
        ("leg", "", "61685007"),
        ("leg", "LEG", "61685007"),
        ("leg", "EXTREMITY", "61685007"),
        ("leg", "FEMUR", "71341001"),
        ("leg", "Foot ", "56459004"),
        ("leg", "LOWERLEG", "30021000"),
        ("leg", "LOWER LEG", "30021000"),
        ("leg", "UPPERLEG", "68367000"),
        ("leg", "TIBIA FIBULA", "61685007"),  # two bones: no one code
        ("leg", "HEEL", "61685007"),
        ("leg", "HAND", "61685007"),  # the header contradicts the picture
        ("hand", "", "53120007"),
        ("hand", "WRIST", "8205005"),
        ("hand", "HAND", "85562004"),
        ("elbow", "FOREARM", "14975008"),
        ("elbow", "", "53120007"),
        ("shoulder", "", "16982005"),
        ("hip", "PELVIS", "12921003"),
        ("hip", "", "29836001"),
    ],
)
def test_a_finding_site_is_as_narrow_as_is_sure(region: str, body_part: str, code: str) -> None:
    part = finding_site(region, body_part)
    assert part is not None
    assert part.code == code


def test_a_region_outside_the_table_has_no_site() -> None:
    assert finding_site("sesamoid", "HAND") is None
