"""The client over a line that breaks, against the real application behind a small server."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fractureai.client import Client, ServerRefused
from fractureai.domain.study import WorkState
from fractureai.errors import TransientFailure
from fractureai.resumable import NothingToSend, Patience, ResumableUpload
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, finish, open_app, open_ports, receive
from tests.serving import serving


class Line:
    """The application, with a line that can be cut: before a request is heard, or before its answer is."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.puts = 0
        self.cut_before: set[int] = set()
        self.cut_after: set[int] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        is_put = environ["REQUEST_METHOD"] == "PUT"
        self.puts += is_put
        if is_put and self.puts in self.cut_before:
            return _gone(start_response)
        if is_put and self.puts in self.cut_after:
            self.app(environ, lambda *_: None).close()
            return _gone(start_response)
        return self.app(environ, start_response)


def _gone(start_response: Any) -> list[bytes]:
    start_response("502 Bad Gateway", [("Content-Length", "0")], None)
    return [b""]


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[WebPorts]:
    ports = open_ports(tmp_path / "service")
    yield ports
    ports.ledger.close()


@pytest.fixture
def line(ports: WebPorts) -> Line:
    return Line(open_app(ports, max_file_bytes=1000))


@pytest.fixture
def client(line: Line) -> Iterator[Client]:
    with serving(line) as url, Client(url) as client:
        yield client


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    folder = tmp_path / "files"
    folder.mkdir()
    found = []
    for number in range(6):
        path = folder / f"{number}.png"
        path.write_bytes(b"pixels %d" % number)
        found.append((path.name, path))
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fractureai.resumable._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("fractureai.resumable._AT_ONCE", 1)


