"""The store in front of the store: what reaches the one behind it, and what becomes of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from fractureai.domain import keys
from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.domain.study import WorkState
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.imaging.archive import ZipArchiveReader
from fractureai.imaging.deidentifier import ChildDeidentifier
from fractureai.imaging.limits import DecodeLimits
from fractureai.stages import intake
from fractureai.stages.deidentify import DeidentifyingStore
from fractureai.storage.pseudonym_book import FileBook
from tests.pictures import png
from tests.unit.imaging.test_deidentify import radiograph
from tests.unit.stages.conftest import House

UPLOAD = keys.batch_upload("north", "a" * 32, 1)


@pytest.fixture
def book(tmp_path: Path) -> FileBook:
    return FileBook(tmp_path / "books" / "book", None)


@pytest.fixture
def store(house: House, tmp_path: Path, book: FileBook) -> Iterator[DeidentifyingStore]:
    (tmp_path / "work").mkdir()
    made = ChildDeidentifier(DecodeLimits(), Pseudonyms(bytes(32)), book, shift_dates=True)
    wanted = {"north", "local"}
    yield DeidentifyingStore(house.store, made, ZipArchiveReader(), wanted.__contains__, tmp_path / "work")
    made.close()
    assert list((tmp_path / "work").iterdir()) == []


def dicom(number: int = 1) -> bytes:
    stream = io.BytesIO()
    radiograph(number).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        UPLOAD,
        keys.source("north", "b" * 32, 1),
        keys.arrival("north", "c" * 32, 1_790_000_000.0),
    ],
)
def test_no_way_in_leads_past_it(store: DeidentifyingStore, house: House, key: str) -> None:
    sink = store.sink(key)
    data = dicom()
    for at in range(0, len(data), 1000):
        sink.write(data[at : at + 1000])
    stored = sink.commit()
    kept = house.store.get(key)
    assert b"Musterfrau" in data
    assert b"Musterfrau" not in kept
    assert stored.size_bytes == len(kept)
    assert pydicom.dcmread(io.BytesIO(kept)).PatientIdentityRemoved == "YES"


def test_other_sites_and_other_keys_are_left_alone(store: DeidentifyingStore, house: House) -> None:
    data = dicom()
    for key in (keys.batch_upload("south", "a" * 32, 1), keys.report_pdf("north", "b" * 32)):
        store.put(key, data)
        assert house.store.get(key) == data


def test_what_is_given_up_leaves_nothing(store: DeidentifyingStore, house: House) -> None:
    sink = store.sink(UPLOAD)
    sink.write(dicom())
    sink.abort()
    assert house.store.size_bytes(UPLOAD) is None


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"Musterfrau, a letter", "unknown_type"), (b"\0" * 128 + b"DICM\x08\x00\x18\x00UI\xff\xffMusterfrau", "damaged")],
)
def test_what_cannot_be_cleaned_is_not_kept_and_says_why_in_the_end(
    store: DeidentifyingStore, house: House, data: bytes, code: str
) -> None:
    store.put(UPLOAD, data)
    assert b"Musterfrau" not in house.store.get(UPLOAD)
    with house.store.as_file(UPLOAD) as path, pytest.raises(RejectedInput) as refused:
        house.decoder.decode(path)
    assert refused.value.code == code


def test_an_archive_is_cleaned_member_by_member(store: DeidentifyingStore, house: House) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            ("Musterfrau/1.dcm", dicom(1)),
            ("Musterfrau/2.dcm", dicom(2)),
            ("Musterfrau/letter.txt", b"Dear Mrs Musterfrau"),
            ("Musterfrau/DICOMDIR", b"\0" * 128 + b"DICM Musterfrau"),
            ("Musterfrau/viewer/view.exe", b"MZ Musterfrau"),
            ("Musterfrau/viewer/icon.png", png(seed=9)),
            ("Musterfrau/inner.zip", b"PK\x03\x04 Musterfrau"),
            ("other.png", png()),
        ):
            archive.writestr(name, data)
    house.store = store  # type: ignore[assignment]
    batch = house.batch(("x.zip", stream.getvalue()))
    kept = store.get(keys.batch_upload("local", batch.batch_id, 1))
    assert b"Musterfrau" not in kept
    assert intake.run(batch.batch_id, house) == "done"
    studies = house.ledger.studies(site="local").rows
    assert sorted(study.image_count for study in studies) == [1, 2]
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert row.skipped == {"DICOM directory": 1, "picture of a disc's viewer": 1, "program": 1, "text": 1}
    assert [reason.code for _, reason in row.rejected_uploads] == ["archive_nested"]
    assert all(study.state is WorkState.OPEN for study in studies)
    assert not any("Musterfrau" in study.label for study in studies)


def test_a_damaged_archive_stays_one(store: DeidentifyingStore, house: House) -> None:
    house.store = store  # type: ignore[assignment]
    batch = house.batch(("x.zip", b"PK\x03\x04 Musterfrau"))
    assert b"Musterfrau" not in store.get(keys.batch_upload("local", batch.batch_id, 1))
    assert intake.run(batch.batch_id, house) == "done"
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert [reason.code for _, reason in row.rejected_uploads] == ["damaged"]


def test_nothing_is_accepted_under_a_pseudonym_that_could_not_be_written_down(
    store: DeidentifyingStore, house: House, book: FileBook, tmp_path: Path
) -> None:
    (tmp_path / "books").write_text("a file where the folder should be")
    sink = store.sink(UPLOAD)
    sink.write(dicom())
    with pytest.raises(TransientFailure):
        sink.commit()
    assert house.store.size_bytes(UPLOAD) is None
