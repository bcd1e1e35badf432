"""The catalogue through de-identification: every file is rid of its names or refused, and costs no child."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.errors import RejectedInput
from fractureai.imaging.deidentifier import ChildDeidentifier
from fractureai.imaging.limits import DecodeLimits
from fractureai.storage.pseudonym_book import NoBook
from tests.hostile.catalogue import catalogue

_MADE = "made"
# What the child itself did not survive, or not in time.
_COST_A_CHILD = {"decoder_crashed", "decoder_timeout"}


@pytest.fixture(scope="module")
def deidentifier() -> Iterator[ChildDeidentifier]:
    made = ChildDeidentifier(DecodeLimits(), Pseudonyms(b"k" * 32), NoBook(), shift_dates=False)
    yield made
    made.close()


def test_every_hostile_file_is_made_or_refused(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    found = {}
    for entry in catalogue():
        if entry.name.startswith("zip-"):
            continue
        sent.write_bytes(entry.data)
        found[entry.name] = _answer(deidentifier, sent)
    assert {name: code for name, code in found.items() if code in _COST_A_CHILD} == {}
    assert len({name for name, code in found.items() if code == _MADE}) > 20
    assert len({name for name, code in found.items() if code != _MADE}) > 20


def _answer(deidentifier: ChildDeidentifier, sent: Path) -> str:
    try:
        deidentifier.rewrite(sent, "local", lambda piece: None)
    except RejectedInput as error:
        return error.code
    return _MADE
