"""The words of one study's report, as values. Pure: what is drawn where is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fractureai.domain.radiograph import Header
from fractureai.domain.result import DISCLAIMER, ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, Study
from fractureai.reports import wording

_SEXES = {"M": "male", "F": "female", "O": "other"}
_SIDES = {"L": "left", "R": "right", "B": "both sides", "U": "unpaired"}


@dataclass(frozen=True, slots=True)
class Field:
    """A label and its value, as text to be drawn and never interpreted."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A fracture probability beside the two thresholds it was compared with."""

    value: float
    suspected: float
    fracture: float


@dataclass(frozen=True, slots=True)
class ViewText:
    """The words for one image."""

    number: int
    title: str
    file: str
    assessment: Assessment
    headline: str
    details: str
    region: str
    probability: str
    scale: Scale | None
    marked: str
    enlarged: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelText:
    """One row of the table of models."""

    name: str
    version: str
    card: str
    purpose: str
    thresholds: str


@dataclass(frozen=True, slots=True)
class ReportText:
    """Every word of a report."""

    study_id: str
    created: datetime
    assessment: Assessment
    headline: str
    meaning: str
    recommendation: str
    summary: tuple[Field, ...]
    scale: Scale | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    identity: str
    patient: tuple[Field, ...]
    study: tuple[Field, ...]
    views: tuple[ViewText, ...]
    models: tuple[ModelText, ...]
    software: str
    limitations: tuple[str, ...] = wording.LIMITATIONS
    disclaimer: str = DISCLAIMER


def compose(study: Study, result: StudyResult, headers: Sequence[Header | None]) -> ReportText:
    """Put the result of a study into words.

    ``headers``: one for each of ``result.images``, ``None`` where the file could not be read.
    """
    known = [header for header in headers if header is not None]
    assessment = result.finding.assessment
    created = datetime.fromtimestamp(study.accepted_at_s, tz=UTC)
    leading = _leading_view(result)
    return ReportText(
        study_id=study.study_id,
        created=created,
        assessment=assessment,
        headline=wording.STATE_HEADLINES.get(result.state, wording.HEADLINES[assessment]),
        meaning=wording.MEANINGS[assessment],
        recommendation=wording.RECOMMENDATIONS[assessment],
        summary=_summary(result, leading),
        scale=_scale(leading) if leading else None,
        reasons=tuple(_study_reasons(result)),
        warnings=tuple(reason.sentence for reason in result.warnings),
        identity=_identity(known),
        patient=_patient_fields(known),
        study=_study_fields(study, known, created),
        views=tuple(
            _view(image, header, len(result.images)) for image, header in zip(result.images, headers, strict=True)
        ),
        models=tuple(_model(model, result.images) for model in result.models),
        software=f"{wording.PRODUCT} {result.software_version}",
    )


def percent(probability: float) -> str:
    """A probability for people: one digit after the point, and never a false certainty."""
    if probability < 0.001:
        return "below 0.1 %"
    if probability > 0.999:
        return "above 99.9 %"
    return f"{probability * 100:.1f} %"


def person(name: str) -> str:
    """A DICOM person name (PS3.5, 6.2.1) as people write it: family name first, other scripts in brackets."""
    groups = [_name_group(group) for group in name.split("=")]
    first, *others = [group for group in groups if group] or [""]
    return f"{first} ({', '.join(others)})" if others else first


def date(text: str) -> str:
    """A DICOM date (``YYYYMMDD``) with hyphens; anything else as it stands."""
    digits = text.replace(".", "")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if len(digits) == 8 and digits.isdecimal() else text


def _name_group(group: str) -> str:
    family, given, middle, prefix, suffix = (*(part.strip() for part in group.split("^")), *[""] * 5)[:5]
    rest = " ".join(part for part in (prefix, given, middle, suffix) if part)
    separator = ", " if family.isascii() else " "
    return separator.join(part for part in (family, rest) if part)


