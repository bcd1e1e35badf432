"""From path lengths to a radiograph: Beer-Lambert attenuation, scatter, blur, quantum noise, display, collimation.

Attenuation coefficients are NIST's (XCOM, ICRU-44 tissues) at the effective energy of a limb exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fractureai.phantoms.project import Image

MAX_VALUE = 4095
#: Linear attenuation per mm at 40 keV (50-60 kVp beam): cortical bone 0.6655 cm2/g x 1.92 g/cm3; muscle 0.2688 x 1.05.
CORTEX_PER_MM = 0.1278
MUSCLE_PER_MM = 0.0282
#: Adipose tissue (0.2396 cm2/g x 0.95 g/cm3) relative to muscle.
FAT_TO_MUSCLE = 0.81


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one picture is taken and shown.

    ``quanta_per_mm2`` detected in air; ``scatter`` share of the primary signal; ``blur_mm`` focal spot and detector;
    ``gain`` stretches the display range; ``toe`` grey of air, 0..1; ``gamma`` of the display curve;
    ``hardness`` scales attenuation; ``equalisation`` 0..1 is how much of the coarse level the display takes away.
    """

    quanta_per_mm2: float
    scatter: float
    blur_mm: float
    gain: float
    toe: float
    gamma: float
    hardness: float
    equalisation: float


def draw_exposure(rng: np.random.Generator, beam: float, attenuation: float) -> Exposure:
    """A plausible exposure and display.

    ``attenuation``: ``-ln(I / I0)`` of the middling soft tissue, for which automatic exposure control compensates.
    """
    control = np.exp(min(max(attenuation - 1.0, 0.0), 4.0))
    return Exposure(
        quanta_per_mm2=float(np.exp(rng.uniform(np.log(2.0e4), np.log(1.6e5))) * control),
        scatter=float(rng.uniform(0.05, 0.25)),
        blur_mm=float(rng.uniform(0.12, 0.28)),
        gain=float(rng.uniform(0.85, 1.15)),
        toe=float(rng.uniform(0.02, 0.10)),
        gamma=float(rng.uniform(0.8, 1.15)),
        hardness=float(beam * rng.uniform(0.9, 1.06)),
        equalisation=float(rng.uniform(0.05, 0.4) if beam > 0.9 else rng.uniform(0.4, 0.6)),
    )


def log_signal(cortex_mm: Image, muscle_mm: Image, pixel_mm: float, exposure: Exposure) -> Image:
    """Noise-free ``-ln(I / I0)`` of a detector behind the given paths, ``(H, W)`` float32.

    ``cortex_mm``: cortex-equivalent path of bone in excess of the soft tissue it displaces.
    """
    attenuation = exposure.hardness * (
        (CORTEX_PER_MM - MUSCLE_PER_MM) * cortex_mm + MUSCLE_PER_MM * np.maximum(muscle_mm, 0)
    )
    primary = np.exp(-attenuation)
    # Scatter is wide and featureless: a coarse grid carries it.
    small = cv2.resize(primary, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), max(12.0 / (8 * pixel_mm), 0.5))
    scattered = cv2.resize(wide, (primary.shape[1], primary.shape[0]), interpolation=cv2.INTER_LINEAR)
    signal = primary + exposure.scatter * scattered * np.minimum(attenuation, 1.0)
    sigma = exposure.blur_mm / pixel_mm
    if sigma > 0.25:
        signal = cv2.GaussianBlur(signal, (0, 0), sigma)
    return -np.log(signal)


def equalise(log_image: Image, pixel_mm: float, exposure: Exposure) -> Image:
    """The coarse level to subtract, ``(H, W)``.

    Multi-scale processing in digital systems shows thick and thin parts in one window so.
    """
    small = cv2.resize(log_image, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), max(22.0 / (8 * pixel_mm), 0.5))
    size = log_image.shape[1], log_image.shape[0]
    return cv2.resize(wide, size, interpolation=cv2.INTER_LINEAR) * np.float32(exposure.equalisation)


