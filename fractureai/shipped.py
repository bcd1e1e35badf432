"""Where the models that came with this installation are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped_models() -> Path:
    """Find the folder of models: within the package where it was installed, beside it in a checkout."""
    within = Path(str(files("fractureai"))) / "models"
    return within if within.is_dir() else Path(__file__).resolve().parents[1] / "models"
