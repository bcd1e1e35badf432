"""``python -m bench.unit_costs``: what one study asks of the ledger, the bucket and the queue. Feeds ``bench.scaling``.

The real stages in one process, over real PostgreSQL (syncing its disk), a real S3 server and a real Redis: statements,
commits and requests are counted where they leave us, the servers' processor time is read from the system. A worker of
Celery's is not in it; what its Redis commands are is measured with one, beside.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import event

from bench import workload
from bench.__main__ import open_scope
from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.domain.study import SourceImage, Stage, Study, WorkState
from fractureai.embedded.queue_server import find_queue_server
from fractureai.settings import load_settings
from fractureai.stages import accept, classify, detect, explain, report
from fractureai.storage.s3 import S3Store
from tests import postgresql
from tests.s3 import ACCESS_KEY, SECRET_KEY, make_bucket, rclone

_STAGES = (classify, detect, explain, report)
_ROOT = Path(__file__).resolve().parent.parent
_MODELS, _CACHE = _ROOT / "models", _ROOT / ".cache" / "bench"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.unit_costs", description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    chosen = parser.parse_args()
    files = workload.files(chosen.studies, 1, _CACHE / "phantoms")
    # The tests throw their database away and never sync it; here the disk is part of the price.
    postgresql._OPTIONS = tuple(
        each for each in postgresql._OPTIONS if each not in {"fsync=off", "full_page_writes=off"}
    )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fai-costs-")))
        ledger_url = stack.enter_context(postgresql.running())
        (folder / "s3").mkdir()
        s3 = stack.enter_context(rclone(folder / "s3"))
        s3_pid = next(child.pid for child in psutil.Process().children() if child.name() == "rclone")
        make_bucket(s3.settings("bucket"))
        queue = _redis(folder)
        stack.callback(_end, queue)
        # Everything counts as a limb, or a drawing the networks do not know would cost half.
        models = open_scope(_MODELS, folder / "models")
        deployment = _deployment(folder, models, ledger_url, s3.endpoint)
        found = _measure(deployment, files, s3_pid, queue.pid, folder / "redis.sock")
    print(json.dumps(found, indent=1))


def _deployment(folder: Path, models: Path, ledger_url: str, endpoint: str) -> Deployment:
    os.environ |= {
        "FRACTUREAI_DATA_DIR": str(folder),
        "FRACTUREAI_MODELS_DIR": str(models),
        "FRACTUREAI_LEDGER__URL": ledger_url,
        "FRACTUREAI_QUEUE__URL": f"redis+socket://{folder / 'redis.sock'}",
        "FRACTUREAI_STORE__KIND": "s3",
        "FRACTUREAI_STORE__ENDPOINT": endpoint,
        "FRACTUREAI_STORE__BUCKET": "bucket",
        "FRACTUREAI_STORE__ACCESS_KEY": ACCESS_KEY,
        "FRACTUREAI_STORE__SECRET_KEY": SECRET_KEY,
    }
    return Deployment(load_settings())


def _measure(deployment: Deployment, files: list[Path], s3: int, queue: int, socket: Path) -> dict[str, Any]:
    warm, *measured = files
    _through(deployment, warm)
    counts: Counter[str] = Counter()
    engine = deployment.ledger._connections.engine()
    event.listen(engine, "before_cursor_execute", lambda *_: counts.update(["statements"]))
    event.listen(engine, "commit", lambda *_: counts.update(["transactions"]))
    store = deployment.store
    assert isinstance(store, S3Store)
    store._bucket.client.meta.events.register("before-send.s3", lambda request, **_: _request(counts, request))
    database = _server_of(engine)
    before = {"postgresql": _cpu_s(database), "s3": _cpu_s(s3), "redis": _cpu_s(queue)}
    commands = _commands(socket)
    for file in measured:
        _through(deployment, file)
    cpu = {"postgresql": _cpu_s(database), "s3": _cpu_s(s3), "redis": _cpu_s(queue)}
    number = len(measured)
    published = _commands(socket) - commands
    return {
        "studies": number,
        "a_study": {name: round(value / number, 2) for name, value in sorted(counts.items())},
        "redis_commands_to_publish": round(published / number, 1),
        "server_cpu_ms": {name: round((cpu[name] - before[name]) / number * 1e3, 2) for name in cpu},
        "finishes_per_s_of_one_site": {
            str(at_once): round(_finishes(deployment, at_once), 1) for at_once in (1, 4, 16)
        },
    }


def _request(counts: Counter[str], request: Any) -> None:
    counts.update([f"s3_{request.method.lower()}"])
    counts["s3_bytes_sent"] += int(request.headers.get("Content-Length", 0))


def _through(deployment: Deployment, file: Path) -> None:
    study = _accepted(deployment, file.read_bytes())
    for stage in _STAGES:
        result = stage.run(study.study_id, deployment)
        assert result in {"done", "not_due"}, result


def _accepted(deployment: Deployment, data: bytes) -> Study:
    study_id = deployment.new_id()
    stored = deployment.store.put(keys.source("local", study_id, 1), data)
    image = SourceImage(1, "a.dcm", stored.size_bytes, stored.sha256)
    study = Study("local", study_id, deployment.new_id(), "a.dcm", deployment.clock(), (image,))
    accept.accept_study(study, deployment)
    return study


def _finishes(deployment: Deployment, at_once: int, number: int = 200) -> float:
    """Studies of one site brought to their end in a second: they take their places one after another."""
    ledger, clock = deployment.ledger, deployment.clock
    claims = []
    for _ in range(number):
        study_id = deployment.new_id()
        study = Study("local", study_id, deployment.new_id(), "x", clock(), (SourceImage(1, "x", 1, "0" * 64),))
        ledger.accept_study(study, publish_due_at_s=clock() + 900)
        claims.append(ledger.claim(study_id, Stage.CLASSIFY, owner="o", now_s=clock(), lease_s=600))

    def finish(claim: Any) -> None:
        ledger.finish(claim, WorkState.REJECTED, now_s=clock(), assessment=None, region=None,
                      max_fracture_probability=None, reasons=())  # fmt: skip

    with ThreadPoolExecutor(at_once) as pool:
        began_s = time.perf_counter()
        list(pool.map(finish, claims))
        return number / (time.perf_counter() - began_s)


def _server_of(engine: Any) -> int:
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return int(psutil.Process(backend).ppid())


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    each = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in each)


def _commands(socket: Path) -> int:
    with redis.Redis(unix_socket_path=str(socket)) as client:
        return int(client.info("stats")["total_commands_processed"])


def _redis(folder: Path) -> subprocess.Popen[bytes]:
    command = [find_queue_server(), "--port", "0", "--unixsocket", folder / "redis.sock", "--dir", folder]
    process = subprocess.Popen(
        [*map(str, command), "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (folder / "redis.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
