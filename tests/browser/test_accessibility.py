"""Every page held to WCAG 2.2 A and AA, as far as axe-core can tell, in light and in dark."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.driving import css, look, type_keys, until
from tests.browser.test_pages import PAGES

_RUN = """
    const done = arguments[0];
    axe.run(document, {resultTypes: ["violations"]}).then(
        (found) => done(found.violations.map((v) => ({
            id: v.id, impact: v.impact, where: v.nodes.map((n) => [n.target.join(" "), n.failureSummary]),
        }))),
        (error) => done([{id: String(error), impact: "critical", where: []}]),
    );
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The checker's script. The package around it drives another browser and is not loaded."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed")
    return (Path(spec.origin).parent / "axe.min.js").read_text()


def violations(browser: Any, axe: str) -> list[dict[str, Any]]:
    browser.execute_script(axe)
    return list(browser.execute_async_script(_RUN))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_no_page_shuts_anybody_out(browser: Any, site: Site, axe: str, page: str, scheme: str) -> None:
    look(browser, 1280, scheme)
    browser.get(site.url + site.pages[page])
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    until(lambda: browser.execute_script("return [...document.images].every((image) => image.complete)"))
    assert violations(browser, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nor_does_a_page_at_work(browser: Any, site: Site, axe: str, scheme: str, tmp_path: Path) -> None:
    look(browser, 390, scheme)
    browser.get(f"{site.url}/predict")
    for name in ("good.png", "empty.png", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"x")
        css(browser, "[data-files]").send_keys(str(tmp_path / name))
    until(lambda: len(browser.find_elements("css selector", ".files li")) == 3)
    assert violations(browser, axe) == []
    look(browser, 1280, scheme)
    browser.get(f"{site.url}/worklist")
    until(lambda: css(browser, "[data-help-open]").is_displayed())
    type_keys(browser, "?")
    assert violations(browser, axe) == []
