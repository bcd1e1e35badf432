"""Shoulder of the right side, frontal: the arm at the left of the picture, the trunk at its right."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.anatomy import thorax
from fractureai.phantoms.shapes import Bone, Motion, Scene, Solid, blob, flesh, plate, site, tube, turn

_SPINE_MM = np.array([152.0, -52.0, -25.0])


def _humerus(rng: np.random.Generator, d: float) -> Bone:
    size = rng.normal(1.0, 0.04)
    shaft = tube(
        ((-17, -6, 0), (-24, 16, 0), (-30, 45, 0), (-33, 100, 0), (-36, 260, 0)),
        ((0, 22 * size, 21, 0.8, 0.2 * d), (0.05, 25 * size, 23, 0.9, 0.21 * d),
         (0.11, 22 * size, 20, 1.1 * d, 0.17 * d),
         (0.2, 14, 13.5, 2.0 * d, 0.09 * d), (0.34, 11.8, 11.5, 3.3 * d, 0.04), (1, 11, 11, 3.5 * d, 0.03)),
        caps_mm=(13, 0),
    )  # fmt: skip
    head = blob((-19, -3, -2), (22.5 * size, 23.5 * size, 22.5), shell_mm=0.8, core=0.22 * d, rng=rng, lumpiness=0.02)
    tuberosity = blob((-38, 2, 4), (9, 16, 10), shell_mm=0.9, core=0.2 * d, tilt_deg=8, rng=rng)
    neck = site(shaft, rng.uniform(0.14, 0.21), moving_end=0)
    return Bone("humerus", (shaft, head, tuberosity), (neck, neck, site(shaft, rng.uniform(0.3, 0.5), moving_end=1)))


def _scapula(rng: np.random.Generator, d: float) -> Bone:
    edge = [(9, -16), (9, 18), (20, 34), (36, 66), (52, 104), (62, 122), (70, 112), (82, 60), (90, 20), (84, -14),
            (72, -36), (50, -27), (28, -22)]  # fmt: skip
    deep = {x: 24 + 0.12 * abs(x - 10) for x, _ in edge}
    blade = plate([(x + rng.normal(0, 1), y + rng.normal(0, 1), deep[x]) for x, y in edge], 3.6, 4, 0.9 * d, 0.12)
    border = tube(
        ((10, 20, 24), (22, 38, 26), (38, 70, 29), (58, 116, 32)),
        ((0, 5, 6, 1.3 * d, 0.1), (0.5, 3.6, 4.5, 1.3 * d, 0.1), (1, 3, 3, 1.0 * d, 0.1)),
    )
    glenoid = blob((10, 1, 16), (6.5, 18.5, 12), shell_mm=1.2, core=0.18 * d, tilt_deg=-8, rng=rng)
    ridge = tube(
        ((86, -4, 36), (52, -20, 46), (22, -36, 52), (-6, -42, 40), (-24, -36, 22)),
        ((0, 3, 4, 0.8, 0.1), (0.5, 4.6, 7, 1.0 * d, 0.12), (0.75, 6.5, 5, 1.0 * d, 0.14), (1, 8, 4.2, 0.9 * d, 0.15)),
        (0, 1, 0), (3, 7),
    )  # fmt: skip
    coracoid = tube(
        ((28, -18, 18), (20, -27, 6), (8, -24, -12), (2, -15, -20)),
        ((0, 6, 6, 1.0, 0.12), (0.5, 6, 5.5, 1.1 * d, 0.15), (1, 5.5, 5, 1.0 * d, 0.15)),
        (0, 1, 0), (2, 5),
    )  # fmt: skip
    return Bone("scapula", (blade, border, glenoid, ridge, coracoid))


def _clavicle(rng: np.random.Generator, d: float) -> Bone:
    lift = rng.normal(0, 5)
    shaft = tube(
        ((-9, -45, 12), (20, -53 - lift, 20), (58, -55 - lift, 4), (98, -44 - lift / 2, -22), (136, -26, -30)),
        ((0, 6, 7.5, 0.9, 0.16 * d), (0.2, 5.4, 6.6, 1.4 * d, 0.1), (0.5, 5.4, 5.6, 2.0 * d, 0.06),
         (0.85, 7, 7, 1.2 * d, 0.12),
         (1, 9.5, 9, 0.9, 0.16 * d)),
        (0, 1, 0), (3, 4),
    )  # fmt: skip
    middle = site(shaft, rng.uniform(0.4, 0.6), moving_end=0)
    return Bone("clavicle", (shaft,), (middle,))


def _trunk(p: float) -> tuple[Solid, ...]:
    outline = [
        (46, -58),
        (78, -72),
        (104, -100),
        (118, -150),
        (330, -150),
        (330, 320),
        (20, 320),
        (24, 190),
        (34, 120),
        (18, 60),
    ]
    return (
        plate([(x, y, 40) for x, y in outline], 165 * p, 62, 5, 1),
        flesh(
            ((-4, -32, 6), (-22, 10, 2), (-31, 70, 0), (-36, 300, 0)),
            ((0, 38, 40, 5 * p), (0.15, 50 * p, 50 * p, 7 * p), (0.4, 48 * p, 50 * p, 7 * p),
             (1, 44 * p, 46 * p, 6 * p)),
            caps_mm=(38, 0),
        ),
        flesh(
            ((-14, -28, 10), (40, -34, 18), (120, -66, 20), (190, -60, 20)),
            ((0, 34, 38, 5), (0.5, 40, 50, 5), (1, 46, 56, 5)),
            (0, 1, 0), (30, 25),
        ),
        blob((-10, -26, 24), (36, 30, 38), shell_mm=4, core=1),
    )  # fmt: skip


def build(rng: np.random.Generator, view: str) -> Scene:
    """A right shoulder; the arm hangs or is a little abducted."""
    density = rng.normal(1.0, 0.1)
    plump = rng.uniform(0.85, 1.2)
    abduction = rng.uniform(-3, 22)
    humerus = _humerus(rng, density)
    to_spine = Motion(np.diag([1.0, 1.0, -1.0]), _SPINE_MM)
    cage = thorax.ribs(rng, -1.0, density=density) + thorax.spine(rng, -60, 14, density)
    lungs = thorax.lung(-1.0, rng)
    arm = turn((0, 0, 1), abduction, (-18, 0, 0))
    trunk = _trunk(plump)
    soft = (trunk[0], trunk[1].moved(arm), *trunk[2:])
    girdle = (humerus.moved(arm), _scapula(rng, density), _clavicle(rng, density))
    bones = (*girdle, *(bone.moved(to_spine) for bone in cage))
    air = tuple(solid.moved(to_spine) for solid in lungs)
    centre = np.array([20.0, 45.0, 20.0] if view == "lateral" else [18.0, 42.0, 20.0])
    return Scene(bones, soft, air, centre, 285.0, 11.0, "SHOULDER", beam=0.78)
