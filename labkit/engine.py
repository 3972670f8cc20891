"""What makes training faster without changing what is computed: chosen here, in one place, and kept in the run record.

The numbers are those of the plain loop up to rounding: sums of floats come in another order. LABKIT_ENGINE=plain
turns everything off. What does change them, a lower precision, is never chosen here but asked for by an experiment.
"""

import ctypes
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as F

from labkit.errors import accepted

ENGINES = ("fast", "plain")
PRECISIONS = ("float32", "bfloat16")
_KEEP = {"M_MMAP_THRESHOLD": (-3, 2**25), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**26)}  # in malloc.h; bytes
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)  # exact types: a subclass may have a step of its own


@dataclass(frozen=True)
class Engine:
    """How a network is trained. channels_last: the channels of a pixel lie side by side in memory. fused: the optimizer
    updates a weight in one pass over memory. live_taps: see `live_taps`. keep_memory: see `_keep_memory`.
    precision: of the products while it is trained; weights, sums and everything that is evaluated are float32.
    """

    channels_last: bool = False
    fused: bool = False
    live_taps: bool = False
    keep_memory: bool = False
    precision: str = "float32"

    @contextmanager
    def running(self, model, optimizer=None):
        """Inside, model and optimizer work in this way; afterwards their weights and settings are laid out as usual."""
        if self.keep_memory:
            _keep_memory()
        with ExitStack() as stack:
            if self.channels_last:
                stack.enter_context(_channels_last(model, optimizer))
            if self.live_taps:
                stack.enter_context(live_taps(model))
            if type(optimizer) in _FUSED:
                stack.enter_context(_fused(optimizer, self.fused))
                if self.channels_last:
                    stack.enter_context(_updated_in_order(optimizer))
            if self.precision == "bfloat16":
                stack.enter_context(_bfloat16(model))
            yield


def choose(device, precision="float32"):
    """The `Engine` for `device`: what `benchmarks/speed.py` shows to be faster there; LABKIT_ENGINE=plain chooses nothing."""
    plain = accepted("LABKIT_ENGINE", os.environ.get("LABKIT_ENGINE", "fast"), ENGINES) == "plain"
    if plain or torch.device(device).type != "cpu":
        return Engine(precision=precision)
    return Engine(channels_last=True, fused=True, live_taps=True, keep_memory=True, precision=precision)


@cache
def _keep_memory():
    """Have this process keep the memory that it frees. Each update asks anew for that of the last one, and every page that the
    system has to hand out again costs more than what is computed on it. Only glibc can be told, and it cannot be told back.
    """
    with suppress(OSError, AttributeError):
        for option, size in _KEEP.values():
            ctypes.CDLL(None).mallopt(option, size)


@contextmanager
def _channels_last(model, optimizer):
    model.to(memory_format=torch.channels_last)
    if optimizer:
        _lay_out_like_weights(optimizer)
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)


def _lay_out_like_weights(optimizer):
    """The fused updates go through weights and moments in the order of memory: it has to be the same one."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)


@contextmanager
def _fused(optimizer, fused):
    groups = [group for group in optimizer.param_groups if not (group.get("foreach") or group.get("differentiable"))]
    before = [group["fused"] for group in groups]
    for group in groups:
        group["fused"] = fused
    try:
        yield
    finally:
        for group, value in zip(groups, before):
            group["fused"] = value


@contextmanager
def _updated_in_order(optimizer):
    """For an update, kernels whose channels lie side by side are seen as (out channels, height, width, in channels).

    That is their order in memory, so nothing moves. Else the fused updates first copy each gradient that is not in order.
    """
    turned = []

    def turn(optimizer, *_):
        kernels = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.dim() == 4]
        for kernel in kernels:
            if kernel.grad is not None and kernel.is_contiguous(memory_format=torch.channels_last):
                _permute(optimizer, kernel, (0, 2, 3, 1))
                turned.append(kernel)

    def turn_back(optimizer, *_):
        while turned:
            _permute(optimizer, turned.pop(), (0, 3, 1, 2))

    hooks = [optimizer.register_step_pre_hook(turn), optimizer.register_step_post_hook(turn_back)]
    try:
        yield
    finally:
        turn_back(optimizer)  # where an update was interrupted
        for hook in hooks:
            hook.remove()


def _permute(optimizer, kernel, order):
    """Permute a kernel, its gradient and all that the optimizer keeps in its shape."""
    gradient, kernel.grad = kernel.grad, None  # it has to have the shape of the kernel at any time
    kernel.data = kernel.data.permute(order)
    kernel.grad = gradient.permute(order)
    state = optimizer.state.get(kernel, {})
    state.update({name: value.permute(order) for name, value in state.items() if torch.is_tensor(value) and value.dim() == 4})


@contextmanager
def _bfloat16(model):
    with ExitStack() as stack:
        if before := vars(model).get("forward"):
            stack.callback(setattr, model, "forward", before)
        model.forward = partial(_forward_in_bfloat16, model, model.forward)
        stack.callback(delattr, model, "forward")
        yield


def _forward_in_bfloat16(model, forward, images):
    """The mixed precision of P. Micikevicius et al., "Mixed Precision Training", 2018; bfloat16 has the range of float32, so that
    no loss needs to be scaled.
    """
    if not model.training:
        return forward(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        return forward(images).float()


@contextmanager
def live_taps(model):
    """Inside, convolutions of `model` that come out as tiny maps are computed as one matrix product; parameters and results stay theirs.

    A 3×3 kernel on a 1×1 map meets one pixel and eight places of padding: one of its nine taps is alive. On a 2×2 map every
    output pixel sees every input pixel, through four of the taps. Convolution routines compute all nine, in small pieces.
    """
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
    outputs = _product(pixels.flatten(0, 2), convolution.weight.flatten(1), convolution.bias)
    return outputs.unflatten(0, pixels.shape[:3]).permute(0, 3, 1, 2)


def _dense(convolution, images, rows, columns):
    """Where every output pixel sees every input pixel: (batch, pixels × channels) times a matrix that holds the live taps of the kernel."""
    width = convolution.kernel_size[1]
    # In the order of the matrix: output pixels, then input pixels.
    taps = [r * width + c for out_row in rows for out_column in columns for r in out_row for c in out_column]
    kernel = convolution.weight.permute(0, 2, 3, 1).flatten(1, 2)  # (out channels, taps, in channels)
    matrix = kernel.index_select(1, torch.tensor(taps, device=kernel.device)).view(len(kernel) * len(rows) * len(columns), -1)
    bias = None if convolution.bias is None else convolution.bias.repeat_interleave(len(rows) * len(columns))
    outputs = _product(images.permute(0, 2, 3, 1).flatten(1), matrix, bias)
    return outputs.view(-1, len(kernel), len(rows), len(columns)).contiguous(memory_format=torch.channels_last)


def _product(inputs, matrix, bias):
    """`F.linear`."""
    if inputs.dtype != torch.float32 or not _has_onednn():
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
