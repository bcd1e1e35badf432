"""STOW-RS from an Orthanc, which splits a study over several requests, in chunks of HTTP or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from werkzeug.serving import make_server

from fractureai.domain.identity import examination_id
from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.web.app import WebPorts
from tests.browser.samples import open_app, open_ports
from tests.dicom_programs import needs_orthanc, orthanc

STUDY = "1.2.826.0.1.3680043.10.1.55"
VIEWS = 12


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[WebPorts]:
    ports = open_ports(tmp_path / "service")
    yield ports
    ports.ledger.close()


@pytest.fixture
def url(ports: WebPorts) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, open_app(ports), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@needs_orthanc
@pytest.mark.parametrize("chunked", [True, False])
def test_an_archive_sends_a_study(ports: WebPorts, url: str, tmp_path: Path, *, chunked: bool) -> None:
    phantom = render(PhantomSpec("hand", "frontal", fractured=False, seed=1, height_px=160, width_px=128))
    with orthanc(tmp_path / "orthanc") as archive:
        peer = {"Url": f"{url}/dicomweb/", "ChunkedTransfers": chunked}
        archive._request("PUT", "/dicom-web/servers/fractureai", json=peer)
        for number in range(1, VIEWS + 1):
            uid = f"{STUDY}.1.{number}"
            data = to_dicom(phantom, study_uid=STUDY, series_uid=f"{STUDY}.1", sop_uid=uid, instance_number=number)
            study = archive.post("/instances", data)["ParentStudy"]
        for _ in range(2):
            answer = archive.post("/dicom-web/servers/fractureai/stow", {"Resources": [study], "Synchronous": True})
            assert answer.get("InstancesCount") == str(VIEWS)
    closing = ports.ledger.close_examination(
        examination_id("local", STUDY),
        batch_id=uuid4().hex,
        study_id=uuid4().hex,
        now_s=time.time() + 3600,
        lease_s=1,
    )
    assert closing is not None
    assert len(closing.images) == VIEWS
    assert len(list(ports.store.keys("sites/local/arrivals/"))) == VIEWS
