"""The whole catalogue over C-STORE and STOW-RS: what the door says of each, and that it stays open."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fractureai.web.app import WebPorts
from tests.bad_files import phantom_dicom
from tests.browser.samples import open_app, open_ports
from tests.dicom_programs import needs_dcmtk, run
from tests.hostile.catalogue import catalogue
from tests.hostile.dicom_scu import SUCCESS, Post, listening, stored
from tests.hostile.hostile import READ
from tests.hostile.over_dicom import by_store, by_stow, is_taken
from tests.hostile.stow import CONTENT_TYPE, body_of, reasons_of

# As in the service, where no value of a header comes into the log.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

_FOR_DCMTK = ("dicom-bits-", "dicom-slope-", "dicom-window-", "dicom-text-", "dicom-lut-", "dicom-preamble-")


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with listening(tmp_path) as made:
        yield made


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[WebPorts]:
    ports = open_ports(tmp_path / "service")
    yield ports
    ports.ledger.close()


def test_every_hostile_file_gets_its_status_over_c_store(post: Post) -> None:
    expected = {entry.name: by_store(entry) for entry in catalogue()} | {"honest": READ}
    files = {entry.name: entry.data for entry in catalogue()} | {"honest": phantom_dicom(seed=70)}
    found = stored(post.port, files)
    assert found == {name: SUCCESS if is_taken(answer) else answer for name, answer in expected.items()}
    assert len(list(post.store.keys("sites/local/arrivals/"))) == sum(map(is_taken, expected.values()))


@needs_dcmtk
def test_what_dcmtk_is_willing_to_send_is_taken(post: Post, tmp_path: Path) -> None:
    """It refuses most of the catalogue itself, or does not survive it; and what it sends it has written anew."""
    for entry in catalogue():
        if entry.name.startswith(_FOR_DCMTK):
            (tmp_path / entry.name).write_bytes(entry.data)
    said = run("storescu", "-v", "-nh", "-aet", "DCMTK", "127.0.0.1", post.port, *tmp_path.glob("*.dcm")).stdout
    found = re.findall(r"Received Store Response \((.*)\)", said)
    assert len(found) > 20, said[-2000:]
    assert set(found) == {"Success"}


def test_every_hostile_file_gets_its_reason_over_stow(ports: WebPorts) -> None:
    client = open_app(ports).test_client()
    found = {entry.name: _told(client, entry.data) for entry in catalogue()}
    expected = {entry.name: by_stow(entry) for entry in catalogue()}
    assert found == {name: [SUCCESS] if is_taken(answer) else [answer] for name, answer in expected.items()}


def test_in_one_request_none_costs_the_others_theirs(ports: WebPorts) -> None:
    client = open_app(ports).test_client()
    files = [entry.data for entry in catalogue()]
    files[100:100] = files[200:200] = [phantom_dicom(seed=72)]
    found = Counter(_told(client, *files))
    expected = Counter(map(by_stow, catalogue()))
    refused = {answer: count for answer, count in expected.items() if not is_taken(answer)}
    assert found == {**refused, SUCCESS: len(files) - sum(refused.values())}


def _told(client: FlaskClient, *files: bytes) -> list[str]:
    answer = client.post("/dicomweb/studies", data=body_of(files), content_type=CONTENT_TYPE)
    assert answer.status_code in {200, 202, 409}
    return reasons_of(answer.get_json(force=True))
