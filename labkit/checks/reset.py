"""Check of notebook 02: `reset`.

The answer is called twice with random weights and once with ImageNet's. For the latter, torchvision is handed a
prepared file of weights, each of them `MARK`: nothing is downloaded, and what arrived in the models is plain to see.
"""

from contextlib import contextmanager

import torch
import torchvision
from torchvision.models import ResNet18_Weights, ResNet50_Weights

from labkit.checks.todo import Todo
from labkit.device import default_device

MARK, OTHER_MARK = 0.0123, 0.0246  # of the weights that are asked for, and of others of the same network
WEIGHTS = "IMAGENET1K_V1"
NAMES = ("small_model", "big_model", "small_optimizer", "big_optimizer")
PARAMETERS = {"small_model": 11_181_642, "big_model": 23_528_522}  # with a head for ten classes
FEATURES = {"small_model": 512, "big_model": 2048}
_NETWORKS = ((torchvision.models.resnet18, ResNet18_Weights), (torchvision.models.resnet50, ResNet50_Weights))
_FILES = {entry.url: network for network, entries in _NETWORKS for entry in entries}
_ASKED_FOR = {entries[WEIGHTS].url for _, entries in _NETWORKS}


@contextmanager
def _cheap_start():
    """torchvision gets the prepared weights instead of a file from the network, and random weights cost nothing."""
    changes = [
        (torchvision.models._api, "load_state_dict_from_url", _prepared),
        (torch.hub, "load_state_dict_from_url", _prepared),
        (torch.nn.init, "kaiming_uniform_", _few_random_weights),
        (torch.nn.init, "kaiming_normal_", _few_random_weights),
    ]
    before = [getattr(module, name) for module, name, _ in changes]
    for module, name, function in changes:
        setattr(module, name, function)
    try:
        yield
    finally:
        for (module, name, _), function in zip(changes, before):
            setattr(module, name, function)


def _few_random_weights(tensor, *args, **kwargs):
    """Thirty million of them would take most of a second, and a few tell two starts apart."""
    with torch.no_grad():
        tensor.zero_().flatten()[:16].normal_()
    return tensor


def _prepared(url, *args, **kwargs):
    with torch.device("meta"):
        shapes = _FILES[url]().state_dict()
    mark = MARK if url in _ASKED_FOR else OTHER_MARK
    return {name: torch.full((), mark, dtype=value.dtype).expand(value.shape) for name, value in shapes.items()}


def _reset_scenes(answer):
    made = []

    def call(weights):
        torch.manual_seed(len(made))  # a scene begins with the random numbers of the one before
        returned = answer(weights)
        if not isinstance(returned, (tuple, list)) or len(returned) != len(NAMES):
            return {"returned": returned}
        made.append(returned)
        return {"returned": "four", "device": default_device().type} | _models(returned) | _optimizers(returned) | _news(made)

    return {"first": lambda: call(None), "second": lambda: call(None), "pretrained": lambda: call(WEIGHTS)}


def _models(returned):
    return {name: _describe_model(model) for name, model in zip(NAMES, returned[:2])}


def _describe_model(model):
    if not isinstance(model, torch.nn.Module):
        return {"kind": type(model).__name__}
    parameters = list(model.parameters())
    fc, conv1 = getattr(model, "fc", None), getattr(model, "conv1", None)
    return {
        "kind": "Module",
        "outputs": _outputs(model, parameters[0].device),
        "features": getattr(fc, "in_features", None),
        "head": type(fc).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "frozen": sum(not p.requires_grad for p in parameters),
        "device": parameters[0].device.type,
        "marked": _begins_with(conv1, MARK),
        "marked otherwise": _begins_with(conv1, OTHER_MARK),
    }


def _begins_with(layer, mark):
    return layer is not None and abs(layer.weight.detach().mean().item() - mark) < 1e-6


def _outputs(model, device):
    modes = [(module, module.training) for module in model.modules()]
    with torch.inference_mode():
        outputs = list(model.eval()(torch.zeros(1, 3, 32, 32, device=device)).shape)
    for module, mode in modes:
        module.training = mode
    return outputs


