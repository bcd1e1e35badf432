"""Sending: one study, thousands of files, lost lines, reloads, refusals."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fractureai.domain import keys
from fractureai.domain.study import Batch, Grouping, Stage, Study
from fractureai.domain.study_json import batch_from_json
from fractureai.stages.artifacts import read_json
from tests.browser.conftest import Site
from tests.browser.driving import complaints, css, keep_picture, line, look, text_of, until
from tests.browser.samples import View, advance, finish, receive


@pytest.fixture(autouse=True)
def fresh(browser: Any, site: Site) -> Iterator[None]:
    """A good line, and nothing remembered of the test before."""
    line(browser)
    browser.get(f"{site.url}/faq")
    browser.execute_script("indexedDB.deleteDatabase('fractureai-uploads')")
    look(browser, 1280, "light")
    yield
    line(browser)
    site.refused.clear()


def folder_of(path: Path, names: list[str], size_bytes: int = 2000) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode() + os.urandom(size_bytes))
    return path


def choose_folder(browser: Any, folder: Path) -> None:
    css(browser, "[data-folder]").send_keys(str(folder))
    until(lambda: css(browser, "[data-queue]").is_displayed())


def received(browser: Any, site: Site) -> Batch:
    """The batch whose page the browser has come to, as the intake finds it."""
    until(lambda: "/batches/" in browser.current_url, seconds=40)
    batch_id = browser.current_url.rsplit("/", 1)[1]
    claim = site.ports.ledger.claim_batch(batch_id, owner="t", now_s=time.time(), lease_s=60)
    assert claim is not None
    return claim.batch


def names_of(batch: Batch) -> list[str]:
    return [upload.file_name for upload in batch.uploads]


def sort_into_one(browser: Any, site: Site, label: str) -> Study:
    """Be the intake for what the browser has just sent: all of it is one study. It is the page's turn then."""
    batch_id = until(lambda: css(browser, "[data-batch-link]").get_attribute("href")).rsplit("/", 1)[1]
    claim = until(lambda: site.ports.ledger.claim_batch(batch_id, owner="t", now_s=time.time(), lease_s=60))
    assert claim.batch.grouping in {Grouping.STUDY, Grouping.FILE}
    views = [View(upload.file_name) for upload in claim.batch.uploads]
    study = receive(site.ports, views, label=label, batch_id=batch_id)
    site.ports.ledger.unpacked(claim, (study,), (), now_s=time.time())
    return study


def test_views_of_one_study_are_sent_and_followed_to_the_result(browser: Any, site: Site, tmp_path: Path) -> None:
    look(browser, 1280, "light")
    files = [tmp_path / "front.png", tmp_path / "side.png"]
    for file in files:
        file.write_bytes(b"pixels")
    browser.get(f"{site.url}/predict")
    css(browser, "[data-files]").send_keys("\n".join(map(str, files)))
    css(browser, "input[name=grouping][value=study]").click()
    css(browser, "input[name=label]").send_keys("Case 12")
    assert css(browser, "[data-send]").text == "Analyse 2 files"
    css(browser, "[data-send]").click()
    study = sort_into_one(browser, site, "Case 12")
    until(lambda: f"/studies/{study.study_id}" in browser.current_url)
    assert [image.file_name for image in study.images] == ["front.png", "side.png"]
    assert "Case 12" in text_of(browser)
    advance(site.ports, study, Stage.EXPLAIN)
    until(lambda: css(browser, "[aria-current=step]").text.startswith("Show the attention"))
    views = [View("front.png", probability=0.9), View("side.png", probability=0.1)]
    finish(site.ports, study, views)
    until(lambda: "Fracture likely" in text_of(browser))
    assert "Fracture likely" in css(browser, "[data-live-say]").get_attribute("textContent")
    assert css(browser, "#view-1").is_displayed()
    assert css(browser, "[data-display]").is_displayed()
    assert complaints(browser) == []


