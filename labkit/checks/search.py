"""Check of notebook 12: `objective`.

The answer is called as a search calls it, and nothing is trained: while it works, the run store has every experiment
already, as a prepared run. `run` reads that and tells of its epochs as it does of any finished run, so the answer meets
labkit's own `run`, however it was imported. All numbers of the prepared run differ: each is known by its value.
"""

import json
import threading
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import pandas as pd

from labkit import runs
from labkit.checks.guard import as_number
from labkit.checks.todo import Todo
from labkit.errors import LabkitError
from labkit.loops import MONITORS

TRIALS = (  # (parameters, what is added to all numbers of the prepared run)
    ({"batch_size": 16, "lr": 0.0123, "momentum": 0.7}, 0.0),
    ({"batch_size": 128, "lr": 0.00045, "momentum": 0.1}, 0.004),
)
STOP_AT = 2  # the report that ends the trial, in the scene where one does
TOLERANCE = 1e-6
_EPOCHS = {  # best by loss: the third; best by accuracy: the fourth; neither is the last
    "train_loss": (1.81, 1.32, 0.96, 0.72, 0.51),
    "train_acc": (0.352, 0.523, 0.664, 0.751, 0.832),
    "valid_loss": (1.93, 1.54, 1.21, 1.29, 1.43),
    "valid_acc": (0.314, 0.461, 0.572, 0.613, 0.591),
}
_TEST = {"test_loss": 1.26, "test_acc": 0.543}
_here = threading.local()  # .scene: what this thread's answer is watched by


# --- the prepared run --------------------------------------------------------------------------


def _history(shift):
    """The rows of the prepared run."""
    columns = {name: [value + shift for value in values] for name, values in _EPOCHS.items()}
    return [{"epoch": number, **dict(zip(columns, values))} for number, values in enumerate(zip(*columns.values()), 1)]


def _best(rows, monitor):
    """The row whose weights `run` keeps."""
    return {"min": min, "max": max}[MONITORS[monitor]](rows, key=lambda row: row[monitor])


def _prepared(experiment, shift):
    """A finished run of the experiment that nobody trained."""
    rows, test = _history(shift), {name: value + shift for name, value in _TEST.items()}
    best = _best(rows, experiment.monitor)
    result = {"key": experiment.key, "epochs": len(rows), "stopped_early": False, "best_epoch": best["epoch"], **best, **test}
    del result["epoch"]
    shown = {} if experiment.valid else test  # without a validation part the history has the test curve
    finished = runs.Run(experiment, Path("prepared"), result)
    vars(finished).update(history=pd.DataFrame([row | {"lr": experiment.lr} | shown for row in rows]), seconds=1.0)
    return finished


@contextmanager
def _every_run_is_finished():
    """`run` finds a prepared run of whatever an answer asks for; other threads keep their own."""
    read, tell = runs.RunStore.read, runs._tell

    def read_prepared(store, experiment):
        scene = getattr(_here, "scene", None)
        return scene.read(experiment) if scene else read(store, experiment)

    def tell_watched(history, on_epoch):
        with _during(getattr(_here, "scene", None), on_epoch):
            tell(history, on_epoch)

    runs.RunStore.read, runs._tell = read_prepared, tell_watched
    try:
        yield
    finally:
        runs.RunStore.read, runs._tell = read, tell


@contextmanager
def _during(scene, on_epoch):
    """The time of the epochs, in which a report can still save some of them."""
    if scene:
        scene.training = True
        scene.ready_made |= any(getattr(function, "__module__", None) == "labkit.search" for function in on_epoch)
    try:
        yield
    finally:
        if scene:
            scene.training = False


# --- the scenes --------------------------------------------------------------------------------


class _Scene:
    """What an answer trains and reports in one call."""

    def __init__(self, shift, stop_at=None, stop=None):
        self.shift, self.stop_at, self.stop = shift, stop_at, stop
        self.experiments, self.reports = [], []
        self.training = self.ready_made = False

    def read(self, experiment):
        self.experiments.append(experiment.to_dict())
        return _prepared(experiment, self.shift)

    def report(self, epoch, value):
        self.reports.append({"epoch": epoch, "value": value, "training": self.training})
        if len(self.reports) == self.stop_at:
            raise self.stop

    def seen(self, **more):
        return {"experiments": self.experiments[:10], "reports": self.reports[:50], "ready made": self.ready_made} | more


