"""What became of images that came one by one, over DICOM."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping

from fractureai.domain.identity import examination_id
from tests.hostile.dicom_scu import instance_of
from tests.integration.conftest import Service


def studies_of(service: Service, files: Mapping[str, bytes]) -> dict[str, str]:
    """Name to study of each instance, when all have theirs; each is an examination of its own."""
    wanted = {name: examination_id("local", instance_of(data).study_instance_uid) for name, data in files.items()}
    query = "SELECT examination_id, study_id FROM study_revisions"
    with contextlib.closing(sqlite3.connect(f"file:{service.running.data_dir}/ledger.sqlite?mode=ro", uri=True)) as db:
        known = dict(db.execute(query).fetchall())
    return {name: known[place] for name, place in wanted.items()} if known.keys() >= set(wanted.values()) else {}


def finished(service: Service, ids: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Their results by name, when all are final."""
    http = service.client._http
    found = {name: http.get(f"/api/v1/studies/{study_id}").json() for name, study_id in ids.items()}
    return found if all(result.get("state") in {"done", "rejected", "failed"} for result in found.values()) else {}
