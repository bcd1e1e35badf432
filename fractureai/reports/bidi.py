"""Text that runs from right to left, put into the order in which it is drawn.

The Unicode Bidirectional Algorithm (Unicode Standard Annex 9) without explicit embeddings, overrides and isolates:
those characters are taken out of every text before it comes here, because nobody should be able to turn a report's
words round. Without bracket pairing (rule N0) as well, which a line of names and dates does not miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import bidirectional

_STRONG = {"L": "L", "R": "R", "AL": "R"}
_NEUTRAL = {"B", "S", "WS", "ON", "BN", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", ""}


def has_right_to_left(text: str) -> bool:
    """Whether any character of ``text`` is of a script written from right to left."""
    return not text.isascii() and any(bidirectional(character) in ("R", "AL", "AN") for character in text)


def base_level(text: str) -> int:
    """0 where the first strong character runs from left to right, 1 where it runs from right to left (rules P2, P3)."""
    for character in text:
        strong = _STRONG.get(bidirectional(character))
        if strong:
            return int(strong == "R")
    return 0


def levels(text: str, base: int) -> list[int]:
    """The embedding level of each character: even runs from left to right, odd from right to left (rules W1 to L1)."""
    edge = "R" if base else "L"
    kinds = _weak([bidirectional(character) for character in text], edge)
    _neutral(kinds, edge)
    result = []
    for kind in kinds:
        if base == 0:
            result.append({"L": 0, "R": 1}.get(kind, 2))
        else:
            result.append(1 if kind == "R" else 2)
    for index in range(len(text) - 1, -1, -1):
        if bidirectional(text[index]) not in ("WS", "S", "B"):
            break
        result[index] = base
    return result


def visual_order(run_levels: Sequence[int]) -> list[int]:
    """Indices of the runs from left to right, given their levels in the order of reading (rule L2)."""
    order = list(range(len(run_levels)))
    for level in range(max(run_levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            if run_levels[order[start]] < level:
                start += 1
                continue
            end = start
            while end < len(order) and run_levels[order[end]] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = end
    return order


def _weak(kinds: list[str], edge: str) -> list[str]:
    """Rules W1 to W7: marks, numbers and what stands between numbers."""
    previous = edge
    for index, kind in enumerate(kinds):  # W1
        if kind == "NSM":
            kinds[index] = previous
        previous = kinds[index]
    strong = edge
    for index, kind in enumerate(kinds):  # W2, W3
        if kind in _STRONG:
            strong = kind
        if kind == "EN" and strong == "AL":
            kinds[index] = "AN"
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for index in range(1, len(kinds) - 1):  # W4
        before, kind, after = kinds[index - 1 : index + 2]
        if before == after and ((kind in ("ES", "CS") and before == "EN") or (kind == "CS" and before == "AN")):
            kinds[index] = before
    _terminators(kinds)
    strong = edge
    for index, kind in enumerate(kinds):  # W6, W7
        if kind in ("ES", "CS", "ET"):
            kinds[index] = "ON"
        elif kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[index] = "L"
    return kinds


def _terminators(kinds: list[str]) -> None:
    """Rule W5: a run of terminators such as ``%`` beside a number belongs to the number."""
    start = 0
    while start < len(kinds):
        if kinds[start] != "ET":
            start += 1
            continue
        end = start
        while end < len(kinds) and kinds[end] == "ET":
            end += 1
        if (start and kinds[start - 1] == "EN") or (end < len(kinds) and kinds[end] == "EN"):
            kinds[start:end] = ["EN"] * (end - start)
        start = end


def _neutral(kinds: list[str], edge: str) -> None:
    """Rules N1 and N2: what has no direction takes that of both neighbours, or the line's."""
    start = 0
    while start < len(kinds):
        if kinds[start] not in _NEUTRAL:
            start += 1
            continue
        end = start
        while end < len(kinds) and kinds[end] in _NEUTRAL:
            end += 1
        before = _side(kinds[start - 1]) if start else edge
        after = _side(kinds[end]) if end < len(kinds) else edge
        kinds[start:end] = [before if before == after else edge] * (end - start)
        start = end


def _side(kind: str) -> str:
    """Numbers count as right to left for their neutral neighbours."""
    return "L" if kind == "L" else "R"