def _scenes(answer):
    with suppress(LabkitError):  # its import must not use up the answer's time; where it fails, the scene says why
        import_module("labkit.search")
    # Both trials in one scene: each scene begins with the same random numbers.
    return {"two trials": lambda: [_call(answer, *trial) for trial in TRIALS], "stopped": lambda: _call_and_stop(answer, *TRIALS[0])}


def _call(answer, parameters, shift):
    _here.scene = scene = _Scene(shift)
    return scene.seen(returned=answer(dict(parameters), scene.report))


def _call_and_stop(answer, parameters, shift):
    from labkit.search import optuna  # late: the checks of the other notebooks do without

    _here.scene = scene = _Scene(shift, STOP_AT, optuna.TrialPruned())
    try:
        answer(dict(parameters), scene.report)
    except optuna.TrialPruned:
        return scene.seen(ended=True)
    return scene.seen(ended=False)


# --- the judge ---------------------------------------------------------------------------------


def _findings(seen):
    trials = seen["two trials"]
    for scene, (parameters, shift) in zip(trials, TRIALS, strict=True):
        rows = _history(shift)
        if found := _wrong_run(scene, parameters) or _wrong_value(scene, rows, shift) or _wrong_reports(scene["reports"], rows):
            return found
    return _wrong_between(*(scene["experiments"][0] for scene in trials)) or _wrong_end(seen["stopped"])


def _wrong_run(scene, parameters):
    """What is wrong with what was trained."""
    if scene["ready made"]:
        return "reference", "`objective` uses labkit's own `accuracy_of`; write your own"
    if not scene["experiments"]:
        return "nothing_trained", "`objective` never called `run`: build an `Experiment` from the parameters, and run it"
    if len({json.dumps(e, sort_keys=True) for e in scene["experiments"]}) > 1:
        return "several_runs", f"one call ran {len(scene['experiments'])} experiments: a trial is one training with the parameters that were given", 0.3
    return _wrong_experiment(scene["experiments"][0], parameters)


def _wrong_experiment(experiment, parameters):
    for name, value in parameters.items():
        if abs(experiment[name] - value) > TOLERANCE * value:
            return "parameter_ignored", f"`{name}` of the experiment is {experiment[name]:g} where the search asked for {value:g}: hand over all three", 0.3
    if experiment["optimizer"] != "sgd":
        message = f'the optimizer is {experiment["optimizer"]!r}, which takes no notice of `momentum`: the experiment needs `optimizer="sgd"`'
        return "momentum_without_effect", message, 0.4
    if experiment["valid"] == 0:
        return "no_validation", "the experiment holds out no validation images: what is left to choose by is the test set", 0.3
    return None


def _wrong_value(scene, rows, shift):
    """What is wrong with the value that the search maximises."""
    number, best = as_number(scene["returned"]), _best(rows, scene["experiments"][0]["monitor"])
    if scene["returned"] is None:
        return "nothing_returned", "`objective` returned nothing: the search needs the validation accuracy of the best epoch", 0.3
    if number is None:
        return "not_a_number", "`objective` did not return a number: the search needs the validation accuracy of the best epoch", 0.3
    if _near(number, best["valid_acc"]):
        return None
    for name, (values, message, share) in _value_mistakes(rows, best, shift).items():
        if any(_near(number, value) for value in values):
            return name, message, share
    return "wrong_value", f"`objective` returned {number:.4g} where the validation accuracy of the best epoch is {best['valid_acc']:.4g}", 0.3


