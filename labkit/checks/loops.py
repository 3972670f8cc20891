"""Checks of notebook 02: `train`, `test`.

The answer trains a tiny network on three batches. The judge trains the same network itself, once as it should
be and once for each well-known mistake, and looks which of these the answer's numbers agree with. So a mistake
is recognised by what it does, however it is spelled.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from labkit import loops
from labkit.checks.todo import Todo
from labkit.device import default_device

SIZES = (4, 4, 2)  # images in each batch: the last one is short
IMAGES = sum(SIZES)
CLASSES = 3
DATASET = 100  # what len(dataloader.dataset) says, as behind a sampler that shows a part
RATE = 0.5
TOLERANCE = 2e-4
SMOOTHING = 0.2  # the loss that is handed over is not the plain cross-entropy, so that ignoring it shows


class _Far(torch.Tensor):
    """A tensor that plays one on another device: it is ordinary only after it was moved."""

    device = torch.device("meta")  # for those who look before they move

    def to(self, *args, **kwargs):
        return super().to(*args, **kwargs).as_subclass(torch.Tensor)

    def cuda(self, *args, **kwargs):
        return super().cuda(*args, **kwargs).as_subclass(torch.Tensor)

    def cpu(self, *args, **kwargs):
        return super().cpu(*args, **kwargs).as_subclass(torch.Tensor)


def _near_by(tensor, device):
    return tensor.as_subclass(torch.Tensor).to(device)


class _Log(list):
    """What happened, in order. A copy of the network writes into the same one."""

    def __deepcopy__(self, memo):
        return self

    def note(self, event, **facts):
        self.append({"event": event} | facts)

    def of(self, event):
        return [entry for entry in self if entry["event"] == event]

    def first(self, *events):
        return next((entry["event"] for entry in self if entry["event"] in events), None)


class _Network(nn.Module):
    """Linear, batch norm, linear; writes down how each forward pass found it."""

    def __init__(self, log=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))
        self.log = _Log() if log is None else log

    def forward(self, x):
        logits = self.layers(_near_by(x, self.layers[1].weight.device))
        self.log.note("forward", training=self.layers[2].training, gradients=logits.requires_grad, far=isinstance(x, _Far), images=len(x))
        return logits


class _Loss(nn.CrossEntropyLoss):
    """Cross-entropy with smoothing, and by default without; writes down each call and each backward pass."""

    def __init__(self, *args, log=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.log = _Log() if log is None else log

    def forward(self, input, target):  # the names that torch's losses have
        self.log.note("loss", far=isinstance(target, _Far))
        logits = input.as_subclass(torch.Tensor)
        loss = super().forward(logits, _near_by(target, logits.device))
        if loss.requires_grad:
            loss.register_hook(lambda gradient: self.log.note("backward"))
        return loss


class _Optimizer(torch.optim.SGD):
    """Writes down at each step the rate and how large the gradients are."""

    def __init__(self, parameters, log):
        super().__init__(parameters, lr=RATE)
        self.log = log

    def step(self, closure=None):
        gradients = [p.grad.abs().sum().item() for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.log.note("step", lr=self.param_groups[0]["lr"], gradients=sum(gradients), closure=closure is not None)
        return super().step(closure)


class _Loader:
    """Three batches, with the face of a DataLoader whose sampler shows ten of a hundred images."""

    batch_size, sampler, drop_last, num_workers = SIZES[0], range(IMAGES), False, 0

    def __init__(self, batches):
        self.batches, self.dataset = batches, range(DATASET)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter([(images.as_subclass(_Far), labels.as_subclass(_Far)) for images, labels in self.batches])


def _batches():
    generator = torch.Generator().manual_seed(47481)  # all known mistakes give different averages (a test looks)
    images = torch.randn(IMAGES, 3, 2, 2, generator=generator)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    return list(zip(images.split(SIZES), labels.split(SIZES)))


def _network():
    """Always the same one, whatever the answer does to the global random numbers."""
    network, generator = _Network(), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return network


def _state(network):
    """The network's parameters and its running statistics, two lists of floats."""
    return {
        "parameters": [value for tensor in network.parameters() for value in tensor.detach().cpu().double().flatten().tolist()],
        "statistics": [value for tensor in network.buffers() for value in tensor.cpu().double().flatten().tolist()],
    }


