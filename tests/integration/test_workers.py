"""Workers that stand still, are stopped or told to end, and an orchestrator: small networks, all else real."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.installation import Installation, Worker, installation
from bench.load import dicom
from bench.recovery import check
from fractureai.bootstrap import ROLES
from tests.chaos.processes import Child
from tests.integration.waiting import until
from tests.small_models import small_models

pytestmark = [pytest.mark.xdist_group("workers"), pytest.mark.timeout(400)]

_LEASE_S = 8
_STOPPED_WITHIN_S = 60
"""What ``docker-compose.yml`` and the process manager of ``serve`` give a worker between SIGTERM and SIGKILL."""


@pytest.fixture
def running() -> Iterator[Installation]:
    """Two inference workers, a reports worker, a scheduler and Redis; SQLite and a folder."""
    workers = [Worker("inference"), Worker("inference"), Worker("reports"), Worker("scheduler")]
    quickly = {"FRACTUREAI_WORK__LEASE_S": str(_LEASE_S), "FRACTUREAI_WORK__STAND_STILL_S": "5"}
    with (
        tempfile.TemporaryDirectory(prefix="fai-") as folder,
        installation(workers, small_models(Path(folder)), more=quickly) as built,
    ):
        yield built


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    found = [folder / f"{seed}.dcm" for seed in range(4)]
    for seed, file in enumerate(found):
        file.write_bytes(dicom(seed, 256, 224))
    return found


def _take_in(running: Installation, files: list[Path], count: int) -> int:
    """Studies as walk-ins; returns how many will be final then."""
    expected = int(running.ask("SELECT count(*) FROM studies")[0][0]) + count
    running.accept([files[number % len(files)] for number in range(count)])
    return expected


def _all_final_once(running: Installation, expected: int) -> None:
    until(lambda: running.finished() >= expected, timeout_s=180)
    # The last stage is counted just after its study's end.
    with contextlib.suppress(AssertionError):
        until(lambda: not check(running)["wrong"], timeout_s=20)
    assert check(running)["wrong"] == []


def test_workers_told_to_end_lose_nothing_and_repeat_nothing(running: Installation, files: list[Path]) -> None:
    begun = running.finished()
    expected = _take_in(running, files, 60)
    until(lambda: running.finished() > begun + 2, timeout_s=120)
    children = [child for role in ("inference", "reports", "scheduler") for child in running.keeper.named(role)]
    for child in children:
        child.held = True
        _process(child).terminate()
    for child in children:
        _process(child).wait(_STOPPED_WITHIN_S)
    assert running.finished() < expected, "they ended in the middle of it"
    held = running.ask("SELECT study_id FROM studies WHERE lease_owner IS NOT NULL")
    assert not held, "what was begun was finished or given back"
    for child in children:
        child.held = False
    _all_final_once(running, expected)
    assert not running.ask("SELECT study_id FROM events WHERE what = 'retried'")


def test_a_deaf_worker_ends_itself_and_is_started_anew(running: Installation, files: list[Path]) -> None:
    inference = running.keeper.named("inference")
    deaf = {child.name: child.starts for child in inference}
    control = running.deployment.celery.control
    names = running.node_names("inference")
    assert len(set(names)) == 2
    for queue in ROLES["inference"]:
        assert len(control.cancel_consumer(queue, destination=names, reply=True, timeout=30, limit=len(names))) == 2
    expected = _take_in(running, files, 3)
    until(lambda: any(child.starts > deaf[child.name] for child in inference), timeout_s=120)
    _all_final_once(running, expected)


def test_what_a_stopped_worker_held_is_done_by_another_and_once(running: Installation, files: list[Path]) -> None:
    stopped = running.keeper.named("inference")[0]
    expected = _take_in(running, files, 40)
    until(lambda: running.ask("SELECT 1 FROM studies WHERE stage IN ('explain', 'report')"), timeout_s=60)
    stopped.signal_all(signal.SIGSTOP)
    try:
        until(lambda: running.finished() >= expected, timeout_s=180)
    finally:
        stopped.signal_all(signal.SIGCONT)
    # Awake again, it finds that what it held is somebody else's, and goes on with what comes.
    _all_final_once(running, _take_in(running, files, 10))


def test_workers_told_to_end_do_so_while_the_queue_is_away(running: Installation, files: list[Path]) -> None:
    expected = _take_in(running, files, 20)
    (queue,) = running.keeper.named("redis")
    workers = [child for role in ("inference", "reports") for child in running.keeper.named(role)]
    for child in (queue, *workers):
        child.held = True
    _process(queue).kill()
    _process(queue).wait()
    # By then what ran has failed to send its next message; after that, Celery was seen to hang at its end.
    until(lambda: all("Cannot connect" in child.log.read_text(errors="replace") for child in workers))
    for child in workers:
        _process(child).terminate()
    for child in workers:
        _process(child).wait(_STOPPED_WITHIN_S)
    for child in (queue, *workers):
        child.held = False
    until(lambda: running.finished() >= expected, timeout_s=180)
    # Not by the workers' counts: one that had to end itself has not counted what it did last.
    assert check(running)["states"] == {"done": expected}


def _process(child: Child) -> subprocess.Popen[bytes]:
    assert child.process is not None
    return child.process
