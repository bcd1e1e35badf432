"""What one entry of the catalogue is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

READ = "read"
"""Expected of what is odd but honest: it is analysed."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """A hostile file and the expected answer.

    Attributes
    ----------
    name:
        File name; also what it is called in the catalogue.
    expected:
        Reason code, or :data:`READ`; of an archive, by member as it is shown, ``""`` for the archive itself.
    """

    name: str
    data: bytes
    expected: str | Mapping[str, str]

    def answers(self) -> dict[str, str]:
        """Every label that must come out, with its code."""
        if isinstance(self.expected, str):
            return {self.name: self.expected}
        return {f"{self.name}/{member}" if member else self.name: code for member, code in self.expected.items()}