def _same(ours, theirs):
    return all(_near(ours[part], theirs[part]) for part in ("parameters", "statistics"))


def _near(ours, theirs, tolerance=TOLERANCE):
    return len(ours) == len(theirs) and all(abs(a - b) <= tolerance * (1 + abs(b)) for a, b in zip(ours, theirs))


def _observe(answer, network, *optimizer):
    """Call the answer and write down all that `train` and `test` have in common."""
    loss_fn, stale, returned = _Loss(label_smoothing=SMOOTHING, log=network.log), False, None
    try:
        returned = answer(_Loader(_batches()), network, loss_fn, *optimizer)
    except RuntimeError as error:
        stale = "modified by an inplace operation" in str(error)
        if not stale:
            raise
    return {
        "returned": returned,
        "stale": stale,
        "log": list(network.log),
        "state": _state(network),
        "gradients": any(p.grad is not None for p in network.parameters()),
        "gradients on": torch.is_grad_enabled() and not torch.is_inference_mode_enabled(),
        "frozen": not all(p.requires_grad for p in network.parameters()),
        "loss changed": (loss_fn.reduction, loss_fn.label_smoothing) != ("mean", SMOOTHING),
    }


def _left_behind(name, scene):
    """Changes that outlive the call."""
    if scene["frozen"]:
        return "frozen", f"after `{name}` some weights no longer require gradients: the next training could not change them", 0.5
    if not scene["gradients on"]:
        return "gradients_left_off", f"after `{name}` gradients stay switched off for all that follows: use a `with` block", 0.6
    if scene["loss changed"]:
        return "loss_fn_changed", f"`{name}` changed the settings of the `loss_fn` that was handed over: others use it, too", 0.6
    return None


# --- train -------------------------------------------------------------------------------------


def _train_scenes(answer):
    def one_pass():
        network = _network().to(default_device())
        network.eval()  # the answer has to switch it to training
        return _observe(answer, network, _Optimizer(network.parameters(), network.log))

    return {"one pass": one_pass}


def _simulate(
    logits_of=lambda x: x, clear=True, sum_loss=False, training=True, smoothing=SMOOTHING, batches=slice(None), order="right", passes=1
):  # fmt: skip
    """Train with one mistake built in; returns (state, what each batch gave before its update)."""
    network, seen = _network(), []
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    network.train(training)
    for images, labels in _batches()[batches] * passes:
        logits = network(images)
        loss = F.cross_entropy(logits_of(logits), labels, label_smoothing=smoothing, reduction="sum" if sum_loss else "mean")
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if order == "right":
            optimizer.step()
        with torch.no_grad():
            after = copy.deepcopy(network).train(training)(images)
        seen.append(_batch_facts(logits, labels, after))
    if order == "step last":
        optimizer.step()
    return _state(network), seen


def _batch_facts(logits, labels, after):
    """What one batch gave: its losses (of the handed-over loss and of plain cross-entropy) and its right predictions."""
    logits = logits.detach()
    return {
        "n": len(labels), "correct": _correct(logits, labels), "correct after": _correct(after, labels),
        "of the largest": (logits.argmax() == labels).sum().item(),
        "loss": _loss(logits, labels), "loss after": _loss(after, labels),
        "plain": _loss(logits, labels, 0), "plain after": _loss(after, labels, 0),
        "softmax": _loss(logits.softmax(1), labels),
    }  # fmt: skip


def _loss(logits, labels, smoothing=SMOOTHING):
    return F.cross_entropy(logits, labels, label_smoothing=smoothing).item()


def _correct(logits, labels):
    return int((logits.argmax(1) == labels).sum())


