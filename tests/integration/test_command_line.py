"""The commands as a person types them: what they print, what they leave, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fractureai.domain import keys
from fractureai.domain.study import SourceImage, Study
from fractureai.domain.study_json import study_to_json
from fractureai.stages.artifacts import write_json
from fractureai.storage.local import LocalStore
from tests.bad_files import bad_files, phantom_dicom, sixteen_bit_png
from tests.integration.conftest import Service, write
from tests.integration.waiting import until
from tests.processes import free_port
from tests.small_models import small_models, spoil_network

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(400)]

_COMMAND = [sys.executable, "-c", "from fractureai.cli import main; main()"]


def _run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *map(str, words)], capture_output=True, text=True, timeout=150, check=False, cwd=cwd
    )


def test_analyze_gives_every_bad_file_its_reason_and_reads_the_honest_ones(tmp_path: Path) -> None:
    files = {name: data for name, data, _ in bad_files()}
    # Of one examination with the honest file, so that they would come together as one study.
    together = {"truncated.dcm", "ct.dcm", "no-pixels.dcm"}
    folder = tmp_path / "in"
    write(folder, {name: data for name, data in files.items() if name not in together})
    latin_1 = b"M\xfcller.dcm".decode("utf-8", "surrogateescape")
    write(folder, {"honest.dcm": phantom_dicom(), "sixteen.png": sixteen_bit_png(), latin_1: phantom_dicom(seed=9)})
    write(folder, {"README": b"Read me.", f"{'n' * 251}.png": b"\0\1"})
    answer = _run("analyze", folder, "--json", "--out", tmp_path / "out", "--dicom")
    assert answer.returncode == 1, answer.stderr
    results = {result["label"].removeprefix("in/"): result for result in map(json.loads, answer.stdout.splitlines())}
    expected = {name: code for name, _, code in bad_files() if name not in together}
    assert {name: results[name]["reasons"][0]["code"] for name in expected} == expected
    assert results[f"{'n' * 251}.png"]["reasons"][0]["code"] == "unknown_type"
    assert "skipped: 1 file that is not an image (1 text)" in answer.stderr
    for name in ("honest.dcm", "sixteen.png", "Müller.dcm"):
        assert results[name]["state"] == "done"
        (image,) = results[name]["images"]
        keys = {"file", "region", "in_scope", "assessment", "reasons", "fracture_probability", "roi_px"}
        assert keys <= set(image)
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert sum(name.endswith(".pdf") for name in left) == 3
    objects = [entry["name"] for entry in results["honest.dcm"]["dicom_objects"]]
    assert {"sr", "summary", "pdf"} <= set(objects)
    ends = {f"-{name}.dcm" for name in objects}
    assert len([name for name in left if name.startswith("in_honest") and any(map(name.endswith, ends))]) == len(
        objects
    )
    assert results["sixteen.png"]["no_dicom"]["code"] == "no_dicom_source"


def test_analyze_shows_a_table_and_ends_well(tmp_path: Path) -> None:
    write(tmp_path, {"honest.dcm": phantom_dicom()})
    answer = _run("analyze", tmp_path / "honest.dcm")
    assert answer.returncode == 0, answer.stderr
    assert "honest.dcm" in answer.stdout
    assert "Not for diagnostic use" in answer.stdout


def test_submit_waits_for_the_results(service: Service, tmp_path: Path) -> None:
    write(tmp_path, {"hand.dcm": phantom_dicom(seed=5), "text.png": b"no picture at all"})
    answer = _run("submit", tmp_path, "--url", service.url, "--wait", "--json")
    assert answer.returncode == 1, answer.stderr
    states = {
        json.loads(line)["label"].rsplit("/", 1)[-1]: json.loads(line)["state"] for line in answer.stdout.splitlines()
    }
    assert states == {"hand.dcm": "done", "text.png": "rejected"}


def test_submit_says_when_nobody_is_there(tmp_path: Path) -> None:
    write(tmp_path, {"hand.dcm": b"x"})
    answer = _run("submit", tmp_path / "hand.dcm", "--url", f"http://127.0.0.1:{free_port()}")
    assert answer.returncode == 4
    assert "could not be reached" in answer.stderr or "server_unreachable" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "words", [("analyze", "no-such-file"), ("analyze", ".", "--dicom"), ("analyze",), ("worker",), ("nonsense",)]
)
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...]) -> None:
    answer = _run(*words)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_models_are_what_their_cards_say() -> None:
    assert _run("models", "verify").returncode == 0
    listed = _run("models", "list").stdout
    for name in ("region", "fracture-elbow", "fracture-hand", "fracture-shoulder", "fracture-hip", "fracture-leg"):
        assert name in listed


def test_serve_refuses_a_folder_in_use(service: Service) -> None:
    answer = _run("serve", "--data", service.running.data_dir, "--port", str(free_port()))
    assert answer.returncode == 3
    assert "another service works in" in answer.stderr


def test_serve_refuses_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = _run("serve", "--data", tmp_path / "data", "--port", str(taken.getsockname()[1]))
    assert answer.returncode == 3
    assert "choose another --port" in answer.stderr


@pytest.mark.parametrize("command", [("serve",), ("demo",), ("analyze", "hand.dcm"), ("worker", "inference")])
def test_a_command_without_models_ends_with_the_reason(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTUREAI_MODELS_DIR", str(tmp_path / "none"))
    write(tmp_path, {"hand.dcm": phantom_dicom()})
    answer = _run(*command, cwd=tmp_path)
    assert answer.returncode == (78 if command[0] == "worker" else 3)
    assert re.search(r"The folder of models \S+/none is missing\. Copy the models there", answer.stderr)
    assert answer.stderr.count("\n") == 1
    assert "http://" not in answer.stdout


def test_a_worker_that_cannot_load_a_model_ends_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are what the cards say; only the engine can tell that one is no model."""
    models = small_models(tmp_path / "models")
    spoil_network(models)
    monkeypatch.setenv("FRACTUREAI_MODELS_DIR", str(models))
    answer = _run("serve", "--data", tmp_path / "data", "--port", str(free_port()))
    assert answer.returncode == 3
    assert "inference does not stay up" in answer.stderr
    assert "OpenVINO cannot use" in answer.stderr
    assert "http://" not in answer.stdout, "an address of what does not work"
    assert not _processes_in(tmp_path / "data")


