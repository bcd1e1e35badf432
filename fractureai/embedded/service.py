"""The whole product on one machine, from one command: Redis, workers, scheduler and web in one data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from fractureai.bootstrap import Deployment
from fractureai.embedded import guardian
from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.embedded.running import announced
from fractureai.embedded.supervision import Program, SupervisorClient, supervisor_config
from fractureai.errors import BrokenDeployment
from fractureai.settings import Settings
from fractureai.tasks.pulse import SILENT_S, age_s, beat
from fractureai.tasks.pulse import states as pulses

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = guardian.STOPPED_WITHIN_S + 20.0
_LOG_TAIL_LINES = 25
_SILENT_S = SILENT_S
_SOCKET = "redis.sock"
_BEATING = ("inference", "reports", "intake", "scheduler")
"""The programs that write heartbeats."""
_FRACTUREAI = (sys.executable, "-P", "-m", "fractureai")


@dataclass(frozen=True, slots=True)
class RunningService:
    """What the outside may know of a started service.

    Attributes
    ----------
    logged_before:
        Bytes that were in each log before it was started, by the file's name.
    """

    url: str
    data_dir: Path
    supervisor: SupervisorClient
    pulse_dir: Path
    logged_before: Mapping[str, int] = field(default_factory=dict)

    def last_words(self, name: str) -> str:
        """The last lines a program has logged since the service was started."""
        return _tail(self.data_dir / "logs" / f"{name}.log", self.logged_before.get(f"{name}.log", 0))

    def check(self) -> dict[str, str]:
        """The states of the programs, as supervisord names them.

        Raises
        ------
        BrokenDeployment
            If one does not stay up, or ended because it cannot work; the message holds its last words.
        """
        states = self.supervisor.states()
        for name, state in states.items():
            if state in {"FATAL", "EXITED"}:
                raise BrokenDeployment(f"{name} does not stay up; its last words:\n{self.last_words(name)}")
        return states


@contextlib.contextmanager
def embedded_service(settings: Settings, *, scratch: Sequence[Path] = ()) -> Iterator[RunningService]:
    """Start everything, wait until all of it is ready, and stop it all at the end.

    It ends with this process, in whatever way that ends.

    Parameters
    ----------
    scratch:
        Folders that are removed if this process is killed.

    Raises
    ------
    BrokenDeployment
        If models are missing, the data folder is in use by another service, the port is taken, or a process will not
        start; the message holds the last lines of its log.
    """
    data_dir = settings.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(data_dir) as lock, _run_dir() as run_dir:
        _check_port(settings.web.host, settings.web.port)
        if settings.dicom.port:
            _check_port(settings.dicom.host, settings.dicom.port)
        check(settings)
        log_dir = data_dir / "logs"
        log_dir.mkdir(exist_ok=True)
        config_file = run_dir / "supervisord.conf"
        config_file.write_text(
            supervisor_config(_programs(settings, data_dir, run_dir), run_dir=run_dir, log_dir=log_dir)
        )
        logged_before = {file.name: file.stat().st_size for file in log_dir.iterdir()}
        with (log_dir / "supervisord.out").open("ab") as output:
            process = _start(config_file, output, lock, (run_dir, *scratch))
        service = RunningService(_url(settings), data_dir, SupervisorClient(run_dir), run_dir / "pulse", logged_before)
        try:
            with announced(data_dir, queue_url=_queue_url(settings, run_dir)):
                _wait_until_ready(service, process)
                yield service
        finally:
            _stop(process)


def check(settings: Settings) -> None:
    """Check what would keep a process from starting: models, the peers file, who may sign in.

    Raises
    ------
    BrokenDeployment
        The message says what to do, where the last words of a process that would not start are many.
    """
    deployment = Deployment(settings)
    deployment.models.check()
    if settings.dicom.port:
        deployment.listener_settings()
    elif settings.dicom.peers_file:
        _ = deployment.peers
    if deployment.gate is not None:
        deployment.check_access()
        deployment.ledger.close()


def watch(service: RunningService, *, poll_s: float = 1.0) -> None:
    """Return only by an exception: when a process cannot be kept alive, or the user ends the command."""
    while True:
        time.sleep(poll_s)
        service.check()
        restart_what_stands_still(service)


def restart_what_stands_still(service: RunningService) -> list[str]:
    """Kill processes that run but have not beaten for long; supervisord restarts them.

    A worker that is deaf ends itself; this is for one that cannot even do that. Returns their names.
    """
    silent = []
    for name, pid in service.supervisor.pids().items():
        pulse = service.pulse_dir / name
        silent_s = age_s(pulse)
        if silent_s is not None and silent_s > _SILENT_S:
            beat(pulse, ahead_s=_START_TIMEOUT_S)
            with contextlib.suppress(ProcessLookupError):
                # Of the group that supervisord made for it: a child that hangs would outlive its parent.
                os.killpg(pid, signal.SIGKILL)
            silent.append(name)
    return silent


def _programs(settings: Settings, data_dir: Path, run_dir: Path) -> list[Program]:
    redis_dir = data_dir / "redis"
    redis_dir.mkdir(exist_ok=True, mode=0o700)
    pulse_dir = run_dir / "pulse"
    pulse_dir.mkdir(exist_ok=True)
    for name in _BEATING:
        # One that hangs before it has ever said so is noticed too.
        beat(pulse_dir / name, ahead_s=_START_TIMEOUT_S)
    environment = {
        "FRACTUREAI_DATA_DIR": str(data_dir),
        "FRACTUREAI_QUEUE__URL": _queue_url(settings, run_dir),
        "FRACTUREAI_LOG_FORMAT": settings.log_format,
        "FRACTUREAI_LOG_LEVEL": settings.log_level,
        "FRACTUREAI_SITE": settings.site,
        "FRACTUREAI_MODELS_DIR": str(settings.models_dir),
        "FRACTUREAI_WEB__HOST": settings.web.host,
        "FRACTUREAI_WEB__PORT": str(settings.web.port),
        "FRACTUREAI_WORK__PULSE_DIR": str(pulse_dir),
        # All count together, and the web shows it all: one place for a machine to be read at.
        "FRACTUREAI_METRICS__DIR": str(run_dir / "metrics"),
        "FRACTUREAI_METRICS__PORT": "0",
        # One image at a time uses both cores in OpenVINO; other libraries' thread pools would only fight it.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # Freed memory goes back to the system: without this glibc keeps an arena for each thread.
        "MALLOC_ARENA_MAX": "2",
    }
    programs = [
        Program(
            "web",
            gunicorn_command(settings, run_dir),
            30,
            environment | {"FRACTUREAI_METRICS__PORT": str(settings.metrics.port)},
        ),
        Program("inference", worker_command("inference"), 60, environment),
        Program("reports", worker_command("reports"), 60, environment),
        # By itself: the unpacking of thousands of files must not hold up the report of a walk-in.
        Program("intake", worker_command("intake"), 60, environment),
        Program("scheduler", worker_command("scheduler"), 15, environment),
    ]
    if settings.dicom.port:
        programs.append(Program("dicom", [*_FRACTUREAI, "dicom", "listen"], 15, environment))
    if not settings.queue.url:
        server = find_queue_server(settings.queue.server)
        programs.insert(
            0, Program("redis", queue_server_command(server, run_dir / _SOCKET, redis_dir), foundation=True)
        )
    return programs


def _queue_url(settings: Settings, run_dir: Path) -> str:
    return settings.queue.url or f"redis+socket://{run_dir / _SOCKET}"


def gunicorn_command(settings: Settings, run_dir: Path) -> list[str]:
    """The web process: threads, because requests wait for disks and the ledger, not for the processor."""
    options = [
        "--bind", f"{settings.web.host}:{settings.web.port}",
        "--workers", "1",
        "--threads", str(settings.web.threads),
        "--worker-class", "gthread",
        "--worker-tmp-dir", str(run_dir),
        "--timeout", "120",
        "--graceful-timeout", "20",
        "--keep-alive", "15",
        "--no-control-socket",
        "--error-logfile", "-",
        "--log-level", "warning",
    ]  # fmt: skip
    return [sys.executable, "-P", "-m", "gunicorn", *options, "fractureai.processes.web:application()"]


def worker_command(role: str, *, concurrency: int = 1) -> list[str]:
    """The command line of a worker or the scheduler."""
    return [*_FRACTUREAI, "worker", role, "--concurrency", str(concurrency)]


def _start(config_file: Path, output: IO[bytes], lock: IO[str], folders: Sequence[Path]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "fractureai.embedded.guardian", str(config_file), *map(str, folders)]
    # A session of its own: Ctrl-C reaches this command alone, which then stops the processes in order. The lock goes
    # along, so that no other service takes the folder while these processes are still stopping.
    return subprocess.Popen(  # noqa: S603 our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True, pass_fds=[lock.fileno()]
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(service: RunningService, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = _tail(service.data_dir / "logs" / "supervisord.out", service.logged_before.get("supervisord.out", 0))
            raise BrokenDeployment(f"the process manager did not start:\n{tail}")
        states = service.check()
        if states and set(states.values()) == {"RUNNING"} and _answers(service.url):
            return
        time.sleep(0.1)
    missing = [name for name, state in pulses(service.pulse_dir).items() if state != "ok"] or ["web"]
    raise BrokenDeployment(
        f"{', '.join(missing)} not ready within {_START_TIMEOUT_S:.0f} s; last words of {missing[0]}:\n"
        f"{service.last_words(missing[0])}"
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _tail(file: Path, after_bytes: int) -> str:
    if not file.is_file():
        return "(no log)"
    with file.open(errors="replace") as lines:
        # A log that is shorter now was started afresh.
        lines.seek(after_bytes if file.stat().st_size >= after_bytes else 0)
        return "".join(deque(lines, _LOG_TAIL_LINES)).rstrip()


def _url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.web.host in {"0.0.0.0", "::"} else settings.web.host  # noqa: S104 compared only
    return f"http://{host}:{settings.web.port}"


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrokenDeployment(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another --port"
            ) from error


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[IO[str]]:
    with (data_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BrokenDeployment(f"another service works in {data_dir}; stop it or choose another --data") from error
        yield lock


@contextlib.contextmanager
def _run_dir() -> Iterator[Path]:
    """A private folder with a short name: a Unix socket's path may have 107 bytes only."""
    folder = Path(tempfile.mkdtemp(prefix="fractureai-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