_TRAINING_MISTAKES = {
    "no_zero_grad": (
        {"clear": False},
        "the gradients of earlier batches were added to those of later ones: clear them in every step (`optimizer.zero_grad()`)",
    ),
    "softmax_before_loss": (
        {"logits_of": lambda x: x.softmax(1)},
        "the loss was given probabilities: cross-entropy applies softmax itself, so hand it the logits as they are",
    ),
    "sigmoid_before_loss": ({"logits_of": torch.sigmoid}, "the logits were squashed by a sigmoid before the loss: hand them over as they are"),
    "relu_before_loss": ({"logits_of": F.relu}, "the logits went through a ReLU before the loss: hand them over as they are"),
    "no_train_mode": ({"training": False}, "batch norm was in evaluation mode: call `model.train()` before the first batch"),
    "sum_of_losses_trained": ({"sum_loss": True}, "the update used the sum of the losses of a batch, expected their mean as `loss_fn` returns it"),
    "loss_fn_ignored": ({"smoothing": 0}, "the update did not use the `loss_fn` that was handed over but a cross-entropy of its own"),
    "last_batch_skipped": ({"batches": slice(2)}, "the last, short batch was left out: 2 of 3 batches were trained on"),
    "first_batch_only": ({"batches": slice(1)}, "only the first of 3 batches was trained on: is the `return` inside the loop?"),
    "first_batch_skipped": ({"batches": slice(1, None)}, "the first batch was left out: 2 of 3 batches were trained on"),
    "one_update_only": (
        {"order": "step last", "clear": False},
        "the weights moved once, at the end, by the sum of the gradients of all batches: expected an update for each batch",
    ),
    "last_gradient_only": ({"order": "step last"}, "the weights moved once, at the end, by the gradient of the last batch: expected an update for each batch"),
    "more_than_one_pass": ({"passes": 2}, "the data was gone through twice: `train` is one pass, the epochs are counted elsewhere"),
}


def _train_findings(seen):
    scene = seen["one pass"]
    log, state = _Log(scene["log"]), scene["state"]
    expected, batches = _simulate()
    return (
        _far_findings(log)
        or (_stale_graph(log) if scene["stale"] else None)
        or (None if _same(state, expected) else _wrong_update(log, state, expected))
        or _left_behind("train", scene)
        or _average_findings("train", scene["returned"], batches, extra=len(log.of("forward")) > len(SIZES))
    )


def _far_findings(log):
    for name, event in (("images", "forward"), ("labels", "loss")):
        if any(entry["far"] for entry in log.of(event)):
            return f"{name}_not_moved", f"the {name} reached the model or the loss on another device than the model's: move them with `.to(device)`", 0.5
    return None


def _stale_graph(log):
    """`backward()` raised, because the weights it needs have moved since the forward pass."""
    if log.first("step", "backward") == "step":
        return "step_before_backward", "`optimizer.step()` moved the weights between forward pass and `loss.backward()`: look at the order of the five parts"
    message = "`backward()` went back through an earlier batch, whose weights have been updated since: send back the loss of the batch at hand alone"
    return "backward_through_earlier_batches", message


def _wrong_update(log, state, expected):
    """Why the weights after one pass are not what they should be."""
    unchanged = _near(state["parameters"], _state(_network())["parameters"])
    if found := (_nothing_learned(log) if unchanged else None) or _wrong_steps(log, unchanged):
        return found
    if _near(state["parameters"], expected["parameters"]) and len(log.of("forward")) > len(SIZES):
        return _counted_again(len(log.of("forward")))
    for name, (mistake, message) in _TRAINING_MISTAKES.items():
        if _same(state, _simulate(**mistake)[0]):
            return name, message
    return _wrong_in_general(log)


def _counted_again(forwards):
    message = f"the model was called {forwards} times for {len(SIZES)} batches: count the predictions that the loss was computed from, once"
    return "counted_again", message, 0.5


def _nothing_learned(log):
    """Why the weights are still those of the start."""
    forwards, steps = log.of("forward"), log.of("step")
    if not forwards:
        return "model_not_used", "the model that was handed over was never called: go through the dataloader and compute `model(images)` for each batch"
    if not any(entry["gradients"] for entry in forwards):
        return "gradients_switched_off", "the forward passes ran without gradients: `no_grad` and `inference_mode` belong into `test`"
    if not steps:
        return "no_step", "no weight was updated: `optimizer.step()` was never called"
    if any(entry["gradients"] for entry in steps):
        message = "the weights after `train` are those before it, though there were updates"
        return "updates_lost", message + ": was another model trained, or were the old weights put back?"
    if not log.of("backward"):
        return "no_backward", "`optimizer.step()` found no gradients: nothing computed them, `loss.backward()` was never called on what `loss_fn` returned"
    if log.first("step", "backward") == "step":
        return "step_before_backward", "`optimizer.step()` was called before `loss.backward()` had computed the gradients, so it found none"
    return "zero_grad_after_backward", "`optimizer.step()` found no gradients: clear them before `backward()`, not between `backward()` and `step()`"


