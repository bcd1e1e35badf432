"""What only an S3 store has: encryption it insists on, checksums, addresses for others, and how a server is reached."""

from __future__ import annotations

import dataclasses
import http.client
import http.server
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.settings import DeidentifyGroup, Settings, StoreSettings, load_settings
from fractureai.storage.s3 import S3Settings, S3Store
from fractureai.storage.s3_client import Bucket
from fractureai.upkeep import migrate
from tests.browser.samples import View, open_app, open_ports, receive
from tests.s3 import ACCESS_KEY, SECRET_KEY, S3Server, make_bucket

_MIB = 1 << 20
_ENCRYPTION = "x-amz-server-side-encryption"


class Witness(http.server.ThreadingHTTPServer):
    """Between us and the real server: passes everything on, and remembers the headers of requests.

    With ``confirms`` it says that the server encrypted what it was asked to, as a server with keys does; the real one
    has none. ``key``: by which; by default it does not say.
    """

    key = ""

    daemon_threads = True

    def __init__(self, endpoint: str, *, confirms: bool) -> None:
        self.behind = urlsplit(endpoint).netloc
        self.confirms = confirms
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Passing)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def headers_of(self, method: str, part: str) -> list[dict[str, str]]:
        return [headers for verb, path, headers in self.seen if verb == method and part in path]


class _Passing(http.server.BaseHTTPRequestHandler):
    server: Witness
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers))
        behind = http.client.HTTPConnection(self.server.behind, timeout=20)
        # Byte for byte, the Host too: the signature covers it.
        behind.request(self.command, self.path, body, {k: v for k, v in headers.items() if k != "expect"})
        answer = behind.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        if self.server.confirms and _ENCRYPTION in headers and answer.status < 300:
            self.send_header(_ENCRYPTION, headers[_ENCRYPTION])
            if self.server.key:
                self.send_header(f"{_ENCRYPTION}-aws-kms-key-id", self.server.key)
        self.send_header(
            "Content-Length", str(len(data) if self.command != "HEAD" else answer.headers["Content-Length"] or 0)
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        behind.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    make_bucket(s3_server.settings(name))
    return name


@pytest.fixture
def witness(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Witness]:
    server = Witness(s3_server.endpoint, confirms=getattr(request, "param", True))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _settings(witness: Witness, bucket: str, **more: object) -> S3Settings:
    return S3Settings(bucket, witness.url, "us-east-1", ACCESS_KEY, SECRET_KEY, **more)  # type: ignore[arg-type]


def test_every_way_an_object_comes_about_asks_for_its_sites_key(witness: Witness, bucket: str) -> None:
    store = S3Store(
        _settings(witness, bucket, encryption="aws:kms", kms_key_id="of-all", site_keys={"north": "of-north"})
    )
    store.put("sites/north/a", b"x")
    store.put("sites/south/a", b"x")
    store.copy("sites/south/a", "sites/north/b")
    store.put("sites/north/large", bytes(9 * _MIB))
    key = {path.partition("?")[0].removeprefix(f"/{bucket}/"): headers.get(f"{_ENCRYPTION}-aws-kms-key-id")
           for verb, path, headers in witness.seen if _ENCRYPTION in headers}  # fmt: skip
    assert key == {
        "sites/north/a": "of-north", "sites/south/a": "of-all", "sites/north/b": "of-north",
        "sites/north/large": "of-north",
    }  # fmt: skip
    assert {headers[_ENCRYPTION] for _, _, headers in witness.seen if _ENCRYPTION in headers} == {"aws:kms"}
    assert store.get("sites/north/b") == b"x"


def test_encryption_without_keys_of_our_own(witness: Witness, bucket: str) -> None:
    S3Store(_settings(witness, bucket, encryption="AES256")).put("sites/north/a", b"x")
    (headers,) = witness.headers_of("PUT", "sites/north/a")
    assert headers[_ENCRYPTION] == "AES256"
    assert f"{_ENCRYPTION}-aws-kms-key-id" not in headers


@pytest.mark.parametrize("size", [1, 9 * _MIB])
def test_a_server_that_does_not_encrypt_when_asked_is_refused(s3_server: S3Server, bucket: str, size: int) -> None:
    store = S3Store(s3_server.settings(bucket, encryption="AES256"))
    with pytest.raises(BrokenDeployment, match="does not confirm"):
        store.put("sites/north/a", bytes(size))


_ARN = "arn:aws:kms:eu-central-1:111122223333:key/0f1e"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("0f1e", _ARN), (_ARN, _ARN), (_ARN, "0f1e"), ("alias/north", _ARN), (f"{_ARN[:-8]}alias/n", _ARN), ("0f1e", "")],
)
def test_the_key_that_is_told_is_the_one_that_was_asked_for(
    witness: Witness, bucket: str, asked: str, told: str
) -> None:
    witness.key = told
    store = S3Store(_settings(witness, bucket, encryption="aws:kms", kms_key_id=asked))
    store.put("sites/north/a", b"x")
    assert store.get("sites/north/a") == b"x"


