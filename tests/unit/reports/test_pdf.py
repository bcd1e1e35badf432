import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymupdf
import pypdf
import pytest

from fractureai.domain.ports import ReportWriter
from fractureai.domain.result import DISCLAIMER
from fractureai.domain.study import WorkState
from fractureai.reports.pdf import PdfReportWriter

HOSTILE = [
    '<img src="/etc/passwd">',
    "<b>unclosed & <font color='[[].__class__]'>",
    "x" * 5000,
    "word " * 1000,
    "\x00\x01\x07\x1b[31m\r\n\t",
    "\u202eevil\u202c\u2066\u200f",
    "(unbalanced \\ ) Tj ET endstream endobj",
    "\ud800\udfff\ufffe",
    "a" + "\u0301" * 500,
    "\U0001f9b4\ue000\U0010ffff",
]


def reader(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data))


def flat(data: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader(data).pages).split())


def test_it_is_a_report_writer() -> None:
    writer: ReportWriter = PdfReportWriter()
    assert writer


@pytest.mark.parametrize(
    "words",
    [
        "AI-assisted radiology report",
        "NOT FOR DIAGNOSTIC USE",
        "Signs of a fracture",
        "Doe, Jane Q",
        "PID-0042",
        "1970-01-31",
        "female",
        "ACC-7",
        "2026-11-20",
        "ELBOW 2 VIEWS",
        "Klinikum Süd",
        "Smith, Dr Adam",
        "Ward 3",
        "2026-11-23 14:05 UTC",
        "elbow_1.dcm",
        "projection AP · left",
        "1600 × 2048 px",
        "elbow (probability 98.7 %)",
        "83.2 %",
        "suspected from 31.0 %",
        "fracture from 70.5 %",
        "2.1 percentage points",
        "Place 1: x 480–1120, y 600–1200 px; probability of a fracture there 61.0 %.",
        "region-classifier",
        "fracture-elbow",
        "ababababab",
        "FractureAI 0.1.0",
        "Page 1 of 2",
        DISCLAIMER,
    ],
)
def test_the_report_says(write, kit, words) -> None:
    assert words in flat(write(kit.assessed(), label="Ward 3"))


def test_the_same_input_gives_the_same_bytes_whatever_was_written_before(write, kit) -> None:
    before = write(kit.assessed())
    write(kit.assessed(patient_name="محمد", institution_name="राम 山田 한글"))
    assert write(kit.assessed()) == before


def test_a_fresh_process_gives_the_same_bytes(write, kit, tmp_path) -> None:
    script = (
        "import sys, importlib.util, pathlib\n"
        "spec = importlib.util.spec_from_file_location('kit', sys.argv[1])\n"
        "kit = importlib.util.module_from_spec(spec); spec.loader.exec_module(kit)\n"
        "image = kit.assessed(patient_name='محمد راम 山')\n"
        "data = kit.PdfReportWriter().write(kit.study_of([image]), kit.result_of([image]), [image])\n"
        "pathlib.Path(sys.argv[2]).write_bytes(data)\n"
    )
    path = Path(__file__).with_name("conftest.py")
    out = tmp_path / "fresh.pdf"
    subprocess.run([sys.executable, "-c", script, str(path), str(out)], check=True)
    assert out.read_bytes() == write(kit.assessed(patient_name="محمد راम 山"))


def test_metadata_holds_no_patient_data(write, kit) -> None:
    pdf = reader(write(kit.assessed(), label="Ward 3"))
    values = " ".join(str(value) for value in pdf.metadata.values())
    assert kit.STUDY_ID in pdf.metadata.title
    assert pdf.metadata.author == "FractureAI"
    for secret in ("Doe", "Jane", "PID-0042", "1970", "ACC-7", "Ward", "Klinikum", "Smith", "elbow_1"):
        assert secret not in values


def test_the_document_is_dated_by_the_study(write, kit) -> None:
    assert reader(write(kit.assessed())).metadata.creation_date.isoformat() == "2026-11-23T14:05:00+00:00"


