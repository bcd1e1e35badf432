"""What an untrusted file may cost, in one table; checked before the cost is paid."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

MIB = 1024 * 1024
GIB = 1024 * MIB


def _must_be_positive(limits: DecodeLimits | ArchiveLimits) -> None:
    for item in fields(limits):
        if not getattr(limits, item.name) > 0:
            raise ValueError(f"{item.name} must be positive, got {getattr(limits, item.name)}")


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits on one image file.

    Attributes
    ----------
    max_bytes:
        Size of the file, and of what a deflated DICOM file may inflate to.
    max_pixels:
        Rows times columns, read from the header before any pixel is.
    min_side_px:
        Below this no bone can be read.
    max_frames:
        Frames of a DICOM object.
    long_side_px:
        Long side of the decoded image; larger ones are shrunk to it.
    timeout_s:
        Wall-clock time for one file; then the child is killed.
    memory_bytes:
        Address space of the child (``RLIMIT_AS``); about 0.3 GiB of it is taken by libraries, mostly untouched.
    files_per_child:
        The child is replaced after so many files, so that what leaks in a decoder does not add up.
    """

    max_bytes: int = 256 * MIB
    max_pixels: int = 40_000_000
    min_side_px: int = 32
    max_frames: int = 1
    long_side_px: int = 1024
    timeout_s: float = 20.0
    memory_bytes: int = 3 * GIB // 2
    files_per_child: int = 500

    def __post_init__(self) -> None:
        _must_be_positive(self)

    def to_json(self) -> dict[str, float]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits on one ZIP.

    Attributes
    ----------
    max_members:
        Entries of the directory, junk included.
    max_unpacked_bytes:
        Declared sizes of all members together.
    max_member_bytes:
        One member, counted while it is read.
    max_ratio:
        Unpacked to packed size of one member; deflate cannot exceed 1032, an honest radiograph stays below 100.
    ratio_from_bytes:
        Small members are exempt from the ratio: a black picture of 1 MB is no bomb.
    max_depth:
        Folders in a member's name.
    max_directory_bytes:
        Size of the central directory, which is read into memory whole.
    """

    max_members: int = 20_000
    max_unpacked_bytes: int = 8 * GIB
    max_member_bytes: int = 256 * MIB
    max_ratio: float = 500.0
    ratio_from_bytes: int = 16 * MIB
    max_depth: int = 32
    max_directory_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        _must_be_positive(self)
