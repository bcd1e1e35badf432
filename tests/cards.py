"""Model cards for tests: valid, with the numbers a test wants."""

from __future__ import annotations

from typing import Any

from fractureai.domain.card import ModelCard

_COMMON: dict[str, Any] = {
    "version": "0.0.0",
    "files": {"model.xml": {"sha256": "0" * 64, "size_bytes": 1}},
    "intended_use": "tests",
    "limits": ["tests only"],
    "licence": "Apache-2.0",
    "data": {"name": "none", "citation": "none", "licence": "none"},
    "training": {},
    "metrics": {},
    "input": {"size_px": 64},
}


def region_card(*, scope_threshold: float = 0.5, min_region_probability: float = 0.8) -> ModelCard:
    """A region classifier of two regions."""
    scope = {
        "file": "scope.npz",
        "method": "test",
        "threshold": scope_threshold,
        "min_region_probability": min_region_probability,
        "accepted_share": 0.95,
    }
    own = {"name": "region", "task": "region", "classes": ["elbow", "hand"], "calibration": {"method": "temperature"}}
    return ModelCard.model_validate(_COMMON | own | {"scope": scope})


def fracture_card(region: str = "hand", *, suspected: float = 0.2, fracture: float = 0.6) -> ModelCard:
    """A fracture model with the given thresholds."""
    own = {
        "name": f"fracture-{region}",
        "task": "fracture",
        "region": region,
        "classes": ["fracture"],
        "calibration": {"method": "platt"},
        "operating_points": {
            "suspected": _point(suspected, "missed_fractures"),
            "fracture": _point(fracture, "false_alarms"),
        },
    }
    return ModelCard.model_validate(_COMMON | own)


def _point(threshold: float, rate: str) -> dict[str, Any]:
    return {"threshold": threshold, "rate": rate, "bound": 0.2, "confidence": 0.9, "observed": 0.1, "images": 10}
