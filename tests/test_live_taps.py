"""Convolutions to tiny maps as matrix products: the same results, and nothing else touched."""

import pytest
import torch
from torch import nn

from labkit import live_taps, models


@pytest.fixture
def products(monkeypatch):
    """(inputs, terms of a sum, outputs) of the products that were computed."""
    seen = []
    product = live_taps.product
    monkeypatch.setattr(live_taps, "product", lambda inputs, matrix, bias: seen.append((*inputs.shape, len(matrix))) or product(inputs, matrix, bias))
    return seen


@pytest.fixture(params=["oneDNN", "BLAS"])
def library(request, monkeypatch):
    monkeypatch.setattr(live_taps, "_has_onednn", lambda: request.param == "oneDNN")


TINY = [
    (3, 1, 1, 1, 1), (3, 1, 1, 2, 2), (3, 2, 1, 2, 2), (3, 1, 1, 1, 2), (3, 1, 1, 2, 1), (5, 1, 2, 2, 2), (2, 1, 0, 2, 2),
    (1, 1, 0, 1, 1), (1, 1, 0, 2, 2), (1, 1, 0, 1, 2), (1, 2, 0, 2, 2), (1, 2, 0, 4, 4), (1, 2, 0, 3, 4), (1, (2, 1), 0, 4, 2),
]  # fmt: skip


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["double", "single"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel, stride, padding, height, width", TINY)
def test_a_convolution_to_a_tiny_map_is_a_product_with_the_same_results(
    kernel, stride, padding, height, width, bias, dtype, tolerance, products, library
):  # fmt: skip
    torch.manual_seed(1)
    convolution = nn.Conv2d(5, 7, kernel, stride, padding, bias=bias, dtype=dtype)
    images = torch.randn(3, 5, height, width, dtype=dtype, requires_grad=True)
    parameters = [images, *convolution.parameters()]

    def results():
        outputs = convolution(images)
        return outputs, *torch.autograd.grad(outputs.sin().sum(), parameters)

    plain = results()
    with live_taps.live_taps(convolution):
        ours = results()
    assert len(products) == 1
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


OTHERS = {
    "a larger map": (nn.Conv2d(4, 4, 3, padding=1), (2, 4, 3, 3)),
    "taps on padding": (nn.Conv2d(4, 4, 3, padding=2), (2, 4, 2, 2)),
    "a 1×1 kernel on a larger map": (nn.Conv2d(4, 4, 1), (2, 4, 3, 3)),
    "a 1×1 kernel on padding": (nn.Conv2d(4, 4, 1, padding=1), (2, 4, 1, 1)),
    "pixels that are not read": (nn.Conv2d(4, 4, 2, stride=2), (2, 4, 3, 2)),
    "groups": (nn.Conv2d(4, 4, 3, padding=1, groups=2), (2, 4, 1, 1)),
    "dilation": (nn.Conv2d(4, 4, 3, padding=2, dilation=2), (2, 4, 2, 2)),
    "reflected borders": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (2, 4, 2, 2)),
    "padding in words": (nn.Conv2d(4, 4, 3, padding="same"), (2, 4, 2, 2)),
    "one image without a batch": (nn.Conv2d(4, 4, 3, padding=1), (4, 1, 1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_convolution_stays_what_it_is(name, products):
    convolution, shape = OTHERS[name]
    images = torch.randn(shape)
    plain = convolution(images)
    with live_taps.live_taps(convolution):
        assert torch.equal(convolution(images), plain)
    assert not products


def test_both_libraries_compute_the_same_product_and_weights_that_need_no_gradient_get_none(library):
    torch.manual_seed(2)
    inputs, matrix, bias = torch.randn(6, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True), torch.randn(4)
    torch.testing.assert_close(live_taps.product(inputs.T.reshape(6, 5), matrix, bias), inputs.T.reshape(6, 5) @ matrix.T + bias)
    frozen = live_taps.product(inputs.detach(), matrix, None).sum()
    assert torch.autograd.grad(frozen, matrix)[0].shape == matrix.shape


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError, NotImplementedError])
def test_a_pytorch_without_that_product_uses_its_own(error, monkeypatch):
    def missing(*_):
        raise error

    live_taps._has_onednn.cache_clear()
    monkeypatch.setattr(live_taps, "_onednn", missing)
    assert not live_taps._has_onednn()
    live_taps._has_onednn.cache_clear()


def test_on_another_device_the_taps_are_the_same_ones():
    """There, gradients of repeated taps are added up by autograd, in a fixed order."""
    kernel = torch.randn(2, 9, 3, requires_grad=True)
    taps = [4, 5, 4, 8]

    class Elsewhere:
        is_cpu = False

        def __getitem__(self, place):
            return kernel[place]

    ours, theirs = live_taps._select(Elsewhere(), taps), live_taps._select(kernel, taps)
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad(selected.sin().sum(), kernel)[0] for selected in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_a_map_that_is_too_small_for_its_kernel_is_refused_as_ever():
    convolution = nn.Conv2d(4, 4, 5)
    with live_taps.live_taps(convolution), pytest.raises(RuntimeError, match=r"(?i)kernel size"):
        convolution(torch.randn(2, 4, 2, 2))


def test_the_tiny_maps_of_a_resnet18_are_those_of_its_last_stages(products):
    with live_taps.live_taps(model := models.resnet18()):
        model(torch.randn(2, 3, 32, 32))
    third = [(8, 128, 256)] + 3 * [(2, 1024, 1024)]  # the 1×1 convolution beside the first block, and the 3×3 ones from 2×2 to 2×2 pixels
    fourth = [(2, 1024, 512), (2, 512, 512), (2, 256, 512)] + 2 * [(2, 512, 512)]
    assert sorted(products) == sorted(third + fourth)


def test_a_convolution_class_of_ones_own_is_left_alone():
    class Mine(nn.Conv2d):
        def forward(self, images):
            return super().forward(images) + 1

    model = nn.Sequential(Mine(2, 2, 3, padding=1))
    images = torch.randn(2, 2, 1, 1)
    plain = model(images)
    with live_taps.live_taps(model):
        assert torch.equal(model(images), plain)
