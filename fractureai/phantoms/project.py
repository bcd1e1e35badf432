"""Path lengths of parallel rays through solids: closed-form chords, rasterised solid by solid.

A ray's path through an elliptic cylinder or an ellipsoid is a semi-ellipse over the picture; a tube is drawn in its own
straightened frame, where its sections are columns, and turned into the picture by one bilinear warp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fractureai.phantoms.shapes import Array, Blob, Bone, Cut, Plate, Solid, Tube

Image = NDArray[np.float32]
_TINY = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Picture plane: ``height_px`` x ``width_px`` pixels of ``pixel_mm``, centred on scene point ``centre_mm`` (x, y).

    ``grain`` is a tile of spongy-bone texture with mean 1, its columns along a tube's axis.
    """

    height_px: int
    width_px: int
    pixel_mm: float
    centre_mm: Array
    grain: Image

    def to_px(self, points_mm: Array) -> Array:
        """Scene points ``(..., >=2)`` in mm to pixel centres ``(..., 2)`` (x, y)."""
        middle = np.array([self.width_px - 1, self.height_px - 1]) / 2
        return (points_mm[..., :2] - self.centre_mm[:2]) / self.pixel_mm + middle


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Path lengths in mm over the window of the canvas whose first pixel is ``(x_px, y_px)``."""

    x_px: int
    y_px: int
    path_mm: Image


def _window(canvas: Canvas, corners_px: Array) -> tuple[int, int, int, int] | None:
    low = np.floor(corners_px.min(axis=0)).astype(int) - 1
    high = np.ceil(corners_px.max(axis=0)).astype(int) + 2
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), canvas.width_px), min(int(high[1]), canvas.height_px)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _kept(cut: Cut, axes: Array, x: Array, y: Array, z: Array, half: Array) -> Array:
    """Fraction of each chord on the kept side of a cut.

    ``axes`` ``(3, 3)``: rows are the raster's own x, y, z directions; ``z`` the chord's middle, ``half`` half its
    length.
    """
    normal, origin = axes @ cut.normal, axes @ cut.origin_mm
    dx, dy = x - origin[0], y - origin[1]
    flat = max(float(np.hypot(normal[0], normal[1])), _TINY)
    along = (normal[0] * dy - normal[1] * dx) / flat
    spans = (2.1, 3.7, 6.1, 11.0)
    ragged = sum(cut.ragged_mm * np.sin(along * (6.28 / w) + p) * w / 11 for w, p in zip(spans, cut.phase, strict=True))
    beyond = normal[0] * dx + normal[1] * dy + normal[2] * (z - origin[2]) - ragged
    return np.clip(0.5 + (cut.side * beyond - cut.gap_mm / 2) / (2 * abs(normal[2]) * half + 0.3), 0, 1)


def _tile(grain: Image, rows: int, columns: int) -> Image:
    repeats = (-(-rows // grain.shape[0]), -(-columns // grain.shape[1]))
    return grain[:rows, :columns] if max(repeats) == 1 else np.tile(grain, repeats)[:rows, :columns]


def _section(wide_mm: Array, deep_mm: Array, wide: Array, deep: Array, normal: Array) -> tuple[Array, Array, Array]:
    """Ellipse seen edge on: half width across the picture, half depth along the ray at its middle, and recession.

    Recession is the slope at which the chord's middle moves in depth across the picture.
    """
    variance = (wide_mm * (wide @ normal)) ** 2 + (deep_mm * (deep @ normal)) ** 2
    half_width = np.sqrt(np.maximum(variance, _TINY**2))
    slope = (wide_mm**2 * (wide @ normal) * wide[2] + deep_mm**2 * (deep @ normal) * deep[2]) / half_width**2
    return half_width, wide_mm * deep_mm / half_width, slope


def _semi_ellipse(offset: Array, half_width: Array, half_depth: Array) -> Array:
    return half_depth * np.sqrt(np.maximum(1 - np.square(offset / half_width), 0))


def _pieces(solid: Tube) -> list[Tube | Blob]:
    """Cut a tube where its image bends more than a straightened frame bears.

    What points along the rays becomes an ellipsoid.
    """
    points = solid.points_mm
    chord = points[-1] - points[0]
    length = float(np.linalg.norm(chord))
    flat = float(np.hypot(chord[0], chord[1]))
    if flat < 0.6 * length and flat < 2 * max(solid.wide_mm.max(), solid.deep_mm.max()):
        semi = (chord / 2, solid.wide * solid.wide_mm.max(), solid.deep * solid.deep_mm.max())
        middle = points[len(points) // 2]
        return [Blob(middle, np.array(semi), solid.shell_mm.mean(), solid.core.mean(), np.zeros((0, 2)), 1, solid.cuts)]
    heading = np.diff(points[:, :2], axis=0) @ (chord[:2] / max(flat, _TINY))
    if len(points) < 12 or (heading / np.hypot(*np.diff(points[:, :2], axis=0).T).clip(_TINY)).min() > 0.7:
        return [solid]
    half = len(points) // 2
    parts = []
    for span in (slice(0, half + 2), slice(half - 1, None)):
        arrays = {name: getattr(solid, name)[span] for name in ("points_mm", "wide_mm", "deep_mm", "shell_mm", "core")}
        parts += _pieces(replace(solid, **arrays))
    return parts


def tube_patch(solid: Tube, canvas: Canvas, shell_weight: float) -> Patch | None:
    """Shell-equivalent path in mm through a tube: ``shell_weight`` x shell + core fraction x inside."""
    chord = solid.points_mm[-1] - solid.points_mm[0]
    flat = chord[:2] / max(float(np.hypot(*chord[:2])), _TINY)
    normal = np.array([-flat[1], flat[0], 0.0])
    axes = np.array([[flat[0], flat[1], 0.0], normal, [0.0, 0.0, 1.0]])
    local = solid.points_mm @ axes.T
    place = np.maximum.accumulate(local[:, 0] + np.arange(len(local)) * 1e-6)
    step = canvas.pixel_mm
    x = np.arange(place[0] - step, place[-1] + 2 * step, step)
    outer = _section(solid.wide_mm, solid.deep_mm, solid.wide, solid.deep, normal)
    thin = np.maximum(solid.wide_mm - solid.shell_mm, 0), np.maximum(solid.deep_mm - solid.shell_mm, 0)
    inner = _section(*thin, solid.wide, solid.deep, normal)
    steps = np.gradient(local, axis=0)
    run = np.maximum(np.abs(steps[:, 0]), _TINY)
    secant = np.hypot(1, np.clip(steps[:, 1] / run, -3, 3))
    # A tube seen along its axis cannot be longer than it is: the oblique path is limited.
    stretch = np.minimum(np.linalg.norm(steps, axis=1) / np.hypot(steps[:, 0], steps[:, 1]).clip(_TINY), 3.5)
    columns = (local[:, 1], local[:, 2], outer[0] * secant, outer[1] * stretch, outer[2],
               inner[0] * secant, inner[1] * stretch, solid.core)  # fmt: skip
    c, z, w, h, k, wi, hi, core = (np.interp(x, place, column).astype(np.float32) for column in columns)
    ends = (x >= place[0]) & (x <= place[-1])
    h, hi = h * ends, hi * ends
    y_low, y_high = float((c - w).min()) - step, float((c + w).max()) + step
    y = np.arange(y_low, y_high + step, step, dtype=np.float32)[:, None]
    half = _semi_ellipse(y - c, np.maximum(w, _TINY), h)
    inside = 2 * np.minimum(_semi_ellipse(y - c, np.maximum(wi, _TINY), hi), half)
    path = shell_weight * (2 * half - inside) + core * inside * _tile(canvas.grain, *inside.shape)
    for cut in solid.cuts:
        path *= _kept(cut, axes, x.astype(np.float32), y, z + k * (y - c), half).astype(np.float32)
    return _place(path, canvas, axes, x[0], y_low)


def _place(path: Array, canvas: Canvas, axes: Array, x_mm: float, y_mm: float) -> Patch | None:
    """Warp a raster of the frame ``axes`` whose first pixel lies at (x_mm, y_mm) into the canvas."""
    rows, columns = path.shape
    reach = canvas.pixel_mm * np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], float)
    corners = (reach + np.array([x_mm, y_mm])) @ axes[:2, :2]
    window = _window(canvas, canvas.to_px(corners))
    if window is None:
        return None
    x0, y0, x1, y1 = window
    origin = canvas.to_px(np.array([x_mm, y_mm]) @ axes[:2, :2]) - (x0, y0)
    matrix = np.column_stack([axes[:2, :2].T, origin])
    warped = cv2.warpAffine(path.astype(np.float32), matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    return Patch(x0, y0, warped)


def blob_patch(solid: Blob, canvas: Canvas, shell_weight: float) -> Patch | None:
    """Shell-equivalent path in mm through a lumpy ellipsoid."""
    spread = solid.axes_mm.T @ solid.axes_mm
    flat = spread[:2, :2] + np.eye(2) * _TINY
    half_depth = float(np.sqrt(max(np.linalg.det(spread), _TINY) / np.linalg.det(flat)))
    extent = np.sqrt(np.diag(flat)) * (1 + float(np.abs(solid.lumps[:, 0]).sum()))
    window = _window(canvas, canvas.to_px(solid.centre_mm[:2] + np.array([-extent, extent])))
    if window is None:
        return None
    x0, y0, x1, y1 = window
    centre = canvas.to_px(solid.centre_mm)
    dx = ((np.arange(x0, x1) - centre[0]) * canvas.pixel_mm).astype(np.float32)[None, :]
    dy = ((np.arange(y0, y1) - centre[1]) * canvas.pixel_mm).astype(np.float32)[:, None]
    inverse = np.linalg.inv(flat)
    rho = np.sqrt(inverse[0, 0] * dx * dx + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy)
    if len(solid.lumps):
        angle = np.arctan2(dy, dx)
        rho = rho / (1 + sum(a * np.cos((k + 2) * angle + p) for k, (a, p) in enumerate(solid.lumps)))
    half = half_depth * np.sqrt(np.maximum(1 - rho * rho, 0))
    shrink = max(1 - solid.shell_mm / float(np.linalg.norm(solid.axes_mm, axis=1).mean()), 0.05)
    inside = 2 * half_depth * shrink * np.sqrt(np.maximum(1 - np.square(rho / shrink), 0))
    path = shell_weight * (2 * half - inside) + solid.core * inside * _tile(canvas.grain, *inside.shape)
    tilt = np.linalg.solve(flat, spread[:2, 2])
    for cut in solid.cuts:
        z = solid.centre_mm[2] + tilt[0] * dx + tilt[1] * dy
        path = path * _kept(cut, np.eye(3), dx + solid.centre_mm[0], dy + solid.centre_mm[1], z, half)
    return Patch(x0, y0, path.astype(np.float32))


def plate_patch(solid: Plate, canvas: Canvas, shell_weight: float) -> Patch | None:
    """Shell-equivalent path in mm through a plate, by the distance of each pixel from the outline."""
    outline = canvas.to_px(solid.outline_mm)
    window = _window(canvas, outline)
    if window is None:
        return None
    x0, y0, x1, y1 = window
    mask = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.uint8)
    cv2.fillPoly(mask, [np.round((outline - (x0 - 1, y0 - 1)) * 16).astype(np.int32)], 255, shift=4)
    # The canvas's border is no border of the solid: distances there are taken as if it went on.
    framed = cv2.copyMakeBorder(mask[1:-1, 1:-1], *_going_on(window, canvas), cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)
    top, left = _going_on(window, canvas)[0], _going_on(window, canvas)[2]
    if solid.rim_mm > 5 * canvas.pixel_mm:
        # Distances have ridges along the outline's skeleton; a thick body has none.
        depth = np.minimum(cv2.GaussianBlur(depth, (0, 0), 0.15 * solid.rim_mm / canvas.pixel_mm), 1.6 * depth)
    depth = depth[top : top + y1 - y0, left : left + x1 - x0] * canvas.pixel_mm
    edges = np.diff(solid.outline_mm, axis=0)
    area = np.cross(solid.outline_mm[:-1] - solid.outline_mm[0], edges).sum(axis=0)
    stretch = min(1 / max(abs(area[2]) / max(float(np.linalg.norm(area)), _TINY), _TINY), 4.0)
    full = solid.thick_mm * stretch * np.sqrt(np.maximum(1 - np.square(1 - np.minimum(depth / solid.rim_mm, 1)), 0))
    shell = np.where(depth < 1.5 * solid.shell_mm, full, np.minimum(full, 2 * solid.shell_mm * stretch))
    path = shell_weight * shell + solid.core * (full - shell) * _tile(canvas.grain, *full.shape)
    return Patch(x0, y0, path.astype(np.float32))


def _going_on(window: tuple[int, int, int, int], canvas: Canvas) -> tuple[int, int, int, int]:
    """How far to continue a mask beyond the window (top, bottom, left, right): only where the canvas cuts it."""
    x0, y0, x1, y1 = window
    far = max(canvas.width_px, canvas.height_px) // 2
    cut = (y0 == 0, y1 == canvas.height_px, x0 == 0, x1 == canvas.width_px)
    return tuple(far if at_edge else 1 for at_edge in cut)  # type: ignore[return-value]


def solid_patches(solid: Solid, canvas: Canvas, shell_weight: float = 1.0) -> list[Patch]:
    """Paths through any solid, to be merged by their maximum; none where it lies outside the canvas."""
    found: list[Patch | None] = []
    for piece in _pieces(solid) if isinstance(solid, Tube) else [solid]:
        match piece:
            case Tube():
                found.append(tube_patch(piece, canvas, shell_weight))
            case Blob():
                found.append(blob_patch(piece, canvas, shell_weight))
            case Plate():
                found.append(plate_patch(piece, canvas, shell_weight))
    return [patch for patch in found if patch is not None]


def add_bone(bone: Bone, canvas: Canvas, total: Image) -> None:
    """Add one bone's cortex-equivalent path to ``total`` ``(H, W)`` mm: its solids merge, they do not add up."""
    patches = [(solid, patch) for solid in bone.solids for patch in solid_patches(solid, canvas)]
    if not patches:
        return
    x0, y0 = (min(getattr(p, key) for _, p in patches) for key in ("x_px", "y_px"))
    x1 = max(p.x_px + p.path_mm.shape[1] for _, p in patches)
    y1 = max(p.y_px + p.path_mm.shape[0] for _, p in patches)
    merged = np.zeros((y1 - y0, x1 - x0), np.float32)
    for solid, patch in sorted(patches, key=lambda pair: isinstance(pair[0], Blob) and pair[0].sign < 0):
        rows, columns = patch.path_mm.shape
        part = merged[patch.y_px - y0 :][:rows, patch.x_px - x0 :][:, :columns]
        if isinstance(solid, Blob) and solid.sign < 0:
            np.maximum(part - patch.path_mm, part * 0.25, out=part)
        else:
            np.maximum(part, patch.path_mm, out=part)
    total[y0:y1, x0:x1] += merged


def add_soft(solids: tuple[Solid, ...], canvas: Canvas, fat: float) -> Image:
    """Muscle-equivalent path ``(H, W)`` mm of soft tissue; ``fat`` is fat's attenuation relative to muscle.

    Overlapping solids melt into each other (cubic mean), as limbs and trunk do.
    """
    total = np.zeros((canvas.height_px, canvas.width_px), np.float32)
    for solid in solids:
        for patch in solid_patches(solid, canvas, fat):
            rows, columns = patch.path_mm.shape
            total[patch.y_px :, patch.x_px :][:rows, :columns] += patch.path_mm**3
    return np.cbrt(total)