def test_a_wrong_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTUREAI_WEB__PORTT", "1")
    monkeypatch.setenv("FRACTUREAI_NONSENSE", "1")
    answer = _run("models", "list")
    assert answer.returncode == 3
    assert "FRACTUREAI_NONSENSE" in answer.stderr
    monkeypatch.delenv("FRACTUREAI_NONSENSE")
    answer = _run("models", "list")
    assert answer.returncode == 3
    assert "portt" in answer.stderr


def test_serve_ends_all_its_processes_on_ctrl_c(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = subprocess.Popen(
        [*_COMMAND, "serve", "--data", str(data), "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        until(lambda: "Ctrl-C" in process.stdout.readline(), every_s=0)
        workers = _processes_in(data)
        assert len(workers) >= 5
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not _processes_in(data)


def _processes_in(data: Path) -> list[int]:
    """Processes that were given this data folder in their environment."""
    wanted = f"FRACTUREAI_DATA_DIR={data.resolve()}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_the_demo_reads_its_own_phantoms(tmp_path: Path) -> None:
    answer = _run("demo", "--out", tmp_path / "results", cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Results" in answer.stdout
    assert list((tmp_path / "results").glob("*.pdf"))
    assert list((tmp_path / "results").glob("*-overlay.jpg"))


def test_a_lost_ledger_comes_back_from_the_store(tmp_path: Path) -> None:
    store, study_id = LocalStore(tmp_path / "store"), "0123456789abcdef" * 2
    stored = store.put(keys.source("local", study_id, 1), phantom_dicom())
    image = SourceImage(1, "hand.dcm", stored.size_bytes, stored.sha256)
    study = Study("local", study_id, study_id, "hand.dcm", 1_000_000.0, (image,))
    write_json(store, keys.study_json("local", study_id), study_to_json(study))
    first, second = (_run("rebuild", "--data", tmp_path) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "1 open and 0 finished" in first.stdout
    assert "0 open and 0 finished" in second.stdout
