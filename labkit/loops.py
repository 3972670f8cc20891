"""The training loop: one pass (`train`), one evaluation (`test`), and many epochs (`fit`)."""

import copy
import math
import time
from dataclasses import dataclass, field

import torch
from torch import nn

from labkit import engine as engines
from labkit.errors import LabkitError, accepted
from labkit.metrics import Meter
from labkit.progress import progress_bar
from labkit.schedules import Schedule

MONITORS = {"valid_loss": "min", "valid_acc": "max"}
_CHECK_EVERY = 50  # steps between looks at the loss: each look makes the GPU wait


class NonFiniteLossError(LabkitError):
    """The loss became infinite or not a number."""


def train(dataloader, model, loss_fn, optimizer, before_step=None):
    """Train for one pass over the data; return (average loss, average accuracy) over the samples seen.

    dataloader: yields (images, labels), a `Loader` or a `DataLoader`. loss_fn: mean loss of (logits, labels).
    before_step: called before each update, to set a learning rate. Losses and accuracies are those of
    each batch before its update, in training mode. Raises `NonFiniteLossError`.
    """
    device = next(model.parameters()).device
    model.train()
    meter = Meter()
    for step, (images, labels) in enumerate(progress_bar(dataloader, desc="train")):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if before_step is not None:
            before_step()
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter.add(loss, logits, labels)
        if step % _CHECK_EVERY == 0:
            _need_finite(meter.loss, f"by step {step + 1}")
    averages = meter.averages()
    _need_finite(averages[0], f"by step {step + 1}")
    return averages


def test(dataloader, model, loss_fn):
    """Evaluate on the data in evaluation mode; return (average loss, average accuracy) over the samples."""
    device = next(model.parameters()).device
    model.eval()
    meter = Meter()
    with torch.inference_mode():
        for images, labels in progress_bar(dataloader, desc="test"):
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            logits = model(images)
            meter.add(loss_fn(logits, labels), logits, labels)
    return meter.averages()


def _need_finite(loss, where):
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"the loss became {float(loss)} {where}; use a smaller learning rate")


class EarlyStopping:
    """Stop when a value has not improved for `patience` epochs.

    `step(value)` returns True when it is time to stop; `best` is the best value so far, `improved` says
    whether the last one was it. mode: "min" for a loss, "max" for an accuracy. patience=None never stops.
    """

    def __init__(self, patience=5, mode="min"):
        if patience is not None and patience < 1:
            raise LabkitError(f"patience must be at least 1 epoch, or None for no early stopping, not {patience}")
        self.patience = patience
        self.sign = {"min": 1, "max": -1}[accepted("mode", mode, ("min", "max"))]
        self.best = self.sign * math.inf
        self.bad_epochs = 0

    @property
    def improved(self):
        return self.bad_epochs == 0

    def step(self, value):
        if self.sign * value < self.sign * self.best:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.patience is not None and self.bad_epochs >= self.patience


@dataclass
class Progress:
    """Where a training stands after `epoch` epochs: all that `fit` needs, beside model and optimizer, to go on.

    history: a dict an epoch. best_weights: state dict of the epoch `best_epoch` (from 1), None where nothing
    is selected. stopped: early stopping ended it.
    """

    epoch: int = 0
    history: list = field(default_factory=list)
    best_epoch: int = 0
    best_weights: dict | None = None
    stopper: EarlyStopping = field(default_factory=lambda: EarlyStopping(None))
    stopped: bool = False


