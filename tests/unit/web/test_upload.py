"""Files on their way into the store."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.errors import TransientFailure
from fractureai.web.app import WebPorts

MIB = 1024 * 1024
BOUNDARY = "edge-of-the-world"


class Generated(io.RawIOBase):
    """A form with one file of zeros, made while it is read."""

    def __init__(self, size_bytes: int, *, whole: bool = True) -> None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="big.dcm"\r\n\r\n'
        self._head, self._tail = head.encode(), f"\r\n--{BOUNDARY}--\r\n".encode()
        self.length = len(self._head) + size_bytes + len(self._tail)
        self._left = size_bytes
        self._whole = whole
        self._at = 0

    def readable(self) -> bool:
        return True

    # The test client measures a stream by seeking to its end and back.
    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = self.length if whence else offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = len(buffer)
        if self._head:
            piece, self._head = self._head[:room], self._head[room:]
        elif self._left:
            piece = bytes(min(room, self._left, 64 * 1024))
            self._left -= len(piece)
        elif self._whole:
            piece, self._tail = self._tail[:room], self._tail[room:]
        else:
            return 0
        buffer[: len(piece)] = piece
        return len(piece)


class Spy:
    """A store that notes the size of every chunk and what was committed, aborted and deleted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.chunks: list[int] = []
        self.aborted = 0
        self.open = 0

    def sink(self, key: str) -> Any:
        inner, spy = self._store.sink(key), self
        self.open += 1

        class Sink:
            def write(self, chunk: bytes) -> int:
                spy.chunks.append(len(chunk))
                return inner.write(chunk)

            def commit(self) -> Any:
                spy.open -= 1
                return inner.commit()

            def abort(self) -> None:
                spy.aborted += 1
                inner.abort()

        return Sink()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def post(client: FlaskClient, stream: Generated) -> Any:
    return client.post(
        "/api/v1/studies",
        input_stream=stream,
        content_length=stream.length,
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
    )


