"""The watched folder against the real application behind a small server; its work is done as workers would."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fractureai.client import Client, Sorting
from fractureai.commands.watch_folder import Inbox
from fractureai.commands.watch_work import Watch
from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.domain.reasons import Reason
from fractureai.domain.study import WorkState
from fractureai.errors import TransientFailure
from fractureai.web.app import WebPorts
from tests.browser.samples import View, finish, open_app, open_ports, receive
from tests.serving import serving


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[WebPorts]:
    ports = open_ports(tmp_path / "service")
    yield ports
    ports.ledger.close()


@pytest.fixture
def url(ports: WebPorts) -> Iterator[str]:
    with serving(open_app(ports, max_file_bytes=1000)) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


class Watching:
    """A watch whose clock goes as the test says; made anew, as after a kill, by :meth:`begin`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.now_s = folder, url, 100.0
        self.told: list[str] = []
        self.begin()

    def begin(self) -> None:
        inbox = Inbox(self.folder, 10.0, self.told.append)
        self.work = Watch(inbox, Client(self.url), Sorting(), self.told.append)

    def look(self, *, after_s: float = 0.0) -> bool:
        self.now_s += after_s
        return self.work.round(self.now_s)


@pytest.fixture
def watching(folder: Path, url: str) -> Watching:
    return Watching(folder, url)


def work_on(ports: WebPorts, *, unreadable: str = "", left_out: str = "") -> list[list[str]]:
    """Do what intake and workers do with every batch that is open; returns the names of each batch's files."""
    batches = []
    for key in list(ports.store.keys("sites/local/batches/")):
        batch_id = key.split("/")[3]
        claim = ports.ledger.claim_batch(batch_id, owner="t", now_s=ports.clock(), lease_s=60)
        if claim is None:
            continue
        names = [upload.file_name for upload in claim.batch.uploads]
        batches.append(names)
        out = [(name, Reason("damaged")) for name in names if left_out and name.endswith(left_out)]
        studies = []
        for name in names:
            if (name, Reason("damaged")) not in out:
                bad = bool(unreadable) and name.endswith(unreadable)
                view = View(name, probability=None, reasons=(Reason("damaged"),)) if bad else View(name)
                study = receive(ports, [view], batch_id=batch_id)
                finish(ports, study, [view], WorkState.REJECTED if bad else WorkState.DONE)
                studies.append(study)
        ports.ledger.unpacked(claim, studies, out, now_s=ports.clock())
    return batches


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content of {name}".encode())


