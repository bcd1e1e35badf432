"""An installation as plain processes: Redis, workers, PostgreSQL and S3 behind a bad line, or SQLite and a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx

from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.embedded.service import gunicorn_command
from fractureai.settings import Settings, WebGroup
from tests import postgresql
from tests.chaos.processes import Child, Keeper
from tests.chaos.proxy import Proxy
from tests.integration.waiting import until
from tests.processes import free_port
from tests.s3 import ACCESS_KEY, SECRET_KEY, make_bucket, rclone
from tests.small_models import small_models

_FRACTUREAI = str(Path(sys.executable).parent / "fractureai")
_BUCKET = "chaos-bucket"
_CLOCK_PATCH = Path(__file__).with_name("clock")
_START_TIMEOUT_S = 90.0
_DISK_MIB = 1024

Kind = Literal["s3", "local"]


@dataclass
class World:
    """What faults can reach.

    Attributes
    ----------
    store:
        The folder in which the objects lie, as the server keeps them.
    s3:
        The line to the S3 server; ``None`` with a local store.
    clock:
        Where the offset of the service's clock is written.
    """

    url: str
    folder: Path
    store: Path
    keeper: Keeper
    redis_folder: Path
    redis_socket: Path
    s3: Proxy | None
    clock: Path
    environment: dict[str, str] = field(repr=False)

    def jump_clock(self, seconds: int) -> None:
        """Set the clock of web, workers and schedulers off by so much from the true time."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self.clock)


@contextmanager
def world(kind: Kind, webhook: str, *, inference_workers: int = 2, keep_logs: Path | None = None) -> Iterator[World]:
    """Start everything and wait until it answers; end it all afterwards. The folder stays until the caller is done."""
    # Short: a Unix socket's path may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="fai-chaos-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if keep_logs:
            stack.callback(shutil.copytree, folder / "logs", keep_logs, dirs_exist_ok=True)
        redis_folder, redis_socket = folder / "redis", folder / "redis.sock"
        redis_folder.mkdir()
        environment = _settings(folder, redis_socket, webhook)
        proxy, store = None, folder / "store"
        if kind == "s3":
            proxy, store = _s3(stack, folder, environment)
            environment["FRACTUREAI_LEDGER__URL"] = stack.enter_context(postgresql.running())
        else:
            store.mkdir()
            stack.enter_context(_small_disk(store))
            environment["FRACTUREAI_STORE__PATH"] = str(store)
        clock = _clock(folder, environment)
        port = free_port()
        subprocess.run([_FRACTUREAI, "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
        keeper = Keeper(_children(folder, environment, redis_socket, redis_folder, port, inference_workers))
        stack.callback(keeper.stop)
        keeper.start()
        built = World(
            f"http://127.0.0.1:{port}", folder, store, keeper, redis_folder, redis_socket, proxy, clock, environment
        )
        _wait_until_ready(built)
        yield built


def _settings(folder: Path, redis_socket: Path, webhook: str) -> dict[str, str]:
    secret = folder / "webhook.secret"
    secret.write_bytes(b"only for the tests, not a secret!")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRACTUREAI_")}
    return kept | {
        "FRACTUREAI_DATA_DIR": str(folder / "data"),
        "FRACTUREAI_MODELS_DIR": str(small_models(folder / "models")),
        "FRACTUREAI_QUEUE__URL": f"redis+socket://{redis_socket}",
        "FRACTUREAI_WEBHOOK__URL": webhook,
        "FRACTUREAI_WEBHOOK__SECRET_FILE": str(secret),
        # A receiver that is here all the time is not what is tried; a killed worker's message need not wait for it.
        "FRACTUREAI_WEBHOOK__BACKOFF_S": "2",
        "FRACTUREAI_INFERENCE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _s3(stack: contextlib.ExitStack, folder: Path, environment: dict[str, str]) -> tuple[Proxy, Path]:
    root = folder / "s3"
    root.mkdir()
    server = stack.enter_context(rclone(root))
    make_bucket(server.settings(_BUCKET))
    address = urlsplit(server.endpoint)
    proxy = Proxy((str(address.hostname), int(address.port or 0)))
    stack.callback(proxy.close)
    environment |= {
        "FRACTUREAI_STORE__KIND": "s3",
        "FRACTUREAI_STORE__ENDPOINT": proxy.url,
        "FRACTUREAI_STORE__BUCKET": _BUCKET,
        "FRACTUREAI_STORE__ACCESS_KEY": ACCESS_KEY,
        "FRACTUREAI_STORE__SECRET_KEY": SECRET_KEY,
    }
    return proxy, root / _BUCKET


def _clock(folder: Path, environment: dict[str, str]) -> Path:
    clock = folder / "clock"
    clock.write_text("+0\n")
    environment |= {"PYTHONPATH": str(_CLOCK_PATCH), "CHAOS_CLOCK": str(clock)}
    return clock


def _children(
    folder: Path, environment: dict[str, str], redis_socket: Path, redis_folder: Path, port: int, inference: int
) -> list[Child]:
    (folder / "logs").mkdir()
    settings = Settings(data_dir=folder / "data", web=WebGroup(host="127.0.0.1", port=port))
    worker = [_FRACTUREAI, "worker"]
    roles = ["reports", "intake", "delivery", *("scheduler",) * 2, *("inference",) * inference]

    def child(name: str, command: list[str], surroundings: dict[str, str]) -> Child:
        return Child(name, command, surroundings, folder / "logs" / f"{name}.log")

    children = [
        child("redis", queue_server_command(find_queue_server(), redis_socket, redis_folder), environment),
        child("web", gunicorn_command(settings, folder), environment),
    ]
    for number, role in enumerate(roles):
        children.append(child(f"{role}-{number}", [*worker, role], environment))
    return children


def _wait_until_ready(built: World) -> None:
    def ready() -> bool:
        try:
            return httpx.get(f"{built.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    until(ready, timeout_s=_START_TIMEOUT_S)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, so that it can be full; raises where that is not allowed."""
    allowed = os.geteuid() == 0 and shutil.which("mount")
    mounted = (
        allowed
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        raise RuntimeError("a full disk needs a file system of its own: run as root where mounting is allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
