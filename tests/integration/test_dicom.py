"""Among a hospital's own programs: an Orthanc sends studies and has the results back, by DIMSE and by DICOMweb."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from fractureai.domain.records import DeliveryState
from fractureai.domain.study import WorkState
from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.storage.ledger.sql import SqlLedger
from tests.dicom_programs import Orthanc, needs_dcmtk, needs_orthanc, run
from tests.integration.conftest import Service
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(560), needs_orthanc, needs_dcmtk]

RESULTS = {"SR", "PR", "DOC"}
"""Modalities of the results beside the secondary captures, which have the modality of what they show or OT."""


@pytest.fixture(scope="module")
def archive(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    listener = {"AET": "FRACTUREAI", "Host": "127.0.0.1", "Port": service.dicom.listener}
    made = Orthanc(
        tmp_path_factory.mktemp("orthanc") / "data",
        service.dicom.archive_dicom,
        service.dicom.archive_http,
        {"fractureai": listener},
    )
    made.start()
    yield made
    made.kill()


@pytest.fixture
def ledger(service: Service) -> Iterator[SqlLedger]:
    opened = SqlLedger.open(f"sqlite:///{service.running.data_dir / 'ledger.sqlite'}")
    yield opened
    opened.close()


def hand(study_uid: str, number: int = 1) -> bytes:
    """A drawn hand on which the shipped models suspect a fracture: only then is there a presentation state."""
    phantom = render(PhantomSpec("hand", "frontal", fractured=True, seed=84 + number, height_px=440, width_px=352))
    return to_dicom(
        phantom,
        study_uid=study_uid,
        series_uid=f"{study_uid}.1",
        sop_uid=f"{study_uid}.1.{number}",
        instance_number=number,
    )


def send(archive: Orthanc, as_ae: str, *images: bytes) -> None:
    """Put images into the archive, and have it send them as a person at its keyboard would."""
    stored = [archive.post("/instances", image)["ID"] for image in images]
    answer = archive.post("/modalities/fractureai/store", {"Resources": stored, "LocalAet": as_ae})
    assert answer["FailedInstancesCount"] == 0


def results_in(archive: Orthanc, study_uid: str) -> list[dict[str, Any]]:
    """What is in the study beside the images."""
    found = archive.instances(StudyInstanceUID=study_uid)
    return [tags for tags in found if not tags["SeriesInstanceUID"].startswith(study_uid)]


def all_results(archive: Orthanc, study_uid: str) -> list[dict[str, Any]]:
    found = results_in(archive, study_uid)
    captures = [tags for tags in found if tags["SOPClassUID"] == "1.2.840.10008.5.1.4.1.1.7"]
    return found if {tags["Modality"] for tags in found} >= RESULTS and len(captures) >= 2 else []


def modalities_found_in(archive: Orthanc, study_uid: str) -> set[str]:
    """Of the series of a study, as any workstation would ask for them by C-FIND."""
    keys = ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study_uid}", "SeriesInstanceUID", "Modality"]
    asked = [word for key in keys for word in ("-k", key)]
    answer = run("findscu", "-S", "-v", "-aec", "ORTHANC", *asked, "127.0.0.1", archive.dicom_port)
    assert answer.returncode == 0, answer.stdout
    return set(re.findall(r"\(0008,0060\) CS \[(\w+) *\]", answer.stdout))


def cli(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, with the settings of the service; they come from one of its processes."""
    pid = service.running.supervisor.pids()["dicom"]
    pairs = (entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry)
    wanted = {name: value for name, value in pairs if name.startswith("FRACTUREAI_")}
    command = [str(Path(sys.executable).parent / "fractureai"), *words]
    return subprocess.run(command, env=os.environ | wanted, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("as_ae", "site", "peer"), [("ORTHANC", "by-dimse", "archive"), ("WEBSIDE", "by-web", "archive-web")]
)
def test_there_and_back(
    service: Service, archive: Orthanc, ledger: SqlLedger, as_ae: str, site: str, peer: str
) -> None:
    study_uid = generate_uid(prefix="1.2.826.0.1.3680043.8.498.")[:50].rstrip(".")
    earlier = {row.study_id for row in ledger.studies(site=site).rows}
    send(archive, as_ae, hand(study_uid))
    found = until(lambda: all_results(archive, study_uid), timeout_s=200)
    assert {tags["PatientID"] for tags in found} == {
        archive.instances(SOPInstanceUID=f"{study_uid}.1.1")[0]["PatientID"]
    }
    assert modalities_found_in(archive, study_uid) >= RESULTS
    (row,) = [row for row in ledger.studies(site=site).rows if row.study_id not in earlier]
    assert row.state is WorkState.DONE
    until(lambda: ledger.undelivered(site=site, limit=9) == [] or None, timeout_s=60)
    sent = [event for event in ledger.history(row.study_id, site=site) if event.what == "sent"]
    assert [event.detail for event in sent] == [peer]
    # Sent again by hand: the same objects, and the archive has each of them once.
    again = cli(service, "dicom", "send", "--site", site, peer, row.study_id)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("verified") == len(found)
    assert len(results_in(archive, study_uid)) == len(found)
    assert cli(service, "dicom", "echo", peer).returncode == 0


def test_results_reach_an_archive_that_was_killed(service: Service, archive: Orthanc, ledger: SqlLedger) -> None:
    study_uid = generate_uid(prefix="1.2.826.0.1.3680043.8.498.")[:50].rstrip(".")
    send(archive, "ORTHANC", hand(study_uid, 2))
    archive.kill()
    try:
        waiting = until(
            lambda: [row for row in ledger.undelivered(site="by-dimse", limit=9) if row.attempts and row.last_error],
            timeout_s=200,
        )
        assert [row.state for row in waiting] == [DeliveryState.OPEN]
        listed = cli(service, "dicom", "undelivered", "--site", "by-dimse")
        assert listed.returncode == 1
        assert waiting[0].study_id in listed.stdout
        assert cli(service, "dicom", "echo", "archive").returncode == 4
    finally:
        archive.start()
    assert until(lambda: all_results(archive, study_uid), timeout_s=200)
