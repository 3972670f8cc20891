"""Check of notebook 13: `BestModel`. Any network will do; what is checked is that it can be trained and compared fairly."""

import torch
from torch import nn
from torch.nn import functional as F

from labkit import models
from labkit.checks.todo import Todo

_OWN = (models.SimpleCNN, models.ConvNet)
_PASSES = 30  # a layer may be left out at random, as in stochastic depth, but not every time


def _scenes(answer):
    scored = []  # filled where the network gives four images ten scores each: else there is nothing more to ask

    def ten():
        model = answer(num_classes=10)
        if not isinstance(model, nn.Module):
            return {"model": type(model).__name__}
        seen = _evaluate(_stir(model).eval())
        scored.extend([True] if _shape(seen["output"]) == (4, 10) and seen["weights"] else [])
        return {"model": "Module", "own": any(isinstance(part, _OWN) for part in model.modules())} | seen

    def seven():
        return answer(num_classes=7).eval()(_images()) if scored else None

    def step():
        return _train_one_step(_stir(answer(num_classes=10)).train()) if scored else None

    def fresh():
        return torch.equal(_some_weights(answer(num_classes=10)), _some_weights(answer(num_classes=10))) if scored else None

    return {"ten": ten, "seven": seven, "step": step, "fresh": fresh}


def _images():
    """Four images, each with another contrast, so that statistics over the batch give them away."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(17))
    return images * torch.tensor([0.3, 0.6, 1.2, 2.4]).view(4, 1, 1, 1)


def _stir(model):
    """Zeros from which some start on purpose, such as the last norm of a residual branch, hide for one step what stands before them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return model


def _shape(output):
    return tuple(output.shape) if isinstance(output, torch.Tensor) else None


def _some_weights(model):
    """The first numbers of each weight; biases and norms may start at constants."""
    return torch.cat([p.detach().flatten()[:100] for p in model.parameters() if p.ndim > 1])


def _evaluate(model):
    """What the network says to four images, once more, and to the first of them alone."""
    with torch.no_grad():
        first, again, alone = (model(images) for images in (_images(), _images(), _images()[:1]))
    weights = sum(p.numel() for p in model.parameters())
    return {"output": first, "again": again, "alone": alone, "weights": weights, "frozen": sum(p.numel() for p in model.parameters() if not p.requires_grad)}


def _train_one_step(model):
    """The parameters that no gradient reaches, and whether the loss has one at all."""
    for _ in range(_PASSES):
        loss = F.cross_entropy(model(_images()), torch.tensor([0, 1, 2, 3]))
        if not loss.requires_grad:
            return {"gradient": False}
        loss.backward()
        unused = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        if not unused:
            break
    return {"gradient": True, "unused": unused[:5], "unused layers": len(unused), "layers": sum(1 for _ in model.parameters())}


def _findings(seen):
    ten = seen["ten"]
    if ten["model"] != "Module":
        return "not_a_module", f"`BestModel(num_classes=10)` is of type {ten['model']}, expected an nn.Module: inherit from it"
    if ten["own"]:
        return "reference", "`BestModel` is one of labkit's own networks: design your own"
    return (
        _wrong_output("four images and num_classes=10", ten["output"], 10)
        or _no_weights(ten)
        or _wrong_output("four images and num_classes=7", seen["seven"], 7)
        or _wrong_scores(ten)
        or _wrong_training(ten, seen["step"])
        or _not_fresh(seen["fresh"])
    )


def _wrong_output(what, output, classes):
    if not isinstance(output, dict) or output.get("type") != "Tensor":
        kind = output.get("type", "dict") if isinstance(output, dict) else type(output).__name__
        return "not_a_tensor", f"for {what} the network returns {kind}, expected a tensor of shape [4, {classes}]", 0.2
    if output["shape"] == [4, 10] and classes != 10:
        return "num_classes_ignored", "the network has ten outputs whatever `num_classes` is: give it to the last layer", 0.7
    if output["shape"] != [4, classes]:
        return "wrong_output_shape", f"for {what} the output has shape {output['shape']}, expected [4, {classes}]: a score for each class", 0.2
    if not torch.tensor(output["values"]).isfinite().all() or not output["values"]:
        return "not_finite", f"for {what} the output holds values that are no finite numbers; look for a division or a logarithm", 0.2
    return None


def _wrong_scores(ten):
    output, again, alone = (torch.tensor(ten[name]["values"]).view(-1, 10) for name in ("output", "again", "alone"))
    if (output >= 0).all() and torch.allclose(output.sum(1), torch.ones(4).to(output), atol=1e-3):
        return "softmax_in_network", "the outputs are probabilities: the loss applies softmax itself, so return the scores", 0.5
    if torch.allclose(output.exp().sum(1), torch.ones(4).to(output), atol=1e-3):
        return "log_softmax_in_network", "the outputs are log-probabilities: the loss applies log-softmax itself, so return the scores", 0.5
    if torch.allclose(output, output[:1].expand_as(output), atol=1e-7):
        return "input_ignored", "the network says the same to four different images: look at where the input gets lost", 0.2
    if not torch.allclose(output, again, atol=1e-4):
        return "random_in_eval_mode", "in evaluation mode the same images get different scores: use nn.Dropout, which `eval()` switches off", 0.6
    if not torch.allclose(output[:1], alone, atol=1e-3):
        return "depends_on_the_batch", "in evaluation mode an image gets other scores alone than beside others: no statistics over the batch there", 0.6
    return None


def _no_weights(ten):
    if ten["weights"] == 0:
        return "nothing_to_train", "the network has no weights: layers must be attributes of the module, or stand in nn.Sequential or nn.ModuleList", 0.2
    return None


def _wrong_training(ten, step):
    if not step["gradient"]:
        return "no_gradient", "no gradient comes back from the loss: nothing may be detached on the way", 0.2
    if ten["frozen"]:
        return "frozen_weights", f"{ten['frozen']:,} of {ten['weights']:,} weights have requires_grad=False: train all of them from a random start", 0.5
    if step["unused layers"]:
        names = ", ".join(step["unused"])[:150]
        return "unused_weights", f"no gradient reaches {step['unused layers']} of {step['layers']} parameters ({names}): use these layers or remove them", 0.7
    return None


def _not_fresh(same):
    if same:
        return "not_random", "two networks start with the same weights: no pretrained weights here, and no fixed seed in the class", 0.5
    return None


BEST_MODEL = Todo("BestModel", 4, (), _scenes, _findings, (models.resnet18, models.resnet50, models.build, *_OWN), keywords=("num_classes",))