def _value_mistakes(rows, best, shift):
    """{mistake: (what it returns, message, share of the points)}"""
    several = [best, rows[-1]]
    losses = [row[name] for row in rows for name in ("valid_loss", "train_loss")] + [_TEST["test_loss"] + shift]
    return {
        "test_accuracy_returned": (
            [_TEST["test_acc"] + shift], "the test accuracy was returned: a search that sees it chooses by it, and nothing is left to measure the winner", 0.2,
        ),
        "highest_accuracy_returned": (
            [max(row["valid_acc"] for row in rows)],
            'the highest validation accuracy of all epochs was returned, expected that of the epoch whose weights are kept: `result["valid_acc"]`', 0.7,
        ),
        "last_epoch_returned": (
            [rows[-1]["valid_acc"]], "the validation accuracy of the last epoch was returned, expected that of the best one, whose weights are kept", 0.6,
        ),
        "training_accuracy_returned": (
            [row["train_acc"] for row in several], "the training accuracy was returned: a search would look for the parameters that over-fit most", 0.3,
        ),
        "loss_returned": ([*losses, *(-loss for loss in losses)], "a loss was returned, expected the validation accuracy", 0.3),
        "error_rate_returned": ([1 - row["valid_acc"] for row in several], "the error rate was returned: the search looks for the highest value", 0.3),
        "percent_returned": ([100 * row["valid_acc"] for row in several], "the accuracy was returned in percent, expected a share from 0 to 1", 0.7),
    }  # fmt: skip


def _wrong_reports(reports, rows):
    """What is wrong with what the search was told after each epoch."""
    if not reports:
        return "not_reported", "`report` was never called: without it a hopeless trial cannot be stopped early; hand `run` a function with `on_epoch`", 0.5
    told, accuracies = [(as_number(entry["epoch"]), as_number(entry["value"])) for entry in reports], [row["valid_acc"] for row in rows]
    epochs = [row["epoch"] for row in rows]
    if not all(entry["training"] for entry in reports):
        return "reported_late", "`report` was called when the training was over: call it after each epoch, else nothing can be stopped", 0.6
    if _same(told, zip(epochs, accuracies)):
        return None
    if _same(told, zip(accuracies, epochs)):
        return "report_swapped", "`report` was given the accuracy first, expected the epoch and then the accuracy", 0.6
    if _same(told, ((epoch - 1, value) for epoch, value in zip(epochs, accuracies))):
        return "epochs_from_zero", "the epochs that were reported count from 0, expected from 1, as in `progress.epoch`", 0.7
    if len(told) != len(epochs):
        return "not_every_epoch", f"`report` was called {len(told)} times in {len(epochs)} epochs, expected once after each", 0.6
    return _wrong_measure(told, epochs, rows)


def _wrong_measure(told, epochs, rows):
    """The right number of reports, of something else."""
    for measure, what in (("train_acc", "training accuracy"), ("valid_loss", "validation loss"), ("train_loss", "training loss")):
        if any(_same(told, ((epoch, sign * row[measure]) for epoch, row in zip(epochs, rows))) for sign in (1, -1)):
            return "other_measure_reported", f"the {what} was reported, expected the validation accuracy, by which trials are compared", 0.6
    wrong = next(epoch for (number, value), epoch, row in zip(told, epochs, rows) if not _same([(number, value)], [(epoch, row["valid_acc"])]))
    return "wrong_report", f"after epoch {wrong} something else than `report({wrong}, validation accuracy of that epoch)` was called", 0.5


def _wrong_between(first, second):
    """Settings that change from trial to trial although the search did not ask for it."""
    for name, value in first.items():
        if name not in TRIALS[0][0] and second.get(name) != value:
            values = f"{value!r}, then {second.get(name)!r}"
            return "other_setting_varies", f"`{name}` changed from one trial to the next ({values}): the search did not ask for that", 0.5
    return None


def _wrong_end(scene):
    if scene["ended"]:
        return None
    return "pruning_swallowed", "`report` raised an exception to stop the trial, and `objective` caught it: let it through, the search expects it", 0.6


def _near(a, b):
    return abs(a - b) <= TOLERANCE


def _same(told, expected):
    expected = list(expected)
    if len(told) != len(expected) or any(number is None for pair in told for number in pair):
        return False
    return all(_near(a, b) for ours, theirs in zip(told, expected) for a, b in zip(ours, theirs))


OBJECTIVE = Todo("objective", 6, ("parameters", "report"), _scenes, _findings, around=_every_run_is_finished)