def add_noise(log_image: Image, pixel_mm: float, exposure: Exposure, rng: np.random.Generator) -> Image:
    """Quantum noise in the logarithmic image: variance ``1 / (quanta per pixel x I)`` (Poisson, first order)."""
    noise = rng.standard_normal(log_image.shape, dtype=np.float32)
    quanta = exposure.quanta_per_mm2 * pixel_mm**2
    return log_image + noise * np.exp(0.5 * log_image) / np.float32(np.sqrt(quanta))


def display(log_image: Image, top: float, exposure: Exposure) -> Image:
    """Grey values 0..1, bones bright: toe, power curve and a shoulder towards white at ``top``."""
    scaled = np.maximum(log_image * np.float32(exposure.gain / top), 0)
    if exposure.gamma != 1:
        scaled = cv2.pow(scaled, exposure.gamma)
    shoulder = 1.12 * scaled / np.sqrt(1 + np.square(0.85 * scaled)) * 0.97
    return np.minimum(exposure.toe + (1 - exposure.toe) * shoulder, 1)


@dataclass(frozen=True, slots=True)
class Border:
    """Collimation: the exposed field as fractions of width and height, what is shown outside it, and soft edges."""

    left: float
    top: float
    right: float
    bottom: float
    grey: float


def draw_border(rng: np.random.Generator) -> Border:
    """A collimated field: often shuttered black, sometimes open, sometimes left unexposed and so light."""
    kind = rng.choice(3, p=(0.55, 0.3, 0.15))
    if kind == 1:
        return Border(0.0, 0.0, 1.0, 1.0, 0.0)
    margins = rng.uniform(0.005, 0.045, 4) * (rng.random(4) < 0.8)
    return Border(margins[0], margins[1], 1 - margins[2], 1 - margins[3], 0.0 if kind == 0 else rng.uniform(0.75, 0.97))


def collimate(grey: Image, border: Border) -> Image:
    """Cover what lies outside the field, with a penumbra of a few pixels."""
    height, width = grey.shape
    soft = max(height, width) / 400
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)
    across = np.minimum(x - border.left * width, border.right * width - x) / soft + 0.5
    down = np.minimum(y - border.top * height, border.bottom * height - y) / soft + 0.5
    if border.left == border.top == 0 and border.right == border.bottom == 1:
        return grey
    open_ = np.clip(across, 0, 1)[None, :] * np.clip(down, 0, 1)[:, None]
    return grey * open_ + np.float32(border.grey) * (1 - open_)


def stamp_marker(grey: Image, letter: str, rng: np.random.Generator, border: Border) -> Image:
    """Lay a lead letter where the picture is darkest of its corners; returns the same array, changed."""
    height, width = grey.shape
    size = max(height, width)
    scale = size / 1760 * rng.uniform(2.2, 3.6)
    thick = max(1, round(scale * rng.uniform(2.0, 3.2)))
    (wide, tall), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    inset = 0.06 + rng.uniform(0, 0.05)
    columns, rows = (border.left + inset, border.right - inset), (border.top + inset, border.bottom - inset)
    spots = [(u, v) for u in columns for v in rows]
    corner = size // 12

    def brightness(spot: tuple[float, float]) -> float:
        x, y = int(spot[0] * width), int(spot[1] * height)
        return float(grey[max(y - corner, 0) : y + corner, max(x - corner, 0) : x + corner].mean())

    u, v = min(spots, key=brightness)
    mask = np.zeros((height, width), np.uint8)
    spot = (int(u * width - wide / 2), int(v * height + tall / 2))
    cv2.putText(mask, letter, spot, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
    if rng.random() < 0.4:
        x, y, dx = u * width, v * height, wide * 1.1
        cv2.rectangle(
            mask, (int(x - dx), int(y - tall)), (int(x + dx), int(y + tall)), 255, max(1, thick // 2), cv2.LINE_AA
        )
    spin = cv2.getRotationMatrix2D((u * width, v * height), rng.normal(0, 8), 1)
    lead = cv2.warpAffine(mask, spin, (width, height)).astype(np.float32) * np.float32(0.98 / 255)
    return np.maximum(grey, lead, out=grey)
