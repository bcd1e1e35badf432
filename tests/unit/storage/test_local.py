"""What is particular to the local folder: its leftovers, a full disk, its own files."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from fractureai.errors import TransientFailure
from fractureai.storage.local import LocalStore


def test_leftovers_are_swept_once_they_are_old(tmp_path: Path) -> None:
    LocalStore(tmp_path)
    old, new = tmp_path / ".incoming" / "1-old.part", tmp_path / ".incoming" / "2-new.part"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    two_days_ago_s = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago_s, two_days_ago_s))
    LocalStore(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_the_stores_own_files_are_no_keys(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    sink = store.sink("a/b")
    sink.write(b"x")
    assert list(store.keys("")) == []
    sink.abort()
    assert list((tmp_path / ".incoming").iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "store_full"), (errno.EIO, "store_unavailable")])
def test_a_disk_in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"before")

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TransientFailure) as failure:
        store.put("a/b", b"after")
    assert failure.value.code == code
    assert isinstance(failure.value.__cause__, OSError)
    monkeypatch.undo()
    assert store.get("a/b") == b"before"
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_full_disk_while_writing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    sink = store.sink("a/b")
    full = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    sink._stream.close()
    sink._stream = full
    with pytest.raises(TransientFailure) as failure:
        sink.write(b"x" * 100)
    assert failure.value.code == "store_full"
    sink.abort()
    assert list(store.keys("")) == []


def test_nobody_else_may_look(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("sites/main/a", b"x")
    for folder in (tmp_path / "store", tmp_path / "store" / "sites"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


def test_every_new_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    synced: set[Path] = set()
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store.put("a/b/c", b"x")
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} <= synced


def test_a_folder_pruned_under_a_writer_is_made_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b/old", b"x")
    sink = store.sink("a/b/new")
    sink.write(b"y")
    store.delete("a/b/old")
    assert not (tmp_path / "a").exists()
    sink.commit()
    assert store.get("a/b/new") == b"y"
