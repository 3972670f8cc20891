"""What makes training faster without changing what is computed: chosen here, in one place, and kept in the run record.

The numbers are those of the plain loop up to rounding: sums of floats come in another order. LABKIT_ENGINE=plain
turns everything off.
"""

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as F

from labkit.errors import accepted

ENGINES = ("fast", "plain")
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)  # exact types: a subclass may have a step of its own


@dataclass(frozen=True)
class Engine:
    """How a network is trained. channels_last: the channels of a pixel lie side by side in memory. fused: the optimizer
    updates a weight in one pass over memory. live_taps: see `live_taps`.
    """

    channels_last: bool = False
    fused: bool = False
    live_taps: bool = False

    @contextmanager
    def running(self, model, optimizer=None):
        """Inside, model and optimizer work in this way; afterwards their weights and settings are laid out as usual."""
        with ExitStack() as stack:
            if self.channels_last:
                stack.enter_context(_channels_last(model, optimizer))
            if self.live_taps:
                stack.enter_context(live_taps(model))
            if type(optimizer) in _FUSED:
                stack.enter_context(_fused(optimizer, self.fused))
            yield


def choose(device):
    """The `Engine` for `device`: what `benchmarks/engine.py` shows to be faster there; LABKIT_ENGINE=plain chooses nothing."""
    plain = accepted("LABKIT_ENGINE", os.environ.get("LABKIT_ENGINE", "fast"), ENGINES) == "plain"
    return Engine() if plain or torch.device(device).type != "cpu" else Engine(channels_last=True, fused=True, live_taps=True)


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
def live_taps(model):
    """Inside, convolutions of `model` on tiny maps are computed as one matrix product; parameters and results stay theirs.

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
    if images.dim() == 4 and max(images.shape[2:]) <= 2 and _is_simple(convolution):
        rows, columns = (_taps(*axis) for axis in zip(convolution.kernel_size, convolution.stride, convolution.padding, images.shape[2:]))
        if rows and columns:
            return _product(convolution, images, rows, columns)
    return nn.Conv2d.forward(convolution, images)


def _is_simple(convolution):
    c = convolution
    return c.groups == 1 and c.dilation == (1, 1) and c.padding_mode == "zeros" and not isinstance(c.padding, str)


@cache
def _taps(kernel, stride, padding, size):
    """[[tap that leads from an input to an output pixel, for each input] for each output] along one axis; () if one is missing."""
    num_outputs = (size + 2 * padding - kernel) // stride + 1
    taps = tuple(tuple(i + padding - o * stride for i in range(size)) for o in range(num_outputs))
    return taps if all(0 <= tap < kernel for row in taps for tap in row) else ()


def _product(convolution, images, rows, columns):
    """The convolution as (batch, pixels × channels) times a matrix that holds the live taps of its kernel."""
    width = convolution.kernel_size[1]
    # In the order of the matrix: output pixels, then input pixels.
    taps = [r * width + c for out_row in rows for out_column in columns for r in out_row for c in out_column]
    num_outputs = len(rows) * len(columns)
    kernel = convolution.weight.permute(2, 3, 0, 1).flatten(0, 1)  # (taps, out channels, in channels)
    live = kernel.index_select(0, torch.tensor(taps, device=kernel.device)).unflatten(0, (num_outputs, -1))
    matrix = live.transpose(1, 2).flatten(2).flatten(0, 1)  # (output pixels × out channels, input pixels × in channels)
    bias = None if convolution.bias is None else convolution.bias.repeat(num_outputs)
    outputs = F.linear(images.permute(0, 2, 3, 1).flatten(1), matrix, bias)
    return outputs.unflatten(1, (len(rows), len(columns), -1)).permute(0, 3, 1, 2)
