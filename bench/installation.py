"""Redis, workers and scheduler as plain processes beside the one that measures, which takes studies in itself.

No web: what it costs to receive a study is measured elsewhere (``bench``, ``bench.load``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from bench.processes import Labels, ProcessTree
from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.domain.records import Priority
from fractureai.domain.study import Batch, SourceImage, Study
from fractureai.domain.study_json import study_to_json
from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.embedded.service import worker_command
from fractureai.errors import TransientFailure
from fractureai.settings import LedgerSettings, QueueGroup, Settings
from fractureai.stages import accept
from fractureai.stages.artifacts import write_json
from tests.chaos.processes import Child, Keeper

SITE = "local"
_LABELS: Labels = (
    ("fractureai.imaging.child", "decoding child"),
    ("worker inference", "inference worker"),
    ("worker reports", "reports worker"),
    ("worker scheduler", "scheduler"),
    ("valkey-server", "redis"),
)
_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 40.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One to start: its role and the cores it is held to; none for any."""

    role: str
    cores: tuple[int, ...] = ()


@dataclass
class Installation:
    """One that runs.

    Attributes
    ----------
    deployment:
        The same store, ledger and queue, for this process.
    """

    deployment: Deployment
    keeper: Keeper
    redis_socket: Path
    folder: Path

    def accept(self, files: Sequence[Path], *, batches_of: int = 0) -> list[str]:
        """Take in a study for each file: as walk-ins, or as bulk in batches of so many. Returns their ids."""
        if not batches_of:
            return [self._walk_in(file) for file in files]
        parts = (files[at : at + batches_of] for at in range(0, len(files), batches_of))
        return [study_id for part in parts for study_id in self._batch(part)]

    def _walk_in(self, file: Path) -> str:
        study = self._study(self.deployment.new_id(), file)
        accept.accept_study(study, self.deployment)
        return study.study_id

    def _batch(self, files: Sequence[Path]) -> list[str]:
        """As the intake does once it has unpacked them."""
        ledger, now_s = self.deployment.ledger, self.deployment.clock()
        batch = Batch(SITE, self.deployment.new_id(), "bulk", now_s, ())
        ledger.accept_batch(batch, publish_due_at_s=now_s + 900)
        claim = ledger.claim_batch(batch.batch_id, owner="bench", now_s=now_s, lease_s=600)
        assert claim is not None
        studies = [self._study(batch.batch_id, file) for file in files]
        for study in studies:
            write_json(self.deployment.store, keys.study_json(SITE, study.study_id), study_to_json(study))
        assert ledger.unpacked(claim, studies, [], now_s=self.deployment.clock(), priority=Priority.BULK)
        return [study.study_id for study in studies]

    def _study(self, batch_id: str, file: Path) -> Study:
        study_id, data = self.deployment.new_id(), file.read_bytes()
        self.deployment.store.put(keys.source(SITE, study_id, 1), data)
        image = SourceImage(1, file.name, len(data), hashlib.sha256(data).hexdigest())
        return Study(SITE, study_id, batch_id, file.name, self.deployment.clock(), (image,))

    def finished(self) -> int:
        """How many studies are final; one row is read."""
        return int((self.ask("SELECT last_number FROM finishes") or [(0,)])[0][0])

    def ask(self, statement: str, **values: Any) -> Sequence[Any]:
        """Rows of the ledger, for what no port tells."""
        engine = self.deployment.ledger._connections.engine()  # type: ignore[attr-defined]
        with engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    def redis(self) -> redis.Redis:
        """A client of its queue."""
        return redis.Redis(unix_socket_path=str(self.redis_socket))

    def trees(self) -> list[ProcessTree]:
        """Of every process that was started."""
        return [ProcessTree(each.process.pid, _LABELS) for each in self.keeper.children if each.process]

    def cpu_s(self) -> Counter[str]:
        """Processor time until now, by label."""
        found: Counter[str] = Counter()
        for tree in self.trees():
            found.update(tree.cpu_s())
        return found

    def memory_mb(self) -> dict[str, dict[str, float]]:
        """Resident and proportional size now, by label."""
        rss: Counter[str] = Counter()
        pss: Counter[str] = Counter()
        for tree in self.trees():
            for label, rss_bytes, pss_bytes in tree.memory():
                rss[label] += rss_bytes
                pss[label] += pss_bytes
        return {label: {"rss": round(rss[label] / 1e6, 1), "pss": round(pss[label] / 1e6, 1)} for label in sorted(rss)}

    def node_names(self, role: str) -> list[str]:
        """Celery's names of the workers of a role, in their order here."""
        names = {each.pid: each.name for each in self.deployment.heartbeats.seen()}
        return [names[child.process.pid] for child in self.keeper.named(f"{role}-") if child.process]

    def restarts(self) -> int:
        """How often one ended and was started again."""
        return sum(each.starts - 1 for each in self.keeper.children)


