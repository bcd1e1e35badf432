"""Leg of the right side, knee to ankle, frontal: the fibula at the left of the picture."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.shapes import Bone, Scene, Solid, blob, flesh, site, tube, turn


def _tibia(rng: np.random.Generator, d: float) -> Bone:
    w = rng.normal(1.0, 0.04)
    shaft = tube(
        ((2, -172, 0), (3, -140, 3), (4, -60, 5), (2, 60, 2), (0, 168, 0)),
        ((0, 37 * w, 24, 1.3, 0.3 * d), (0.05, 38 * w, 25, 1.4, 0.28 * d), (0.12, 29 * w, 23, 1.8 * d, 0.2 * d),
         (0.22, 18 * w, 17, 3.0 * d, 0.08), (0.38, 13, 14.5, 4.4 * d, 0.03), (0.7, 11.5, 12.5, 4.4 * d, 0.03),
         (0.86, 14, 14, 2.6 * d, 0.1), (0.95, 22, 18, 1.4 * d, 0.24 * d), (1, 24, 19, 1.1, 0.3 * d)),
        caps_mm=(3, 4),
    )  # fmt: skip
    malleolus = blob((23, 172, 0), (6.5, 13, 9), shell_mm=1.2, core=0.3 * d, tilt_deg=-6, rng=rng)
    spines = blob((2, -174, 0), (9, 7, 8), shell_mm=1, core=0.3 * d, rng=rng, lumpiness=0.2)
    places = (rng.uniform(0.3, 0.45), rng.uniform(0.55, 0.72), rng.uniform(0.84, 0.9))
    sites = tuple(site(shaft, place, moving_end=1) for place in places)
    return Bone("tibia", (shaft, malleolus, spines), sites)


def _fibula(rng: np.random.Generator, d: float) -> Bone:
    shaft = tube(
        ((-33, -158, -14), (-31, -110, -10), (-26, 0, -8), (-27, 100, -5), (-27, 192, -2)),
        ((0, 10, 9, 1.0, 0.28 * d), (0.06, 10.5, 10, 1.1, 0.25 * d), (0.13, 6, 6, 2.2 * d, 0.06),
         (0.5, 6.4, 6.2, 2.6 * d, 0.04),
         (0.82, 6, 6, 2.4 * d, 0.05), (0.91, 9, 8, 1.4, 0.22 * d), (0.96, 9.5, 9, 1.2, 0.26 * d),
         (1, 6, 6, 1.0, 0.26 * d)),
        caps_mm=(6, 9),
    )  # fmt: skip
    return Bone("fibula", (shaft,), (site(shaft, rng.uniform(0.84, 0.9), moving_end=1),))


def _knee(rng: np.random.Generator, d: float) -> list[Bone]:
    shaft = tube(
        ((6, -310, 6), (4, -240, 4), (2, -184, 0)),
        ((0, 15, 15, 4.0 * d, 0.03), (0.4, 18, 17, 2.8 * d, 0.08), (0.75, 34, 24, 1.5 * d, 0.22 * d),
         (1, 38, 26, 1.2, 0.24 * d)),
        caps_mm=(0, 12),
    )  # fmt: skip
    condyles = [
        blob((x, -191, -4), (19, 20, 29), shell_mm=1.2, core=0.2 * d, rng=rng, lumpiness=0.05) for x in (-17.0, 21.0)
    ]
    patella = blob((4, -214, 34), (21, 22, 9), shell_mm=1.0, core=0.2 * d, rng=rng, lumpiness=0.06)
    return [Bone("femur", (shaft, *condyles)), Bone("patella", (patella,))]


def _foot(rng: np.random.Generator, d: float) -> list[Bone]:
    talus = blob((-1, 188, 12), (20, 16, 27), shell_mm=1.4, core=0.27 * d, rng=rng, lumpiness=0.08)
    heel = tube(
        ((-2, 208, 30), (-1, 216, -8), (0, 220, -42)),
        ((0, 14, 15, 1.2, 0.24 * d), (0.5, 16, 17, 1.2, 0.22 * d), (1, 17, 21, 1.2, 0.22 * d)),
        (1, 0, 0), (6, 12),
    )  # fmt: skip
    middle = [
        blob((x, 207, z), (11, 11, 9), shell_mm=1, core=0.26 * d, rng=rng, lumpiness=0.12)
        for x, z in ((8.0, 46.0), (-11.0, 44.0), (10.0, 62.0), (-8.0, 62.0))
    ]
    rays = [
        tube(
            ((x * 0.6, 208 + abs(x) * 0.2, 72), (x, 224, 138)),
            ((0, 8, 8, 0.9, 0.2), (0.3, 5, 5, 1.6, 0.06), (0.8, 5, 5, 1.4, 0.08), (1, 7, 7, 0.9, 0.2)),
        )
        for x in (-26.0, -14.0, -2.0, 10.0, 22.0)
    ]
    names = ("talus", "calcaneus")
    bones = [Bone(name, (solid,)) for name, solid in zip(names, (talus, heel), strict=True)]
    return bones + [Bone("tarsal", (solid,)) for solid in middle] + [Bone("metatarsal", (ray,)) for ray in rays]


def build(rng: np.random.Generator, view: str) -> Scene:
    """A right leg from the knee to the ankle."""
    d = rng.normal(1.0, 0.1)
    p = rng.uniform(0.9, 1.25)
    bones = [_tibia(rng, d), _fibula(rng, d), *_knee(rng, d), *_foot(rng, d)]
    calf = flesh(
        ((2, -330, 2), (0, -200, 4), (-4, -120, -10), (-6, -40, -12), (-3, 80, -4), (-2, 160, -3), (-2, 215, 0)),
        ((0, 68 * p, 68 * p, 9 * p), (0.22, 55 * p, 55 * p, 5 * p), (0.42, 54 * p, 57 * p, 7 * p),
         (0.6, 48 * p, 50 * p, 6 * p),
         (0.78, 36, 38, 4), (0.9, 36, 40, 4), (1, 38, 42, 5)),
        caps_mm=(0, 20),
    )  # fmt: skip
    sole = flesh(
        ((-1, 214, -62), (-1, 208, 0), (-2, 212, 70), (-2, 222, 170)),
        ((0, 27, 27, 8), (0.4, 34, 33, 6), (0.7, 42, 24, 5), (1, 46, 16, 4)),
        caps_mm=(22, 14),
    )
    # Face on, the foot is let down: else it would hide the ankle.
    drop = turn((1, 0, 0), 0 if view == "lateral" else -rng.uniform(25, 45), (0, 178, 0))
    bones = [*bones[:4], *(bone.moved(drop) for bone in bones[4:])]
    soft: tuple[Solid, ...] = (calf, sole.moved(drop))
    aside = 14.0 if view == "lateral" else 0.0
    return Scene(tuple(bones), soft, (), np.array([-1.0, 8.0 + rng.normal(0, 14), aside]), 455.0, 12.0, "LEG")
