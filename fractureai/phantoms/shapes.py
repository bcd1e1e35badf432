"""The solids an X-ray phantom is made of: lofted tubes, lumpy ellipsoids and plates, in millimetres.

Frame of every scene: ``x`` to the right and ``y`` down the picture in the frontal view, ``z`` from the tube towards the
detector. Right limbs are modelled; left ones are their mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Point: TypeAlias = Sequence[float]

STATIONS = 96


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Rigid motion (or reflection) ``p -> p @ matrix.T + shift_mm``; ``matrix`` ``(3, 3)``, ``shift_mm`` ``(3,)``."""

    matrix: Array
    shift_mm: Array

    def apply(self, points: Array) -> Array:
        """Move points ``(..., 3)`` in mm."""
        return points @ self.matrix.T + self.shift_mm

    def after(self, first: Motion) -> Motion:
        """The motion that does ``first`` and then this one."""
        return Motion(self.matrix @ first.matrix, self.matrix @ first.shift_mm + self.shift_mm)


def turn(axis: Point, degrees: float, about: Point = (0.0, 0.0, 0.0)) -> Motion:
    """Rotation by the right-hand rule about ``axis`` through the point ``about`` (Rodrigues' formula)."""
    unit = np.asarray(axis, float) / np.linalg.norm(axis)
    angle = np.deg2rad(degrees)
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    pivot = np.asarray(about, float)
    return Motion(matrix, pivot - matrix @ pivot)


