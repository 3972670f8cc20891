"""The networks of the lecture demonstrations, and the gradients in their layers.

L1: a deep stack of linear layers. L2: the plain and the residual networks for 32×32 images of He et al.,
"Deep Residual Learning for Image Recognition" (2015), section 4.2.
"""

from functools import partial
from itertools import product

import pandas as pd
from torch import nn
from torch.nn import functional


class Stack(nn.Module):
    """`depth` linear layers: all but the last are followed by a batch norm, if there is one, and the activation.

    Start weights have the variance that is made for the activation: 1 / inputs for the sigmoid (Glorot and
    Bengio, 2010; here inputs and outputs are equally many), 2 / inputs for ReLU (He et al., "Delving Deep into
    Rectifiers", 2015). activation: "sigmoid" or "relu".
    """

    def __init__(self, depth, activation, batch_norm, width=64, inputs=3 * 32 * 32, num_classes=10):
        super().__init__()
        gain = {"sigmoid": 1.0, "relu": 2.0}[activation]
        self.layers = nn.Sequential(nn.Flatten())
        for fan_in in [inputs] + (depth - 2) * [width]:
            self.layers.append(_linear(fan_in, width, gain))
            if batch_norm:
                self.layers.append(nn.BatchNorm1d(width))
            self.layers.append(nn.Sigmoid() if activation == "sigmoid" else nn.ReLU())
        self.layers.append(_linear(width, num_classes, 1.0))

    def forward(self, x):
        """From images (batch, 3, height, width) to logits (batch, num_classes)."""
        return self.layers(x)


def _linear(fan_in, fan_out, gain):
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=(gain / fan_in) ** 0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm: y = relu(F(x)), or y = relu(F(x) + shortcut(x)) if it is residual.

    The shortcut is the paper's option A and has no parameters: where the maps are halved it takes every second
    pixel, and the channels that x does not have are zero.
    """

    def __init__(self, in_channels, channels, stride, residual):
        super().__init__()
        first = [_conv(in_channels, channels, stride), nn.BatchNorm2d(channels), nn.ReLU()]
        second = [_conv(channels, channels, 1), nn.BatchNorm2d(channels)]
        self.layers = nn.Sequential(*first, *second)
        self.residual, self.stride, self.new_channels = residual, stride, channels - in_channels

    def forward(self, x):
        change = self.layers(x)
        return functional.relu(change + self.shortcut(x) if self.residual else change)

    def shortcut(self, x):
        """x in the shape of F(x)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.new_channels))


def _conv(in_channels, channels, stride):
    conv = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv


class CifarNet(nn.Module):
    """A plain or residual network of `depth` = 6n + 2 layers with weights: one convolution, three stages of n blocks
    of two convolutions, global average pooling, one linear layer.

    channels: of the three stages, 16, 32 and 64 in the paper; the second and the third halve height and width.
    shrink: the images are first averaged over squares of so many pixels a side, which saves time.
    """

    def __init__(self, depth, residual, channels=(16, 32, 64), shrink=1, num_classes=10):
        super().__init__()
        num_blocks, rest = divmod(depth - 2, 6)
        if rest or num_blocks < 1:
            raise ValueError(f"depth must be 6n + 2, such as 20 or 56, not {depth}")
        self.shrink = nn.AvgPool2d(shrink)
        self.conv = _conv(3, channels[0], 1)
        self.bn = nn.BatchNorm2d(channels[0])
        self.blocks = nn.Sequential()
        for stage, (before, now) in enumerate(zip((channels[0], *channels), channels)):
            for block in range(num_blocks):
                first = block == 0
                stride = 2 if first and stage > 0 else 1
                self.blocks.append(Block(before if first else now, now, stride, residual))
        self.fc = nn.Linear(channels[-1], num_classes)

    def forward(self, x):
        """From images (batch, 3, height, width) to logits (batch, num_classes)."""
        x = functional.relu(self.bn(self.conv(self.shrink(x))))
        return self.fc(self.blocks(x).mean(dim=(2, 3)))


def gradient_norms(model, images, labels):
    """The length of the loss's gradient for the weights of each layer: a Series with the layers 1, 2, … as its index.

    The loss is the cross-entropy of one batch, in training mode. Biases and batch norms are not counted as layers.
    """
    model.train()
    model.zero_grad()
    functional.cross_entropy(model(images), labels).backward()
    norms = [layer.weight.grad.norm().item() for layer in weighted_layers(model)]
    return pd.Series(norms, index=pd.RangeIndex(1, len(norms) + 1, name="layer"))


def weighted_layers(model):
    """The layers that count for the depth, in the order of use: convolutions and linear layers."""
    return [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def _stacks(depth):
    """{name: function of num_classes} for both activations, without and with batch norm."""
    choices = product(("sigmoid", "relu"), {"": False, "_bn": True}.items())
    return {f"{activation}{suffix}{depth}": partial(Stack, depth, activation, batch_norm) for activation, (suffix, batch_norm) in choices}


def _cifar_nets(prefix, depths, **sizes):
    """{name: function of num_classes} for a plain and a residual network of each depth."""
    choices = product({"plain": False, "residual": True}.items(), depths)
    return {f"{prefix}{kind}{depth}": partial(CifarNet, depth, residual, **sizes) for (kind, residual), depth in choices}


# An experiment calls its network FILE.py:NAME, so each one needs a name in this file.
globals().update(_stacks(20))  # sigmoid20, sigmoid_bn20, relu20, relu_bn20
globals().update(_cifar_nets("", (20, 32, 44, 56, 110)))  # plain20, residual20, …: those of the paper
globals().update(_cifar_nets("small_", (8, 20, 44), channels=(8, 16, 32), shrink=2))
globals().update(_cifar_nets("tiny_", (8, 14, 32), channels=(8, 16, 32), shrink=4))
