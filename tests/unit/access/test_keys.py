"""API keys and passwords: how they look and what is kept."""

from __future__ import annotations

import re

import pytest

from fractureai.access import passwords
from fractureai.access.keys import digest_of, is_well_formed, new_key


def test_a_key_is_recognised_and_has_enough_chance_in_it() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        # 32 letters of 62: 190 bits.
        assert re.fullmatch(r"fai_[0-9A-Za-z]{32}[0-9A-Za-z]{6}", key)
        assert is_well_formed(key)
        assert key not in digest_of(key)


@pytest.mark.parametrize("place", range(4, 42))
def test_a_slip_of_one_letter_is_seen(place: int) -> None:
    key = new_key()
    other = "b" if key[place] != "b" else "c"
    assert not is_well_formed(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize("text", ["", "fai_", "fai_" + "é" * 38, "FAI_" + "a" * 38, "fai_" + "a" * 39, "x" * 10_000])
def test_what_is_no_key(text: str) -> None:
    assert not is_well_formed(text)


@pytest.mark.parametrize("password", ["short", "a" * 20, "hannahannahanna", "x" * 300])
def test_passwords_that_are_not_taken(password: str) -> None:
    with pytest.raises(ValueError, match="a password"):
        passwords.hash_of(password, account="hanna")


def test_a_password_is_kept_as_argon2id_and_recognised() -> None:
    kept = passwords.hash_of("correct horse battery", account="anna")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.is_right("correct horse battery", kept)
    assert not passwords.is_right("correct horse batterz", kept)
    assert not passwords.is_right("correct horse battery", None)
    assert not passwords.is_dated(kept)
    assert passwords.is_dated("$argon2id$v=19$m=8,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYQ")
