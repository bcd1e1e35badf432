"""Fit the scope rule: how familiar a picture must look to the region classifier to be read at all.

Four parts of data keep this honest: the rule's subspace and bank come from training images, the directions along which
it looks more closely from drawn pictures that are no limbs (outlier exposure, Hendrycks 2019), its threshold from
validation images, its figures from test images and from out-of-scope pictures of which half chose the shape.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.statistics import auc
from fractureai.errors import BrokenDeployment
from fractureai.inference.scope import ScopeModel
from fractureai.inference.scope import describe as described

Floats = npt.NDArray[np.float32]

METHOD = "mean distance to the nearest neighbours in whitened principal components of features"

_NEIGHBOURS = 5
_MAX_BANK = 3000
# Added to the covariance, as a share of its mean, where directions are sought along which foreign pictures differ.
_RIDGE = 0.3
# Log length varies by a few tenths among limbs, about as much as all directions together.
_LENGTH_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is chosen about the score: components kept, whether what they leave over counts, and the length.

    ``contrast`` is the weight of the directions along which drawn foreign pictures differ most from limbs, beside the
    principal components; 0 leaves them out.
    """

    components: int
    residual: bool
    length: bool = False
    contrast: float = 0.0

    def __str__(self) -> str:
        switches = (("residual", self.residual), ("length", self.length))
        parts = [f"{self.components} components", *(f"{name} {'on' if on else 'off'}" for name, on in switches)]
        if self.contrast:
            parts.append(f"contrast to drawn foreign pictures {self.contrast:g}")
        return ", ".join(parts)


SHAPES: tuple[Shape, ...] = tuple(
    Shape(components, residual, length, contrast)
    for components in (16, 32, 64)
    for residual in (False, True)
    for length in (False, True)
    for contrast in (0.0, 2.0, 4.0)
)


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Features ``(m, F)`` float32 of drawn pictures that are no limb radiographs, and the kind of each."""

    features: Floats
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Described features of known limbs ``(n, D)``, less their mean ``(D,)``, with singular values and row vectors."""

    mean: Floats
    centred: Floats
    singular: Floats
    rows: Floats

    @classmethod
    def of(cls, known: Floats, shape: Shape) -> Spectrum:
        """Decompose ``(n, F)`` features; of the shape only the length counts."""
        unit = described(known, _LENGTH_WEIGHT if shape.length else 0.0)
        mean = unit.mean(axis=0)
        _, singular, rows = np.linalg.svd(unit - mean, full_matrices=False)
        return cls(mean, unit - mean, singular, rows)


def fit_scope(
    known: Floats,
    shape: Shape,
    exposure: Exposure | None = None,
    seed: int = 0,
    spectrum: Spectrum | None = None,
) -> ScopeModel:
    """Fit the score on ``(n, F)`` features of known limb radiographs; ``seed`` draws the bank where they are many.

    ``spectrum`` is that of ``known``, where several shapes are tried on it.

    Raises
    ------
    BrokenDeployment
        If there are too few images for the components.
    """
    weight = _LENGTH_WEIGHT if shape.length else 0.0
    kept = min(shape.components, len(known) - 1, known.shape[1] + int(shape.length))
    if kept < 2:
        raise BrokenDeployment(f"a scope rule needs more than {len(known)} known images")
    found = spectrum or Spectrum.of(known, shape)
    mean, centred = found.mean, found.centred
    deviation = np.maximum(found.singular[:kept] / math.sqrt(len(centred) - 1), 1e-6)
    axes = found.rows[:kept].T
    basis = axes / deviation / math.sqrt(kept)
    left_over = centred - (centred @ axes) @ axes.T
    usual = float(np.linalg.norm(left_over, axis=1).mean())
    if shape.contrast and exposure is not None:
        closer = shape.contrast * contrasts(centred, described(exposure.features, weight) - mean, exposure.kinds)
        basis = np.concatenate([basis, closer], axis=1)
        # They take nothing away from what the principal components leave over.
        axes = np.concatenate([axes, np.zeros_like(closer)], axis=1)
    chosen = np.random.default_rng(seed).permutation(len(centred))[:_MAX_BANK]
    return ScopeModel(
        mean=mean.astype(np.float32),
        basis=basis.astype(np.float32),
        axes=axes.astype(np.float32),
        bank=(centred[chosen] @ basis).astype(np.float32),
        neighbours=min(_NEIGHBOURS, len(chosen)),
        residual_scale=usual if shape.residual and usual > 1e-6 else math.inf,
        length_weight=weight,
    )


