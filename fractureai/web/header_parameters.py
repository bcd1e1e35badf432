"""Header values with parameters (RFC 2045 section 5.1, RFC 2387), read as real clients write them.

Werkzeug's reader ends a value at the first character that would need quotes: of ``type=application/dicom`` it keeps
``application``, of ``boundary=----=_Part_1`` four hyphens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

# A name and a value, quoted or up to the next semicolon. A quote that is not closed takes all that is left.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
# Only quotes and backslashes are escaped; older browsers send Windows paths as they are.
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """A value such as ``multipart/related`` or ``form-data``, in lower case, with its parameters.

    Attributes
    ----------
    parameters:
        By name in lower case; of a name that is given twice the first.
    extended:
        Those of RFC 8187 (``filename*=UTF-8''NAME``), as bytes.
    """

    value: str
    parameters: dict[str, str] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)


def parse_header(text: str) -> HeaderValue:
    """Read a header's value; what cannot be read is left out."""
    value, _, rest = text.partition(";")
    found = HeaderValue(value.strip().strip("\"'").lower())
    for name, quoted, plain in _PARAMETER.findall(f";{rest}"):
        name = name.lower()
        if name.endswith("*"):
            if extended := _EXTENDED.fullmatch(plain.strip() or quoted):
                found.extended.setdefault(name[:-1], unquote_to_bytes(extended[2].encode("utf-8", "surrogateescape")))
        else:
            found.parameters.setdefault(name, plain.strip() if plain else _ESCAPED.sub(r"\1", quoted))
    return found


def media_type_of(text: str) -> str:
    """A media type without its parameters, quotes and case: ``'Application/DICOM; transfer-syntax=*'``."""
    return text.strip("\"' \t").partition(";")[0].strip().lower()
