"""Radiographs of phantoms: what a specification looks like on the detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fractureai.phantoms import exposure as xray
from fractureai.phantoms.anatomy import elbow, hand, hip, leg, shoulder
from fractureai.phantoms.fracture import Broken, break_bone
from fractureai.phantoms.project import Canvas, Image, add_bone, add_soft, solid_patches
from fractureai.phantoms.shapes import Array, Motion, Scene, Solid, mirror_x, turn

_ANATOMY: dict[str, Callable[[np.random.Generator, str], Scene]] = {
    "elbow": elbow.build,
    "hand": hand.build,
    "shoulder": shoulder.build,
    "hip": hip.build,
    "leg": leg.build,
}
REGIONS: tuple[str, ...] = tuple(_ANATOMY)
#: Turn of the limb about its long axis, degrees.
_VIEW_TURN_DEG = {"frontal": 0.0, "oblique": 42.0, "lateral": 90.0}
#: The trunk bars the way to a true lateral of shoulder and hip: theirs are the scapular Y and the frog lateral.
_SPECIAL_TURN_DEG = {("shoulder", "lateral"): -58.0, ("shoulder", "oblique"): -30.0,
                     ("hip", "lateral"): 0.0, ("hip", "oblique"): 12.0}  # fmt: skip
#: Bone overlies bone when a limb is turned; the display follows.
_VIEW_BONE = {"frontal": 1.0, "oblique": 1.25, "lateral": 1.7}
VIEWS: tuple[str, ...] = tuple(_VIEW_TURN_DEG)
#: Paths are computed on a grid no finer than this along the long side: bone has no detail beyond it.
_WORK_PX = 880
_GRAIN_MM = 0.32


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """What to draw: the same specification gives the same bytes.

    The same ``seed`` is the same person, limb and fracture in every view; ``fractured`` changes nothing but the break.
    """

    region: str
    view: str
    fractured: bool
    seed: int
    height_px: int = 1760
    width_px: int = 1400

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"region must be one of {', '.join(REGIONS)}, got {self.region!r}")
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {self.view!r}")
        if min(self.height_px, self.width_px) < 32 or self.seed < 0:
            raise ValueError(f"at least 32 x 32 px and a seed of 0 or more are needed, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A drawn radiograph.

    ``pixels`` ``(H, W)`` uint16, 0..4095, MONOCHROME2. ``fracture_box_px`` ``(x0, y0, x1, y1)`` in pixels of the
    picture, origin at the outer corner of the top-left pixel; ``None`` for an intact bone.
    """

    pixels: NDArray[np.uint16]
    spec: PhantomSpec
    fracture_box_px: tuple[int, int, int, int] | None
    pixel_spacing_mm: float
    laterality: str


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """What rays meet, ``(h, w)`` float32 mm: cortex-equivalent bone and muscle-equivalent soft tissue."""

    cortex_mm: Image
    muscle_mm: Image
    pixel_mm: float


def _rng(seed: int, *purpose: str) -> np.random.Generator:
    """Independent stream for each purpose, so that one choice does not shift the others."""
    words = [int.from_bytes(word.encode()[:8], "little") for word in purpose]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def _pose(spec: PhantomSpec, scene: Scene, laterality: str) -> Motion:
    """How the limb lies: side, turn for the view, imperfect positioning."""
    rng = _rng(spec.seed, "pose", spec.view)
    middle = scene.centre_mm
    view_deg = _SPECIAL_TURN_DEG.get((spec.region, spec.view), _VIEW_TURN_DEG[spec.view])
    motion = turn((0, 1, 0), view_deg + rng.normal(0, 4), middle)
    motion = turn((1, 0, 0), rng.normal(0, 3), middle).after(motion)
    motion = turn((0, 0, 1), rng.normal(0, 5), middle).after(motion)
    return motion if laterality == "R" else mirror_x().after(motion)


def _grain(pixel_mm: float, seed: int) -> Image:
    """Tile of spongy bone: struts along the columns' axis, mean 1."""
    noise = _rng(seed, "grain").standard_normal((320, 512), dtype=np.float32)
    struts = cv2.GaussianBlur(noise, (0, 0), sigmaX=3.2, sigmaY=1.0, borderType=cv2.BORDER_REFLECT)
    mesh = cv2.GaussianBlur(noise[::-1], (0, 0), 1.4)
    patches = cv2.GaussianBlur(noise[:, ::-1], (0, 0), 12)
    texture = 0.6 * struts / struts.std() + 0.4 * mesh / mesh.std() + 0.5 * patches / patches.std()
    scale = _GRAIN_MM / pixel_mm
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.clip(1 + 0.2 * texture, 0.3, 1.9), None, fx=scale, fy=scale, interpolation=kind)


