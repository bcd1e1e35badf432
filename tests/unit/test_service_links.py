"""What Kubernetes adds to an environment is told from settings, mistyped ones too."""

from __future__ import annotations

import pytest

from fractureai.errors import BrokenDeployment
from fractureai.service_links import service_links
from fractureai.settings import load_settings
from tests.deployment.kubernetes import links_of


@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7"])
@pytest.mark.parametrize("name", ["fractureai", "fractureai-web", "fractureai-queue", "fractureai-s3-gateway"])
def test_service_links_are_no_settings(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    links = links_of(name, {"http": ("TCP", 80), "dicom": ("TCP", 11112), "log": ("UDP", 514)}, address)
    for variable, value in links.items():
        monkeypatch.setenv(variable, value)
    assert service_links(links) == set(links)
    load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FRACTUREAI_WEB_PORT", "9000"),
        ("FRACTUREAI_WEB_HOST", "10.96.0.7"),
        ("FRACTUREAI_WEB_PORTT", "tcp://10.96.0.7:80"),
        ("FRACTUREAI_WEB_SERVICE_PORT", "tcp://10.96.0.7:80"),
        ("FRACTUREAI_QUEUE_PORT", "tcp://10.96.0.7:80"),
        ("FRACTUREAI_QUEUE_SERVICE_HOST", "queue.example"),
        ("FRACTUREAI_QUEUE_URL", "redis://10.96.0.7:6379"),
    ],
)
def test_a_mistyped_setting_is_refused_beside_them(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, link in {**links_of("fractureai-web", {"http": ("TCP", 80)}, "10.96.0.7"), variable: value}.items():
        monkeypatch.setenv(name, link)
    with pytest.raises(BrokenDeployment, match=f"{variable}$"):
        load_settings()
