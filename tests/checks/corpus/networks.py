"""Answers to `SimpleCNN`."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from corpus import catalogue

right, wrong = catalogue("SimpleCNN")

# --- right -------------------------------------------------------------------------------------


@right
class TheLesson(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*self.block(3, 32), *self.block(32, 64), *self.block(64, 128))
        self.classifier = nn.Linear(128 * 4 * 4, 10)

    @staticmethod
    def block(in_channels, channels):
        return [nn.Conv2d(in_channels, channels, kernel_size=3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Layers(nn.Module):
    """All layers by name; what follows differs in `forward`."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding="same")
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(128)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc = nn.Linear(2048, 10)

    def pairs(self):
        return zip((self.conv1, self.conv2, self.conv3), (self.bn1, self.bn2, self.bn3))


@right
class FunctionalRelu(Layers):
    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = self.pool(F.relu(self.bn3(self.conv3(x))))
        x = x.view(-1, 128 * 4 * 4)
        print(x.shape)
        return self.fc(x)


@right
class PoolingBeforeRelu(Layers):
    """The largest of the positive parts is the positive part of the largest."""

    def forward(self, x):
        for conv, norm in self.pairs():
            x = F.max_pool2d(norm(conv(x)), kernel_size=2).clamp(min=0)
        return self.fc(torch.flatten(x, start_dim=1))


@right
class OneSequential(nn.Sequential):
    def __init__(self):
        layers = OrderedDict()
        for number, (i, o) in enumerate([(3, 32), (32, 64), (64, 128)]):
            layers |= {f"conv{number}": nn.Conv2d(i, o, (3, 3), padding=(1, 1)), f"norm{number}": nn.BatchNorm2d(o)}
            layers |= {f"relu{number}": nn.ReLU(inplace=True), f"pool{number}": nn.MaxPool2d((2, 2))}
        super().__init__(OrderedDict(**layers, flatten=nn.Flatten(), head=nn.Linear(128 * 4 * 4, 10)))


class ConvBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o)

    def forward(self, x):
        return F.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)


@right
class BlocksInAModuleList(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.blocks = nn.ModuleList([ConvBlock(i, o) for i, o in ((3, 32), (32, 64), (64, 128))])
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2048, num_classes))

    def forward(self, images):
        for block in self.blocks:
            images = block(images)
        return self.head(images)


@right
def a_function_that_builds_it():
    return TheLesson()


# --- wrong -------------------------------------------------------------------------------------


def blocks(block, head=None):
    """A network of three blocks `block(in, out)` and a head."""
    layers = [layer for i, o in ((3, 32), (32, 64), (64, 128)) for layer in block(i, o)]
    return nn.Sequential(*layers, *(head or [nn.Flatten(), nn.Linear(2048, 10)]))


@wrong("no_relu")
class ReluForgotten(Layers):
    def forward(self, x):
        for conv, norm in self.pairs():
            x = self.pool(norm(conv(x)))
        return self.fc(x.flatten(1))


@wrong("relu_before_norm")
class ReluBeforeNorm(Layers):
    def forward(self, x):
        for conv, norm in self.pairs():
            x = self.pool(norm(F.relu(conv(x))))
        return self.fc(x.flatten(1))


@wrong("average_pooling")
class AveragePooling(Layers):
    def forward(self, x):
        for conv, norm in self.pairs():
            x = F.avg_pool2d(F.relu(norm(conv(x))), 2)
        return self.fc(x.flatten(1))


@wrong("larger_pooling")
def pooling_over_three_pixels():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)])


def with_activation(activation):
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), activation, nn.MaxPool2d(2)])


@wrong("leaky_relu")
def leaky_relu():
    return with_activation(nn.LeakyReLU())


@wrong("gelu")
def gelu():
    return with_activation(nn.GELU())


@wrong("silu")
def silu():
    return with_activation(nn.SiLU())


@wrong("elu")
def elu():
    return with_activation(nn.ELU())


@wrong("tanh")
def tanh():
    return with_activation(nn.Tanh())


@wrong("sigmoid")
def sigmoid():
    return with_activation(nn.Sigmoid())


@wrong("softmax_in_network")
class SoftmaxAtTheEnd(TheLesson):
    def forward(self, x):
        return F.softmax(super().forward(x), dim=1)


@wrong("log_softmax_in_network")
class LogSoftmaxAtTheEnd(TheLesson):
    def forward(self, x):
        return F.log_softmax(super().forward(x), dim=1)


@wrong("relu_at_the_end")
class ReluAtTheEnd(TheLesson):
    def forward(self, x):
        return super().forward(x).relu()


@wrong("conv_without_bias")
def convolutions_without_bias():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)])


@wrong("no_batch_norm")
def batch_norm_forgotten():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)])


@wrong("wrong_kernel_size")
def kernels_of_five():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 5, padding=2), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)])


@wrong("head_after_averaging")
def averaged_before_the_head():
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)], head)


@wrong("pooling_missing")
class TwoPoolings(Layers):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(128 * 8 * 8, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        return self.fc(F.relu(self.bn3(self.conv3(x))).flatten(1))


@wrong("wrong_parameters")
def hidden_layer_in_the_head():
    head = [nn.Flatten(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 10)]
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)], head)


@wrong("wrong_map_sizes")
def stride_instead_of_pooling():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU()])


@wrong("dropout_added")
def dropout_in_the_head():
    head = [nn.Flatten(), nn.Dropout(0.5), nn.Linear(2048, 10)]
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)], head)


@wrong("dropout_added")
class DropoutAsAFunction(TheLesson):
    def forward(self, x):
        return self.classifier(F.dropout(self.features(x).flatten(1), 0.3, self.training))


@wrong("wrong_output_shape")
def eleven_classes():
    head = [nn.Flatten(), nn.Linear(2048, 11)]
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)], head)


@wrong("raises")
def padding_forgotten():
    return blocks(lambda i, o: [nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)])


@wrong("raises")
class FlattenForgotten(Layers):
    def forward(self, x):
        for conv, norm in self.pairs():
            x = self.pool(F.relu(norm(conv(x))))
        return self.fc(x)


@wrong("raises")
class ForwardForgotten(Layers):
    pass


@wrong("wrong_numbers")
class NormOfAnotherKind(Layers):
    """Normalizes with the batch at hand even in evaluation mode."""

    def forward(self, x):
        for conv, norm in self.pairs():
            x = conv(x)
            x = self.pool(F.relu(norm(x) * 0 + F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)))
        return self.fc(x.flatten(1))


@wrong("not_a_tensor")
class ReturnsFeaturesToo(TheLesson):
    def forward(self, x):
        features = self.features(x).flatten(1)
        return self.classifier(features), features


@wrong("not_a_module")
class NotAModule:
    def __call__(self, x):
        return x.flatten(1)[:, :10]


@wrong("wrong_layers")
class NormBehindThePooling(Layers):
    def forward(self, x):
        for conv, norm in self.pairs():
            x = F.relu(norm(self.pool(conv(x))))
        return self.fc(x.flatten(1))


@wrong("wrong_layers")
class AnotherNorm(NormBehindThePooling):
    def __init__(self):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = nn.GroupNorm(4, 32), nn.GroupNorm(4, 64), nn.GroupNorm(4, 128)

    def forward(self, x):
        for conv, norm in self.pairs():
            x = self.pool(F.relu(norm(conv(x))))
        return self.fc(x.flatten(1))
