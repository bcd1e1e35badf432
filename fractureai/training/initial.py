"""Weights to start from: fine-tuning, or a longer training of what is shipped. Knows no engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from fractureai.errors import BrokenDeployment

Floats = npt.NDArray[np.float32]

_ALIKE = "top_conv/kernel"


class Logit(NamedTuple):
    """One output of a head: ``(F,)`` weights of the features, and the bias."""

    weights: Floats
    bias: float


@dataclass(frozen=True, slots=True, eq=False)
class InitialWeights:
    """What there is to start from.

    Attributes
    ----------
    backbone:
        By the names of :func:`fractureai.training.network.stored_variables`.
    region, fracture:
        Logits of the region head and of the fracture models, by region; those that are known.
    """

    backbone: dict[str, Floats]
    region: dict[str, Logit] = field(default_factory=dict)
    fracture: dict[str, Logit] = field(default_factory=dict)

    def get(self, name: str, shape: tuple[int, ...]) -> Floats:
        """A weight of the backbone.

        Raises
        ------
        BrokenDeployment
            If it is missing or of another shape.
        """
        if name not in self.backbone:
            raise BrokenDeployment(
                f"the weights to start from have no {name}; are they of an EfficientNetB1 made here?"
            )
        found = self.backbone[name]
        if found.shape != shape:
            raise BrokenDeployment(f"{name} to start from is {found.shape}, the network needs {shape}")
        return found


def read_initial(source: Path, regions: Sequence[str]) -> InitialWeights:
    """Read weights to start from.

    Parameters
    ----------
    source:
        A folder of packaged models (``region/weights.h5``, ``fracture-<region>/weights.h5``), a run folder of the
        shared training (``region.h5``, ``fracture-<region>.h5``), or one weights file, of which only the backbone is
        taken.

    Raises
    ------
    BrokenDeployment
        If weights are missing or damaged, or if the models do not share one backbone: a head means nothing on
        another's features.
    """
    if source.is_file():
        return InitialWeights(_read(source))
    place = _place(source, "region")
    if place is None:
        raise BrokenDeployment(f"{source} holds neither region/weights.h5 nor region.h5 to start from")
    stored = _read(place)
    of_region = dict(zip(_classes(place, regions), _logits(stored), strict=False))
    of_fracture = {}
    for name in regions:
        own = _place(source, f"fracture-{name}")
        if own is None:
            continue
        found = _read(own)
        if not np.allclose(found[_ALIKE], stored[_ALIKE], atol=1e-3):
            raise BrokenDeployment(f"{own} and {place} do not share one backbone; start from one file instead")
        of_fracture[name] = _logits(found)[0]
    return InitialWeights(stored, {name: of_region[name] for name in regions if name in of_region}, of_fracture)


def _place(folder: Path, name: str) -> Path | None:
    for path in (folder / name / "weights.h5", folder / f"{name}.h5"):
        if path.is_file():
            return path
    return None


def _classes(place: Path, regions: Sequence[str]) -> Sequence[str]:
    """Names of the region head's logits: a packaged model's card says; a run folder's are those of its data."""
    card = place.with_name("card.json")
    if place.name != "weights.h5" or not card.is_file():
        return regions
    return tuple(json.loads(card.read_text(encoding="utf-8"))["classes"])


def _logits(stored: dict[str, Floats]) -> list[Logit]:
    kernel, bias = stored["head/kernel"], stored["head/bias"]
    return [Logit(kernel[:, column], float(bias[column])) for column in range(kernel.shape[1])]


def _read(path: Path) -> dict[str, Floats]:
    found: dict[str, Floats] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item, np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except OSError as error:
        raise BrokenDeployment(f"{path} cannot be read as a weights file ({error})") from error
    missing = [name for name in (_ALIKE, "head/kernel", "head/bias") if name not in found]
    if missing:
        raise BrokenDeployment(f"{path} has no {', '.join(missing)}; is it of an EfficientNetB1 made here?")
    return found