def _crumple(spec: PhantomSpec, shape: tuple[int, int], pixel_mm: float, amount_mm: float) -> tuple[Image, Image]:
    """Maps for ``cv2.remap`` that take the ruler-drawn look off every outline: displacements of ``amount_mm``."""
    rng = _rng(spec.seed, "crumple", spec.view)
    height, width = shape
    maps = []
    for _ in range(2):
        coarse = sum(
            size * cv2.resize(rng.standard_normal((n, n), dtype=np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
            for n, size in ((9, 0.7), (20, 0.45), (40, 0.2))
        )
        field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        maps.append(field * np.float32(amount_mm / pixel_mm))
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    return maps[0] + x, maps[1] + y


def _soft(scene: Scene, canvas: Canvas, spec: PhantomSpec, over_air: tuple[Solid, ...]) -> Image:
    """Soft tissue on the canvas, computed at half its resolution (it has no sharp detail but the skin line)."""
    size = (canvas.height_px + 1) // 2, (canvas.width_px + 1) // 2
    half = Canvas(*size, canvas.pixel_mm * 2, canvas.centre_mm, np.ones((1, 1), np.float32))
    total = add_soft(scene.soft, half, xray.FAT_TO_MUSCLE)
    for solid in scene.air:
        for patch in solid_patches(solid, half):
            rows, columns = patch.path_mm.shape
            part = total[patch.y_px :, patch.x_px :][:rows, :columns]
            np.maximum(part - patch.path_mm, 0.25 * part, out=part)
    if over_air:
        total += add_soft(over_air, half, xray.FAT_TO_MUSCLE)
    coarse = _rng(spec.seed, "muscle", spec.view).standard_normal((14, 30), dtype=np.float32)
    streaks = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    total *= 1 + np.float32(0.02) * streaks
    return cv2.resize(total, (canvas.width_px, canvas.height_px), interpolation=cv2.INTER_LINEAR)


def _box(marks_px: Array, spec: PhantomSpec) -> tuple[int, int, int, int]:
    low, high = marks_px.min(axis=0), marks_px.max(axis=0)
    limits = np.array([spec.width_px, spec.height_px])
    x0, y0 = np.clip(np.floor(low), 0, limits - 1).astype(int)
    x1, y1 = np.clip(np.ceil(high), 1, limits).astype(int)
    return int(x0), int(y0), int(max(x1, x0 + 1)), int(max(y1, y0 + 1))


def _stage(spec: PhantomSpec) -> tuple[Scene, Array | None, str]:
    """The posed scene, the points that surround its fracture, and the limb's side."""
    laterality = "R" if _rng(spec.seed, "side").random() < 0.5 else "L"
    scene = _ANATOMY[spec.region](_rng(spec.seed, "anatomy", spec.region), spec.view)
    marks = None
    if spec.fractured:
        broken: Broken = break_bone(scene, _rng(spec.seed, "break", spec.region))
        scene, marks = broken.scene, broken.marks_mm
    motion = _pose(spec, scene, laterality)
    return scene.moved(motion), None if marks is None else motion.apply(marks), laterality


def trace(scene: Scene, spec: PhantomSpec, spacing_mm: float, over_air: tuple[Solid, ...] = ()) -> Paths:
    """Path lengths of all rays on the working grid; ``over_air`` is soft tissue amid air (the heart)."""
    shrink = min(1.0, _WORK_PX / max(spec.height_px, spec.width_px))
    height, width = round(spec.height_px * shrink), round(spec.width_px * shrink)
    pixel_mm = spacing_mm * spec.height_px / height
    canvas = Canvas(height, width, pixel_mm, scene.centre_mm, _grain(pixel_mm, spec.seed))
    cortex = np.zeros((height, width), np.float32)
    for bone in scene.bones:
        add_bone(bone, canvas, cortex)
    maps = _crumple(spec, (height, width), pixel_mm, 0.45)
    cortex = cv2.remap(cortex, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Paths(cortex, _soft(scene, canvas, spec, over_air), pixel_mm)


def render(spec: PhantomSpec) -> Phantom:
    """Draw the radiograph of a specification; deterministic."""
    scene, marks, laterality = _stage(spec)
    picture = _rng(spec.seed, "picture", spec.view)
    spacing_mm = scene.field_mm * picture.uniform(0.92, 1.12) / max(spec.height_px, spec.width_px)
    paths = trace(scene, spec, spacing_mm)
    # In the trunk bone adds little to what soft tissue already takes.
    bone_mm = scene.bone_reference_mm * _VIEW_BONE[spec.view] ** (1.0 if scene.beam > 0.9 else 0.2)
    look = Look(bone_mm, scene.beam, laterality)
    grey = develop(paths, (spec.height_px, spec.width_px), spacing_mm, look, picture)
    box = None
    if marks is not None:
        full = Canvas(spec.height_px, spec.width_px, spacing_mm, scene.centre_mm, np.ones((1, 1), np.float32))
        box = _box(full.to_px(marks) + 0.5, spec)
    return Phantom(grey, spec, box, spacing_mm, laterality)


@dataclass(frozen=True, slots=True)
class Look:
    """What the display is set for: ``bone_mm`` of cortex nearly white, the ``beam``'s attenuation, the lead letter."""

    bone_mm: float
    beam: float
    letter: str


def develop(
    paths: Paths, size_px: tuple[int, int], spacing_mm: float, look: Look, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Expose and show the traced paths: ``(H, W)`` uint16, 0..4095, of ``size_px`` (height, width)."""
    body = paths.muscle_mm[::4, ::4]
    body = body[body > 5]
    middle = xray.MUSCLE_PER_MM * look.beam * (float(np.median(body)) if body.size else 20.0)
    exposure, border = xray.draw_exposure(rng, look.beam, middle), xray.draw_border(rng)
    signal = xray.log_signal(paths.cortex_mm, paths.muscle_mm, paths.pixel_mm, exposure)
    level = xray.equalise(signal, paths.pixel_mm, exposure)
    if signal.shape != size_px:
        signal, level = (cv2.resize(plane, size_px[::-1], interpolation=cv2.INTER_CUBIC) for plane in (signal, level))
    noisy = xray.add_noise(signal, spacing_mm, exposure, rng) - level
    top = xray.CORTEX_PER_MM * look.beam * look.bone_mm + middle * (1 - exposure.equalisation)
    grey = xray.stamp_marker(xray.collimate(xray.display(noisy, top, exposure), border), look.letter, rng, border)
    return np.round(np.clip(grey, 0, 1) * xray.MAX_VALUE).astype(np.uint16)
