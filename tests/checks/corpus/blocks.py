"""Answers to `BasicBlock`: the layers are given, `forward` is the student's."""

import torch
from torch import nn
from torch.nn import functional as F

from corpus import catalogue

right, wrong = catalogue("BasicBlock")


class Given(nn.Module):
    """What the file `resnet18.py` of the kit holds."""

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


# --- right -------------------------------------------------------------------------------------


@right
class TheLesson(Given):
    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


@right
class AsInTorchvision(Given):
    def forward(self, x):
        identity = x

        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)

        out = self.conv2(out)
        out = self.bn2(out)

        if self.downsample is not None:
            identity = self.downsample(x)

        out += identity
        out = self.relu(out)

        return out


@right
class Functional(Given):
    def forward(self, inputs):
        f = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)), inplace=True)))
        print(f.shape)
        return torch.add(f, self.downsample(inputs) if self.downsample else inputs).clamp_min(0)


@right
class ShortcutLast(Given):
    def residual(self, x):
        for conv, norm, last in ((self.conv1, self.bn1, False), (self.conv2, self.bn2, True)):
            x = norm(conv(x))
            x = x if last else torch.relu(x)
        return x

    def forward(self, x):
        y = self.residual(x)
        y = y + (nn.Identity() if self.downsample is None else self.downsample)(x)
        return torch.maximum(y, torch.zeros_like(y))


# --- wrong -------------------------------------------------------------------------------------


class Parts(Given):
    def shortcut(self, x):
        return x if self.downsample is None else self.downsample(x)

    def residual(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


@wrong("no_shortcut")
class NoShortcut(Parts):
    def forward(self, x):
        return F.relu(self.residual(x))


@wrong("relu_before_addition")
class ReluBeforeAddition(Parts):
    def forward(self, x):
        return F.relu(self.residual(x)) + self.shortcut(x)


@wrong("relu_before_and_after")
class ReluBeforeAndAfter(Parts):
    def forward(self, x):
        return F.relu(F.relu(self.residual(x)) + self.shortcut(x))


@wrong("no_last_relu")
class NoLastRelu(Parts):
    def forward(self, x):
        return self.residual(x) + self.shortcut(x)


@wrong("no_first_relu")
class NoFirstRelu(Parts):
    def forward(self, x):
        return F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))) + self.shortcut(x))


@wrong("relu_before_norm")
class ReluBeforeNorm(Parts):
    def forward(self, x):
        return F.relu(self.bn2(self.conv2(self.bn1(F.relu(self.conv1(x))))) + self.shortcut(x))


@wrong("no_first_norm")
class NoFirstNorm(Parts):
    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.conv1(x)))) + self.shortcut(x))


@wrong("no_second_norm")
class NoSecondNorm(Parts):
    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))) + self.shortcut(x))


@wrong("no_norm")
class NoNorm(Parts):
    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


@wrong("second_half_missing")
class SecondHalfMissing(Parts):
    def forward(self, x):
        return F.relu(F.relu(self.bn1(self.conv1(x))) + self.shortcut(x))


@wrong("shortcut_after_relu")
class ShortcutAfterRelu(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + self.shortcut(F.relu(x)))


@wrong("input_overwritten")
class InputOverwritten(Parts):
    def forward(self, x):
        out = self.conv1(self.relu(x))
        out = self.bn2(self.conv2(self.relu(self.bn1(out))))
        return self.relu(out + self.shortcut(x))


@wrong("shortcut_multiplied")
class Multiplied(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) * self.shortcut(x))


@wrong("shortcut_subtracted")
class Subtracted(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) - self.shortcut(x))


@wrong("shortcut_without_norm")
class ShortcutWithoutNorm(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + (x if self.downsample is None else self.downsample[0](x)))


@wrong("wrong_output")
class FirstNormUsedTwice(Parts):
    def forward(self, x):
        return F.relu(self.bn1(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


@wrong("raises")
class DownsampleAlways(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + self.downsample(x))


@wrong("raises")
class DownsampleNever(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + x)


@wrong("raises")
class DownsampleOfTheWrongTensor(Parts):
    def forward(self, x):
        out = self.residual(x)
        return F.relu(out + (out if self.downsample is None else self.downsample(out)))


@wrong("downsample_not_used")
class ShortcutCutToSize(Parts):
    def forward(self, x):
        out = self.residual(x)
        step = x.shape[-1] // out.shape[-1]
        shortcut = x[:, :, ::step, ::step]
        return F.relu(out + F.pad(shortcut, (0, 0, 0, 0, 0, out.shape[1] - x.shape[1])))


@wrong("wrong_output_shape")
class Concatenated(Parts):
    def forward(self, x):
        return F.relu(torch.cat([self.residual(x), self.shortcut(x)], dim=1))


@wrong("not_a_tensor")
class ReturnForgotten(Parts):
    def forward(self, x):
        F.relu(self.residual(x) + self.shortcut(x))


@wrong("relu_before_and_after")
class ReluTwiceInPlace(Parts):
    """The numbers are named, not that the way back fails, too."""

    def forward(self, x):
        out, shortcut = F.relu(self.residual(x), inplace=True), self.shortcut(x)
        out += shortcut
        return F.relu(out)


@wrong("gradient_cut")
class DetachedShortcut(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + self.shortcut(x).detach())


@wrong("gradient_cut")
class DetachedCopyOfTheInput(Parts):
    def forward(self, x):
        return F.relu(self.residual(x) + self.shortcut(x.clone().detach()))


@wrong("no_way_back")
class AddedToTheInputInPlace(Parts):
    """The numbers are right, but the way back needs the input that was overwritten."""

    def forward(self, x):
        out, shortcut = self.residual(x), self.shortcut(x)
        shortcut += out
        return F.relu(shortcut)
