"""Files in over HTTP, results and reports out; and what happens when parts of the service die."""

from __future__ import annotations

import io
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader

from fractureai.commands.submit import results_of
from fractureai.embedded.service import restart_what_stands_still
from fractureai.tasks.pulse import age_s
from tests.bad_files import bad_files, phantom_dicom, sixteen_bit_png
from tests.integration.conftest import Service, write
from tests.integration.waiting import until
from tests.processes import family

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(400)]


def _finish(service: Service, batch_id: str) -> dict[str, dict[str, Any]]:
    """Results of a batch by label, when all are final."""
    until(lambda: service.client.batch(batch_id).finished, timeout_s=240)
    return {result["label"]: result for result in results_of(service.client, batch_id)}


def test_radiographs_become_results_reports_and_pictures(service: Service, tmp_path: Path) -> None:
    files = write(tmp_path, {"hand.dcm": phantom_dicom(), "sixteen.png": sixteen_bit_png()})
    results = _finish(service, service.client.submit_batch(files))
    assert set(results) == {"hand.dcm", "sixteen.png"}
    for result in results.values():
        assert result["state"] == "done"
        assert "region" in result["models"]
    hand = results["hand.dcm"]
    report = PdfReader(io.BytesIO(service.client.artifact(hand["study_id"], "report.pdf")))
    text = "".join(page.extract_text() for page in report.pages)
    assert "not for diagnostic use" in text.lower()
    (image,) = hand["images"]
    assert image["source_px"] == [352, 440]
    for name in image["artifacts"]:
        suffix = "jpg" if name == "overlay" else "png"
        data = service.client.artifact(hand["study_id"], f"images/1/{name}.{suffix}")
        Image.open(io.BytesIO(data)).load()


def test_every_bad_file_gets_its_reason_and_the_honest_one_its_result(service: Service, tmp_path: Path) -> None:
    files = {name: data for name, data, _ in bad_files()} | {"honest.dcm": phantom_dicom(seed=2)}
    # One by one, as studies of their own: files of one examination would otherwise come together.
    batches = {name: service.client.submit_batch([entry]) for name, entry in _each(tmp_path, files)}
    results = {name: next(iter(_finish(service, batch_id).values())) for name, batch_id in batches.items()}
    codes = {name: [reason["code"] for reason in result["reasons"]] for name, result in results.items()}
    assert {name: codes[name] for name, _, _ in bad_files()} == {name: [code] for name, _, code in bad_files()}
    assert results["honest.dcm"]["state"] == "done"
    for name, _, _ in bad_files():
        assert results[name]["state"] == "rejected"
        assert results[name]["assessment"] == "inconclusive"


def _each(folder: Path, files: dict[str, bytes]) -> list[tuple[str, tuple[str, Path]]]:
    return [(entry[0], entry) for entry in write(folder, files)]


def test_no_serving_process_loads_tensorflow(service: Service, tmp_path: Path) -> None:
    _finish(service, service.client.submit_batch(write(tmp_path, {"hand.dcm": phantom_dicom(seed=3)})))
    roots = service.running.supervisor.pids().values()
    mapped = {pid: Path(f"/proc/{pid}/maps").read_text() for root in roots for pid in family(root)}
    assert any("openvino" in maps for maps in mapped.values())
    assert not [pid for pid, maps in mapped.items() if "/site-packages/tensorflow/" in maps]


def test_studies_survive_their_worker(service: Service, tmp_path: Path) -> None:
    files = {f"hand-{seed}.dcm": phantom_dicom(seed=seed) for seed in range(10, 16)}
    batch_id = service.client.submit_batch(write(tmp_path, files))
    until(lambda: service.client.batch(batch_id).counts)
    for name in ("inference", "reports"):
        for pid in family(service.running.supervisor.pids()[name]):
            os.kill(pid, signal.SIGKILL)
    results = _finish(service, batch_id)
    assert {result["state"] for result in results.values()} == {"done"}
    assert len(results) == len(files)


def test_a_worker_that_is_stopped_is_started_anew(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fractureai.embedded.service._SILENT_S", 20.0)
    until(lambda: (age_s(service.running.pulse_dir / "inference") or -1.0) > 0)
    stopped = family(service.running.supervisor.pids()["inference"])
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    files = {f"hand-{seed}.dcm": phantom_dicom(seed=seed) for seed in range(30, 33)}
    batch_id = service.client.submit_batch(write(tmp_path, files))
    until(lambda: "inference" in restart_what_stands_still(service.running), timeout_s=120)
    results = _finish(service, batch_id)
    assert {result["state"] for result in results.values()} == {"done"}
    assert service.running.supervisor.pids()["inference"] not in stopped


def test_studies_survive_the_loss_of_all_of_redis(service: Service, tmp_path: Path) -> None:
    files = {f"hand-{seed}.dcm": phantom_dicom(seed=seed) for seed in range(20, 24)}
    batch_id = service.client.submit_batch(write(tmp_path, files))
    shutil.rmtree(service.running.data_dir / "redis" / "appendonlydir", ignore_errors=True)
    for file in (service.running.data_dir / "redis").glob("*.aof"):
        file.unlink()
    os.kill(service.running.supervisor.pids()["redis"], signal.SIGKILL)
    results = _finish(service, batch_id)
    assert {result["state"] for result in results.values()} == {"done"}
    assert len(results) == len(files)
