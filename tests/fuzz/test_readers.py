"""The short hunt: every reader, some hundreds of inputs, the same ones on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.fuzz.hunt import hunt
from tests.fuzz.mutation import Mutator
from tests.fuzz.readers import READERS, Reader

_EXECUTIONS = {"dicom": 250, "raster": 400, "query": 100, "association": 150, "request": 250}


@pytest.fixture(autouse=True)
def _any_luck() -> Iterator[None]:
    """Whatever draws from the shared generator draws the same in every order of the tests."""
    state = random.getstate()
    random.seed(7)
    yield
    random.setstate(state)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_input_breaks_a_promise(reader: Reader) -> None:
    tally = hunt(reader, executions=_EXECUTIONS.get(reader.name, 500), seed=20261123)
    assert tally.executions > 100
    assert {name: finding.what for name, finding in tally.findings.items()} == {}


def test_the_hunt_finds_what_is_there() -> None:
    def read(data: bytes) -> None:
        if b"\x80" in data:
            raise IndexError

    tally = hunt(Reader("weak", read, lambda: (b"abcdefgh",)), executions=500, seed=1)
    (finding,) = tally.findings.values()
    assert finding.what.startswith("IndexError")
    assert b"\x80" in finding.data


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, two = (Mutator((b"seed" * 20, b"other"), 5) for _ in range(2))
    assert [one.next() for _ in range(100)] == [two.next() for _ in range(100)]
