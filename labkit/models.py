"""The networks of the lab, head replacement, and what a network costs in parameters and FLOPs."""

import runpy
from collections import namedtuple
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from labkit.errors import LabkitError, accepted

STEMS = ("imagenet", "cifar")
_HEADS = ("fc.", "classifier.")  # how the names of a last layer begin
_INSIDE_VIEWS = "network."


def resnet18(num_classes=10, weights=None, stem="imagenet", dropout=0.0):
    """ResNet-18 for `num_classes` classes (He et al., "Deep Residual Learning for Image Recognition", 2015).

    weights: None (random), an entry of torchvision's `ResNet18_Weights` such as "IMAGENET1K_V1", or a path to
    a .pt or .safetensors file; a head for other classes stays behind, the network then keeps its random one.
    stem: "imagenet" is the paper's 7×7 stride 2 convolution and max-pooling, "cifar" a 3×3 stride 1 convolution
    without pooling, which keeps 32×32 images large. dropout: see `replace_head`. Raises `LabkitError`.
    """
    return _resnet("resnet18", num_classes, weights, stem, dropout)


def resnet50(num_classes=10, weights=None, stem="imagenet", dropout=0.0):
    """ResNet-50, with the arguments of `resnet18`."""
    return _resnet("resnet50", num_classes, weights, stem, dropout)


def _resnet(name, num_classes, weights, stem, dropout):
    accepted("stem", stem, STEMS)
    enum = _torchvision_models().get_model_weights(name)
    pretrained = weights if weights in enum.__members__ else None
    model = replace_head(_torchvision_model(name, pretrained), num_classes, dropout)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        model.maxpool = nn.Identity()
    if weights is not None and pretrained is None:
        load_weights(model, weights, names=list(enum.__members__), new_head=True)
    return model


def _torchvision_models():
    """Imported when it is needed: a third of the start of a process that has other networks."""
    from torchvision import models

    return models


def _torchvision_model(name, weights):
    if weights is None:
        return _torchvision_models().get_model(name)
    try:
        return _torchvision_models().get_model(name, weights=weights)
    except Exception as error:  # urllib, zip, pickle and torch each have errors of their own
        url, file = _checkpoint(name, weights)
        problem, fix = "could not be fetched", f"put {file.name} from {url} into {file.parent}, or give the path of a copy in place of the name"
        if file.exists():
            problem, fix = "do not fit", f"delete {file} and run it again"
        raise LabkitError(f"the {weights} weights of {name} {problem} ({_first_sentence(error)}); {fix}") from error


def _checkpoint(name, weights):
    """Where a torchvision checkpoint comes from, and the file it is kept in."""
    url = _torchvision_models().get_model_weights(name)[weights].url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def replace_head(model, num_classes, dropout=0.0):
    """Replace the last layer `model.fc` by one for `num_classes` classes; with dropout, a `Dropout` goes before it."""
    model.fc = _head(model.fc.in_features, num_classes, dropout)
    return model


def _head(in_features, num_classes, dropout):
    linear = nn.Linear(in_features, num_classes)
    return nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear


def load_weights(model, path, names=(), new_head=False):
    """Load a state dict from a .pt, .pth or .safetensors file into `model`; raises `LabkitError`, `model` unchanged.

    new_head: where the file has no head or one of another shape, `model` keeps its own. names: what else is accepted
    in the place of a path, for the message.
    """
    path = Path(path)
    if not path.is_file():
        also = f"; accepted: {', '.join(names)} or the path of a weights file" if names else ""
        raise LabkitError(f"there is no weights file {path}{also}")
    own = model.state_dict()
    state = _without_views(_read_state(path), own)
    if new_head:
        state = _with_fitting_head(state, own)
    # Files from before torch 0.4.1, some of torchvision's among them, lack the counters of the batch norms.
    state = {name: value for name, value in own.items() if name.endswith(".num_batches_tracked")} | state
    _check_shapes(state, model, path)
    model.load_state_dict(state)


