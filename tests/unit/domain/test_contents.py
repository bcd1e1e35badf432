from __future__ import annotations

from fractureai.domain.contents import Content, FoundContent, count_kinds, skipped_kinds, skipped_sentence

PICTURE, DICOM = FoundContent(Content.PICTURE), FoundContent(Content.DICOM)
INDEX = FoundContent(Content.NO_IMAGE, "DICOM directory")


def test_pictures_below_an_indexed_folder_of_dicom_files_belong_to_the_viewer() -> None:
    files = [
        ("a/DICOMDIR", INDEX),
        ("a/images/1", DICOM),
        ("a/viewer/icons/1.png", PICTURE),
        ("b/DICOMDIR", INDEX),
        ("b/1.png", PICTURE),
        ("ab/1.png", PICTURE),
        ("1.png", PICTURE),
    ]
    viewer = "picture of a disc's viewer"
    assert skipped_kinds(files) == ["DICOM directory", "", viewer, "DICOM directory", "", "", ""]


def test_what_was_skipped_is_one_sentence() -> None:
    counts = count_kinds([*["program"] * 1200, "text", "", "web page", "web page"])
    assert skipped_sentence(counts.items()) == "1,203 files that are not images (1,200 programs, 2 web pages, 1 text)"
    assert skipped_sentence([("text", 1)]) == "1 file that is not an image (1 text)"
