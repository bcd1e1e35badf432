"""The whole catalogue through archive reader and decoding child: the expected answer, within the memory limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fractureai.domain.reasons import REASONS
from fractureai.errors import RejectedInput
from fractureai.imaging.archive import ZipArchiveReader
from fractureai.imaging.decoder import ChildDecoder
from tests.hostile.catalogue import catalogue
from tests.hostile.hostile import READ, Hostile
from tests.pictures import png

_PARTS = ("dicom-", "zip-", "")


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder() as decoder:
        yield decoder


def part(name: str) -> str:
    """Which part of the catalogue a file belongs to."""
    return next(prefix for prefix in _PARTS if name.startswith(prefix))


@pytest.mark.parametrize("prefix", _PARTS, ids=["DICOM", "archives", "pictures"])
def test_every_hostile_file_gets_its_answer(decoder: ChildDecoder, tmp_path: Path, prefix: str) -> None:
    honest = tmp_path / "honest.png"
    honest.write_bytes(png())
    chosen = [entry for entry in catalogue() if part(entry.name) == prefix]
    found, expected = {}, {}
    for entry in chosen:
        found[entry.name] = _answers(entry, decoder, tmp_path)
        expected[entry.name] = entry.answers()
        if decoder.child_pid is not None:
            assert _peak_bytes(decoder.child_pid) < decoder.limits.memory_bytes, entry.name
    assert found == expected
    assert decoder.decode(honest).pixels.shape == (120, 90)


def test_the_catalogue_is_what_it_says() -> None:
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names) >= 80
    codes = {code for entry in catalogue() for code in entry.answers().values()}
    assert codes - {READ} <= set(REASONS)


def _answers(entry: Hostile, decoder: ChildDecoder, folder: Path) -> dict[str, str]:
    sent = folder / "sent"
    sent.unlink(missing_ok=True)
    sent.write_bytes(entry.data)
    reader = ZipArchiveReader()
    if not reader.is_archive(sent):
        return {entry.name: _decoded(decoder, sent)}
    try:
        members, skipped = reader.members(sent)
    except RejectedInput as error:
        return {entry.name: error.code}
    found = {f"{entry.name}/{name}": reason.code for name, reason in skipped}
    for member in members:
        target = folder / "member"
        try:
            with target.open("wb") as sink:
                reader.extract(sent, member, sink)  # type: ignore[arg-type]
        except RejectedInput as error:
            found[f"{entry.name}/{member.name}"] = error.code
        else:
            found[f"{entry.name}/{member.name}"] = _decoded(decoder, target)
    return found or {entry.name: "no_images"}


def _decoded(decoder: ChildDecoder, path: Path) -> str:
    try:
        image = decoder.decode(path)
    except RejectedInput as error:
        return error.code
    # Whatever a header holds, what comes out of the child is one safe line.
    for value in image.header.to_json().values():
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", value)
        assert len(value) <= 128
    return READ


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return 1024 * int(found[1])