def test_a_mixed_choice_is_sent_as_a_batch_and_followed(browser: Any, site: Site, tmp_path: Path) -> None:
    look(browser, 1280, "light")
    names = [f"{number}.png" for number in range(7)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "empty.png").touch()
    browser.get(f"{site.url}/predict")
    css(browser, "[data-files]").send_keys("\n".join(str(tmp_path / name) for name in [*names, "empty.png"]))
    until(lambda: "The file is empty." in css(browser, ".files").text)
    css(browser, "[data-send]").click()
    until(lambda: "/batches/" in browser.current_url)
    batch_id = browser.current_url.rsplit("/", 1)[1]
    assert "being sorted into studies" in text_of(browser)
    claim = site.ports.ledger.claim_batch(batch_id, owner="t", now_s=time.time(), lease_s=60)
    assert claim is not None
    assert [upload.file_name for upload in claim.batch.uploads] == names
    site.ports.ledger.unpacked(claim, (), (), now_s=time.time())
    study = receive(site.ports, [View("0.png")], label="The first", batch_id=batch_id)
    until(lambda: "The first" in text_of(browser))
    finish(site.ports, study, [View("0.png", probability=0.9)])
    until(lambda: "Fracture likely" in text_of(browser))
    until(lambda: not browser.find_elements("css selector", "[data-live-url]"))


def test_what_the_server_refuses_is_shown_at_the_file(browser: Any, site: Site, tmp_path: Path) -> None:
    look(browser, 1280, "light")
    site.refused["huge.png"] = "too_many_bytes"
    (tmp_path / "huge.png").write_bytes(b"more than the service takes")
    (tmp_path / "good.png").write_bytes(b"pixels")
    browser.get(f"{site.url}/predict")
    css(browser, "[data-files]").send_keys(f"{tmp_path / 'huge.png'}\n{tmp_path / 'good.png'}")
    css(browser, "input[name=grouping][value=study]").click()
    css(browser, "[data-send]").click()
    until(lambda: css(browser, "[data-rest]").is_displayed())
    until(lambda: "huge.png" in "".join(row.text for row in browser.find_elements("css selector", ".files .bad")))
    assert "larger than this service accepts" in css(browser, ".files").text


def test_views_of_one_study_survive_a_reload(browser: Any, site: Site, tmp_path: Path) -> None:
    names = [f"view {number}.png" for number in range(6)]
    folder = folder_of(tmp_path / "patient", names, 200_000)
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    css(browser, "input[name=grouping][value=study]").click()
    line(browser, bytes_a_second=150_000)
    css(browser, "[data-send]").click()
    until(lambda: browser.find_elements("css selector", ".files .sent"), seconds=30)
    css(browser, "[data-pause]").click()
    until(lambda: css(browser, "[data-give-up]").is_displayed())
    browser.refresh()
    until(lambda: css(browser, "[data-resume]").is_displayed())
    assert css(browser, "input[name=grouping][value=study]").is_selected()
    arrived = int(css(browser, "[data-complete]").text.split()[3])
    seen = len(site.requests)
    line(browser)
    choose_folder(browser, folder)
    css(browser, "[data-send]").click()
    study = sort_into_one(browser, site, "")
    until(lambda: f"/studies/{study.study_id}" in browser.current_url)
    assert [image.file_name for image in study.images] == [f"patient/{name}" for name in names]
    assert sum("PUT" in entry for entry in site.requests[seen:]) == 6 - arrived


def test_a_pattern_of_names_sorts_the_files(
    browser: Any, site: Site, tmp_path: Path, picture_folder: Path | None
) -> None:
    folder = folder_of(tmp_path / "scans", ["12_front.png", "12_side.png", "13_front.png"])
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    assert not css(browser, "[data-pattern]").is_displayed()
    css(browser, "input[name=grouping][value=pattern]").click()
    field = css(browser, "[name=pattern]")
    field.clear()
    field.send_keys("(.*)+")
    css(browser, "[data-send]").click()
    assert browser.execute_script("return document.querySelector('[name=pattern]').validity.patternMismatch")
    field.clear()
    field.send_keys("{study}_*")
    keep_picture(browser, picture_folder, "upload-pattern")
    css(browser, "[data-send]").click()
    batch = received(browser, site)
    assert batch.grouping is Grouping.PATTERN
    assert batch_from_json(read_json(site.ports.store, keys.batch_json("local", batch.batch_id))).pattern == "{study}_*"


