"""Settings: read once, refused when unknown, and all of them documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from fractureai.errors import BrokenDeployment
from fractureai.settings import Settings, load_settings


def _names() -> list[str]:
    names = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += [f"{name}.{inner}" for inner in kind.model_fields]
        else:
            names.append(name)
    return names


@pytest.mark.parametrize("name", _names())
def test_every_setting_is_documented(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert f"`{name}`" in text


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('site = "north"\n[web]\nport = 9001\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("FRACTUREAI_CONFIG", str(file))
    monkeypatch.setenv("FRACTUREAI_WEB__PORT", "9002")
    settings = load_settings()
    assert (settings.site, settings.web.host, settings.web.port) == ("north", "127.0.0.2", 9002)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FRACTUREAI_WEB__PORT", "many", "web.port"),
        ("FRACTUREAI_WEB__PROT", "1", "prot"),
        ("FRACTUREAI_STROE__KIND", "s3", "FRACTUREAI_STROE__KIND"),
        ("FRACTUREAI_CONFIG", "/no/such/file.toml", "/no/such/file.toml"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BrokenDeployment, match=told):
        load_settings()


def test_a_wrong_key_in_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[wbe]\nport = 1\n")
    monkeypatch.setenv("FRACTUREAI_CONFIG", str(file))
    with pytest.raises(BrokenDeployment, match="wbe"):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTUREAI_STORE__SECRET_KEY", "do-not-show")
    monkeypatch.setenv("FRACTUREAI_LEDGER__URL", "postgresql://u:do-not-show@db/x")
    assert "do-not-show" not in repr(load_settings())


@pytest.mark.parametrize(
    ("url", "secret", "fault"),
    [
        ("http://hospital.example/hook", "s", "must be https"),
        ("https://user:pw@hospital.example/", "s", "whole address"),
        ("hook", "s", "whole address"),
        ("https://hospital.example/hook", "", "secret_file is needed"),
    ],
)
def test_a_webhook_that_must_not_be(monkeypatch: pytest.MonkeyPatch, url: str, secret: str, fault: str) -> None:
    monkeypatch.setenv("FRACTUREAI_WEBHOOK__URL", url)
    if secret:
        monkeypatch.setenv("FRACTUREAI_WEBHOOK__SECRET_FILE", secret)
    with pytest.raises(BrokenDeployment, match=fault):
        load_settings()


@pytest.mark.parametrize("url", ["https://hospital.example/hook", "http://127.0.0.1:9000/hook", "http://[::1]/hook"])
def test_a_webhook_that_may_be(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FRACTUREAI_WEBHOOK__URL", url)
    monkeypatch.setenv("FRACTUREAI_WEBHOOK__SECRET_FILE", "secret")
    assert load_settings().webhook.url == url


@pytest.mark.parametrize("text", [b"port = = 1", b'site = "\xff"', b"[web\n", b"a = " + 5000 * b"["])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(text)
    monkeypatch.setenv("FRACTUREAI_CONFIG", str(file))
    with pytest.raises(BrokenDeployment, match=r"settings\.toml cannot be read as TOML"):
        load_settings()
