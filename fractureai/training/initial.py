"""Weights to start from: ImageNet, a longer training of what is shipped, or another run. Knows no engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fractureai.domain.card import NETWORK_FILE
from fractureai.errors import BrokenDeployment
from fractureai.training.runs import CONFIG

Floats = npt.NDArray[np.float32]

IMAGENET, NONE = "imagenet", "none"
_FETCHED = "imagenet.h5"
_ALWAYS = ("top_conv/kernel", "head/kernel", "head/bias")


@dataclass(frozen=True, slots=True, eq=False)
class InitialWeights:
    """What there is to start from.

    Attributes
    ----------
    arrays:
        By the names of :func:`fractureai.training.network.stored_variables`.
    outputs:
        What each logit of their head means; empty where that is not known or means nothing.
    origin:
        Where they came from, for the card.
    """

    arrays: dict[str, Floats]
    outputs: tuple[str, ...]
    origin: str

    @property
    def head(self) -> tuple[Floats, Floats]:
        """``(1280, C)`` weights and ``(C,)`` biases of the logits."""
        return self.arrays["head/kernel"], self.arrays["head/bias"]

    def get(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One array.

        Raises
        ------
        BrokenDeployment
            If it is missing or of another shape.
        """
        if name not in self.arrays:
            raise BrokenDeployment(
                f"The weights to start from have no {name}. Give weights of an EfficientNetB1 that was trained here."
            )
        found = self.arrays[name]
        if found.shape != shape:
            raise BrokenDeployment(f"{name} to start from is {found.shape}, but the network needs {shape}")
        return found


def read_initial(choice: str, run: Path) -> InitialWeights | None:
    """Read weights to start from.

    Parameters
    ----------
    choice:
        ``none``; ``imagenet``, which is kept in the run folder; a folder of a packaged network or of another run
        (``weights.h5`` with the card or the settings beside it); or a weights file.

    Raises
    ------
    BrokenDeployment
        If they are missing or damaged; the message says what else can be given.
    """
    if choice == NONE:
        return None
    if choice == IMAGENET:
        return _imagenet(run / _FETCHED)
    place = Path(choice)
    place = place / "weights.h5" if place.is_dir() else place
    if not place.is_file():
        raise BrokenDeployment(
            f"There are no weights at {choice} to start from. Give --init none to start from scratch."
        )
    return InitialWeights(_read(place), _outputs_of(place), f"weights of {place.parent.name}")


def _outputs_of(weights: Path) -> tuple[str, ...]:
    """What the logits mean, by what lies beside the weights: a network's card or a run's settings."""
    for name in (NETWORK_FILE, CONFIG):
        beside = weights.with_name(name)
        if beside.is_file():
            told = json.loads(beside.read_text(encoding="utf-8"))
            return tuple(told.get("outputs") or told.get("settings", {}).get("outputs", ()))
    return ()


def _imagenet(kept: Path) -> InitialWeights:
    note = kept.with_suffix(".txt")
    if not (kept.is_file() and note.is_file()):
        from fractureai.training.imagenet import write_imagenet  # PyTorch or Keras

        note.write_text(write_imagenet(kept), encoding="utf-8")
    return InitialWeights(_read(kept), (), note.read_text(encoding="utf-8"))


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
    missing = [name for name in _ALWAYS if name not in found]
    if missing:
        raise BrokenDeployment(f"{path} has no {', '.join(missing)}; it is not of an EfficientNetB1 trained here")
    return found