def _optimizers(returned):
    return {name: _describe_optimizer(optimizer, returned[:2]) for name, optimizer in zip(NAMES[2:], returned[2:])}


def _describe_optimizer(optimizer, models):
    if not isinstance(optimizer, torch.optim.Optimizer):
        return {"kind": type(optimizer).__name__, "optimizer": False}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    parts = [{id(p) for p in model.parameters()} if isinstance(model, torch.nn.Module) else set() for model in models]
    heads = [{id(p) for p in model.fc.parameters()} if hasattr(model, "fc") else set() for model in models]
    return {
        "kind": type(optimizer).__name__,
        "optimizer": True,
        "lr": [float(group["lr"]) for group in optimizer.param_groups],
        "weight_decay": [float(group.get("weight_decay", 0)) for group in optimizer.param_groups],
        "tensors": len(held),
        "of": {name: len(held & part) for name, part in zip(NAMES, parts)},
        "whole": {name: len(part) for name, part in zip(NAMES, parts)},
        "head of": {name: len(held & head) for name, head in zip(NAMES, heads)},
        "unknown": len(held - parts[0] - parts[1]),
    }


def _news(made):
    """Whether the latest call shares anything with the one before."""
    if len(made) < 2 or not all(isinstance(model, torch.nn.Module) for model in (*made[-1][:2], *made[-2][:2])):
        return {}
    old, new = made[-2], made[-1]
    return {
        "shared": [name for name, a, b in zip(NAMES, old, new) if a is b],
        "same weights": [name for name, a, b in zip(NAMES, old, new) if name in FEATURES and _equal_weights(a, b)],
    }


def _equal_weights(one, other):
    a, b = next(one.parameters()), next(other.parameters())
    return a.shape == b.shape and torch.equal(a, b)


# --- findings ----------------------------------------------------------------------------------


def _reset_findings(seen):
    first, second, pretrained = seen["first"], seen["second"], seen["pretrained"]
    if first["returned"] != "four":
        return _wrong_return(first["returned"])
    return _wrong_models(first) or _wrong_kinds(first) or _wrong_contents(first) or _wrong_start(first, second, pretrained) or _late(second, pretrained)


def _wrong_return(returned):
    kind = "None" if returned is None else f"{len(returned)} values" if isinstance(returned, list) else "a single value"
    return "not_four_values", f"`reset` returned {kind}, expected four: `({', '.join(NAMES)})`", 0.2


def _wrong_models(call):
    for name in FEATURES:
        if call[name]["kind"] != "Module":
            return "wrong_order", f"in the place of `{name}` stands an object of type {call[name]['kind']}: return `({', '.join(NAMES)})`", 0.3
    for name, model in ((name, call[name]) for name in FEATURES):
        if model["outputs"] != [1, 10]:
            return "head_not_replaced", f"for one image `{name}` gives scores of shape {model['outputs']}, expected [1, 10]: replace its head", 0.3
    features = [call[name]["features"] for name in FEATURES]
    if features == [2048, 512]:
        return "models_swapped", "the small model is the ResNet-50 and the big one the ResNet-18: look at the order", 0.5
    for name, parameters in PARAMETERS.items():
        if call[name]["parameters"] != parameters:
            found, network = call[name]["parameters"], "ResNet-18" if name == "small_model" else "ResNet-50"
            return "wrong_architecture", f"`{name}` has {found:,} parameters, expected {parameters:,}: a {network} with a head for 10 classes", 0.3
        if call[name]["head"] != "Linear":
            return "wrong_head", f"the head of `{name}` is of type {call[name]['head']}, expected a single Linear layer", 0.5
        if call[name]["frozen"]:
            return "frozen", f"{call[name]['frozen']} tensors of `{name}` do not require gradients: all of the model is to be trained", 0.5
    return None