def put_raw(folder: Path, *names: str) -> None:
    """As :func:`put`, for names that are not UTF-8."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content {number} of {len(names)}".encode())


def too_deep(folder: Path) -> None:
    """A folder whose paths are longer than the system takes; it is built from within."""
    (folder / "deep").mkdir()
    at = os.open(folder / "deep", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=at)
        below = os.open("d" * 240, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def lying(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def inside(folder: Path) -> list[str]:
    return [name for name in lying(folder) if not name.startswith(".fractureai-watch")]


def test_what_is_complete_goes_to_the_service_and_then_to_done(
    folder: Path, watching: Watching, ports: WebPorts
) -> None:
    put(folder, "a.dcm", "patient/1.dcm", "patient/deep/2.dcm")
    assert watching.look()
    assert work_on(ports) == []
    assert watching.look(after_s=11)
    assert work_on(ports) == [["patient/1.dcm", "patient/deep/2.dcm", "a.dcm"]]
    assert inside(folder) == ["a.dcm", "patient/1.dcm", "patient/deep/2.dcm"]
    assert not watching.look(after_s=5)
    assert inside(folder) == ["done/a.dcm", "done/patient/1.dcm", "done/patient/deep/2.dcm"]
    assert not (folder / "patient").exists()
    assert lying(folder / ".fractureai-watch") == ["sent.jsonl"]


def test_what_is_still_being_written_is_left_alone(folder: Path, watching: Watching, ports: WebPorts) -> None:
    put(folder, "growing.dcm", "half.dcm.part", ".hidden.dcm", "export/a.dcm", "export/b.dcm.tmp", "export/DICOMDIR")
    watching.look()
    put(folder, "growing.dcm", "growing.dcm")
    os.utime(folder / "growing.dcm", (1, 1))
    watching.look(after_s=9)
    watching.look(after_s=9)
    assert work_on(ports) == []
    watching.look(after_s=2)
    assert work_on(ports) == [["growing.dcm"]]
    (folder / "export/b.dcm.tmp").rename(folder / "export/b.dcm")
    watching.look()
    watching.look(after_s=11)
    assert work_on(ports) == [["export/a.dcm", "export/b.dcm"]]
    watching.look()
    assert inside(folder) == [
        ".hidden.dcm",
        "done/export/DICOMDIR",
        "done/export/a.dcm",
        "done/export/b.dcm",
        "done/growing.dcm",
        "half.dcm.part",
    ]


def test_what_cannot_be_used_goes_to_rejected_with_the_reason(
    folder: Path, watching: Watching, ports: WebPorts
) -> None:
    put(folder, "good.dcm", "broken.dcm", "scan/left.dcm", "scan/right.dcm")
    (folder / "huge.dcm").write_bytes(b"x" * 2000)
    watching.look()
    watching.look(after_s=11)
    work_on(ports, unreadable="broken.dcm", left_out="left.dcm")
    watching.look()
    assert inside(folder) == [
        "done/good.dcm",
        "done/scan/right.dcm",
        "rejected/broken.dcm",
        "rejected/broken.dcm.reason.txt",
        "rejected/huge.dcm",
        "rejected/huge.dcm.reason.txt",
        "rejected/scan/left.dcm",
        "rejected/scan/left.dcm.reason.txt",
    ]
    assert "damaged or incomplete" in (folder / "rejected/broken.dcm.reason.txt").read_text()
    assert (folder / "rejected/huge.dcm.reason.txt").read_text() == "2 KiB, limit 1000 bytes\n"


LATIN_1 = b"M\xfcller".decode("utf-8", "surrogateescape")


def test_names_that_are_not_utf_8_or_as_long_as_they_may_be_are_names(
    folder: Path, watching: Watching, ports: WebPorts
) -> None:
    longest = f"{'n' * 251}.dcm"
    put_raw(folder, f"{LATIN_1}.dcm", f"{LATIN_1}/broken.dcm", "a\x01b.dcm", longest, f"bad/{longest}")
    watching.look()
    watching.look(after_s=11)
    watching.begin()  # what is remembered can be read again
    assert sorted(work_on(ports, left_out="broken.dcm")[0]) == sorted(
        ["Müller.dcm", "Müller/broken.dcm", "ab.dcm", longest, f"bad/{longest}"]
    )
    watching.look()
    for raw in (f"{LATIN_1}.dcm", "a\x01b.dcm", longest, f"bad/{longest}"):
        assert (folder / "done" / raw).is_file()
    assert (folder / "rejected" / LATIN_1 / "broken.dcm.reason.txt").is_file()
    assert "Traceback" not in "".join(watching.told)
    (folder / longest).write_bytes((folder / "done" / longest).read_bytes())
    watching.look()
    watching.look(after_s=11)
    assert (folder / "done" / f"{'n' * 249}-2.dcm").is_file(), "the next like it fits as well"


def test_a_reason_is_written_beside_a_file_of_the_longest_name(
    folder: Path, watching: Watching, ports: WebPorts
) -> None:
    longest = f"{'ö' * 125}.dcm"
    put(folder, longest)
    watching.look()
    watching.look(after_s=11)
    work_on(ports, left_out=".dcm")
    watching.look()
    (reason,) = (folder / "rejected").glob("*.reason.txt")
    assert "damaged" in reason.read_text()
    assert (folder / "rejected" / longest).is_file()


def test_one_entrys_trouble_costs_that_entry(folder: Path, watching: Watching, ports: WebPorts) -> None:
    put(folder, "good.dcm", "stuck.dcm")
    too_deep(folder)
    (folder / "done").mkdir()
    for _ in range(3):
        watching.look(after_s=11)
    with pytest.MonkeyPatch.context() as patched:
        rename = Path.rename

        def refuses(path: Path, target: Path) -> Path:
            if path.name == "stuck.dcm":
                raise PermissionError(13, "Permission denied")
            return rename(path, target)

        patched.setattr(Path, "rename", refuses)
        assert work_on(ports) == [["good.dcm", "stuck.dcm"]]
        for _ in range(3):
            watching.look(after_s=11)
    assert (folder / "done/good.dcm").is_file()
    assert (folder / "stuck.dcm").is_file()
    assert work_on(ports) == [], "it is not sent again"
    told = [line for line in watching.told if line.startswith("left alone")]
    assert told == ["left alone: deep: file name too long", "left alone: stuck.dcm: permission denied"]


def test_of_a_patients_disc_only_the_images_are_sent(folder: Path, watching: Watching, ports: WebPorts) -> None:
    put(folder, "cd/README.TXT", "cd/VIEWER/VIEW.EXE", "cd/IMAGES/I1", "notes/letter.txt", "cd/.DS_Store")
    (folder / "cd/DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "cd/IMAGES/I1").write_bytes(bytes(128) + b"DICM 1")
    (folder / "cd/VIEWER/I.PNG").write_bytes(b"\x89PNG\r\n\x1a\n")
    watching.look()
    watching.look(after_s=11)
    watching.begin()
    assert work_on(ports) == [["cd/IMAGES/I1"]]
    watching.look(after_s=11)
    assert inside(folder) == [
        "cd/.DS_Store",
        *("done/cd/DICOMDIR", "done/cd/IMAGES/I1", "done/cd/README.TXT", "done/cd/VIEWER/I.PNG"),
        *("done/cd/VIEWER/VIEW.EXE", "done/notes/letter.txt"),
    ]
    assert "skipped in notes: 1 file that is not an image (1 text)" in watching.told
    assert any(
        line.startswith("skipped in cd: 4 files that are not images (1 DICOM directory, 1 picture of a disc's viewer")
        for line in watching.told
    )


def test_files_that_the_service_calls_otherwise_are_known(folder: Path, ports: WebPorts, tmp_path: Path) -> None:
    app = open_app(replace(ports, file_name=Pseudonyms(bytes(32)).file_name))
    with serving(app) as url:
        watching = Watching(folder, url)
        put(folder, "good.dcm", "broken.dcm")
        watching.look()
        watching.look(after_s=11)
        (names,) = work_on(ports, unreadable=Pseudonyms(bytes(32)).file_name("local", "broken.dcm"))
        watching.look()
    assert not {"good.dcm", "broken.dcm"} & set(names)
    assert inside(folder) == ["done/good.dcm", "rejected/broken.dcm", "rejected/broken.dcm.reason.txt"]


def test_what_was_read_is_not_read_again_under_any_name(folder: Path, watching: Watching, ports: WebPorts) -> None:
    for name in ("a.dcm", "again.dcm", "a.dcm"):
        (folder / name).write_bytes(b"the same picture")
        watching.look()
        watching.look(after_s=11)
        work_on(ports)
        watching.look()
        watching.begin()
    assert inside(folder) == ["done/a-2.dcm", "done/a.dcm", "done/again.dcm"]
    assert sum(told.startswith("accepted") for told in watching.told) == 1
    assert sum(told.startswith("known") for told in watching.told) == 2


def test_an_absent_service_is_waited_for(folder: Path, watching: Watching, ports: WebPorts) -> None:
    put(folder, "a.dcm")
    here, watching.url = watching.url, "http://127.0.0.1:9"
    watching.begin()
    watching.look()
    with pytest.raises(TransientFailure):
        watching.look(after_s=11)
    watching.url = here
    watching.begin()
    watching.look()
    assert work_on(ports) == [["a.dcm"]]


class Killed(BaseException):
    """The process ends here."""


def kill_at(patched: pytest.MonkeyPatch, number: int, folder: Path) -> Callable[[], int]:
    """End at the so-and-so-manieth moment: before or right after a step that changes something here or there."""
    left = [number]

    def moment() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def around(act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(what: Any, *args: Any, **named: Any) -> Any:
            if isinstance(what, Path) and folder not in what.parents:
                return act(what, *args, **named)  # the service's own files
            moment()
            found = act(what, *args, **named)
            moment()
            return found

        return acted

    for kind, names in (
        (Path, ("rename", "replace", "unlink")),
        (Client, ("put_file", "begin_upload", "complete_upload")),
    ):
        for name in names:
            patched.setattr(kind, name, around(getattr(kind, name)))
    return lambda: left[0]


def test_killed_at_any_moment_it_neither_loses_nor_doubles(tmp_path: Path, url: str, ports: WebPorts) -> None:
    number, died = 0, True
    while died:
        number += 4
        folder = tmp_path / f"inbox-{number}"
        put(folder, f"{number}.dcm", f"patient/{number}.dcm")
        (folder / "huge.dcm").write_bytes(b"x" * 2000)
        watching = Watching(folder, url)
        died = False
        read: Counter[str] = Counter()
        # Every life but the last ends at a moment; the second one a little later than the first.
        for moment in (number, number + 1, 0):
            with pytest.MonkeyPatch.context() as patched:
                if moment:
                    kill_at(patched, moment, folder)
                watching.begin()
                try:
                    for _ in range(4):
                        watching.look(after_s=11)
                        read.update(name for names in work_on(ports) for name in names)
                except Killed:
                    died = True
        assert read == {f"{number}.dcm": 1, f"patient/{number}.dcm": 1}
        assert inside(folder) == [
            f"done/{number}.dcm",
            f"done/patient/{number}.dcm",
            "rejected/huge.dcm",
            "rejected/huge.dcm.reason.txt",
        ]
    assert number > 20
