"""Which views belong together, told by their file names: ``{study}_*`` fits ``12_front.png`` and ``12_side.png``.

Not a regular expression on purpose: whoever sends files writes the pattern, and a regular expression can be written
that takes a worker for ever. What this one may cost is bounded by its few parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

STUDY = "{study}"
MAX_LENGTH = 120
_MAX_STARS = 2
_PARTS = re.compile(r"(\{study\}|\*|\?)")
_MEANING = {STUDY: r"(?P<study>[^/]+)", "*": r"[^/]*?", "?": r"[^/]"}
_MAX_NAME_LENGTH = 512

HELP = (
    f"A pattern holds {STUDY} once, where the names of one study's views agree, and at most {_MAX_STARS} * for any "
    "text; ? is any one letter. Example: {study}_* for 12_front.png and 12_side.png."
)


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern of file names.

    Without ``/`` it is held against the name alone, and views in different folders are different studies; with ``/``
    against as many last parts of the path as it has. ``{study}`` takes as much as it can. Case and the ending after the
    last dot are not looked at.

    Raises
    ------
    ValueError
        If it is not a pattern; the message says what one is.
    """

    text: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _PARTS.split(self.text)
        if parts.count(STUDY) != 1 or parts.count("*") > _MAX_STARS or len(self.text) > MAX_LENGTH:
            raise ValueError(HELP)
        if not self.text.isprintable() or re.search(r"\*\*|\*\{study\}|\{study\}\*", self.text):
            # Two that may both be any text, side by side: where one ends would be a guess.
            raise ValueError(f"Between {STUDY} and * there must be something that parts them, such as _ or -. {HELP}")
        compiled = "".join(_MEANING.get(part) or re.escape(part) for part in parts)
        object.__setattr__(self, "_compiled", re.compile(compiled, re.IGNORECASE))

    def study_of(self, file_name: str) -> str | None:
        """What the views of one study share, ``None`` for a name that does not fit.

        ``folder/12`` for ``folder/12_front.png`` and ``{study}_*``.
        """
        path = PurePosixPath(file_name[-_MAX_NAME_LENGTH:])
        depth = self.text.count("/") + 1
        *folders, name = path.parts or ("",)
        stem = name[: name.rfind(".")] if "." in name[1:] else name
        ending = "." in self.text.rsplit("/", 1)[-1]
        tail = [*folders, name if ending else stem][-depth:]
        found = self._compiled.fullmatch("/".join(tail))
        if found is None:
            return None
        return "/".join([*path.parts[:-depth], found["study"].casefold()])