@contextmanager
def installation(
    workers: Sequence[Worker], models_dir: Path, *, ledger_url: str = "", more: Mapping[str, str] | None = None
) -> Iterator[Installation]:
    """Start it, and end it with the block.

    Parameters
    ----------
    ledger_url:
        By default SQLite in the same folder.
    more:
        Settings as environment variables.
    """
    # Short: a Unix socket's path may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="fai-bench-") as name:
        folder = Path(name)
        socket = folder / "redis.sock"
        for part in ("redis", "logs", "data"):
            (folder / part).mkdir()
        url = f"redis+socket://{socket}"
        settings = Settings(
            data_dir=folder / "data",
            models_dir=models_dir,
            queue=QueueGroup(url=url),
            ledger=LedgerSettings(url=ledger_url),
        )
        deployment = Deployment(settings)
        deployment.ledger.open_count()
        keeper = Keeper(_children(folder, socket, workers, _environment(settings, ledger_url) | dict(more or {})))
        keeper.start()
        try:
            built = Installation(deployment, keeper, socket, folder)
            _wait(built, workers)
            yield built
        finally:
            _end(keeper)
            deployment.ledger.close()


def _end(keeper: Keeper) -> None:
    """Redis last: a worker that cannot give back what it holds takes its time."""
    for child in keeper.children[1:]:
        child.held = True
        if child.process:
            child.process.terminate()
    for child in keeper.children[1:]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if child.process:
                child.process.wait(_STOP_TIMEOUT_S)
    keeper.stop()


def _environment(settings: Settings, ledger_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRACTUREAI_")}
    return kept | {
        "FRACTUREAI_DATA_DIR": str(settings.data_dir),
        "FRACTUREAI_MODELS_DIR": str(settings.models_dir),
        "FRACTUREAI_QUEUE__URL": settings.queue.url,
        "FRACTUREAI_LEDGER__URL": ledger_url,
        "FRACTUREAI_LOG_LEVEL": "WARNING",
        "FRACTUREAI_INFERENCE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",
    }  # fmt: skip


def _children(folder: Path, socket: Path, workers: Sequence[Worker], environment: Mapping[str, str]) -> list[Child]:
    def child(name: str, command: Sequence[str]) -> Child:
        # Two of a role count apart.
        own = {"FRACTUREAI_METRICS__DIR": str(folder / "metrics" / name)}
        return Child(name, command, {**environment, **own}, folder / "logs" / f"{name}.log")

    children = [child("redis", queue_server_command(find_queue_server(), socket, folder / "redis"))]
    for number, worker in enumerate(workers):
        command = worker_command(worker.role)
        if worker.cores:
            command = ["taskset", "--cpu-list", ",".join(map(str, worker.cores)), *command]
        children.append(child(f"{worker.role}-{number}", command))
    return children


def _wait(built: Installation, workers: Sequence[Worker]) -> None:
    """Until every process beats, and every worker that takes messages has asked Redis for one."""
    expected = sum(worker.role != "scheduler" for worker in workers)
    started = {child.process.pid for child in built.keeper.children[1:] if child.process}
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            with built.redis() as client:
                listening = client.info("clients")["blocked_clients"] >= expected
            if listening and started <= {each.pid for each in built.deployment.heartbeats.seen()}:
                return
        except (redis.RedisError, TransientFailure):
            pass
        time.sleep(0.2)
    logs = "\n".join(file.read_text(errors="replace")[-1500:] for file in sorted((built.folder / "logs").iterdir()))
    raise RuntimeError(f"not all workers are listening; the logs' last words:\n{logs}")
