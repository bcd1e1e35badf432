"""What the objects say, and that they say it again."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from fractureai.domain.reasons import Reason
from fractureai.domain.study import Assessment
from fractureai.errors import RejectedInput
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits
from tests.bad_files import phantom_dicom

KEPT = [
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
]
NAMES_ONE = ["sr", "summary", "overlay-1", "gsps-1", "pdf"]


def source_of(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def groups_of(dataset: Dataset) -> Any:
    """The measurement groups, by highdicom's reader."""
    return hd.sr.Comprehensive3DSR.from_dataset(dataset).content


def texts_of(item: Dataset) -> list[str]:
    """Every text of a content tree."""
    below = [text for child in item.get("ContentSequence", []) for text in texts_of(child)]
    return [str(item.TextValue), *below] if "TextValue" in item else below


def test_what_is_written_of_one_view_and_of_many(one: Any, many: Any) -> None:
    assert list(one.objects) == NAMES_ONE
    assert list(many.objects) == [
        "sr", "summary", "overlay-1", "gsps-1", "overlay-2", "gsps-2", "overlay-5", "pdf",
    ]  # fmt: skip


def test_the_study_and_the_patient_are_the_sources(one: Any) -> None:
    source = source_of(phantom_dicom())
    for name in NAMES_ONE:
        dataset = one.dataset(name)
        for keyword in KEPT:
            assert dataset[keyword].value == source[keyword].value, keyword
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (rb"\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (b"ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        (b"ISO_IR 192", "Люкс^Анна".encode()),
        (b"GB18030", "王^小东".encode("gb18030")),
        (b"ISO_IR 999", b"Unheard\xff^Of\xfe"),
        (b"", b"M\xfcller^No charset"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_names_keep_their_bytes_in_any_character_set(kit: Any, charset: bytes, name: bytes) -> None:
    name += b" " * (len(name) % 2)
    given = b"\x10\x00\x10\x00PN" + len(name).to_bytes(2, "little")
    data = kit.edited(PatientName="X" * len(name)).replace(given + b"X" * len(name), given + name)
    charset += b" " * (len(charset) % 2)
    said = b"\x08\x00\x05\x00CS" + len(charset).to_bytes(2, "little") + charset if charset else b""
    start = data.index(b"\x08\x00\x08\x00CS")  # Image Type, the first element there is
    written = kit.write(kit.source(data[:start] + said + data[start:], 1))
    for _, encoded in written.objects.values():
        assert given + name in encoded
        assert said in encoded
        assert (b"\x08\x00\x05\x00CS" in encoded) == bool(charset)


def test_each_kind_is_a_series_and_every_uid_is_new(many: Any) -> None:
    datasets = {name: many.dataset(name) for name in many.objects}
    series: dict[str, set[str]] = {}
    for name, dataset in datasets.items():
        series.setdefault(name.split("-")[0], set()).add(dataset.SeriesInstanceUID)
        listed = many.objects[name][0]
        assert dataset.SOPInstanceUID == listed.sop_instance_uid == dataset.file_meta.MediaStorageSOPInstanceUID
        assert dataset.SOPClassUID == listed.sop_class_uid
        assert dataset.SeriesInstanceUID == listed.series_instance_uid
        assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", dataset.SOPInstanceUID)
    assert all(len(uids) == 1 for uids in series.values())
    assert len(set().union(*series.values())) == 5
    assert len({dataset.SOPInstanceUID for dataset in datasets.values()}) == len(datasets)


def test_the_same_again_is_the_same_to_the_byte(kit: Any, one: Any) -> None:
    assert kit.write(kit.source(phantom_dicom(), 1)).objects == one.objects


def test_other_weights_or_another_version_are_other_objects_of_another_device(kit: Any, one: Any) -> None:
    from tests.unit.reports.dicom.conftest import HAND_MODEL, REGION_MODEL

    retrained = replace(HAND_MODEL, card_sha256="cd" * 32)
    image = kit.source(phantom_dicom(), 1)
    image = replace(image, result=replace(image.result, model=retrained))
    for other in (kit.write(image, models=(REGION_MODEL, retrained)), kit.write(image, version="0.2.0")):
        for name in NAMES_ONE:
            before, after = one.dataset(name), other.dataset(name)
            assert before.SOPInstanceUID != after.SOPInstanceUID
            devices = [data.ContributingEquipmentSequence[0].DeviceUID for data in (before, after)]
            assert devices[0] != devices[1]
        assert not {what.series_instance_uid for what, _ in one.objects.values()} & {
            what.series_instance_uid for what, _ in other.objects.values()
        }


def test_contributing_equipment_names_system_and_models(one: Any) -> None:
    for name in NAMES_ONE:
        dataset = one.dataset(name)
        items = dataset.ContributingEquipmentSequence
        assert [item.ManufacturerModelName for item in items] == ["FractureAI reader", "region", "fracture-hand"]
        assert len({item.DeviceUID for item in items}) == 3
        assert list(items[0].SoftwareVersions) == ["0.1.0", "region 0.3.1", "fracture-hand 0.2.0"]
        assert {item.PurposeOfReferenceCodeSequence[0].CodeValue for item in items} == {"109102"}
        assert "not for diagnostic use" in dataset.SeriesDescription


def test_highdicom_reads_the_report(one: Any) -> None:
    dataset = one.dataset("sr")
    assert (dataset.VerificationFlag, dataset.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    (group,) = groups_of(dataset).get_image_measurement_groups()
    assert group.tracking_identifier == "View 1"
    assert group.finding_type.value == "125605004"
    (site,) = group.finding_sites
    assert (site.value.meaning, site.laterality.meaning) == ("Hand", "Left")
    (measurement,) = group.get_measurements()
    assert (measurement.name.meaning, measurement.value, measurement.unit) == (
        "Probability of fracture",
        83.0,
        codes.UCUM.Percent,
    )
    (evaluation,) = group.get_qualitative_evaluations()
    assert (evaluation.name.meaning, evaluation.value.meaning) == ("Fracture of bone", "Detected")
    texts = {item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue for item in group[0].ContentSequence
             if item.ValueType == "TEXT"}  # fmt: skip
    assert texts["Algorithm Name"] == "fracture-hand"
    assert texts["Algorithm Version"] == "0.2.0"
    source = source_of(phantom_dicom())
    (evidence,) = dataset.CurrentRequestedProcedureEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == [source.SOPInstanceUID]


def test_every_place_has_a_group_of_its_own(one: Any, many: Any) -> None:
    places = groups_of(one.dataset("sr")).get_planar_roi_measurement_groups()
    assert [place.tracking_identifier for place in places] == ["View 1, place 1", "View 1, place 2"]
    assert len({place.tracking_uid for place in places}) == 2
    for place, finding in zip(places, one.result.images[0].findings, strict=True):
        x0, y0, x1, y1 = finding.box_px
        corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        np.testing.assert_array_equal(place.roi.value, np.array(corners, float))
        (measurement,) = place.get_measurements()
        assert measurement.value == pytest.approx(100 * finding.probability)
        assert (place.finding_type.value, place.finding_sites[0].value.meaning) == ("125605004", "Hand")
    found = groups_of(many.dataset("sr")).get_planar_roi_measurement_groups()
    # View 5 is no DICOM image: there is nothing to point at.
    assert [place.tracking_identifier.split(",")[0] for place in found] == ["View 1", "View 1", "View 2"]


def test_attention_alone_stands_in_the_views_group(kit: Any) -> None:
    image = kit.source(phantom_dicom(), 1, Assessment.SUSPECTED)
    written = kit.write(replace(image, result=replace(image.result, findings=())))
    (group,) = groups_of(written.dataset("sr")).get_planar_roi_measurement_groups()
    assert group.tracking_identifier == "View 1"
    (annotation,) = written.dataset("gsps-1").GraphicAnnotationSequence
    assert list(annotation.GraphicObjectSequence[0].GraphicData)[:2] == list(image.result.roi_px[:2])


def test_only_what_is_seen_is_called_a_finding(many: Any) -> None:
    content = groups_of(many.dataset("sr"))
    by_view = {group.tracking_identifier: group for group in content.get_image_measurement_groups()}
    answers = {
        view: (group.get_qualitative_evaluations()[0].value.meaning, group.finding_type is not None)
        for view, group in by_view.items()
    }
    assert answers == {
        "View 1": ("Detected", True),
        "View 2": ("Suspected", True),
        "View 3": ("Undetermined", False),
        "View 4": ("Not detected", False),
        "View 5": ("Suspected", True),
    }
    assert not by_view["View 3"].get_measurements()


def test_the_report_says_why(many: Any) -> None:
    text = " ".join(texts_of(many.dataset("sr")))
    assert "does not look like the limb radiographs" in text
    assert "Not for diagnostic use" in text


def test_a_capture_is_a_marked_copy(one: Any) -> None:
    for name in ("summary", "overlay-1"):
        dataset = one.dataset(name)
        assert (dataset.LossyImageCompression, dataset.BurnedInAnnotation) == ("01", "NO")
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns, 3)
        references = [item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence]
        assert references == [source_of(phantom_dicom()).SOPInstanceUID]


def test_the_captures_show_what_they_say(one: Any) -> None:
    """The summary: a dark band over white paper. The view: a dark band over the picture, which has white boxes
    on black and no colour.
    """
    summary, overlay = (one.dataset(name).pixel_array for name in ("summary", "overlay-1"))
    assert summary[30, 5].max() < 120
    assert summary[65:70, 5].min() > 245
    assert (summary[80:] < 100).any()
    assert np.ptp(overlay[60:].astype(int), axis=-1).max() < 40
    x0, y0 = one.result.images[0].boxes_px[0][:2]
    band = overlay.shape[0] - 440
    edge = overlay[band + y0 - 3 : band + y0 + 4].mean(axis=-1)
    assert edge.max(axis=0).max() > 230
    assert edge.min() < 25
    assert (x0, y0) != (0, 0)


def test_our_captures_are_not_read_again(one: Any) -> None:
    for name in ("summary", "overlay-1"):
        with pytest.raises(RejectedInput) as refused:
            read_dicom(one.objects[name][1], DecodeLimits())
        assert refused.value.code == "own_result"
    for name in ("sr", "gsps-1", "pdf"):
        with pytest.raises(RejectedInput) as refused:
            read_dicom(one.objects[name][1], DecodeLimits())
        assert refused.value.code == "no_pixels"


def test_the_presentation_state_shows_the_places_on_the_original(one: Any) -> None:
    dataset, source = one.dataset("gsps-1"), source_of(phantom_dicom())
    annotation, second = dataset.GraphicAnnotationSequence
    for marked, finding in zip((annotation, second), one.result.images[0].findings, strict=True):
        assert marked.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        (box,) = marked.GraphicObjectSequence
        x0, y0, x1, y1 = finding.box_px
        assert list(box.GraphicData) == [x0, y0, x1, y0, x1, y1, x0, y1, x0, y0]
        assert box.LineStyleSequence[0].LineDashingStyle == "SOLID"
    assert "place 2 (31.0 %)" in second.TextObjectSequence[0].UnformattedTextValue
    assert "Signs of a fracture (83.0 %)" in annotation.TextObjectSequence[0].UnformattedTextValue
    (area,) = dataset.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaBottomRightHandCorner) == [source.Columns, source.Rows]


def test_a_suspicion_is_dashed(many: Any) -> None:
    state = many.dataset("gsps-2")
    (box,) = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert box.LineStyleSequence[0].LineDashingStyle == "DASHED"


def test_the_image_is_shown_as_it_was(kit: Any) -> None:
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [200, 150], "RadiusOfCircularShutter": 140}
    data = kit.edited(
        PhotometricInterpretation="MONOCHROME1", WindowCenter=[2000, 900], WindowWidth=[3000, 800],
        VOILUTFunction="LINEAR_EXACT", RescaleSlope=2, RescaleIntercept=-100, **shutter,
    )  # fmt: skip
    state = kit.write(kit.source(data, 1)).dataset("gsps-1")
    assert state.PresentationLUTShape == "INVERSE"
    assert (state.RescaleSlope, state.RescaleIntercept) == (2, -100)
    (voi,) = state.SoftcopyVOILUTSequence
    assert (list(voi.WindowCenter), list(voi.WindowWidth), voi.VOILUTFunction) == (
        [2000, 900], [3000, 800], "LINEAR_EXACT",
    )  # fmt: skip
    assert (state.ShutterShape, state.RadiusOfCircularShutter) == ("CIRCULAR", 140)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_oblong_pixels_are_shown_so_and_the_region_stays_on_the_stored_grid(kit: Any, keyword: str) -> None:
    without = dict.fromkeys(("PixelSpacing", "ImagerPixelSpacing"))
    data = kit.edited(**without | {keyword: [0.4, 0.2]})
    written = kit.write(kit.source(data, 1))
    state, image = written.dataset("gsps-1"), written.result.images[0]
    (area,) = state.DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelSpacing) == [0.4, 0.2]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [352, 440]
    (box,) = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert list(box.GraphicData)[:2] == list(image.roi_px[:2]) == [352 // 4, 440 // 4]


def test_a_presentation_lut_that_inverts_is_kept(kit: Any) -> None:
    state = kit.write(kit.source(kit.edited(PresentationLUTShape="INVERSE"), 1)).dataset("gsps-1")
    assert state.PresentationLUTShape == "INVERSE"


def test_the_pdf_is_the_report(one: Any) -> None:
    dataset = one.dataset("pdf")
    assert dataset.Modality == "DOC"
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == one.pdf


def test_times_are_the_studys_in_the_sources_zone(kit: Any) -> None:
    def time_of(**attributes: str) -> tuple[str, str]:
        dataset = kit.write(kit.source(kit.edited(**attributes), 1)).dataset("sr")
        return dataset.ContentDate, dataset.ContentTime

    assert time_of() == ("20261123", "140500")
    assert time_of(TimezoneOffsetFromUTC="+1000") == ("20261124", "000500")
    assert time_of(TimezoneOffsetFromUTC="-0330") == ("20261123", "103500")
    assert time_of(TimezoneOffsetFromUTC="rubbish") == ("20261123", "140500")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"StudyInstanceUID": None}, "no_dicom_source"),
        ({"StudyInstanceUID": ""}, "no_dicom_source"),
        ({"SOPInstanceUID": "not a uid"}, "no_dicom_source"),
        ({"SeriesInstanceUID": "1." * 33 + "1"}, "no_dicom_source"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_usable_uids_there_is_no_study_to_go_into(kit: Any, change: dict[str, Any], code: str) -> None:
    assert kit.write(kit.source(kit.edited(**change), 1)) == Reason(code)


def test_a_picture_alone_has_no_study(kit: Any) -> None:
    assert kit.write(kit.source(None, 1)) == Reason("no_dicom_source")


def test_files_of_different_studies_are_filed_nowhere(kit: Any) -> None:
    other = kit.edited(SOPInstanceUID="1.2.3.4.5", StudyInstanceUID="1.2.3.9")
    assert kit.write(kit.source(phantom_dicom(), 1), kit.source(other, 2)) == Reason("dicom_conflict")


@pytest.mark.parametrize("change", [{"PatientID": "SOMEBODY-ELSE"}, {"PatientName": "Roe^Richard"}])
def test_of_two_patients_nothing_is_filed_but_a_picture_that_says_so(kit: Any, change: dict[str, Any]) -> None:
    views = (kit.source(phantom_dicom(), 1), kit.source(kit.edited(SOPInstanceUID="1.2.3.4.5", **change), 2))
    written = kit.write(*views)
    assert list(written.objects) == ["summary"]
    picture = written.dataset("summary").pixel_array.astype(int)
    red = (picture[..., 0] > 100) & (picture[..., 1] < 70) & (picture[..., 2] < 70)
    assert red.sum() > 2000, "words and a frame in the colour of a warning"
    coloured = np.ptp(picture[60:], axis=-1) > 60
    assert (coloured & ~red[60:]).mean() < 0.05, "and nothing of the images"


def test_formatting_alone_is_no_second_patient(kit: Any) -> None:
    source = source_of(phantom_dicom())
    same = {"PatientID": f" {str(source.PatientID).lower()}", "PatientName": f"{source.PatientName}^^^^"}
    written = kit.write(kit.source(phantom_dicom(), 1), kit.source(kit.edited(SOPInstanceUID="1.2.3.4.5", **same), 2))
    assert "sr" in written.objects


def _noted(image: Any, code: str, *, set_aside: bool = False) -> Any:
    finding = replace(image.result.finding, reasons=(*image.result.finding.reasons, Reason(code)))
    return replace(image, result=replace(image.result, finding=finding, set_aside=set_aside))


def _cited(dataset: Dataset) -> set[str]:
    """Every instance that an object points to."""
    return {str(item.value) for item in dataset.iterall() if item.keyword == "ReferencedSOPInstanceUID"}


@pytest.mark.parametrize("code", ["sop_instance_uid_shared", "sop_instance_uid_elsewhere", "image_revised"])
def test_nothing_points_to_a_uid_that_another_picture_has_too(kit: Any, code: str) -> None:
    other = kit.edited(SOPInstanceUID="1.2.3.4.5")
    written = kit.write(_noted(kit.source(phantom_dicom(), 1), code), kit.source(other, 2))
    assert "gsps-1" not in written.objects
    assert {"sr", "overlay-1", "overlay-2", "gsps-2"} <= set(written.objects)
    for name in written.objects:
        assert _cited(written.dataset(name)) <= {"1.2.3.4.5"}
    places = groups_of(written.dataset("sr")).get_planar_roi_measurement_groups()
    assert {place.tracking_identifier.split(",")[0] for place in places} == {"View 2"}
    assert Reason(code).sentence in " ".join(texts_of(written.dataset("sr")))


def test_objects_of_a_study_without_any_sure_uid_are_valid(kit: Any, run: Any, tmp_path: Any) -> None:
    views = tuple(_noted(kit.source(phantom_dicom(), number), "sop_instance_uid_shared") for number in (1, 2))
    written = kit.write(*views)
    assert not [name for name in written.objects if name.startswith("gsps")]
    for name, (_, data) in written.objects.items():
        assert _cited(written.dataset(name)) == set()
        (tmp_path / name).write_bytes(data)
        said = run("dciodvfy", tmp_path / name)
        assert not [line for line in said.splitlines() if line.startswith("Error")], said


def test_what_is_set_aside_is_in_no_object_but_the_pdf(kit: Any) -> None:
    unprocessed = kit.source(kit.edited(SOPInstanceUID="1.2.3.4.5"), 2, Assessment.INCONCLUSIVE)
    written = kit.write(kit.source(phantom_dicom(), 1), _noted(unprocessed, "raw_image", set_aside=True))
    for name in written.objects:
        assert "1.2.3.4.5" not in _cited(written.dataset(name))
    content = groups_of(written.dataset("sr"))
    assert [group.tracking_identifier for group in content.get_image_measurement_groups()] == ["View 1"]


def test_the_same_files_under_another_suspicion_are_other_objects(kit: Any, one: Any) -> None:
    other = kit.write(_noted(kit.source(phantom_dicom(), 1), "sop_instance_uid_elsewhere"))
    assert other.dataset("sr").SOPInstanceUID != one.dataset("sr").SOPInstanceUID


def test_a_region_without_a_code_gets_one_of_ours(kit: Any) -> None:
    image = kit.source(phantom_dicom(), 1)
    dataset = kit.write(replace(image, result=replace(image.result, region="sesamoid"))).dataset("sr")
    (group,) = groups_of(dataset).get_image_measurement_groups()
    value = group.finding_sites[0].value
    assert (value.value, value.scheme_designator, value.meaning) == ("sesamoid", "99FRACTUREAI", "sesamoid")
    assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99FRACTUREAI"


@pytest.mark.parametrize(
    ("body_part", "site"), [("FEMUR", "Femur"), ("FOOT", "Foot"), ("LEG", "Lower limb"), ("", "Lower limb")]
)
def test_a_leg_is_coded_as_the_part_the_header_names_or_as_the_whole_limb(kit: Any, body_part: str, site: str) -> None:
    data = kit.edited(phantom_dicom(region="leg"), BodyPartExamined=body_part, AnatomicRegionSequence=None)
    image = kit.source(data, 1)
    dataset = kit.write(replace(image, result=replace(image.result, region="leg"))).dataset("sr")
    (group,) = groups_of(dataset).get_image_measurement_groups()
    assert group.finding_sites[0].value.meaning == site
