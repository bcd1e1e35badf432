"""Machines without containers: the units, the proxy and the page, as far as processes go."""

from __future__ import annotations

import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from fractureai.bootstrap import ROLES
from fractureai.settings import load_settings
from tests.deployment import units
from tests.deployment.composed import Composition
from tests.integration.waiting import until
from tests.processes import free_port
from tests.reaper import MARK
from tests.security.test_syslog_tls import certificate

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(300)]

_BIN = Path(sys.executable).parent
_UNITS = sorted(path.name for path in units.SYSTEMD.glob("*.service"))


class Machine:
    """Runs units on the servers of a :class:`Composition`: placeholders for the hospital's own are replaced."""

    def __init__(self, running: Composition, folder: Path, more: dict[str, str]) -> None:
        self.running = running
        self.more = more
        self.folder = folder
        self.ports = {"8000": free_port(), "11112": free_port(), "6379": free_port()}
        self.queue_data = folder / "queue"
        self.queue_data.mkdir()
        text = self._here((units.ROOT / "deploy" / "valkey.conf").read_text())
        (folder / "valkey.conf").write_text(text + "set-proc-title no\n")

    def start(self, unit: str) -> None:
        environment = self.environment(unit)
        self.running.launch(unit, [self._here(word) for word in units.command(unit, environment)], environment)

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A command of the page, with the settings of the services."""
        command = [str(_BIN / words[0]), *words[1:]]
        environment = self.environment("fractureai-migrate.service")
        return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=100)

    def alive(self) -> set[str]:
        """The processes that beat, without the name of the machine."""
        password = (self.running.secrets / "queue_password").read_text()
        with redis.Redis(port=int(self.ports["6379"]), password=password) as client:
            keys = [key.decode() for key in client.keys("fractureai:process:*")]
        return {key.rsplit(":", 1)[1].partition("@")[0] for key in keys}

    def environment(self, unit: str) -> dict[str, str]:
        told = {name: self._here(value) for name, value in units.environment(unit).items()}
        kept = {name: self.running.environment("web")[name] for name in ("PATH", "HOME", MARK)}
        # Metrics of the web only, at a port of the test; the units of one machine have one each.
        port = {"FRACTUREAI_METRICS__PORT": str(free_port())} if "FRACTUREAI_METRICS__PORT" in told else {}
        return {**kept, "CREDENTIALS_DIRECTORY": str(self.running.secrets), **told, **port, **self.more}

    def _here(self, text: str) -> str:
        swaps = {
            "/opt/fractureai/bin": str(_BIN),
            "/etc/fractureai/secrets": str(self.running.secrets),
            "/etc/fractureai/peers.toml": str(units.ROOT / "deploy" / "peers.toml"),
            "/etc/fractureai": str(self.folder),
            "/var/lib/fractureai-queue": str(self.queue_data),
            "/var/lib/fractureai": str(self.folder / "data"),
            "https://s3.hospital.example": f"http://127.0.0.1:{self.running.ports['s3']}",
            "postgresql+psycopg://fractureai@127.0.0.1:5432/fractureai": self.running.ledger_url,
        }
        for before, after in swaps.items():
            text = text.replace(before, after)
        return re.sub(r"\b(8000|11112|6379)\b", lambda port: str(self.ports[port[1]]), text)


@pytest.fixture
def machine(running: Composition, few_models: dict[str, str], tmp_path: Path) -> Iterator[Machine]:
    made = Machine(running, tmp_path, few_models)
    yield made
    started = [name for name in running.processes if name.startswith("fractureai")]
    running.stop(tuple(started), grace_s=60)


def test_the_page_leads_to_an_installation_that_is_well(machine: Machine) -> None:
    """Its units in their order, its commands with their settings; the last one says that all is well."""
    enabled = units.enabled_units()
    roles = {unit.partition("@")[2].removesuffix(".service") for unit in enabled if "@" in unit}
    assert {queue for role in roles if role in ROLES for queue in ROLES[role]} == {
        queue for queues in ROLES.values() for queue in queues
    }, "every queue is served"
    assert {"scheduler"} < roles
    machine.start("fractureai-queue.service")
    commands = [shlex.split(line)[1:] for line in units.page_commands() if line.startswith("sudo fractureai ")]
    *before, last = commands
    assert last == ["fractureai", "status"]
    until(lambda: machine.running.processes["fractureai-queue.service"].poll() is None)
    for words in before:
        done = machine.run(words)
        assert done.returncode == 0, done.stderr
    assert [words[1] for words in before] == ["migrate", "keys"]
    for unit in enabled:
        if unit not in {"fractureai-queue.service", "fractureai-migrate.service"}:
            machine.start(unit)
    key = done.stdout.strip()
    url = f"http://127.0.0.1:{machine.ports['8000']}"
    until(lambda: _is_ready(url), timeout_s=100)
    # As the proxy asks for a client.
    passed = {"Host": "fractureai.hospital.example", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = httpx.get(f"{url}/api/v1/studies", headers={**passed, "Authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.status_code == 200, answer.text
    until(lambda: len(machine.alive()) == len(roles) + 2, timeout_s=100)
    shown = machine.run(last)
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout
    # The number counts the processes of a role on this machine, other tests' too.
    assert {name.rsplit("-", 1)[0] for name in machine.alive()} == {"web", "dicom", *roles}
    assert all(name in shown.stdout for name in machine.alive())
    started = tuple(machine.running.processes[name] for name in machine.running.processes if "fractureai" in name)
    assert all(process.poll() is None for process in started)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", headers={"Host": "localhost"}, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_page_names_what_is_there() -> None:
    page = "\n".join(units.page_commands())
    named = set(re.findall(r"\bdeploy/[\w./@*-]+", page))
    assert {"deploy/make-secrets", "deploy/systemd/fractureai.env", "deploy/nginx/fractureai.conf"} <= named
    assert all(any(units.ROOT.glob(name)) for name in named), named
    assert {unit.partition("@")[0].removesuffix(".service") for unit in units.enabled_units()} == {
        unit.removesuffix("@.service").removesuffix(".service") for unit in _UNITS
    }


def test_the_settings_of_the_machine_are_settings(running: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by systemd and by a shell alike, as the wrapper of the command line does."""
    file = units.SYSTEMD / "fractureai.env"
    shell = subprocess.run(["sh", "-c", f"set -a; . {file}; exec env"], capture_output=True, text=True, check=True)
    told = units.environment_file(file.read_text())
    assert {line for line in shell.stdout.splitlines() if line.startswith("FRACTUREAI_")} >= {
        f"{name}={value}" for name, value in told.items()
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value.replace("/etc/fractureai/secrets", str(running.secrets)))
    settings = load_settings()
    assert settings.web.trusted_hosts == ("fractureai.hospital.example", "localhost", "127.0.0.1")
    assert settings.access.mode == "closed"


