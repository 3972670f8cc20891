"""Checks of notebooks 01 and 03: `replace_head`, `SimpleCNN`, `BasicBlock`, `make_layer`.

Where a network's numbers matter, the probe puts fixed weights into the answer's layers, in the order of their
use, and the judge computes what a right network, and each well-known wrong one, makes of them.
"""

import functools
import itertools
import math

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from labkit import models
from labkit.checks.todo import Todo

TOLERANCE = 1e-3


def _fill(modules):
    """Fixed weights for the modules, by their order; running statistics that differ from those of any batch."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for module in modules:
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) * 2 - 1)
            for name in ("weight", "running_var"):
                if isinstance(module, nn.BatchNorm2d) and getattr(module, name) is not None:
                    getattr(module, name).abs_().add_(0.5)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.mul_(3 / module.weight[0].numel() ** 0.5)


def _images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(13))


def _near(seen, tensor):
    if not _is_tensor(seen):
        return False
    values = torch.tensor(seen["values"])
    return list(tensor.shape) == seen["shape"] and torch.allclose(values, tensor.detach().double().flatten().to(values.dtype), rtol=TOLERANCE, atol=TOLERANCE)


def _is_tensor(seen):
    return isinstance(seen, dict) and seen.get("type") == "Tensor"


def _wrong_tensor(what, seen, shape):
    """A finding where `seen` is no tensor of this shape with values."""
    if not _is_tensor(seen):
        kind = "None" if seen is None else seen.get("type", "dict") if isinstance(seen, dict) else type(seen).__name__
        return "not_a_tensor", f"{what} is of type {kind}, expected a tensor of shape {shape}", 0.2
    if seen["shape"] != shape:
        return "wrong_output_shape", f"{what} has shape {seen['shape']}, expected {shape}", 0.2
    if len(seen["values"]) != math.prod(shape):
        return "wrong_device", f"{what} is on the device {seen.get('device')}, where it has no values: leave the tensors where the input is", 0.2
    return None


# --- replace_head ------------------------------------------------------------------------------


class _Body(nn.Module):
    """A network of which only the last layer matters."""

    def __init__(self, features):
        super().__init__()
        self.body = nn.Linear(4, features)
        self.fc = nn.Linear(features, 1000)

    def forward(self, x):
        return self.fc(self.body(x))


def _head_scenes(answer):
    def replace(features, num_classes, **dropout):
        model = _Body(features)
        body, head = model.body.weight.clone(), model.fc.weight.clone()
        returned = answer(model, num_classes, **dropout)
        leaves = [module for module in model.fc.modules() if not list(module.children())]
        return {
            "returned": "the model" if returned is model else type(returned).__name__,
            "outputs": _output_size(model),
            "wrapped": isinstance(model.fc, nn.Sequential),
            "layers": [_describe(module) for module in leaves],
            "frozen": not all(p.requires_grad for p in model.parameters()),
            "body changed": not torch.equal(body, model.body.weight),
            "old weights": any(_part_of(module, head) for module in leaves),
        }

    return {
        "512": lambda: replace(512, 10),
        "2048": lambda: replace(2048, 10),
        "seven classes": lambda: replace(512, 7),
        "dropout": lambda: replace(2048, 7, dropout=0.3),
    }


def _part_of(module, weight):
    """Whether the weights of this layer are rows of `weight`."""
    new = getattr(module, "weight", None)
    return new is not None and new.ndim == 2 and new.shape[1] == weight.shape[1] and len(new) < len(weight) and torch.equal(new, weight[: len(new)])


def _describe(module):
    fields = ("in_features", "out_features", "p")
    return {"kind": type(module).__name__, "bias": getattr(module, "bias", None) is not None} | {f: getattr(module, f) for f in fields if hasattr(module, f)}


def _output_size(model):
    try:
        return model(torch.zeros(2, 4)).shape[1]
    except (RuntimeError, TypeError) as error:  # sizes that do not fit together; a head that is no layer
        return str(error).splitlines()[0]


def _head_findings(seen):
    first, dropout = seen["512"], seen["dropout"]
    without = _wrong_return(first) or _wrong_output(seen) or _wrong_layers(first)
    return without or _with_dropout(_wrong_return(dropout)) or _wrong_dropout(dropout) or _wrong_body(first) or _with_dropout(_wrong_body(dropout))


def _with_dropout(found):
    """The same finding, where only the call with dropout shows it."""
    return found and (found[0], f"with dropout=0.3: {found[1]}", *found[2:])


def _wrong_return(first):
    match first["returned"]:
        case "the model":
            return None
        case "NoneType":
            return "returns_nothing", "`replace_head` returned None, expected the model that it was given", 0.5
        case "Linear" | "Sequential":
            return "returns_the_head", "`replace_head` returned the new layer, expected the whole model that it was given", 0.5
        case "_Body":
            return "returns_another_model", "`replace_head` returned a copy of the model, expected the model that it was given, changed in place", 0.3
        case other:
            return "returns_something_else", f"`replace_head` returned an object of type {other}, expected the model that it was given", 0.3


def _wrong_output(seen):
    first = seen["512"]
    if first["outputs"] == 1000:
        if first["layers"][-1].get("out_features") == 10:
            message = "the model still gives 1000 scores: changing `out_features` changes a number in the layer's description, not its weights"
            return "only_a_number_changed", message + "; assign a new layer"
        return "head_not_replaced", "the model still gives 1000 scores: assign the new layer to `model.fc`"
    if first["outputs"] == 10 and isinstance(seen["2048"]["outputs"], str):
        return "in_features_fixed", "the function works for 512 features but not for 2048: read their number from the old layer", 0.4
    if first["outputs"] == 10 and seen["seven classes"]["outputs"] == 10:
        return "num_classes_fixed", "asked for 7 classes the model gives 10 scores: use `num_classes`", 0.4
    for scene, outputs in (("512", 10), ("2048", 10), ("seven classes", 7)):
        if seen[scene]["outputs"] != outputs:
            return "wrong_outputs", f"the model gives {seen[scene]['outputs']}, expected {outputs} scores: look at the sizes of the new layer", 0.2
    return None


def _wrong_layers(first):
    """Without dropout, the head is one linear layer."""
    layers = first["layers"]
    kinds = [layer["kind"] for layer in layers]
    if any(layer.get("out_features") == 1000 for layer in layers):
        return "old_head_kept", "the old layer with its 1000 outputs is still there, with a new one behind it: put the new layer in its place", 0.3
    if kinds != ["Linear"] and "Dropout" in kinds:
        return "dropout_without_asking", "with dropout=0.0 the head holds a Dropout layer, expected a single Linear layer", 0.6
    if any(kind in ("Softmax", "LogSoftmax", "Sigmoid") for kind in kinds):
        return "activation_in_head", f"the head holds {' and '.join(kinds)}: the loss applies softmax itself, so the head ends in the linear layer", 0.4
    if kinds != ["Linear"]:
        return "extra_layers", f"the head holds {', '.join(kinds)}, expected a single Linear layer", 0.4
    if not layers[0]["bias"]:
        return "no_bias", "the new linear layer has no bias, expected one for each class as in the old layer", 0.7
    if first["wrapped"]:
        return "wrapped_without_asking", "with dropout=0.0 the head is an nn.Sequential, expected the Linear layer itself", 0.7
    return None


def _wrong_dropout(dropout):
    layers = dropout["layers"]
    kinds = [layer["kind"] for layer in layers]
    if "Dropout" not in kinds:
        return "dropout_ignored", f"with dropout=0.3 the head holds {', '.join(kinds)}, expected a Dropout before the Linear layer", 0.6
    if kinds[:2] == ["Linear", "Dropout"]:
        return "dropout_after_linear", "the Dropout stands after the Linear layer, where it would erase scores of classes: put it before", 0.6
    if kinds != ["Dropout", "Linear"]:
        return "extra_layers", f"the head holds {', '.join(kinds)}, expected Dropout and Linear", 0.6
    if layers[0]["p"] != 0.3:
        return "dropout_rate_fixed", f"asked for dropout=0.3 the layer has p={layers[0]['p']:g}: hand the argument on", 0.7
    return _with_dropout(_wrong_linear(layers[1], dropout["outputs"]))


def _wrong_linear(layer, outputs):
    """The layer behind the dropout, in a network of 2048 features for seven classes."""
    if layer["in_features"] == 512:
        return "in_features_fixed", "the new layer takes 512 features, but the old one took 2048: read their number from the old layer", 0.5
    if outputs == 10:
        return "num_classes_fixed", "asked for 7 classes the model gives 10 scores: use `num_classes`", 0.5
    if outputs != 7:
        return "wrong_outputs", f"the model gives {outputs}, expected 7 scores: look at the sizes of the new layer", 0.5
    if not layer["bias"]:
        return "no_bias", "the new linear layer has no bias, expected one for each class as in the old layer", 0.7
    return None


def _wrong_body(first):
    if first["old weights"]:
        return "old_weights_kept", "the new layer holds weights of the old one: those are scores of ImageNet classes, expected a new layer", 0.6
    if first["body changed"]:
        return "body_changed", "weights before the head were changed: only `model.fc` is to be replaced", 0.5
    if first["frozen"]:
        return "frozen", "some parameters no longer require gradients: only replace the layer, freeze nothing", 0.5
    return None


REPLACE_HEAD = Todo("replace_head", 8, ("model", "num_classes"), _head_scenes, _head_findings, (models.replace_head,), optional=("dropout",))


# --- SimpleCNN ---------------------------------------------------------------------------------


def _cnn_scenes(answer):
    def build():
        model = answer()
        if not isinstance(model, nn.Module):
            return {"model": type(model).__name__}
        output = model(torch.zeros(2, 3, 32, 32))
        return {"model": "Module", "reference": _holds_reference(model), "parameters": sum(p.numel() for p in model.parameters()), "output": output}

    def compute():
        model = answer()
        if not isinstance(model, nn.Module):
            return None
        _fill(_used(model.eval()))
        rows = models.layers(model)
        rates = [module.p for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
        with torch.inference_mode():
            output = model(_images(2, 3, 32, 32))
            trained = [model.train()(_images(2, 3, 32, 32)) for _ in range(2)]
        steady = not isinstance(output, torch.Tensor) or torch.allclose(*trained, equal_nan=True)
        facts = {"kinds": [row.kind for row in rows], "shapes": [list(row.output_shape) for row in rows], "flops": sum(row.flops for row in rows)}
        return facts | {"dropout": max(rates, default=0), "same in training": steady, "output": output}

    return {"build": build, "compute": compute}


def _holds_reference(model):
    return any(isinstance(module, (models.SimpleCNN, models.ConvNet)) for module in model.modules())


def _used(model):
    """The layers in the order of their use."""
    used, hooks = [], []
    for module in model.modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(lambda m, x, y: used.append(m)))
    model(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return used


def _cnn_output(activation=F.relu, norm_first=True, pool=F.max_pool2d, last=lambda x: x):
    """What a `SimpleCNN` with these choices makes of the fixed weights."""
    net = models.SimpleCNN().eval()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    _fill([m for pair in zip(convolutions, norms) for m in pair] + [net.classifier])
    x = _images(2, 3, 32, 32)
    with torch.inference_mode():
        for convolution, norm in zip(convolutions, norms):
            x = convolution(x)
            for step in [norm, activation] if norm_first else [activation, norm]:
                x = step(x)
            x = pool(x, 2)
        return last(net.classifier(x.flatten(1)))


_CNN_MISTAKES = {
    "no_relu": ({"activation": lambda x: x}, "the blocks have no ReLU: without it convolutions in a row are one linear map", 0.5),
    "relu_before_norm": ({"norm_first": False}, "ReLU stands before batch norm, expected convolution, batch norm, ReLU, pooling", 0.6),
    "leaky_relu": ({"activation": F.leaky_relu}, "the blocks have a leaky ReLU, expected ReLU, which gives 0 for all that is negative", 0.6),
    "gelu": ({"activation": F.gelu}, "the blocks have GELU, expected ReLU", 0.6),
    "silu": ({"activation": F.silu}, "the blocks have SiLU, expected ReLU", 0.6),
    "elu": ({"activation": F.elu}, "the blocks have ELU, expected ReLU", 0.6),
    "tanh": ({"activation": torch.tanh}, "the blocks have tanh, expected ReLU", 0.6),
    "sigmoid": ({"activation": torch.sigmoid}, "the blocks have a sigmoid, expected ReLU", 0.6),
    "larger_pooling": ({"pool": lambda x, size: F.max_pool2d(x, 3, 2, 1)}, "the pooling looks at 3×3 pixels, expected 2×2", 0.6),
    "average_pooling": ({"pool": F.avg_pool2d}, "the blocks take the average of 2×2 pixels, expected their maximum", 0.6),
    "softmax_in_network": ({"last": lambda x: x.softmax(1)}, "the network ends in softmax: the loss applies it itself, so return the scores", 0.5),
    "log_softmax_in_network": ({"last": lambda x: x.log_softmax(1)}, "the network ends in log-softmax: the loss applies it itself, so return the scores", 0.5),
    "relu_at_the_end": ({"last": F.relu}, "a ReLU follows the last linear layer: scores of classes must be free to be negative", 0.5),
    "sigmoid_at_the_end": ({"last": torch.sigmoid}, "a sigmoid follows the last linear layer: return the scores as they are", 0.5),
}


def _cnn_findings(seen):
    build, compute = seen["build"], seen["compute"]
    if build["model"] != "Module":
        return "not_a_module", f"`SimpleCNN()` is of type {build['model']}, expected an nn.Module: inherit from it"
    if build["reference"]:
        return "reference", "`SimpleCNN` is labkit's own network: write your own"
    return (
        _wrong_tensor("the output for two images", build["output"], [2, 10])
        or _wrong_parameters(build["parameters"], compute)
        or _wrong_work(compute)
        or _wrong_numbers(compute["output"])
        or _extra_dropout(compute)
    )


def _wrong_parameters(parameters, compute):
    if parameters == 114_186:
        return None
    default = "compare the channels 3 → 32 → 64 → 128, the kernel size and the size of the head with the description"
    name, message = _PARAMETERS.get(parameters, ("wrong_parameters", default))
    layers = ", ".join(compute["kinds"])[:200]
    return name, f"{parameters:,} parameters, expected 114,186: {message} (the layers used are {layers})", 0.3


_PARAMETERS = {
    113_962: ("conv_without_bias", "the convolutions have no bias, expected one for each channel"),
    113_738: ("no_batch_norm", "there is no batch norm, expected one in each block"),
    114_176: ("head_without_bias", "the linear layer has no bias, expected one for each class"),
    94_986: ("head_after_averaging", "the head sees 128 numbers: it is to see all 128×4×4 numbers, without averaging"),
    175_626: ("pooling_missing", "the head sees 128×8×8 numbers: each of the three blocks halves the image once"),
    279_562: ("wrong_kernel_size", "the convolutions are 5×5, expected 3×3"),
    34_058: ("wrong_channels", "the channels are 16, 32, 64, expected 32, 64, 128"),
}


def _wrong_work(compute):
    if compute["flops"] == 10_571_776:
        return None
    maps = [shape[1] for kind, shape in zip(compute["kinds"], compute["shapes"]) if kind == "Conv2d"]
    if maps == [32, 16, 8]:
        message = f"the maps have the right sizes, but {compute['flops']:,} FLOPs are computed, expected 10,571,776"
        return "wrong_layers", message + ": look at the order convolution, batch norm, ReLU, pooling, and at which norm it is", 0.5
    message = f"{compute['flops']:,} FLOPs, expected 10,571,776: the convolutions give maps of side {maps}, expected [32, 16, 8]"
    return "wrong_map_sizes", message + "; look at padding, stride and pooling, and at what each layer is given", 0.4


def _extra_dropout(compute):
    if compute["dropout"]:
        return "dropout_added", f"the network holds a Dropout of {compute['dropout']:g}: the description has none", 0.7
    if not compute["same in training"]:
        return "dropout_added", "in training the network makes other scores of the same images each time: the description has no dropout or other noise", 0.7
    return None


def _wrong_numbers(output):
    if _near(output, _cnn_output()):
        return None
    for name, (mistake, message, share) in _CNN_MISTAKES.items():
        if _near(output, _cnn_output(**mistake)):
            return name, message, share
    return "wrong_numbers", "sizes and parameters are right, but the layers are not used in the order convolution, batch norm, ReLU, pooling", 0.5


SIMPLE_CNN = Todo("SimpleCNN", 4, (), _cnn_scenes, _cnn_findings, (models.SimpleCNN,))


# --- BasicBlock --------------------------------------------------------------------------------

_CASES = {"same shape": (4, 4, 1), "more channels, half the size": (4, 8, 2), "more channels": (4, 8, 1)}
_PARTS = ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")


def _block_scenes(answer):
    def scene(in_channels, channels, stride):
        block = answer(in_channels, channels, stride)
        if not isinstance(block, nn.Module):
            return {"block": type(block).__name__}
        parts = dict(block.eval().named_modules())
        _fill([parts[name] for name in _PARTS if name in parts])
        with torch.inference_mode():
            output = block(_images(2, in_channels, 6, 6))
        gradient = _way_back(block, in_channels) if isinstance(output, torch.Tensor) else None
        borrowed = any(isinstance(m, torchvision.models.resnet.BasicBlock) for m in block.modules())
        return {"block": "Module", "output": output, "names": [name for name in _PARTS if name in parts], "borrowed": borrowed, "gradient": gradient}

    return {name: (lambda case=case: scene(*case)) for name, case in _CASES.items()}


def _way_back(block, in_channels):
    """The gradient of the images, or why there is none: what is changed in place may be missed on the way back."""
    images = _images(2, in_channels, 6, 6).requires_grad_()
    try:
        block.train()(images * 1).square().sum().backward()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return images.grad


def _block_gradient(case):
    in_channels, channels, stride = case
    down = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)) if (in_channels, stride) != (channels, 1) else None
    block = torchvision.models.resnet.BasicBlock(in_channels, channels, stride, down)
    parts = dict(block.named_modules())
    _fill([parts[name] for name in _PARTS if name in parts])
    return _way_back(block, in_channels)


def _block_output(case, relu1=True, norm1=True, norm2=True, shortcut="right", last="relu after", second=True):
    """What a residual block with these choices makes of the fixed weights."""
    in_channels, channels, stride = case
    conv1, bn1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
    conv2, bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
    down = [nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)] if (in_channels, stride) != (channels, 1) else []
    _fill([conv1, bn1, conv2, bn2, *down])
    with torch.inference_mode():
        x = _images(2, in_channels, 6, 6)
        out, side = conv1(x.relu() if shortcut == "relu first" else x), (x.relu() if shortcut.startswith("relu") else x)
        for layer in (m.eval() for m in down):
            side = layer(side) if shortcut != "no norm" or isinstance(layer, nn.Conv2d) else side
        out = out.relu() if relu1 == "early" else out
        out = bn1.eval()(out) if norm1 else out
        out = out.relu() if relu1 is True else out
        if second:
            out = conv2(out)
            out = bn2.eval()(out) if norm2 else out
        match shortcut, last:
            case "none", _:
                return out.relu()
            case _, "relu before":
                return out.relu() + side
            case _, "none":
                return out + side
            case _, "both":
                return (out.relu() + side).relu()
            case "times", _:
                return (out * side).relu()
            case "minus", _:
                return (out - side).relu()
            case _:
                return (out + side).relu()


_BLOCK_MISTAKES = {
    "no_shortcut": ({"shortcut": "none"}, "the output is relu(F(x)): the shortcut is not added", 0.2),
    "relu_before_addition": ({"last": "relu before"}, "ReLU was applied to F(x) and the shortcut added afterwards: add first, then apply ReLU", 0.5),
    "relu_before_and_after": ({"last": "both"}, "ReLU was applied to F(x) before the addition and once more after it: only the sum goes through it", 0.5),
    "relu_before_norm": ({"relu1": "early"}, "the first ReLU stands before the batch norm, expected it behind", 0.5),
    "input_overwritten": ({"shortcut": "relu first"}, "block and shortcut both saw relu(x), expected x itself: an in-place ReLU changed the input", 0.4),
    "no_last_relu": ({"last": "none"}, "the output is F(x) + shortcut without the last ReLU", 0.5),
    "no_first_relu": ({"relu1": False}, "there is no ReLU between the two convolutions", 0.4),
    "no_first_norm": ({"norm1": False}, "the first batch norm was left out", 0.4),
    "no_second_norm": ({"norm2": False}, "the second batch norm was left out", 0.4),
    "no_norm": ({"norm1": False, "norm2": False}, "both batch norms were left out", 0.3),
    "second_half_missing": ({"second": False}, "the second convolution was left out", 0.3),
    "shortcut_after_relu": ({"shortcut": "relu"}, "the shortcut is relu(x), expected x itself: an in-place ReLU may have changed it", 0.4),
    "shortcut_multiplied": ({"shortcut": "times"}, "F(x) was multiplied with the shortcut, expected their sum", 0.3),
    "shortcut_subtracted": ({"shortcut": "minus"}, "the shortcut was subtracted from F(x), expected their sum", 0.3),
    "shortcut_without_norm": ({"shortcut": "no norm"}, "the shortcut used the 1×1 convolution but not the batch norm behind it", 0.5),
}


def _block_findings(seen):
    for scene, (_, channels, stride) in _CASES.items():
        if seen[scene]["block"] != "Module":
            return "not_a_module", f"`BasicBlock(...)` is of type {seen[scene]['block']}, expected an nn.Module"
        if seen[scene]["borrowed"]:
            return "reference", "`BasicBlock` is torchvision's: write your own"
        shape = [2, channels, 6 // stride, 6 // stride]
        if found := _wrong_tensor(f"the output for {scene}", seen[scene]["output"], shape):
            return found
    return _wrong_block({scene: seen[scene]["output"] for scene in _CASES}) or _wrong_way_back({scene: seen[scene]["gradient"] for scene in _CASES})


def _wrong_block(outputs):
    wrong = [scene for scene, case in _CASES.items() if not _near(outputs[scene], _block_output(case))]
    if not wrong:
        return None
    for name, (mistake, message, share) in _BLOCK_MISTAKES.items():
        if all(_near(outputs[scene], _block_output(case, **mistake)) for scene, case in _CASES.items()):
            return name, message, share
    if "same shape" not in wrong:
        return "downsample_not_used", f"the block is right for equal shapes but not for {wrong[0]}: look at what the shortcut is there", 0.5
    message = f"for {wrong[0]} the block gives other numbers than the layers in the order conv1, bn1, relu, conv2, bn2, the addition of the shortcut, relu"
    return "wrong_output", message, 0.2


def _wrong_way_back(gradients):
    for scene, case in _CASES.items():
        found = gradients[scene]
        if isinstance(found, str):
            return "no_way_back", f"the numbers are right, but no gradient can be computed for {scene}: {found[:300]}", 0.5
        if found is None or not _near(found, _block_gradient(case)):
            return "gradient_cut", f"the numbers are right, but for {scene} another gradient reaches the input: nothing may be detached on its way back", 0.5
    return None


BASIC_BLOCK = Todo("BasicBlock", 6, ("in_channels", "channels", "stride"), _block_scenes, _block_findings, (torchvision.models.resnet.BasicBlock,))


# --- make_layer --------------------------------------------------------------------------------


class _SpyBlock(nn.Module):
    """Writes down with what it was built."""

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        self.arguments = [in_channels, channels, stride]


def _network(answer):
    """A bare network with 4 channels: of the answer's class, so that its other methods are there."""
    own = isinstance(answer, type) and issubclass(answer, nn.Module)
    network = answer.__new__(answer) if own else nn.Module()
    nn.Module.__init__(network)
    if not own:
        network.make_layer = functools.partial(getattr(answer, "make_layer", answer), network)
    network.in_channels = 4
    return network


