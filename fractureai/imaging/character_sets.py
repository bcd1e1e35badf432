"""Text values of DICOM files: which character set they are in, and what they say (PS3.5 section 6.1.2).

Declared sets are read as they are written in practice: misspelt, missing, wrong. What a declaration does not explain is
decoded as UTF-8 where it can be nothing else; otherwise a guess is marked as one, and what cannot be decoded shows
``\N{REPLACEMENT CHARACTER}``. Nothing is ever shown in a set it is not in without a word.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from fractureai.domain.name_encoding import encoding_of

UTF_8 = "ISO_IR 192"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
PERSON_NAME_DELIMITERS = b"\\^="
TEXT_DELIMITERS = b"\\"
"""Of values of most kinds; the control characters among text delimit it everywhere."""


class Trust(IntEnum):
    """How sure it is that a text is what was meant."""

    DECLARED = 0
    REPAIRED = 1
    """Not in the declared set, but beyond doubt in another."""
    GUESSED = 2
    UNDECODED = 3
    """Parts of it are shown as :data:`REPLACEMENT`."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, and how it was found."""

    text: str
    trust: Trust = Trust.DECLARED


# Defined terms (PS3.3 table C.12-2) by their number: what is above ASCII at the beginning of a value.
_BY_NUMBER = {
    6: "",
    13: "kana",
    14: "kana",
    58: "gb18030",
    87: "",
    100: "latin_1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    149: "cp949",
    159: "",
    166: "tis_620",
    192: "utf_8",
    203: "iso8859_15",
}
# What programs write in the place of a defined term.
_BY_NAME = {
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "ISO2022GBK": "gb18030",
    "ISO202258": "gb18030",
    "UTF8": "utf_8",
    "UNICODE11": "utf_8",
    "UNICODE": "utf_8",
    "ASCII": "",
    "USASCII": "",
    "LATIN1": "latin_1",
    "ISO88591": "latin_1",
    "WINDOWS1252": "cp1252",
    "CP1252": "cp1252",
    "ISO88592": "iso8859_2",
    "WINDOWS1250": "cp1250",
    "CP1250": "cp1250",
    "ISO88595": "iso8859_5",
    "WINDOWS1251": "cp1251",
    "CP1251": "cp1251",
    "ISO88599": "iso8859_9",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "WINDOWS31J": "cp932",
    "CP932": "cp932",
    "EUCKR": "cp949",
    "CP949": "cp949",
    "KSC5601": "cp949",
    "BIG5": "cp950",
    "CP950": "cp950",
}
_EXTENDED_ONLY = frozenset({58, 87, 149, 159})
_DEFINED_TERMS = frozenset(
    {
        "",
        *("ISO_IR 192", "GB18030", "GBK"),
        *(f"ISO 2022 IR {number}" for number in _BY_NUMBER if number not in {14, 192}),
        *(f"ISO_IR {number}" for number in _BY_NUMBER if number not in {14, 192} | _EXTENDED_ONLY),
    }
)
_TERM = re.compile(r"ISO(?:2022)?IR(\d+)")
# Sets of which every value is a letter somewhere: text in UTF-8 that is declared as one of them looks like "Ã¼".
_LATIN = frozenset({"latin_1", "cp1252", "iso8859_2", "cp1250", "iso8859_3", "iso8859_4", "iso8859_9", "iso8859_15"})
_DOUBLE_BYTE = frozenset({"gb18030", "cp949", "cp950", "cp932"})

# Escape sequences (PS3.3 tables C.12-3 and C.12-4): which half of the code table they fill, and with what.
_LOW, _HIGH = 0, 1
_ESCAPES: dict[bytes, tuple[int, str]] = {
    b"\x1b(B": (_LOW, ""),
    b"\x1b(J": (_LOW, ""),
    b"\x1b$@": (_LOW, "jis_x_0208"),
    b"\x1b$B": (_LOW, "jis_x_0208"),
    b"\x1b$(D": (_LOW, "jis_x_0212"),
    b"\x1b)I": (_HIGH, "kana"),
    b"\x1b$)A": (_HIGH, "gb18030"),
    b"\x1b$)C": (_HIGH, "cp949"),
    **{
        b"\x1b-" + final: (_HIGH, _BY_NUMBER[number])
        for final, number in {
            b"A": 100, b"B": 101, b"C": 109, b"D": 110, b"F": 126, b"G": 127, b"H": 138, b"L": 144, b"M": 148,
            b"T": 166, b"b": 203,
        }.items()
    },
}  # fmt: skip
_ESCAPE = re.compile(rb"\x1b(?:\$[()]?|[()\-])[@-~]")
_PAIRS = re.compile(rb"(?:[\x21-\x7e]{2})+")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_CONTROLS = b"\t\n\f\r"
_ESC = b"\x1b"


