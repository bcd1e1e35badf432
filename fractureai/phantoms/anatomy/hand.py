"""Hand and wrist of the right side: frontal (palm on the detector), thumb at the left of the picture."""

from __future__ import annotations

import numpy as np

from fractureai.phantoms.shapes import Bone, Point, Scene, Solid, blob, flesh, site, tube, turn

#: Finger: metacarpal base (x, y), direction in degrees from straight up, lengths of metacarpal and phalanges, all mm.
_DIGITS = {
    "thumb": ((-24.0, -18.0, 8.0), -40.0, (45.0, 32.0, 23.0), 1.10),
    "index": ((-13.0, -31.0, 0.0), -9.0, (67.0, 41.0, 25.0, 18.0), 1.05),
    "middle": ((-3.0, -33.0, -1.0), -2.0, (65.0, 45.0, 29.0, 18.5), 1.08),
    "ring": ((6.5, -31.0, 0.0), 5.0, (57.0, 42.0, 28.0, 18.0), 1.0),
    "little": ((14.5, -27.0, 2.0), 13.0, (53.0, 33.0, 20.0, 16.5), 0.92),
}
#: Carpal: centre, semi-axes, tilt in degrees.
_CARPALS = {
    "scaphoid": ((-12.5, -9.0, 1.0), (6.0, 10.0, 6.5), 38),
    "lunate": ((-1.5, -6.5, 0.0), (7.2, 6.5, 8.0), 0),
    "triquetrum": ((9.0, -9.5, -1.0), (6.0, 6.6, 6.5), -30),
    "pisiform": ((11.0, -11.5, 9.0), (4.6, 5.4, 4.4), 10),
    "trapezium": ((-18.5, -20.0, 4.0), (6.6, 6.8, 7.0), 20),
    "trapezoid": ((-10.0, -23.0, 0.0), (5.0, 6.4, 6.5), 8),
    "capitate": ((-1.5, -21.0, 0.0), (6.2, 10.6, 8.0), 4),
    "hamate": ((8.0, -21.0, 1.0), (6.6, 8.8, 8.0), -12),
}
#: Place, half width, half depth as fractions of the phalanx's head, shell mm, core.
_PHALANX = ((0, 1.25, 1.05, 0.6, 0.22), (0.12, 1.15, 1.0, 0.7, 0.2), (0.35, 0.82, 0.78, 1.3, 0.06),
            (0.65, 0.74, 0.72, 1.4, 0.06), (0.85, 0.95, 0.85, 0.8, 0.18), (0.94, 1.0, 0.95, 0.6, 0.22),
            (1, 0.95, 0.95, 0.6, 0.22))  # fmt: skip
_TUFT = ((0, 1.2, 1.0, 0.6, 0.2), (0.15, 1.0, 0.8, 0.7, 0.2), (0.5, 0.55, 0.5, 1.0, 0.1), (0.8, 0.72, 0.5, 0.8, 0.2),
         (1, 0.8, 0.45, 0.7, 0.2))  # fmt: skip
_METACARPAL = ((0, 1.25, 1.2, 0.6, 0.22), (0.1, 1.1, 1.1, 0.7, 0.2), (0.3, 0.74, 0.78, 1.6, 0.05),
               (0.65, 0.72, 0.76, 1.6, 0.05), (0.85, 0.98, 1.0, 0.8, 0.17), (0.94, 1.12, 1.15, 0.6, 0.2),
               (1, 1.05, 1.1, 0.6, 0.2))  # fmt: skip
_JOINT_MM = 1.9


def _scaled(profile: tuple[tuple[float, ...], ...], radius_mm: float, density: float) -> list[tuple[float, ...]]:
    return [(p, w * radius_mm, d * radius_mm, s * density, c * density) for p, w, d, s, c in profile]


def _digit(name: str, rng: np.random.Generator, spread: float, flex: float, density: float) -> tuple[list[Bone], Solid]:
    base, heading, lengths, stout = _DIGITS[name]
    thumb = name == "thumb"
    heading = heading * spread + rng.normal(0, 1.5)
    across = turn((0, 1, 0), 55 if thumb else 0).apply(np.array([1.0, 0, 0]))
    at = np.asarray(base) + rng.normal(0, 0.5, 3)
    bend = rng.normal(4, 2)
    bones: list[Bone] = []
    trail: list[Point] = [at]
    for number, length in enumerate(lengths):
        angle = np.deg2rad(heading)
        lift = np.deg2rad(bend)
        way = np.array([np.sin(angle) * np.cos(lift), -np.cos(angle) * np.cos(lift), np.sin(lift)])
        size = length * rng.normal(1, 0.02)
        end = at + way * size
        last = number == len(lengths) - 1
        radius = stout * ((6.6, 5.6, 4.0) if thumb else (6.3, 5.4, 4.8, 3.7))[number]
        profile = _METACARPAL if number == 0 else _TUFT if last else _PHALANX
        bow = 0.5 * (at + end) + np.array([0, 0, -0.03 * size])
        shaft = tube((at, bow, end), _scaled(profile, radius, density), across, (2.2, radius * 0.75))
        sites = () if last or (number == 2) else (
            site(shaft, rng.uniform(0.35, 0.62), moving_end=1),
            site(shaft, rng.uniform(0.72, 0.8) if number == 0 else 0.3, moving_end=1),
        )  # fmt: skip
        bones.append(Bone(f"{name} {number}", (shaft,), sites))
        at = end + way * _JOINT_MM
        trail.append(at)
        heading += rng.normal(0, 1.5) if not thumb else 8
        bend += flex * (1, 1.2, 0.7, 0)[number] + rng.normal(0, 1.5)
    trail[-1] = np.asarray(trail[-1]) + way * 4
    # Soft tissue begins inside the palm and ends round the finger tip.
    girth = 9.0 * stout * rng.normal(1, 0.04)
    rows = [(0, girth * 1.4, girth * 1.2, 2), (0.35, girth * 1.25, girth * 1.05, 2), (0.55, girth, girth * 0.95, 2),
            (0.8, girth * 0.88, girth * 0.82, 1.5), (1, girth * 0.75, girth * 0.68, 1)]  # fmt: skip
    return bones, flesh(trail, rows, across, (8.0, girth * 0.8))


