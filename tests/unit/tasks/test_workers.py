"""Worker processes as they are started in earnest."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import redis

from fractureai.domain.study import Stage
from fractureai.embedded.service import worker_command
from fractureai.processes.start import process_name
from fractureai.tasks.app import QueueSettings, create_app
from fractureai.tasks.pipeline import register_tasks
from fractureai.tasks.queue import CeleryQueue
from tests.unit.tasks.test_queue import server

__all__ = ["server"]

CANNOT_WORK = 78


@pytest.mark.timeout(180)
def test_a_worker_whose_parts_are_missing_takes_no_work(server: redis.Redis, tmp_path: Path) -> None:
    server.flushall()
    url = f"redis+socket://{server.connection_pool.connection_kwargs['path']}"
    app = create_app(QueueSettings(url))
    register_tasks(app, lambda: None)  # type: ignore[arg-type, return-value]
    queue = CeleryQueue(app)
    queue.publish_study(uuid.uuid4().hex, Stage.CLASSIFY)
    (tmp_path / "models").mkdir()
    environment = {
        **os.environ,
        "FRACTUREAI_QUEUE__URL": url,
        "FRACTUREAI_DATA_DIR": str(tmp_path),
        "FRACTUREAI_MODELS_DIR": str(tmp_path / "models"),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(worker_command("inference"), env=environment, stdout=log, stderr=log)
        try:
            assert process.wait(150) == CANNOT_WORK
        finally:
            process.kill()
            process.wait()
    assert "takes no work" in (tmp_path / "log").read_text(errors="replace")
    depths = queue.depths()
    assert depths.waiting["classify"] + depths.unacknowledged == 1
    app.close()


def test_two_processes_of_a_role_on_one_machine_have_names_of_their_own() -> None:
    role = f"role-{uuid.uuid4().hex[:8]}"
    told = f"from fractureai.processes.start import process_name; print(process_name({role!r}), flush=True); input()"
    command = [sys.executable, "-c", told]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second,
    ):
        names = {process.stdout.readline().partition("@")[0] for process in (first, second) if process.stdout}
        assert names == {f"{role}-1", f"{role}-2"}
        for process in (first, second):
            process.kill()
    assert process_name(role).startswith(f"{role}-1@"), "a name is free again when its process is gone"