def _wrong_steps(log, unchanged):
    """The updates went another way than through the optimizer as it was handed over."""
    steps = log.of("step")
    if not steps and not unchanged:
        return "own_optimizer", "the weights changed, but not through the `optimizer` that was handed over: use it, do not make another one"
    if any(abs(entry["lr"] - RATE) > 1e-9 for entry in steps):
        rates = ", ".join(f"{entry['lr']:g}" for entry in steps[:4])
        return "learning_rate_changed", f"the updates ran with learning rates {rates}, expected {RATE:g} throughout: schedules are stepped elsewhere"
    return None


def _wrong_in_general(log):
    steps, forwards = log.of("step"), log.of("forward")
    images = sum(entry["images"] for entry in forwards)
    if not all(entry["training"] for entry in forwards):
        return "no_train_mode", "batch norm was in evaluation mode for some of the batches: call `model.train()` before the first one, and leave it so"
    if len(steps) != len(SIZES):
        return "wrong_number_of_updates", f"{len(steps)} updates were made for {len(SIZES)} batches: expected one for each"
    if images < IMAGES:
        return "not_all_batches", f"the model saw {images} images, expected each of the {IMAGES} once"
    message = "after one pass the weights differ from those of a correct loop, though there were 3 updates: look at what happens to logits, loss and gradients"
    return "wrong_update", message + " between the forward pass and the step"


# --- the two averages, of train and of test ----------------------------------------------------


def _average_findings(name, returned, batches, extra=False):
    """What is wrong with the returned averages; batches: what each batch really gave; extra: the model was called more often than needed."""
    if not isinstance(returned, list) or len(returned) != 2:
        kind = "None" if returned is None else f"{len(returned)} values" if isinstance(returned, list) else "a single value"
        return "not_two_values", f"`{name}` returned {kind}, expected the two averages: `(avg_loss, avg_acc)`", 0.5
    if any(isinstance(value, dict) and value.get("requires_grad") for value in returned):
        return "keeps_the_graph", f"`{name}` returns a tensor that still holds the graph of its computation: take the number out with `.item()`", 0.7
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in returned):
        return "not_numbers", f"`{name}` returned {_kinds(returned)}, expected two Python floats: take the numbers out with `.item()`", 0.8
    loss, accuracy = returned
    if abs(loss) == float("inf") or abs(accuracy) == float("inf") or loss != loss or accuracy != accuracy:
        return "not_finite", f"`{name}` returned ({loss}, {accuracy}), expected finite averages: look at what is divided by what", 0.4
    found = _wrong_averages(name, loss, accuracy, batches)
    return _counted_again("more than 3") if found and extra and found[0].startswith("wrong") else found


def _wrong_averages(name, loss, accuracy, batches):
    share = _share(batches, "correct")
    # The lesson's loss is cross-entropy: a statistic of its own, with reduction="sum", is as good as loss_fn's.
    keys = [key for key in ("loss", "plain") if _near([loss], [_weighted(batches, key)])]
    if keys and _near([accuracy], [share]):
        return None
    if _near([accuracy], [_weighted(batches, "loss")]) and _near([loss], [share]):
        return "swapped", f"`{name}` returned (accuracy, loss), expected (loss, accuracy)", 0.7
    return (None if keys else _wrong_loss(loss, batches)) or _wrong_accuracy(accuracy, share, batches)


def _kinds(values):
    return " and ".join(str(value.get("type", "a dict")) if isinstance(value, dict) else type(value).__name__ for value in values)


def _weighted(batches, key):
    return sum(batch[key] * batch["n"] for batch in batches) / IMAGES


def _share(batches, key):
    return sum(batch[key] for batch in batches) / IMAGES


def _wrong_loss(loss, batches):
    for key in ("loss", "plain"):
        for name, (value, message) in _loss_candidates(batches, key).items():
            if _near([loss], [value]):
                return name, message, 0.5
    return "wrong_loss", f"the average loss is {loss:.4f}, expected {_weighted(batches, 'loss'):.4f} over {IMAGES} images", 0.4


