import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fractureai.errors import BrokenDeployment, RejectedInput
from fractureai.training.datasets.fracatlas import block_of, published_split, read_original
from fractureai.training.datasets.mura import PRODUCT_REGIONS, read_mura
from fractureai.training.datasets.opening import open_dataset
from fractureai.training.datasets.pixels import read_grey
from fractureai.training.datasets.values import Dataset, Sample

SHARED = Path(__file__).parents[4] / "shared" / "data" / "fracatlas"


def _image(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((12, 10), value, np.uint8))
    return path


def _table(path: Path, lines: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def _sample(**changes: object) -> Sample:
    plain = {"image_path": Path("a.png"), "image_id": "a", "region": "hand", "fractured": False, "block": "b0"}
    return Sample(**(plain | {"split": "train"} | changes))


class TestValues:
    @pytest.mark.parametrize("changes", [{"split": "other"}, {"block": ""}, {"boxes": ((3.0, 1.0, 3.0, 4.0),)}])
    def test_an_impossible_sample_cannot_be_built(self, changes):
        with pytest.raises(ValueError, match=r"^(a has|split)"):
            _sample(**changes)

    def test_a_block_is_in_one_split(self):
        with pytest.raises(ValueError, match="more than one split"):
            Dataset("d", (_sample(), _sample(image_id="b", split="test")))

    def test_an_image_occurs_once(self):
        with pytest.raises(ValueError, match="more than once"):
            Dataset("d", (_sample(), _sample()))

    def test_counts_and_selections(self):
        dataset = Dataset(
            "d",
            (
                _sample(),
                _sample(image_id="b", fractured=True),
                _sample(image_id="c", split="test", block="b1", region="leg"),
            ),
        )
        assert dataset.counts() == {
            "hand": {"train": {"normal": 1, "fractured": 1}},
            "leg": {"test": {"normal": 1, "fractured": 0}},
        }
        assert dataset.regions == ("hand", "leg")
        assert [sample.image_id for sample in dataset.split("test").samples] == ["c"]
        assert dataset.region("hand").renamed({"hand": "paw"}).regions == ("paw",)


class TestPreparedFracAtlas:
    def test_it_reads_samples_boxes_and_reasons(self, tmp_path):
        common = {"region_source": "visual", "fracture_count": 0, "multiscan": 0, "oblique": 0}
        row = common | {"split": "train", "region": "hand", "fractured": 1, "hardware": 1, "frontal": 1, "lateral": 0}
        _table(
            tmp_path / "images.csv",
            [
                row | {"image_id": "IMG0000019.jpg"},
                row | {"image_id": "IMG0000020.jpg", "region": "ambiguous"},
                row | {"image_id": "IMG0000021.jpg"},
            ],
        )
        _table(
            tmp_path / "boxes.csv", [{"image_id": "IMG0000019.jpg", "x0_px": 1, "y0_px": 2, "x1_px": 3, "y1_px": 4.5}]
        )
        _image(tmp_path / "images" / "IMG0000019.jpg")
        dataset = open_dataset(tmp_path)
        (sample,) = dataset.samples
        assert (sample.boxes, sample.block, sample.fractured) == (((1.0, 2.0, 3.0, 4.5),), "b0001", True)
        assert sample.tags == {"view": "frontal", "hardware": "yes", "multiscan": "no"}
        assert dataset.left_out_counts() == {"region is ambiguous": 1, "the file is missing": 1}

    @pytest.mark.skipif(not SHARED.is_dir(), reason="the prepared FracAtlas images are not on this machine")
    def test_the_real_one_has_the_counts_its_readme_tells(self):
        dataset = open_dataset(SHARED)
        assert len(dataset.samples) == 3323
        assert dataset.left_out_counts() == {"region is ambiguous": 10, "a twin of another image": 84}
        assert len(dataset.split("test").samples) == 491
        assert dataset.counts()["leg"]["test"] == {"normal": 228, "fractured": 20}
        assert sum(bool(sample.boxes) for sample in dataset.samples) == 581


class TestPublishedFracAtlas:
    @pytest.fixture
    def archive(self, tmp_path):
        tags = {"leg": 0, "hip": 0, "shoulder": 0, "mixed": 0, "hardware": 0, "frontal": 1, "lateral": 1}
        rows = [
            tags | {"image_id": "IMG0000019.jpg", "hand": 1, "fractured": 1},
            tags | {"image_id": "IMG0000400.jpg", "hand": 1, "fractured": 0},
            tags | {"image_id": "IMG0000401.jpg", "hand": 1, "leg": 1, "fractured": 0},
            tags | {"image_id": "IMG0000402.jpg", "hand": 0, "fractured": 0},
        ]
        _table(tmp_path / "dataset.csv", rows)
        _image(tmp_path / "images" / "Fractured" / "IMG0000019.jpg")
        _image(tmp_path / "images" / "Non_fractured" / "IMG0000400.jpg")
        coco = tmp_path / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
        coco.parent.mkdir(parents=True)
        annotations = [{"image_id": 7, "bbox": [1, 2, 3, 4]}, {"image_id": 7, "bbox": [1, 2, 0, 4]}]
        coco.write_text(json.dumps({"images": [{"id": 7, "file_name": "IMG0000019.jpg"}], "annotations": annotations}))
        _table(tmp_path / "Utilities" / "Fracture Split" / "valid.csv", [{"image_id": "IMG0000019.jpg"}])
        return tmp_path

    def test_it_reads_tags_folders_and_coco_boxes(self, archive):
        dataset = read_original(archive)
        assert [(sample.region, sample.fractured, sample.boxes) for sample in dataset.samples] == [
            ("hand", True, ((1, 2, 4, 6),)),
            ("hand", False, ()),
        ]
        assert dataset.samples[0].tags["view"] == "frontal+lateral"
        assert dataset.left_out_counts() == {"several regions are tagged": 1, "no region is tagged": 1}
        assert open_dataset(archive) == dataset

    def test_the_published_split_can_be_asked_for(self, archive):
        assert published_split(archive) == {"IMG0000019.jpg": "val"}

    def test_damaged_annotations_are_named(self, archive):
        (archive / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json").write_text("[]")
        with pytest.raises(BrokenDeployment, match="COCO"):
            read_original(archive)

    def test_blocks_are_sixteen_numbers_wide(self):
        assert [block_of(f"IMG{number:07d}.jpg") for number in (15, 16, 31, 32)] == ["b0000", "b0001", "b0001", "b0002"]


class TestMura:
    @pytest.fixture
    def tree(self, tmp_path):
        for number in range(40):
            region = ("XR_ELBOW", "XR_FINGER", "XR_FOREARM", "XR_HAND", "XR_HUMERUS", "XR_SHOULDER", "XR_WRIST")[
                number % 7
            ]
            label = "positive" if number % 3 == 0 else "negative"
            patient = tmp_path / "train" / region / f"patient{number:05d}"
            _image(patient / f"study1_{label}" / "image1.png")
            _image(patient / f"study1_{label}" / "image2.png")
        _image(tmp_path / "train" / "XR_WRIST" / "patient00000" / "study2_negative" / "image1.png")
        _image(tmp_path / "valid" / "XR_HAND" / "patient11185" / "study1_positive" / "image1.png")
        _image(tmp_path / "train" / "XR_HAND" / "patient11185" / "study1_positive" / "image1.png")
        (tmp_path / "train" / "XR_ELBOW" / "patient00000" / "study1_positive" / "._image1.png").write_bytes(b"x")
        (tmp_path / "train" / "XR_ELBOW" / "patient00000" / "study1_positive" / "image3.png").write_bytes(b"")
        _image(tmp_path / "train" / "XR_ELBOW" / "patient00007" / "study9" / "image1.png")
        _image(tmp_path / "train" / "XR_ANKLE" / "patient00050" / "study1_negative" / "image1.png")
        return tmp_path

    def test_labels_regions_and_studies_come_from_the_folders(self, tree):
        dataset = open_dataset(tree)
        assert dataset.name == "MURA"
        assert set(dataset.regions) == {"elbow", "finger", "forearm", "hand", "humerus", "shoulder", "wrist"}
        first = dataset.samples[0]
        assert (first.split, first.patient, first.fractured) == ("test", "patient11185", True)
        assert len({sample.study for sample in dataset.samples if sample.patient == "patient00000"}) == 2
        assert dataset.renamed(PRODUCT_REGIONS).regions == ("elbow", "forearm", "hand", "humerus", "shoulder")

    def test_patients_are_never_split(self, tree):
        splits = {}
        for sample in read_mura(tree).samples:
            splits.setdefault(sample.patient, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "val", "test"}

    def test_what_is_left_out_has_a_reason(self, tree):
        assert read_mura(tree).left_out_counts() == {
            "a hidden file, not an image": 1,
            "the file is empty": 1,
            "the study's folder name holds no label": 1,
            "unknown region XR_ANKLE": 1,
            "the patient is also in valid": 1,
        }


class TestTable:
    def _lines(self, folder: Path) -> list[dict[str, object]]:
        _image(folder / "a.png")
        _image(folder / "b.png")
        return [
            {"file": "a.png", "region": "Hand", "fractured": "yes", "patient": "p1", "device": "X", "split": ""},
            {"file": "b.png", "region": "hand", "fractured": "0", "patient": "p1", "device": "", "split": ""},
            {"file": "c.png", "region": "hand", "fractured": "0", "patient": "p2", "device": "", "split": ""},
            {"file": "b.png", "region": "hand", "fractured": "maybe", "patient": "p2", "device": "", "split": ""},
            {"file": "b.png", "region": "", "fractured": "0", "patient": "p2", "device": "", "split": ""},
            {"file": "b.png", "region": "hand", "fractured": "0", "patient": "p2", "device": "", "split": "x"},
        ]

    def test_it_reads_what_it_can_and_says_what_not(self, tmp_path):
        path = _table(tmp_path / "samples.csv", self._lines(tmp_path))
        _table(tmp_path / "boxes.csv", [{"image_id": "a.png", "x0_px": 1, "y0_px": 2, "x1_px": 3, "y1_px": 4}])
        dataset = open_dataset(tmp_path)
        assert open_dataset(path).samples == dataset.samples
        first, second = dataset.samples
        assert (first.region, first.fractured, first.tags, first.boxes) == (
            "hand",
            True,
            {"device": "X"},
            ((1, 2, 3, 4),),
        )
        assert (second.block, second.split) == ("p1", first.split)
        assert dataset.left_out_counts() == {
            "the file is missing": 1,
            "fractured is 'maybe', not a yes or no": 1,
            "no region is given": 1,
            "split is 'x', not one of train, val, test": 1,
        }

    def test_a_patient_in_two_splits_is_refused(self, tmp_path):
        lines = [line | {"split": split} for line, split in zip(self._lines(tmp_path), ("train", "test"), strict=False)]
        with pytest.raises(BrokenDeployment, match="several splits"):
            open_dataset(_table(tmp_path / "samples.csv", lines[:2]))

    def test_missing_columns_are_named(self, tmp_path):
        with pytest.raises(BrokenDeployment, match="region, fractured"):
            open_dataset(_table(tmp_path / "samples.csv", [{"file": "a.png"}]))


def test_an_unknown_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(BrokenDeployment, match="MURA"):
        open_dataset(tmp_path)


def test_a_dataset_without_a_usable_image_is_refused(tmp_path):
    with pytest.raises(BrokenDeployment, match="the file is missing"):
        open_dataset(_table(tmp_path / "samples.csv", [{"file": "a.png", "region": "hand", "fractured": 1}]))


class TestPixels:
    def test_deep_images_fill_the_grey_range(self, tmp_path):
        assert cv2.imwrite(str(tmp_path / "a.png"), np.array([[1000, 3000], [2000, 1000]], np.uint16))
        assert read_grey(tmp_path / "a.png").tolist() == [[0, 255], [128, 0]]

    @pytest.mark.parametrize("data", [b"", b"text"])
    def test_damaged_files_are_rejected(self, tmp_path, data):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(RejectedInput, match="damaged"):
            read_grey(tmp_path / "a.png")
