"""Hostile files through the real service and the command line, honest ones beside them, each way in one go."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from fractureai.commands.submit import outcome_of
from fractureai.domain.contents import SKIPPED, Content
from fractureai.domain.reasons import REASONS
from fractureai.imaging.media import HEAD_BYTES, content_of
from tests.bad_files import phantom_dicom
from tests.hostile.catalogue import catalogue
from tests.hostile.dicom_scu import SUCCESS, stored
from tests.hostile.hostile import READ, Hostile
from tests.hostile.over_dicom import by_store, by_stow, is_taken
from tests.hostile.stow import CONTENT_TYPE, body_of, reasons_of
from tests.integration.conftest import Service, write
from tests.integration.examinations import finished, studies_of
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(400)]

_MIB = 1 << 20
# Web, workers and scheduler; none of them ever holds a file, let alone what it swells to.
_MOST_MEMORY = 900 * _MIB
_COMMAND = [sys.executable, "-c", "from fractureai.cli import main; main()"]
# Reading takes as long as the whole chain does; of what is odd but honest, some go all the way and all are decoded in
# tests/hostile.
_READ_IN_FULL = (
    "dicom-text-",
    "dicom-uid-",
    "dicom-preamble-exe",
    "png-long-strip",
    "jpeg-and-zip",
    "tiff-loop",
    "zip-names",
)


def _chosen(*, texts: bool) -> list[Hostile]:
    return [
        entry for entry in catalogue() if entry.expected != READ or (texts and entry.name.startswith(_READ_IN_FULL))
    ]


def _expected(entries: list[Hostile]) -> dict[str, str]:
    return {label: code for entry in entries for label, code in entry.answers().items()}


def _told(expected: Mapping[str, str]) -> dict[str, str]:
    """What is named; what is skipped is only counted."""
    return {name: code for name, code in expected.items() if code != SKIPPED}


def _came_along(entries: list[Hostile]) -> dict[str, str]:
    """As :func:`_expected`, of a folder or an archive that holds them all."""
    no_images = {
        entry.name
        for entry in entries
        if content_of(f"in/{entry.name}", entry.data[:HEAD_BYTES]).content is Content.NO_IMAGE
    }
    return {name: SKIPPED if name in no_images else code for name, code in _expected(entries).items()}


def _codes(results: list[dict[str, object]], refused: list[tuple[str, str]]) -> dict[str, str]:
    """Label to code: of results as they stand, of what was left out by its sentence."""
    found = {str(result["label"]): _code_of(result) for result in results}
    return found | {name: _of_sentence(sentence) for name, sentence in refused}


def _code_of(result: dict[str, object]) -> str:
    reasons: list[Mapping[str, str]] = result["reasons"]  # type: ignore[assignment]
    return READ if result["state"] == "done" else reasons[0]["code"]


def _of_sentence(sentence: str) -> str:
    return next(code for code, known in REASONS.items() if sentence.startswith(known.removesuffix(".")))


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = found.keys() | expected.keys()
    return {name: (found.get(name), expected.get(name)) for name in names if found.get(name) != expected.get(name)}


def test_over_http_every_hostile_file_gets_its_answer(service: Service, tmp_path: Path) -> None:
    entries = _chosen(texts=True)
    files = {entry.name: entry.data for entry in entries} | {
        f"honest-{n}.dcm": phantom_dicom(seed=60 + n) for n in (1, 2)
    }
    before = service.running.supervisor.pids()
    batch_id = service.client.submit_batch(write(tmp_path, files), label='<script>alert("pwned-marker")</script>')
    until(lambda: service.client.batch(batch_id).finished, timeout_s=350, every_s=0.5)
    results, refused, skipped = outcome_of(service.client, [batch_id])
    expected = _expected(entries)
    honest = {f"honest-{number}.dcm": READ for number in (1, 2)}
    assert _differences(_codes(results, refused), _told(expected) | honest) == {}
    assert sum(skipped.values()) == list(expected.values()).count(SKIPPED)
    assert service.running.supervisor.pids() == before, "no process was lost"
    assert _largest(service) < _MOST_MEMORY
    _nothing_speaks(service, batch_id, results)


def test_within_one_archive_every_hostile_file_gets_its_answer(service: Service, tmp_path: Path) -> None:
    entries = [entry for entry in _chosen(texts=False) if isinstance(entry.expected, str)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            archive.writestr(entry.name, entry.data)
        archive.writestr("honest.dcm", phantom_dicom(seed=63))
    batch_id = service.client.submit_batch(write(tmp_path, {"all.zip": stream.getvalue()}))
    until(lambda: service.client.batch(batch_id).finished, timeout_s=350, every_s=0.5)
    results, refused, skipped = outcome_of(service.client, [batch_id])
    # An archive in an archive is left out as one, whatever else it would have been.
    nested = {"packed.gz": "archive_nested", "packed.7z": "archive_nested"}
    expected = {f"all.zip/{name}": nested.get(name, code) for name, code in _came_along(entries).items()}
    assert _differences(_codes(results, refused), _told(expected) | {"all.zip/honest.dcm": READ}) == {}
    assert sum(skipped.values()) == list(expected.values()).count(SKIPPED)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the sender's own, of what it is told to send
@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_over_dicom_every_hostile_file_gets_its_answer(service: Service, way: str) -> None:
    """What is answered at the door is in tests/hostile; here it goes on to a study, and no process minds."""
    at_the_door = {"C-STORE": by_store, "STOW-RS": by_stow}[way]
    entries = {entry.name: entry for entry in _chosen(texts=True)}
    files = {name: entry.data for name, entry in entries.items()} | {
        f"honest-{n}.dcm": phantom_dicom(seed=64 + n + len(way)) for n in (1, 2)
    }
    expected = {name: at_the_door(entry) for name, entry in entries.items()} | dict.fromkeys(list(files)[-2:], READ)
    before = service.running.supervisor.pids()
    if way == "C-STORE":
        told = stored(service.dicom.listener, files)
        assert told == {name: SUCCESS if is_taken(answer) else answer for name, answer in expected.items()}
    else:
        answer = service.client._http.post(
            "/dicomweb/studies", content=body_of(files.values()), headers={"Content-Type": CONTENT_TYPE}
        )
        refused = Counter(answer for answer in expected.values() if not is_taken(answer))
        assert Counter(reasons_of(answer.json())) == {**refused, SUCCESS: len(files) - sum(refused.values())}
    wanted = {name: answer for name, answer in expected.items() if is_taken(answer)}
    ids = until(lambda: studies_of(service, {name: files[name] for name in wanted}), timeout_s=60, every_s=0.5)
    results = until(lambda: finished(service, ids), timeout_s=350, every_s=1)
    assert _differences({name: _code_of(result) for name, result in results.items()}, wanted) == {}
    assert service.running.supervisor.pids() == before, "no process was lost"
    assert _largest(service) < _MOST_MEMORY
    _logs_say_nothing(service)


def test_on_the_command_line_every_hostile_file_gets_its_answer(tmp_path: Path) -> None:
    entries = _chosen(texts=False)
    folder = tmp_path / "in"
    write(folder, {entry.name: entry.data for entry in entries} | {"honest.dcm": phantom_dicom(seed=64)})
    command = [*_COMMAND, "analyze", str(folder), "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=350, check=False)
    assert answer.returncode == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    results = [json.loads(line) for line in answer.stdout.splitlines()]
    lines = answer.stderr.splitlines()
    left_out = [line.removeprefix("left out: ").split(": ", 1) for line in lines if line.startswith("left out: ")]
    found = _codes(results, [(name, sentence) for name, sentence in left_out])
    expected = {f"in/{name}": code for name, code in (_came_along(entries) | {"honest.dcm": READ}).items()}
    assert _differences(found, _told(expected)) == {}
    assert f"skipped: {list(expected.values()).count(SKIPPED)} files" in answer.stderr


def _nothing_speaks(service: Service, batch_id: str, results: list[dict[str, object]]) -> None:
    """What users wrote is text wherever it comes out: on pages, in tables, in logs."""
    http = service.client._http
    page = http.get(f"/batches/{batch_id}").text
    assert "<script>alert(" not in page
    for result in results:
        if str(result["label"]).startswith("dicom-text-"):
            page = http.get(f"/studies/{result['study_id']}").text
            assert "<script>alert('pwned-marker')" not in page
            assert "javascript:alert" not in page.replace("&lt;a href=&#34;javascript:alert", "")
    table = http.get(f"/api/v1/batches/{batch_id}/results.csv").text
    cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "@", "\t"} or "pwned-marker\r" in cell]
    _logs_say_nothing(service)


def _logs_say_nothing(service: Service) -> None:
    for log in (service.running.data_dir / "logs").glob("*.log"):
        text = log.read_text(errors="replace")
        assert "pwned-marker" not in text, f"{log.name} holds what a header said"
        assert "Doe" not in text, f"{log.name} holds a patient's name"


def _largest(service: Service) -> int:
    """The most memory any process of the service has ever had resident, bytes; decoding children aside."""
    peaks = [0]
    for root in service.running.supervisor.pids().values():
        for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
            with contextlib.suppress(psutil.Error, OSError):
                if "fractureai.imaging.child" not in process.cmdline():
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peaks.append(1024 * int(status.split("VmHWM:")[1].split()[0]))
    return max(peaks)