def _agreed(values: Iterable[str]) -> str:
    """The value the files share; all of them where they differ."""
    return " / ".join(dict.fromkeys(value for value in values if value))


def _identity(headers: Sequence[Header]) -> str:
    """Name and ID for every page: printed pages get mixed up."""
    parts = (_agreed(person(header.patient_name) for header in headers), _agreed(h.patient_id for h in headers))
    return " · ".join(part for part in parts if part)


def _patient_fields(headers: Sequence[Header]) -> tuple[Field, ...]:
    fields = {
        "Name": _agreed(person(header.patient_name) for header in headers),
        "Patient ID": _agreed(header.patient_id for header in headers),
        "Date of birth": _agreed(date(header.patient_birth_date) for header in headers),
        "Sex": _agreed(_SEXES.get(header.patient_sex, header.patient_sex) for header in headers),
    }
    return tuple(Field(label, value or wording.NOT_GIVEN) for label, value in fields.items())


def _study_fields(study: Study, headers: Sequence[Header], created: datetime) -> tuple[Field, ...]:
    count = len(study.images)
    required = {
        "Accession number": _agreed(header.accession_number for header in headers) or wording.NOT_GIVEN,
        "Study date": _agreed(date(header.study_date) for header in headers) or wording.NOT_GIVEN,
    }
    optional = {
        "Description": _agreed(header.study_description for header in headers),
        "Institution": _agreed(header.institution_name for header in headers),
        "Referrer": _agreed(person(header.referring_physician_name) for header in headers),
        "Sender's label": study.label,
    }
    last = {"Images": f"{count} view{'s' if count > 1 else ''}", "Received": f"{created:%Y-%m-%d %H:%M} UTC"}
    fields = required | {label: value for label, value in optional.items() if value} | last
    return tuple(Field(label, value) for label, value in fields.items())


def _leading_view(result: StudyResult) -> ImageResult | None:
    """The assessed view that the study's assessment follows: the most urgent, of these the most probable."""
    assessed = [image for image in result.images if image.fracture_probability is not None]
    return min(
        assessed,
        key=lambda image: (image.finding.assessment.urgency, -(image.fracture_probability or 0), image.number),
        default=None,
    )


def _summary(result: StudyResult, leading: ImageResult | None) -> tuple[Field, ...]:
    total = len(result.views)
    assessed = sum(image.fracture_probability is not None for image in result.images)
    fields = [Field("Region", (leading.region if leading else result.region) or "not told")]
    if leading is not None and leading.fracture_probability is not None:
        view = f" (view {leading.number})" if total > 1 else ""
        fields.append(Field("Fracture probability", percent(leading.fracture_probability) + view))
        if assessed > 1 and result.mean_fracture_probability is not None:
            fields.append(Field(f"Mean of {assessed} views", percent(result.mean_fracture_probability)))
    fields.append(Field("Views assessed", f"{assessed} of {total}"))
    return tuple(fields)


def _scale(image: ImageResult) -> Scale | None:
    if image.fracture_probability is None or image.thresholds is None:
        return None
    suspected, fracture = image.thresholds
    return Scale(image.fracture_probability, suspected, fracture)


def _study_reasons(result: StudyResult) -> Iterable[str]:
    """What led to the assessment, besides warnings; of several views, which ones it comes from."""
    for reason in result.finding.reasons:
        if reason in result.warnings:
            continue
        views = [image for image in result.images if reason in image.finding.reasons]
        several = len(result.images) > 1 and views
        yield (
            f"View{'s' if len(views) > 1 else ''} {_numbers(views)}: {reason.sentence}" if several else reason.sentence
        )


