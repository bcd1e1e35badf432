"""What docs/privacy.md has an operator type for a backup and for bringing it back, run as it stands there.

On both set-ups: one folder with SQLite; PostgreSQL and S3, each a real server, and a second S3 server for the backup.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from fractureai.domain.ports import ObjectStore
from fractureai.domain.records import Agreement, Verdict
from fractureai.domain.study import WorkState
from fractureai.settings import load_settings
from fractureai.upkeep import migrate, seal_audit
from tests import postgresql
from tests.house import House, open_house
from tests.s3 import ACCESS_KEY, SECRET_KEY, S3Server, rclone

pytestmark = pytest.mark.timeout(120)

_PRIVACY = Path(__file__).parents[2] / "docs" / "privacy.md"
_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@dataclass(frozen=True)
class Place:
    """Where an installation is, and what its operator types. All of it is in the environment, as for the operator.

    Attributes
    ----------
    folder:
        Below it are the folders that the document names from the root.
    backup, restore:
        The commands.
    restored:
        The settings that lead to what was brought back.
    """

    folder: Path
    backup: str
    restore: str
    restored: Mapping[str, str]

    def back_up(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The ledger, then the store; ``meanwhile`` happens in between."""
        ledger, store = re.split(r"^(?=rsync|rclone)", self.backup, flags=re.MULTILINE)
        self._type(ledger).check_returncode()
        meanwhile()
        self._type(store).check_returncode()

    def bring_back(self) -> subprocess.CompletedProcess[str]:
        """Its exit code is that of the last command, the audit's check; each before must succeed."""
        return self._type(self.restore)

    @contextmanager
    def opened(self) -> Iterator[House]:
        """What was brought back."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.restored.items():
                environment.setenv(name, value)
            with open_house(load_settings(), self.folder / "samples-restored") as house:
                yield house

    def _type(self, commands: str) -> subprocess.CompletedProcess[str]:
        here = re.sub(r"(?<=[\s='])(?=/(?:backup|restored|run/secrets|somewhere/else)\b)", str(self.folder), commands)
        done = subprocess.run(
            ["bash", "-euc", here], cwd=self.folder, env={**os.environ, "PATH": _PATH}, capture_output=True, text=True,
            timeout=100,
        )  # fmt: skip
        print(done.stderr)  # what pytest shows where a test fails
        return done


@pytest.fixture(params=["folder", "hospital"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for folder in ("backup", "run/secrets", "somewhere/else"):
        (tmp_path / folder).mkdir(parents=True)
    with ExitStack() as servers:
        if request.param == "folder":
            yield _one_folder(tmp_path, monkeypatch)
        else:
            yield _hospital(tmp_path, monkeypatch, servers)


def _one_folder(folder: Path, environment: pytest.MonkeyPatch) -> Place:
    _need("sqlite3", "rsync")
    environment.setenv("FRACTUREAI_DATA_DIR", str(folder / "fractureai-data"))
    restored = {"FRACTUREAI_DATA_DIR": str(folder / "restored")}
    return Place(folder, _commands("VACUUM INTO"), _commands("cp /backup/ledger.sqlite"), restored)


def _hospital(folder: Path, environment: pytest.MonkeyPatch, servers: ExitStack) -> Place:
    _need("rclone")
    if reason := postgresql.missing():
        pytest.skip(reason)
    for name in ("audit_secret", "web_secret"):
        (folder / "run" / "secrets" / name).write_bytes(os.urandom(32))
    for remote in ("hospital", "backup"):
        (folder / f"s3-{remote}").mkdir()
    server = make_url(servers.enter_context(postgresql.running()))
    s3, elsewhere = (servers.enter_context(rclone(folder / f"s3-{remote}")) for remote in ("hospital", "backup"))
    settings = {
        "PGHOST": str(server.query["host"]),
        "PGUSER": str(server.username),
        "FRACTUREAI_DATA_DIR": str(folder / "scratch"),
        "FRACTUREAI_LEDGER__URL": "postgresql+psycopg:///fractureai",
        "FRACTUREAI_STORE__KIND": "s3",
        "FRACTUREAI_STORE__ENDPOINT": s3.endpoint,
        "FRACTUREAI_STORE__ACCESS_KEY": ACCESS_KEY,
        "FRACTUREAI_STORE__SECRET_KEY": SECRET_KEY,
        "FRACTUREAI_AUDIT__SECRET_FILE": str(folder / "run/secrets/audit_secret"),
        "RCLONE_CONFIG": "/dev/null",
        **_remote("HOSPITAL", s3),
        **_remote("BACKUP", elsewhere),
    }
    for name, value in settings.items():
        environment.setenv(name, value)
    subprocess.run(["createdb", "fractureai"], check=True)
    restored = {
        "FRACTUREAI_LEDGER__URL": "postgresql+psycopg:///fractureai_restored",
        "FRACTUREAI_STORE__BUCKET": "fractureai-restored",
        "FRACTUREAI_AUDIT__SECRET_FILE": str(folder / "somewhere/else/audit_secret"),
    }
    return Place(folder, _commands("pg_dump"), _commands("pg_restore"), restored)


def _remote(name: str, server: S3Server) -> dict[str, str]:
    """What ``rclone config`` would write."""
    said = {
        "TYPE": "s3",
        "PROVIDER": "Rclone",
        "ENDPOINT": server.endpoint,
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
    }
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in said.items()}


def _need(*programs: str) -> None:
    for name in programs:
        if not shutil.which(name, path=_PATH):
            pytest.skip(f"no {name}")


def _commands(word: str) -> str:
    """The one block of commands in the document that has ``word``."""
    blocks = re.findall(r"```sh\n(.*?)```", _PRIVACY.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    with open_house(load_settings(), place.folder / "samples") as opened:
        migrate(opened.deployment, create_bucket=True)
        yield opened


def _content(store: ObjectStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.keys("")}


def test_a_backup_brings_everything_back(house: House, place: Place) -> None:
    early, deleted = house.study("P1"), house.study("P2")
    reader = Verdict(early.study_id, time.time(), "Dr Who", Agreement.AGREE, None, None, "seen")
    house.ledger.add_verdict(reader, site="local")
    house.deployment.note_start()
    seal_audit(house.deployment)
    place.back_up()
    # The next night. What went by day must not come back out of the night before.
    assert house.run("patients", "delete", given="P2\n")[0] == 0
    late = []
    place.back_up(lambda: late.extend([house.study("P3"), house.study("P4", state=WorkState.OPEN)]))
    kept = _content(house.deployment.store)

    done = place.bring_back()
    assert done.returncode == 0
    assert done.stdout.startswith("0 batches, 1 open and 1 finished studies were brought back")
    with place.opened() as restored:
        assert [restored.there(study) for study in (early, *late, deleted)] == [True, True, True, False]
        assert restored.traces(deleted.study_id) == []
        (verdict,) = restored.ledger.verdicts(early.study_id, site="local")
        assert (verdict.reader, verdict.comment) == ("Dr Who", "seen")
        assert _content(restored.deployment.store) == kept
        # It is an installation like any other: what came back is worked on, and patients are still known.
        (again,) = [row for row in restored.ledger.studies(site="local").rows if row.study_id == late[1].study_id]
        assert again.state is WorkState.OPEN
        assert restored.run("patients", "delete", given="P1\n")[0] == 0
        assert not restored.there(early)
        assert house.there(early)


def test_what_a_backup_lacks_of_the_audit_is_told(house: House, place: Place) -> None:
    house.deployment.note_start()
    seal_audit(house.deployment)

    def go_on() -> None:
        house.deployment.note_start()
        house.deployment.note_start()
        seal_audit(house.deployment)

    place.back_up(go_on)
    done = place.bring_back()
    assert done.returncode == 1
    assert "local: records 2 to 3 are missing: the end was cut off\n" in done.stdout
