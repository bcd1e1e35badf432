"""The native engine: kernels against plain PyTorch, the twin against Keras, a training that resumes."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the native engine needs PyTorch (extra `train-native`)")
pytest.importorskip("keras")

from fractureai.training.native.kernels import available  # noqa: E402

if not available():
    pytest.skip("the native engine needs g++ and a CPU with AVX-512 BF16", allow_module_level=True)

from torch.nn import functional  # noqa: E402

from fractureai.training import network as net  # noqa: E402
from fractureai.training.augment import Recipe  # noqa: E402
from fractureai.training.batches import BalancedSource  # noqa: E402
from fractureai.training.native.network import BatchNorm, SharedNetwork  # noqa: E402
from fractureai.training.native.operations import DepthwiseConv, SqueezeExcite  # noqa: E402
from fractureai.training.native.shared import CHECKPOINT, Stage, export_parts, train_shared  # noqa: E402
from fractureai.training.pictures import Picture  # noqa: E402
from fractureai.training.runs import RunFolder  # noqa: E402

BF16_ERROR = 5e-3


def _far(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    with torch.no_grad():
        return float((found.float() - expected.float()).norm() / expected.float().norm())


def _bf16(*shape: int) -> "torch.Tensor":
    return torch.randn(*shape).to(torch.bfloat16).requires_grad_()


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_convolution(kernel: int, stride: int) -> None:
    x, weight = _bf16(2, 14, 18, 32), torch.randn(kernel**2, 32, requires_grad=True)
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
    assert _far(y, expected) < BF16_ERROR
    assert _far(x.grad, plain_x.grad) < BF16_ERROR
    assert _far(weight.grad, plain_weight.grad) < BF16_ERROR


@pytest.mark.parametrize("active", [False, True])
def test_batch_normalisation(active: bool) -> None:
    layer = BatchNorm(40, active=active)
    layer.gamma.data.uniform_(0.5, 2)
    layer.beta.data.normal_()
    x = _bf16(2, 9, 9, 40)
    y = layer(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    plain, gamma, beta = (part.detach().float().requires_grad_() for part in (x, layer.gamma, layer.beta))
    expected = functional.batch_norm(plain.permute(0, 3, 1, 2), None, None, gamma, beta, True, eps=1e-3)
    expected = (functional.silu(expected) if active else expected).permute(0, 2, 3, 1)
    expected.backward(gradient.float())
    pairs = ((y, expected), (x.grad, plain.grad), (layer.gamma.grad, gamma.grad), (layer.beta.grad, beta.grad))
    assert max(_far(*pair) for pair in pairs) < BF16_ERROR


def test_squeeze_and_excitation() -> None:
    first, second, x = torch.nn.Linear(32, 8), torch.nn.Linear(8, 32), _bf16(3, 7, 5, 32)
    y = SqueezeExcite.apply(x, first.weight, first.bias, second.weight, second.bias)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    found = first.weight.grad.clone()
    first.zero_grad()
    plain = x.detach().float().requires_grad_()
    scale = torch.sigmoid(second(functional.silu(first(plain.mean((1, 2))))))
    (plain * scale[:, None, None]).backward(gradient.float())
    assert _far(x.grad, plain.grad) < BF16_ERROR
    assert _far(found, first.weight.grad) < BF16_ERROR


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
    train_shared(BalancedSource(pictures), ("a", "b"), stages[:1], run)
    train_shared(BalancedSource(pictures), ("a", "b"), stages, run)
    assert [row["step"] for row in run.rows()] == ["1", "2"]
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 2
