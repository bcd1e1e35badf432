"""What comes after the work, over the real service: the webhook, results since a cursor, exports, a clean store."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from fractureai.domain import keys
from fractureai.resumable import Patience, ResumableUpload
from fractureai.webhook.sender import sign
from tests.bad_files import phantom_dicom
from tests.integration.conftest import WEBHOOK_SECRET, Service, write
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(400)]


def test_from_an_upload_file_by_file_to_those_who_wait_for_it(service: Service, tmp_path: Path) -> None:
    cursor = ""
    while (page := service.client.results(cursor)).more:
        cursor = page.next_cursor
    cursor = page.next_cursor
    files = write(tmp_path / "in", {f"hand-{seed}.dcm": phantom_dicom(seed=seed) for seed in (61, 62)})
    files += write(tmp_path / "in", {"text.png": b"no picture", "again.png": b"no picture"})
    batch_id = ResumableUpload(service.client, files, memory=tmp_path / "memory").send(Patience())
    status = service.client.batch(batch_id)
    while not status.finished:
        status = service.client.batch(batch_id, wait_s=25, known=status)
    assert status.counts == {"open": 0, "done": 2, "rejected": 1, "failed": 0}
    assert [name for name, _ in status.rejected_uploads] == ["again.png"]
    studies = {study["study_id"]: study for study in service.client.studies_of(batch_id)}
    finished = service.client.results(cursor, wait_s=5).studies
    assert {study["study_id"] for study in finished} >= set(studies)
    service.client.export(batch_id, "reports.zip", tmp_path / "reports.zip")
    assert len(zipfile.ZipFile(tmp_path / "reports.zip").namelist()) == 3
    _each_is_told(service, set(studies))
    uploads = [service.running.data_dir / "store" / prefix for prefix in keys.batch_file_prefixes("local", batch_id)]
    until(lambda: not any(folder.exists() for folder in uploads))


def _each_is_told(service: Service, study_ids: set[str]) -> None:
    def told() -> dict[str, dict[str, str]]:
        return {json.loads(body)["study_id"]: headers for headers, body in service.told}

    until(lambda: study_ids <= set(told()), timeout_s=30)
    for headers, body in service.told:
        timestamp = int(headers["FractureAI-Timestamp"])
        assert headers["FractureAI-Signature"] == sign(WEBHOOK_SECRET, timestamp, body)
        assert b"hand" not in body
