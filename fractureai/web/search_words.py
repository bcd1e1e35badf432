"""Words of a search, sealed for addresses: addresses end in histories and logs, and words may be a patient's name.

An address with sealed words can be kept, and shared within the site; whoever finds it elsewhere learns nothing.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fractureai.web.context import site, web
from fractureai.web.problems import Problem

MAX_LENGTH = 200
# Four bytes a letter, with what Fernet adds, in base64.
MAX_SEALED_LENGTH = 1200


def sealed(words: str) -> str:
    """What stands for ``words`` in addresses of this site; ``""`` for none."""
    return _box().encrypt(words.encode()).decode() if words else ""


def opened(search: str) -> str:
    """The words again. Raises ``bad_parameter`` if it was not sealed here, for this site."""
    if not search:
        return ""
    try:
        return _box().decrypt(search[: MAX_SEALED_LENGTH + 1]).decode()
    except (InvalidToken, ValueError):
        raise Problem("bad_parameter", "“search” is not one this service gave out. Search again.") from None


def _box() -> Fernet:
    secret, whose = web().settings.secret_key, site().encode()
    key = HKDF(SHA256(), length=32, salt=None, info=b"words of a search at " + whose).derive(secret)
    return Fernet(base64.urlsafe_b64encode(key))
