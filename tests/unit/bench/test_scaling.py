"""The simulation: what it conserves, what it is checked against, and that the page says what it prints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench import scaling

_ROOT = Path(__file__).resolve().parents[3]
_SERVE, _, _, _TEN, *_ = scaling.SETTINGS


def test_the_page_says_what_is_printed() -> None:
    page = (_ROOT / "docs" / "scaling.md").read_text()
    printed = page.partition("<!-- printed -->\n")[2].partition("\n<!-- end -->")[0]
    assert printed == scaling.table()


def test_one_machine_is_simulated_as_it_was_measured() -> None:
    measured = json.loads((_ROOT / "bench" / "results" / "2026-11-23.json").read_text())["subjects"]["service"]
    assert scaling.simulate(_SERVE).studies_per_s == pytest.approx(measured["studies_per_s"], rel=0.1)


def test_costs_are_those_that_were_measured() -> None:
    figures = json.loads((_ROOT / "bench" / "results" / "2026-11-23.json").read_text())["subjects"]["service"]
    cpu_ms = {name: seconds * 1e3 for name, seconds in figures["cpu_s_per_study_by_process"].items()}
    assert cpu_ms["inference worker"] + cpu_ms["decoding child"] == pytest.approx(scaling.INFERENCE_MS, rel=0.01)
    assert cpu_ms["reports worker"] == pytest.approx(scaling.REPORTS_MS, rel=0.01)
    assert cpu_ms["web"] == pytest.approx(scaling.WEB_MS, rel=0.01)


def test_a_study_costs_what_its_steps_add_up_to() -> None:
    total: dict[str, float] = {}
    for kind, name, amount_ms in scaling.steps_of(_TEN):
        if kind == "use":
            total[name] = total.get(name, 0.0) + amount_ms
    assert total["inference cores"] == pytest.approx(scaling.INFERENCE_MS)
    assert total["ledger"] == pytest.approx(scaling.LEDGER_MS)
    assert total["queue"] == pytest.approx(scaling.QUEUE_MS)
    assert total["bucket"] == pytest.approx(scaling.PUTS * 1e3 / 3500 + scaling.GETS * 1e3 / 5500)


def test_more_workers_do_more_until_something_shared_is_full() -> None:
    rates = []
    for workers in (5, 10, 20, 80, 160):
        setting = dataclasses.replace(_TEN, inference=workers, reports=workers, web=8)
        outcome = scaling.simulate(setting)
        rates.append(outcome.studies_per_s)
        assert all(part <= 1.05 for part in outcome.busy.values())
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.05)
    assert rates[2] == pytest.approx(2 * rates[1], rel=0.05)
    full = 1e3 / (scaling.PUTS * 1e3 / 3500 + scaling.GETS * 1e3 / 5500)
    assert rates[3] < full * 1.05
    assert rates[4] == pytest.approx(full, rel=0.05)
