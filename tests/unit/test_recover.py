"""`fractureai recover`, beside whatever else there is."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from fractureai.commands.recover import recover
from fractureai.domain.reasons import Reason
from fractureai.domain.study import SourceImage, Stage, Study
from fractureai.storage.ledger.sql import SqlLedger


def test_what_waits_is_due_and_what_is_held_stays_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTUREAI_DATA_DIR", str(tmp_path))
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    now_s = time.time()
    ids = [uuid.uuid4().hex for _ in range(2)]
    for study_id in ids:
        study = Study("local", study_id, uuid.uuid4().hex, "", now_s, (SourceImage(1, "a", 1, "0" * 64),))
        ledger.accept_study(study, publish_due_at_s=now_s + 900)
    held = ledger.claim(ids[0], Stage.CLASSIFY, owner="a", now_s=now_s, lease_s=600)
    waits = ledger.claim(ids[1], Stage.CLASSIFY, owner="b", now_s=now_s, lease_s=600)
    assert held is not None
    assert waits is not None
    assert ledger.retry(waits, Reason("store_unavailable"), now_s=now_s, due_at_s=now_s + 5000, counts=False)
    answer = CliRunner().invoke(recover, [])
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith("1 open studies and batches are due now; 0 were put on the queue")
    assert [due.study_id for due in ledger.due_studies(now_s=time.time(), limit=9)] == [ids[1]]
    ledger.close()
