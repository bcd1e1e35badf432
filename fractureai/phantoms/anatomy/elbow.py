"""Elbow of the right side: extended for the frontal view, the radius at the left; flexed for the lateral one."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.shapes import Bone, Scene, Solid, blob, flesh, site, tube, turn


def _humerus(rng: np.random.Generator, d: float) -> Bone:
    wide = rng.normal(1.0, 0.05)
    shaft = tube(
        ((2, -165, -3), (1, -90, -2), (0, -30, 0), (0, -6, 2)),
        ((0, 11, 11, 3.4 * d, 0.03), (0.5, 10.5, 10.5, 3.2 * d, 0.03), (0.66, 12 * wide, 10, 2.9 * d, 0.08),
         (0.78, 17 * wide, 9, 2.3 * d, 0.2 * d), (0.88, 24 * wide, 8, 1.7 * d, 0.34 * d),
         (0.95, 29 * wide, 8, 1.5, 0.36 * d),
         (1, 27 * wide, 8, 1.2, 0.36 * d)),
        caps_mm=(0, 9),
    )  # fmt: skip
    medial = tube(
        ((6, -60, 0), (14 * wide, -40, -1), (24 * wide, -20, -2), (27 * wide, -8, -2)),
        ((0, 4, 7, 1.5, 0.1), (0.5, 8, 7, 1.8 * d, 0.3 * d), (0.8, 9, 8, 1.2, 0.34 * d), (1, 9, 8, 1.0, 0.34 * d)),
        caps_mm=(2, 7),
    )  # fmt: skip
    lateral = tube(
        ((-6, -60, 0), (-12 * wide, -38, 0), (-19 * wide, -18, 1), (-20 * wide, -4, 2)),
        ((0, 4, 7, 1.5, 0.1), (0.5, 8, 7, 1.8 * d, 0.3 * d), (0.8, 8.5, 8, 1.2, 0.34 * d), (1, 9, 8, 1.0, 0.34 * d)),
        caps_mm=(2, 7),
    )  # fmt: skip
    capitellum = blob((-13, -3, 6), (10.5, 11.0, 11.5), shell_mm=1.0, core=0.33 * d, rng=rng, lumpiness=0.04)
    spool = tube(
        ((-8, -2, 3), (4, -1, 3), (23, 0, 3)),
        ((0, 9, 9, 1.0, 0.32 * d), (0.35, 8, 8, 1.1, 0.32 * d), (0.9, 11.5, 11.5, 1.1, 0.32 * d),
         (1, 11, 11, 1.1, 0.32 * d)),
        (0, 1, 0), (2, 4),
    )  # fmt: skip
    fossa = blob((3, -17, -3), (8.5, 6.5, 4.5), shell_mm=2, core=0.35, rng=rng, lumpiness=0.1, sign=-1)
    above = site(shaft, rng.uniform(0.74, 0.83), moving_end=1)
    return Bone(
        "humerus",
        (shaft, medial, lateral, capitellum, spool, fossa),
        (above, above, site(shaft, rng.uniform(0.4, 0.6), moving_end=1)),
    )


def _radius(rng: np.random.Generator, d: float) -> Bone:
    shaft = tube(
        ((-14, 9, 6), (-13, 30, 4), (-14, 45, 2), (-20, 90, 1), (-16, 190, 2)),
        ((0, 11.5, 11.5, 0.8, 0.25 * d), (0.035, 11.8, 11.8, 0.9, 0.25 * d), (0.06, 10.5, 10.5, 1.1, 0.2 * d),
         (0.11, 6.8, 6.8, 1.8 * d, 0.1), (0.2, 8.6, 8.2, 2.3 * d, 0.06), (0.32, 7, 6.6, 2.6 * d, 0.04),
         (1, 7.5, 7, 2.6 * d, 0.03)),
        caps_mm=(2.2, 0),
    )  # fmt: skip
    neck = site(shaft, rng.uniform(0.09, 0.13), moving_end=0)
    return Bone("radius", (shaft,), (neck, site(shaft, rng.uniform(0.3, 0.45), moving_end=1)))


def _ulna(rng: np.random.Generator, d: float) -> Bone:
    shaft = tube(
        ((7, -19, -17), (7, -6, -19), (8, 16, -10), (9, 45, -5), (12, 100, -4), (14, 190, -2)),
        ((0, 10, 7, 1.2, 0.22 * d), (0.06, 12.5, 9.5, 1.5, 0.24 * d), (0.16, 11.5, 9, 1.6 * d, 0.22 * d),
         (0.24, 10, 11, 1.8 * d, 0.17 * d), (0.36, 8, 9, 2.6 * d, 0.07), (0.6, 7, 7.5, 2.8 * d, 0.04),
         (1, 6.2, 6.4, 2.6 * d, 0.03)),
        caps_mm=(6, 0),
    )  # fmt: skip
    coronoid = blob((9, 16, 2), (9.5, 5.5, 11), shell_mm=1, core=0.25 * d, rng=rng, lumpiness=0.1)
    tip = site(shaft, rng.uniform(0.09, 0.14), moving_end=0)
    return Bone("ulna", (shaft, coronoid), (tip, site(shaft, rng.uniform(0.42, 0.6), moving_end=1)))


def build(rng: np.random.Generator, view: str) -> Scene:
    """A right elbow; the forearm is flexed to a right angle for the lateral view, as it is positioned for it."""
    density = rng.normal(1.0, 0.1)
    plump = rng.uniform(0.85, 1.3)
    carrying = rng.uniform(3, 12)
    flexion = rng.normal(88, 9)
    slight = rng.uniform(0, 14)
    humerus, forearm = _humerus(rng, density), (_radius(rng, density), _ulna(rng, density))
    p = plump
    arm = flesh(
        ((0, -190, 0), (0, -90, 2), (0, -25, 0), (0, 10, -4)),
        ((0, 47 * p, 50 * p, 7 * p), (0.55, 42 * p, 43 * p, 6 * p), (0.85, 41, 34, 5), (1, 38, 30, 4)),
        caps_mm=(0, 26),
    )
    fore = flesh(
        ((0, -24, -3), (0, 30, 0), (-2, 90, 0), (-2, 215, 0)),
        ((0, 36, 30, 4), (0.22, 44 * p, 37 * p, 5 * p), (0.5, 41 * p, 36 * p, 5 * p), (1, 29, 26, 4)),
        caps_mm=(20, 0),
    )
    bend = turn((1, 0, 0), flexion if view == "lateral" else slight)
    if view != "lateral":
        bend = turn((0, 0, 1), carrying).after(bend)
    bones = (humerus, *(bone.moved(bend) for bone in forearm))
    soft: tuple[Solid, ...] = (arm, fore.moved(bend))
    centre = np.array([0.0, -20.0, 32.0] if view == "lateral" else [0.0, 0.0, 0.0])
    return Scene(bones, soft, (), centre, 235.0, 9.0, "ELBOW")
