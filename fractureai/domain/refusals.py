"""Which refusals of a peer are for good: sending the same again would only be answered the same."""

from __future__ import annotations

# PS3.7 annex C: no such SOP class, not authorised, invalid object instance, invalid attribute or argument value,
# unrecognised operation, mistyped argument. What is not here may pass: no resources, a processing failure.
_FINAL_STATUSES = frozenset({0x0106, 0x0115, 0x0117, 0x0122, 0x0124, 0x0211, 0x0212})
# PS3.4 table B.2-1: the data set does not match its SOP class, or cannot be understood.
_FINAL_CLASSES = (range(0xA900, 0xAA00), range(0xC000, 0xD000))
# PS3.8 table 9-18: the abstract syntax, or none of the transfer syntaxes, is supported.
_FINAL_CONTEXTS = frozenset({3, 4})
# The request itself is wrong, forbidden, or not of a kind the server knows. Not 401 and 404: a new token, or a service
# behind its proxy, may come.
_FINAL_ANSWERS = frozenset({400, 403, 405, 406, 409, 410, 411, 413, 414, 415, 422})


def is_final_status(status: int) -> bool:
    """Of a C-STORE response, or the failure reason of an instance in a STOW-RS response (PS3.18 section I.2.2)."""
    return status in _FINAL_STATUSES or any(status in each for each in _FINAL_CLASSES)


def is_final_context(result: int) -> bool:
    """Of a presentation context that was not accepted."""
    return result in _FINAL_CONTEXTS


def is_final_answer(http_status: int) -> bool:
    """Of a web server. A redirection is one: none is followed."""
    return 300 <= http_status < 400 or http_status in _FINAL_ANSWERS