def _layer_scenes(answer):
    def scene(channels, num_blocks, stride):
        network = _network(answer)
        layer = network.make_layer(_SpyBlock, channels, num_blocks=num_blocks, stride=stride)
        blocks = list(itertools.islice(layer, 100)) if isinstance(layer, (nn.Sequential, nn.ModuleList, list, tuple)) else []
        return {
            "type": "Sequential" if isinstance(layer, nn.Sequential) else type(layer).__name__,
            "different": len({id(block) for block in blocks}),
            "kinds": [type(block).__name__ for block in blocks],
            "names": [name for name, _ in layer.named_children()] if isinstance(layer, nn.Module) else [],
            "built": [block.arguments for block in blocks if isinstance(block, _SpyBlock)],
            "in_channels": network.in_channels,
        }

    return {name: (lambda case=case: scene(*case)) for name, case in _STAGES.items()}


_STAGES = {"two": (8, 2, 2), "three": (8, 3, 2), "stride 1": (4, 2, 1), "one": (16, 1, 2)}


def _layer_findings(seen):
    for name in _STAGES:
        if found := _wrong_stage(seen[name]):
            return found
    lengths = [len(seen[name]["kinds"]) for name in _STAGES]
    wanted = [num_blocks for _, num_blocks, _ in _STAGES.values()]
    if lengths != wanted:
        return "wrong_number_of_blocks", f"asked for {wanted} blocks, the stages hold {lengths}: use `num_blocks`", 0.3
    for name, (channels, _, stride) in _STAGES.items():
        if found := _wrong_arguments(seen[name]["built"], channels, stride):
            return found
    return _wrong_memory(seen) or _wrong_names(seen)


