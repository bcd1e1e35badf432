"""Where fractures may be, on the original, as Grayscale Softcopy Presentation State (PS3.3 section A.33.1).

A presentation state takes the place of all the image says on how it is shown, so that is taken over from the image:
tables, window, polarity and shutter.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.result import ImageResult
from fractureai.domain.study import Assessment
from fractureai.reports.content import percent
from fractureai.reports.dicom.encoding import Elements, as_tag, copied, elements, joined, part_10
from fractureai.reports.dicom.modules import Frame, text
from fractureai.reports.dicom.source import SourceImage, value_of
from fractureai.reports.wording import HEADLINES, NOT_FOR_DIAGNOSIS, PRODUCT

GRAYSCALE_PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
_LAYER = "FRACTUREAI"
_WHITE = 65535
_DASHES = 0x00FF
_SHUTTERS: dict[str, tuple[str, ...]] = {
    "RECTANGULAR": (
        "ShutterLeftVerticalEdge",
        "ShutterRightVerticalEdge",
        "ShutterUpperHorizontalEdge",
        "ShutterLowerHorizontalEdge",
    ),
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
}


def presentation_state(frame: Frame, image: ImageResult, source: SourceImage) -> tuple[DicomObject, bytes] | None:
    """The state that shows the boxes on a view; ``None`` if it has none."""
    if not image.boxes_px or not (image.source_height_px and image.source_width_px):
        return None
    what = frame.object_of(DicomKind.GSPS, GRAYSCALE_PRESENTATION_STATE, image.number)
    series = elements(SeriesInstanceUID=source.series_uid, ReferencedImageSequence=[source.reference])
    state = elements(
        ContentLabel=_LAYER,
        ContentDescription=f"Marked places, view {image.number}. {NOT_FOR_DIAGNOSIS}",
        ContentCreatorName=None,
        PresentationCreationDate=frame.date,
        PresentationCreationTime=frame.time,
        ReferencedSeriesSequence=[series],
        DisplayedAreaSelectionSequence=[_displayed_area(image, source)],
        GraphicLayerSequence=[
            elements(GraphicLayer=_LAYER, GraphicLayerOrder=1, GraphicLayerRecommendedDisplayGrayscaleValue=_WHITE)
        ],
        GraphicAnnotationSequence=[_annotation(image, place, source) for place in range(len(image.boxes_px))],
        PresentationLUTShape="INVERSE" if _is_inverted(source) else "IDENTITY",
    )
    whole = joined(*frame.common(what, "PR"), state, _modality(source), _window(source), _shutter(source))
    return what, part_10(whole, what.sop_class_uid, what.sop_instance_uid)


def _is_inverted(source: SourceImage) -> bool:
    """As the decoder has it: either attribute is enough."""
    photometric, shape = (source.text(name).strip() for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _displayed_area(image: ImageResult, source: SourceImage) -> Elements:
    area = elements(
        DisplayedAreaTopLeftHandCorner=[1, 1],
        DisplayedAreaBottomRightHandCorner=[image.source_width_px, image.source_height_px],
        PresentationSizeMode="SCALE TO FIT",
    )
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = _numbers(value_of(source.header, keyword))
        if len(spacing) == 2 and min(spacing) > 0:
            return area | elements(PresentationPixelSpacing=[f"{value:.6g}" for value in spacing])
    ratio = _numbers(value_of(source.header, "PixelAspectRatio"))
    whole = [max(1, int(value)) for value in ratio] if len(ratio) == 2 else [1, 1]
    return area | elements(PresentationPixelAspectRatio=whole)


def _annotation(image: ImageResult, place: int, source: SourceImage) -> Elements:
    """A box, solid if a fracture is likely and dashed if it is suspected, and what it is above or below it."""
    x0, y0, x1, y1 = map(float, image.boxes_px[place])
    height, width = float(image.source_height_px or 1), float(image.source_width_px or 1)
    is_solid = image.finding.assessment is Assessment.FRACTURE
    style = elements(
        ShadowStyle="OFF",
        LineThickness=2.0,
        LineDashingStyle="SOLID" if is_solid else "DASHED",
        PatternOnColorCIELabValue=[65535, 32896, 32896],
        PatternOnOpacity=1.0,
        ShadowOffsetX=0.0,
        ShadowOffsetY=0.0,
        ShadowColorCIELabValue=[0, 32896, 32896],
        ShadowOpacity=0.0,
    )
    if not is_solid:
        style |= elements(LinePattern=_DASHES)
    box = elements(
        GraphicAnnotationUnits="PIXEL",
        GraphicDimensions=2,
        NumberOfGraphicPoints=5,
        GraphicData=[x0, y0, x1, y0, x1, y1, x0, y1, x0, y0],
        GraphicType="POLYLINE",
        GraphicFilled="N",
        LineStyleSequence=[style],
    )
    line = height * 0.04
    top, bottom = (y0 - line, y0) if y0 >= line else (y1, min(height, y1 + line))
    words = elements(
        BoundingBoxAnnotationUnits="PIXEL",
        UnformattedTextValue=text(_words(image, place), 200),
        BoundingBoxTopLeftHandCorner=[x0, top],
        BoundingBoxBottomRightHandCorner=[min(width, max(x1, x0 + width * 0.4)), bottom],
        BoundingBoxTextHorizontalJustification="LEFT",
    )
    return elements(
        GraphicLayer=_LAYER,
        ReferencedImageSequence=[source.reference],
        TextObjectSequence=[words],
        GraphicObjectSequence=[box],
    )


def _words(image: ImageResult, place: int) -> str:
    if place:
        finding = image.findings[place]
        return f"{PRODUCT}: place {finding.rank} ({percent(finding.probability)})"
    probability = "" if image.fracture_probability is None else f" ({percent(image.fracture_probability)})"
    return f"{PRODUCT}: {HEADLINES[image.finding.assessment]}{probability}. {NOT_FOR_DIAGNOSIS}"


def _modality(source: SourceImage) -> Elements:
    """The image's modality table or rescaling; nothing where it is none."""
    if value_of(source.header, "ModalityLUTSequence"):
        return copied(source.header, [as_tag("ModalityLUTSequence")])
    slope, intercept = (_numbers(value_of(source.header, name)) for name in ("RescaleSlope", "RescaleIntercept"))
    if not slope or not slope[0] or not intercept:
        return {}
    kind = source.text("RescaleType")
    values = elements(RescaleSlope=f"{slope[0]:.10g}", RescaleIntercept=f"{intercept[0]:.10g}")
    return values | elements(RescaleType=text(kind) if kind.strip() else "US")


