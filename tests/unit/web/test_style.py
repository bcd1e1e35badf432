"""The style sheet's colours can be read (WCAG 2.2, success criterion 1.4.3: 4.5 to 1)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SHEET = (files("fractureai.web") / "static" / "base.css").read_text()
PAIRS = [
    *((ink, ground) for ink in ("text", "muted", "accent", "accent-strong") for ground in ("ground", "surface")),
    *((ink, "sunken") for ink in ("text", "muted")),
    *((tone, f"{tone}-soft") for tone in ("fracture", "suspected", "neutral", "clear")),
    *(("text", f"{tone}-soft") for tone in ("fracture", "suspected", "neutral", "clear")),
    ("fracture", "surface"),
    ("clear", "surface"),
    ("accent", "clear-soft"),
    ("fracture", "neutral-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
]


def tokens(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block))


LIGHT = tokens(SHEET.split("@media", 1)[0])
BY_SYSTEM = tokens(SHEET.split("@media (prefers-color-scheme: dark)", 1)[1].split('[data-theme="dark"]', 1)[0])
BY_CHOICE = tokens(SHEET.split('[data-theme="dark"]', 1)[1].split("}", 1)[0])


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, BY_SYSTEM], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_contrast(theme: dict[str, str], ink: str, ground: str) -> None:
    bright, dim = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_dark_is_the_same_however_it_was_chosen() -> None:
    assert BY_CHOICE == BY_SYSTEM
    assert BY_SYSTEM.keys() == LIGHT.keys()
