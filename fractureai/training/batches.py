"""Batches in which every region has its share and half of the pictures are fractured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import fit
from fractureai.training.augment import UNSURE, Recipe, View, vary
from fractureai.training.pictures import NO_REGION, Picture

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """N training examples.

    Attributes
    ----------
    image:
        ``(N, size, size, 1)`` float32, grey 0..255.
    region:
        ``(N,)`` int32; ``NO_REGION`` for what is no limb radiograph.
    fractured, weight:
        ``(N,)`` float32; see :class:`fractureai.training.augment.View`.
    cells:
        ``(N, size/32, size/32)`` float32.
    """

    image: Floats
    region: npt.NDArray[np.int32]
    fractured: Floats
    weight: Floats
    cells: Floats


class BalancedSource:
    """Draws batches for ever, the same ones for the same seed and number.

    This is the class weighting of the training: within a region both labels are drawn alike, and a region's share is
    the square root of its number of fractures, so that a rare region is neither drowned nor learnt by heart. The label
    says nothing about the region, so the region cannot stand in for the label.

    Parameters
    ----------
    pictures:
        What to draw from.
    extra:
        Phantoms, one place in ``extra_every`` of a batch.
    foreign:
        Pictures that are no limb radiographs, one place in ``foreign_every``; they count for the region only.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        extra: Sequence[Picture] = (),
        foreign: Sequence[Picture] = (),
        *,
        seed: int = 0,
        extra_every: int = 16,
        foreign_every: int = 24,
    ) -> None:
        groups: dict[tuple[int, bool], list[Picture]] = {}
        for picture in pictures:
            groups.setdefault((picture.region, picture.fractured), []).append(picture)
        self._groups = groups
        self._regions = sorted({region for region, _ in groups})
        weights = np.array([max(1, len(groups.get((region, True), ()))) for region in self._regions]) ** 0.5
        self._shares = weights / weights.sum()
        self._extra = list(extra)
        self._extra_every = extra_every
        self._foreign = list(foreign)
        self._foreign_every = foreign_every
        self._seed = seed

    def batch(self, number: int, count: int, recipe: Recipe) -> Batch:
        """The batch of this number: ``count`` views."""
        rng = np.random.default_rng([self._seed, number])
        drawn = [self._draw(place, rng) for place in range(count)]
        views = [_counted(picture, vary(picture, recipe, rng)) for picture in drawn]
        return Batch(
            image=np.stack([view.image for view in views])[..., None],
            region=np.array([picture.region for picture in drawn], np.int32),
            fractured=np.array([view.fractured for view in views], np.float32),
            weight=np.array([view.weight for view in views], np.float32),
            cells=np.stack([view.cells for view in views]),
        )

    def _draw(self, place: int, rng: np.random.Generator) -> Picture:
        if self._extra and place % self._extra_every == 0:
            return self._extra[rng.integers(len(self._extra))]
        if self._foreign and place % self._foreign_every == 1:
            return self._foreign[rng.integers(len(self._foreign))]
        region = int(rng.choice(self._regions, p=self._shares))
        # Pictures of a region that has only one label are drawn all the same: they still teach the region.
        # Phantoms take even places; shifting by one after each keeps the labels of the others in balance.
        fractured = bool((place + place // self._extra_every) % 2)
        group = self._groups.get((region, fractured)) or self._groups[region, not fractured]
        return group[rng.integers(len(group))]


def _counted(picture: Picture, view: View) -> View:
    """What is no limb says nothing about fractures."""
    if picture.region != NO_REGION:
        return view
    return replace(view, weight=0.0, cells=np.full_like(view.cells, UNSURE))


def as_served(pictures: Sequence[Picture], size_px: int) -> Batch:
    """The pictures unchanged, on the canvas of serving; for validation."""
    side = size_px // 32
    return Batch(
        image=np.stack([fit(picture.pixels, size_px) for picture in pictures])[..., None],
        region=np.array([picture.region for picture in pictures], np.int32),
        fractured=np.array([picture.fractured for picture in pictures], np.float32),
        weight=np.ones(len(pictures), np.float32),
        cells=np.zeros((len(pictures), side, side), np.float32),
    )


def whole(recipe: Recipe) -> Recipe:
    """The recipe of the last stretch: whole pictures as they will be served, changed less."""
    return replace(recipe, size_px=recipe.canvas_px, whole=True, zoom=0.1)
