"""The pixels of a DICOM radiograph: what the header says of them is checked, then they are decoded."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from fractureai.errors import RejectedInput
from fractureai.imaging import grayscale
from fractureai.imaging.codestream import Coding
from fractureai.imaging.colour import grey_of_colour
from fractureai.imaging.decompress import MOST_COMPONENTS, Samples, decompress
from fractureai.imaging.dicom_grayscale import to_grey
from fractureai.imaging.dicom_header import element
from fractureai.imaging.dicom_words import StoredPixels
from fractureai.imaging.extent import check_extent
from fractureai.imaging.grayscale import Grey
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.text import clean

_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
_CODINGS = {
    **dict.fromkeys(JPEGTransferSyntaxes, Coding.JPEG),
    **dict.fromkeys(JPEGLSTransferSyntaxes, Coding.JPEG_LS),
    **dict.fromkeys(JPEG2000TransferSyntaxes, Coding.JPEG_2000),
}
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def read_pixels(dataset: Dataset, limits: DecodeLimits) -> Grey:
    """Decode the one image of a data set and show it, bones bright.

    Returns
    -------
    ``(H, W)`` uint8 on the stored grid.

    Raises
    ------
    RejectedInput
        With the reason. pydicom may raise any built-in type besides.
    """
    _complete(dataset, limits)
    photometric = str(element(dataset, "PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    dataset.PhotometricInterpretation = photometric
    samples = _decoded(dataset, limits)
    if samples.values.itemsize > 2:
        raise RejectedInput("unsupported_encoding", f"{samples.precision} bits per sample")
    if photometric in _MONOCHROME and samples.values.ndim == 2:
        return to_grey(_stored(samples, dataset), dataset)
    return _grey_of_colours(samples, dataset, photometric)


def _complete(dataset: Dataset, limits: DecodeLimits) -> None:
    """Check all that decides the decoder's memory, and fill in what old files omit and decoders demand."""
    frames = int(element(dataset, "NumberOfFrames") or 1)
    if frames > limits.max_frames:
        raise RejectedInput("multi_frame", f"{frames} frames")
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_extent(height, width, limits)
    _infer_bits(dataset, height * width)
    if int(dataset.get("SamplesPerPixel", 1)) not in {1, MOST_COMPONENTS}:
        raise RejectedInput("damaged", "neither one nor three samples per pixel")
    if int(dataset.BitsAllocated) not in {1, 8, 16}:
        raise RejectedInput("unsupported_encoding", f"{int(dataset.BitsAllocated)} bits per sample")
    dataset.SamplesPerPixel = int(dataset.get("SamplesPerPixel") or 1)
    dataset.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    if dataset.PixelRepresentation not in {0, 1}:
        raise RejectedInput("damaged", "neither signed nor unsigned")


def _infer_bits(dataset: Dataset, pixels: int) -> None:
    """Give a file that omits them the bits its pixels take."""
    if element(dataset, "BitsAllocated") is None:
        stored = int(element(dataset, "BitsStored") or 0)
        size_bytes = len(dataset.PixelData)
        is_wide = stored > 8 or (not _transfer_syntax(dataset).is_compressed and size_bytes >= 2 * pixels)
        dataset.BitsAllocated = 16 if is_wide else 8
    if element(dataset, "BitsStored") is None:
        # The decoders demand both.
        dataset.BitsStored = dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1


def _decoded(dataset: Dataset, limits: DecodeLimits) -> Samples:
    coding = _CODINGS.get(_transfer_syntax(dataset))
    if coding is None:
        return _uncompressed(dataset)
    samples = decompress(b"".join(fragments(dataset.PixelData)), coding, limits.max_pixels)
    height, width = samples.values.shape[:2]
    header = (int(dataset.Rows), int(dataset.Columns))
    # A picture that lies in the stream as it is has no other shape than its own; a header that exchanges rows and
    # columns is a known fault of converters. Any other extent may be another picture's header.
    if (height, width) not in {header, header[::-1]}:
        stream = f"{width} × {height} px"
        raise RejectedInput("header_mismatch", f"{header[1]} × {header[0]} px in the header, {stream} in the picture")
    return samples


