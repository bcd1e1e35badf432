"""The commands end to end, on a tiny network and a few drawn pictures in the layout of a hospital's table."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import openvino
import openvino.opset13 as ops
import pytest
from click.testing import CliRunner

from fractureai.domain.card import ModelCard, parse_card
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from fractureai.inference.scope import ScopeModel, save_scope
from fractureai.training.evaluation_commands import calibrate_command, evaluate_command, fit_scope_command
from tests.small_models import file_entry

SIDE_PX = 64
NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


def _network(folder: Path) -> str:
    """Four features: mean brightness of the quarters of the canvas; attention in cells of 32 px by 32 px.

    Logits: hand, leg, and a fracture for each. Returns the hash of its card.
    """
    weights = np.array([[0.1, -0.1], [0.1, -0.1], [-0.1, 0.1], [-0.1, 0.1]])
    fracture = np.array([[0.1], [-0.1], [0.1], [-0.1]])
    kernel = np.concatenate([weights, fracture, fracture], axis=1).astype(np.float32)
    image = ops.parameter([-1, SIDE_PX, SIDE_PX, 1], np.float32, name="image")
    cells = ops.avg_pool(ops.transpose(image, ops.constant([0, 3, 1, 2])), [32, 32], [0, 0], [0, 0], [32, 32], True)
    features = ops.reshape(cells, ops.constant([0, 4]), True)
    logits = ops.matmul(features, ops.constant(kernel), False, False)
    attention = ops.reshape(ops.concat([cells] * 4, 1), ops.constant([0, 2, 2, 4]), True)
    model = openvino.Model([logits, attention, features], [image], "tiny")
    model.inputs[0].get_tensor().set_names({"image"})
    for port, name in zip(model.outputs, ("logits", "attention", "features"), strict=True):
        port.get_tensor().set_names({name})
    folder.mkdir(parents=True)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    card = {
        "name": folder.name,
        "version": "1.0.0",
        "input": {"height_px": SIDE_PX, "width_px": SIDE_PX},
        "outputs": ["region hand", "region leg", "fracture hand", "fracture leg"],
        "files": {path.name: file_entry(path) for path in sorted(folder.iterdir())},
        "licence": "Apache-2.0",
    }
    (folder / "network.json").write_text(json.dumps(card))
    return hashlib.sha256((folder / "network.json").read_bytes()).hexdigest()


def _card(folder: Path, network: str, logits: list[int], **about: object) -> None:
    common = {
        "name": folder.name,
        "version": "1.0.0",
        "network": {"name": "tiny", "sha256": network, "logits": logits},
        "files": {path.name: file_entry(path) for path in sorted(folder.iterdir())},
        "intended_use": "Tests.",
        "limits": ["It knows nothing."],
        "licence": "Apache-2.0",
        "data": {"name": "Drawn", "citation": "", "licence": ""},
        "training": {},
        "metrics": {"kept": 1, "test": {"auc": 1}},
    }
    (folder / "card.json").write_text(json.dumps(common | about))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Hands bright above, legs bright below; a fracture is a bright spot on the left. Labels are noisy."""
    root = tmp_path_factory.mktemp("data")
    rng, lines, boxes = np.random.default_rng(0), [], []
    for number in range(180):
        region, fractured = ("hand", "leg")[number % 2], bool(rng.random() < 0.4)
        picture = rng.normal(40, 6, (64, 64))
        picture[:32] += 120 * (region == "hand")
        picture[32:] += 120 * (region == "leg")
        picture[:, :32] += rng.normal(12 * fractured, 6)
        name = f"{number}.png"
        cv2.imwrite(str(root / name), np.clip(picture, 0, 255).astype(np.uint8))
        split = ("train", "val", "test")[number // 2 % 3]
        lines.append({"file": name, "region": region, "fractured": int(fractured), "patient": f"p{number // 2}",
                      "split": split, "view": "frontal"})  # fmt: skip
        if fractured:
            boxes.append({"image_id": name, "x0_px": 0, "y0_px": 0, "x1_px": 32, "y1_px": 32})
    for name, rows in (("samples.csv", lines), ("boxes.csv", boxes)):
        with (root / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return root


@pytest.fixture
def models(tmp_path):
    root = tmp_path / "models"
    point = {"bound": 0.5, "confidence": 0.5, "observed": 0.0, "images": 1}
    points = {
        "fracture": point | {"threshold": 0.6, "rate": "false_alarms"},
        "suspected": point | {"threshold": 0.4, "rate": "missed_fractures"},
    }
    network = _network(root / "tiny")
    for column, region in enumerate(("hand", "leg"), start=2):
        folder = root / f"fracture-{region}"
        folder.mkdir(parents=True)
        _card(folder, network, [column], task="fracture", region=region, classes=["fracture"], operating_points=points,
              calibration={"method": "platt"})  # fmt: skip
    folder = root / "region"
    folder.mkdir()
    arrays = (np.zeros(4, np.float32), np.eye(4, 2, dtype=np.float32), np.eye(4, 2, dtype=np.float32))
    save_scope(folder / "scope.npz", ScopeModel(*arrays, np.zeros((3, 2), np.float32), 2, 1.0))
    rule = {"file": "scope.npz", "method": "", "threshold": -99.0, "min_region_probability": 0.5, "accepted_share": 1.0}
    _card(
        folder,
        network,
        [0, 1],
        task="region",
        classes=["hand", "leg"],
        scope=rule,
        calibration={"method": "temperature"},
    )
    return root


def _run(command, *arguments) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _read(models: Path, name: str):
    return parse_card((models / name / "card.json").read_bytes(), ModelCard)[0]


def test_evaluate_prints_and_writes_figures_pages_and_plots(drawn, models, tmp_path):
    told = _run(evaluate_command, drawn, "--models", models, "--split", "test", "--resamples", 20,
                "--json", tmp_path / "all.json", "--write-cards")  # fmt: skip
    assert "choose nothing on it" in told
    assert "macro_auc" in told
    figures = json.loads((tmp_path / "all.json").read_text())
    assert figures["region"]["accuracy"]["value"] == 1.0
    card = _read(models, "fracture-hand")
    assert card.metrics["test"] == figures["fracture-hand"]
    assert card.metrics["kept"] == 1
    assert card.metrics["test"]["groups"]["view=frontal"]["images"] == 30
    page = (models / "fracture-hand" / "README.md").read_text()
    assert "Not for diagnostic use" in page
    assert f"{card.metrics['test']['auc']['value']:.3f}" in page
    for name in ("roc", "precision-recall", "reliability", "scores", "confusion"):
        assert (models / "fracture-hand" / "plots" / f"{name}.png").stat().st_size > 2000
        assert f"plots/{name}.png" in page
    assert (models / "region" / "plots" / "confusion.png").is_file()
    ModelRegistry(models, openvino_engine(threads=1)).verify("fracture-hand")


def test_calibrate_writes_new_cards_beside_the_same_weights(drawn, models, tmp_path):
    out = tmp_path / "mine"
    told = _run(calibrate_command, "--data", drawn, "--models", models, "--out", out)
    assert "slope" in told
    old, new = _read(models, "fracture-hand"), _read(out, "fracture-hand")
    assert new.files == old.files
    assert new.version.startswith("1.0.0+site.")
    assert new.calibration.images == 60  # train and val: a foreign data set, of which the test split is kept
    assert new.calibration.slope != 1.0
    assert "test" not in new.metrics
    assert new.operating_points.suspected.threshold <= new.operating_points.fracture.threshold
    assert _read(out, "region").calibration.temperature != 1.0
    ModelRegistry(out, openvino_engine(threads=1)).warm()
    again = tmp_path / "again"
    _run(calibrate_command, "--data", drawn, "--models", out, "--out", again)
    fitted, refitted = new.calibration, _read(again, "fracture-hand").calibration
    assert refitted.slope == pytest.approx(fitted.slope, rel=0.02)
    assert refitted.intercept == pytest.approx(fitted.intercept, rel=0.05)


def test_calibrate_reads_every_image_by_the_fold_that_has_not_seen_it(drawn, models):
    folds = [argument for _ in range(3) for argument in ("--fold", models)]
    _run(calibrate_command, "--data", drawn, "--models", models, *folds, "--keep-version", "--missed", "0.2")
    card = _read(models, "fracture-leg")
    assert (card.version, card.calibration.images) == ("1.0.0", 60)
    assert "3 of 3 folds" in card.calibration.fitted_on


def test_evaluate_varies_the_pictures(drawn, models, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    lines = (drawn / "samples.csv").read_text().splitlines()
    (few / "samples.csv").write_text("\n".join([lines[0], *[line for line in lines[1:] if ",test," in line][:12]]))
    for line in lines[1:]:
        name = line.split(",")[0]
        (few / name).symlink_to(drawn / name)
    _run(evaluate_command, few, "--models", models, "--split", "test", "--resamples", 20, "--robustness", 12,
         "--json", tmp_path / "all.json")  # fmt: skip
    table = json.loads((tmp_path / "all.json").read_text())["region"]["robustness"]
    assert {"as it is", "turned by 90°", "1/2 of the grey scale", "framed in white"} <= set(table)
    assert all(0 <= row["region_accuracy"] <= 1 for row in table.values())


def test_fit_scope_writes_the_rule_and_its_figures(drawn, models, tmp_path):
    shutil.copy(models / "region" / "scope.npz", tmp_path / "before.npz")
    told = _run(fit_scope_command, "--data", drawn, "--models", models, "--phantoms", 6, "--exposure", 2)
    card = _read(models, "region")
    assert (models / "region" / "scope.npz").read_bytes() != (tmp_path / "before.npz").read_bytes()
    assert card.metrics["scope"]["auc"] > 0.9
    assert card.scope.accepted_share >= 0.95
    assert "accepted_by_kind" in told
    model = ModelRegistry(models, openvino_engine(threads=1)).region()
    reading = model.interpret(model.read(np.zeros((50, 50), np.uint8)))
    assert reading.scope_score < card.scope.threshold


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["elbow", "hand", "shoulder", "parts"])
def test_notebooks_run_from_top_to_bottom(drawn, models, name, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel", reason="the notebooks need a kernel")
    monkeypatch.setenv("FRACTUREAI_NOTEBOOK_DATA", str(drawn))
    monkeypatch.setenv("FRACTUREAI_NOTEBOOK_MODELS", str(models))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    for cell in notebook.cells:  # The drawn set has hands and legs only.
        cell.source = cell.source.replace(f'REGION = "{name}"', 'REGION = "hand"')
    nbclient.NotebookClient(notebook, timeout=90, kernel_name="python3").execute(cwd=str(NOTEBOOKS))
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "fractureai train" in printed