def contrasts(known: Floats, foreign: Floats, kinds: Sequence[str]) -> Floats:
    """One direction for each kind of foreign picture, by Fisher's discriminant against the limbs, ``(D, k)``.

    Both sets are centred on the limbs' mean. The limbs' spread over all the directions together is 1.
    """
    covariance = known.T @ known / len(known)
    covariance[np.diag_indices_from(covariance)] += _RIDGE * float(np.trace(covariance)) / len(covariance)
    names = np.array(kinds)
    means = np.stack([foreign[names == kind].mean(axis=0) for kind in sorted(set(kinds))], axis=1)
    towards = np.linalg.solve(covariance, means)
    values, vectors = np.linalg.eigh(towards.T @ covariance @ towards)
    firm = values > 1e-6 * values.max()
    return np.asarray(towards @ (vectors[:, firm] / np.sqrt(values[firm])) / math.sqrt(int(firm.sum())), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Features ``(n, F)`` float32 and region probabilities of the best region ``(n,)`` of some pictures, by kind."""

    features: Floats
    confidence: npt.NDArray[np.float64]
    kinds: tuple[str, ...]

    def joined(self, others: Readings) -> Readings:
        """These and the others."""
        return Readings(
            np.concatenate([self.features, others.features]),
            np.concatenate([self.confidence, others.confidence]),
            self.kinds + others.kinds,
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> Readings:
        """The readings of some of the pictures."""
        kinds = tuple(kind for kind, kept in zip(self.kinds, keep, strict=True) if kept)
        return Readings(self.features[keep], self.confidence[keep], kinds)


def choose_shape(
    known: Floats,
    held_out: Floats,
    foreign: Floats,
    exposure: Exposure | None = None,
    shapes: Sequence[Shape] = SHAPES,
) -> Shape:
    """The shape whose score parts held-out limb radiographs best from foreign pictures; the smaller one on a tie."""
    spectra: dict[bool, Spectrum] = {}

    def parting(shape: Shape) -> tuple[float, int, bool, bool, float]:
        if shape.length not in spectra:
            spectra[shape.length] = Spectrum.of(known, shape)
        model = fit_scope(known, shape, exposure, spectrum=spectra[shape.length])
        scores = np.concatenate([model.score(held_out), model.score(foreign)])
        labels = np.repeat([1, 0], [len(held_out), len(foreign)])
        parted = round(auc(labels, scores), 4)
        return parted, -shape.components, not shape.residual, not shape.length, -shape.contrast

    return max((shape for shape in shapes if exposure is not None or not shape.contrast), key=parting)


@dataclass(frozen=True, slots=True)
class Limits:
    """The rule's two limits, and the share of held-out limb radiographs they let through."""

    threshold: float
    min_region_probability: float
    accepted_share: float


def choose_limits(model: ScopeModel, held_out: Readings, accept: float = 0.97) -> Limits:
    """Set the limits so that a share ``accept`` of held-out limb radiographs passes both.

    The refusals are shared between the two: at most a third of them for an unsure region (at most .9, at least the
    chance of guessing), the rest for the score.
    """
    unsure = float(np.quantile(held_out.confidence, (1 - accept) / 3))
    least = min(0.9, max(0.3, math.floor(unsure * 100) / 100))
    scores = model.score(held_out.features)
    sure = held_out.confidence >= least
    may_fall = max(0.0, 1 - accept / max(float(sure.mean()), 1e-9))
    threshold = float(np.quantile(scores[sure], may_fall, method="lower"))
    accepted = sure & (scores >= np.float32(threshold))
    return Limits(threshold, least, float(accepted.mean()))


def describe(model: ScopeModel, limits: Limits, limbs: Readings, foreign: Readings) -> dict[str, Any]:
    """What the rule does to limb radiographs and to foreign pictures, for the card.

    Returns
    -------
    ``auc`` of the score, ``auc_with_confidence`` of score and confidence together (the worse of both, each as a rank
    among limb radiographs), ``accepted`` (share of limbs) and ``accepted_by_kind`` of foreign pictures.
    """
    scores = (model.score(limbs.features), model.score(foreign.features))
    labels = np.repeat([1, 0], [len(limbs.kinds), len(foreign.kinds)])
    ranks = [
        np.minimum(_rank(scores[0], own), _rank(limbs.confidence, sure))
        for own, sure in zip(scores, (limbs.confidence, foreign.confidence), strict=True)
    ]
    passed = [
        (own >= np.float32(limits.threshold)) & (part.confidence >= limits.min_region_probability)
        for own, part in zip(scores, (limbs, foreign), strict=True)
    ]
    return {
        "auc": auc(labels, np.concatenate(scores)),
        "auc_with_confidence": auc(labels, np.concatenate(ranks)),
        "accepted": float(passed[0].mean()),
        "limb_images": len(limbs.kinds),
        "foreign_images": len(foreign.kinds),
        "foreign_accepted": float(passed[1].mean()),
        "accepted_by_kind": accepted_by_kind(passed[1], foreign.kinds),
    }


def accepted_by_kind(passed: npt.NDArray[np.bool_], kinds: Sequence[str]) -> dict[str, str]:
    """``{"chest": "1 of 12"}``: how many pictures of each kind the rule lets through."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for kind, accepted in zip(kinds, passed, strict=True):
        counts[kind][0] += int(accepted)
        counts[kind][1] += 1
    return {kind: f"{accepted} of {total}" for kind, (accepted, total) in sorted(counts.items())}


def _rank(reference: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The share of ``reference`` below each value: puts score and confidence on one scale."""
    return np.searchsorted(np.sort(reference), values, side="left") / max(1, len(reference))