def mirror_x() -> Motion:
    """Reflection that turns a right limb into a left one."""
    return Motion(np.diag([-1.0, 1.0, 1.0]), np.zeros(3))


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Half space that keeps a fragment: ``normal . (p - origin_mm) > gap_mm / 2 + ragged edge``.

    ``phase`` seeds the ragged edge; both fragments of one break share it, with ``side`` +1 and -1, and so interlock.
    """

    origin_mm: Array
    normal: Array
    side: int
    gap_mm: float
    ragged_mm: float
    phase: Array

    def moved(self, motion: Motion) -> Cut:
        return replace(self, origin_mm=motion.apply(self.origin_mm), normal=self.normal @ motion.matrix.T)


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """Shaft lofted along a curve with elliptic sections.

    ``points_mm`` ``(n, 3)`` axis; ``wide_mm``, ``deep_mm`` ``(n,)`` semi-axes along the unit vectors ``wide`` and
    ``deep``; ``shell_mm`` ``(n,)`` cortex thickness (subcutaneous fat in soft tissue); ``core`` ``(n,)`` density inside
    it as a fraction of the shell's.
    """

    points_mm: Array
    wide: Array
    deep: Array
    wide_mm: Array
    deep_mm: Array
    shell_mm: Array
    core: Array
    cuts: tuple[Cut, ...] = ()

    def moved(self, motion: Motion) -> Tube:
        """The tube after a motion; its cuts go along."""
        return replace(
            self,
            points_mm=motion.apply(self.points_mm),
            wide=self.wide @ motion.matrix.T,
            deep=self.deep @ motion.matrix.T,
            cuts=tuple(cut.moved(motion) for cut in self.cuts),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Lumpy ellipsoid.

    ``axes_mm`` ``(3, 3)``, rows are semi-axis vectors; ``lumps`` ``(k, 2)`` amplitude and phase of the outline's
    harmonics 2, 3, ...; ``sign`` -1 hollows (a fossa).
    """

    centre_mm: Array
    axes_mm: Array
    shell_mm: float
    core: float
    lumps: Array
    sign: int = 1
    cuts: tuple[Cut, ...] = ()

    def moved(self, motion: Motion) -> Blob:
        """The blob after a motion; its cuts go along."""
        return replace(
            self,
            centre_mm=motion.apply(self.centre_mm),
            axes_mm=self.axes_mm @ motion.matrix.T,
            cuts=tuple(cut.moved(motion) for cut in self.cuts),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """Flat solid.

    ``outline_mm`` ``(n, 3)``; thickness ``thick_mm`` inside, rounded over ``rim_mm`` at the border; ``shell_mm`` of
    cortex at either face and along the border.
    """

    outline_mm: Array
    thick_mm: float
    rim_mm: float
    shell_mm: float
    core: float
    cuts: tuple[Cut, ...] = ()

    def moved(self, motion: Motion) -> Plate:
        """The plate after a motion; its cuts go along."""
        return replace(self, outline_mm=motion.apply(self.outline_mm), cuts=tuple(c.moved(motion) for c in self.cuts))


Solid: TypeAlias = Tube | Blob | Plate


@dataclass(frozen=True, slots=True, eq=False)
class BreakSite:
    """Where a bone breaks.

    ``at_mm`` on its axis; ``along`` unit vector from the staying to the moving fragment,
    ``across`` one square to it and
    fixed to the bone; ``pivot_mm`` the joint about which the moving fragment turns; ``radius_mm`` of the bone there.
    """

    at_mm: Array
    along: Array
    across: Array
    pivot_mm: Array
    radius_mm: float

    def moved(self, motion: Motion) -> BreakSite:
        """The site after a motion."""
        along, across = self.along @ motion.matrix.T, self.across @ motion.matrix.T
        return BreakSite(motion.apply(self.at_mm), along, across, motion.apply(self.pivot_mm), self.radius_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Bone:
    """One bone: solids merged by their longest path, and the places where it may break."""

    name: str
    solids: tuple[Solid, ...]
    sites: tuple[BreakSite, ...] = ()

    def moved(self, motion: Motion) -> Bone:
        """The bone after a motion; its break sites go along."""
        sites = tuple(spot.moved(motion) for spot in self.sites)
        return Bone(self.name, tuple(solid.moved(motion) for solid in self.solids), sites)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What lies in the beam. ``air`` solids take soft tissue away (lungs, bowel gas).

    ``field_mm`` is the long side of the picture; ``bone_reference_mm`` the cortex shown nearly white; ``beam`` the
    attenuation of the harder beam used for thick parts, relative to a limb's.
    """

    bones: tuple[Bone, ...]
    soft: tuple[Solid, ...]
    air: tuple[Solid, ...]
    centre_mm: Array
    field_mm: float
    bone_reference_mm: float
    body_part: str
    beam: float = 1.0

    def moved(self, motion: Motion) -> Scene:
        """The whole scene after a motion."""
        return replace(
            self,
            bones=tuple(bone.moved(motion) for bone in self.bones),
            soft=tuple(solid.moved(motion) for solid in self.soft),
            air=tuple(solid.moved(motion) for solid in self.air),
            centre_mm=motion.apply(self.centre_mm),
        )


def _smooth(values: Array, width: int) -> Array:
    kernel = np.hanning(width + 2)[1:-1]
    kernel /= kernel.sum()
    return np.convolve(np.pad(values, width // 2, mode="edge"), kernel, mode="valid")[: len(values)]


def curve(control_mm: Sequence[Point], count: int = STATIONS) -> Array:
    """Smooth curve through control points: ``(count, 3)``, Catmull-Rom, evenly spaced in parameter."""
    ctrl = np.asarray(control_mm, float)
    if len(ctrl) == 2:
        return ctrl[0] + np.linspace(0, 1, count)[:, None] * (ctrl[1] - ctrl[0])
    padded = np.vstack([2 * ctrl[0] - ctrl[1], ctrl, 2 * ctrl[-1] - ctrl[-2]])
    place = np.linspace(0, len(ctrl) - 1, count)
    index = np.minimum(place.astype(int), len(ctrl) - 2)
    u = (place - index)[:, None]
    p0, p1, p2, p3 = (padded[index + k] for k in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3)


def _ripple(length_mm: Array, key: float) -> Array:
    """Small undulation of a bone's surface; ``key`` is any number that varies with the anatomy, so no two are alike."""
    waves = ((47.0, 0.022), (23.0, 0.016), (11.0, 0.010), (6.0, 0.006))
    return np.sum([size * np.sin(2 * np.pi * length_mm / span + key * span) for span, size in waves], axis=0)


def tube(
    control_mm: Sequence[Point],
    profile: Sequence[Sequence[float]],
    wide: Point = (1.0, 0.0, 0.0),
    caps_mm: tuple[float, float] = (3.0, 3.0),
    *,
    rough: float = 1.0,
) -> Tube:
    """Loft a tube.

    ``profile`` rows: place 0..1 along the axis, semi-axis along ``wide`` (mm), the other semi-axis (mm), shell (mm),
    core fraction. ``caps_mm``: length over which either end is rounded; 0 leaves it open (cut by the picture's edge).
    ``rough`` scales the undulation of the surface.
    """
    points = curve(control_mm)
    rows = np.asarray(profile, float)
    place = np.linspace(0, 1, STATIONS)
    wide_mm, deep_mm, shell_mm, core = (_smooth(np.interp(place, rows[:, 0], rows[:, k]), 9) for k in range(1, 5))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    for cap, distance in zip(caps_mm, (length, length[-1] - length), strict=True):
        if cap > 0:
            rounding = np.sqrt(np.clip(1 - np.clip(1 - distance / cap, 0, 1) ** 2, 0.0, 1.0))
            wide_mm, deep_mm = wide_mm * rounding, deep_mm * rounding
    ripple = _ripple(length, float(np.abs(points[0]).sum() + np.abs(points[-1]).sum())) * rough
    wide_mm, deep_mm = wide_mm * (1 + ripple), deep_mm * (1 + ripple[::-1])
    along = points[-1] - points[0]
    along /= np.linalg.norm(along)
    across = np.asarray(wide, float)
    across = across - along * (across @ along)
    across /= np.linalg.norm(across)
    return Tube(points, across, np.cross(along, across), wide_mm, deep_mm, shell_mm, core)


def flesh(
    control_mm: Sequence[Point],
    profile: Sequence[Sequence[float]],
    wide: Point = (1.0, 0.0, 0.0),
    caps_mm: tuple[float, float] = (3.0, 3.0),
) -> Tube:
    """A tube of soft tissue: smooth, ``profile`` rows place, two semi-axes and the fat's thickness in mm."""
    return tube(control_mm, [(*row, 1.0) for row in profile], wide, caps_mm, rough=0.15)


def blob(
    centre_mm: Point,
    semi_mm: Point,
    *,
    shell_mm: float = 1.0,
    core: float = 0.3,
    tilt_deg: float = 0.0,
    rng: np.random.Generator | None = None,
    lumpiness: float = 0.05,
    sign: int = 1,
) -> Blob:
    """Ellipsoid with semi-axes along x, y, z, tilted by ``tilt_deg`` in the frontal plane; lumpy with an ``rng``."""
    axes = np.diag(np.asarray(semi_mm, float)) @ turn((0, 0, 1), tilt_deg).matrix.T
    lumps = np.zeros((0, 2))
    if rng is not None:
        sizes = lumpiness / np.arange(1, 5) * rng.uniform(0.4, 1.0, 4)
        lumps = np.column_stack([sizes, rng.uniform(0, 2 * np.pi, 4)])
    return Blob(np.asarray(centre_mm, float), axes, shell_mm, core, lumps, sign)


def plate(control_mm: Sequence[Point], thick_mm: float, rim_mm: float, shell_mm: float, core: float) -> Plate:
    """Plate with a smooth closed outline through the control points."""
    ctrl = [tuple(p) for p in control_mm]
    closed = curve([ctrl[-1], *ctrl, ctrl[0], ctrl[1]], 16 * (len(ctrl) + 2) + 1)
    return Plate(closed[16:-16], thick_mm, rim_mm, shell_mm, core)


def site(shaft: Tube, place: float, *, moving_end: int) -> BreakSite:
    """Break site at ``place`` (0..1) of a tube; ``moving_end`` 0 or 1 says which end's fragment moves."""
    index = int(np.clip(round(place * (STATIONS - 1)), 2, STATIONS - 3))
    along = shaft.points_mm[index + 2] - shaft.points_mm[index - 2]
    along = along / np.linalg.norm(along) * (1 if moving_end else -1)
    radius = float(max(shaft.wide_mm[index], shaft.deep_mm[index]))
    across = shaft.wide - along * (shaft.wide @ along)
    across /= np.linalg.norm(across)
    return BreakSite(shaft.points_mm[index], along, across, shaft.points_mm[-1 if moving_end else 0], radius)
