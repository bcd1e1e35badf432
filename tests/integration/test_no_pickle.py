"""No process of the real service loads a pickle while a study goes through it, but for one that argues itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_files import phantom_dicom
from tests.integration.conftest import Service, write
from tests.integration.pickle_watch import seen
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(300)]

_ROLES = (
    "fractureai.processes.web", "worker inference", "worker intake", "worker reports", "worker scheduler",
    "dicom listen",
)  # fmt: skip
# A Celery worker hands tasks to the process it forked over a pipe that only these two hold, and names the function so.
# What comes from the queue is JSON; what is in it is a value by then and no pickle of a sender's.
_BETWEEN_A_WORKER_AND_ITS_FORK = {"celery.app.trace.fast_trace_task"}


def test_no_pickle_is_loaded_while_a_study_goes_through(service: Service, tmp_path: Path) -> None:
    batch_id = service.client.submit_batch(write(tmp_path, {"hand.dcm": phantom_dicom(seed=40)}))
    until(lambda: service.client.batch(batch_id).finished, timeout_s=200)
    processes = seen(service.pickles)
    commands = [command for command, _ in processes.values()]
    assert [role for role in _ROLES if not any(role in command for command in commands)] == [], "every role is watched"
    asked = {command: classes for command, classes in processes.values() if command and classes}
    assert asked == {}
    forks = [classes for command, classes in processes.values() if not command]
    assert forks, "the watch sees pickles, and goes along with a fork"
    assert set().union(*forks) <= _BETWEEN_A_WORKER_AND_ITS_FORK
