"""Passwords of local accounts: argon2id, with the second recommended parameters of RFC 9106 (64 MiB, 3 passes)."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

MIN_LENGTH, MAX_LENGTH = 12, 256
# A check takes 64 MiB and tens of milliseconds: a crowd at the door must not take the machine.
_AT_ONCE = threading.BoundedSemaphore(2)
_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hash_of(password: str, *, account: str) -> str:
    """What the ledger keeps.

    Raises
    ------
    ValueError
        If it is too short (NIST SP 800-63B asks for length, not for signs), too long, or the account's own name.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"a password has {MIN_LENGTH} to {MAX_LENGTH} letters")
    if account.lower() in password.lower() or len(set(password)) < 5:
        raise ValueError("a password is not made of the account's name or of a few letters repeated")
    with _AT_ONCE:
        return _HASHER.hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """Whether this is the password. Takes as long for an account that is not there (``None``)."""
    with _AT_ONCE:
        try:
            _HASHER.verify(kept or _NOBODYS, password[:MAX_LENGTH])
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def is_dated(kept: str) -> bool:
    """Whether it was made with other parameters than today's, and should be made anew at the next sign-in."""
    return _HASHER.check_needs_rehash(kept)


# Of 256 random bits that were thrown away, with today's parameters.
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$g43e4foL9HL5HFrt3veBhQ$94QW0owWPiFkZek+148YW9yF+LDwGQYbxBAhWmNy/fk"