def test_ten_thousand_files_do_not_freeze_the_page(browser: Any, site: Site, picture_folder: Path | None) -> None:
    browser.get(f"{site.url}/predict")
    script = """
        const transfer = new DataTransfer();
        for (let n = 1; n <= 10000; n += 1) transfer.items.add(new File([`${n}`], `IM${n}.dcm`));
        const input = document.querySelector("[data-files]");
        input.files = transfer.files;
        const before = performance.now();
        input.dispatchEvent(new Event("change"));
        requestAnimationFrame(() => requestAnimationFrame(() => arguments[0](performance.now() - before)));
    """
    took_ms = browser.execute_async_script(script)
    assert took_ms < 3000
    assert css(browser, "[data-queue-title]").text == "10,000 files"
    rows = until(lambda: browser.find_elements("css selector", ".files li"))
    assert 5 < len(rows) < 40
    assert rows[0].text.startswith("IM1.dcm")
    assert css(browser, "[data-send]").text == "Analyse 5000 files"
    browser.execute_script("document.querySelector('[data-list]').scrollTop = 1e9")
    until(lambda: "IM10000.dcm" in css(browser, ".files").text)
    assert "One upload takes at most 5000 files." in css(browser, ".files").text
    assert len(browser.find_elements("css selector", ".files li")) < 40
    keep_picture(browser, picture_folder, "upload-surplus")


def test_a_folder_is_dropped(browser: Any, site: Site, tmp_path: Path) -> None:
    names = [f"case {case}/{view}.dcm" for case in range(3) for view in range(2)]
    folder = folder_of(tmp_path / "monday", [*names, "DICOMDIR", "viewer/run.exe", "viewer/icon.png"])
    browser.get(f"{site.url}/predict")
    place = css(browser, "[data-drop]").rect
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    at = {"x": place["x"] + 200, "y": place["y"] + 40}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "data": data, **at})
    until(lambda: css(browser, "[data-queue-title]").text == "9 files")
    until(lambda: "The index of a disc" in css(browser, ".files").text)
    assert "Part of a disc’s viewer" in css(browser, ".files").text
    assert "A picture of a disc’s viewer" in css(browser, ".files").text
    css(browser, "input[name=grouping][value=folder]").click()
    css(browser, "[data-send]").click()
    batch = received(browser, site)
    assert names_of(batch) == [f"monday/{name}" for name in names]
    assert batch.grouping is Grouping.FOLDER


def test_a_lost_line_is_waited_for(browser: Any, site: Site, tmp_path: Path, picture_folder: Path | None) -> None:
    names = [f"{number:03}.dcm" for number in range(40)]
    folder_of(tmp_path / "scans", names, 10_000)
    browser.get(f"{site.url}/predict")
    choose_folder(browser, tmp_path / "scans")
    line(browser, bytes_a_second=100_000)
    css(browser, "[data-send]").click()
    until(lambda: browser.find_elements("css selector", ".files .sent"))
    line(browser, online=False)
    until(lambda: css(browser, "[data-line]").is_displayed())
    assert "The connection was lost. Trying again" in css(browser, "[data-line]").text
    keep_picture(browser, picture_folder, "upload-offline")
    leaving = "const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented"
    assert browser.execute_script(leaving)
    line(browser)
    assert names_of(received(browser, site)) == [f"scans/{name}" for name in names]