def test_memory_does_not_grow_with_the_file(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    spy = Spy(ports.store)
    client = client_with(store=spy)
    post(client, Generated(MIB))
    tracemalloc.start()
    try:
        answer = post(client, Generated(64 * MIB))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 202
    assert max(spy.chunks) <= 256 * 1024
    assert sum(spy.chunks) == 65 * MIB
    assert peak_bytes < 4 * MIB
    study = ports.ledger.sources(answer.json["study_id"], site="local")
    assert study is not None
    assert study.images[0].sha256 == hashlib.sha256(bytes(64 * MIB)).hexdigest()


def test_an_upload_that_is_cut_off_leaves_nothing(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    spy = Spy(ports.store)
    answer = post(client_with(store=spy), Generated(MIB, whole=False))
    assert answer.status_code == 400
    assert answer.json["code"] == "upload_cut_off"
    assert spy.aborted == 1
    assert list(ports.store.keys("")) == []


def test_a_file_over_the_limit_is_named_and_leaves_nothing(
    ports: WebPorts, client_with: Callable[..., FlaskClient]
) -> None:
    client = client_with({"max_file_bytes": 1000})
    files = [(io.BytesIO(b"x" * 900), "good.png"), (io.BytesIO(b"x" * 1001), "big.png")]
    answer = client.post("/api/v1/studies", data={"images": files})
    assert (answer.status_code, answer.json["code"], answer.json["file"]) == (413, "too_many_bytes", "big.png")
    assert list(ports.store.keys("")) == []
    assert ports.ledger.open_count() == 0


def test_a_request_over_the_limit(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    answer = client_with({"max_request_bytes": 1000}).post(
        "/api/v1/studies", data={"images": (io.BytesIO(b"x" * 2000), "a.png")}
    )
    assert (answer.status_code, answer.json["code"]) == (413, "request_too_large")
    assert list(ports.store.keys("")) == []


def test_too_many_files(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    files = [(io.BytesIO(b"x"), f"{number}.png") for number in range(4)]
    answer = client_with({"max_files": 3}).post("/api/v1/batches", data={"files": files})
    assert (answer.status_code, answer.json["code"]) == (413, "too_many_files")
    assert list(ports.store.keys("")) == []


def test_an_archive_is_not_a_study(ports: WebPorts, client: FlaskClient) -> None:
    answer = client.post("/api/v1/studies", data={"images": (io.BytesIO(b"PK\x03\x04rest"), "all.zip")})
    assert (answer.status_code, answer.json["code"]) == (415, "archive_not_here")
    assert "/api/v1/batches" in answer.json["detail"]
    assert list(ports.store.keys("")) == []


@pytest.mark.parametrize("data", [{}, {"label": "x"}, {"images": (io.BytesIO(b""), "")}])
def test_no_file_at_all(client: FlaskClient, data: dict[str, Any]) -> None:
    answer = client.post("/api/v1/studies", data=data, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["code"]) == (422, "no_images")


def test_an_empty_file_is_accepted_and_judged_later(client: FlaskClient) -> None:
    assert client.post("/api/v1/studies", data={"images": (io.BytesIO(b""), "empty.png")}).status_code == 202


def test_a_file_in_another_field(ports: WebPorts, client: FlaskClient) -> None:
    answer = client.post("/api/v1/studies", data={"file": (io.BytesIO(b"x"), "a.png")})
    assert (answer.status_code, answer.json["code"]) == (400, "unexpected_field")
    assert "images" in answer.json["detail"]
    assert list(ports.store.keys("")) == []


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"no boundary", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", b"not a form", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", f"--{BOUNDARY}\r\n\r\n".encode(), 400),
    ],
)
def test_what_is_not_a_form(client: FlaskClient, content_type: str, body: bytes, status: int) -> None:
    answer = client.post("/api/v1/studies", data=body, content_type=content_type)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "name", ["../../x", "\u202e.png", "a\x00b", "'; DROP TABLE studies;--", "<script>", "é" * 3000]
)
def test_hostile_names_never_become_keys(ports: WebPorts, client: FlaskClient, name: str) -> None:
    data = {"images": (io.BytesIO(b"x"), name), "label": name}
    answer = client.post("/api/v1/studies", data=data)
    assert answer.status_code == 202
    study_id = answer.json["study_id"]
    expected = {keys.source("local", study_id, 1), keys.study_json("local", study_id)}
    assert set(ports.store.keys("")) == expected
    assert client.get(f"/studies/{study_id}").status_code == 200
    assert client.get("/worklist").status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Müller.png".encode("latin-1"), "Müller.png"),
        ("山田/左手.dcm".encode("cp932"), "山田/左手.dcm"),
        ("Иванов.png".encode("cp1251"), "%C8%E2%E0%ED%EE%E2.png"),
        (b"a%22b.png", 'a"b.png'),
        (b"a\0b.png", "ab.png"),
        (b"n" * 300 + b".png", None),
    ],
)
def test_a_name_that_is_not_utf_8_costs_nothing(
    ports: WebPorts, client: FlaskClient, sent: bytes, kept: str | None
) -> None:
    parts = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\nx\r\n' % (BOUNDARY.encode(), name)
        for name in (sent, b"good.png")
    )
    label = b'--%s\r\nContent-Disposition: form-data; name="label"\r\n\r\nR\xf6ntgen\r\n' % BOUNDARY.encode()
    answer = client.post(
        "/api/v1/batches",
        data=parts + label + f"--{BOUNDARY}--".encode(),
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
    )
    assert answer.status_code == 202
    claim = ports.ledger.claim_batch(answer.json["batch_id"], owner="t", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    first, second = (upload.file_name for upload in claim.batch.uploads)
    assert first == kept if kept else len(first) == 255 and first.endswith("nn.png")
    assert (second, claim.batch.label) == ("good.png", "Röntgen")


def test_a_store_that_fails_midway(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    class Full(Spy):
        def sink(self, key: str) -> Any:
            sink = super().sink(key)
            if self.open > 0 and key.endswith("2"):
                sink.write = self.refuse
            return sink

        def refuse(self, _chunk: bytes) -> int:
            raise TransientFailure("store_full")

    spy = Full(ports.store)
    files = [(io.BytesIO(b"x"), "a.png"), (io.BytesIO(b"x"), "b.png")]
    answer = client_with(store=spy).post("/api/v1/studies", data={"images": files})
    assert (answer.status_code, answer.json["code"]) == (507, "store_full")
    assert answer.headers["Retry-After"]
    assert list(ports.store.keys("")) == []