@pytest.mark.parametrize("size", [1, 9 * _MIB])
def test_a_server_that_takes_another_key_is_refused(witness: Witness, bucket: str, size: int) -> None:
    witness.key = _ARN
    store = S3Store(_settings(witness, bucket, encryption="aws:kms", site_keys={"north": "2d3c"}))
    store.put("sites/south/a", b"x")
    with pytest.raises(BrokenDeployment, match="another key"):
        store.put("sites/north/a", bytes(size))


def test_a_key_without_its_encryption_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="aws:kms"):
        S3Settings("bucket", kms_key_id="key")


@pytest.mark.parametrize(("checksum", "header"), [("md5", "content-md5"), ("sha256", "x-amz-checksum-sha256")])
def test_whatever_is_sent_says_what_should_arrive(witness: Witness, bucket: str, checksum: str, header: str) -> None:
    store = S3Store(_settings(witness, bucket, checksum=checksum))
    stored = store.put("sites/north/small", b"radiograph")
    large = store.put("sites/north/large", bytes(9 * _MIB))
    assert store.size_bytes("sites/north/small") == stored.size_bytes
    assert store.size_bytes("sites/north/large") == large.size_bytes == 9 * _MIB
    bodies = [each for each in witness.headers_of("PUT", "sites/north/") if int(each["content-length"])]
    assert len(bodies) == 3
    assert all(header in each for each in bodies)


def test_an_address_fetches_one_object_for_a_while(s3_server: S3Server, bucket: str) -> None:
    store = S3Store(s3_server.settings(bucket))
    store.put("sites/north/report.pdf", b"%PDF")
    store.put("sites/north/other.pdf", b"%PDF of others")
    address = store.address("sites/north/report.pdf", valid_s=60, file_name="r.pdf", media_type="application/pdf")
    assert address is not None
    answer = httpx.get(address, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"%PDF")
    for tampered in (
        address.replace("report.pdf", "other.pdf", 1),
        address.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
    ):
        assert tampered != address
        assert httpx.get(tampered, trust_env=False).status_code in {400, 403}
    for method in ("PUT", "DELETE"):
        assert httpx.request(method, address, trust_env=False).status_code in {400, 403, 405}
    assert store.get("sites/north/report.pdf") == b"%PDF"


def test_an_address_that_has_expired(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    from botocore import auth

    store = S3Store(s3_server.settings(bucket))
    store.put("sites/north/report.pdf", b"%PDF")
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)
    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: long_ago.replace(tzinfo=None))
    address = store.address("sites/north/report.pdf", valid_s=60, file_name="r.pdf", media_type="application/pdf")
    assert address is not None
    assert httpx.get(address, trust_env=False).status_code in {400, 403}


def test_addresses_are_the_public_servers(s3_server: S3Server, bucket: str) -> None:
    settings = s3_server.settings(bucket, public_endpoint="https://images.hospital.example")
    address = S3Store(settings).address("sites/a/b", valid_s=60, file_name="b.pdf", media_type="application/pdf")
    assert address is not None
    assert address.startswith(f"https://images.hospital.example/{bucket}/sites/a/b?")


@pytest.mark.parametrize(
    ("addressing", "endpoint", "host", "path"),
    [
        ("auto", None, "pictures.s3.eu-central-1.amazonaws.com", "/a/b"),
        ("auto", "https://ceph.example:8443", "ceph.example:8443", "/pictures/a/b"),
        ("path", None, "s3.eu-central-1.amazonaws.com", "/pictures/a/b"),
        ("virtual", "https://garage.example", "pictures.garage.example", "/a/b"),
    ],
)
def test_where_the_buckets_name_stands(addressing: str, endpoint: str | None, host: str, path: str) -> None:
    settings = S3Settings("pictures", endpoint, "eu-central-1", "key-of-tests", "secret", addressing=addressing)  # type: ignore[arg-type]
    address = S3Store(settings).address("a/b", valid_s=60, file_name="b", media_type="text/plain")
    parts = urlsplit(address or "")
    assert (parts.netloc, parts.path) == (host, path)


