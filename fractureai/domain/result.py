"""The result of a study: the one JSON that the API, the command line and ``result.json`` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fractureai.domain.assessment import Finding
from fractureai.domain.dicom_objects import DicomObject
from fractureai.domain.reasons import WARNINGS, Reason
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, Study, WorkState

DISCLAIMER = "Not for diagnostic use. FractureAI assists a reader; it never diagnoses alone."


@dataclass(frozen=True, slots=True)
class ViewTags:
    """How the header of a DICOM image describes the view. Text as found, cleaned; empty where it is silent.

    Attributes
    ----------
    laterality:
        ``L``, ``R``, ``B`` or ``U``.
    position:
        ``AP``, ``LL`` and the like.
    orientation:
        Where the rows and the columns of the source point to, with a backslash between them.
    body_part:
        The part of the body examined.
    """

    laterality: str = ""
    position: str = ""
    orientation: str = ""
    body_part: str = ""


@dataclass(frozen=True, slots=True)
class FractureFinding:
    """A place where a fracture is likely or suspected.

    Attributes
    ----------
    box_px:
        ``(x0, y0, x1, y1)`` on the source grid, origin at the outer top-left corner.
    probability:
        That a fracture is at this place.
    rank:
        1 for the most probable of its image.
    """

    box_px: tuple[int, int, int, int]
    probability: float
    rank: int

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``result.json``."""
        return {"box_px": list(self.box_px), "probability": _rounded(self.probability), "rank": self.rank}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FractureFinding:
        """Read what :meth:`to_json` wrote."""
        x0, y0, x1, y1 = data["box_px"]
        return cls((x0, y0, x1, y1), data["probability"], data["rank"])


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What was found on one image.

    Attributes
    ----------
    region, region_probability:
        The most probable region; ``None`` where the file could not be read.
    fracture_probability, thresholds, roi_px, model:
        ``None`` where the image was not assessed. ``thresholds`` are ``(suspected, fracture)``; ``roi_px`` is
        ``(x0, y0, x1, y1)`` on the source grid, origin at the outer top-left corner: the most probable finding's, or
        where the attention is if no place is probable enough; ``None`` on an image without suspicion.
    findings:
        Where a fracture is likely or suspected, most probable first; none on an image without suspicion.
    shown_height_px, shown_width_px:
        Extent of the source with square pixels: another one where the source's pixels are oblong.
    artifacts:
        Which of ``image``, ``heat``, ``overlay``, ``roi`` exist.
    view:
        ``None`` where the file is not DICOM.
    set_aside:
        Whether another image of the study was assessed instead of this one; the reason says which.
    """

    number: int
    file: str
    finding: Finding
    in_scope: bool = False
    region: str | None = None
    region_probability: float | None = None
    fracture_probability: float | None = None
    fracture_spread: float | None = None
    thresholds: tuple[float, float] | None = None
    roi_px: tuple[int, int, int, int] | None = None
    findings: tuple[FractureFinding, ...] = ()
    source_height_px: int | None = None
    source_width_px: int | None = None
    shown_height_px: int | None = None
    shown_width_px: int | None = None
    model: ModelIdentity | None = None
    artifacts: tuple[str, ...] = ()
    view: ViewTags | None = None
    set_aside: bool = False

    @property
    def boxes_px(self) -> tuple[tuple[int, int, int, int], ...]:
        """What is marked on the image: the findings' boxes, or the attention's where no place is probable enough."""
        found = tuple(finding.box_px for finding in self.findings)
        return found or (() if self.roi_px is None else (self.roi_px,))

    def to_json(self) -> dict[str, Any]:
        """The image's entry in ``result.json``."""
        region = (
            None if self.region is None else {"name": self.region, "probability": _rounded(self.region_probability)}
        )
        thresholds = None
        if self.thresholds is not None:
            thresholds = {"suspected": self.thresholds[0], "fracture": self.thresholds[1]}
        return {
            "number": self.number,
            "file": self.file,
            "region": region,
            "in_scope": self.in_scope,
            "assessment": self.finding.assessment.value,
            "reasons": [reason.to_json() for reason in self.finding.reasons],
            "fracture_probability": _rounded(self.fracture_probability),
            "fracture_spread": _rounded(self.fracture_spread),
            "thresholds": thresholds,
            "roi_px": None if self.roi_px is None else list(self.roi_px),
            "findings": [finding.to_json() for finding in self.findings],
            "source_px": None if self.source_width_px is None else [self.source_width_px, self.source_height_px],
            "shown_px": None if self.shown_width_px is None else [self.shown_width_px, self.shown_height_px],
            "model": None if self.model is None else self.model.name,
            "artifacts": list(self.artifacts),
            "view": self.view and asdict(self.view),
            "set_aside": self.set_aside,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], models: Mapping[str, ModelIdentity]) -> ImageResult:
        """Read what :meth:`to_json` wrote; ``models`` by name, as in the result around it."""
        region, thresholds, source = data["region"], data["thresholds"], data["source_px"]
        x0_y0_x1_y1, shown = data["roi_px"], data.get("shown_px")
        return cls(
            number=data["number"],
            file=data["file"],
            finding=_finding(data),
            in_scope=data["in_scope"],
            region=region and region["name"],
            region_probability=region and region["probability"],
            fracture_probability=data["fracture_probability"],
            fracture_spread=data["fracture_spread"],
            thresholds=thresholds and (thresholds["suspected"], thresholds["fracture"]),
            roi_px=x0_y0_x1_y1 and tuple(x0_y0_x1_y1),
            findings=tuple(FractureFinding.from_json(entry) for entry in data.get("findings", ())),
            source_height_px=source and source[1],
            source_width_px=source and source[0],
            shown_height_px=shown and shown[1],
            shown_width_px=shown and shown[0],
            model=models[data["model"]] if data["model"] else None,
            artifacts=tuple(data["artifacts"]),
            view=ViewTags(**data["view"]) if data.get("view") else None,
            set_aside=data.get("set_aside", False),
        )


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What was found on a study; the same for the same input and the same models.

    Attributes
    ----------
    dicom_objects, no_dicom:
        The DICOM results; where there are none although they were wanted, why.
    """

    study_id: str
    label: str
    state: WorkState
    finding: Finding
    images: tuple[ImageResult, ...]
    models: tuple[ModelIdentity, ...]
    software_version: str
    dicom_objects: tuple[DicomObject, ...] = ()
    no_dicom: Reason | None = None

    @classmethod
    def failed(cls, study: Study, reasons: tuple[Reason, ...], software_version: str) -> StudyResult:
        """The result of a study we could not finish: every image inconclusive, for the same reasons."""
        finding = Finding(Assessment.INCONCLUSIVE, reasons)
        images = tuple(ImageResult(image.number, image.file_name, finding) for image in study.images)
        return cls(study.study_id, study.label, WorkState.FAILED, finding, images, (), software_version)

    @property
    def views(self) -> tuple[ImageResult, ...]:
        """The images that count: all but those that were set aside."""
        return tuple(image for image in self.images if not image.set_aside)

    @property
    def warnings(self) -> tuple[Reason, ...]:
        """What must be settled before any part of the result is used."""
        return tuple(reason for reason in self.finding.reasons if reason.code in WARNINGS)

    @property
    def region(self) -> str | None:
        """The region of the most urgent view in scope; of any view that could be read if none was."""
        seen = [image for image in self.images if image.region is not None]
        if not seen:
            return None
        return min(seen, key=lambda image: (not image.in_scope, image.finding.assessment.urgency, image.number)).region

    @property
    def mean_fracture_probability(self) -> float | None:
        """Mean over the assessed views (the study-level score of MURA, Rajpurkar et al. 2017)."""
        values = [image.fracture_probability for image in self.images if image.fracture_probability is not None]
        return sum(values) / len(values) if values else None

    @property
    def max_fracture_probability(self) -> float | None:
        """The highest of the assessed views; what "most suspicious first" sorts by."""
        values = [image.fracture_probability for image in self.images if image.fracture_probability is not None]
        return max(values, default=None)

    def to_json(self) -> dict[str, Any]:
        """The whole of ``result.json``."""
        return {
            "study_id": self.study_id,
            "label": self.label,
            "state": self.state.value,
            "assessment": self.finding.assessment.value,
            "reasons": [reason.to_json() for reason in self.finding.reasons],
            "region": self.region,
            "mean_fracture_probability": _rounded(self.mean_fracture_probability),
            "max_fracture_probability": _rounded(self.max_fracture_probability),
            "images": [image.to_json() for image in self.images],
            "models": {model.name: model.to_json() for model in self.models},
            "software_version": self.software_version,
            "dicom_objects": [entry.to_json() for entry in self.dicom_objects],
            "no_dicom": self.no_dicom and self.no_dicom.to_json(),
            "disclaimer": DISCLAIMER,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StudyResult:
        """Read what :meth:`to_json` wrote."""
        models = {name: ModelIdentity(**entry) for name, entry in data["models"].items()}
        return cls(
            study_id=data["study_id"],
            label=data["label"],
            state=WorkState(data["state"]),
            finding=_finding(data),
            images=tuple(ImageResult.from_json(image, models) for image in data["images"]),
            models=tuple(models.values()),
            software_version=data["software_version"],
            dicom_objects=tuple(DicomObject.from_json(entry) for entry in data.get("dicom_objects", ())),
            no_dicom=Reason.from_json(data["no_dicom"]) if data.get("no_dicom") else None,
        )


def _finding(data: Mapping[str, Any]) -> Finding:
    reasons = tuple(Reason.from_json(reason) for reason in data["reasons"])
    return Finding(Assessment(data["assessment"]), reasons)


def _rounded(value: float | None) -> float | None:
    """Six digits: more would differ between machines and mean nothing."""
    return None if value is None else round(float(value), 6)