def _wrong_stage(scene):
    if scene["type"] != "Sequential":
        return "not_sequential", f"`make_layer` returned {scene['type']}, expected an `nn.Sequential` of the blocks", 0.3
    if "Sequential" in scene["kinds"]:
        return "nested", "the stage holds an `nn.Sequential` inside another one, expected all blocks side by side", 0.4
    if len(scene["built"]) < len(scene["kinds"]):
        return "block_ignored", f"the stage holds {', '.join(sorted(set(scene['kinds'])))[:100]}: call the `block` that was handed over, for each block", 0.2
    if scene["different"] < len(scene["built"]):
        return "same_block_repeated", "the same block stands in the stage several times, so that its weights are shared: build each block anew", 0.3
    return None


def _wrong_arguments(built, channels, stride):
    inputs, outputs, strides = ([arguments[i] for arguments in built] for i in range(3))
    rest = len(built) - 1
    if outputs != [channels] * len(built):
        return "wrong_channels", f"the blocks were built with {outputs} output channels, expected {[channels] * len(built)}", 0.3
    return _wrong_strides(strides, stride, rest) or _wrong_inputs(inputs, channels, rest)


def _wrong_strides(strides, stride, rest):
    if strides == [stride] + [1] * rest:
        return None
    if strides == [stride] * (rest + 1):
        return "stride_in_every_block", f"every block has stride {stride}, expected it in the first block only: each stage halves the image once", 0.4
    if set(strides) == {1}:
        return "stride_ignored", f"no block has the stride {stride} that was asked for, expected it in the first block", 0.4
    if stride == 1:
        return "stride_fixed", f"asked for stride 1, the blocks have strides {strides}: use the `stride` that is handed over", 0.4
    return "wrong_strides", f"the blocks have strides {strides}, expected {[stride] + [1] * rest}", 0.4


