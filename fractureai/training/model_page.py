"""The readable page of a model: its card in words and tables, written beside it as ``README.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fractureai.domain.card import ModelCard, OperatingPoint, in_a_hundred

_NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "sensitivity_suspected": "sensitivity, `suspected` or more",
    "specificity_suspected": "specificity, `suspected` or more",
    "sensitivity_fracture": "sensitivity, `fracture`",
    "specificity_fracture": "specificity, `fracture`",
    "kappa": "Cohen's kappa, `fracture`",
    "ece": "expected calibration error (10 bins of equal mass)",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "accepted": "share of limb radiographs accepted",
    "macro_auc": "AUC of fractures, macro average of the regions",
    "pooled_auc": "AUC of fractures, all regions pooled",
    "pooled_average_precision": "average precision, pooled",
    "pooled_ece": "expected calibration error, pooled",
    "pooled_brier": "Brier score, pooled",
    "box_centre_in_fracture": "centre of the most probable box in a marked fracture",
    "attention_peak_in_fracture": "attention's peak in a marked fracture",
    "image_centre_in_fracture": "centre of the image in a marked fracture (baseline)",
    "box_overlap": "overlap of the most probable box and a marked fracture (IoU)",
    "suspected_share": "share of all images called `suspected`",
    "fracture_share": "share of all images called `fracture`",
    "suspected_lift": "fractured among `suspected`, against fractured among all",
    "fractures_flagged": "share of fractured images called at least `suspected`",
    "normal_flagged": "share of normal images called at least `suspected`",
    "no_fracture_wrong": "share of `no fracture` that are fractured",
}


def model_page(card: ModelCard, plots: Sequence[str]) -> str:
    """Markdown of a card and the plots beside it. Every figure in it comes from the card."""
    parts = [f"# {card.name} {card.version}", card.intended_use, "**Not for diagnostic use.**"]
    parts += ["## Limits", _bullets(card.limits)]
    parts += ["## Input and calibration", _input(card)]
    if card.operating_points is not None:
        points = (("fracture", card.operating_points.fracture), ("suspected", card.operating_points.suspected))
        parts += ["## Operating points", _points(points)]
    if card.scope is not None:
        parts += ["## Scope", _scope(card)]
    for split in ("test", "val", "train"):
        if isinstance(figures := card.metrics.get(split), Mapping):
            parts += [f"## Measured on `{split}`", *_figures(figures)]
    if plots:
        parts.append("\n".join(f"![{name.removesuffix('.png')}](plots/{name})" for name in plots))
    parts += ["## Data", _data(card), "## Licence of the weights", card.licence]
    return "\n\n".join(part for part in parts if part) + "\n"


def _input(card: ModelCard) -> str:
    fitted = card.calibration
    numbers = (
        f"slope {fitted.slope:.4g}, of the map's peak {fitted.map_slope:.4g}, intercept {fitted.intercept:.4g}"
        if fitted.method == "platt"
        else f"temperature {fitted.temperature:.4g}"
    )
    return (
        f"Network [{card.network.name}](../{card.network.name}). Classes: {', '.join(card.classes)}. Calibration: "
        f"{fitted.method} ({numbers}), on {fitted.images} images ({fitted.fitted_on or 'not told'})."
    )


def _points(points: Iterable[tuple[str, OperatingPoint]]) -> str:
    rows = [
        [
            f"`{name}` from",
            f"{point.threshold:.3f}",
            point.rate.replace("_", " "),
            f"at most {point.bound:.0%} with {point.confidence:.0%} confidence",
            f"{point.observed:.1%} of {point.images}",
            point.method,
        ]
        for name, point in points
    ]
    note = "The bounds hold for images like those they were set on; recalibrate on your own with `models calibrate`."
    return _table(["assessment", "threshold", "bounds", "promise", "observed", "how"], rows) + "\n\n" + note


def _scope(card: ModelCard) -> str:
    rule = card.scope
    if rule is None:
        return ""
    text = (
        f"A picture is read if its familiarity reaches {rule.threshold:.3f} and the region's probability "
        f"{rule.min_region_probability:.2f}: {rule.accepted_share:.1%} of held-out limb radiographs. "
        f"Method: {rule.method}."
    )
    found = card.metrics.get("scope")
    if not isinstance(found, Mapping):
        return text
    text += (
        f"\n\nOn {found['limb_images']} limb radiographs and {found['foreign_images']} other pictures that chose "
        f"nothing: AUC {found['auc_with_confidence']:.3f}; accepted {found['accepted']:.1%} of limbs."
    )
    kinds = [[kind, count] for kind, count in (found["accepted_by_kind"] | found.get("variants", {})).items()]
    return text + "\n\n" + _table(["kind of picture", "accepted"], kinds)


def _figures(figures: Mapping[str, Any]) -> list[str]:
    """Tables of everything measured; nested parts become tables of their own."""
    flat = _flat(figures)
    rows = [[name, _interval(flat[key])] for key, name in _NAMES.items() if isinstance(flat.get(key), Mapping)]
    counts = f"{figures.get('images', 0)} images"
    if "fractured" in figures:
        counts += f", {figures['fractured']} fractured, {figures['blocks']} blocks"
    parts = [f"{counts}; intervals are 95 %, by bootstrap over blocks.", _table(["figure", "value"], rows)]
    if hundred := in_a_hundred(figures):
        parts.insert(0, hundred)
    if froc := flat.get("froc"):
        rows = [[rate, _plain(value)] for rate, value in froc.items()]
        parts.append(_table(["false boxes an image", "sensitivity for marked fractures (IoU at least .1)"], rows))
    if robustness := figures.get("robustness"):
        columns = ["images", "region_accuracy", "accepted", "macro_auc"]
        rows = [[name, *(_plain(row[column]) for column in columns)] for name, row in robustness.items()]
        parts.append(_table(["variation", "images", "region right", "accepted", "macro AUC"], rows))
    if studies := figures.get("study_level"):
        parts.append(_table(["study level (mean of views)", "value"], [[key, str(studies[key])] for key in studies]))
    if groups := figures.get("groups"):
        columns = ["images", "fractured", "auc", "sensitivity_suspected", "specificity_fracture"]
        rows = [[name, *(_plain(group[column]) for column in columns)] for name, group in groups.items()]
        parts.append(_table(["group", *(column.replace("_", " ") for column in columns)], rows))
    if errors := figures.get("worst_errors"):
        told = (f"{name.replace('_', ' ')}: {', '.join(images) or 'none'}" for name, images in errors.items())
        parts.append(f"Worst errors, by image: {'; '.join(told)}.")
    return parts


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with those of nested groups beside them."""
    flat = dict(figures)
    for name in ("localisation", "system", "assessments"):
        if isinstance(flat.get(name), Mapping):
            flat = {**_flat(flat[name]), **{key: value for key, value in flat.items() if key != name}}
    return flat


def _interval(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return _plain(figure["value"])
    return f"{_plain(figure['value'])} ({_plain(figure['low'])} to {_plain(figure['high'])})"


def _plain(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _data(card: ModelCard) -> str:
    sheet = card.data
    counts = ", ".join(f"{name}: {count}" for name, count in sheet.images.items())
    head = f"{sheet.name}. {sheet.citation}. Licence: {sheet.licence}."
    return "\n\n".join(part for part in (head, f"Images: {counts}." if counts else "", _bullets(sheet.remarks)) if part)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