def _view(image: ImageResult, header: Header | None, total: int) -> ViewText:
    assessed = image.fracture_probability is not None
    headline = wording.HEADLINES[image.finding.assessment]
    if image.set_aside:
        headline = wording.SET_ASIDE
    elif not assessed:
        headline = wording.NOT_ASSESSED if image.region or header else wording.NOT_READ
    return ViewText(
        number=image.number,
        title=f"View {image.number} of {total}" if total > 1 else "View 1",
        file=image.file,
        assessment=image.finding.assessment,
        headline=headline,
        details=_details(image, header),
        region=_region(image, assessed=assessed),
        probability=percent(image.fracture_probability) if image.fracture_probability is not None else "",
        scale=_scale(image),
        marked=_marked(image),
        enlarged=_enlarged(image),
        sentences=tuple(_sentences(image, header)),
    )


def _details(image: ImageResult, header: Header | None) -> str:
    parts: list[str] = []
    if header is not None:
        parts.append(f"projection {header.view_position}" if header.view_position else "")
        parts.append(_SIDES.get(header.laterality, header.laterality))
        parts.append(f"body part in the header: {header.body_part_examined}" if header.body_part_examined else "")
    if image.source_width_px and image.source_height_px:
        parts.append(f"{image.source_width_px} × {image.source_height_px} px")
    return " · ".join(part for part in parts if part)


def _region(image: ImageResult, *, assessed: bool) -> str:
    if image.region is None or image.region_probability is None or image.set_aside:
        return ""
    if assessed:
        return f"{image.region} (probability {percent(image.region_probability)})"
    return f"closest is {image.region} (probability {percent(image.region_probability)}); not used"


def _marked(image: ImageResult) -> str:
    """What the boxes on the original are."""
    if image.findings:
        return f"Original; box{'es' if len(image.findings) > 1 else ''}: where a fracture may be"
    return "Original; box: where the attention is" if image.roi_px else "Original"


def _enlarged(image: ImageResult) -> str:
    return "The most probable place, enlarged" if image.findings else "Where the attention is, enlarged"


def _place(box_px: tuple[int, int, int, int]) -> str:
    x0, y0, x1, y1 = box_px
    return f"x {x0}–{x1}, y {y0}–{y1} px"


def _sentences(image: ImageResult, header: Header | None) -> Iterable[str]:
    if image.fracture_probability is not None and image.thresholds is not None:
        suspected, fracture = image.thresholds
        yield (
            f"Fracture probability {percent(image.fracture_probability)}. "
            f"Thresholds of this model: suspected from {percent(suspected)}, fracture from {percent(fracture)}."
        )
    for finding in image.findings:
        chance = percent(finding.probability)
        yield f"Place {finding.rank}: {_place(finding.box_px)}; probability of a fracture there {chance}."
    if image.roi_px and not image.findings:
        yield f"No single place is probable enough to name; the attention is at {_place(image.roi_px)}."
    if image.fracture_spread:
        points = f"{image.fracture_spread * 100:.1f} percentage points"
        yield f"Standard deviation under small changes of the image: {points}."
    yield from (reason.sentence for reason in image.finding.reasons)
    if header is not None and header.burned_in_annotation.upper() == "YES":
        yield wording.BURNED_IN


def _model(model: ModelIdentity, images: Sequence[ImageResult]) -> ModelText:
    read = [image for image in images if image.model is not None and image.model.name == model.name]
    pairs = dict.fromkeys(image.thresholds for image in read if image.thresholds is not None)
    purpose = f"fracture, view{'s' if len(read) > 1 else ''} {_numbers(read)}" if read else "region and scope"
    thresholds = [f"suspected {percent(low)}, fracture {percent(high)}" for low, high in pairs]
    return ModelText(model.name, model.version, model.card_sha256[:12], purpose, "; ".join(thresholds) or "–")


def _numbers(images: Sequence[ImageResult]) -> str:
    """``1, 2, 5``, with runs of three and more as ``1–4``."""
    runs: list[list[int]] = []
    for number in sorted(image.number for image in images):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        str(first) if first == last else f"{first}, {last}" if last == first + 1 else f"{first}–{last}"
        for first, last in runs
    )
