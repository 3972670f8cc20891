"""Convolutions that come out as tiny maps, computed as one matrix product of the taps that meet an image.

A 3×3 kernel on a 1×1 map meets one pixel and eight places of padding: one of its nine taps is alive. On a 2×2 map every output pixel
sees every input pixel, through four of the taps. Convolution routines compute all nine, in small pieces.
"""

from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as F


@contextmanager
def live_taps(model):
    """Inside, convolutions of `model` that come out as tiny maps are computed as one matrix product; parameters and results stay theirs."""
    convolutions = [module for module in model.modules() if type(module) is nn.Conv2d and "forward" not in vars(module)]
    for convolution in convolutions:
        convolution.forward = partial(_forward, convolution)
    try:
        yield
    finally:
        for convolution in convolutions:
            del convolution.forward


def _forward(convolution, images):
    """What `nn.Conv2d.forward` computes."""
    if images.dim() == 4 and _is_simple(convolution):
        axes = list(zip(convolution.kernel_size, convolution.stride, convolution.padding, images.shape[2:]))
        if convolution.kernel_size == (1, 1) and convolution.padding == (0, 0) and max(_outputs(*axis) for axis in axes) <= 2:
            return _pointwise(convolution, images)
        if max(images.shape[2:]) <= 2 and all(_taps(*axis) for axis in axes):
            return _dense(convolution, images, *(_taps(*axis) for axis in axes))
    return nn.Conv2d.forward(convolution, images)


def _is_simple(convolution):
    c = convolution
    return c.groups == 1 and c.dilation == (1, 1) and c.padding_mode == "zeros" and not isinstance(c.padding, str)


def _outputs(kernel, stride, padding, size):
    return (size + 2 * padding - kernel) // stride + 1


@cache
def _taps(kernel, stride, padding, size):
    """[[tap that leads from an input to an output pixel, for each input] for each output] along one axis; () if one is missing."""
    taps = tuple(tuple(i + padding - o * stride for i in range(size)) for o in range(_outputs(kernel, stride, padding, size)))
    return taps if all(0 <= tap < kernel for row in taps for tap in row) else ()


def _pointwise(convolution, images):
    """A 1×1 kernel takes each pixel by itself: (batch × pixels, channels) times (in channels, out channels)."""
    rows, columns = convolution.stride
    pixels = images[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
    outputs = product(pixels.flatten(0, 2), convolution.weight.flatten(1), convolution.bias)
    return outputs.unflatten(0, pixels.shape[:3]).permute(0, 3, 1, 2)


def _dense(convolution, images, rows, columns):
    """Where every output pixel sees every input pixel: (batch, pixels × channels) times a matrix that holds the live taps of the kernel."""
    width = convolution.kernel_size[1]
    # In the order of the matrix: output pixels, then input pixels.
    taps = [r * width + c for out_row in rows for out_column in columns for r in out_row for c in out_column]
    kernel = convolution.weight.permute(0, 2, 3, 1).flatten(1, 2)  # (out channels, taps, in channels)
    matrix = _select(kernel, taps).view(len(kernel) * len(rows) * len(columns), -1)
    bias = None if convolution.bias is None else convolution.bias.repeat_interleave(len(rows) * len(columns))
    outputs = product(images.permute(0, 2, 3, 1).flatten(1), matrix, bias)
    return outputs.view(-1, len(kernel), len(rows), len(columns)).contiguous(memory_format=torch.channels_last)


def _select(kernel, taps):
    """These taps of the kernel, with repetitions. A GPU would add up the gradients of a repeated index in any order."""
    if kernel.is_cpu:
        return kernel.index_select(1, torch.tensor(taps))
    return torch.stack([kernel[:, tap] for tap in taps], 1)


def product(inputs, matrix, bias=None):
    """What `F.linear` computes, by the fastest library that there is: inputs (n, k), matrix (m, k), bias (m,) → (n, m)."""
    if not inputs.is_cpu or inputs.dtype != torch.float32 or not _has_onednn():
        return F.linear(inputs, matrix, bias)
    outputs = _OneDNN.apply(inputs.contiguous(), matrix.contiguous())
    return outputs if bias is None else outputs + bias


class _OneDNN(torch.autograd.Function):
    """inputs (n, k) @ matrix.T (k, m) by the library that computes PyTorch's convolutions. Its matrix products use all vector
    units there are; those of the BLAS that PyTorch links do so on Intel's processors alone (AMD EPYC: half the speed).
    """

    @staticmethod
    def forward(ctx, inputs, matrix):
        ctx.save_for_backward(inputs, matrix)
        return _onednn(inputs, matrix)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (inputs, matrix), gradient = ctx.saved_tensors, gradient.contiguous()
        return _onednn(gradient, matrix.T) if ctx.needs_input_grad[0] else None, _onednn(gradient.T, inputs.T)


def _onednn(inputs, matrix):
    return torch.ops.mkldnn._linear_pointwise(inputs, matrix, None, "none", [], "")


@cache
def _has_onednn():
    """Whether this PyTorch has that product. It is not public: where it is missing or another one, nothing but speed is lost."""
    matrix = torch.arange(6.0).view(2, 3)
    try:
        return torch.equal(_onednn(matrix, matrix), matrix @ matrix.T)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
