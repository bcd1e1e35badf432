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
from fractureai.training.augment import Recipe  # noqa: E402
from fractureai.training.batches import BalancedSource  # noqa: E402
from fractureai.training.initial import read_initial  # noqa: E402
from fractureai.training.native.network import BatchNorm, SharedNetwork  # noqa: E402
from fractureai.training.native.operations import DepthwiseConv, PointwiseConv, SqueezeExcite, activation_type  # noqa: E402
from fractureai.training.native.shared import CHECKPOINT, export_parts, train_shared  # noqa: E402
from fractureai.training.native.starting import start_from  # noqa: E402
from fractureai.training.pictures import Picture, strangers  # noqa: E402
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
def test_the_exported_weights_make_keras_say_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SharedNetwork(2, drop=0.0)
    images = np.random.default_rng(0).uniform(0, 255, (4, 64, 64)).astype(np.float32)
    # Statistics of these pictures, so that activations neither vanish nor grow.
    for _ in range(100):
        network(torch.from_numpy(images))
    network.eval()
    paths = export_parts(network, ("elbow", "hand"), tmp_path)
    assert [path.name for path in paths] == ["region.h5", "fracture-elbow.h5", "fracture-hand.h5"]
    twin = net.build(net.NetworkSpec(("elbow", "hand")))
    net.load_weights(twin, paths[0])
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).region.numpy()
    found = twin.predict(images[..., None], verbose=0)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_training_resumes_after_a_kill(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    nothing = np.zeros((0, 4), np.float32)
    pictures = [Picture(rng.integers(0, 255, (40, 30), np.uint8), n // 2 % 2, bool(n % 2), nothing) for n in range(8)]
    run = RunFolder(tmp_path, {"seed": 0})
    recipe = Recipe(size_px=32, canvas_px=32, whole=True)
    stages = [Stage(recipe, steps=1, batch_size=4, rate=1e-3), Stage(recipe, steps=1, batch_size=4, rate=1e-3)]
    source = BalancedSource(pictures, (), strangers(pictures, of_each=1), foreign_every=4)
    train_shared(source, ("a", "b"), stages[:1], run)
    train_shared(source, ("a", "b"), stages, run)
    assert [row["step"] for row in run.rows()] == ["1", "2"]
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 2


def _pooled(network: SharedNetwork, images: "torch.Tensor") -> "torch.Tensor":
    with torch.no_grad():
        return network.eval().backbone(images).float().mean((1, 2))


def test_a_warm_start_takes_over_features_and_heads(tmp_path: Path) -> None:
    torch.manual_seed(1)
    images = torch.rand(2, 64, 64) * 255
    trained, other = SharedNetwork(2), SharedNetwork(2)
    trained(images)  # Statistics other than those of a new network.
    export_parts(trained, ("elbow", "hand"), tmp_path)
    dense = other.dense.weight.detach().clone()
    start_from(other, read_initial(tmp_path, ("elbow", "hand")), ("elbow", "hand"))
    assert _far(_pooled(other, images), _pooled(trained, images)) < 1e-5
    torch.testing.assert_close(other.fracture.weight, trained.fracture.weight)
    torch.testing.assert_close(other.region.bias, trained.region.bias)
    torch.testing.assert_close(other.dense.weight, dense)


def test_a_warm_start_finds_packaged_classes_by_name(tmp_path: Path) -> None:
    trained, other = SharedNetwork(2), SharedNetwork(2)
    flat = tmp_path / "run"
    flat.mkdir()
    export_parts(trained, ("elbow", "hand"), flat)
    for name in ("region", "fracture-hand"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (flat / f"{name}.h5").rename(tmp_path / "models" / name / "weights.h5")
    (tmp_path / "models" / "region" / "card.json").write_text('{"classes": ["elbow", "hand"]}')
    kept = other.fracture.weight[1].detach().clone()
    start_from(other, read_initial(tmp_path / "models", ("hand", "wrist")), ("hand", "wrist"))
    torch.testing.assert_close(other.region.weight[0], trained.region.weight[1])
    torch.testing.assert_close(other.fracture.weight[0], trained.fracture.weight[1])
    torch.testing.assert_close(other.fracture.weight[1], kept)


def test_a_single_file_gives_the_backbone(tmp_path: Path) -> None:
    trained, other = SharedNetwork(1), SharedNetwork(2)
    (region, _) = export_parts(trained, ("elbow",), tmp_path)
    start_from(other, read_initial(region, ("elbow", "hand")), ("elbow", "hand"))
    torch.testing.assert_close(other.backbone.top.weight, trained.backbone.top.weight)


def test_weights_of_another_shape_are_told(tmp_path: Path) -> None:
    network = SharedNetwork(1)
    (region, _) = export_parts(network, ("elbow",), tmp_path)
    initial = read_initial(region, ("elbow",))
    initial.backbone["top_bn/gamma"] = np.zeros(3, np.float32)
    with pytest.raises(BrokenDeployment, match="top_bn/gamma to start from is"):
        start_from(network, initial, ("elbow",))
    del initial.backbone["stem_conv/kernel"]
    with pytest.raises(BrokenDeployment, match="have no stem_conv/kernel"):
        start_from(network, initial, ("elbow",))