def _wrong_kinds(call):
    for name in NAMES[2:]:
        optimizer = call[name]
        if not optimizer["optimizer"]:
            return "wrong_order", f"in the place of `{name}` stands an object of type {optimizer['kind']}: return `({', '.join(NAMES)})`", 0.3
        if optimizer["kind"] != "Adam":
            return "not_adam", f"`{name}` is of type {optimizer['kind']}, expected Adam", 0.4
        if any(abs(lr - 1e-3) > 1e-12 for lr in optimizer["lr"]):
            return "wrong_learning_rate", f"the learning rate of `{name}` is {optimizer['lr'][0]:g}, expected 0.001", 0.6
        if any(optimizer["weight_decay"]):
            return "weight_decay", f"`{name}` has a weight decay of {max(optimizer['weight_decay']):g}, expected none", 0.8
    return None


def _wrong_contents(call):
    """What the optimizers hold must be what the models consist of."""
    right = {"small_optimizer": "small_model", "big_optimizer": "big_model"}
    small, big = (call[name]["of"] for name in right)
    if small["small_model"] and small["big_model"]:
        return "optimizer_of_both_models", "`small_optimizer` holds parameters of both models, expected those of `small_model` alone", 0.4
    if big["small_model"] and big["big_model"]:
        return "optimizer_of_both_models", "`big_optimizer` holds parameters of both models, expected those of `big_model` alone", 0.4
    if small["big_model"] and big["small_model"]:
        return "optimizers_swapped", "each optimizer holds the parameters of the other model: look at the order", 0.5
    for name, model in right.items():
        if found := _wrong_content(name, model, call[name]):
            return found
    return None


def _wrong_content(name, model, optimizer):
    own, whole, unknown = optimizer["of"][model], optimizer["whole"][model], optimizer["unknown"]
    if own == whole and not unknown and optimizer["tensors"] == whole:
        return None
    if not own:
        held = "the other model" if not unknown else "a model that is not returned"
        return "optimizer_of_another_model", f"`{name}` holds parameters of {held}, none of `{model}`: `step()` would not change it", 0.4
    if own == optimizer["head of"][model]:
        return "only_the_head", f"`{name}` holds the head of `{model}` alone, expected all of its parameters", 0.4
    if unknown:
        message = f"`{name}` holds {unknown} tensors that are no longer part of `{model}`, and {whole - own} of its {whole} are missing"
        return "head_not_in_optimizer", message + ": it was made before the model was complete", 0.5
    return "parameters_missing", f"`{name}` holds {own} of the {whole} tensors of `{model}`, expected all", 0.4


def _wrong_start(first, second, pretrained):
    if second["shared"]:
        return "not_new", f"a second call returned the same {second['shared'][0]} again: build everything inside the function", 0.4
    if any(first[name][mark] for name in FEATURES for mark in ("marked", "marked otherwise")):
        return "always_pretrained", "with weights=None a model has ImageNet weights: hand `weights` on to torchvision", 0.4
    if second["same weights"]:
        return "same_start", f"two calls with weights=None gave `{second['same weights'][0]}` the same start: each call must draw new random weights", 0.5
    for name in FEATURES:
        if pretrained[name]["marked otherwise"]:
            return "other_weights", f'with weights="{WEIGHTS}" `{name}` gets other weights of ImageNet: hand `weights` on as it is', 0.7
    missing = [name for name in FEATURES if not pretrained[name]["marked"]]
    if missing:
        return "weights_ignored", f'with weights="{WEIGHTS}" the weights of `{"` and `".join(missing)}` are random: hand `weights` on', 0.4
    return None


def _late(second, pretrained):
    """What is only wrong in a later call."""
    for call in (second, pretrained):
        if found := _wrong_models(call) or _wrong_kinds(call) or _wrong_contents(call):
            return found
        for name in FEATURES:
            if call[name]["device"] != call["device"]:
                return "not_on_device", f"`{name}` is on {call[name]['device']}, expected {call['device']}: move it with `.to(device)`", 0.7
    return None


RESET = Todo("reset", 4, ("weights",), _reset_scenes, _reset_findings, around=_cheap_start)
