"""Marked names go through the real service, well and badly; then everything it wrote is searched for them."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from pathlib import Path

import httpx
import pydicom
import pytest

from tests.bad_files import phantom_dicom
from tests.hostile.dicom_scu import SUCCESS, stored
from tests.hostile.stow import CONTENT_TYPE, body_of
from tests.integration.conftest import Service, write
from tests.integration.examinations import finished, studies_of
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(300)]

PATIENT = ("Xanthippeus", "Quaggamarker", "PIDQ7731X", "ACCZ8842Y", "Ytterbiumward", "Zirkoniumnote", "19470413")
"""Of the header: nowhere but in the store."""
NAMES = ("vorzimmerfile", "wolframbatch")
"""A file's name and a label: in the store, and where the ledger must know them."""
MAY_NAME_FILES = {
    ("batches", "label"), ("studies", "label"), ("uploads", "file_name"), ("images", "file_name"),
    ("rejections", "file_name"), ("arrivals", "file_name"), ("study_words", "word"), ("open_uploads", "label"),
}  # fmt: skip


def marked(seed: int, *, break_it: str = "") -> bytes:
    """A phantom of a patient with marked names; whole, or broken in a way that reaches deep into the reader."""
    dataset = pydicom.dcmread(io.BytesIO(phantom_dicom(seed=seed)))
    dataset.PatientName, dataset.PatientID = f"{PATIENT[0]}^{PATIENT[1]}", PATIENT[2]
    dataset.AccessionNumber, dataset.InstitutionName, dataset.PatientComments = PATIENT[3:6]
    dataset.PatientBirthDate = PATIENT[6]
    if break_it == "modality":
        dataset.Modality = "CT"
    if break_it == "pixels":
        dataset.PixelData = dataset.PixelData[:1000]
    if break_it == "values":
        dataset.add_new((0x0028, 0x0010), "US", 0)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()[:-9000] if break_it == "end" else out.getvalue()


def test_nothing_the_service_writes_names_a_patient(service: Service, tmp_path: Path) -> None:
    headers: list[str] = []
    ways = ("", "modality", "pixels", "values", "end")
    name = "Vorzimmerfile"
    files = {f"{name}-{way or 'good'}.dcm": marked(900 + n, break_it=way) for n, way in enumerate(ways)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}-folder/{name}.dcm", marked(950))
        archive.writestr(f"../{name}.dcm", marked(951))
        archive.writestr(f"{name}.txt", b"nothing")
    files[f"{name}.zip"] = packed.getvalue()
    batch_id = service.client.submit_batch(write(tmp_path, files), label="Wolframbatch")
    status = service.client.batch(batch_id)
    while not status.finished:
        status = service.client.batch(batch_id, wait_s=25, known=status)
    assert status.counts["done"] >= 2
    assert status.counts["rejected"] >= 3

    with httpx.Client(base_url=service.url, trust_env=False) as http:
        paths = [f"/batches/{batch_id}", "/worklist?order=odd", "/api/v1/studies?order=odd"]
        paths += [f"/api/v1/batches/{batch_id}/results.csv", f"/api/v1/batches/{batch_id}/reports.zip", "/metrics"]
        for study in service.client.studies_of(batch_id):
            page = f"/studies/{study['study_id']}"
            paths += [page, f"/api/v1{page}", f"/api/v1{page}/report.pdf", f"/api/v1{page}/result.json"]
        answers = [http.get(path) for path in paths]
        answers.append(http.post("/worklist", data={"q": "Wolframbatch"}))
        answers.append(http.get(answers[-1].headers["Location"]))
        answers.append(http.post("/api/v1/searches", json={"q": "Vorzimmerfile"}))
        answers.append(http.get(answers[-1].json()["studies_url"]))
        answers.append(http.post("/api/v1/batches", files={"odd": (f"{name}.dcm", b"x")}))
        answers.append(http.post("/api/v1/studies", files={"images": (f"{name}.zip", packed.getvalue())}))
        answers.append(http.get(f"/api/v1/studies/{PATIENT[2]}"))
        headers += [str(sorted(answer.headers.items())) for answer in answers]
        metrics = next(answer.text for answer in answers if answer.url.path == "/metrics")

    _search("headers of answers", "\n".join(headers).encode(), *PATIENT, *NAMES)
    _search("metrics", metrics.encode(), *PATIENT, *NAMES)
    _search_what_was_written(service)


def test_nor_does_what_comes_over_dicom(service: Service) -> None:
    ways = ("", "modality", "pixels", "values", "end")
    over_dimse, over_web = (
        {f"{start}-{way or 'good'}": marked(start + n, break_it=way) for n, way in enumerate(ways)}
        for start in (960, 970)
    )
    told = stored(service.dicom.listener, over_dimse)
    answer = service.client._http.post(
        "/dicomweb/studies", content=body_of(over_web.values()), headers={"Content-Type": CONTENT_TYPE}
    )
    _search("the answer", answer.content + str(answer.headers).encode(), *PATIENT)
    assert told.pop("960-end") == told.pop("960-good") == SUCCESS
    taken = {name: data for name, data in (over_dimse | over_web).items() if told.get(name, SUCCESS) == SUCCESS}
    ids = until(lambda: studies_of(service, taken), timeout_s=60, every_s=0.5)
    results = until(lambda: finished(service, ids), timeout_s=200, every_s=0.5)
    assert {results[name]["state"] for name in ("960-good", "970-good")} == {"done"}
    for study_id in ids.values():
        for path in ("", "/history", "/fhir"):
            found = service.client._http.get(f"/api/v1/studies/{study_id}{path}")
            _search("headers of answers", str(found.headers).encode(), *PATIENT)
    _search("metrics", service.client._http.get("/metrics").content, *PATIENT)
    _search_what_was_written(service)


def _search_what_was_written(service: Service) -> None:
    """Everything but the store, where it must be found."""
    _search("webhook", b"".join(body for _, body in service.told), *PATIENT, *NAMES)
    folder = service.running.data_dir
    written = [path for path in folder.rglob("*") if path.is_file() and (folder / "store") not in path.parents]
    assert any("appendonly" in path.name or path.suffix == ".aof" for path in written)
    assert any(path.suffix == ".log" and path.stat().st_size for path in written)
    for path in written:
        is_ledger = path.name.startswith("ledger.sqlite")
        _search(str(path.relative_to(folder)), path.read_bytes(), *PATIENT, *(() if is_ledger else NAMES))
    assert _columns_with(folder / "ledger.sqlite", NAMES) <= MAY_NAME_FILES
    # The search would find it: in the store it is.
    kept = [path.read_bytes() for path in (folder / "store").rglob("*") if path.is_file()]
    assert any(PATIENT[2].encode() in data for data in kept)


def _search(where: str, data: bytes, *markers: str) -> None:
    found = [marker for marker in markers if marker.lower().encode() in data.lower()]
    assert found == [], f"{where} names {found}"


def _columns_with(ledger: Path, markers: tuple[str, ...]) -> set[tuple[str, str]]:
    found = set()
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for column in (row[1] for row in connection.execute(f"PRAGMA table_info({table})")):
                for marker in markers:
                    query = f"SELECT 1 FROM {table} WHERE CAST({column} AS TEXT) LIKE ? LIMIT 1"
                    if connection.execute(query, (f"%{marker}%",)).fetchone():
                        found.add((table, column))
    finally:
        connection.close()
    return found
