"""Which files the user means, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from fractureai.commands.files import expand, safe_stem, say_left_out
from tests.unit.commands.test_watch import LATIN_1, too_deep

PNG = b"\x89PNG\r\n\x1a\n"


def put(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_names_are_clean_and_paths_are_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / f"in {LATIN_1}"
    put(folder, **{f"{LATIN_1}.png": PNG, "a\nb.png": PNG, "n" * 251 + ".dcm": b"", "\u202egnp.png": PNG})
    selection = expand([folder])
    assert sorted(name for name, _ in selection.files) == [
        *("in Müller/Müller.png", "in Müller/ab.png", "in Müller/gnp.png", f"in Müller/{'n' * 251}.dcm"),
    ]
    assert all(path.is_file() for _, path in selection.files)
    assert (selection.skipped, selection.left_out) == ({}, [])


def test_what_cannot_be_looked_at_is_left_out_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", **{"good.png": PNG, "shut.png": PNG})
    too_deep(tmp_path / "in")
    opened = Path.open

    def refuses(path: Path, *words: str) -> object:
        if path.name == "shut.png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *words)

    monkeypatch.setattr(Path, "open", refuses)
    selection = expand([tmp_path / "in"])
    assert [name for name, _ in selection.files] == ["in/good.png"]
    (deep, too_long), shut = selection.left_out
    assert shut == ("in/shut.png", "permission denied")
    assert too_long == "file name too long"
    assert len(deep.encode()) <= 511


def test_of_a_folder_what_is_no_image_is_counted_and_a_file_that_is_named_is_taken(tmp_path: Path) -> None:
    disc = {"DICOMDIR": bytes(128) + b"DICM", "VIEW/A.EXE": b"MZ", "VIEW/I.PNG": PNG, "I/1": bytes(128) + b"DICM"}
    put(tmp_path / "cd", **disc, **{"I/2": bytes(600), ".DS_Store": b"x"})
    put(tmp_path, **{"letter.txt": b"a letter"})
    selection = expand([tmp_path / "cd", tmp_path / "letter.txt"])
    assert [name for name, _ in selection.files] == ["cd/I/1", "cd/I/2", "letter.txt"]
    assert selection.skipped == {"DICOM directory": 1, "picture of a disc's viewer": 1, "program": 1}
    said: list[str] = []
    say_left_out([("a", "b")], selection.skipped, said.append)
    assert said == [
        "left out: a: b",
        "skipped: 3 files that are not images (1 DICOM directory, 1 picture of a disc's viewer, 1 program)",
    ]


def test_a_folder_without_an_image_says_what_it_holds(tmp_path: Path) -> None:
    for number in range(100):
        put(tmp_path / "docs", **{f"{number}.txt": b"text"})
    with pytest.raises(click.BadParameter, match=r"nothing to read: 100 files that are not images \(100 texts\)"):
        expand([tmp_path / "docs"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(click.BadParameter, match="the folder is empty"):
        expand([tmp_path / "empty"])
    with pytest.raises(click.BadParameter, match="no file or folder"):
        expand([tmp_path / LATIN_1])


def test_links_do_not_lead_round(tmp_path: Path) -> None:
    put(tmp_path / "in", **{"1.png": PNG})
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert [name for name, _ in expand([tmp_path / "in"]).files] == ["in/1.png"]


def test_outputs_are_called_so_that_any_file_system_takes_them() -> None:
    stem = safe_stem("ö/\x01" * 300 + "骨.dcm", "0123456789abcdef")
    assert stem.isascii()
    assert len(f"{stem}-12-overlay.jpg") < 120
