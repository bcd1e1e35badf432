"""Break one bone of a scene: an oblique ragged plane, a displaced fragment, a gap and sometimes a chip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fractureai.phantoms.shapes import Array, Blob, Bone, BreakSite, Cut, Motion, Plate, Scene, Solid, Tube, blob, turn


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """A scene with its fracture: ``marks_mm`` ``(n, 3)`` surround what moved near the fracture line."""

    scene: Scene
    marks_mm: Array


def _across(site: BreakSite) -> tuple[Array, Array]:
    return site.across, np.cross(site.along, site.across)


def _middle(solid: Solid) -> Array:
    match solid:
        case Tube():
            return solid.points_mm.mean(axis=0)
        case Blob():
            return solid.centre_mm
        case Plate():
            return solid.outline_mm.mean(axis=0)


def _displacement(site: BreakSite, field_mm: float, rng: np.random.Generator) -> Motion:
    """Motion of the moving fragment.

    A step of about 2.5 % of the field across the bone, some shortening or distraction, and angulation about the joint
    beyond, bounded so that the joint stays together.
    """
    first, second = _across(site)
    step_mm = float(np.clip(field_mm * rng.uniform(0.019, 0.032), 0.35 * site.radius_mm, 1.25 * site.radius_mm))
    # Between the axes of the frontal and the lateral view, so that both show the step.
    bearing = np.deg2rad(rng.choice((45, 135, 225, 315)) + rng.uniform(-22, 22))
    direction = np.cos(bearing) * first + np.sin(bearing) * second
    lever_mm = max(float(np.linalg.norm(site.pivot_mm - site.at_mm)), 1.0)
    angle = float(np.clip(np.rad2deg(step_mm / lever_mm), 0, 14)) * rng.uniform(0.7, 1.2)
    # Turning about the joint moves the broken end sideways; translation makes up the rest of the step.
    swing = turn(np.cross(site.along, direction), -angle, site.pivot_mm)
    moved = swing.apply(site.at_mm) - site.at_mm
    rest = max(step_mm - float(moved @ direction), 0.0)
    shift = rest * direction + site.along * rng.uniform(-0.1, 0.25) * step_mm
    return Motion(np.eye(3), shift).after(swing)


def break_bone(scene: Scene, rng: np.random.Generator) -> Broken:
    """Break one of the scene's bones at one of its sites, chosen by ``rng``."""
    choices = [(number, site) for number, bone in enumerate(scene.bones) for site in bone.sites]
    number, site = choices[int(rng.integers(len(choices)))]
    bone = scene.bones[number]
    first, second = _across(site)
    slope = rng.uniform(0.1, 0.75)
    bearing = rng.uniform(0, 2 * np.pi)
    normal = site.along + slope * (np.cos(bearing) * first + np.sin(bearing) * second)
    normal /= np.linalg.norm(normal)
    gap_mm = scene.field_mm * rng.uniform(0.005, 0.010)
    cut = Cut(site.at_mm, normal, 1, gap_mm, rng.uniform(0.5, 1.3), rng.uniform(0, 2 * np.pi, 4))
    move = _displacement(site, scene.field_mm, rng)

    staying: list[Solid] = []
    moving: list[Solid] = []
    for solid in bone.solids:
        height = float((_middle(solid) - site.at_mm) @ site.along)
        if isinstance(solid, Tube) or abs(height) < 1.5 * site.radius_mm:
            staying.append(replace(solid, cuts=(*solid.cuts, replace(cut, side=-1))))
            moving.append(replace(solid, cuts=(*solid.cuts, cut)))
        else:
            (moving if height > 0 else staying).append(solid)
    fragment = Bone(f"{bone.name} fragment", tuple(moving)).moved(move)
    parts = [Bone(bone.name, tuple(staying)), fragment]
    if rng.random() < 0.35:
        parts.append(_chip(site, move, rng))
    bones = (*scene.bones[:number], *parts, *scene.bones[number + 1 :])
    return Broken(replace(scene, bones=bones), _marks(site, slope, move))


def _chip(site: BreakSite, move: Motion, rng: np.random.Generator) -> Bone:
    """A small loose piece of cortex beside the fracture."""
    first, second = _across(site)
    bearing = rng.uniform(0, 2 * np.pi)
    aside = np.cos(bearing) * first + np.sin(bearing) * second
    size = site.radius_mm * rng.uniform(0.25, 0.4)
    centre = (site.at_mm + move.apply(site.at_mm)) / 2 + aside * site.radius_mm * rng.uniform(0.9, 1.2)
    semi = (size * 0.6, size * 1.4, size * 0.6)
    shape = blob(centre, semi, shell_mm=size, core=0.6, tilt_deg=rng.uniform(-50, 50), rng=rng, lumpiness=0.25)
    return Bone("chip", (shape,))


def _marks(site: BreakSite, slope: float, move: Motion) -> Array:
    first, second = _across(site)
    reach = site.radius_mm * (0.8 + slope)
    ring = [
        site.at_mm + site.radius_mm * 1.4 * (np.cos(a) * first + np.sin(a) * second) + site.along * reach * end
        for a in np.linspace(0, 2 * np.pi, 8, endpoint=False)
        for end in (-1, 1)
    ]
    points = np.array(ring)
    return np.vstack([points, move.apply(points)])