def _read_state(path):
    """The state dict in a file."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each have errors of their own
        raise LabkitError(f"{path} is not a readable weights file ({_first_sentence(error)}); save it with torch.save(model.state_dict(), path)") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise LabkitError(f"{path} holds no state dict; save it with torch.save(model.state_dict(), path)")
    return state


def _without_views(state, own):
    """`state` with the names that the network has by itself, where it was saved inside `Views` and the state dict `own` was not."""
    if all(name.startswith(_INSIDE_VIEWS) for name in state) and not any(name.startswith(_INSIDE_VIEWS) for name in own):
        return {name.removeprefix(_INSIDE_VIEWS): value for name, value in state.items()}
    return state


def _with_fitting_head(state, own):
    """`state` with the head of the state dict `own`, unless the two heads have the same shape."""
    theirs, ours = _head_of(state), _head_of(own)
    if _shapes(theirs) == _shapes(ours):
        return state
    return {name: value for name, value in state.items() if name not in theirs} | ours


def _head_of(state):
    return {name: value for name, value in state.items() if name.startswith(_HEADS)}


def _shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def _check_shapes(state, model, path):
    """Name the first entry that does not fit, before anything is loaded."""
    wanted, found = _shapes(model.state_dict()), _shapes(state)
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise LabkitError(
                f"{path} holds weights of another architecture: {name} is {found.get(name, 'missing')} in the file "
                f"and {wanted.get(name, 'missing')} in {type(model).__name__}; build the model that the weights were saved from"
            )


def _first_sentence(error):
    text = str(getattr(error, "reason", error)).strip() or type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".:")


class SimpleCNN(nn.Module):
    """Three blocks of convolution, batch norm, ReLU and 2×2 max-pooling, then one linear layer; for 3×32×32 images."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*_conv_block(3, 32), *_conv_block(32, 64), *_conv_block(64, 128))
        self.classifier = nn.Linear(128 * 4 * 4, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class ConvNet(nn.Module):
    """`SimpleCNN` for any width, depth, image size and number of classes: one block for each entry of `channels`.

    The last maps are averaged to one number a channel, so that any image of at least 2^len(channels) pixels fits.
    """

    def __init__(self, channels=(32, 64, 128), num_classes=10, dropout=0.0):
        super().__init__()
        blocks = [layer for pair in zip((3, *channels), channels) for layer in _conv_block(*pair)]
        self.features = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = _head(channels[-1], num_classes, dropout)

    def forward(self, x):
        return self.fc(self.features(x))


def _conv_block(in_channels, channels):
    return [nn.Conv2d(in_channels, channels, kernel_size=3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


class FastNet(nn.Module):
    """A network for short trainings on 3×32×32 images: little work at full resolution, and no layer that needs a warm-up.

    2×2 convolution (see `whiten`) → three blocks of `width`, 4·`width`, 4·`width` channels, each of which halves the map →
    global max-pooling → one linear layer. After K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
    and D. Page, "How to Train Your ResNet", 2018.
    """

    def __init__(self, width=64, num_classes=10):
        super().__init__()
        self.first = nn.Conv2d(3, 24, kernel_size=2)  # 24: both signs of each of the 12 directions that a 3×2×2 patch has
        blocks = [_fast_block(24, width), _fast_block(width, 4 * width), _fast_block(4 * width, 4 * width)]
        self.blocks = nn.Sequential(nn.GELU(), *blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4 * width, num_classes, bias=False)
        with torch.no_grad():
            self.fc.weight /= 9  # small scores at first: no class is sure before it has seen anything

    def forward(self, x):
        return self.fc(self.blocks(self.first(x)))


def _fast_block(in_channels, channels):
    """Two convolutions; the pooling sits in front of the first batch norm, where it saves most of the work that follows."""
    return nn.Sequential(
        _dirac(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)), nn.MaxPool2d(2), _centered(channels), nn.GELU(),
        _dirac(nn.Conv2d(channels, channels, 3, padding=1, bias=False)), _centered(channels), nn.GELU(),
    )  # fmt: skip


def _dirac(convolution):
    """The first channels start as copies of the input: a signal comes through whatever the depth (Zagoruyko and Komodakis, 2017)."""
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[: convolution.in_channels])
    return convolution


def _centered(channels):
    """Batch norm that learns a shift and no scale, with running statistics that follow in a few steps."""
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def whitening_layer(model):
    """The first layer of `model`, with its kernels frozen: `whiten` gives them their values. Raises `LabkitError` if it has none that can."""
    first = getattr(model.network if isinstance(model, Views) else model, "first", None)
    if not isinstance(first, nn.Conv2d) or first.out_channels != 2 * first.weight[0].numel():
        raise LabkitError(f"{type(model).__name__} has no first layer that can whiten; use FastNet64, or leave whiten out")
    first.weight.requires_grad_(False)
    return first


def whiten(model, images, eps=5e-4):
    """Let the first layer of `model` whiten its input: its outputs are the principal components of the patches of `images`,
    float (N, C, H, W), each with variance 1 and with both signs. Raises `LabkitError`, see `whitening_layer`.

    eps: added to the variances, so that directions of mere noise stay small. D. Page, "How to Train Your ResNet", 2018.
    """
    first = whitening_layer(model)
    variances, directions = torch.linalg.eigh(_covariance(images, first.kernel_size))
    kernels = (directions / (variances + eps).sqrt()).T.reshape(-1, *first.weight.shape[1:])
    with torch.no_grad():
        first.weight.copy_(torch.cat([kernels, -kernels]))


def _covariance(images, kernel_size):
    """Of the patches of `images`, about 0 as the convolution sees them: (values, values) for values = channels × kernel pixels."""
    patches = nn.functional.unfold(images, kernel_size).transpose(1, 2).flatten(0, 1)
    return patches.T @ patches / len(patches)


class Views(nn.Module):
    """`network`, which in evaluation mode looks `views` times at each image, and gives the mean of its scores.

    views: 2 for the image and its mirror image; 6 for both at three places, one pixel up-left and down-right of the middle.
    A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """

    def __init__(self, network, views):
        super().__init__()
        self.network, self.views = network, views

    def forward(self, x):
        if self.training:
            return self.network(x)
        scores = [self.network(seen) for place in self._places(x) for seen in (place, place.flip(-1))]
        return torch.stack(scores).mean(dim=0)

    def _places(self, x):
        if self.views == 2:
            return [x]
        height, width = x.shape[2:]
        padded = nn.functional.pad(x, [1] * 4, mode="reflect")
        return [x, padded[..., :height, :width], padded[..., 2:, 2:]]


FASTNETS = {f"FastNet{width}": width for width in (16, 32, 64, 128)}
MODELS = ("resnet18", "resnet50", "SimpleCNN", "ConvNet", *FASTNETS)
VIEWS = (1, 2, 6)


def check_name(name):
    """Raise `LabkitError` unless `name` is one of `MODELS` or has the form of a model of your own, FILE.py:NAME."""
    if own_file(name) is None:
        accepted("model", name, (*MODELS, "FILE.py:NAME"))


def own_file(name):
    """The path of the file of a model of your own, named FILE.py:NAME; None for any other name."""
    file, colon, attribute = name.rpartition(":")
    return Path(file) if colon and file.endswith(".py") and attribute.isidentifier() else None


def _own_model(name, num_classes, dropout):
    """What NAME(num_classes=…) makes. Each call reads the file anew, so that it is the file of now."""
    if dropout:
        raise LabkitError(f"dropout={dropout} is a choice of labkit's models; build it into {name}")
    path, attribute = own_file(name), name.rpartition(":")[2]
    if not path.is_file():
        raise LabkitError(f"there is no file {path} in {Path.cwd()}; the part of {name!r} before the colon must be a Python file")
    try:
        space = runpy.run_path(str(path))
        model = space[attribute](num_classes=num_classes) if attribute in space else None
    except Exception as error:  # whatever the code in the file does
        raise LabkitError(f"{name}(num_classes={num_classes}) cannot be built: {type(error).__name__}: {_first_sentence(error)}") from error
    if attribute not in space:
        raise LabkitError(f"{path} does not define {attribute!r}; put the name of your class after the colon of {name!r}")
    if not isinstance(model, nn.Module):
        raise LabkitError(f"{name}(num_classes={num_classes}) must make an nn.Module, not {type(model).__name__}")
    return model


def build(name, num_classes=10, weights=None, stem="imagenet", dropout=0.0, views=1):
    """Build one of `MODELS` by its name, with the arguments of `resnet18`, or a model of your own, FILE.py:NAME, which is
    called with num_classes; raises `LabkitError`. views: see `Views`.
    """
    check_name(name)
    network = _network(name, num_classes, weights, stem, dropout)
    return Views(network, views) if accepted("views", views, VIEWS) > 1 else network


def _network(name, num_classes, weights, stem, dropout):
    if name in ("resnet18", "resnet50"):
        return _resnet(name, num_classes, weights, stem, dropout)
    if stem != "imagenet":
        raise LabkitError(f"stem={stem!r} is a choice of the resnets; leave it out for {name}")
    if name == "SimpleCNN" and (num_classes != 10 or dropout):
        raise LabkitError(f"SimpleCNN has 10 classes and no dropout, not num_classes={num_classes}, dropout={dropout}; use ConvNet")
    if name in FASTNETS and dropout:
        raise LabkitError(f"{name} has no dropout, leave dropout={dropout} out or use ConvNet")
    if own_file(name):
        model = _own_model(name, num_classes, dropout)
    elif name in FASTNETS:
        model = FastNet(FASTNETS[name], num_classes)
    elif name == "SimpleCNN":
        model = SimpleCNN()
    else:
        model = ConvNet(num_classes=num_classes, dropout=dropout)
    if weights is not None:
        load_weights(model, weights, new_head=True)
    return model


def num_parameters(model):
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


Layer = namedtuple("Layer", "name kind output_shape parameters flops")


def layers(model, input_size=(3, 32, 32)):
    """Send one zero image through the model; return a `Layer` for each module without children, in the order of use.

    input_size: (channels, height, width). FLOPs are multiply–accumulates, in the convention of the package `thop`:
    convolutions and linear layers without their bias, 4 per value of a batch norm, 0 for activations and pooling
    except 1 per output of an adaptive average pooling over its window.
    """
    rows, hooks = [], []
    for name, module in model.named_modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(lambda m, x, y, name=name: rows.append(_layer(name, m, x[0], y))))
    modes, device = [(module, module.training) for module in model.modules()], next(model.parameters()).device
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *input_size, device=device))
    finally:
        for module, was_training in modes:  # one by one: a frozen part keeps its own mode
            module.training = was_training
        for hook in hooks:
            hook.remove()
    return rows


