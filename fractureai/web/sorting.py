"""What makes a study of what was sent, as the sender says it: ``grouping`` and ``pattern``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fractureai.domain.name_pattern import NamePattern
from fractureai.domain.study import Grouping
from fractureai.web.context import web
from fractureai.web.problems import Problem


@dataclass(frozen=True, slots=True)
class Sorting:
    """How files become studies."""

    grouping: Grouping = Grouping.FILE
    pattern: str = ""


def sorting_of(said: Mapping[str, Any]) -> Sorting:
    """Read ``grouping`` and ``pattern`` of a JSON object or of a form.

    Raises
    ------
    Problem
        ``bad_parameter``, with what a pattern is.
    """
    grouping = said.get("grouping") or Grouping.FILE
    pattern = said.get("pattern") or ""
    if not isinstance(grouping, str) or grouping not in set(Grouping):
        raise Problem("bad_parameter", f"“grouping” is one of {', '.join(Grouping)}.")
    if not isinstance(pattern, str):
        raise Problem("bad_parameter", "“pattern” must be text.")
    if grouping != Grouping.PATTERN:
        return Sorting(Grouping(grouping))
    if web().ports.file_name is not None:
        raise Problem("bad_parameter", "Here file names are replaced on the way in and cannot sort files. Use folders.")
    try:
        NamePattern(pattern)
    except ValueError as error:
        raise Problem("bad_parameter", str(error)) from None
    return Sorting(Grouping.PATTERN, pattern)
