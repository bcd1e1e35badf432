from __future__ import annotations

import numpy as np
import pytest

from fractureai.phantoms.exposure import (
    CORTEX_PER_MM,
    MUSCLE_PER_MM,
    Exposure,
    add_noise,
    display,
    log_signal,
)
from fractureai.phantoms.fracture import break_bone
from fractureai.phantoms.project import Canvas, add_bone, add_soft
from fractureai.phantoms.shapes import Bone, Motion, Scene, blob, mirror_x, plate, site, tube, turn

PLAIN = Exposure(quanta_per_mm2=5e4, scatter=0, blur_mm=0, gain=1, toe=0.05, gamma=1, hardness=1, equalisation=0)
ROD = ((0.0, 10.0, 10.0, 2.0, 0.1), (1.0, 10.0, 10.0, 2.0, 0.1))


def canvas(size_px: int = 160, pixel_mm: float = 0.5) -> Canvas:
    return Canvas(size_px, size_px, pixel_mm, np.zeros(3), np.ones((1, 1), np.float32))


def paths(*bones: Bone, on: Canvas) -> np.ndarray:
    total = np.zeros((on.height_px, on.width_px), np.float32)
    for bone in bones:
        add_bone(bone, on, total)
    return total


def test_attenuation_follows_beer_and_lambert() -> None:
    cortex = np.linspace(0, 20, 64, dtype=np.float32)[None, :].repeat(64, axis=0)
    muscle = np.full_like(cortex, 40.0)
    signal = log_signal(cortex, muscle, 0.5, PLAIN)
    expected = MUSCLE_PER_MM * muscle + (CORTEX_PER_MM - MUSCLE_PER_MM) * cortex
    np.testing.assert_allclose(signal, expected, rtol=1e-4)
    shown = display(signal, float(expected.max()), PLAIN)
    assert (np.diff(shown[0]) > 0).all(), "thicker bone is brighter"


def test_scatter_takes_contrast_away() -> None:
    cortex = np.zeros((128, 128), np.float32)
    cortex[:, 64:] = 10
    muscle = np.full_like(cortex, 60.0)
    contrasts = []
    for scatter in (0.0, 0.3):
        exposure = Exposure(5e4, scatter, 0, 1, 0.05, 1, 1, 0)
        signal = log_signal(cortex, muscle, 0.5, exposure)
        contrasts.append(signal[:, 96].mean() - signal[:, 32].mean())
    assert contrasts[1] < 0.97 * contrasts[0]


def test_noise_grows_behind_thick_parts_and_falls_with_exposure() -> None:
    thin, thick = np.full((200, 200), 0.2, np.float32), np.full((200, 200), 3.0, np.float32)
    rng = np.random.default_rng(0)
    expected = 1 / np.sqrt(5e4 * 0.25 * np.exp(-3.0))
    assert add_noise(thick, 0.5, PLAIN, rng).std() == pytest.approx(expected, rel=0.05)
    assert add_noise(thin, 0.5, PLAIN, rng).std() < 0.4 * expected


def test_tube_chords_are_those_of_a_hollow_cylinder() -> None:
    rod = tube(((-60, 0, 0), (60, 0, 0)), ROD, (0, 1, 0), (0, 0), rough=0.0)
    total = paths(Bone("rod", (rod,)), on=canvas(161))
    offset = 0.5 * (np.arange(161) - 80)
    outer = 2 * np.sqrt(np.clip(100 - offset**2, 0, None))
    inner = 2 * np.sqrt(np.clip(64 - offset**2, 0, None))
    np.testing.assert_allclose(total[:, 80], outer - inner + 0.1 * inner, atol=0.6)
    assert total[80 + 17, 80] > 1.5 * total[80, 80], "the cortex is brightest where the ray runs along it"


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_mass_is_the_same_from_every_side(degrees: float) -> None:
    egg = blob((0, 0, 0), (9, 14, 12), shell_mm=1, core=1)
    moved = Bone("egg", (egg,)).moved(turn((1, 2, 0.5), degrees))
    volume = paths(moved, on=canvas()).sum() * 0.25
    assert volume == pytest.approx(4 / 3 * np.pi * 9 * 14 * 12, rel=0.02)


def test_plate_is_as_thick_as_it_says() -> None:
    sheet = plate([(-20, -20, 0), (20, -20, 0), (20, 20, 0), (-20, 20, 0)], 6, 2, 1, 0.5)
    total = paths(Bone("sheet", (sheet,)), on=canvas())
    assert total[80, 80] == pytest.approx(2 + 0.5 * 4, rel=0.02)
    assert total[2, 2] == 0


def test_fat_attenuates_less_than_muscle() -> None:
    limb = tube(((-60, 0, 0), (60, 0, 0)), ((0, 20, 20, 5, 1), (1, 20, 20, 5, 1)), (0, 1, 0), (0, 0), rough=0.0)
    lean, fat = (add_soft((limb,), canvas(), factor)[80, 80] for factor in (1.0, 0.8))
    assert lean == pytest.approx(40, rel=0.02)
    assert fat == pytest.approx(30 + 0.8 * 10, rel=0.02)


def test_motions_compose_and_mirrors_undo_themselves() -> None:
    point = np.array([3.0, -2.0, 5.0])
    quarter = turn((0, 0, 1), 90, (1, 1, 0))
    np.testing.assert_allclose(quarter.apply(quarter.apply(point)), quarter.after(quarter).apply(point))
    np.testing.assert_allclose(mirror_x().after(mirror_x()).apply(point), point)
    np.testing.assert_allclose(Motion(np.eye(3), point).apply(np.zeros(3)), point)


@pytest.mark.parametrize("seed", range(6))
def test_break_keeps_bone_and_surrounds_it(seed: int) -> None:
    rod = tube(((0, -60, 0), (0, 60, 0)), ROD, caps_mm=(0, 0), rough=0.0)
    bone = Bone("rod", (rod,), (site(rod, 0.5, moving_end=1),))
    scene = Scene((bone,), (), (), np.zeros(3), 150.0, 5.0, "ROD")
    broken = break_bone(scene, np.random.default_rng(seed))
    names = [part.name for part in broken.scene.bones]
    assert names[:2] == ["rod", "rod fragment"]
    on = canvas(320)
    intact, apart = paths(bone, on=on), paths(*broken.scene.bones, on=on)
    assert apart.sum() == pytest.approx(intact.sum(), rel=0.08), "what is broken is not lost"
    low, high = on.to_px(broken.marks_mm).min(axis=0), on.to_px(broken.marks_mm).max(axis=0)
    change = np.abs(apart - intact)
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert low[0] <= x <= high[0]
    assert low[1] - 4 <= y <= high[1] + 4
