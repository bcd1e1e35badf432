"""A peers file that is wrong says where, and a right one says who."""

from __future__ import annotations

from pathlib import Path

import pytest

from fractureai.dicom.peers import read_peers
from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.study import WorkState
from fractureai.errors import BrokenDeployment

PACS = 'name = "pacs"\nkind = "dimse"\nae_title = "PACS"\nhost = "h"\nport = 104\n'


def read(folder: Path, text: str) -> object:
    file = folder / "peers.toml"
    file.write_text(text)
    return read_peers(file)


def test_none_is_well() -> None:
    assert read_peers(None).subscribers == ()


def test_a_right_one(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(
        f'[[caller]]\nae_title = "X"\naddress = "10.0.0.0/8"\nsite = "north"\n[[destination]]\n{PACS}'
        'send = ["sr", "pdf"]\nsite = "north"\n'
    )
    peers = read_peers(file)
    assert peers.named("pacs").send == (DicomKind.SR, DicomKind.PDF)
    (subscriber,) = peers.subscribers
    assert subscriber.wants("north", WorkState.DONE)
    assert not subscriber.wants("south", WorkState.DONE)
    assert not subscriber.wants("north", WorkState.FAILED)
    assert peers.site_of("X", "10.1.2.3", default="d") == "north"
    assert peers.site_of("X", "::ffff:10.1.2.3", default="d") == "north"
    assert peers.site_of("X", "11.1.2.3", default="d") is None
    assert peers.site_of("Y", "10.1.2.3", default="d") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no toml", ["is not TOML"]),
        ("a = " + 5000 * "[", ["is not TOML"]),
        ("[other]\n", ["other", "not permitted"]),
        (f"[[destination]]\n{PACS.replace('104', '70000')}", ["destination 1 (“pacs”), port", "65535"]),
        (f"[[destination]]\n{PACS}[[destination]]\n{PACS}", ["the same name: pacs"]),
        ('[[destination]]\nname = "p"\nkind = "dimse"\n', ["destination 1 (“p”)", "needs ae_title, host, port"]),
        (f"[[destination]]\n{PACS.replace('PACS', 'SEVENTEEN-LETTERS')}", ["1 to 16"]),
        (f'[[destination]]\n{PACS}send = ["mpeg"]\n', ["send.0", "sr"]),
        (f'[[destination]]\n{PACS}[destination.tls]\nca_file = "/none"\n', ["tls.ca_file", "cannot be read"]),
        ('[[destination]]\nname = "w"\nkind = "dicomweb"\nurl = "pacs/dicom-web"\n', ["needs a url"]),
        ('[[destination]]\nname = "w"\nkind = "dicomweb"\nurl = "https://h/d"\nauth = "basic"\n', ["auth_file"]),
        ('[[caller]]\nsite = "north"\n', ["caller 1", "ae_title, an address or both"]),
        ('[[caller]]\nae_title = "X"\naddress = "10.0.0.300"\nsite = "n"\n', ["address", "10.0.0.300"]),
        ('[[caller]]\nae_title = "X"\nsite = "North!"\n', ["caller 1 (“X”), site", "not a site name"]),
    ],
)
def test_a_wrong_one_says_where(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(BrokenDeployment) as broken:
        read(tmp_path, text)
    for word in words:
        assert word in str(broken.value), str(broken.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BrokenDeployment, match="cannot be read"):
        read_peers(tmp_path / "none.toml")