def test_an_upload_is_paused_and_survives_a_reload(
    browser: Any, site: Site, tmp_path: Path, picture_folder: Path | None
) -> None:
    names = [f"{number:03}.dcm" for number in range(60)]
    folder = folder_of(tmp_path / "scans", names, 10_000)
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    css(browser, "input[name=label]").send_keys("Monday")
    line(browser, bytes_a_second=150_000)
    css(browser, "[data-send]").click()
    until(lambda: len(browser.find_elements("css selector", ".files .sent")) > 4)
    keep_picture(browser, picture_folder, "upload-sending")
    css(browser, "[data-pause]").click()
    until(lambda: css(browser, "[data-give-up]").is_displayed())
    until(lambda: "paused" in css(browser, "[data-total-text]").text)
    browser.refresh()
    until(lambda: css(browser, "[data-resume]").is_displayed())
    # What was under way when it was paused may have arrived as well: the server knows.
    arrived = int(css(browser, "[data-complete]").text.split()[3])
    assert 4 < arrived < 60
    assert f"“Monday”: {arrived} of 60 files arrived" in css(browser, "[data-resume]").text
    # One was changed since, one touched only: the first is sent again, the second is known by its content.
    (folder / names[0]).write_bytes(b"another picture")
    os.utime(folder / names[1], (1, 1))
    seen = len(site.requests)
    line(browser)
    choose_folder(browser, folder)
    until(lambda: css(browser, "[data-send]").text == f"Go on with {61 - arrived} files")
    keep_picture(browser, picture_folder, "upload-resumed")
    css(browser, "[data-send]").click()
    batch = received(browser, site)
    assert names_of(batch) == [f"scans/{name}" for name in names]
    assert batch.uploads[0].size_bytes == len(b"another picture")
    assert batch.label == "Monday"
    assert sum("PUT" in entry for entry in site.requests[seen:]) == 61 - arrived
    browser.get(f"{site.url}/predict")
    assert not css(browser, "[data-resume]").is_displayed()
    assert complaints(browser) == []


def test_what_was_refused_keeps_its_reason_and_is_sent_again(
    browser: Any, site: Site, tmp_path: Path, picture_folder: Path | None
) -> None:
    folder_of(tmp_path / "scans", ["a.dcm", "b.dcm", "c.dcm"])
    site.refused["b.dcm"] = "bad_request"
    browser.get(f"{site.url}/predict")
    choose_folder(browser, tmp_path / "scans")
    css(browser, "[data-send]").click()
    until(lambda: css(browser, "[data-rest]").is_displayed())
    assert "1 file did not go with it" in css(browser, "[data-rest]").text
    until(lambda: "The request could not be understood" in css(browser, ".files").text)
    keep_picture(browser, picture_folder, "upload-rest")
    first = css(browser, "[data-rest-link]").get_attribute("href").rsplit("/", 1)[1]
    row = site.ports.ledger.batch(first, site="local")
    assert row is not None
    assert row.upload_count == 2
    site.refused.clear()
    page = css(browser, "[data-batch-link]").get_attribute("href")
    css(browser, "[data-send-rest]").click()
    css(browser, "[data-send]").click()
    until(lambda: css(browser, "[data-batch-link]").get_attribute("href") != page)
    study = sort_into_one(browser, site, "")
    until(lambda: f"/studies/{study.study_id}" in browser.current_url)


