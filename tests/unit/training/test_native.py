"""The native engine: kernels against plain PyTorch, the twin against Keras, a training that resumes or starts warm."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the native engine needs PyTorch (extra `train-native`)")
pytest.importorskip("keras")

from fractureai.training.native.kernels import available  # noqa: E402

if not available():
    pytest.skip("the native engine needs g++ and a CPU with AVX2 and FMA", allow_module_level=True)

from torch.nn import functional  # noqa: E402

from fractureai.errors import BrokenDeployment  # noqa: E402
from fractureai.training import network as net  # noqa: E402
from fractureai.training.architecture import NetworkSpec, shared_outputs  # noqa: E402
from fractureai.training.augment import (  # noqa: E402
    FRACTURE,
    INTACT,
    UNSURE,
    Recipe,
)
from fractureai.training.batches import BalancedSource, Batch  # noqa: E402
from fractureai.training.initial import InitialWeights, read_initial  # noqa: E402
from fractureai.training.native.losses import focal, losses, overlap_loss  # noqa: E402
from fractureai.training.native.network import BatchNorm, SharedNetwork  # noqa: E402
from fractureai.training.native.operations import DepthwiseConv, PointwiseConv, SqueezeExcite, activation_type  # noqa: E402
from fractureai.training.native.shared import CHECKPOINT, train_shared  # noqa: E402
from fractureai.training.native.weights import start_from, write_weights  # noqa: E402
from fractureai.training.pictures import NO_REGION, picture, strangers  # noqa: E402
from fractureai.training.runs import RunFolder  # noqa: E402
from fractureai.training.schedule import Stage  # noqa: E402

# Relative, of bf16's eight bits and of float32.
ROUNDING = {torch.bfloat16: 5e-3, torch.float32: 2e-6}[activation_type()]


def _far(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    with torch.no_grad():
        return float((found.float() - expected.float()).norm() / expected.float().norm())


def _activation(*shape: int) -> "torch.Tensor":
    return torch.randn(*shape).to(activation_type()).requires_grad_()


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_convolution(kernel: int, stride: int) -> None:
    x, weight = _activation(2, 14, 18, 32), torch.randn(kernel**2, 32, requires_grad=True)
    y = DepthwiseConv.apply(x, weight, kernel, stride)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    plain_x, plain_weight = (part.detach().float().requires_grad_() for part in (x, weight))
    half = kernel // 2
    before = half if stride == 1 else half - 1
    padded = functional.pad(plain_x.permute(0, 3, 1, 2), (before, half, before, half))
    kernels = plain_weight.t().reshape(32, 1, kernel, kernel)
    expected = functional.conv2d(padded, kernels, stride=stride, groups=32).permute(0, 2, 3, 1)
    expected.backward(gradient.float())
    assert _far(y, expected) < ROUNDING
    assert _far(x.grad, plain_x.grad) < ROUNDING
    assert _far(weight.grad, plain_weight.grad) < ROUNDING


@pytest.mark.skipif(activation_type() is not torch.float32, reason="with bf16 activations oneDNN does it")
@pytest.mark.parametrize(("rows", "channels", "out"), [(37, 24, 144), (301, 240, 40), (50, 480, 112)])
def test_pointwise_convolution(rows: int, channels: int, out: int) -> None:
    x, weight = torch.randn(1, rows, 1, channels, requires_grad=True), torch.randn(out, channels, requires_grad=True)
    y = PointwiseConv.apply(x, weight)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    plain_x, plain_weight = (part.detach().requires_grad_() for part in (x, weight))
    expected = functional.linear(plain_x, plain_weight)
    expected.backward(gradient)
    assert _far(y, expected) < ROUNDING
    assert _far(x.grad, plain_x.grad) < ROUNDING
    assert _far(weight.grad, plain_weight.grad) < ROUNDING


@pytest.mark.parametrize("active", [False, True])
def test_batch_normalisation(active: bool) -> None:
    layer = BatchNorm(40, active=active)
    layer.gamma.data.uniform_(0.5, 2)
    layer.beta.data.normal_()
    x = _activation(2, 9, 9, 40)
    y = layer(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    plain, gamma, beta = (part.detach().float().requires_grad_() for part in (x, layer.gamma, layer.beta))
    expected = functional.batch_norm(plain.permute(0, 3, 1, 2), None, None, gamma, beta, True, eps=1e-3)
    expected = (functional.silu(expected) if active else expected).permute(0, 2, 3, 1)
    expected.backward(gradient.float())
    pairs = ((y, expected), (x.grad, plain.grad), (layer.gamma.grad, gamma.grad), (layer.beta.grad, beta.grad))
    assert max(_far(*pair) for pair in pairs) < ROUNDING


def test_squeeze_and_excitation() -> None:
    first, second, x = torch.nn.Linear(32, 8), torch.nn.Linear(8, 32), _activation(3, 7, 5, 32)
    y = SqueezeExcite.apply(x, first.weight, first.bias, second.weight, second.bias)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    found = first.weight.grad.clone()
    first.zero_grad()
    plain = x.detach().float().requires_grad_()
    scale = torch.sigmoid(second(functional.silu(first(plain.mean((1, 2))))))
    (plain * scale[:, None, None]).backward(gradient.float())
    assert _far(x.grad, plain.grad) < ROUNDING
    assert _far(found, first.weight.grad) < ROUNDING


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_the_written_weights_make_keras_say_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SharedNetwork(2, drop=0.0)
    images = np.random.default_rng(0).uniform(0, 255, (4, 96, 64)).astype(np.float32)
    # Statistics of these pictures, so that activations neither vanish nor grow.
    for _ in range(60):
        network(torch.from_numpy(images))
    network.eval()
    write_weights(network, tmp_path / "weights.h5")
    outputs = tuple(shared_outputs(("elbow", "hand")))
    twin = net.build(NetworkSpec(outputs, ("elbow", "hand")))
    net.load_weights(twin, tmp_path / "weights.h5")
    with torch.no_grad():
        expected = network(torch.from_numpy(images))
    for found, wanted in zip(twin.predict(images[..., None], verbose=0), expected, strict=True):
        assert np.abs(found - wanted.numpy()).max() < 0.05 * np.abs(wanted.numpy()).max()


def _source() -> BalancedSource:
    rng = np.random.default_rng(1)
    drawn = [picture(rng.integers(0, 255, (64, 48), np.uint8), n // 2 % 2, fractured=bool(n % 2)) for n in range(8)]
    return BalancedSource(drawn, (), strangers(of_each=1))


def test_training_resumes_after_a_kill(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, {"seed": 0})
    recipe = Recipe(64, 32, 64, 32)
    stages = [
        Stage(recipe, steps=1, batch_size=4, rate=1e-3),
        Stage(recipe, steps=1, batch_size=4, rate=1e-3, frozen_stages=2, decay=True),
    ]
    names = shared_outputs(("a", "b"))
    train_shared(_source(), names, stages[:1], run)
    train_shared(_source(), names, stages, run)
    assert [row["step"] for row in run.rows()] == ["1", "2"]
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 2
    assert (tmp_path / "weights.h5").is_file()


def test_frozen_stages_keep_their_weights(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, {"seed": 0})
    stage = Stage(Recipe(64, 32, 64, 32), steps=1, batch_size=4, rate=1e-2, frozen_stages=2)
    torch.manual_seed(0)  # as the training does before it builds the network
    before = {name: value.clone() for name, value in SharedNetwork(2).state_dict().items()}
    train_shared(_source(), shared_outputs(("a", "b")), [stage], run)
    after = torch.load(tmp_path / CHECKPOINT, weights_only=True)["network"]
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any(
        name.startswith(("backbone.stem", "backbone.blocks.block1", "backbone.blocks.block2")) for name in changed
    )
    assert any(name.startswith("backbone.blocks.block3") for name in changed)
    assert any(name.startswith("local.cells") for name in changed)


def test_a_start_takes_over_backbone_and_heads_by_name(tmp_path: Path) -> None:
    torch.manual_seed(1)
    images = torch.rand(2, 64, 64) * 255
    trained, same, other = SharedNetwork(2), SharedNetwork(2), SharedNetwork(2)
    trained(images)  # statistics other than those of a new network
    write_weights(trained, tmp_path / "weights.h5")
    found = read_initial(str(tmp_path), tmp_path)
    names = tuple(shared_outputs(("elbow", "hand")))
    initial = InitialWeights(found.arrays, names, found.origin)
    start_from(same, initial, names)
    with torch.no_grad():
        for one, two in zip(same.eval()(images), trained.eval()(images), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    kept = other.local.cells.weight.detach().clone()
    start_from(other, initial, shared_outputs(("hand", "wrist")))
    torch.testing.assert_close(other.head.weight[0], trained.head.weight[1])
    torch.testing.assert_close(other.head.weight[2], trained.head.weight[3])
    torch.testing.assert_close(other.local.cells.weight, kept)


def test_weights_of_another_shape_are_told() -> None:
    network = SharedNetwork(1)
    arrays = {"stem_conv/kernel": np.zeros((3, 3, 3, 9), np.float32)}
    initial = InitialWeights(arrays, (), "a test")
    with pytest.raises(BrokenDeployment, match="stem_conv/kernel to start from is"):
        start_from(network, initial, ("region elbow", "fracture elbow"))
    arrays.clear()
    with pytest.raises(BrokenDeployment, match="have no stem_conv/kernel"):
        start_from(network, initial, ("region elbow", "fracture elbow"))


def test_losses_count_what_is_certain() -> None:
    torch.manual_seed(0)
    network = SharedNetwork(2).eval()
    cells = np.full((2, 4, 2), INTACT, np.float32)
    cells[1] = UNSURE
    batch = Batch(
        image=np.random.default_rng(0).uniform(0, 255, (2, 64, 32)).astype(np.float32),
        region=np.array([1, NO_REGION], np.int32),
        fractured=np.array([1, 0], np.float32),
        weight=np.array([1, 0], np.float32),
        cells=cells,
        sides=np.zeros((2, 4, 2, 4), np.float32),
    )
    found = {name: float(value.detach()) for name, value in losses(network, batch).items()}
    assert set(found) == {"fracture", "region", "cells", "sides", "peak"}
    assert all(np.isfinite(value) for value in found.values())
    batch.cells[0, 0, 0] = FRACTURE
    batch.sides[0, 0, 0] = 8
    more = losses(network, batch)
    assert float(more["cells"].detach()) > found["cells"]
    assert float(more["sides"].detach()) > found["sides"] == 0


def test_the_focal_loss_prefers_the_marked_cell() -> None:
    cells = torch.tensor([[[FRACTURE, INTACT, UNSURE]]])
    right, wrong = torch.tensor([[[3.0, -3.0, 9.0]]]), torch.tensor([[[-3.0, 3.0, 9.0]]])
    assert focal(right, cells) < focal(wrong, cells)


def test_the_overlap_loss_is_nothing_for_the_same_box() -> None:
    wanted = torch.tensor([[4.0, 4.0, 6.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(overlap_loss(wanted, wanted), torch.zeros(2))
    assert (overlap_loss(wanted * 3, wanted) > 0.5).all()