def _loss_candidates(batches, key):
    """{finding: (the loss that this mistake gives, message)}; key: which loss."""
    means = [batch[key] for batch in batches]
    total = _weighted(batches, key) * IMAGES
    return {
        "mean_of_batch_means": (
            sum(means) / len(means),
            "the average loss is the mean of the batch means: the short last batch counts too much, weight each batch by its number of images",
        ),
        "last_batch_loss": (means[-1], "the returned loss is that of the last batch alone, expected the average over all images"),
        "first_batch_loss": (means[0], "the returned loss is that of the first batch alone: is the `return` inside the loop?"),
        "loss_not_averaged": (total, "the returned loss is a sum over the images: divide it by their number"),
        "batch_losses_summed": (sum(means), "the returned loss is the sum of the batch means, expected the average over all images"),
        "divided_by_dataset": (total / DATASET, f"the loss was divided by {_DATASET}"),
        "batch_means_over_dataset": (sum(means) / DATASET, f"the sum of the batch means was divided by {_DATASET}"),
        "batch_means_over_images": (
            sum(means) / IMAGES,
            "the sum of the batch means was divided by the number of images: multiply each mean by its number of images first",
        ),
        "sums_over_batches": (total / len(means), "the sum of the losses was divided by the number of batches, expected the number of images"),
        "full_batches_assumed": (
            sum(means) * SIZES[0] / IMAGES,
            "each batch was counted with `batch_size` images, but the last one is short: count the images that it really has",
        ),
        "padded_batches": (total / (SIZES[0] * len(means)), "the sum was divided by batches × batch_size, but the last batch is short: count the images seen"),
        "loss_after_update": (
            _weighted(batches, f"{key} after"),
            "the loss was measured after the update of the weights, expected the loss that the update was computed from",
        ),
        "softmax_before_loss": (_weighted(batches, "softmax"), "the loss was given probabilities: cross-entropy applies softmax itself, so hand it the logits"),
        "loss_integer_division": (_weighted(batches, key) // 1, "the loss was rounded down to a whole number: is it divided with `//` or `int`?"),
        "loss_rounded": (round(_weighted(batches, key), 2), "the loss was rounded: return it as it is, and round where it is printed"),
        "loss_negative": (-_weighted(batches, key), "the loss has the wrong sign"),
    }


_DATASET = f"len(dataloader.dataset), which is {DATASET} here because the loader shows a part of it; expected the {IMAGES} images that were seen"


def _wrong_accuracy(accuracy, truth, batches):
    for name, (value, message) in _accuracy_candidates(truth, batches).items():
        if _near([accuracy], [value]):
            return name, message, 0.6
    return "wrong_accuracy", f"the average accuracy is {accuracy:.4f}, expected {truth:.4f} ({round(truth * IMAGES)} of {IMAGES} images right)", 0.5


def _accuracy_candidates(truth, batches):
    """{finding: (the accuracy that this mistake gives, message)}."""
    correct = sum(batch["correct"] for batch in batches)
    shares = [batch["correct"] / batch["n"] for batch in batches]
    return {
        "accuracy_mean_of_batch_means": (
            sum(shares) / len(shares),
            "the accuracy is the mean of the batch accuracies: the short last batch counts too much, count the right ones and divide by the images",
        ),
        "accuracy_over_batches": (correct / len(batches), "the right predictions were divided by the number of batches, expected the number of images"),
        "accuracy_in_percent": (100 * truth, "the accuracy is in percent, expected a share between 0 and 1"),
        "accuracy_not_divided": (correct, "the number of right predictions was returned: divide it by the number of images"),
        "accuracy_over_dataset": (correct / DATASET, f"the accuracy was divided by {_DATASET}"),
        "accuracy_after_update": (
            _share(batches, "correct after"),
            "the predictions were counted after the update of the weights, expected those the loss was computed from",
        ),
        "argmax_without_dim": (
            _share(batches, "of the largest"),
            "`argmax` without `dim` gives one place in the whole batch: ask for the largest of each row with `dim=1`",
        ),
        "accuracy_of_last_batch": (shares[-1], "the accuracy is that of the last batch alone, expected the share over all images"),
        "last_batch_over_images": (batches[-1]["correct"] / IMAGES, "only the right predictions of the last batch were counted: add up those of all batches"),
        "accuracy_of_first_batch": (shares[0], "the accuracy is that of the first batch alone, expected the share over all images"),
        "accuracies_summed": (sum(shares), "the accuracy is the sum of the batch accuracies, expected the share over all images"),
        "batch_accuracies_over_images": (
            sum(shares) / IMAGES,
            "the batch accuracies were added up and divided by the number of images: count the right ones instead",
        ),
        "padded_batches": (correct / (SIZES[0] * len(SIZES)), "the count was divided by batches × batch_size, but the last batch is short"),
        "accuracy_integer_division": (0, "the accuracy is 0: is it divided with `//`, cut to a whole number, or are logits compared with labels, not classes?"),
        "error_rate": (1 - truth, "what was returned is the share of wrong predictions, expected that of right ones"),
    }


TRAIN = Todo("train", 6, ("dataloader", "model", "loss_fn", "optimizer"), _train_scenes, _train_findings, (loops.train, loops.fit))


# --- test --------------------------------------------------------------------------------------


def _test_scenes(answer):
    def one_pass():
        network = _warmed_up().to(default_device())
        network.train()  # the answer has to switch it to evaluation
        return _observe(answer, network)

    return {"one pass": one_pass}


def _warmed_up():
    """The network with running statistics that differ from those of any batch."""
    network = _network()
    norm = network.layers[2]
    norm.running_mean.copy_(torch.linspace(-1, 1, 6))
    norm.running_var.copy_(torch.linspace(0.5, 2, 6))
    return network


def _evaluate():
    network = _warmed_up().eval()
    with torch.inference_mode():
        results = [(network(images), labels) for images, labels in _batches()]
        return [_batch_facts(logits, labels, logits) for logits, labels in results]


def _test_findings(seen):
    scene = seen["one pass"]
    log = _Log(scene["log"])
    return (
        _changes(log, scene)
        or _far_findings(log)
        or _left_behind("test", scene)
        or _unneeded_gradients(log)
        or _wrong_images(log, scene["returned"])
        or _average_findings("test", scene["returned"], _evaluate(), extra=len(log.of("forward")) > len(SIZES))
        or _unused_loss(log)
    )


def _changes(log, scene):
    """A test that does not only look."""
    forwards = log.of("forward")
    if not forwards:
        return "model_not_used", "the model that was handed over was never called: go through the dataloader and compute `model(images)` for each batch"
    if scene["gradients"] or log.of("backward"):
        return "trains", "`test` computed gradients of the weights: it must only look, without `backward` and `step`"
    if any(entry["training"] for entry in forwards):
        return "no_eval_mode", "the model was in training mode, so that batch norm used the batch at hand: call `model.eval()` before the first batch"
    if not _same(scene["state"], _state(_warmed_up())):
        return "model_changed", "the model's weights or statistics changed: `test` must only look"
    return None


def _unused_loss(log):
    """In `train`, the update tells; here nothing but the calls does."""
    if not log.of("loss"):
        return "loss_fn_ignored", "`test` never called the `loss_fn` that was handed over but measured a cross-entropy of its own", 0.7
    return None


def _unneeded_gradients(log):
    if any(entry["gradients"] for entry in log.of("forward")):
        return "gradients_kept", "the forward passes kept what a backward pass would need: use `torch.no_grad()` or `torch.inference_mode()`", 0.6
    return None


def _wrong_images(log, returned):
    images = sum(entry["images"] for entry in log.of("forward"))
    if images == SIZES[0]:
        return "first_batch_only", f"the model saw only the first {images} of {IMAGES} images: is the `return` inside the loop?", 0.2
    if images == IMAGES - SIZES[-1]:
        return "last_batch_skipped", f"the model saw {images} of {IMAGES} images: was the short last batch left out?", 0.3
    if images < IMAGES:
        return "not_all_batches", f"the model saw {images} images, expected each of the {IMAGES} once", 0.2
    return None


TEST = Todo("test", 4, ("dataloader", "model", "loss_fn"), _test_scenes, _test_findings, (loops.test, loops.train, loops.fit))
