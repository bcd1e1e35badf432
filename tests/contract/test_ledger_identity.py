"""Which images a site has under which SOP Instance UIDs: on every ledger."""

from __future__ import annotations

import uuid

from fractureai.domain.identity import KnownImage, examination_id, sop_id
from fractureai.domain.study import Batch, SourceImage, Study
from fractureai.storage.ledger.sql import SqlLedger

ONE, OTHER = "a" * 64, "b" * 64


def image(number: int, uid: str = "", sha256: str = ONE, site: str = "local") -> SourceImage:
    ids = (sop_id(site, uid), examination_id(site, "1.2")) if uid else ("", "")
    return SourceImage(number, f"{number}.dcm", 1, sha256, *ids)


def accepted(ledger: SqlLedger, *images: SourceImage, site: str = "local") -> Study:
    study = Study(site, uuid.uuid4().hex, uuid.uuid4().hex, "", 1.0, images)
    ledger.accept_study(study, publish_due_at_s=1.0)
    return study


def known(study: Study, number: int, picture: str = "") -> KnownImage:
    source = study.images[number - 1]
    return KnownImage(study.study_id, source.sop_id, source.examination_id, source.sha256, picture)


def test_images_keep_their_names(ledger: SqlLedger) -> None:
    study = accepted(ledger, image(1, "1.2.3"), image(2))
    assert ledger.sources(study.study_id, site="local") == study


def test_what_others_have_under_the_same_uids_is_found(ledger: SqlLedger) -> None:
    mine = accepted(ledger, image(1, "1.2.3"), image(2, "1.2.4"))
    others = [accepted(ledger, image(1), image(2, "1.2.3", OTHER)), accepted(ledger, image(1, "1.2.4"))]
    accepted(ledger, image(1, "1.2.5"))
    accepted(ledger, image(1, "1.2.3", site="elsewhere"), site="elsewhere")
    found = ledger.known_images(mine)
    assert sorted(found, key=lambda one: one.sop_id) == sorted(
        [known(others[0], 2), known(others[1], 1)], key=lambda one: one.sop_id
    )
    assert ledger.known_images(accepted(ledger, image(1))) == []


def test_studies_with_images_of_the_same_dicom_study_are_found(ledger: SqlLedger) -> None:
    mine = accepted(ledger, image(1, "1.2.3"))
    others = {accepted(ledger, image(1), image(2, f"1.2.{number}")).study_id for number in range(3)}
    accepted(ledger, image(1))
    accepted(ledger, image(1, "1.2.3", site="elsewhere"), site="elsewhere")
    assert set(ledger.studies_sharing(mine)) == others
    for number in range(9):
        accepted(ledger, image(1, f"1.2.3.{number}"))
    assert len(ledger.studies_sharing(mine)) == 8


def test_names_and_pictures_may_be_learnt_later(ledger: SqlLedger) -> None:
    study = accepted(ledger, image(1), image(2))
    named = Study(study.site, study.study_id, study.batch_id, "", 1.0, (image(1, "1.2.3"), image(2)))
    for _ in range(2):
        ledger.name_images(named, {1: OTHER, 2: OTHER})
    assert ledger.sources(study.study_id, site="local") == named
    assert ledger.known_images(accepted(ledger, image(1, "1.2.3"))) == [known(named, 1, OTHER)]


def test_of_a_uid_that_everything_has_not_everything_is_read(ledger: SqlLedger) -> None:
    images = tuple(image(number, "1.2.3", f"{number:064d}") for number in range(1, 701))
    accepted(ledger, *images)
    assert len(ledger.known_images(accepted(ledger, image(1, "1.2.3")))) == 500


def test_a_batch_brings_the_names_of_its_studies(ledger: SqlLedger) -> None:
    batch = Batch("local", uuid.uuid4().hex, "", 1.0, ())
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    claim = ledger.claim_batch(batch.batch_id, owner="me", now_s=1.0, lease_s=9.0)
    assert claim is not None
    study = Study("local", uuid.uuid4().hex, batch.batch_id, "", 1.0, (image(1, "1.2.3"),))
    assert ledger.unpacked(claim, [study], [], now_s=2.0)
    assert ledger.sources(study.study_id, site="local") == study
