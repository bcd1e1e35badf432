"""Batches become studies, the same ones however often it is tried; accepting needs no queue."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import replace

import pytest

from fractureai.domain import keys
from fractureai.domain.contents import DICOM_DIRECTORY, SKIPPED
from fractureai.domain.ports import QueueLine
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Priority
from fractureai.domain.study import Grouping, Stage, WorkState
from fractureai.domain.study_json import study_from_json
from fractureai.errors import TransientFailure
from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.stages import accept, intake, reconcile
from fractureai.stages.artifacts import read_json
from tests.pictures import png
from tests.unit.stages.conftest import House

SOON_S = 6.0
"""Longer than a message may be on its way."""


def _zip(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def _dicom(study: str, instance: int) -> bytes:
    phantom = render(PhantomSpec("hand", "frontal", fractured=False, seed=instance, height_px=160, width_px=128))
    uid = f"1.2.826.0.1.3680043.10.1.{study}"
    return to_dicom(
        phantom, study_uid=uid, series_uid=f"{uid}.1", sop_uid=f"{uid}.1.{instance}", instance_number=instance
    )


def test_files_and_archives_become_studies(house: House) -> None:
    batch = house.batch(
        ("one.png", png()),
        ("more.zip", _zip(("a/two.png", png(seed=2)), ("a/__MACOSX/x", b"junk"), ("three.png", png(seed=3)))),
    )
    assert intake.run(batch.batch_id, house) == "done"
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert row.counts[WorkState.OPEN] == 3
    assert (row.rejected_uploads, row.skipped) == ((), {"system file": 1})
    labels = {study.label for study in house.ledger.studies(site="local").rows}
    assert labels == {"one.png", "more.zip/a/two.png", "more.zip/three.png"}
    assert len(house.queue.sent) == 3


def test_views_of_one_examination_come_together_across_files_and_archives(house: House) -> None:
    batch = house.batch(
        ("a.dcm", _dicom("7", 1)), ("b.zip", _zip(("deep/b.dcm", _dicom("7", 2)))), ("c.dcm", _dicom("8", 3))
    )
    assert intake.run(batch.batch_id, house) == "done"
    counts = sorted(study.image_count for study in house.ledger.studies(site="local").rows)
    assert counts == [1, 2]


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_padding_of_a_study_uid_makes_no_second_study_and_a_zero_does(house: House) -> None:
    uid = b"1.2.826.0.1.3680043.10.1.7"
    one, two = _dicom("7", 1), _dicom("7", 2)
    field = b"\x20\x00\x0d\x00UI\x1a\x00" + uid
    assert len(uid) % 2 == 0
    assert field in two
    padded = two.replace(field, field.replace(b"\x1a", b"\x1c") + b"\0 ")
    zero = _dicom("07", 3)
    batch = house.batch(("a.dcm", one), ("b.dcm", padded), ("c.dcm", zero))
    assert intake.run(batch.batch_id, house) == "done"
    assert sorted(study.image_count for study in house.ledger.studies(site="local").rows) == [1, 2]


def test_the_same_bytes_twice_are_one_view(house: House) -> None:
    same = _dicom("7", 1)
    batch = house.batch(("a.dcm", same), ("copy of a.dcm", same))
    assert intake.run(batch.batch_id, house) == "done"
    assert [study.image_count for study in house.ledger.studies(site="local").rows] == [1]


def test_a_folder_is_a_study_if_the_sender_sorted_so(house: House) -> None:
    batch = house.batch(
        ("ward/1/a.png", png(seed=1)),
        ("ward/1/b.png", png(seed=2)),
        ("ward/1/b again.png", png(seed=2)),
        ("ward/2/a.png", png(seed=1)),
        ("alone.png", png(seed=3)),
        ("more.zip", _zip(("3/a.png", png(seed=4)), ("3/b.png", png(seed=5)), ("4.png", png(seed=6)))),
        ("ward/1/c.dcm", _dicom("7", 1)),
        grouping=Grouping.FOLDER,
    )
    assert intake.run(batch.batch_id, house) == "done"
    counts = {study.label: study.image_count for study in house.ledger.studies(site="local").rows}
    assert counts == {"ward/1": 2, "ward/2": 1, "alone.png": 1, "more.zip/3": 2, "more.zip": 1, "ward/1/c.dcm": 1}
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert [name for name, _ in row.rejected_uploads] == ["ward/1/b again.png"]


def test_views_come_together_by_what_their_names_share(house: House) -> None:
    batch = house.batch(
        ("ward/12_front.png", png(seed=1)),
        ("ward/12_SIDE.png", png(seed=2)),
        ("other/12_front.png", png(seed=3)),
        ("ward/odd.png", png(seed=4)),
        ("more.zip", _zip(("a_b_1.png", png(seed=5)), ("A_b_2.png", png(seed=6)))),
        ("ward/12_c.dcm", _dicom("7", 1)),
        grouping=Grouping.PATTERN,
        pattern="{study}_*",
    )
    assert intake.run(batch.batch_id, house) == "done"
    counts = {study.label: study.image_count for study in house.ledger.studies(site="local").rows}
    assert counts == {
        "ward/12": 2,
        "other/12": 1,
        "ward/odd.png": 1,
        "more.zip/a_b": 2,
        "ward/12_c.dcm": 1,
    }


def test_all_of_a_batch_may_be_one_study(house: House) -> None:
    files = (("a.png", png(seed=1)), ("b.dcm", _dicom("7", 1)), ("c.dcm", _dicom("8", 1)), ("a again.png", png(seed=1)))
    batch = house.batch(*files, grouping=Grouping.STUDY)
    assert intake.run(batch.batch_id, house) == "done"
    (study,) = house.ledger.studies(site="local").rows
    assert (study.label, study.image_count) == ("a batch", 3)


def test_an_intake_that_runs_twice_makes_the_same_studies(house: House) -> None:
    batch = house.batch(("one.png", png()), ("two.zip", _zip(("two.png", png(seed=2)))))
    first, _ = intake.unpack(batch, house)
    second, _ = intake.unpack(batch, house)
    assert first == second
    stored = read_json(house.store, keys.study_json("local", first[0].study_id))
    assert study_from_json(stored) == first[0]


def test_a_damaged_archive_is_left_out_with_its_reason(house: House) -> None:
    whole = _zip(("two.png", png(seed=2)))
    batch = house.batch(("one.png", png()), ("broken.zip", whole[: len(whole) // 2]))
    assert intake.run(batch.batch_id, house) == "done"
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert row.counts[WorkState.OPEN] == 1
    assert [(name, reason.code) for name, reason in row.rejected_uploads] == [("broken.zip", "damaged")]


def test_an_outage_while_unpacking_costs_no_attempt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = house.batch(("one.png", png()))

    def away(*_: object) -> None:
        raise TransientFailure("store_unavailable")

    with monkeypatch.context() as outage:
        outage.setattr(house.store, "as_file", away)
        for _ in range(6):
            assert intake.run(batch.batch_id, house) == "retry"
            house.now_s += 1.5 * house.policy.longest_wait_s
    assert intake.run(batch.batch_id, house) == "done"


def test_a_batch_that_never_unpacks_fails_with_its_reason(house: House) -> None:
    batch = house.batch(("one.png", png()))
    house.archives = None  # type: ignore[assignment]
    answers = []
    for _ in range(3):
        answers.append(intake.run(batch.batch_id, house))
        house.now_s += 60
    assert answers == ["retry", "retry", "failed"]
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert row.state is WorkState.FAILED
    assert intake.run(batch.batch_id, house) == "not_due"


def test_accepting_goes_on_while_the_queue_is_away(house: House) -> None:
    house.queue.away = True
    study = house.study(png())
    accept.accept_study(study, house)
    assert house.ledger.study(study.study_id, site="local") is not None
    assert reconcile.run(house) == 0
    house.queue.away = False
    house.now_s += SOON_S
    assert reconcile.run(house) == 1
    assert house.queue.sent == [(study.study_id, "classify")]


def test_accepting_is_refused_while_the_store_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    study = house.study(png())

    def away(*_: object) -> None:
        raise TransientFailure("store_unavailable")

    monkeypatch.setattr(house.store, "put", away)
    with pytest.raises(TransientFailure):
        accept.accept_study(study, house)
    assert house.ledger.study(study.study_id, site="local") is None


def test_what_was_sent_before_the_next_in_line_is_lost_if_nobody_has_it(house: House) -> None:
    study = house.accepted(png())
    house.now_s += SOON_S
    in_line = (Stage.CLASSIFY, Priority.WALK_IN)
    house.queue.line_s = QueueLine(waiting=1, sent_s={in_line: house.now_s - SOON_S})
    assert reconcile.run(house) == 0
    house.queue.line_s = QueueLine(waiting=1, sent_s={in_line: house.now_s})
    assert reconcile.run(house) == 1
    assert reconcile.run(house) == 0
    assert house.queue.sent == [(study.study_id, "classify")]


def test_where_the_line_is_unknown_patience_decides(house: House) -> None:
    study = house.accepted(png())
    house.queue.line_s = QueueLine(waiting=1, sent_s={(Stage.CLASSIFY, Priority.WALK_IN): -math.inf})
    house.now_s += house.policy.patience_s - 1
    assert reconcile.run(house) == 0
    house.now_s += 2
    assert reconcile.run(house) == 1
    assert house.queue.sent == [(study.study_id, "classify")]


def test_bulk_goes_to_the_queue_in_portions_and_walk_ins_at_once(house: House) -> None:
    house.policy = replace(house.policy, walk_in_studies=2, portion=3)
    bulk = house.batch(*((f"{number}.png", png(seed=number)) for number in range(5)))
    assert intake.run(bulk.batch_id, house) == "done"
    assert house.queue.sent == []
    assert reconcile.run(house) == 3
    house.queue.line_s = QueueLine(waiting=3)
    assert reconcile.run(house) == 0
    small = house.batch(("a.png", png(seed=8)), ("b.png", png(seed=9)))
    assert intake.run(small.batch_id, house) == "done"
    assert len(house.queue.sent) == 5
    house.queue.line_s = QueueLine(waiting=1)
    assert reconcile.run(house) == 2
    assert sorted(house.queue.priorities.values()) == [Priority.WALK_IN] * 2 + [Priority.BULK] * 5


def test_a_clock_that_was_set_back_holds_nothing_up(house: House) -> None:
    study = house.accepted(png())
    house.ledger.claim(study.study_id, Stage.CLASSIFY, owner="me", now_s=house.now_s, lease_s=100)
    house.now_s -= 50_000.0
    assert reconcile.mend_times(house) == 1
    assert reconcile.mend_times(house) == 0
    assert reconcile.run(house) == 1


def test_a_clock_that_was_seen_to_be_set_back_by_minutes_holds_nothing_up_either(house: House) -> None:
    study = house.accepted(png())
    house.ledger.claim(study.study_id, Stage.CLASSIFY, owner="me", now_s=house.now_s, lease_s=100)
    house.now_s -= 300.0
    assert reconcile.mend_times(house) == 0
    assert reconcile.mend_times(house, set_back=True) == 1
    assert reconcile.run(house) == 1


def test_what_was_just_sent_is_given_time_to_arrive(house: House) -> None:
    study = house.accepted(png())
    assert reconcile.run(house) == 0
    house.now_s += SOON_S
    assert reconcile.run(house) == 1
    assert reconcile.run(house) == 0
    house.now_s += SOON_S
    assert reconcile.run(house) == 1
    assert house.queue.sent == [(study.study_id, "classify")] * 2


def test_leased_work_is_left_alone(house: House) -> None:
    study = house.accepted(png())
    claim = house.ledger.claim(study.study_id, Stage.CLASSIFY, owner="me", now_s=house.now_s, lease_s=100)
    assert claim is not None
    house.now_s += SOON_S
    assert reconcile.run(house) == 0
    house.now_s += 100
    assert reconcile.run(house) == 1


def test_a_lost_batch_message_is_sent_again(house: House) -> None:
    batch = house.batch(("one.png", png()))
    house.now_s += SOON_S
    assert reconcile.run(house) == 1
    assert house.queue.sent == [(batch.batch_id, "intake")]


@pytest.mark.parametrize("members", [(), (("folder/", b""),)])
def test_an_archive_of_nothing_says_so(house: House, members: tuple[tuple[str, bytes], ...]) -> None:
    batch = house.batch(("nothing.zip", _zip(*members)), ("one.png", png()))
    assert intake.run(batch.batch_id, house) == "done"
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert [(name, reason.code) for name, reason in row.rejected_uploads] == [("nothing.zip", "no_images")]


def test_an_archive_without_an_image_says_so_beside_what_it_holds(house: House) -> None:
    batch = house.batch(("papers.zip", _zip(("a.txt", b"text"), ("b/c.exe", b"MZ"))))
    assert intake.run(batch.batch_id, house) == "done"
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert [(name, reason.code) for name, reason in row.rejected_uploads] == [("papers.zip", "no_images")]
    assert row.skipped == {"program": 1, "text": 1}


DISC = (
    ("DICOMDIR", b"\0" * 128 + b"DICM"),
    ("AUTORUN.INF", b"[autorun]"),
    ("VIEWER/VIEW.EXE", b"MZ\x90\0"),
    ("VIEWER/HELP.HTM", b"<html>"),
    ("VIEWER/ICONS/I0.PNG", png(seed=7)),
    ("JPEG/HAND.JPG", b"\xff\xd8\xff\xe0"),
    ("IMAGES/I1", _dicom("7", 1)),
    ("IMAGES/I2", _dicom("8", 1)),
    ("IMAGES/I3", bytes(600)),
)


@pytest.mark.parametrize("as_archive", [True, False])
def test_of_a_patients_disc_the_images_are_studies_and_the_rest_is_counted(house: House, as_archive: bool) -> None:
    files = (("cd.zip", _zip(*DISC)),) if as_archive else tuple((f"cd.zip/{name}", data) for name, data in DISC)
    batch = house.batch(*files, ("loose.png", png(seed=8)), ("notes.txt", b"not in a folder, so it is told of"))
    studies, left_out = intake.unpack(batch, house)
    labels = ["cd.zip/IMAGES/I1", "cd.zip/IMAGES/I2", "cd.zip/IMAGES/I3", "loose.png", "notes.txt"]
    assert [study.label for study in studies] == labels
    assert {name.removeprefix("cd.zip/"): reason.detail for name, reason in left_out} == {
        "DICOMDIR": "DICOM directory",
        "AUTORUN.INF": "system file",
        "VIEWER/VIEW.EXE": "program",
        "VIEWER/HELP.HTM": "web page",
        "VIEWER/ICONS/I0.PNG": "picture of a disc's viewer",
        "JPEG/HAND.JPG": "picture of a disc's viewer",
    }
    assert {reason.code for _, reason in left_out} == {SKIPPED}
    assert sum(len(study.images) for study in studies) + len(left_out) == len(DISC) + 2


def test_an_index_without_dicom_files_makes_no_disc(house: House) -> None:
    batch = house.batch(("CD/DICOMDIR", b"\0" * 128 + b"DICM"), ("CD/IM1", png()), ("DICOMDIR", b"x"))
    studies, left_out = intake.unpack(batch, house)
    assert [study.label for study in studies] == ["CD/IM1"]
    assert left_out == [(name, Reason(SKIPPED, DICOM_DIRECTORY)) for name in ("CD/DICOMDIR", "DICOMDIR")]