def names_of(ports: WebPorts, batch_id: str) -> list[str]:
    claim = ports.ledger.claim_batch(batch_id, owner="test", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    return [upload.file_name for upload in claim.batch.uploads]


def test_a_line_that_breaks_now_and_then(
    ports: WebPorts, line: Line, client: Client, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    line.cut_before, line.cut_after = {1, 3}, {4, 6}
    waits: list[TransientFailure] = []
    upload = ResumableUpload(client, files, label="x", memory=tmp_path / "memory")
    batch_id = upload.send(Patience(5, waits.append))
    assert names_of(ports, batch_id) == [name for name, _ in files]
    assert len(waits) == 4
    assert list((tmp_path / "memory").iterdir()) == []


def test_a_sender_that_was_killed_goes_on(
    ports: WebPorts, line: Line, client: Client, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    line.cut_before = set(range(4, 100))
    with pytest.raises(TransientFailure):
        ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience(0.05))
    (memory,) = (tmp_path / "memory").iterdir()
    assert memory.stat().st_mode & 0o777 == 0o600
    line.cut_before, line.puts = set(), 0
    batch_id = ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience())
    assert line.puts == 3
    assert names_of(ports, batch_id) == [name for name, _ in files]


def test_an_answer_that_was_lost_after_completion(
    ports: WebPorts, client: Client, files: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = client.complete_upload, []

    def lose(*words: Any, **named: Any) -> str:
        lost.append(real(*words, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "complete_upload", lose)
    with pytest.raises(KeyboardInterrupt):
        ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience())
    monkeypatch.undo()
    assert ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience()) == lost[0]


def test_an_upload_the_server_knows_no_more_is_begun_anew(
    ports: WebPorts, line: Line, client: Client, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    line.cut_before = set(range(3, 100))
    with pytest.raises(TransientFailure):
        ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience(0.05))
    ports.ledger.expire_uploads(touched_before_s=ports.clock() + 1, limit=9)
    line.cut_before, line.puts = set(), 0
    batch_id = ResumableUpload(client, files, memory=tmp_path / "memory").send(Patience())
    assert line.puts == len(files)
    assert len(names_of(ports, batch_id)) == len(files)


def test_a_file_that_is_refused_does_not_stop_the_others(
    ports: WebPorts, client: Client, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    files[2][1].write_bytes(b"x" * 2000)
    upload = ResumableUpload(client, files, memory=tmp_path / "memory")
    assert len(names_of(ports, upload.send(Patience()))) == 5
    assert upload.refused == [("2.png", "2 KiB, limit 1000 bytes")]


def test_where_no_file_can_be_sent_it_is_said_of_each(client: Client, tmp_path: Path) -> None:
    large, away = tmp_path / "RG3.dcm", tmp_path / "gone.dcm"
    large.write_bytes(b"x" * 2000)
    upload = ResumableUpload(client, [("RG3.dcm", large), ("gone.dcm", away)], memory=tmp_path / "memory")
    with pytest.raises(NothingToSend) as refusal:
        upload.send(Patience())
    told = sorted(refusal.value.detail.removeprefix("nothing was sent: ").split("; "))
    assert told == ["RG3.dcm: 2 KiB, limit 1000 bytes", "gone.dcm: no such file or directory"]


def test_names_and_labels_that_are_not_utf_8_are_sent(ports: WebPorts, client: Client, tmp_path: Path) -> None:
    raw = [name.decode("utf-8", "surrogateescape") for name in (b"M\xfcller.png", b"a\x01.png", b"a.png")]
    files = []
    for number, name in enumerate(raw):
        (tmp_path / name).write_bytes(bytes([number]))
        files.append((name, tmp_path / name))
    upload = ResumableUpload(client, files, label=raw[0], memory=tmp_path / "memory")
    assert sorted(names_of(ports, upload.send(Patience()))) == ["Müller.png", "a (2).png", "a.png"]
    assert upload.called == {"Müller.png": raw[0], "a.png": raw[1], "a (2).png": raw[2]}
    batch_id = client.submit_batch(files, label=raw[0])
    assert sorted(names_of(ports, batch_id)) == ["Müller.png", "a.png", "a.png"]


def test_a_server_that_was_never_there_is_not_waited_for(files: list[tuple[str, Path]], tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(TransientFailure):
        ResumableUpload(nobody, files, memory=tmp_path / "memory").send(Patience())


def test_the_calls_of_a_machine(ports: WebPorts, client: Client, tmp_path: Path) -> None:
    study = receive(ports, [View("a.png")], label="Anna")
    known = client.batch(study.batch_id)
    assert not known.finished
    assert client.batch(study.batch_id, wait_s=1, known=known) is known
    assert client.results().studies == ()
    finish(ports, study, [View("a.png", probability=0.9)])
    assert client.batch(study.batch_id, wait_s=9, known=known).finished
    assert client.study(study.study_id, wait_s=9)["state"] == "done"
    page = client.results(wait_s=9)
    assert [entry["study_id"] for entry in page.studies] == [study.study_id]
    assert client.results(page.next_cursor).studies == ()
    assert [entry["label"] for entry in client.studies(q="ann", from_="2020-01-01")] == ["Anna"]
    client.export(study.batch_id, "reports.zip", tmp_path / "reports.zip")
    assert len(zipfile.ZipFile(tmp_path / "reports.zip").namelist()) == 2
    failed = add(ports, View("b.png", probability=None), state=WorkState.FAILED)
    assert client.retry_batch(failed.batch_id) == 1


def test_what_is_refused_has_a_sentence_and_a_code(client: Client, tmp_path: Path) -> None:
    for ask in (
        lambda: client.batch("0" * 32),
        lambda: client.export("0" * 32, "results.csv", tmp_path / "x"),
        lambda: client.artifact("0" * 32, "report.pdf"),
    ):
        with pytest.raises(ServerRefused) as refused:
            ask()
        assert (refused.value.status, refused.value.problem) == (404, "not_found")
        assert "nothing at this address" in refused.value.detail
    assert list(tmp_path.glob("x*")) == []


def test_a_batch_sent_twice_with_a_key_is_one(client: Client, files: list[tuple[str, Path]]) -> None:
    assert client.submit_batch(files, key="k") == client.submit_batch(files, key="k")
    with pytest.raises(ServerRefused) as refused:
        client.submit_batch(files[:1], key="k")
    assert refused.value.problem == "key_reused"


@pytest.mark.parametrize("body", [b"<html>Welcome to our network</html>", b"[" * 5000, b"[]", b"{}", b"null", b"3"])
def test_who_is_not_this_service_is_told_apart(body: bytes, files: list[tuple[str, Path]]) -> None:
    """A proxy's page, say, comes with 200, too."""

    def stranger(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))], None)
        return [body]

    with serving(stranger) as url, Client(url) as client:
        for ask in (
            client.begin_upload,
            client.results,
            lambda: client.submit_batch(files),
            lambda: client.batch("0" * 32),
            lambda: client.retry_batch("0" * 32),
            lambda: next(client.studies()),
        ):
            with pytest.raises(TransientFailure, match="is the address right"):
                ask()
