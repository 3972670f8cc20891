"""An answer that imports, wraps or copies labkit's own is named as such and earns nothing; its helpers may be used."""

import functools
import types

import pytest
import torch
import torchvision

from labkit import checks, data, distill, loops, metrics, models, plots, schedules
from labkit.progress import progress_bar

OWN = {
    "train": loops.train, "test": loops.test, "replace_head": models.replace_head, "SimpleCNN": models.SimpleCNN, "draw_scaling": plots.scaling,
    "EarlyStopping": loops.EarlyStopping, "top_k_accuracy": metrics.top_k_accuracy, "per_class_accuracy": metrics.per_class_accuracy,
    "distillation_loss": distill.distillation_loss, "get_mean_std": data.get_mean_std, "step_decay": schedules.step_decay, "cyclic": schedules.cyclic,
}  # fmt: skip
FUNCTIONS = [todo for todo, own in OWN.items() if isinstance(own, types.FunctionType)]


class Wrapper:
    def __init__(self, wrapped):
        self.wrapped = wrapped

    def __call__(self, *args, **kwargs):
        return self.wrapped(*args, **kwargs)


class Hidden:
    """Says of itself that it equals anything."""

    def __init__(self, wrapped):
        self.wrapped = wrapped

    def __eq__(self, other):
        return True

    __hash__ = None

    def __call__(self, *args, **kwargs):
        return self.wrapped(*args, **kwargs)


def copied(function):
    """The same code under a new name."""
    return types.FunctionType(function.__code__.replace(co_name="mine", co_filename="mine.py"), function.__globals__, "mine", function.__defaults__)


WAYS = {
    "imported": lambda own: own,
    "lambda": lambda own: lambda *args, **kwargs: own(*args, **kwargs),
    "partial": functools.partial,
    "object": Wrapper,
    "equal to anything": Hidden,
    "wraps": lambda own: functools.wraps(own)(lambda *args, **kwargs: own(*args, **kwargs)),
}


def verdict(todo, answer):
    return checks.judge(todo, checks.probe(todo, answer))


@pytest.mark.parametrize("todo", OWN)
@pytest.mark.parametrize("way", WAYS)
def test_wrapped(todo, way):
    finding = verdict(todo, WAYS[way](OWN[todo]))
    assert (finding.name, finding.points) == ("reference", 0), finding


@pytest.mark.parametrize("todo", [todo for todo in FUNCTIONS if checks._TODOS[todo].distinctive])
def test_copied_code(todo):
    assert verdict(todo, copied(OWN[todo])).name == "reference"


@pytest.mark.parametrize("todo", [todo for todo in FUNCTIONS if not checks._TODOS[todo].distinctive])
def test_two_lines_that_are_the_same_are_an_honest_answer(todo):
    """Nobody can tell whether they were copied."""
    assert verdict(todo, copied(OWN[todo])).passed


@pytest.mark.parametrize("way", WAYS)
def test_fit_is_a_way_to_train_too(way):
    def through_fit(dataloader, model, loss_fn, optimizer):
        progress = fit(model, dataloader, None, optimizer, 1, loss_fn=loss_fn, verbose=False)
        return progress.history[0]["train_loss"], progress.history[0]["train_acc"]

    fit = WAYS[way](loops.fit)
    assert verdict("train", through_fit).name == "reference"


def test_a_subclass_and_a_network_inside():
    class Mine(models.SimpleCNN):
        pass

    class Inside(torchvision.models.resnet.BasicBlock):
        def __init__(self, in_channels, channels, stride=1):
            super().__init__(in_channels, channels, stride)

    class Stopper(loops.EarlyStopping):
        def __init__(self, patience):
            super().__init__(patience)

    assert verdict("SimpleCNN", Mine).name == "reference"
    assert verdict("EarlyStopping", Stopper).name == "reference"
    assert verdict("SimpleCNN", lambda: models.ConvNet()).name == "reference"
    assert verdict("BasicBlock", Inside).name == "reference"


def test_copied_by_hand_with_other_names():
    """Comments, docstring and the names of variables are changed; the instructions are those of labkit."""
    space = {"torch": torch, "progress_bar": progress_bar, "Meter": metrics.Meter}
    exec(EVALUATE, space)
    assert verdict("test", space["evaluate"]).name == "reference"


EVALUATE = """
def evaluate(loader, net, criterion):
    where = next(net.parameters()).device
    net.eval()
    sums = Meter()
    with torch.inference_mode():
        for x, y in progress_bar(loader, desc="test"):
            x, y = x.to(where, non_blocking=True), y.to(where, non_blocking=True)  # to the GPU
            z = net(x)
            sums.add(criterion(z, y), z, y)
    return sums.averages()
"""