def _window(source: SourceImage) -> Elements:
    """The image's VOI table and windows."""
    item = copied(source.header, [as_tag("VOILUTSequence")]) if value_of(source.header, "VOILUTSequence") else {}
    centers, widths = (_numbers(value_of(source.header, name)) for name in ("WindowCenter", "WindowWidth"))
    function = source.text("VOILUTFunction")
    if centers and len(centers) == len(widths) and min(widths) >= (1 if function in {"", "LINEAR"} else 1e-6):
        item |= elements(
            WindowCenter=[f"{value:.10g}" for value in centers], WindowWidth=[f"{value:.10g}" for value in widths]
        )
        if function in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
            item |= elements(VOILUTFunction=function)
    return elements(SoftcopyVOILUTSequence=[item]) if item else {}


def _shutter(source: SourceImage) -> Elements:
    """The image's shutter, if it is whole."""
    shapes = value_of(source.header, "ShutterShape")
    shapes = [shapes] if isinstance(shapes, str) else list(shapes or ())
    needed = [keyword for shape in shapes for keyword in _SHUTTERS.get(shape, ("",))]
    if not needed or any(not keyword or value_of(source.header, keyword) is None for keyword in needed):
        return {}
    kept = copied(source.header, [as_tag(keyword) for keyword in ("ShutterShape", *needed)])
    return elements(ShutterPresentationValue=0) | kept


def _numbers(value: Any) -> list[float]:
    if value is None:
        return []
    with contextlib.suppress(TypeError, ValueError):
        values = [value] if isinstance(value, (int, float, str)) else list(value)
        return [float(one) for one in values]
    return []
