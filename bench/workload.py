"""What is measured with: 2-megapixel phantoms as 12-bit DICOM files, drawn once and kept."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import REGIONS, VIEWS, PhantomSpec, render

HEIGHT_PX, WIDTH_PX = 1600, 1280
DISTINCT = 50
"""So many different files; a longer run sends them again. Nothing that is measured remembers what it has seen."""


def mixed_specs(count: int, seed: int) -> list[PhantomSpec]:
    """Regions in turn, every other one broken, views and persons drawn from ``seed``."""
    choose = random.Random(seed)
    return [
        PhantomSpec(
            region=REGIONS[number % len(REGIONS)],
            view=choose.choice(VIEWS),
            fractured=number // len(REGIONS) % 2 == 1,
            seed=choose.randrange(100_000),
            height_px=HEIGHT_PX,
            width_px=WIDTH_PX,
        )
        for number in range(count)
    ]


def files(count: int, seed: int, folder: Path) -> list[Path]:
    """``count`` DICOM files of one study each, from ``folder`` where they lie already."""
    folder.mkdir(parents=True, exist_ok=True)
    distinct = [_file(spec, folder) for spec in mixed_specs(min(count, DISTINCT), seed)]
    return [distinct[number % len(distinct)] for number in range(count)]


def _file(spec: PhantomSpec, folder: Path) -> Path:
    levels = ("study", "series", "sop")
    uids = {f"{level}_uid": f"2.25.{uuid5(NAMESPACE_OID, f'{level} {spec!r}').int}" for level in levels}
    path = folder / f"{spec.region}-{uuid5(NAMESPACE_OID, repr(spec)).hex[:12]}.dcm"
    if not path.is_file():
        data = to_dicom(render(spec), **uids)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(data)
        unfinished.replace(path)
    return path
