"""The pages in a real browser: looks, keyboard, the theme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.driving import complaints, css, keep_picture, look, type_keys, until

READ = ("fracture", "suspected", "normal", "inconclusive", "mixed", "rejected", "failed")
PAGES = ("home", "predict", "worklist", "features", "models", "faq", "nothing", "batch", "open", *READ)
LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light"), "small": (360, "dark")}


@pytest.mark.parametrize("name", LOOKS)
def test_every_page_fits_and_complains_of_nothing(
    browser: Any, site: Site, picture_folder: Path | None, name: str
) -> None:
    width_px, scheme = LOOKS[name]
    look(browser, width_px, scheme)
    for page in PAGES:
        browser.get(site.url + site.pages[page])
        until(lambda: browser.execute_script("return [...document.images].every((image) => image.complete)"))
        wide_px = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide_px <= width_px, f"{page} is {wide_px} px wide"
        broken = browser.execute_script("return [...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)")
        assert broken == []
        assert complaints(browser) == []
        keep_picture(browser, picture_folder, f"{page}-{name}")


def test_the_keyboard_reaches_everything(browser: Any, site: Site) -> None:
    look(browser, 1280, "light")
    browser.get(f"{site.url}/predict")
    seen = []
    for _ in range(14):
        type_keys(browser, "\ue004")
        active = browser.switch_to.active_element
        seen.append(active.get_attribute("name") or active.text or active.get_attribute("aria-label"))
    assert seen[0] == "Skip to the content"
    assert {"Analyse", "Worklist", "Light or dark", "files", "grouping", "label"} <= set(seen)


def test_the_theme_is_remembered(browser: Any, site: Site) -> None:
    look(browser, 1280, "light")
    browser.get(f"{site.url}/")
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(colour)
    css(browser, "[data-theme-toggle]").click()
    dark = browser.execute_script(colour)
    assert dark != light
    browser.get(f"{site.url}/faq")
    assert browser.execute_script(colour) == dark
    browser.execute_script("localStorage.clear()")