class CharacterSet:
    """The declared character set of a data set.

    Parameters
    ----------
    terms:
        Values of Specific Character Set, as they are.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self._initial = (_codec_of(terms[0]) if terms else None) or ""
        """What bytes above ASCII are at the beginning of a value; ``""`` if there should be none."""
        self._japanese = any(_number_of(term) in {13, 14, 87, 159} for term in terms)

    def decode(self, value: bytes, delimiters: bytes = TEXT_DELIMITERS) -> Decoded:
        """The text of a value, its padding removed. Delimiters stay in it."""
        value = value.rstrip(b" \0")
        if value.isascii() and _ESC not in value:
            return Decoded(value.decode("ascii"))
        if self._is_utf_8_all_the_same(value):
            return Decoded(value.decode("utf-8"), Trust.REPAIRED)
        declared = self._declared(value, delimiters)
        if declared is not None:
            return Decoded(declared)
        return self._otherwise(value)

    def _declared(self, value: bytes, delimiters: bytes) -> str | None:
        try:
            if self._initial in _DOUBLE_BYTE and _ESC not in value:
                # The second byte of a letter may be ASCII, so the value is decoded as a whole.
                return _sensible(value.decode(self._initial))
            return _sensible(_extended(value, self._initial, delimiters))
        except ValueError:
            return None

    def _is_utf_8_all_the_same(self, value: bytes) -> bool:
        """Whether a value is UTF-8, although another set is declared that would give some text as well."""
        if self._initial == "utf_8" or _ESC in value:
            return False
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return False
        if self._initial in _LATIN:
            return True
        foreign = [letter for letter in text if not letter.isascii()]
        if self._initial in _DOUBLE_BYTE:
            # Two bytes of UTF-8 are often a letter of these sets as well, three of them rarely begin and end as such.
            return all(ord(letter) >= 0x800 for letter in foreign)
        return not self._initial and _one_script(text)

    def _otherwise(self, value: bytes) -> Decoded:
        if _ESC not in value:
            with contextlib.suppress(UnicodeDecodeError):
                if _one_script(text := value.decode("utf-8")):
                    return Decoded(text, Trust.REPAIRED)
            if self._japanese and _is_japanese(value):
                return Decoded(value.decode("cp932"), Trust.REPAIRED)
            encoding = encoding_of([value])
            # Where a script of its own is declared, others are no guess.
            if encoding not in {None, "utf-8"} and self._initial in {"", "utf_8", "latin_1"}:
                return Decoded(value.decode(str(encoding)), Trust.GUESSED)
        kept = re.sub(rb"[\x80-\xff]+", REPLACEMENT.encode(), _ESCAPE.sub(b"", value).replace(_ESC, b""))
        return Decoded(kept.decode("utf-8"), Trust.UNDECODED)


def is_defined_term(term: str) -> bool:
    """Whether a value of Specific Character Set is one that the standard knows, spelled as it is there."""
    return term in _DEFINED_TERMS


def _number_of(term: str) -> int | None:
    found = _TERM.fullmatch(_letters(term))
    return int(found[1]) if found else None


def _codec_of(term: str) -> str | None:
    number = _number_of(term)
    return _BY_NAME.get(_letters(term), "") if number is None else _BY_NUMBER.get(number)


def _letters(term: str) -> str:
    """``ISO_IR 100``, ``ISO-IR-100`` and ``iso ir 100`` are one."""
    return re.sub(r"[^A-Z0-9]", "", term.upper())


def _extended(value: bytes, initial: str, delimiters: bytes) -> str:
    """Decode with code extensions (ISO 2022). Raises ``ValueError`` for what makes no sense."""
    low, high, at = "", initial, 0
    found: list[str] = []
    while at < len(value):
        if escape := _ESCAPE.match(value, at):
            if escape[0] not in _ESCAPES:
                raise ValueError("an unknown escape sequence")
            half, codec = _ESCAPES[escape[0]]
            low, high = (codec, high) if half == _LOW else (low, codec)
            at = escape.end()
        elif low and (pairs := _PAIRS.match(value, at)):
            found.append(_of_pairs(pairs[0], low))
            at = pairs.end()
        elif run := _HIGH_BYTES.match(value, at):
            found.append(_of_high(run[0], high))
            at = run.end()
        else:
            if value[at] in delimiters or value[at] in _CONTROLS:
                # Back to the beginning. Programs forget to say again what follows; where nothing else is declared for
                # these bytes, they can only mean the same as before.
                low, high = "", initial or high
            elif low or value[at] == _ESC[0]:
                raise ValueError("half a letter, or a lone escape")
            found.append(chr(value[at]))
            at += 1
    return "".join(found)


def _of_pairs(pairs: bytes, codec: str) -> str:
    raised = bytes(byte | 0x80 for byte in pairs)
    if codec == "jis_x_0212":
        raised = b"".join(b"\x8f" + raised[at : at + 2] for at in range(0, len(raised), 2))
    return raised.decode("euc_jp")


def _of_high(run: bytes, codec: str) -> str:
    if codec == "kana":
        if not all(0xA1 <= byte <= 0xDF for byte in run):
            raise ValueError("not JIS X 0201")
        return run.decode("shift_jis")
    if not codec:
        raise ValueError("no set is declared for these bytes")
    return run.decode(codec)


def _sensible(text: str) -> str:
    """The text. Raises ``ValueError`` for control characters that no text has: the set is another."""
    if any("\x80" <= letter <= "\x9f" for letter in text):
        raise ValueError("control characters")
    return text


def _is_japanese(value: bytes) -> bool:
    return encoding_of([value]) == "cp932"


def _one_script(text: str) -> bool:
    """Whether all letters beyond ASCII are of one script, which text that is UTF-8 by chance is not."""
    scripts = {
        _SCRIPTS.get(script, script)
        for letter in text
        if not letter.isascii() and letter.isalpha()
        for script in [unicodedata.name(letter, "?").split(" ")[0]]
    }
    return len(scripts) == 1 or not scripts


_SCRIPTS = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC", "HANGUL"), "East Asian")
