"""ResNet-18 from scratch: the network of He et al., "Deep Residual Learning for Image Recognition" (2015).

Fill in the two places marked TODO in notebook 03. Parameter names are torchvision's, so that the weights
of one network can be loaded into the other, and the outputs compared number for number.
"""

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut around them: y = relu(F(x) + shortcut(x)).

    in_channels: channels of the input; channels: of the output; stride: of the first convolution.
    Where shape or channels change, the shortcut is a 1×1 convolution with the same stride, else the identity.
    """

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x):
        """TODO: from x (batch, in_channels, height, width) to (batch, channels, height/stride, width/stride)."""
        ### BEGIN SOLUTION
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)
        ### END SOLUTION


class ResNet18(nn.Module):
    """A stem, four stages of two blocks each (64, 128, 256, 512 channels), average pooling, one linear layer."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.in_channels = 64
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self.make_layer(BasicBlock, 64, num_blocks=2, stride=1)
        self.layer2 = self.make_layer(BasicBlock, 128, num_blocks=2, stride=2)
        self.layer3 = self.make_layer(BasicBlock, 256, num_blocks=2, stride=2)
        self.layer4 = self.make_layer(BasicBlock, 512, num_blocks=2, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)

    def make_layer(self, block, channels, num_blocks, stride):
        """TODO: an `nn.Sequential` of `num_blocks` blocks with `channels` output channels.

        Only the first block has the `stride`, and only it sees `self.in_channels` input channels; afterwards
        `self.in_channels` must be what the next stage will see.
        """
        ### BEGIN SOLUTION
        blocks = [block(self.in_channels, channels, stride)]
        blocks += [block(channels, channels, 1) for _ in range(num_blocks - 1)]
        self.in_channels = channels
        return nn.Sequential(*blocks)
        ### END SOLUTION

    def forward(self, x):
        """From images (batch, 3, height, width) to logits (batch, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))
