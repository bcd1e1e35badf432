from __future__ import annotations

import pytest

from fractureai.domain.sizes import above_limit, binary_size


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (2048, "2 KiB"),
        (1500, "1.5 KiB"),
        (832_512, "813 KiB"),
        (200_000, "195 KiB"),
        (1_048_300, "1 MiB"),
        (268_435_456, "256 MiB"),
        (3 << 40, "3 TiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_bytes_for_people(size_bytes: int, shown: str) -> None:
    assert binary_size(size_bytes) == shown


def test_a_refusal_never_says_that_a_size_is_above_itself() -> None:
    assert above_limit(832_512, 200_000) == "813 KiB, limit 195 KiB"
    assert above_limit(268_435_457, 268_435_456) == "268,435,457 bytes, limit 268,435,456 bytes"
