"""Batches in which every region has its share and half of the pictures are fractured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import Canvas, lay, place
from fractureai.training.architecture import LOCAL_STRIDE_PX
from fractureai.training.augment import UNSURE, Recipe, View, vary
from fractureai.training.pictures import NO_REGION, Picture

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """N training examples.

    Attributes
    ----------
    image:
        ``(N, H, W)`` float32, grey 0..255.
    region:
        ``(N,)`` int32; ``NO_REGION`` for what is no limb radiograph.
    fractured, weight, cells, sides:
        ``(N,)``, ``(N,)``, ``(N, H/16, W/16)`` and ``(N, H/16, W/16, 4)`` float32; see
        :class:`fractureai.training.augment.View`.
    """

    image: Floats
    region: npt.NDArray[np.int32]
    fractured: Floats
    weight: Floats
    cells: Floats
    sides: Floats


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
        Phantoms; a share ``extra_share`` of all.
    foreign:
        Pictures that are no limb radiographs; a share ``foreign_share``. They count for the region only.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        extra: Sequence[Picture] = (),
        foreign: Sequence[Picture] = (),
        *,
        seed: int = 0,
        extra_share: float = 0.07,
        foreign_share: float = 0.06,
    ) -> None:
        groups: dict[tuple[int, bool], list[Picture]] = {}
        for picture in pictures:
            groups.setdefault((picture.region, picture.fractured), []).append(picture)
        self._groups = groups
        self._regions = sorted({region for region, _ in groups})
        weights = np.array([max(1, len(groups.get((region, True), ()))) for region in self._regions]) ** 0.5
        self._shares = weights / weights.sum()
        self._extra = list(extra)
        self._extra_share = extra_share
        self._foreign = list(foreign)
        self._foreign_share = foreign_share
        # Every tenth will do: they lend their exposure, nothing else.
        self._others = [picture.pixels for picture in pictures[::10]]
        self._seed = seed

    def batch(self, number: int, count: int, recipe: Recipe) -> Batch:
        """The batch of this number: ``count`` views."""
        rng = np.random.default_rng([self._seed, number])
        drawn = [self._draw(place, rng) for place in range(count)]
        views = [_counted(picture, vary(picture, recipe, rng, self._others)) for picture in drawn]
        return _stacked(drawn, views)

    def _draw(self, place: int, rng: np.random.Generator) -> Picture:
        chance = rng.random()
        if self._extra and chance < self._extra_share:
            return self._extra[rng.integers(len(self._extra))]
        if self._foreign and self._extra_share <= chance < self._extra_share + self._foreign_share:
            return self._foreign[rng.integers(len(self._foreign))]
        region = int(rng.choice(self._regions, p=self._shares))
        # Pictures of a region that has only one label are drawn all the same: they still teach the region.
        fractured = bool(place % 2)
        group = self._groups.get((region, fractured)) or self._groups[region, not fractured]
        return group[rng.integers(len(group))]


def as_served(pictures: Sequence[Picture], canvas: Canvas) -> Batch:
    """The pictures as serving shows them to the network; for validation. Fractures are not placed."""
    placed = [lay(picture.pixels, place(picture.pixels, canvas)) for picture in pictures]
    rows, columns = canvas.height_px // LOCAL_STRIDE_PX, canvas.width_px // LOCAL_STRIDE_PX
    nowhere = np.full((rows, columns), UNSURE, np.float32), np.zeros((rows, columns, 4), np.float32)
    views = [
        View(image, float(picture.fractured), 1.0, *nowhere) for image, picture in zip(placed, pictures, strict=True)
    ]
    return _stacked(pictures, views)


def _counted(picture: Picture, view: View) -> View:
    """What is no limb says nothing about fractures."""
    if picture.region != NO_REGION:
        return view
    return replace(view, weight=0.0, cells=np.full_like(view.cells, UNSURE))


def _stacked(pictures: Sequence[Picture], views: Sequence[View]) -> Batch:
    return Batch(
        image=np.stack([view.image for view in views]),
        region=np.array([picture.region for picture in pictures], np.int32),
        fractured=np.array([view.fractured for view in views], np.float32),
        weight=np.array([view.weight for view in views], np.float32),
        cells=np.stack([view.cells for view in views]),
        sides=np.stack([view.sides for view in views]),
    )
