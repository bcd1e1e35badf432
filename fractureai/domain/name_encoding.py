"""The encoding of file names that do not say which they are in.

ZIP archives, Linux folders and old browsers keep names as bytes. UTF-8 proves itself. Every other encoding is accepted
only if all names decode to text that people write in it: kana or common kanji in CP932, letters within a word of ASCII
letters in a Latin code page. Where no encoding or more than one fits, there is no answer: a name that shows its bytes
is better than one that reads like another person's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from unicodedata import category

_Fits = Callable[[Sequence[bytes]], bool]

# A single foreign letter within an ASCII word is a Latin letter, not an ideograph: "Gr\x94\xe1e" is "Größe" in CP437.
_ALONE_IN_A_WORD = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f](?![^\x00-\x7f])|(?<![^\x00-\x7f])[^\x00-\x7f](?=[A-Za-z])")
_WORD = re.compile(r"[^\W\d_]+")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\u3000\u3005-\u3007\uff01-\uff9f\u2160-\u2169]")
_CHINESE = re.compile(r"[\u4e00-\u9fff\u3000-\u3002\uff01-\uff5e\u2160-\u2169]")
_HALF_WIDTH = re.compile(r"[\uff61-\uff9f]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")

# Frequent in names of people and of files: what tells Chinese from Korean where the bytes fit both.
_FREQUENT = {
    "gb18030": (
        "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
        "余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
        "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀英华玲平刚桂建国新红玉兰志春梅小海霞云峰雪山子大中人民医院影像图"
        "片患者检查左右手腕肘肩足膝腿骨正侧位光病例号年月日"
    ),
    "cp950": (
        "王李張劉陳楊趙黃周吳徐孫胡朱高林何郭馬羅梁宋鄭謝韓唐馮于董蕭程曹袁鄧許傅沈曾彭呂蘇盧蔣蔡賈丁魏薛葉余"
        "潘杜戴夏鍾汪田任姜范方石姚譚廖鄒熊金陸白江史邱秦賴文偉芳娜敏靜麗強磊軍洋勇傑娟濤明超秀英華玲平剛桂建"
        "國新紅玉蘭志春梅小海霞雲峰雪山子大中人民醫院影像圖片患者檢查左右手腕肘肩足膝腿骨正側位光病例號年月日"
        "家豪淑惠美雅婷怡君俊宏"
    ),
    "cp949": (
        "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지나엄채원천방공현"
        "함변염여추도소석선설마길연위표명기반라왕금옥육인맹제모탁국어은편용예경봉사부가복태영수철숙희미순자동"
        "준호재석상훈혜윤아서연지우하은병원영상환자왼쪽오른손목팔꿈치어깨무릎발다리뼈사진검사"
    ),
}
_LEAST_SHARE = 1 / 3

# Where code pages 437 and 850 agree, and the two letters that only 850 has.
_DOS_LETTERS = frozenset([*range(0x80, 0x9C), 0x9D, *range(0xA0, 0xA6), 0xE1])
_WINDOWS_LETTERS = frozenset([*range(0xC0, 0x100), 0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F]) - {0xD7, 0xF7}


def encoding_of(names: Iterable[bytes]) -> str | None:
    """The encoding that all names share; ``None`` where none or several fit. ASCII names fit any."""
    foreign = [name for name in names if not name.isascii()]
    if all(_decodes(name, "utf-8") for name in foreign):
        return "utf-8"
    rest = [name for name in foreign if not _decodes(name, "utf-8")]
    east_asian = [encoding for encoding, fits in _EAST_ASIAN.items() if fits(rest)]
    if east_asian == ["cp932"]:
        return "cp932"
    shares = sorted(((_frequent_share(rest, encoding), encoding) for encoding in east_asian), reverse=True)
    if shares and shares[0][0] >= _LEAST_SHARE:
        is_clear = len(shares) == 1 or shares[0][0] >= 2 * shares[1][0]
        return shares[0][1] if is_clear else None
    latin = [encoding for encoding, fits in _LATIN.items() if fits(rest)]
    return latin[0] if len(latin) == 1 else None


def decode(name: bytes, encoding: str | None) -> str:
    """The text of a name; bytes that cannot be decoded are written as ``%FC``, so that two names stay two."""
    for candidate in ("utf-8", encoding):
        if candidate and _decodes(name, candidate):
            return name.decode(candidate)
    return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in name)


def repaired(name: str) -> str:
    """A name that another program has decoded wrongly before it wrote it as UTF-8: ``r├╢ntgen``, ``ëEπ°ì£``.

    Only where its bytes in the code page of DOS or Windows are UTF-8, or East Asian text beyond doubt.
    """
    if name.isascii():
        return name
    for wrong in ("cp437", "cp1252"):
        try:
            raw = name.encode(wrong)
        except UnicodeEncodeError:
            continue
        encoding = encoding_of([raw])
        if encoding == "utf-8":
            return raw.decode(encoding)
        if encoding in _EAST_ASIAN and any(map(_is_no_letter, name)):
            text = raw.decode(encoding)
            return name if _HALF_WIDTH.search(text) else text
    return name


def _is_no_letter(character: str) -> bool:
    """Whether a character is none that words of any Latin script hold."""
    return not character.isascii() and (not character.isalpha() or "\u0370" <= character <= "\u03ff")


def _decodes(name: bytes, encoding: str) -> bool:
    try:
        name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _east_asian(encoding: str, letters: re.Pattern[str], frequent: str) -> _Fits:
    """Fits text of ``letters``, most of them in the older, smaller character set ``frequent``."""

    def fits(names: Sequence[bytes]) -> bool:
        if not all(_decodes(name, encoding) for name in names):
            return False
        texts = [name.decode(encoding) for name in names]
        foreign = [letter for text in texts for letter in text if not letter.isascii()]
        if any(map(_ALONE_IN_A_WORD.search, texts)) or not all(map(letters.fullmatch, foreign)):
            return False
        return 3 * sum(_encodes(letter, frequent) for letter in foreign) >= 2 * len(foreign)

    return fits


def _japanese(names: Sequence[bytes]) -> bool:
    if not _east_asian("cp932", _JAPANESE, "shift_jis")(names):
        return False
    # Half-width kana are single bytes, which any double-byte text of another language looks like.
    text = b"".join(names).decode("cp932")
    return any(not letter.isascii() and not _HALF_WIDTH.match(letter) for letter in text)


def _latin(encoding: str, letters: frozenset[int]) -> _Fits:
    """Fits words of mostly ASCII letters."""

    def fits(names: Sequence[bytes]) -> bool:
        if not all(byte < 0x80 or byte in letters for name in names for byte in name):
            return False
        words = [word for name in names for word in _WORD.findall(name.decode(encoding))]
        return any(map(str.isascii, "".join(words))) and all(map(_is_latin_word, words))

    return fits


def _is_latin_word(word: str) -> bool:
    accented = sum(not letter.isascii() for letter in word)
    return accented <= 1 or 2 * accented <= len(word)


def _encodes(letter: str, encoding: str) -> bool:
    try:
        return len(letter.encode(encoding)) <= 2  # EUC-KR has spellings of eight bytes for every syllable
    except UnicodeEncodeError:
        return False


def _frequent_share(names: Sequence[bytes], encoding: str) -> float:
    text = "".join(name.decode(encoding) for name in names)
    foreign = [letter for letter in text if not letter.isascii() and category(letter) == "Lo"]
    frequent = _FREQUENT.get(encoding, "")
    return sum(letter in frequent for letter in foreign) / len(foreign) if foreign else 0.0


_EAST_ASIAN: dict[str, _Fits] = {
    "cp932": _japanese,
    "gb18030": _east_asian("gb18030", _CHINESE, "gb2312"),
    "cp950": _east_asian("cp950", _CHINESE, "big5"),
    "cp949": _east_asian("cp949", _HANGUL, "euc_kr"),
}
_LATIN: dict[str, _Fits] = {
    "cp850": _latin("cp850", _DOS_LETTERS),
    "cp1252": _latin("cp1252", _WINDOWS_LETTERS),
}
