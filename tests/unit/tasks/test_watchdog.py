"""A worker is judged by what it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fractureai.tasks.pulse import age_s, beat
from fractureai.tasks.watchdog import STOOD_STILL, Judge, Sight


def judge() -> Judge:
    return Judge(idle_s=60.0, busy_s=240.0)


def test_a_worker_that_gets_on_is_left_alone() -> None:
    watching = judge()
    assert not any(watching.stands_still(Sight(number, 1, 500), 100.0 * number) for number in range(20))


def test_a_worker_without_work_is_left_alone() -> None:
    watching = judge()
    assert not any(watching.stands_still(Sight(7, 0, 0), 100.0 * number) for number in range(20))
    # What comes in after a long rest is not blamed on the rest.
    assert not watching.stands_still(Sight(7, 0, 5), 2000.0)
    assert watching.stands_still(Sight(7, 0, 5), 2060.0)


def test_a_deaf_worker_stands_still() -> None:
    watching = judge()
    assert not any(watching.stands_still(Sight(3, 0, 500), now_s) for now_s in (0.0, 5.0, 64.0))
    assert watching.stands_still(Sight(3, 0, 500), 65.0)


def test_a_worker_in_the_middle_of_long_work_has_longer() -> None:
    watching = judge()
    assert not any(watching.stands_still(Sight(3, 1, 500), now_s) for now_s in (0.0, 5.0, 244.0))
    assert watching.stands_still(Sight(3, 1, 500), 245.0)


def test_nobody_is_blamed_while_the_queue_is_away() -> None:
    watching = judge()
    assert not any(watching.stands_still(Sight(3, 1, None), 1000.0 * number) for number in range(5))


def test_a_sign_of_life_has_an_age(tmp_path: Path) -> None:
    pulse = tmp_path / "inference"
    assert age_s(pulse) is None
    beat(pulse)
    age = age_s(pulse)
    assert age is not None
    assert 0 <= age < 60
    assert [file.name for file in tmp_path.iterdir()] == ["inference"]


_DEAF = """
import subprocess, sys, time
from fractureai.tasks.watchdog import Judge, Sight, watch
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
watch(lambda: Sight(0, 0, 9), Judge(idle_s=0.2, busy_s=9), every_s=0.05)
time.sleep(600)
"""


def test_a_worker_that_stands_still_ends_with_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", _DEAF], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(60) == STOOD_STILL
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rsplit(") ", 1)[1][0] in "ZX"


_STUBBORN = """
import signal, subprocess, sys, time
from fractureai.tasks.watchdog import end_at_the_latest
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal(signal.SIGTERM, lambda *_: end_at_the_latest(0.2))
print(child.pid, flush=True)
while True:
    time.sleep(600)
"""


def test_a_worker_that_does_not_end_when_told_is_ended_with_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.terminate()
        assert process.wait(60) == STOOD_STILL
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rsplit(") ", 1)[1][0] in "ZX"
