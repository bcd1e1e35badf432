"""A command that is ended, in whatever way, ends what it has started and removes its copies of images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_files import phantom_dicom
from tests.integration.waiting import until
from tests.small_models import small_models

pytestmark = [pytest.mark.xdist_group("interrupted"), pytest.mark.timeout(300)]

_COMMAND = [sys.executable, "-P", "-m", "fractureai"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where commands of the test put what is temporary. Short: a Unix socket's path may have 107 bytes only."""
    folder = Path(f"/tmp/fai-{os.getpid()}")
    folder.mkdir()
    yield folder
    folder.rmdir()


def _start(words: list[str], models: Path, temporary: Path) -> subprocess.Popen[str]:
    environment = {"TMPDIR": str(temporary), "FRACTUREAI_MODELS_DIR": str(models), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*_COMMAND, *words], env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        stdin=subprocess.DEVNULL, cwd=temporary, start_new_session=True,
        # A run under nohup ignores it, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip


def _below(temporary: Path) -> list[int]:
    """Processes that have the folder in their environment."""
    wanted = f"TMPDIR={temporary}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_process_and_no_image(
    number: signal.Signals, models: Path, temporary: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "hand.dcm").write_bytes(phantom_dicom())
    words = ["demo", "--images", str(tmp_path / "images"), "--out", str(tmp_path / "results")]
    process = _start(words, models, temporary)
    # In the middle: SIGTERM and SIGHUP while it starts, the kill while a study may be on its way.
    shown = "sending" if number == signal.SIGKILL else "Starting"
    until(lambda: shown in process.stdout.readline(), every_s=0)
    until(lambda: len(_below(temporary)) > 5)
    process.send_signal(number)
    try:
        ended = process.wait(100)
        assert ended == (-number if number == signal.SIGKILL else 128 + number)
        until(lambda: _below(temporary) == [], timeout_s=100)
        until(lambda: list(temporary.iterdir()) == [])
    finally:
        process.kill()
        process.stdout.close()
    assert not list((tmp_path).glob("results/*"))


def test_an_analysis_that_is_ended_removes_its_copy_of_the_images(
    models: Path, temporary: Path, tmp_path: Path
) -> None:
    for seed in range(12):
        (tmp_path / f"hand-{seed}.dcm").write_bytes(phantom_dicom(seed=seed))
    process = _start(["analyze", str(tmp_path), "--json"], models, temporary)
    until(lambda: process.stdout.readline().startswith("{"), every_s=0)
    assert list(temporary.iterdir())
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    process.stdout.close()
    assert list(temporary.iterdir()) == []
    until(lambda: _below(temporary) == [])
