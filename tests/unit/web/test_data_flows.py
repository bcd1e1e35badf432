"""What the pages say of where data go is true of the installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fractureai.bootstrap import Deployment
from fractureai.settings import load_settings
from fractureai.web.data_flows import DataFlows, sentences

NOWHERE = "No receiver of results is set up, so none are sent anywhere."
NO_COOKIES = "They set no cookies."


@pytest.mark.parametrize(
    ("flows", "said"),
    [
        (DataFlows(dicom_destinations=1), "also sent to a DICOM destination."),
        (DataFlows(dicom_destinations=2, fhir=True), "also sent to 2 DICOM destinations and a FHIR server."),
        (DataFlows(fhir=True), "also sent to a FHIR server."),
        (DataFlows(webhook=True), "A webhook is told of each finished study"),
    ],
)
def test_receivers_are_named_and_nothing_else_is_said(flows: DataFlows, said: str) -> None:
    text = " ".join(sentences(flows, has_sign_in=False))
    assert said in text
    assert NOWHERE not in text


def test_what_keeps_data_and_what_browsers_keep() -> None:
    plain = sentences(DataFlows(), has_sign_in=False)
    assert NOWHERE in plain
    assert NO_COOKIES in plain
    assert "Files and results are kept in the storage folder of this installation." in plain
    busy = " ".join(
        sentences(
            DataFlows(
                audit_forwarded=True, object_store=True, direct_downloads=True, provider=True, deidentified="some"
            ),
            has_sign_in=True,
        )
    )
    for said in ("S3 object store", "at some of its sites", "syslog", "downloaded from the object store", "identity"):
        assert said in busy
    assert NO_COOKIES not in busy
    assert "sets one cookie" in sentences(DataFlows(), has_sign_in=True)[-1]


@pytest.mark.parametrize("address", ["/features", "/faq"])
def test_the_pages_say_it(client_with: Callable[..., FlaskClient], address: str) -> None:
    assert NOWHERE in client_with().get(address).text
    told = client_with({"data_flows": DataFlows(webhook=True)}).get(address).text
    assert "A webhook is told" in told
    assert NOWHERE not in told


def test_it_is_made_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Deployment(load_settings(data_dir=tmp_path)).data_flows == DataFlows()
    (tmp_path / "secret").write_bytes(b"s" * 32)
    (tmp_path / "peers.toml").write_text(
        """
        [[destination]]
        name = "pacs"
        kind = "dimse"
        host = "127.0.0.1"
        port = 104
        ae_title = "PACS"
        """
    )
    for name, value in {
        "DICOM__PEERS_FILE": tmp_path / "peers.toml",
        "FHIR__URL": "https://fhir.example/r4",
        "WEBHOOK__URL": "https://hook.example/",
        "WEBHOOK__SECRET_FILE": tmp_path / "secret",
        "AUDIT__SYSLOG_URL": "tls://log.example:6514",
        "STORE__KIND": "s3",
        "STORE__DIRECT_DOWNLOAD_S": 60,
        "ACCESS__OIDC_ISSUER": "https://login.example",
        "ACCESS__OIDC_CLIENT_ID": "fractureai",
        "ACCESS__OIDC_RULES": '[{"group": "staff", "site": "local", "role": "reader"}]',
        "DEIDENTIFY__KEY_FILE": tmp_path / "secret",
    }.items():
        monkeypatch.setenv(f"FRACTUREAI_{name}", str(value))
    flows = Deployment(load_settings(data_dir=tmp_path)).data_flows
    assert flows == DataFlows(1, True, True, True, True, True, True, "all")
