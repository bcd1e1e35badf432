"""What was acknowledged outlives the ledger too."""

from __future__ import annotations

import shutil
from pathlib import Path

from fractureai.dicom.restore import restore_arrivals
from fractureai.storage.ledger.sql import SqlLedger
from tests.unit.dicom.conftest import Post, radiograph, statuses


def test_images_that_are_no_study_yet_come_back(post: Post, empty_ledger: Path, tmp_path: Path) -> None:
    assert statuses(post.port, [radiograph(), radiograph()]) == [0, 0]
    assert restore_arrivals(post.store, post.ledger, post.quiet) == 0
    known = post.ledger
    shutil.copy(empty_ledger, tmp_path / "anew.sqlite")
    post.ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'anew.sqlite'}")
    post.store.put(f"sites/local/arrivals/00000001/{'a' * 32}", b"no DICOM")
    assert restore_arrivals(post.store, post.ledger, post.quiet) == 2
    assert restore_arrivals(post.store, post.ledger, post.quiet) == 0
    assert post.images() == [("local", 1), ("local", 1)]
    post.ledger.close()
    post.ledger = known