def _wrong_inputs(inputs, channels, rest):
    if inputs == [4] + [channels] * rest:
        return None
    if inputs == [4] * (rest + 1):
        return "in_channels_in_every_block", "every block takes 4 channels, expected it of the first only: the others take what the one before gives", 0.4
    if inputs == [channels] * (rest + 1):
        return "in_channels_ignored", f"the first block takes {channels} channels, expected `self.in_channels`, which is 4 here", 0.4
    return "wrong_in_channels", f"the blocks take {inputs} channels, expected {[4] + [channels] * rest}", 0.4


def _wrong_memory(seen):
    after, wanted = ([scene["in_channels"] for scene in seen.values()], [channels for channels, _, _ in _STAGES.values()])
    if after == [4] * len(after):
        message = f"`self.in_channels` is still 4 after a stage of {wanted[0]} channels: the next stage has to know what it will see"
        return "in_channels_not_updated", message, 0.6
    if after != wanted:
        return "in_channels_wrong_after", f"`self.in_channels` is {after} after stages of {wanted} channels, expected the same", 0.6
    return None


def _wrong_names(seen):
    names = seen["three"]["names"]
    if names != ["0", "1", "2"]:
        return "blocks_renamed", f"the blocks are named {names}, expected 0, 1, 2 as in torchvision, whose weights are to fit", 0.7
    return None


MAKE_LAYER = Todo(
    "make_layer", 6, ("self", "block", "channels"), _layer_scenes, _layer_findings,
    (torchvision.models.ResNet._make_layer,), keywords=("num_blocks", "stride"), part="make_layer",
)  # fmt: skip
