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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from fractureai.bootstrap import ROLES, Deployment
from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.embedded.supervision import Program, SupervisorClient, supervisor_config, supervisord_command
from fractureai.errors import BrokenDeployment
from fractureai.settings import Settings
from fractureai.tasks.pulse import age_s, beat

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_LOG_TAIL_LINES = 25
_SILENT_S = 90.0
_BEATING = ("inference", "reports", "intake", "scheduler")
"""The programs that say now and then that they get on."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """What the outside may know of a started service."""

    url: str
    data_dir: Path
    supervisor: SupervisorClient
    pulse_dir: Path


@contextlib.contextmanager
def embedded_service(settings: Settings) -> Iterator[RunningService]:
    """Start everything, wait until it answers, and stop it all at the end.

    Raises
    ------
    BrokenDeployment
        If the data folder is in use by another service, the port is taken, or a process will not start; the message
        holds the last lines of its log.
    """
    data_dir = settings.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(data_dir), _run_dir() as run_dir:
        _check_port(settings.web.host, settings.web.port)
        if settings.dicom.port:
            _check_port(settings.dicom.host, settings.dicom.port)
        _check_peers(settings)
        check_access(settings)
        log_dir = data_dir / "logs"
        log_dir.mkdir(exist_ok=True)
        config_file = run_dir / "supervisord.conf"
        config_file.write_text(
            supervisor_config(_programs(settings, data_dir, run_dir), run_dir=run_dir, log_dir=log_dir)
        )
        with (log_dir / "supervisord.out").open("ab") as output:
            process = _start(config_file, output)
        service = RunningService(_url(settings), data_dir, SupervisorClient(run_dir), run_dir / "pulse")
        try:
            _wait_until_ready(service, process)
            yield service
        finally:
            _stop(process)


def check_access(settings: Settings) -> None:
    """Said here, before anything is started, and not in the last words of a web process that would not start."""
    deployment = Deployment(settings)
    if deployment.gate is not None:
        deployment.check_access()
        deployment.ledger.close()


def _check_peers(settings: Settings) -> None:
    """Said here, too: a peers file that is wrong, and a listener that anybody could send to."""
    deployment = Deployment(settings)
    if settings.dicom.port:
        deployment.listener_settings()
    elif settings.dicom.peers_file:
        _ = deployment.peers


def watch(service: RunningService, *, poll_s: float = 1.0) -> None:
    """Return only by an exception: when a process cannot be kept alive, or the user ends the command."""
    while True:
        time.sleep(poll_s)
        _raise_if_broken(service)
        restart_what_stands_still(service)


def restart_what_stands_still(service: RunningService) -> list[str]:
    """Kill processes that run but have not said for long that they get on; supervisord starts them anew.

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
    redis_socket = run_dir / "redis.sock"
    pulse_dir = run_dir / "pulse"
    pulse_dir.mkdir(exist_ok=True)
    for name in _BEATING:
        # One that hangs before it has ever said so is noticed too.
        beat(pulse_dir / name, ahead_s=_START_TIMEOUT_S)
    environment = {
        "FRACTUREAI_DATA_DIR": str(data_dir),
        "FRACTUREAI_QUEUE__URL": settings.queue.url or f"redis+socket://{redis_socket}",
        "FRACTUREAI_LOG_FORMAT": settings.log_format,
        "FRACTUREAI_LOG_LEVEL": settings.log_level,
        "FRACTUREAI_SITE": settings.site,
        "FRACTUREAI_MODELS_DIR": str(settings.models_dir),
        "FRACTUREAI_WEB__HOST": settings.web.host,
        "FRACTUREAI_WEB__PORT": str(settings.web.port),
        "FRACTUREAI_WORK__PULSE_DIR": str(pulse_dir),
        **GRACEFUL,
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
            30,
            environment | {"FRACTUREAI_METRICS__PORT": str(settings.metrics.port)},
        ),
        Program("inference", worker_command("inference"), 20, 60, environment),
        Program("reports", worker_command("reports"), 20, 60, environment),
        # By itself: the unpacking of thousands of files must not hold up the report of a walk-in.
        Program("intake", worker_command("intake"), 20, 60, environment),
        Program("scheduler", [sys.executable, "-m", "workers.scheduler"], 25, 15, environment),
    ]
    if settings.dicom.port:
        programs.append(Program("dicom", [sys.executable, "-m", "workers.dicom"], 28, 15, environment))
    if not settings.queue.url:
        server = find_queue_server(settings.queue.server)
        programs.insert(0, Program("redis", queue_server_command(server, redis_socket, redis_dir), 1))
    return programs


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
    return [sys.executable, "-m", "gunicorn", *options, "workers.web:app"]


GRACEFUL = {"REMAP_SIGTERM": "SIGQUIT"}
"""Environment of a worker. With it, SIGTERM means: finish what runs within the set time, give the rest back, end."""


def worker_command(role: str, *, concurrency: int = 1) -> list[str]:
    """A Celery worker of a role; start it with :data:`GRACEFUL` in its environment."""
    options = [
        "--queues", ",".join(ROLES[role]),
        "--concurrency", str(concurrency),
        "--hostname", f"{role}@%h",
        "--loglevel", "WARNING",
        "--without-gossip",
        "--without-mingle",
    ]  # fmt: skip
    return [sys.executable, "-m", "celery", "-A", f"workers.{role}", "worker", *options]


def _start(config_file: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this command alone, which then stops the processes in order.
    return subprocess.Popen(  # noqa: S603 our own interpreter and file
        supervisord_command(config_file), stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(service: RunningService, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = _tail(service.data_dir / "logs" / "supervisord.out")
            raise BrokenDeployment(f"the process manager did not start:\n{tail}")
        states = _raise_if_broken(service)
        if states and set(states.values()) == {"RUNNING"} and _answers(service.url):
            return
        time.sleep(0.1)
    raise BrokenDeployment(f"the service did not become ready in {_START_TIMEOUT_S:.0f} s; see {service.data_dir}/logs")


def _raise_if_broken(service: RunningService) -> dict[str, str]:
    states = service.supervisor.states()
    for name, state in states.items():
        if state == "FATAL":
            tail = _tail(service.data_dir / "logs" / f"{name}.log")
            raise BrokenDeployment(f"{name} does not stay up; its last words:\n{tail}")
    return states


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _tail(file: Path) -> str:
    if not file.is_file():
        return "(no log)"
    with file.open(errors="replace") as lines:
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
def _locked(data_dir: Path) -> Iterator[None]:
    with (data_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BrokenDeployment(f"another service works in {data_dir}; stop it or choose another --data") from error
        yield


@contextlib.contextmanager
def _run_dir() -> Iterator[Path]:
    """A private folder with a short name: a Unix socket's path may have 107 bytes only."""
    folder = Path(tempfile.mkdtemp(prefix="fractureai-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
