"""The three that are compared: each a tree of processes that is started, fed with files, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Protocol

import httpx

from bench.figures import Outcome
from bench.processes import Labels

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 90.0
_ANSWER_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subject works: its own folder, and the models."""

    folder: Path
    models_dir: Path


class Subject(Protocol):
    """One of the three, running."""

    title: str
    labels: Labels
    pid: int

    def run(self, files: Sequence[Path], *, senders: int) -> list[Outcome]:
        """Send all files, ``senders`` at a time, and wait for all results."""


class Service:
    """(a) ``fractureai serve``, over HTTP: one study a request, asked as often as its answers advise."""

    title = "service"
    labels: Labels = (
        ("fractureai.imaging.child", "decoding child"),
        ("gunicorn", "web"),
        ("worker inference", "inference worker"),
        ("worker reports", "reports worker"),
        ("worker scheduler", "scheduler"),
        ("valkey-server", "redis"),
        ("supervisor.supervisord", "process manager"),
        ("bin/fractureai", "command"),
    )

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self._url = url

    def run(self, files: Sequence[Path], *, senders: int) -> list[Outcome]:
        """See :class:`Subject`."""
        return _send(files, self._url, senders, _follow_study)


def _follow_study(http: httpx.Client, file: Path) -> Outcome:
    sent_at_s = time.time()
    with file.open("rb") as stream:
        answer = http.post("/api/v1/studies", files={"images": (file.name, stream)}).raise_for_status()
    url = answer.json()["status_url"]
    while "Retry-After" in answer.headers:
        if time.time() > sent_at_s + _ANSWER_TIMEOUT_S:
            raise RuntimeError(f"{file.name} got no result within {_ANSWER_TIMEOUT_S:.0f} s")
        time.sleep(float(answer.headers["Retry-After"]))
        answer = http.get(url).raise_for_status()
    study = answer.json()
    complete = study["state"] == "done" and study["max_fracture_probability"] is not None
    return Outcome(sent_at_s, datetime.fromisoformat(study["finished_at"]).timestamp(), complete)


class InProcess:
    """(b) the same stages in one process."""

    title = "in process"
    labels: Labels = (("fractureai.imaging.child", "decoding child"), ("bench.in_process", "process"))

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def run(self, files: Sequence[Path], *, senders: int) -> list[Outcome]:
        """See :class:`Subject`. One after another: there is no second process to share the work with."""
        del senders
        return [self._analyze(file) for file in files]

    def _analyze(self, file: Path) -> Outcome:
        sent_at_s = time.time()
        print(file, file=_pipe(self._process.stdin), flush=True)
        answer = json.loads(_pipe(self._process.stdout).readline())
        return Outcome(sent_at_s, time.time(), answer["complete"], answer["step_cpu_s"])


class Handler:
    """(c) the plain handler: a request is answered when its report is written."""

    title = "handler"
    labels: Labels = (("gunicorn", "web"),)

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self._url = url

    def run(self, files: Sequence[Path], *, senders: int) -> list[Outcome]:
        """See :class:`Subject`."""
        return _send(files, self._url, senders, _ask_handler)


def _ask_handler(http: httpx.Client, file: Path) -> Outcome:
    sent_at_s = time.time()
    with file.open("rb") as stream:
        answer = http.post("/predict", files={"image": (file.name, stream)}).raise_for_status().json()
    complete = Path(f"{answer['report']}.pdf").is_file()
    return Outcome(sent_at_s, time.time(), complete, answer["step_cpu_s"])


def _send(
    files: Sequence[Path], url: str, senders: int, analyze: Callable[[httpx.Client, Path], Outcome]
) -> list[Outcome]:
    """Send all files, each sender with a connection of its own: a pool that threads share was seen to fail."""
    free: SimpleQueue[httpx.Client] = SimpleQueue()

    def send(file: Path) -> Outcome:
        http = free.get()
        try:
            return analyze(http, file)
        finally:
            free.put(http)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(senders) as pool:
        for _ in range(senders):
            free.put(stack.enter_context(httpx.Client(base_url=url, timeout=_ANSWER_TIMEOUT_S, trust_env=False)))
        return list(pool.map(send, files))


@contextlib.contextmanager
def service(place: Place) -> Iterator[Service]:
    """Start (a)."""
    port = _free_port()
    environment = {
        "FRACTUREAI_DATA_DIR": str(place.folder),
        "FRACTUREAI_MODELS_DIR": str(place.models_dir),
        "FRACTUREAI_WEB__PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with _process([str(Path(sys.executable).with_name("fractureai")), "serve"], place, environment) as process:
        _wait_for(f"{url}/readyz", process, place)
        yield Service(process.pid, url)


@contextlib.contextmanager
def in_process(place: Place) -> Iterator[InProcess]:
    """Start (b), with the service's own settings for libraries' threads and memory."""
    environment = {
        "FRACTUREAI_DATA_DIR": str(place.folder),
        "FRACTUREAI_MODELS_DIR": str(place.models_dir),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    with _process([sys.executable, "-m", "bench.in_process"], place, environment, piped=True) as process:
        if _pipe(process.stdout).readline() != "ready\n":
            raise RuntimeError(f"the stages in one process did not start:\n{_log(place).read_text()[-3000:]}")
        yield InProcess(process)
        _pipe(process.stdin).close()


@contextlib.contextmanager
def handler(place: Place) -> Iterator[Handler]:
    """Start (c): gunicorn with one worker."""
    port = _free_port()
    results = place.folder / "results"
    results.mkdir()
    environment = {
        "BENCH_MODELS": str(place.models_dir),
        "BENCH_RESULTS": str(results),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    options = ["--workers", "1", "--timeout", "600", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    with _process([sys.executable, "-m", "gunicorn", *options, "bench.handler:app"], place, environment) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process, place)
        yield Handler(process.pid, url)


@contextlib.contextmanager
def _process(
    command: Sequence[str], place: Place, environment: dict[str, str], *, piped: bool = False
) -> Iterator[subprocess.Popen[Any]]:
    pipe = subprocess.PIPE if piped else subprocess.DEVNULL
    with _log(place).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe if piped else log,
            stderr=log,
            env=os.environ | environment,
            cwd=Path(__file__).resolve().parent.parent,
            text=piped,
        )
        try:
            yield process
        finally:
            _stop(process, piped=piped)


def _stop(process: subprocess.Popen[Any], *, piped: bool) -> None:
    if not piped:
        process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[Any], place: Place) -> None:
    """Until the server answers anything; ``/readyz`` of the service answers 503 before it is ready."""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=_START_TIMEOUT_S, trust_env=False).status_code < 500:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer; its last words:\n{_log(place).read_text()[-3000:]}")


def _log(place: Place) -> Path:
    return place.folder.with_suffix(".log")


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("this process has no pipes")
    return stream


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
