"""A test run that is killed leaves no server behind."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.integration.waiting import until
from tests.reaper import MARK, marked

_RUN = """
import os, subprocess, sys, time
from tests.reaper import MARK, watch_over_this_run
pipe = watch_over_this_run()
stay = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(stay)
# In a session of its own and left by its parent, as a daemon is.
subprocess.run(["sh", "-c", f"setsid {stay[0]} -c 'import time; time.sleep(600)' &"])
print(os.environ[MARK], flush=True)
time.sleep(600)
"""


def test_a_killed_run_leaves_no_process_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", _RUN], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        mark = run.stdout.readline().strip()
        assert mark.startswith(os.environ[MARK]), "what it starts is reaped with this run, too"
        until(lambda: len(marked(mark)) == 2)
        run.kill()
    until(lambda: marked(mark) == [])
