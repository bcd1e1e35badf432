"""The shared training in Keras, end to end on a few pictures."""

from pathlib import Path

import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from fractureai.training import fit_shared  # noqa: E402
from fractureai.training import network as net  # noqa: E402
from fractureai.training.augment import FRACTURE, INTACT, UNSURE, Recipe  # noqa: E402
from fractureai.training.batches import BalancedSource, Batch  # noqa: E402
from fractureai.training.initial import read_initial  # noqa: E402
from fractureai.training.losses import OutsideLoss, region_targets  # noqa: E402
from fractureai.training.pictures import NO_REGION, Picture  # noqa: E402
from fractureai.training.runs import RunFolder  # noqa: E402
from fractureai.training.schedule import Stage  # noqa: E402

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `.*` layer|Your `PyDataset`|Even though the `tf.config:UserWarning"),
]


def _source() -> BalancedSource:
    rng = np.random.default_rng(1)
    nothing = np.zeros((0, 4), np.float32)
    real = [Picture(rng.integers(0, 255, (40, 30), np.uint8), n // 2 % 2, bool(n % 2), nothing) for n in range(8)]
    return BalancedSource(real, (), [Picture(real[0].pixels, NO_REGION, False, nothing)], foreign_every=4)


def test_trains_exports_and_starts_again_from_the_parts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, {"seed": 0})
    stages = [Stage(Recipe(32, 32, whole=True), steps=1, batch_size=4, rate=1e-3, decay=True)]
    network = fit_shared.train_shared(_source(), ("elbow", "hand"), stages, run, verbose=0)
    assert [row["stage"] for row in run.rows()] == ["0"]
    names = [path.name for path in fit_shared.export_parts(network, ("elbow", "hand"), tmp_path)]
    assert names == ["region.h5", "fracture-elbow.h5", "fracture-hand.h5"]
    trained = {name: np.array(weight.numpy()) for name, weight in net.stored_variables(network).items()}
    with h5py.File(tmp_path / "fracture-hand.h5") as file:
        np.testing.assert_array_equal(file["head/kernel"], trained["fracture_cells/kernel"][:, 1:])
        np.testing.assert_array_equal(file["stem_conv/kernel"], trained["stem_conv/kernel"])
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    fit_shared.start_from(network, read_initial(tmp_path, ("elbow", "hand")), ("elbow", "hand"))
    for name, weight in net.stored_variables(network).items():
        expected = np.zeros_like(trained[name]) if name.startswith("dense_cells") else trained[name]
        np.testing.assert_array_equal(weight.numpy(), expected)


def test_targets_count_what_is_certain() -> None:
    cells = np.array([[[FRACTURE, UNSURE]], [[INTACT, INTACT]], [[UNSURE, UNSURE]]], np.float32)
    batch = Batch(
        image=np.zeros((3, 32, 64, 1), np.float32),
        region=np.array([1, 0, NO_REGION], np.int32),
        fractured=np.array([1, 1, 0], np.float32),
        weight=np.array([1, 0, 0], np.float32),
        cells=cells,
    )
    found = fit_shared.targets(batch, 2)
    assert found["fracture"].tolist() == [[-1, 1], [-1, -1], [-1, -1]]
    assert found["region"].tolist() == [[0, 1], [1, 0], [0.5, 0.5]]
    assert (found["dense"][2] == -1).all()


def test_the_outside_loss_falls_when_the_logit_comes_from_the_box() -> None:
    cells = np.array([[[FRACTURE, INTACT, UNSURE]], [[INTACT, INTACT, INTACT]]], np.float32)
    target = region_targets(np.array([0, 0], np.int32), cells, 1)
    logits = np.array([[[[3.0], [1.0], [9.0]]], [[[5.0], [1.0], [1.0]]]], np.float32)
    inside, intact = np.asarray(OutsideLoss(reduction=None)(target, logits))
    assert inside == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-4)
    assert intact == 0
