"""A packaged model is one the registry takes, and it says that nothing is fitted yet."""

from pathlib import Path

import pytest
from click.testing import CliRunner

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from fractureai.domain.card import parse_card  # noqa: E402
from fractureai.inference.openvino_engine import openvino_engine  # noqa: E402
from fractureai.inference.registry import ModelRegistry  # noqa: E402
from fractureai.training import network as net  # noqa: E402
from fractureai.training.datasets.values import Dataset, Sample  # noqa: E402
from fractureai.training.packaging import image_counts  # noqa: E402
from fractureai.training.train_commands import train  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.timeout(400),
]


def test_the_registry_takes_what_was_packaged(tmp_path: Path) -> None:
    weights = tmp_path / "hand.h5"
    net.save_weights(net.build(net.NetworkSpec(("fracture",))), weights)
    arguments = ["package", str(weights), "--name", "fracture-hand", "--region", "hand", "--size", "64"]
    result = CliRunner().invoke(train, [*arguments, "--out", str(tmp_path / "models")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    card, _ = parse_card((tmp_path / "models" / "fracture-hand" / "card.json").read_bytes())
    assert card.operating_points is not None
    assert card.operating_points.fracture.threshold == 1.0
    registry = ModelRegistry(tmp_path / "models", openvino_engine())
    registry.verify("fracture-hand")


def test_the_card_counts_the_images_of_every_part() -> None:
    samples = tuple(
        Sample(Path(f"{number}.png"), str(number), region, fractured, split, str(number))
        for number, (region, fractured, split) in enumerate(
            [("hand", True, "train"), ("hand", False, "train"), ("leg", False, "train"), ("leg", True, "test")]
        )
    )
    dataset = Dataset("Drawn", samples)
    everything = image_counts(dataset, None)
    assert (everything["train hand"], everything["train leg"], everything["test hand"]) == (2, 1, 0)
    leg = image_counts(dataset, "leg")
    assert (leg["train normal"], leg["train fractured"], leg["test fractured"], leg["val normal"]) == (1, 0, 1, 0)
