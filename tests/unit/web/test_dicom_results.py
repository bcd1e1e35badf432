from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.reasons import Reason
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Study
from fractureai.stages.artifacts import read_json, write_json
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add


@pytest.fixture
def study(ports: WebPorts) -> Study:
    """A finished study with two DICOM results."""
    study = add(ports, View("a.dcm", probability=0.9))
    kinds = ((DicomKind.SR, None), (DicomKind.OVERLAY, 1))
    objects = tuple(DicomObject(kind, number, "1.2.3", f"1.2.{place}", "1.2.4", "1.2.5")
                    for place, (kind, number) in enumerate(kinds))  # fmt: skip
    _rewrite(ports, study, dicom_objects=objects)
    for entry in objects:
        ports.store.put(keys.dicom_object(study.site, study.study_id, entry.name), entry.name.encode())
    return study


def _rewrite(ports: WebPorts, study: Study, **changes: object) -> None:
    key = keys.result_json(study.site, study.study_id)
    result = replace(StudyResult.from_json(read_json(ports.store, key)), **changes)
    write_json(ports.store, key, result.to_json())


def test_the_study_lists_them_and_each_can_be_fetched(client: FlaskClient, study: Study) -> None:
    artifacts = client.get(f"/api/v1/studies/{study.study_id}").json["artifacts"]
    assert [entry["name"] for entry in artifacts["dicom"]] == ["sr", "overlay-1"]
    for entry in artifacts["dicom"]:
        answer = client.get(entry["url"])
        assert (answer.status_code, answer.mimetype, answer.data) == (200, "application/dicom", entry["name"].encode())
        assert f'{entry["name"]}.dcm"' in answer.headers["Content-Disposition"]


def test_all_of_them_in_one_archive(client: FlaskClient, study: Study) -> None:
    answer = client.get(client.get(f"/api/v1/studies/{study.study_id}").json["artifacts"]["dicom_zip"])
    assert answer.mimetype == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "sr.dcm": b"sr",
            "overlay-1.dcm": b"overlay-1",
        }


@pytest.mark.parametrize("name", ["gsps-1", "overlay-2"])
def test_what_there_is_not(client: FlaskClient, study: Study, name: str) -> None:
    answer = client.get(f"/api/v1/studies/{study.study_id}/dicom/{name}.dcm")
    assert (answer.status_code, answer.json["code"]) == (404, "not_there_yet")


@pytest.mark.parametrize("name", ["sr-0", "overlay-00001", "report", "..%2Fresult", "sr%00", "overlay-999999"])
def test_what_no_result_is_called(client: FlaskClient, study: Study, name: str) -> None:
    assert client.get(f"/api/v1/studies/{study.study_id}/dicom/{name}.dcm").status_code == 404


def test_without_dicom_there_is_no_archive_and_the_page_says_why(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9))
    _rewrite(ports, study, no_dicom=Reason("no_dicom_source"))
    assert client.get(f"/api/v1/studies/{study.study_id}").json["artifacts"]["dicom_zip"] is None
    assert client.get(f"/api/v1/studies/{study.study_id}/dicom.zip").json["code"] == "not_there_yet"
    page = client.get(f"/studies/{study.study_id}").text
    assert "did not come as DICOM" in page
    assert "dicom.zip" not in page


def test_the_page_offers_them(client: FlaskClient, study: Study) -> None:
    page = client.get(f"/studies/{study.study_id}").text
    for path in ("dicom.zip", "dicom/sr.dcm", "dicom/overlay-1.dcm"):
        assert f"/api/v1/studies/{study.study_id}/{path}" in page
    assert "Structured report" in page
