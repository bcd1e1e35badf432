"""A picture file's samples as they are stored, and how they become the grey codes of a radiograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput
from fractureai.imaging import grayscale
from fractureai.imaging.colour import grey_of_colour
from fractureai.imaging.geometry import fit_square, upright, upright_aspect
from fractureai.imaging.grayscale import Grey, Values
from fractureai.imaging.picture_tags import PictureTags


@dataclass(frozen=True, slots=True, eq=False)
class StoredPicture:
    """Samples without any conversion.

    Attributes
    ----------
    values:
        ``(H, W)`` or ``(H, W, C)`` uint8 or uint16; 1 or 3 channels, and one more if there is alpha.
    bits:
        Of the scale: 12 bits may be stored in 16.
    is_luma_first:
        Whether three channels are luma and chroma, not red, green and blue.
    is_inverted:
        Whether 0 is white.
    is_premultiplied:
        Whether the alpha is in the samples already.
    """

    values: npt.NDArray[Any] = field(repr=False)
    bits: int
    is_luma_first: bool = False
    is_inverted: bool = False
    is_premultiplied: bool = False
    tags: PictureTags = field(default_factory=PictureTags)

    def codes(self) -> Values:
        """``(H, W)``, transparent pixels 0. Raises ``RejectedInput`` (``colour_image``)."""
        values = self.values if self.values.ndim == 3 else self.values[..., None]
        channels = values.shape[-1] - (values.shape[-1] + 1) % 2
        grey: Values = np.ascontiguousarray(values[..., 0])
        if channels > 1:
            grey = grey_of_colour(values[..., :channels], luma_first=self.is_luma_first, bits=self.bits)
        if values.shape[-1] > channels and not self.is_premultiplied:
            grey = _over_black(grey, values[..., -1], (1 << self.bits) - 1)
        return grey

    def picture(self, long_side_px: int) -> tuple[Grey, tuple[int, int]]:
        """The upright picture at its final size, and height and width of the upright source.

        Raises
        ------
        RejectedInput
            ``colour_image``, ``blank_image``, ``under_exposed``.
        """
        codes = upright(self.codes(), self.tags.orientation)
        if grayscale.is_blank(grayscale.grid(codes)):
            raise RejectedInput("blank_image")
        shown = grayscale.every_level(codes.dtype, self.bits)
        grey = grayscale.picture(codes, np.float32(1.0) - shown if self.is_inverted else shown)
        aspect = upright_aspect(self.tags.aspect, self.tags.orientation)
        return fit_square(grey, aspect, long_side_px), (codes.shape[0], codes.shape[1])


def _over_black(grey: Values, alpha: npt.NDArray[Any], opaque: int) -> Values:
    """Alpha that is the same everywhere hides nothing: some exporters leave it at 0."""
    if alpha.min() == alpha.max():
        return grey
    return ((grey.astype(np.uint32) * alpha + opaque // 2) // opaque).astype(grey.dtype)  # type: ignore[no-any-return]