def _forearm(rng: np.random.Generator, density: float) -> list[Bone]:
    d = density
    radius = tube(
        ((-8, 2, 0), (-9, 30, -2), (-10, 80, -3), (-6, 150, -2)),
        ((0, 14.5, 9, 0.8, 0.24 * d), (0.05, 15, 10, 0.8 * d, 0.22 * d), (0.16, 11.5, 8.5, 1.2 * d, 0.14 * d),
         (0.32, 7.6, 6.6, 2.3 * d, 0.04), (1, 7.0, 6.5, 2.6 * d, 0.03)),
        caps_mm=(4, 0),
    )  # fmt: skip
    styloid = blob((-19, -1, 0), (4.2, 8.5, 5.5), shell_mm=0.8, core=0.24 * d, tilt_deg=14, rng=rng)
    ulna = tube(
        ((15.5, 4, -3), (14, 30, -4), (12, 80, -3), (13, 150, -2)),
        ((0, 7.6, 7.6, 0.8, 0.24 * d), (0.06, 8.0, 7.8, 0.8 * d, 0.2 * d), (0.16, 5.6, 5.8, 1.4 * d, 0.1 * d),
         (0.3, 5.4, 5.6, 2.0 * d, 0.04), (1, 6.4, 6.4, 2.3 * d, 0.03)),
        caps_mm=(4, 0),
    )  # fmt: skip
    tip = blob((19.5, 3.2, -4), (2.3, 5.4, 2.3), shell_mm=0.8, core=0.25 * d, tilt_deg=-6, rng=rng)
    colles = site(radius, rng.uniform(0.12, 0.2), moving_end=0)
    shaft = site(radius, rng.uniform(0.28, 0.38), moving_end=0)
    return [
        Bone("radius", (radius, styloid), (colles, colles, colles, shaft)),
        Bone("ulna", (ulna, tip), (site(ulna, rng.uniform(0.14, 0.3), moving_end=0),)),
    ]


def build(rng: np.random.Generator, view: str) -> Scene:
    """A right hand; in the lateral view the fingers are fanned by flexion, as they are positioned for it."""
    density = rng.normal(1.0, 0.1)
    spread = rng.uniform(0.6, 1.4)
    fan = rng.uniform(3, 9, 5)
    plumpness = rng.uniform(0.92, 1.22)
    bones = _forearm(rng, density)
    soft: list[Solid] = []
    for order, name in enumerate(_DIGITS):
        flex = fan[order] if view != "lateral" else 6.0 + 5.0 * order
        digit, cover = _digit(name, rng, spread, flex, density)
        bones += digit
        soft.append(cover)
    for name, (centre, semi, tilt) in _CARPALS.items():
        middle = np.asarray(centre) + rng.normal(0, 0.4, 3)
        sizes = np.asarray(semi) * rng.normal(1, 0.03, 3)
        solid = blob(middle, sizes, shell_mm=0.9 * density, core=0.27 * density, tilt_deg=tilt, rng=rng, lumpiness=0.16)
        bones.append(Bone(name, (solid,)))
    p = plumpness
    palm = [(0, 31 * p, 23 * p, 5 * p), (0.35, 27 * p, 20 * p, 4 * p), (0.55, 29 * p, 19 * p, 3),
            (0.75, 40 * p, 15 * p, 3), (1, 41 * p, 10 * p, 2)]  # fmt: skip
    soft.append(flesh(((2, 160, 0), (1, 60, 0), (0, 0, 2), (-4, -40, 4), (0, -95, 2)), palm, caps_mm=(0, 34)))
    soft.append(blob((-22, -36, 10), (15 * p, 30 * p, 15 * p), shell_mm=2, core=1, tilt_deg=-32))
    return Scene(tuple(bones), tuple(soft), (), np.array([-4.0, -66.0, 0.0]), 265.0, 6.5, "HAND")