@pytest.mark.parametrize("unit", _UNITS)
def test_systemd_takes_every_unit(unit: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze (Debian's package systemd)")
    for file in (*units.SYSTEMD.glob("*.service"), *units.SYSTEMD.glob("*.target")):
        # It looks for the program, which is not installed there.
        text = file.read_text().replace("/opt/fractureai/bin/fractureai", "/bin/true")
        (tmp_path / file.name).write_text(text)
    name = unit.replace("@.", "@inference.")
    done = subprocess.run([program, "verify", tmp_path / name], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", _UNITS)
def test_every_unit_has_as_few_rights_as_it_needs(unit: str) -> None:
    told = units.service(unit)
    assert told["User"] in (["fractureai"], ["fractureai-queue"])
    wanted = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes"}
    assert {name: told[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
    assert told["UMask"] == ["0077"]
    if "fractureai/bin" in told["ExecStart"][0]:
        assert "3" in told["RestartPreventExitStatus"][0].split()
    named = {name for name in units.environment(unit) if name.endswith(("PASSWORD", "KEY", "SECRET"))}
    assert not named, "secrets are files"


def test_nginx_takes_the_proxys_configuration(tmp_path: Path) -> None:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("no nginx (Debian's package nginx)")
    made, key = certificate(tmp_path, "fractureai.hospital.example")
    text = (units.ROOT / "deploy" / "nginx" / "fractureai.conf").read_text()
    text = text.replace("/etc/fractureai/tls/certificate.pem", str(made))
    text = text.replace("/etc/fractureai/tls/key.pem", str(key))
    (tmp_path / "site.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; include {tmp_path}/site.conf; }}\n"
    )
    done = subprocess.run([program, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_secrets_are_readable_only_for_the_group_that_is_named(tmp_path: Path) -> None:
    group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([units.ROOT / "deploy" / "make-secrets", folder, group], check=True, stdout=subprocess.DEVNULL)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder, *folder.iterdir())}
    assert modes.pop("secrets") == 0o750
    assert set(modes.values()) == {0o440}
    assert {file.group() for file in (folder, *folder.iterdir())} == {group}
