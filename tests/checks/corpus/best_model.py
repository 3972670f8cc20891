"""Answers to `BestModel`."""

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from corpus import catalogue
from labkit import models

right, wrong = catalogue("BestModel")

# --- right -------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Two convolutions and a linear layer; the others differ from it in one point."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.head = nn.Linear(16, num_classes)

    def features(self, x):
        x = F.relu(self.bn(self.conv1(x)))
        return F.relu(self.conv2(x)).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


@right
class TheLesson(Plain):
    pass


@right
def a_function_that_builds(num_classes=10):
    print("building")
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.GELU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(4 * 7 * 7, num_classes))


@right
class LastNormFromZero(Plain):
    """As `zero_init_residual` of torchvision: a residual branch that begins as nothing."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.branch = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        nn.init.zeros_(self.branch[1].weight)

    def features(self, x):
        x = F.relu(self.conv2(F.relu(self.bn(self.conv1(x)))))
        return F.relu(x + self.branch(x)).mean((2, 3))


@right
class HeadFromZero(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


@right
class StochasticDepth(LastNormFromZero):
    def features(self, x):
        x = F.relu(self.conv2(F.relu(self.bn(self.conv1(x)))))
        if not self.training or torch.rand(()) < 0.5:
            x = F.relu(x + self.branch(x))
        return x.mean((2, 3))


@right
class WithDropout(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.dropout(self.features(x)))


@right
def a_network_of_torchvision_with_random_weights(num_classes=10):
    return torchvision.models.squeezenet1_1(num_classes=num_classes)


@right
class WithoutConvolutions(nn.Module):
    def __init__(self, *, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LayerNorm(3072), nn.Linear(3072, 32), nn.Tanh(), nn.Linear(32, num_classes))

    def forward(self, pictures):
        return self.layers(pictures)


@right
class Patches(nn.Module):
    def __init__(self, num_classes=10, width=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.attention = nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.attention(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


# --- wrong -------------------------------------------------------------------------------------


@wrong("num_classes_ignored")
class TenForEver(Plain):
    def __init__(self, num_classes=10):
        super().__init__(10)


@wrong("wrong_output_shape")
class OneScore(Plain):
    def __init__(self, num_classes=10):
        super().__init__(1)


@wrong("wrong_output_shape")
class MapsLeft(Plain):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.head = nn.Conv2d(16, num_classes, 1)

    def features(self, x):
        return F.relu(self.conv2(F.relu(self.bn(self.conv1(x)))))


@wrong("wrong_output_shape")
class FlattensTheBatch(Plain):
    def forward(self, x):
        return super().forward(x).flatten()


@wrong("softmax_in_network")
class Softmax(Plain):
    def forward(self, x):
        return super().forward(x).softmax(1)


@wrong("log_softmax_in_network")
class LogSoftmax(Plain):
    def forward(self, x):
        return F.log_softmax(super().forward(x), dim=1)


@wrong("random_in_eval_mode")
class DropoutAlways(Plain):
    def features(self, x):
        return F.dropout(super().features(x), 0.5)


@wrong("depends_on_the_batch")
class BatchStatistics(Plain):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.bn = nn.BatchNorm2d(8, track_running_stats=False)


@wrong("depends_on_the_batch")
class NormalizesTheBatch(Plain):
    def forward(self, x):
        return super().forward((x - x.mean()) / x.std())


@wrong("frozen_weights")
class FrozenBody(Plain):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.conv1.requires_grad_(False)


@wrong("unused_weights")
class ForgottenLayer(Plain):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.conv3 = nn.Conv2d(16, 32, 3)


@wrong("unused_weights")
class DetachedBody(Plain):
    def features(self, x):
        return super().features(x).detach()


@wrong("no_gradient")
class NoGradient(Plain):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


@wrong("nothing_to_train")
class NoWeights(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x):
        return x.flatten(1)[:, : self.num_classes]


@wrong("raises")
class LayersInAList(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = [nn.Flatten(), nn.Linear(3072, 100), nn.Linear(10, num_classes)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@wrong("nothing_to_train")
class LayersHiddenInAList(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = [nn.Flatten(), nn.Linear(3072, num_classes)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@wrong("not_random")
class FixedSeed(Plain):
    def __init__(self, num_classes=10):
        torch.manual_seed(42)
        super().__init__(num_classes)


@wrong("not_random")
class LearnedBefore(Plain):
    """As if its weights came from a file."""

    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        learned = torch.Generator().manual_seed(7)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1, generator=learned)


@wrong("input_ignored")
class InputLost(Plain):
    def forward(self, x):
        return super().forward(torch.zeros_like(x) + 0 * x)


@wrong("not_finite")
class DividesByZero(Plain):
    def forward(self, x):
        return super().forward(x / (x - x).sum())


@wrong("not_a_tensor")
class ScoresAndFeatures(Plain):
    def forward(self, x):
        features = self.features(x)
        return self.head(features), features


@wrong("not_a_tensor")
class NothingReturned(Plain):
    def forward(self, x):
        self.head(self.features(x))


@wrong("not_a_module")
def weights_only(num_classes=10):
    return Plain(num_classes).state_dict()


@wrong("not_a_module")
class NoModule:
    def __init__(self, num_classes=10):
        self.head = nn.Linear(3072, num_classes)


@wrong("raises")
class WrongHead(Plain):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.head = nn.Linear(17, num_classes)


@wrong("raises")
class NoSuperInit(nn.Module):
    def __init__(self, num_classes=10):
        self.head = nn.Linear(3072, num_classes)


@wrong("signature")
class AnotherName(Plain):
    def __init__(self, classes=10):
        super().__init__(classes)


@wrong("reference")
def labkits_own(num_classes=10):
    return models.ConvNet(num_classes=num_classes)


@wrong("reference")
def labkits_resnet(num_classes=10):
    return models.resnet18(num_classes)
