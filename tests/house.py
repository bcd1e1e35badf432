"""An installation with studies of patients in it, and its command line: what deleting and restoring are tried on."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fractureai.bootstrap import Deployment
from fractureai.cli import cli
from fractureai.domain import keys
from fractureai.domain.reasons import Reason
from fractureai.domain.study import Batch, Grouping, Study, Upload, WorkState
from fractureai.settings import Settings
from fractureai.storage.ledger.schema import METADATA
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, open_ports, receive

_DAY_S = 86400.0


@dataclasses.dataclass
class House:
    """An installation with studies of patients, and the command line."""

    deployment: Deployment
    ports: WebPorts

    @property
    def ledger(self) -> Any:
        return self.deployment.ledger

    def study(
        self, patient: str = "", *, state: WorkState = WorkState.DONE, batch_id: str | None = None, days_ago: float = 0
    ) -> Study:
        ports = dataclasses.replace(self.ports, clock=lambda: time.time() - days_ago * _DAY_S)
        views = [View("Meier.dcm", probability=0.9)]
        if state is WorkState.OPEN:
            study = receive(ports, views, label="Meier", batch_id=batch_id)
        else:
            study = add(ports, *views, label="Meier", state=state, batch_id=batch_id)
        if patient:
            found = {"images": [{"number": 1, "header": {"patient_id": f"{patient} "}}], "model": {}}
            self.ports.store.put(keys.classification_json("local", study.study_id), json.dumps(found).encode())
        return study

    def rejected(self, *, days_ago: float, unpacked: bool = True) -> str:
        """A batch all of whose files were left out; its id."""
        batch_id, at_s = uuid.uuid4().hex, time.time() - days_ago * _DAY_S
        upload = Upload(1, "Meier.txt", 5, "0" * 64)
        batch = Batch("local", batch_id, "Meier", at_s, (upload,), Grouping.FILE)
        self.ledger.accept_batch(batch, publish_due_at_s=at_s)
        if unpacked:
            claim = self.ledger.claim_batch(batch_id, owner="test", now_s=at_s, lease_s=60)
            self.ledger.unpacked(claim, [], [("Meier.txt", Reason("unknown_type"))], now_s=at_s)
        self.ports.store.put(keys.batch_json("local", batch_id), b"{}")
        self.ports.store.put(keys.batch_upload("local", batch_id, 1), b"hello")
        return batch_id

    def run(self, *arguments: str, given: str = "") -> tuple[int, str]:
        folder = str(self.deployment.settings.data_dir)
        answer = CliRunner().invoke(cli, [*arguments, "--data", folder], input=given)
        return answer.exit_code, answer.output

    def there(self, study: Study) -> bool:
        return self.ledger.study(study.study_id, site="local") is not None

    def traces(self, *idents: str) -> list[str]:
        """Where in ledger and store an id still stands, but for the audit and certificates."""
        found = [key for key in self.ports.store.keys("sites/") if any(ident in key for ident in idents)]
        with self.ledger._connections.read() as connection:
            for table in METADATA.sorted_tables:
                if table.name.startswith("audit"):
                    continue
                for row in connection.execute(table.select()):
                    found += [table.name for ident in idents if ident in str(tuple(row))]
        return found


@contextmanager
def open_house(settings: Settings, folder: Path) -> Iterator[House]:
    """The installation that the settings describe; ``folder`` is for what is no part of it."""
    deployment = Deployment(settings)
    samples = open_ports(folder)
    samples.ledger.close()
    try:
        yield House(deployment, dataclasses.replace(samples, store=deployment.store, ledger=deployment.ledger))
    finally:
        deployment.ledger.close()
