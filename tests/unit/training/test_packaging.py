"""A packaged model is one the registry takes, and it says that nothing is fitted yet."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from fractureai.inference.openvino_engine import openvino_engine  # noqa: E402
from fractureai.inference.registry import ModelRegistry  # noqa: E402
from fractureai.training import network as net  # noqa: E402
from fractureai.training.architecture import NetworkSpec, shared_outputs  # noqa: E402
from fractureai.training.datasets.values import Dataset, Sample  # noqa: E402
from fractureai.training.packaging import image_counts  # noqa: E402
from fractureai.training.runs import WEIGHTS, RunFolder  # noqa: E402
from fractureai.training.train_commands import train  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.timeout(400),
]


def test_the_registry_takes_what_was_packaged(tmp_path: Path) -> None:
    regions = ["elbow", "hand"]
    outputs = shared_outputs(regions)
    run = RunFolder(
        tmp_path / "run",
        {"task": "shared", "regions": regions, "outputs": outputs, "height_px": 64, "width_px": 32},
    )
    net.save_weights(net.build(NetworkSpec(tuple(outputs), tuple(regions))), run.path / WEIGHTS, half=False)
    arguments = ["package", str(run.path), "--out", str(tmp_path / "models"), "--version", "1.2.3"]
    result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    registry = ModelRegistry(tmp_path / "models", openvino_engine(threads=1))
    assert [card.name for card, _ in registry.cards()] == ["fracture-elbow", "fracture-hand", "region"]
    card = next(card for card, _ in registry.cards() if card.region == "hand")
    assert card.operating_points is not None
    assert (card.version, card.operating_points.fracture.threshold) == ("1.2.3", 1.0)
    assert (card.network.logits, card.network.cells) == ([3], 1)
    registry.verify("fracture-hand")
    reader = registry.fracture("hand")
    assert reader is not None
    found = reader.interpret(registry.region().read(np.random.default_rng(0).integers(0, 255, (90, 70), np.uint8)))
    assert 0 <= found.probability <= 1


def test_the_card_counts_the_images_of_every_part() -> None:
    samples = tuple(
        Sample(Path(f"{number}.png"), str(number), region, fractured, split, str(number))
        for number, (region, fractured, split) in enumerate(
            [("hand", True, "train"), ("hand", False, "train"), ("leg", False, "train"), ("leg", True, "test")]
        )
    )
    dataset = Dataset("Drawn", samples)
    counts = image_counts(dataset)
    everything = counts[None]
    assert (everything["train hand"], everything["train leg"], everything["test hand"]) == (2, 1, 0)
    leg = counts["leg"]
    assert (leg["train normal"], leg["train fractured"], leg["test fractured"], leg["val normal"]) == (1, 0, 1, 0)
