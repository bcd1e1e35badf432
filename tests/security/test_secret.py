"""The audit's secret: what was made with one is not left to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fractureai.bootstrap import Deployment
from fractureai.errors import BrokenDeployment
from fractureai.settings import AuditGroup, Settings, StoreSettings
from fractureai.upkeep import seal_audit
from tests.house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(Settings(data_dir=tmp_path / "data"), tmp_path / "samples") as opened:
        yield opened


def _secret(settings: Settings) -> bytes:
    """As a process that starts now has it."""
    deployment = Deployment(settings)
    try:
        return deployment.audit_secret
    finally:
        deployment.ledger.close()


def _seal(house: House) -> None:
    house.deployment.note_start()
    assert seal_audit(house.deployment) == 1


def _delete(house: House) -> None:
    house.study("P7")
    assert house.run("patients", "delete", given="P7\n")[0] == 0


def _hold(house: House) -> None:
    house.study("P7")
    assert house.run("retention", "hold", "--patient", "--reason", "trial", given="P7\n")[0] == 0


@pytest.mark.parametrize("used", [_seal, _delete, _hold])
def test_what_was_made_with_a_lost_secret_is_not_left_to_another(house: House, used: Callable[[House], None]) -> None:
    used(house)
    secret = house.deployment.settings.data_dir / "audit.secret"
    kept = secret.read_bytes()
    secret.unlink()
    with pytest.raises(BrokenDeployment, match=r"audit\.secret is not there"):
        _secret(house.deployment.settings)
    assert not secret.exists()
    secret.write_bytes(kept)
    assert _secret(house.deployment.settings) == kept


def test_a_secret_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """As on a mount that is read only."""
    (tmp_path / "taken").write_text("")
    secret = tmp_path / "taken" / "audit.secret"
    with pytest.raises(BrokenDeployment, match="cannot be made"):
        _secret(Settings(data_dir=tmp_path / "data", audit=AuditGroup(secret_file=secret)))


def test_a_patient_who_is_held_stays_held_without_the_secret(house: House) -> None:
    """With another secret nobody would know them again, and their studies would go."""
    study = house.study("P7")
    assert house.run("retention", "hold", "--patient", "--reason", "trial", given="P7\n")[0] == 0
    (house.deployment.settings.data_dir / "audit.secret").unlink()
    assert house.run("patients", "delete", given="P7\n")[0] != 0
    assert house.there(study)


def test_a_lost_ledger_does_not_hide_that_a_secret_was_used(house: House, tmp_path: Path) -> None:
    _seal(house)
    anew = tmp_path / "anew"
    anew.mkdir()
    the_same = StoreSettings(path=house.deployment.settings.store_path)
    with pytest.raises(BrokenDeployment):
        _secret(Settings(data_dir=anew, store=the_same))