def test_a_file_that_went_away_is_told_from_a_lost_line(browser: Any, site: Site, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scans", ["a.dcm", "b.dcm"])
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    (folder / "b.dcm").unlink()
    css(browser, "[data-send]").click()
    until(lambda: css(browser, "[data-rest]").is_displayed())
    until(lambda: "was moved or changed after it was chosen" in css(browser, ".files").text)


def test_a_forgotten_upload_begins_anew(browser: Any, site: Site, tmp_path: Path) -> None:
    names = [f"{number:03}.dcm" for number in range(30)]
    folder = folder_of(tmp_path / "scans", names, 10_000)
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    line(browser, bytes_a_second=100_000)
    css(browser, "[data-send]").click()
    until(lambda: browser.find_elements("css selector", ".files .sent"))
    site.refused["*"] = "not_found"
    until(lambda: site.begun > 1)
    site.refused.clear()
    line(browser)
    assert names_of(received(browser, site)) == [f"scans/{name}" for name in names]


def begin_and_leave(browser: Any, site: Site, folder: Path) -> None:
    """An upload that stands still after its first files."""
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    line(browser, bytes_a_second=100_000)
    css(browser, "[data-send]").click()
    until(lambda: len(browser.find_elements("css selector", ".files .sent")) > 2)
    css(browser, "[data-pause]").click()
    until(lambda: css(browser, "[data-give-up]").is_displayed())
    line(browser)


def test_what_the_browser_forgot_the_server_knows(browser: Any, site: Site, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scans", [f"{number:03}.dcm" for number in range(30)], 10_000)
    begin_and_leave(browser, site, folder)
    page = css(browser, "[data-batch-link]").get_attribute("href")
    forget = """
        const done = arguments[0];
        const opening = indexedDB.open("fractureai-uploads");
        opening.onsuccess = () => {
            const change = opening.result.transaction("files", "readwrite");
            change.objectStore("files").openCursor().onsuccess = ({target: {result}}) => {
                if (!result) return;
                const {receipt, sha256, ...entry} = result.value;
                result.update(entry);
                result.continue();
            };
            change.oncomplete = () => { opening.result.close(); done(); };
        };
    """
    browser.execute_async_script(forget)
    browser.get(page)
    assert "files are on their way" in text_of(browser)
    browser.get(f"{site.url}/predict")
    until(lambda: css(browser, "[data-resume]").is_displayed())
    arrived = int(css(browser, "[data-complete]").text.split()[3])
    assert arrived > 2
    seen = len(site.requests)
    choose_folder(browser, folder)
    css(browser, "[data-send]").click()
    assert len(received(browser, site).uploads) == 30
    assert sum("PUT" in entry for entry in site.requests[seen:]) == 30 - arrived


def test_another_window_leaves_an_upload_alone_that_is_being_sent(browser: Any, site: Site, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scans", [f"{number:03}.dcm" for number in range(30)], 10_000)
    browser.get(f"{site.url}/predict")
    choose_folder(browser, folder)
    line(browser, bytes_a_second=50_000)
    css(browser, "[data-send]").click()
    until(lambda: browser.find_elements("css selector", ".files .sent"))
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        browser.get(f"{site.url}/predict")
        time.sleep(0.5)
        assert not css(browser, "[data-resume]").is_displayed()
    finally:
        browser.close()
        browser.switch_to.window(first)
    line(browser)
    assert len(received(browser, site).uploads) == 30


def test_an_upload_is_finished_with_what_arrived(browser: Any, site: Site, tmp_path: Path) -> None:
    begin_and_leave(browser, site, folder_of(tmp_path / "scans", [f"{number:03}.dcm" for number in range(30)], 10_000))
    browser.refresh()
    until(lambda: css(browser, "[data-complete]").is_displayed())
    arrived = int(css(browser, "[data-complete]").text.split()[3])
    css(browser, "[data-complete]").click()
    assert len(received(browser, site).uploads) == arrived


def test_an_upload_whose_last_answer_was_lost_is_known_to_be_complete(browser: Any, site: Site, tmp_path: Path) -> None:
    begin_and_leave(browser, site, folder_of(tmp_path / "scans", [f"{number:03}.dcm" for number in range(30)], 10_000))
    batch_id = css(browser, "[data-batch-link]").get_attribute("href").rsplit("/", 1)[1]
    upload = site.ports.ledger.open_upload(batch_id, site="local")
    assert upload is not None
    batch = Batch("local", batch_id, "", time.time(), upload.arrived)
    assert site.ports.ledger.complete_upload(batch, publish_due_at_s=time.time() + 60)
    browser.refresh()
    until(lambda: css(browser, "[data-received]").is_displayed())
    assert not css(browser, "[data-resume]").is_displayed()
    css(browser, "[data-received-link]").click()
    assert received(browser, site).batch_id == batch_id
