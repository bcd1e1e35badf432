"""Rib cage, spine and lungs, shared by the shoulder and the chest."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.shapes import Array, Blob, Bone, Tube, blob, tube


def _ring(number: int, half_width: float, depth: float, top: float, side: float) -> Array:
    """Axis ``(n, 3)`` of rib ``number`` (1..10) from the spine round to the front; ``side`` -1 left in the picture."""
    grow = 0.42 + 0.58 * np.sin(np.pi / 2 * min(number / 7.0, 1.0))
    angle = np.deg2rad(np.linspace(6, 152, 96))
    y = top + 21.0 * number + (10 + 62 * grow) * np.sin(0.5 * angle) ** 1.5 - 12 * np.sin(angle)
    x = side * half_width * grow * np.sin(angle) ** 0.8
    return np.column_stack([x, y, -depth * grow * np.cos(angle)])


def ribs(rng: np.random.Generator, side: float, *, count: int = 10, density: float = 1.0) -> list[Bone]:
    """Ribs of one side, each as a posterior and an anterior arc; origin at the spine, first rib's level 0."""
    half_width, depth = rng.uniform(122, 138), rng.uniform(75, 92)
    found = []
    for number in range(1, count + 1):
        axis = _ring(number, half_width, depth, 0.0, side) + rng.normal(0, 0.7, 3)
        thick = rng.normal(1, 0.05)
        rows = ((0, 3.2, 6.4 * thick, 1.1 * density, 0.2), (1, 3.0, 6.0 * thick, 1.0 * density, 0.2))
        top = int(np.argmax(np.abs(axis[:, 0])))
        for part, piece in (("posterior", axis[: top + 2]), ("anterior", axis[top - 1 :])):
            arc = tube([piece[k] for k in np.linspace(0, len(piece) - 1, 9).astype(int)], rows, (0, 0, 1), (2, 2))
            found.append(Bone(f"rib {number} {part}", (arc,)))
    return found


def spine(rng: np.random.Generator, top_mm: float, count: int, density: float = 1.0) -> list[Bone]:
    """Vertebrae one below the other: body, pedicles, spinous and transverse processes; origin in the midline."""
    bones = []
    y = top_mm
    for number in range(count):
        height = 21.0 + 0.45 * number
        half = 14.0 + 0.5 * number
        place = (0.0, y + height / 2, -55.0)
        body = tube(
            ((0, y + 1.6, -55), (0, y + height - 1.6, -55)),
            ((0, half, 14, 1.0 * density, 0.16), (0.5, half * 0.88, 13, 1.0 * density, 0.13),
             (1, half, 14, 1.0 * density, 0.16)),
            caps_mm=(0.8, 0.8),
        )  # fmt: skip
        arms = tube(
            ((-half * 1.75, y + 8, -70), (0, y + 10, -72), (half * 1.75, y + 8, -70)),
            ((0, 3.6, 4, 0.8, 0.2), (0.5, 5, 5, 1, 0.2), (1, 3.6, 4, 0.8, 0.2)),
            (0, 1, 0),
        )
        spinous = blob((0, place[1] + 9, -85), (2.6, 8.5, 14), shell_mm=1.2, core=0.1, rng=rng, lumpiness=0.1)
        bones += [Bone(f"vertebra {number}", (body,)), Bone(f"arch {number}", (arms, spinous))]
        y += height + 2.2
    return bones


def lung(side: float, rng: np.random.Generator, *, bottom_mm: float = 235.0) -> tuple[Tube, Blob]:
    """Air of one lung: the path in mm that soft tissue loses; origin as for the ribs."""
    f = rng.uniform(0.95, 1.05)
    apex = tube(
        ((side * 44, 2, -10), (side * 62, 70, -5), (side * 72, 150, 0), (side * 76, bottom_mm, 0)),
        ((0, 26, 36, 0, 0.55), (0.25, 44 * f, 62, 0, 0.55), (0.6, 56 * f, 72, 0, 0.55), (1, 60 * f, 74, 0, 0.55)),
        caps_mm=(34, 16),
    )
    middle = blob((side * 70, 120, 0), (48, 95, 60), shell_mm=0, core=0.45, rng=rng)
    return apex, middle