def fit(
    model, train_loader, valid_loader, optimizer, epochs, *, test_loader=None, loss_fn=None, eval_loss_fn=None, schedule=None, patience=None,
    monitor="valid_loss", on_epoch=(), progress=None, verbose=True, precision="float32", engine=None,
):  # fmt: skip
    """Train for `epochs` epochs, keep the weights that are best on the validation data, and leave them in the model.

    valid_loader: the best epoch is chosen on it by `monitor`; None chooses nothing and keeps the last weights.
    test_loader: evaluated every epoch to draw its curve, never used to choose. loss_fn: the loss that is
    trained, eval_loss_fn: the one that validation and test report; both cross-entropy by default.
    schedule: a `Schedule`; None leaves the optimizer's rate alone. patience: epochs without improvement after
    which training stops. on_epoch: functions called with the `Progress` after each epoch. progress: a
    `Progress` to go on from, with model and optimizer in their state of then. precision: one of `engine.PRECISIONS`.
    engine: the `Engine` to train with; by default one is chosen for the model's device and the length of the
    training, with `precision`: the same numbers as without up to rounding, sooner.

    Returns the `Progress`. On a non-finite loss the model gets its weights of the last finished epoch back
    and `NonFiniteLossError` is raised. Ctrl-C passes through: what `on_epoch` has saved can be resumed.
    """
    losses = loss_fn or nn.CrossEntropyLoss(), eval_loss_fn or nn.CrossEntropyLoss()
    mode = MONITORS[accepted("monitor", monitor, MONITORS)]
    accepted("precision", precision, engines.PRECISIONS)
    if patience is not None and valid_loader is None:
        raise LabkitError("early stopping needs validation data; give a valid_loader or leave patience out")
    progress = progress or Progress(stopper=EarlyStopping(patience, mode))
    set_rate = _rate_setter(schedule, optimizer, progress.epoch * len(train_loader))
    evaluated = {name: loader for name, loader in (("valid", valid_loader), ("test", test_loader)) if loader is not None}
    engine = engine or engines.for_training(model, optimizer, train_loader, precision, epochs * len(train_loader))
    with engine.running(model, optimizer):
        while progress.epoch < epochs and not progress.stopped:
            row = _epoch(progress.epoch + 1, train_loader, evaluated, model, losses, optimizer, set_rate)
            _advance(progress, row, model, monitor if valid_loader is not None else None)
            if verbose:
                print(_line(row, epochs))
            for callback in on_epoch:
                callback(progress)
    if progress.best_weights is not None:
        model.load_state_dict(progress.best_weights)
    return progress


def _rate_setter(schedule: Schedule | None, optimizer, step):
    """A function that, called before each update, sets the rate of that update."""
    if schedule is None:
        return None

    def set_rate():
        nonlocal step
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr(step)
        step += 1

    return set_rate


def _epoch(number, train_loader, evaluated, model, losses, optimizer, set_rate):
    """Train and evaluate once; return the epoch's row of the history."""
    last_good = copy.deepcopy(model.state_dict())
    start = time.perf_counter()
    try:
        train_loss, train_acc = train(train_loader, model, losses[0], optimizer, set_rate)
        row = {"epoch": number, "lr": optimizer.param_groups[0]["lr"], "train_loss": train_loss, "train_acc": train_acc}
        for name, loader in evaluated.items():
            row[f"{name}_loss"], row[f"{name}_acc"] = test(loader, model, losses[1])
            _need_finite(row[f"{name}_loss"], f"on the {name} data")  # where the last update was the bad one
    except NonFiniteLossError as error:
        model.load_state_dict(last_good)
        rate = optimizer.param_groups[0]["lr"]
        raise NonFiniteLossError(f"epoch {number}: {error} (it was {rate:g}); the model has its weights of epoch {number - 1} back") from None
    return row | {"seconds": time.perf_counter() - start}


def _advance(progress, row, model, monitor):
    """Enter a finished epoch: history, best weights, early stopping."""
    progress.epoch = row["epoch"]
    progress.history.append(row)
    if monitor is None:
        progress.best_epoch = progress.epoch
        return
    progress.stopped = progress.stopper.step(row[monitor])
    if progress.stopper.improved:
        progress.best_epoch = progress.epoch
        progress.best_weights = copy.deepcopy(model.state_dict())


def _line(row, epochs):
    """One line for one epoch: what a student reads while waiting."""
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", f"lr {row['lr']:.2e}"]
    for name in ("train", "valid", "test"):
        if f"{name}_loss" in row:
            parts.append(f"{name} loss {row[f'{name}_loss']:.4f} acc {row[f'{name}_acc']:.4f}")
    return "  ".join([*parts, f"{row['seconds']:.1f} s"])