def _layer(name, module, inputs, output):
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(name, type(module).__name__, tuple(output.shape[1:]), parameters, _module_flops(module, inputs, output))


def _module_flops(module, inputs, output):
    match module:
        case nn.Conv2d():
            return output.numel() * module.weight[0].numel()
        case nn.Linear():
            return output.numel() * module.in_features
        case nn.BatchNorm2d():
            return 4 * inputs.numel()
        case nn.AdaptiveAvgPool2d():
            # thop: window size − 1 additions and one division for each output
            return output.numel() * (inputs[0, 0].numel() // output[0, 0].numel() + 1)
        case _:
            return 0


def flops(model, input_size=(3, 32, 32)):
    """Multiply–accumulates of one forward pass of one image; see `layers` for the convention."""
    return sum(layer.flops for layer in layers(model, input_size))


def summary(model, input_size=(3, 32, 32)):
    """Print a table of the layers: output shape (−1 is the batch), parameters and FLOPs of each, and their sums."""
    rows = layers(model, input_size)
    names = [f"{row.name} ({row.kind})" for row in rows]
    width = max(len(name) for name in names) + 2
    rule = "=" * (width + 46)
    print(f"{'Layer (type)':<{width}}{'Output shape':>18}{'Param #':>14}{'FLOPs':>14}\n{rule}")
    for name, row in zip(names, rows):
        print(f"{name:<{width}}{[-1, *row.output_shape]!s:>18}{row.parameters:>14,}{row.flops:>14,}")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{rule}\n{'total':<{width}}{'':>18}{parameters:>14,}{sum(row.flops for row in rows):>14,}")