def test_language_outline_and_embedded_fonts(write, kit) -> None:
    data = write(kit.assessed(1), kit.assessed(2))
    pdf = reader(data)
    assert pdf.trailer["/Root"]["/Lang"] == "en"
    assert pdf.trailer["/Root"]["/ViewerPreferences"]["/DisplayDocTitle"] == True  # noqa: E712 - a PDF boolean
    titles = [entry.title for entry in _flat_outline(pdf.outline)]
    assert titles == [
        "Patient and study",
        "What this means",
        "Findings",
        "View 1 of 2: Signs of a fracture",
        "View 2 of 2: Signs of a fracture",
        "Method and models",
        "Limits",
    ]
    with pymupdf.open(stream=data) as document:
        fonts = {font for page in document for font in page.get_fonts()}
    assert fonts
    assert all(kind == "Type0" and extension == "ttf" for _, extension, kind, *_ in fonts)


def _flat_outline(entries):
    for entry in entries:
        if isinstance(entry, list):
            yield from _flat_outline(entry)
        else:
            yield entry


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_every_page_has_its_number_the_study_and_the_disclaimer(write, kit, count) -> None:
    pages = reader(write(*(kit.assessed(number) for number in range(1, count + 1)))).pages
    assert len(pages) >= 2
    assert len(pages) <= 3 + count
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        assert f"Page {number} of {len(pages)}" in text
        assert kit.STUDY_ID in text
        assert "Doe, Jane Q · PID-0042" in text
        assert DISCLAIMER in text


def test_nothing_is_drawn_outside_the_page_or_over_the_footer(write, kit) -> None:
    images = [replace(kit.assessed(n), result=replace(kit.assessed(n).result, file="n" * 5000)) for n in (1, 2)]
    data = write(*images, label="l" * 5000)
    with pymupdf.open(stream=data) as document:
        for page in document:
            for x0, y0, x1, y1, word, *_ in page.get_text("words"):
                assert x0 >= 30, word
                assert y0 >= 0, word
                assert x1 <= page.rect.width - 30, word
                assert y1 <= page.rect.height - 10, word
            lower = [word for word in page.get_text("words") if word[3] > page.rect.height - 44]
            assert " ".join(word[4] for word in lower).startswith("Not for diagnostic use.")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_no_harm(write, kit, text) -> None:
    image = kit.assessed(patient_name=text, patient_id=text, institution_name=text, view_position=text, laterality=text)
    image = replace(image, result=replace(image.result, file=text))
    data = write(image, label=text)
    assert "Signs of a fracture" in flat(data)
    with pymupdf.open(stream=data) as document:
        assert document.page_count <= 4
        pictures = {picture for page in document for picture in page.get_images()}
    assert len(pictures) == 3


def test_markup_is_shown_as_it_stands(write, kit) -> None:
    assert '<img src="/etc/passwd">' in flat(write(kit.assessed(patient_id='<img src="/etc/passwd">')))


def test_text_that_would_turn_the_line_round_is_not_obeyed(write, kit) -> None:
    assert "PID fracture" in flat(write(kit.assessed(patient_id="PID \u202efracture")))


SCRIPTS = [
    "Łódź",
    "Ελένη",
    "Пётр",
    "כהן דוד",
    "محمد علي",
    "राम शर्मा",
    "สมชาย",
    "王小明",
    "やまだ",
    "김철수",
    "தமிழ்",
    "አበበ",
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_names_of_any_script_are_drawn_and_can_be_copied(write, kit, name) -> None:
    data = write(kit.assessed(patient_id=name, pictures=False))
    box = write(kit.assessed(patient_id="\U0001f9b4" * len(name), pictures=False))
    assert sorted(_beside_label(data).replace(" ", "")) == sorted(name.replace(" ", ""))
    drawn, missing = _ink(data), _ink(box)
    assert drawn.sum() > 40
    assert not np.array_equal(drawn, missing)


def _beside_label(data: bytes) -> str:
    with pymupdf.open(stream=data) as document:
        return document[0].get_textbox(_value_cell(document[0])).strip()


def _ink(data: bytes) -> np.ndarray:
    with pymupdf.open(stream=data) as document:
        picture = document[0].get_pixmap(clip=_value_cell(document[0]), dpi=150, colorspace=pymupdf.csGRAY)
        return np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride) < 128


