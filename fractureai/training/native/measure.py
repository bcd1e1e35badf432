"""How a shared network does on pictures it does not learn from."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from fractureai.training.batches import Batch
from fractureai.training.native.network import SharedNetwork

_AT_ONCE = 16


@torch.no_grad()
def measure(network: SharedNetwork, held_out: Batch) -> dict[str, float]:
    """Fracture AUC averaged over the regions, of the logit and of the map's peak; accuracy of the region."""
    network.eval()
    device = network.head.weight.device
    parts = []
    for first in range(0, len(held_out.image), _AT_ONCE):
        found = network(torch.from_numpy(held_out.image[first : first + _AT_ONCE]).to(device))
        parts.append((found.logits.cpu(), found.cells.amax((1, 2)).cpu()))
    logits, peak = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    regions = peak.shape[1]
    return {
        "val_auc": _macro(logits[:, regions:], held_out),
        "val_auc_map": _macro(peak, held_out),
        "val_region_accuracy": float(np.mean(logits[:, :regions].argmax(1) == held_out.region)),
    }


def _macro(logits: np.ndarray, held_out: Batch) -> float:
    values = []
    for place in np.unique(held_out.region):
        own = held_out.region == place
        label = held_out.fractured[own] > 0
        if label.any() and not label.all():
            values.append(roc_auc_score(label, logits[own, place]))
    return float(np.mean(values)) if values else float("nan")
