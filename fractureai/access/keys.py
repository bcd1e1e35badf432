"""API keys: how one looks, and what is kept of it.

``fai_`` + 32 random letters + a checksum of 6: 190 random bits. The prefix lets scanners of repositories and mailboxes
recognise a key that leaked, the checksum lets us drop a mistyped one without asking the ledger.

Of a key only its SHA-256 is kept. A slow hash (argon2) protects secrets that people choose, which can be guessed by
the million; nobody guesses 190 random bits, so a fast one loses nothing, and a key is checked at every request.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "fai_"
_LETTERS = string.digits + string.ascii_letters
_SECRET_LENGTH = 32
_CHECK_LENGTH = 6


def new_key() -> str:
    """A fresh key, to be shown once."""
    secret = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET_LENGTH))
    return PREFIX + secret + _checksum(secret)


def new_key_id() -> str:
    """What a key is called in lists, commands and the audit: 12 hex digits, no secret and not derived from one."""
    return secrets.token_hex(6)


def is_well_formed(text: str) -> bool:
    """Whether it could be a key of ours."""
    if len(text) != len(PREFIX) + _SECRET_LENGTH + _CHECK_LENGTH or not text.startswith(PREFIX):
        return False
    secret, check = text[len(PREFIX) : -_CHECK_LENGTH], text[-_CHECK_LENGTH:]
    return text.isascii() and all(letter in _LETTERS for letter in secret) and check == _checksum(secret)


def digest_of(text: str) -> str:
    """What the ledger keeps and finds it by."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(secret: str) -> str:
    number, letters = zlib.crc32((PREFIX + secret).encode()), ""
    for _ in range(_CHECK_LENGTH):
        number, rest = divmod(number, len(_LETTERS))
        letters = _LETTERS[rest] + letters
    return letters