def _uncompressed(dataset: Dataset) -> Samples:
    """By pydicom, run lengths included; grey words without the corrections that the table makes."""
    is_grey = dataset.PhotometricInterpretation in _MONOCHROME
    decoder = get_decoder(_transfer_syntax(dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, _ = decoder.as_array(dataset, raw=is_grey, view_only=True, correct_unused_bits=False)
    precision = int(dataset.BitsStored)
    return Samples(np.ascontiguousarray(pixels), precision, is_rgb=True)


def _stored(samples: Samples, dataset: Dataset) -> StoredPixels:
    words = samples.values
    allocated = 8 * words.itemsize
    stored, high_bit = samples.precision, samples.precision - 1
    coding = _CODINGS.get(_transfer_syntax(dataset))
    if coding is None:
        stored = 8 if int(dataset.BitsAllocated) == 1 else stored
        high_bit = int(dataset.get("HighBit", stored - 1)) if int(dataset.BitsAllocated) > 1 else 7
    elif coding is Coding.JPEG or int(words.view(f"u{words.itemsize}").max()) < 1 << int(dataset.BitsStored):
        # The stream may be deeper than the values in it: their sign is where the header says. In lossless JPEG the
        # words may be whole ones, whose unused bits may hold anything, as in uncompressed ones.
        stored = min(stored, int(dataset.BitsStored))
        high_bit = stored - 1
    if not 1 <= stored <= allocated:
        raise RejectedInput("damaged", "bits stored do not fit the bits allocated")
    signed = int(dataset.PixelRepresentation) == 1
    return StoredPixels.from_words(words, bits_stored=stored, high_bit=high_bit, signed=signed)


def _grey_of_colours(samples: Samples, dataset: Dataset, photometric: str) -> Grey:
    colours = samples.values
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(colours, dataset)
    if colours.ndim == 2:
        raise RejectedInput("header_mismatch", f"{clean(photometric)[:16]} in the header, grey in the picture")
    if colours.ndim != 3 or colours.shape[-1] != MOST_COMPONENTS or colours.dtype.kind != "u":
        raise RejectedInput("unsupported_encoding", clean(photometric)[:16])
    is_rgb = samples.is_rgb if samples.is_rgb is not None else not photometric.startswith("YBR_FULL")
    bits = 8 * colours.itemsize if photometric == "PALETTE COLOR" else samples.precision
    codes = grey_of_colour(colours, luma_first=not is_rgb, bits=bits)
    if grayscale.is_blank(grayscale.grid(codes)):
        raise RejectedInput("blank_image")
    return grayscale.picture(codes, grayscale.every_level(codes.dtype, bits))


def fragments(value: bytes) -> Iterator[bytes]:
    """The fragments of an encapsulated picture (PS3.5 section A.4), behind the basic offset table.

    Where the sequence's delimiter is missing, or zeros stand in its place, the fragments before it count.

    Raises
    ------
    ValueError
        A fragment is cut off, or what follows one is neither a fragment nor the end.
    """
    for number, (start, end) in enumerate(_items(value)):
        if number:
            yield value[start:end]


def whole_items(value: bytes) -> bytes:
    """The items of an encapsulated picture without what follows the last. Raises ``ValueError`` as above."""
    return value[: max((end for _, end in _items(value)), default=0)]


def _items(value: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while value[at : at + 4] == _ITEM:
        (length,) = struct.unpack_from("<I", value, at + 4)
        at += 8
        if at + length > len(value):
            raise ValueError("a fragment is cut off")
        yield at, at + length
        at += length
    if value[at : at + 4] != _DELIMITER and any(value[at:]):
        raise ValueError("neither a fragment nor the end")


def _transfer_syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax is None:
        raise NotImplementedError("no transfer syntax")
    return syntax
