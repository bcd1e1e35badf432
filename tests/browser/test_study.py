"""The study's page: looking at images, and saying what one thinks of the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.driving import complaints, css, keep_picture, look, text_of, type_keys, until

ZOOM = "return Number(document.querySelector('#view-{} [data-film]').style.getPropertyValue('--zoom'))"


@pytest.fixture(autouse=True)
def fresh(browser: Any, site: Site) -> Iterator[None]:
    look(browser, 1280, "light")
    browser.get(f"{site.url}/faq")
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    yield
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    assert complaints(browser) == []


@pytest.fixture
def study(browser: Any, site: Site) -> Any:
    browser.get(site.url + site.pages["fracture"])
    until(lambda: browser.execute_script("return [...document.images].every((image) => image.complete)"))
    until(lambda: css(browser, "[data-display]").is_displayed())
    return browser


def zoom_of(browser: Any, view: int = 1) -> float:
    return float(browser.execute_script(ZOOM.format(view)))


def drag_by(browser: Any, selector: str, x: int, y: int) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).click_and_hold(css(browser, selector)).move_by_offset(x, y).release().perform()


def set_slider(browser: Any, name: str, value: int) -> None:
    script = "const [e, v] = arguments; e.value = v; e.dispatchEvent(new Event('input', {bubbles: true}))"
    browser.execute_script(script, css(browser, f"[name={name}]"), value)


def brightness(browser: Any, selector: str) -> float:
    """Mean grey value of the middle of an element, as the screen shows it. 0..255."""
    import base64

    import cv2
    import numpy as np

    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", css(browser, selector))
    top = box["y"] + browser.execute_script("return scrollY")
    clip = {"x": box["x"] + box["width"] * 0.3, "y": top + box["height"] * 0.3, "scale": 1}
    clip |= {"width": box["width"] * 0.4, "height": box["height"] * 0.4}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(shot["data"]), np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(pixels.mean())


def test_views_side_by_side_or_one_by_one(study: Any) -> None:
    assert css(study, "#view-1").is_displayed()
    assert css(study, "#view-2").is_displayed()
    css(study, "[name=layout][value=single]").click()
    assert not css(study, "#view-2").is_displayed()
    css(study, "#tab-1").send_keys("\ue014")
    assert css(study, "#view-2").is_displayed()
    assert not css(study, "#view-1").is_displayed()
    assert css(study, "#tab-2").get_attribute("aria-selected") == "true"
    assert study.switch_to.active_element.get_attribute("id") == "tab-2"
    study.refresh()
    until(lambda: css(study, "#tab-1").is_displayed())


def test_attention_and_region_of_interest_come_and_go(study: Any, picture_folder: Path | None) -> None:
    opacity = "return getComputedStyle(document.querySelector('#view-1 [data-heat]')).opacity"
    assert study.execute_script(opacity) == "0.55"
    set_slider(study, "opacity", 0)
    assert study.execute_script(opacity) == "0"
    assert css(study, "[data-of=opacity]").text == "0 %"
    css(study, "[name=roi]").click()
    assert not css(study, "#view-1 [data-roi]").is_displayed()
    study.refresh()
    until(lambda: study.execute_script(opacity) == "0")
    type_keys(study, "ab")
    assert study.execute_script(opacity) == "0.55"
    assert css(study, "#view-1 [data-roi]").is_displayed()


def test_window_level_and_inversion_change_the_grey_values(study: Any, picture_folder: Path | None) -> None:
    set_slider(study, "opacity", 0)
    type_keys(study, "b")
    film = "#view-1 [data-pixels]"
    plain = brightness(study, film)
    set_slider(study, "level", 40)
    assert brightness(study, film) > plain + 40
    set_slider(study, "level", 220)
    assert brightness(study, film) < plain - 40
    css(study, "[data-reset]").click()
    assert brightness(study, film) == pytest.approx(plain, abs=1)
    css(study, "[name=invert]").click()
    assert brightness(study, film) == pytest.approx(255 - plain, abs=3)
    keep_picture(study, picture_folder, "study-inverted")
    css(study, "[data-reset]").click()
    type_keys(study, "w")
    drag_by(study, "#view-1 [data-film-room]", -100, 30)
    assert css(study, "[data-of=window]").text == "155"
    assert css(study, "[data-of=level]").text == "158"
    assert zoom_of(study) == 1


def test_zoom_and_pan_by_wheel_buttons_keys_and_drag(study: Any, picture_folder: Path | None) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    room = css(study, "#view-1 [data-film-room]")
    study.execute_script("arguments[0].scrollIntoView({block: 'center'})", room)
    before = study.execute_script("return scrollY")
    origin = ScrollOrigin.from_element(room)
    room.click()
    ActionChains(study).scroll_from_origin(origin, 0, -400).perform()
    until(lambda: zoom_of(study) > 1.5)
    assert study.execute_script("return scrollY") == before
    assert zoom_of(study, 2) == 1
    place = "return document.querySelector('#view-1 [data-film]').style.transform"
    where = study.execute_script(place)
    drag_by(study, "#view-1 [data-film-room]", 30, 20)
    assert study.execute_script(place) != where
    where = study.execute_script(place)
    type_keys(study, "\ue014")
    assert study.execute_script(place) != where
    keep_picture(study, picture_folder, "study-zoomed")
    type_keys(study, "0")
    assert zoom_of(study) == 1
    type_keys(study, "++")
    assert zoom_of(study) == pytest.approx(1.5625)
    css(study, "#view-1 [data-zoom-out]").click()
    assert css(study, "#view-1 [data-zoom]").text == "125 %"
    css(study, "#view-1 [data-zoom-fit]").click()
    ActionChains(study).double_click(room).perform()
    assert zoom_of(study) == 2.5
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
    room_box, film_box = (study.execute_script(script, f"#view-1 [data-film{part}]") for part in ("-room", ""))
    outside = film_box["left"] > room_box["left"] + 1 or film_box["right"] < room_box["right"] - 1
    assert not outside, "an enlarged image fills its room"


def test_two_fingers_enlarge_the_image_and_one_scrolls_the_page(browser: Any, site: Site) -> None:
    look(browser, 390, "dark")
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    try:
        browser.get(site.url + site.pages["fracture"])
        until(lambda: css(browser, "[data-film-buttons]").is_displayed())
        browser.execute_script("document.querySelector('#view-1 [data-film-room]').scrollIntoView({block: 'center'})")
        box = css(browser, "#view-1 [data-film-room]").rect
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 - browser.execute_script("return scrollY")

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": at[0], "y": at[1], "id": number} for number, at in enumerate(places)]
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (x - 30, y), (x + 30, y))
        for far in range(35, 95, 5):
            touch("touchMove", (x - far, y), (x + far, y))
        touch("touchEnd")
        until(lambda: zoom_of(browser) > 2)
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_reader_says_what_they_think(study: Any, site: Site, picture_folder: Path | None) -> None:
    assert not css(study, "[name=assessment]").is_displayed()
    css(study, "[name=agreement][value=disagree]").click()
    css(study, "[name=assessment]").send_keys("No f")
    css(study, "[name=region]").send_keys("Hand")
    css(study, "[name=reader]").send_keys("Dr. A")
    css(study, "[name=comment]").send_keys("<b>Old</b> healed line")
    css(study, ".reading [type=submit]").click()
    until(lambda: "Dr. A disagrees: no fracture; region: hand" in text_of(study))
    assert "<b>Old</b> healed line" in text_of(study)
    keep_picture(study, picture_folder, "study-said")
    study_id = site.pages["fracture"].rsplit("/", 1)[1]
    (verdict,) = site.ports.ledger.verdicts(study_id, site="local")
    assert verdict.reader == "Dr. A"
    study.get(site.url + site.pages["suspected"])
    until(lambda: css(study, "[name=reader]").get_attribute("value") == "Dr. A")


def test_keys_walk_the_list_and_lead_on_from_study_to_study(browser: Any, site: Site) -> None:
    browser.get(f"{site.url}/worklist?order=most_suspicious")
    until(lambda: css(browser, "[data-help-open]").is_displayed())
    type_keys(browser, "jjk")
    first = browser.switch_to.active_element
    assert first.text.startswith("Case 2088")
    type_keys(browser, "\ue007")
    until(lambda: "/studies/" in browser.current_url)
    until(lambda: css(browser, "[data-trail]").is_displayed())
    assert css(browser, "[data-place]").text.startswith("1 of ")
    assert not browser.find_elements("css selector", "[data-before]")
    type_keys(browser, "j")
    until(lambda: "Case 2089" in text_of(browser))
    type_keys(browser, "k")
    until(lambda: "Case 2088" in text_of(browser))
    css(browser, "[data-list-link]").click()
    until(lambda: browser.current_url.endswith("?order=most_suspicious"))
    type_keys(browser, "/")
    type_keys(browser, "2090j\ue007")
    until(lambda: "?search=" in browser.current_url)
    assert "2090j" not in browser.current_url
    assert "No study fits this" in text_of(browser)


def test_single_keys_can_be_switched_off(browser: Any, site: Site, picture_folder: Path | None) -> None:
    browser.get(f"{site.url}/worklist")
    until(lambda: css(browser, "[data-help-open]").is_displayed())
    type_keys(browser, "?")
    assert css(browser, "[data-help]").is_displayed()
    keep_picture(browser, picture_folder, "keys")
    css(browser, "[data-keys-on]").click()
    type_keys(browser, "\ue00c")
    assert not css(browser, "[data-help]").is_displayed()
    browser.refresh()
    until(lambda: css(browser, "[data-help-open]").is_displayed())
    type_keys(browser, "?j")
    assert not css(browser, "[data-help]").is_displayed()
    assert browser.switch_to.active_element.tag_name == "body"
