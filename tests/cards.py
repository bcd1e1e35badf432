"""Model cards for tests: valid, with the numbers a test wants."""

from __future__ import annotations

from typing import Any

from fractureai.domain.card import ModelCard, NetworkCard

_COMMON: dict[str, Any] = {
    "version": "0.0.0",
    "intended_use": "tests",
    "limits": ["tests only"],
    "licence": "Apache-2.0",
    "data": {"name": "none", "citation": "none", "licence": "none"},
    "training": {},
    "metrics": {},
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
    own = {
        "name": "region",
        "task": "region",
        "classes": ["elbow", "hand"],
        "calibration": {"method": "temperature"},
        "network": {"name": "limbs", "sha256": "0" * 64, "logits": [0, 1]},
        "files": {"scope.npz": {"sha256": "0" * 64, "size_bytes": 1}},
    }
    return ModelCard.model_validate(_COMMON | own | {"scope": scope})


def fracture_card(region: str = "hand", *, suspected: float = 0.2, fracture: float = 0.6) -> ModelCard:
    """A fracture model with the given thresholds."""
    own = {
        "name": f"fracture-{region}",
        "task": "fracture",
        "region": region,
        "classes": ["fracture"],
        "calibration": {"method": "platt"},
        "network": {"name": "limbs", "sha256": "0" * 64, "logits": [2]},
        "operating_points": {
            "suspected": _point(suspected, "missed_fractures"),
            "fracture": _point(fracture, "false_alarms"),
        },
    }
    return ModelCard.model_validate(_COMMON | own)


def _point(threshold: float, rate: str) -> dict[str, Any]:
    return {"threshold": threshold, "rate": rate, "bound": 0.2, "confidence": 0.9, "observed": 0.1, "images": 10}


def network_card(outputs: int = 3, *, localised: int = 0, second_view: str = "none") -> NetworkCard:
    """A network on a canvas of 96 × 64 px."""
    return NetworkCard.model_validate(
        {
            "name": "limbs",
            "version": "0.0.0",
            "input": {"height_px": 96, "width_px": 64, "second_view": second_view},
            "outputs": [f"output {number}" for number in range(outputs)],
            "localised": [f"region {number}" for number in range(localised)],
            "files": {"model.xml": {"sha256": "0" * 64, "size_bytes": 1}},
            "licence": "Apache-2.0",
        }
    )
