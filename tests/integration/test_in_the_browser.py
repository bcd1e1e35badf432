"""A hospital's folder through the real service, in a real browser: sent, interrupted, followed, read, taken home."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import pytest

from fractureai.phantoms.render import PhantomSpec, render
from tests.bad_files import bad_files
from tests.browser.conftest import browser as browser
from tests.browser.conftest import picture_folder as picture_folder
from tests.browser.driving import complaints, css, keep_picture, line, look, text_of, until
from tests.browser.test_study import zoom_of
from tests.browser.test_upload import choose_folder
from tests.integration.conftest import Service

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.timeout(480)]

GOOD = 191
# Three of the bad files are of one DICOM examination, and the empty one is not even sent.
BAD_STUDIES = len(bad_files()) - 3


def _folder(path: Path) -> Path:
    """Two hundred radiographs, some bad, in the folders of five patients, with what a disc has besides."""
    drawn = [render(PhantomSpec("hand", "frontal", number % 2 == 0, number, 220, 176)).pixels for number in range(6)]
    for number in range(GOOD):
        pixels = (drawn[number % len(drawn)] >> 4).astype("uint8")
        pixels[0, 0] = number  # no two alike
        place = path / f"patient {number % 5}" / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    for name, data, _ in bad_files():
        (path / name).write_bytes(data)
    (path / "disc").mkdir()
    (path / "disc" / "DICOMDIR").write_bytes(b"an index")
    return path


def _counts(browser: Any) -> dict[str, int]:
    terms, values = (browser.find_elements("css selector", f".counts {tag}") for tag in ("dt", "dd"))
    return {term.text: int(value.text) for term, value in zip(terms, values, strict=True)}


def _downloaded(folder: Path, suffix: str) -> Path | None:
    return next((file for file in folder.iterdir() if file.suffix == suffix), None)


def test_two_hundred_files_from_the_folder_to_the_reports(
    browser: Any, service: Service, tmp_path: Path, picture_folder: Path | None
) -> None:
    folder = _folder(tmp_path / "monday")
    look(browser, 1280, "light")
    browser.get(f"{service.url}/predict")
    choose_folder(browser, folder)
    assert css(browser, "[data-queue-title]").text == f"{GOOD + len(bad_files()) + 1} files"
    css(browser, "input[name=label]").send_keys("Monday")
    line(browser, bytes_a_second=600_000)
    css(browser, "[data-send]").click()
    until(lambda: len(browser.find_elements("css selector", ".files .sent")) > 4)
    browser.refresh()

    # The window was closed in the middle; the next day the same folder is chosen again.
    line(browser)
    browser.get(f"{service.url}/predict")
    until(lambda: css(browser, "[data-resume]").is_displayed())
    choose_folder(browser, folder)
    until(lambda: css(browser, "[data-send]").text.startswith("Go on with"))
    assert int(css(browser, "[data-send]").text.split()[3]) < GOOD + len(bad_files()) - 1
    css(browser, "[data-send]").click()
    until(lambda: "/batches/" in browser.current_url, seconds=120)
    batch_id = browser.current_url.rsplit("/", 1)[1]
    assert complaints(browser) == []
    keep_picture(browser, picture_folder, "real-batch-begun")

    # The page fills by itself, and says when it is through.
    until(lambda: "studies a minute" in text_of(browser), seconds=120)
    keep_picture(browser, picture_folder, "real-batch-going")
    until(lambda: "finished" in css(browser, ".facts").text, seconds=400)
    keep_picture(browser, picture_folder, "real-batch-done")
    counts = _counts(browser)
    assert counts["Studies"] == GOOD + BAD_STUDIES
    assert counts["In progress"] == 0
    assert counts["Could not be read"] == BAD_STUDIES
    assert "Failed" not in counts
    assert service.client.batch(batch_id).finished
    css(browser, "nav[aria-label='Filter by outcome'] a[href*=rejected]").click()
    until(lambda: "outcome=rejected" in browser.current_url)
    assert len(browser.find_elements("css selector", "[data-studies] tbody tr")) == BAD_STUDIES
    assert "This is not a DICOM, PNG, JPEG, TIFF or WebP image" in text_of(browser)

    # What is taken home.
    home = tmp_path / "home"
    home.mkdir()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(home)})
    css(browser, "a[href$='results.csv']").click()
    table = until(lambda: _downloaded(home, ".csv"), seconds=60).read_text("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(table)))) == GOOD + BAD_STUDIES
    css(browser, "a[href$='reports.zip']").click()
    archive = until(lambda: _downloaded(home, ".zip"), seconds=120)
    with zipfile.ZipFile(archive) as reports:
        assert reports.testzip() is None
        assert sum(name.endswith(".pdf") for name in reports.namelist()) == counts["Done"]

    # One study, read.
    browser.get(f"{service.url}/batches/{batch_id}?outcome=done")
    css(browser, "[data-studies] tbody a").click()
    until(lambda: css(browser, "[data-film-buttons]").is_displayed())
    css(browser, "[data-zoom-in]").click()
    assert zoom_of(browser) == 1.25
    css(browser, "[name=agreement][value=agree]").click()
    css(browser, ".reading [type=submit]").click()
    until(lambda: "A reader agrees" in text_of(browser))
    keep_picture(browser, picture_folder, "real-study")
    report = css(browser, "a[href$='report.pdf']")
    # As a person does: from under the head of the page, where the view was scrolled, into sight.
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", report)
    report.click()
    assert until(lambda: _downloaded(home, ".pdf"), seconds=60).read_bytes().startswith(b"%PDF")
    assert complaints(browser) == []
