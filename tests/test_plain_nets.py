"""The networks of the lecture demonstrations against the numbers of the paper, and their gradients against the formula."""

import runpy

import pytest
import torch
from solutions import ROOT
from torch.nn import functional

from labkit.models import num_parameters

NETS = runpy.run_path(str(ROOT / "notebooks" / "plain_nets.py"))
DEPTHS = (20, 32, 44, 56, 110)


def network(name, seed=0):
    torch.manual_seed(seed)
    return NETS[name](num_classes=10)


def by_hand(depth):
    """Weights of the convolutions, scales and shifts of their batch norms, and the linear layer, for 16, 32 and 64 channels."""
    n = (depth - 2) // 6
    first, stage1 = 3 * 16 * 9, 2 * n * 16 * 16 * 9
    stage2 = 16 * 32 * 9 + (2 * n - 1) * 32 * 32 * 9
    stage3 = 32 * 64 * 9 + (2 * n - 1) * 64 * 64 * 9
    batch_norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    return first + stage1 + stage2 + stage3 + batch_norms + 64 * 10 + 10


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_depth_is_the_number_of_layers_with_weights(kind, depth):
    assert len(NETS["weighted_layers"](network(f"{kind}{depth}"))) == depth


@pytest.mark.parametrize(("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")])
def test_parameters_are_those_of_the_paper_and_the_shortcuts_have_none(depth, millions):
    plain, residual = network(f"plain{depth}"), network(f"residual{depth}")
    assert num_parameters(plain) == num_parameters(residual) == by_hand(depth)
    assert f"{by_hand(depth) / 1e6:.{len(millions) - 2}f}" == millions
    assert [*plain.state_dict()] == [*residual.state_dict()]


def test_parameters_literally():
    assert num_parameters(network("residual20")) == 269_722
    assert num_parameters(network("residual56")) == 853_018


@pytest.mark.parametrize("name", ["plain20", "residual20", "small_plain8", "small_residual44", "tiny_plain32", "tiny_residual8", "sigmoid20", "relu_bn20"])
def test_images_become_logits(name):
    assert network(name)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert NETS[name](num_classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_stages_have_maps_of_32_16_and_8_pixels():
    net, shapes = network("plain20"), []
    for block in net.blocks:
        block.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(2, 3, 32, 32))
    assert shapes == 3 * [(16, 32, 32)] + 3 * [(32, 16, 16)] + 3 * [(64, 8, 8)]


def test_start_weights_do_not_depend_on_the_shortcuts():
    plain, residual = network("plain20").state_dict(), network("residual20").state_dict()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


@pytest.mark.parametrize(("in_channels", "channels", "stride"), [(16, 16, 1), (16, 32, 2)])
def test_a_residual_block_adds_its_input_and_a_plain_one_does_not(in_channels, channels, stride):
    """With the second convolution at zero F(x) is zero: what comes out is the shortcut alone."""
    x = torch.rand(2, in_channels, 8, 8)
    for residual in (False, True):
        block = NETS["Block"](in_channels, channels, stride, residual)
        torch.nn.init.zeros_(block.layers[3].weight)
        out = block(x)
        assert out.shape == (2, channels, 8 // stride, 8 // stride)
        assert torch.equal(out[:, :in_channels], x[:, :, ::stride, ::stride] if residual else torch.zeros_like(out[:, :in_channels]))
        assert out[:, in_channels:].count_nonzero() == 0


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"6n \\+ 2, such as 20 or 56, not {depth}"):
        NETS["CifarNet"](depth, residual=False)


@pytest.mark.parametrize(("name", "gain"), [("sigmoid20", 1), ("relu20", 2)])
def test_a_stack_starts_with_the_variance_for_its_activation(name, gain):
    layers = NETS["weighted_layers"](network(name))
    assert [layer.in_features for layer in layers] == [3072] + 19 * [64]
    for layer in layers[:-1]:
        assert layer.weight.var().item() * layer.in_features == pytest.approx(gain, rel=0.15)
        assert layer.bias.count_nonzero() == 0


def test_gradient_norms_are_those_of_the_formula():
    """Two layers: dL/dW2 = (p - y) a1ᵀ, dL/dW1 = (φ'(z1) ⊙ W2ᵀ(p - y)) xᵀ, averaged over the batch."""
    torch.manual_seed(0)
    net = NETS["Stack"](2, "sigmoid", batch_norm=False, width=5, inputs=12, num_classes=3)
    images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    first, second = NETS["weighted_layers"](net)
    with torch.no_grad():
        x = images.flatten(1)
        a = torch.sigmoid(first(x))
        error = (second(a).softmax(1) - functional.one_hot(labels, 3)) / 4
        expected = [((error @ second.weight * a * (1 - a)).T @ x).norm().item(), (error.T @ a).norm().item()]
    for _ in range(2):  # the gradients of the first call are not added to those of the second
        norms = NETS["gradient_norms"](net, images, labels)
        assert norms.tolist() == pytest.approx(expected, rel=1e-5) and norms.index.tolist() == [1, 2]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gradient_vanishes_in_the_sigmoid_stack_alone(seed):
    torch.manual_seed(100 + seed)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    norms = {name: NETS["gradient_norms"](network(name, seed), images, labels) for name in ("sigmoid20", "sigmoid_bn20", "relu20", "relu_bn20")}
    ratios = {name: norm[1] / norm[20] for name, norm in norms.items()}
    assert ratios.pop("sigmoid20") < 1e-9
    assert all(0.1 < ratio < 1000 for ratio in ratios.values()), ratios


def test_where_a_name_starts_decides_which_notebook_is_found():
    """`labkit run L1`, `labkit run 03 L`."""
    from labkit.notebooks import find

    folder = ROOT / "notebooks"
    assert [path.stem for path in find(folder, ["L1"])] == ["L1_vanishing_gradients"]
    assert [path.stem[:2] for path in find(folder, ["L", "03"])] == ["03", "L1", "L2"]
    assert [path.stem[:2] for path in find(folder)][-3:] == ["13", "L1", "L2"]
