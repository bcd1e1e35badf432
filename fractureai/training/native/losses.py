"""What the shared training lowers: five losses of one batch, as PyTorch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own custom

from fractureai.training.augment import FRACTURE, UNSURE
from fractureai.training.batches import Batch
from fractureai.training.losses import LABEL_SMOOTHING, REGION_SMOOTHING
from fractureai.training.native.network import SharedNetwork
from fractureai.training.pictures import NO_REGION

SHARES: Mapping[str, float] = MappingProxyType(
    {"fracture": 1.0, "region": 0.4, "cells": 1.0, "sides": 0.3, "peak": 0.2}
)
"""How much each loss counts."""

_FOCUS = 2.0
_FRACTURE_SHARE = 0.6
_FEWEST_CELLS = 4.0


def losses(network: SharedNetwork, batch: Batch) -> dict[str, torch.Tensor]:
    """Every loss by the names of :data:`SHARES`, scalars.

    A picture counts for the fracture logit, and the map's channel, of its own region.
    """
    device = network.head.weight.device
    image, label, weight, cells, sides = (
        torch.from_numpy(part).to(device)
        for part in (batch.image, batch.fractured, batch.weight, batch.cells, batch.sides)
    )
    region = torch.from_numpy(batch.region).long().to(device)
    found = network(image)
    regions = found.logits.shape[1] // 2
    own, some = torch.arange(len(region), device=device), region.clamp(min=0)
    smooth = label * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / 2
    of_cells = found.cells[own, :, :, some]
    # The map's soft maximum says whether there is a fracture, too: that teaches it on pictures without boxes.
    peak = torch.logsumexp(2 * of_cells.flatten(1), 1) / 2
    return {
        "fracture": _weighted(found.logits[own, regions + some], smooth, weight),
        "region": F.cross_entropy(found.logits[:, :regions], _region_target(region, regions)),
        "cells": focal(of_cells, cells),
        "sides": _apart(found.sides, sides, cells),
        "peak": _weighted(peak, smooth, weight),
    }


def focal(logits: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Focal loss (Lin 2017) of cells, per marked cell of the batch; ``UNSURE`` ones do not count."""
    target, counted = (cells == FRACTURE).float(), (cells != UNSURE).float()
    right = torch.sigmoid(torch.where(target > 0, logits, -logits))
    share = torch.where(target > 0, _FRACTURE_SHARE, 1 - _FRACTURE_SHARE)
    cell = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (share * (1 - right) ** _FOCUS * cell * counted).sum() / (target * counted).sum().clamp(min=_FEWEST_CELLS)


def overlap_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - generalised intersection over union (Rezatofighi 2019) of ``(n, 4)`` sides around the same points,
    ``(n,)``.
    """
    shared = _area(torch.minimum(found, wanted))
    union = _area(found) + _area(wanted) - shared
    hull = _area(torch.maximum(found, wanted))
    return 1 - shared / union.clamp(min=1e-6) + (hull - union) / hull.clamp(min=1e-6)


def _area(sides: torch.Tensor) -> torch.Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def _apart(found: torch.Tensor, wanted: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    marked = cells == FRACTURE
    if not marked.any():
        return found.sum() * 0
    return overlap_loss(found[marked], wanted[marked]).mean()


def _weighted(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1)


def _region_target(region: torch.Tensor, regions: int) -> torch.Tensor:
    """Probabilities ``(N, R)``: the region, smoothed; all alike for what is no limb."""
    target = torch.full((len(region), regions), REGION_SMOOTHING / regions, device=region.device)
    known = region != NO_REGION
    target[known, region[known]] += 1 - REGION_SMOOTHING
    target[~known] = 1 / regions
    return target
