"""MURA (Rajpurkar et al. 2017, arXiv:1712.06957): upper-limb studies, labelled normal or abnormal by folder name."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import MappingProxyType

from fractureai.training.datasets.values import Dataset, LeftOut, Sample, Split

CITATION = (
    "Rajpurkar, P., Irvin, J., Bagul, A., et al. MURA: Large Dataset for Abnormality Detection in Musculoskeletal "
    "Radiographs. arXiv:1712.06957 (2017)"
)
LICENCE = "Stanford University Dataset Research Use Agreement"

REGIONS = MappingProxyType(
    {
        "XR_ELBOW": "elbow",
        "XR_FINGER": "finger",
        "XR_FOREARM": "forearm",
        "XR_HAND": "hand",
        "XR_HUMERUS": "humerus",
        "XR_SHOULDER": "shoulder",
        "XR_WRIST": "wrist",
    }
)

PRODUCT_REGIONS = MappingProxyType({"finger": "hand", "wrist": "hand"})
"""Which of MURA's regions a model of another name reads (``hand`` is hand or wrist)."""

_FOLDERS: tuple[tuple[str, str], ...] = (("valid", "test"), ("train", "train"))
_STUDY = re.compile(r"(?P<study>study\d+)_(?P<label>positive|negative)$")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_VAL_SHARE_PERCENT = 10


def read_mura(folder: Path) -> Dataset:
    """Walk ``train|valid/XR_ELBOW/patientNNNNN/studyN_positive|negative/imageN.png``.

    MURA's public ``valid`` becomes ``test``, so that nothing is chosen on it; a tenth of the patients of ``train``
    becomes ``val``, by a hash of the patient's name. Every image of a patient, of whatever region, is in one split. A
    patient who is in both folders is left out of ``train``.
    """
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
    held_out: set[str] = set()
    for name, split in _FOLDERS:
        for path in sorted((folder / name).glob("XR_*/*/*/*")):
            image_id = path.relative_to(folder).as_posix()
            patient = path.parts[-3]
            reason = _why_not(path) or (
                "the patient is also in valid" if name == "train" and patient in held_out else ""
            )
            if reason:
                left_out.append(LeftOut(image_id, reason))
                continue
            if split == "test":
                held_out.add(patient)
            samples.append(_sample(path, image_id, _split(patient) if split == "train" else "test"))
    return Dataset("MURA", tuple(samples), tuple(left_out), CITATION, LICENCE, label="abnormal")


def _why_not(path: Path) -> str:
    if path.name.startswith("."):
        return "a hidden file, not an image"
    if path.suffix.lower() not in _SUFFIXES:
        return "not an image"
    if path.parts[-4] not in REGIONS:
        return f"unknown region {path.parts[-4]}"
    if not _STUDY.match(path.parts[-2]):
        return "the study's folder name holds no label"
    return "the file is empty" if path.stat().st_size == 0 else ""


def _sample(path: Path, image_id: str, split: Split) -> Sample:
    region_folder, patient, study_folder = path.parts[-4:-1]
    study = _STUDY.match(study_folder)
    assert study is not None  # noqa: S101 - _why_not has looked
    return Sample(
        image_path=path,
        image_id=image_id,
        region=REGIONS[region_folder],
        fractured=study["label"] == "positive",
        split=split,
        block=patient,
        study=f"{patient}/{region_folder}/{study['study']}",
        patient=patient,
    )


def _split(patient: str) -> Split:
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4], "big") % 100
    return "val" if place < _VAL_SHARE_PERCENT else "train"