def test_a_hospitals_own_certificates_are_used(tmp_path: Path) -> None:
    settings = S3Settings("pictures", "https://127.0.0.1:9", ca_bundle=tmp_path / "none.pem", attempts=1)
    with pytest.raises(TransientFailure):
        S3Store(settings).get("a/b")
    assert Bucket(settings).client._endpoint.http_session._verify == str(tmp_path / "none.pem")


def test_a_bucket_is_made_once(s3_server: S3Server) -> None:
    store = S3Store(s3_server.settings(f"new-{uuid.uuid4().hex[:12]}"))
    with pytest.raises(TransientFailure):
        store.put("sites/a/b", b"x")
    assert store.create_bucket() is True
    assert store.create_bucket() is False
    store.put("sites/a/b", b"x")


def test_a_dead_server_is_heard_of_within_the_time_that_is_set() -> None:
    """Attempts and timeouts are ours: no default of a library (60 s, four times) stands behind them."""
    listening = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # accepts, never answers
    try:
        endpoint = f"http://127.0.0.1:{listening.server_port}"
        settings = S3Settings("bucket", endpoint, "us-east-1", ACCESS_KEY, SECRET_KEY, attempts=2, read_timeout_s=0.2)
        with pytest.raises(TransientFailure) as failure:
            S3Store(settings).get("a/b")
        assert failure.value.code == "store_unavailable"
    finally:
        listening.server_close()


@pytest.mark.parametrize("direct_download_s", [0, 60])
def test_a_report_comes_through_the_web_or_straight_from_the_bucket(
    s3_server: S3Server, bucket: str, tmp_path: Path, direct_download_s: int
) -> None:
    store = S3Store(s3_server.settings(bucket))
    ports = dataclasses.replace(open_ports(tmp_path), store=store)
    client = open_app(ports, direct_download_s=direct_download_s).test_client()
    study = receive(ports, [View("hand.png")])
    report = f"/api/v1/studies/{study.study_id}/report.pdf"
    assert client.get(report).get_json()["code"] == "not_there_yet"
    store.put(keys.report_pdf(study.site, study.study_id), b"%PDF")
    answer = client.get(report)
    if direct_download_s:
        assert answer.status_code == 302
        fetched = httpx.get(answer.headers["Location"], trust_env=False)
        assert fetched.headers["Content-Type"] == "application/pdf"
        assert fetched.content == b"%PDF"
    else:
        assert (answer.status_code, answer.data) == (200, b"%PDF")
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/api/v1/studies/" + "0" * 32 + "/report.pdf").status_code == 404
    ports.ledger.close()


@pytest.mark.parametrize("without_names", [False, True])
def test_the_bucket_is_made_before_the_processes_start(
    s3_server: S3Server, tmp_path: Path, *, without_names: bool
) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    settings = Settings(
        data_dir=tmp_path / "data",
        store=StoreSettings(
            kind="s3",
            bucket=f"bucket-{uuid.uuid4().hex}",
            endpoint=s3_server.endpoint,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        ),
        deidentify=DeidentifyGroup(key_file=tmp_path / "key" if without_names else None),
    )
    deployment = Deployment(settings)
    try:
        assert migrate(deployment, create_bucket=True)
        assert not migrate(deployment, create_bucket=True)
    finally:
        deployment.ledger.close()


def test_a_bucket_that_does_not_exist_is_named_with_what_to_do(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"KIND": "s3", "ENDPOINT": s3_server.endpoint, "BUCKET": f"bucket-{uuid.uuid4().hex[:12]}"}
    for name, value in {**asked, "ACCESS_KEY": ACCESS_KEY, "SECRET_KEY": SECRET_KEY}.items():
        monkeypatch.setenv(f"FRACTUREAI_STORE__{name}", value)
    built = Deployment(load_settings(data_dir=tmp_path))
    for use in (lambda: built.bare_store.put("sites/a/b", b"x"), lambda: built.bare_store.size_bytes("sites/a/b")):
        with pytest.raises(TransientFailure, match="fractureai migrate --create-bucket"):
            use()
    told = f'Bucket "{asked["BUCKET"]}" does not exist. Run `fractureai migrate --create-bucket`.'
    with pytest.raises(BrokenDeployment, match=re.escape(told)):
        migrate(built, create_bucket=False)
    assert [migrate(built, create_bucket=create) for create in (True, True, False)] == [True, False, False]
    built.ledger.close()
