"""Conflicts of patients and UIDs within a study and with other studies, and images that are set aside.

No image is removed from a study here. One that is set aside keeps its number and has the reason, and only where the
image that is assessed instead can be assessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fractureai.domain.identity import (
    InstanceIdentity,
    KnownImage,
    examination_id,
    patient_differences,
    presented_twins,
    sop_id,
)
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import Reason
from fractureai.domain.study import Study
from fractureai.stages.artifacts import ClassifiedImage

_MOST_NAMED = 3


def ids_of(site: str, named: InstanceIdentity | None) -> tuple[str, str]:
    """``(sop_id, examination_id)`` of what a file names itself; empty where it does not say both."""
    if named is None or not (named.sop_instance_uid and named.study_instance_uid):
        return "", ""
    return sop_id(site, named.sop_instance_uid), examination_id(site, named.study_instance_uid)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other studies of the site have in common with one.

    Attributes
    ----------
    images:
        Those under the same SOP Instance UIDs.
    headers:
        By study, of those with images of the same DICOM study.
    """

    images: Sequence[KnownImage] = ()
    headers: Mapping[str, Sequence[Header]] = field(default_factory=dict)


def notes_of(headers: Sequence[Header], others: Mapping[str, Sequence[Header]] | None = None) -> tuple[Reason, ...]:
    """Conflicts of a study as a whole, from the headers of its files and of files in other studies.

    ``others``: by study, headers of the same DICOM study.
    """
    if differences := patient_differences(headers):
        return (Reason("patient_conflict", ", ".join(differences)),)
    for study_id, theirs in (others or {}).items():
        if differences := patient_differences([*headers, *theirs]):
            return (Reason("patient_conflict", f"{', '.join(differences)}; with study {study_id[:8]}"),)
    accessions = {"".join(header.accession_number.split()).casefold() for header in headers} - {""}
    return (Reason("accession_conflict"),) if len(accessions) > 1 else ()


def settled(
    study: Study, images: Sequence[ClassifiedImage], pictures: Mapping[int, str], known: Sequence[KnownImage]
) -> tuple[ClassifiedImage, ...]:
    """Add to each image the notes on its identity, and whether it is set aside for another image of the study.

    Parameters
    ----------
    study:
        With the ids of its images.
    pictures:
        By number, the hash of what was decoded.
    known:
        Images of other studies under the same SOP Instance UIDs.
    """
    superseded = _superseded(study, images, pictures)
    set_aside = superseded | _raw([image for image in images if image.number not in superseded])
    shared = _shared(study, pictures, set_aside)
    return tuple(
        replace(
            image,
            notes=(*shared.get(image.number, ()), *_elsewhere(study, image.number, pictures, known), *image.notes),
            set_aside=set_aside.get(image.number),
        )
        for image in images
    )


def _groups(study: Study) -> list[list[int]]:
    """Numbers of images that share a SOP Instance UID, in the order they came."""
    by_id: dict[str, list[int]] = {}
    for image in study.images:
        if image.sop_id:
            by_id.setdefault(image.sop_id, []).append(image.number)
    return [numbers for numbers in by_id.values() if len(numbers) > 1]


def _superseded(study: Study, images: Sequence[ClassifiedImage], pictures: Mapping[int, str]) -> dict[int, Reason]:
    """Images that a later one replaces: the same picture with another header, or a file that could not be read.

    The second only where the UID is not known to be that of several pictures.
    """
    can_be_assessed = {image.number for image in images if image.in_scope}
    found: dict[int, Reason] = {}
    for numbers in _groups(study):
        shown = {pictures[number] for number in numbers if number in pictures}
        for place, number in enumerate(numbers):
            replaced = {pictures[number]} if number in pictures else shown if len(shown) == 1 else set()
            later = [
                other for other in numbers[place + 1 :] if other in can_be_assessed and pictures[other] in replaced
            ]
            if later:
                found[number] = Reason("image_superseded", f"view {later[-1]}")
    return found


def _raw(images: Sequence[ClassifiedImage]) -> dict[int, Reason]:
    """Images for processing whose image for presentation is there too."""
    can_be_assessed = {image.number for image in images if image.in_scope}
    twins = presented_twins({image.number: image.header for image in images if image.header})
    return {raw: Reason("raw_image", f"view {other}") for raw, other in twins.items() if other in can_be_assessed}


def _shared(
    study: Study, pictures: Mapping[int, str], set_aside: Mapping[int, Reason]
) -> dict[int, tuple[Reason, ...]]:
    found: dict[int, tuple[Reason, ...]] = {}
    for numbers in _groups(study):
        left = [number for number in numbers if number in pictures and number not in set_aside]
        if len(left) > 1:
            found |= dict.fromkeys(left, (Reason("sop_instance_uid_shared", f"views {_listed(map(str, left))}"),))
    return found


def _elsewhere(
    study: Study, number: int, pictures: Mapping[int, str], known: Sequence[KnownImage]
) -> tuple[Reason, ...]:
    """What other studies have under the image's UID: of another DICOM study, or another picture of the same."""
    here = {image.sha256 for image in study.images}
    mine = study.images[number - 1]
    others = [one for one in known if mine.sop_id and one.sop_id == mine.sop_id and one.sha256 not in here]
    strange = [one.study_id for one in others if one.examination_id != mine.examination_id]
    revised = [
        one.study_id
        for one in others
        if one.examination_id == mine.examination_id and one.picture_sha256 not in pictures.values()
    ]
    found = (("sop_instance_uid_elsewhere", strange), ("image_revised", revised))
    return tuple(
        Reason(code, f"study {_listed(sorted({study_id[:8] for study_id in studies}))}")
        for code, studies in found
        if studies
    )


def _listed(words: Iterable[str]) -> str:
    """``1, 2 and 3``; of many, how many more there are."""
    all_words = list(words)
    shown = all_words[:_MOST_NAMED]
    if len(all_words) > len(shown):
        return f"{', '.join(shown)} and {len(all_words) - len(shown)} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
