"""The table of limits: settings and readers hold the same one, and what is set is what is enforced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import BaseModel

from fractureai.bootstrap import Deployment
from fractureai.errors import RejectedInput
from fractureai.imaging.limits import ArchiveLimits, DecodeLimits
from fractureai.settings import ArchiveGroup, DecodeGroup, load_settings
from tests.hostile.archive_files import archive
from tests.pictures import png


@pytest.mark.parametrize(("group", "limits"), [(DecodeGroup, DecodeLimits), (ArchiveGroup, ArchiveLimits)])
def test_one_table(group: type[BaseModel], limits: type[DecodeLimits | ArchiveLimits]) -> None:
    defaults = {item.name: item.default for item in dataclasses.fields(limits)}
    assert {name: field.default for name, field in group.model_fields.items()}.items() <= defaults.items()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DECODE__MAX_BYTES", "1024", "too_many_bytes"),
        ("DECODE__MAX_PIXELS", "10000", "too_many_pixels"),
        ("DECODE__MIN_SIDE_PX", "100", "too_small"),
    ],
)
def test_a_limit_that_is_set_is_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(120, 90))
    monkeypatch.setenv(f"FRACTUREAI_{name}", value)
    decoder = Deployment(load_settings(data_dir=tmp_path)).decoder
    try:
        with pytest.raises(RejectedInput) as caught:
            decoder.decode(picture)
    finally:
        decoder.close()
    assert caught.value.code == code


def test_limits_of_archives_that_are_set_are_enforced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = tmp_path / "sent.zip"
    sent.write_bytes(archive(("a/b/c/1.png", png()), ("2.png", png(seed=2))))
    monkeypatch.setenv("FRACTUREAI_ARCHIVE__MAX_DEPTH", "2")
    monkeypatch.setenv("FRACTUREAI_ARCHIVE__MAX_MEMBER_BYTES", "1024")
    kept, skipped = Deployment(load_settings(data_dir=tmp_path)).archives.members(sent)
    assert kept == []
    assert {reason.code for _, reason in skipped} == {"archive_member_skipped", "too_many_bytes"}
    monkeypatch.setenv("FRACTUREAI_ARCHIVE__MAX_MEMBERS", "2")
    with pytest.raises(RejectedInput, match="archive_too_many"):
        Deployment(load_settings(data_dir=tmp_path)).archives.members(sent)
