"""The check of an image's declared extent, the same for every format."""

from __future__ import annotations

from fractureai.errors import RejectedInput
from fractureai.imaging.limits import DecodeLimits


def check_extent(height_px: int, width_px: int, limits: DecodeLimits) -> None:
    """Refuse extents outside the limits.

    Raises
    ------
    RejectedInput
        ``too_small`` or ``too_many_pixels``, with the extent.
    """
    extent = f"{width_px} × {height_px} px"
    if min(height_px, width_px) < limits.min_side_px:
        raise RejectedInput("too_small", extent)
    if height_px * width_px > limits.max_pixels:
        raise RejectedInput("too_many_pixels", extent)
