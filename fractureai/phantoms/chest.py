"""A chest-like picture: what the product must recognise as out of its scope."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fractureai.phantoms.anatomy import thorax
from fractureai.phantoms.render import Look, PhantomSpec, develop, trace
from fractureai.phantoms.shapes import Bone, Scene, Solid, blob, plate, tube

_FIELD_MM = 420.0


def _clavicles() -> list[Bone]:
    rows = ((0, 8, 8, 1.2, 0.2), (0.5, 5.5, 6, 1.6, 0.1), (1, 6.5, 7, 1.2, 0.15))
    curves = (((s * 16, 12, 60), (s * 60, 4, 66), (s * 105, -14, 40), (s * 150, -16, 10)) for s in (-1, 1))
    return [Bone("clavicle", (tube(points, rows, (0, 1, 0)),)) for points in curves]


def _body(rng: np.random.Generator) -> tuple[Solid, ...]:
    p = rng.uniform(0.9, 1.1)
    half = ((26, -150), (34, -70), (80, -46), (150, -30), (186, 20), (176, 110), (164, 200), (166, 420))
    outline = [(x, y, 0) for x, y in half] + [(-x, y, 0) for x, y in reversed(half)]
    return (plate(outline, 175 * p, 80, 8, 1),)


def _scene(rng: np.random.Generator) -> Scene:
    density = rng.normal(1.0, 0.08)
    bones = thorax.spine(rng, -130, 20, density)
    for side in (-1.0, 1.0):
        bones += thorax.ribs(rng, side, density=density)
    bones += _clavicles()
    right, left = thorax.lung(-1.0, rng, bottom_mm=218.0), thorax.lung(1.0, rng, bottom_mm=232.0)
    return Scene(
        tuple(bones), _body(rng), (*right, *left), np.array([0.0, 110.0, 0.0]), _FIELD_MM, 12.0, "CHEST", beam=0.62
    )


def _heart(rng: np.random.Generator) -> tuple[Solid, ...]:
    size = rng.uniform(0.9, 1.15)
    return (
        blob((22, 172, 20), (58 * size, 50 * size, 44), shell_mm=0, core=1, tilt_deg=28, rng=rng, lumpiness=0.04),
        blob((10, 80, 10), (32, 62, 30), shell_mm=0, core=0.8, rng=rng, lumpiness=0.08),
    )


def render_chest(seed: int, height_px: int = 1760, width_px: int = 1760) -> NDArray[np.uint16]:
    """Draw a frontal chest, ``(H, W)`` uint16, 0..4095, MONOCHROME2; deterministic."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xC4E57]))
    scene = _scene(rng)
    spacing_mm = _FIELD_MM / max(height_px, width_px)
    # Region and view only key the random streams of textures.
    spec = PhantomSpec("shoulder", "frontal", False, seed, height_px, width_px)
    paths = trace(scene, spec, spacing_mm, over_air=_heart(rng))
    return develop(paths, (height_px, width_px), spacing_mm, Look(14.0, scene.beam, "R"), rng)
