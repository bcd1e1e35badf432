"""Hip of the right side, frontal: the femur at the left of the picture, the pelvis at its right."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.anatomy import thorax
from fractureai.phantoms.shapes import Bone, Motion, Scene, Solid, blob, flesh, plate, site, tube, turn

_MIDLINE_MM = 92.0


def _femur(rng: np.random.Generator, d: float) -> Bone:
    rise = rng.normal(0, 2.5)
    shaft = tube(
        ((-40, 4, 0), (-45, 40, 0), (-42, 110, 0), (-32, 320, 0)),
        ((0, 15, 14, 1.2, 0.2 * d), (0.07, 21, 18, 1.4, 0.24 * d), (0.2, 20, 18, 2.8 * d, 0.14 * d),
         (0.3, 16, 16, 5 * d, 0.05),
         (1, 14, 15, 5.5 * d, 0.03)),
        caps_mm=(9, 0),
    )  # fmt: skip
    neck = tube(
        ((-4, -3, 0), (-18, 8 - rise / 2, 0), (-42, 34, 0)),
        ((0, 18, 17, 1.2, 0.3 * d), (0.35, 15.5, 13, 2.0 * d, 0.24 * d), (0.7, 20, 15, 2.2 * d, 0.2 * d),
         (1, 24, 16, 1.5, 0.2 * d)),
        caps_mm=(3, 12),
    )  # fmt: skip
    head = blob((0, -4, 0), (24, 24, 24), shell_mm=1.2, core=0.27 * d, rng=rng, lumpiness=0.015)
    greater = blob((-54, 10, -4), (14, 22, 14), shell_mm=1.2, core=0.2 * d, tilt_deg=-14, rng=rng, lumpiness=0.1)
    lesser = blob((-32, 62, -9), (11, 15, 10), shell_mm=1.4, core=0.22 * d, tilt_deg=18, rng=rng)
    return Bone(
        "femur",
        (shaft, neck, head, greater, lesser),
        (site(neck, rng.uniform(0.5, 0.64), moving_end=0), site(neck, rng.uniform(0.5, 0.64), moving_end=0),
         site(shaft, rng.uniform(0.28, 0.45), moving_end=1)),
    )  # fmt: skip


def _half_pelvis(rng: np.random.Generator, d: float) -> list[Bone]:
    def jitter(x: float, y: float, z: float) -> tuple[float, float, float]:
        return x + rng.normal(0, 1.2), y + rng.normal(0, 1.2), z

    wing = plate(
        [jitter(*q) for q in ((-12, -34, 0), (-32, -70, 0), (-46, -112, 4), (-30, -146, 8), (8, -164, 14),
        (46, -150, 24),
                              (58, -116, 30), (62, -84, 30), (50, -58, 20), (26, -32, 8), (2, -24, 0))],
        9, 6, 1.6 * d, 0.3 * d,
    )  # fmt: skip
    crest = tube(
        ((-44, -104, 4), (-32, -142, 8), (8, -163, 14), (48, -148, 24)),
        ((0, 4, 5, 1.2, 0.2), (0.5, 5, 7, 1.4, 0.2), (1, 4, 5, 1.2, 0.2)),
    )
    roof = tube(
        ((-31, -10, 0), (-22, -29, 0), (0, -37, 0), (22, -28, 0), (30, -2, 0), (24, 20, 0)),
        ((0, 3, 9, 0.9, 0.2), (0.3, 6, 14, 1.2 * d, 0.22 * d), (0.7, 6, 14, 1.0, 0.18), (1, 4, 9, 0.8, 0.15)),
        (0, 1, 0),
    )  # fmt: skip
    brim = tube(
        ((64, -86, 26), (48, -58, 14), (38, -22, 0), (48, 8, -14), (74, 26, -26), (88, 36, -30)),
        ((0, 6, 8, 2, 0.2), (0.5, 7, 9, 2.2 * d, 0.2), (0.85, 8, 8, 1.5, 0.2), (1, 12, 8, 1.3, 0.22)),
    )
    ischium = tube(
        ((26, 10, 6), (28, 46, 12), (36, 74, 10), (62, 66, -8), (84, 46, -24)),
        ((0, 11, 13, 1.4, 0.2 * d), (0.3, 11, 12, 1.5, 0.2 * d), (0.5, 12, 11, 1.6, 0.2 * d),
         (0.75, 6.5, 7, 1.4, 0.16), (1, 8, 7, 1.3, 0.18)),
        (1, 0, 0), (4, 4),
    )  # fmt: skip
    return [Bone("ilium", (wing, crest)), Bone("acetabulum", (roof,)), Bone("pubis", (brim, ischium))]


def _middle(rng: np.random.Generator, d: float) -> list[Bone]:
    sacrum = plate(
        [(_MIDLINE_MM + x, y, 40) for x, y in ((-44, -112), (-30, -128), (0, -132), (30, -128), (44, -112),
        (34, -70), (16, -30),
                                               (0, -12), (-16, -30), (-34, -70))],
        22, 14, 1.2 * d, 0.1,
    )  # fmt: skip
    holes = tuple(
        blob((_MIDLINE_MM + side * (20 - 2.5 * row), -100 + 22 * row, 40),
        (5, 4, 6), shell_mm=2, core=0.3, rng=rng, sign=-1)
        for side in (-1, 1) for row in range(3)
    )  # fmt: skip
    to_sacrum = Motion(np.eye(3), np.array([_MIDLINE_MM, -138.0, 95.0]))
    lumbar = [bone.moved(to_sacrum) for bone in thorax.spine(rng, -120, 5, d)]
    return [Bone("sacrum", (sacrum, *holes)), *lumbar]


def _thigh(p: float) -> Solid:
    return flesh(
        ((-20, -60, 0), (-38, 20, 0), (-42, 110, 0), (-34, 330, 0)),
        (
            (0, 60, 80, 10 * p),
            (0.25, 70 * p, 78 * p, 12 * p),
            (0.5, 70 * p, 74 * p, 11 * p),
            (1, 60 * p, 64 * p, 9 * p),
        ),
        caps_mm=(50, 0),
    )


def build(rng: np.random.Generator, view: str) -> Scene:
    """A right hip, alone or with the whole pelvis; the second view is the frog lateral, the femur turned out."""
    d = rng.normal(1.0, 0.1)
    p = rng.uniform(0.85, 1.2)
    whole = rng.random() < 0.5
    femur = _femur(rng, d)
    half = _half_pelvis(rng, d)
    across = Motion(np.diag([-1.0, 1.0, 1.0]), np.array([2 * _MIDLINE_MM, 0.0, 0.0]))
    outward = {"frontal": 0.0, "oblique": 25.0, "lateral": 55.0}[view]
    pose = turn((0, 0, 1), 0.55 * outward + rng.uniform(-2, 8)).after(turn((0, 1, 0), outward))
    thigh = _thigh(p)
    bones = [*_middle(rng, d), *half, *(bone.moved(across) for bone in half), femur.moved(pose), femur.moved(across)]
    bones[-1] = Bone("other femur", bones[-1].solids)
    outline = [(-58, -60), (-62, -120), (-40, -190), (-40, -300), (224, -300), (224, -190), (246, -120),
    (242, -60), (225, 40),
               (150, 92), (92, 108), (34, 92), (-41, 40)]  # fmt: skip
    trunk = plate([(x, y, 0) for x, y in outline], 175 * p, 75, 9, 1)
    gas = tuple(
        blob((_MIDLINE_MM + rng.normal(0, 55), -90 + rng.normal(0, 35), -40),
             rng.uniform(7, 17, 3), shell_mm=0, core=0.8, rng=rng,
             lumpiness=0.3)
        for _ in range(int(rng.integers(3, 9)))
    )  # fmt: skip
    centre = (_MIDLINE_MM, -18.0) if whole else (10.0, 20.0)
    field = 380.0 if whole else 275.0
    soft = (trunk, thigh.moved(pose), thigh.moved(across))
    return Scene(tuple(bones), soft, gas, np.array([*centre, 0.0]), field, 15.0, "HIP", beam=0.75)