def _value_cell(page: pymupdf.Page) -> pymupdf.Rect:
    label = page.search_for("Patient ID")[0]
    return pymupdf.Rect(label.x0 + 84, label.y0 - 1, label.x0 + 240, label.y1 + 2)


def test_a_missing_glyph_is_a_visible_box(write, kit) -> None:
    assert _ink(write(kit.assessed(patient_id="\U0001f9b4"))).sum() > 20


@pytest.mark.parametrize(("name", "is_said"), [("张喆 山田 김철수 Müller", False), ("𠮷田^太郎", True)])
def test_a_character_that_no_font_has_is_said_to_be_missing(write, kit, name, is_said) -> None:
    with pymupdf.open(stream=write(kit.assessed(patient_name=name))) as document:
        assert bool(document[0].search_for("missing in the fonts of this report")) is is_said


def test_pictures_are_placed_with_their_boxes(write, kit) -> None:
    with pymupdf.open(stream=write(kit.assessed(probability=0.5))) as document:
        page = document[1]
        assert len(page.get_images()) == 3
        dashed = [drawing["rect"] for drawing in page.get_drawings() if "3 2" in (drawing.get("dashes") or "")]
        (original, *_) = sorted((page.get_image_rects(image[0])[0] for image in page.get_images()), key=lambda r: r.x0)
    (box,) = dashed
    expected = [
        original.x0 + 480 / 1600 * original.width,
        original.y0 + 600 / 2048 * original.height,
        original.x0 + 1120 / 1600 * original.width,
        original.y0 + 1200 / 2048 * original.height,
    ]
    assert list(box) == pytest.approx(expected, abs=1)


def test_a_view_without_suspicion_shows_the_original_alone(write, kit) -> None:
    with pymupdf.open(stream=write(kit.assessed(probability=0.05))) as document:
        assert sum(len(page.get_images()) for page in document) == 1
    text = flat(write(kit.assessed(probability=0.05)))
    assert "Place 1" not in text
    assert "Attention (Grad-CAM)" not in text


def test_attention_alone_is_told_from_a_place(write, kit) -> None:
    image = kit.assessed(probability=0.5)
    text = flat(write(replace(image, result=replace(image.result, findings=()))))
    assert "No single place is probable enough to name" in text
    assert "Place 1" not in text


def test_damaged_pictures_leave_a_gap(write, kit) -> None:
    image = replace(kit.assessed(), overlay_jpg=b"no picture", roi_png=b"nor this")
    assert flat(write(image)).count("no picture") == 2
    assert "no picture" not in flat(write(kit.assessed(pictures=False)))


def test_studies_without_any_assessment(write, kit) -> None:
    rejected = flat(write(kit.unread(1, "a.dcm"), kit.unread(2, "b.dcm", "empty_file"), state=WorkState.REJECTED))
    for words in ("Not assessed: the files could not be read", "a.dcm", "b.dcm", "is damaged", "is empty"):
        assert words in rejected
    inconclusive = flat(write(kit.out_of_scope()))
    assert "does not look like the limb radiographs" in inconclusive
    assert "suspected from" not in inconclusive


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_the_words_of_the_scale_stay_within_the_margins(write, kit, probability) -> None:
    image = kit.assessed(probability=probability)
    image = replace(image, result=replace(image.result, thresholds=(0.0, 1.0)))
    with pymupdf.open(stream=write(image)) as document:
        words = [word for page in document for word in page.get_text("words")]
    assert all(word[0] >= 30 and word[2] <= 566 for word in words)


def test_images_must_be_those_of_the_result(kit) -> None:
    images = [kit.assessed(1), kit.assessed(2)]
    with pytest.raises(ValueError, match="one entry for each image"):
        PdfReportWriter().write(kit.study_of(images), kit.result_of(images), images[:1])


def test_one_view_stays_small(write, kit) -> None:
    assert len(write(kit.assessed())) <= 400_000
