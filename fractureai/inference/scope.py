"""How familiar a picture looks, from the region classifier's features.

The score is minus the mean distance to the nearest neighbours among known limb radiographs, in a whitened principal
subspace of the features' direction and (where weighted) length, less a penalty for what the subspace leaves over: flat
pictures differ in length alone, since they excite nothing. Nearest neighbours follow Sun et al. 2022
(Out-of-distribution detection with deep nearest neighbors), the residual Wang et al. 2022 (ViM). Fitting is offline
work (``fractureai.training.scope_fit``); this module only applies it.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fractureai.errors import BrokenDeployment

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ScopeModel:
    """A fitted familiarity score.

    Attributes
    ----------
    mean:
        ``(D,)`` float32, centre of the described features: their direction (F numbers) and, where weighted, length.
    basis:
        ``(D, K)`` float32, whitening projection: principal axes divided by their standard deviation.
    axes:
        ``(D, K)`` float32, the same axes with unit length, for the residual.
    bank:
        ``(B, K)`` float32, projections of known images.
    neighbours:
        How many of them the distance is averaged over.
    residual_scale:
        Residual length that counts as much as one unit of distance; ``inf`` switches it off.
    length_weight:
        Weight of the logarithm of the features' length beside their direction; 0 leaves it out.
    """

    mean: Floats
    basis: Floats
    axes: Floats
    bank: Floats
    neighbours: int
    residual_scale: float
    length_weight: float = 0.0

    def __post_init__(self) -> None:
        features, kept = self.basis.shape
        agree = self.mean.shape == (features,) and self.axes.shape == (features, kept) and self.bank.shape[1] == kept
        if not agree or not 1 <= self.neighbours <= len(self.bank) or not self.residual_scale > 0:
            raise BrokenDeployment("the scope rule's arrays do not fit together")

    def score(self, features: Floats) -> Floats:
        """Score ``(N, F)`` float32 features; ``(N,)`` float32, higher is more familiar, at most 0."""
        described = describe(features, self.length_weight)
        if described.shape[1] != len(self.mean):
            raise BrokenDeployment(f"the scope rule expects other features than {features.shape}")
        centred = described - self.mean
        projected = centred @ self.basis
        squared = (
            (projected**2).sum(axis=1, keepdims=True) - 2.0 * projected @ self.bank.T + (self.bank**2).sum(axis=1)[None]
        )
        nearest = np.partition(squared, self.neighbours - 1, axis=1)[:, : self.neighbours]
        distance = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
        left_over = centred - (centred @ self.axes) @ self.axes.T
        residual = np.linalg.norm(left_over, axis=1) / self.residual_scale
        return np.asarray(-(distance + residual), np.float32)


def describe(features: Floats, length_weight: float) -> Floats:
    """Part ``(N, F)`` features into direction and, where weighted, log length: ``(N, F)`` or ``(N, F + 1)``.

    A row of zeros stays zero and finite.
    """
    length = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    direction = features / length
    if length_weight == 0:
        return np.asarray(direction, np.float32)
    return np.concatenate([direction, length_weight * np.log(length)], axis=1, dtype=np.float32)


def save_scope(path: Path, model: ScopeModel) -> None:
    """Write the arrays as ``.npz``, floats in half precision, without pickles and with the same bytes each time."""
    np.savez(
        path,
        mean=model.mean.astype(np.float32),
        basis=model.basis.astype(np.float32),
        axes=model.axes.astype(np.float16),
        bank=model.bank.astype(np.float16),
        neighbours=np.int64(model.neighbours),
        residual_scale=np.float64(model.residual_scale),
        length_weight=np.float64(model.length_weight),
        allow_pickle=False,
    )


def load_scope(path: Path) -> ScopeModel:
    """Read what :func:`save_scope` wrote.

    Raises
    ------
    BrokenDeployment
        If it is missing, damaged or incomplete.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return ScopeModel(
                mean=data["mean"].astype(np.float32),
                basis=data["basis"].astype(np.float32),
                axes=data["axes"].astype(np.float32),
                bank=data["bank"].astype(np.float32),
                neighbours=int(data["neighbours"]),
                residual_scale=float(data["residual_scale"]),
                length_weight=float(data["length_weight"]) if "length_weight" in data else 0.0,
            )
    except (OSError, EOFError, KeyError, ValueError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise BrokenDeployment(f"{path} is not a scope rule: {error!r}") from error
