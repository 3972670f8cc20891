"""Checks of notebook 04: `six_runs`, `draw_scaling`."""

import re
from contextlib import contextmanager

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit import plots
from labkit.checks.todo import Todo
from labkit.experiment import Experiment

# --- six_runs ----------------------------------------------------------------------------------

MODELS = ("resnet18", "resnet50")
FRACTIONS = {"sixteenth": 1 / 16, "half": 1 / 2, "full": 1.0}
_CALLS = {
    "cifar10": {"dataset": "cifar10", "batch_size": 256, "epochs": {"sixteenth": 5, "half": 3, "full": 2}},
    "shapes": {"dataset": "shapes:100/50", "batch_size": 32, "epochs": {"sixteenth": 7, "half": 4, "full": 6}},
}


def _runs_scenes(answer):
    return {name: (lambda call=call: observed_plan(answer, **call)) for name, call in _CALLS.items()}


def observed_plan(answer, dataset, epochs, **settings):
    """What an answer that plans experiments returned, as plain values."""
    given = dict(epochs)
    returned = answer(dataset, epochs=given, **settings)
    if not isinstance(returned, (list, tuple)):
        return {"returned": type(returned).__name__}
    planned = [e.to_dict() if isinstance(e, Experiment) else {"type": type(e).__name__} for e in returned[:100]]
    return {"returned": "list", "planned": planned, "epochs changed": given != epochs}


def wanted_plan(dataset, batch_size, epochs, init="random"):
    """The six runs as they must be, as dicts."""
    return [
        Experiment(data=dataset, fraction=fraction, valid=0, model=model, init=init, batch_size=batch_size, epochs=epochs[size]).to_dict()
        for model in MODELS
        for size, fraction in FRACTIONS.items()
    ]


_FIELDS = {
    "fraction": ("wrong_fractions", "the share of the training images", 0.4),
    "model": ("wrong_models", "the models", 0.4),
    "epochs": ("wrong_epochs", "the numbers of epochs: each size has its own in `epochs`", 0.5),
    "valid": ("validation_held_out", "the share held out for validation: the ground rules hold out nothing", 0.6),
    "init": ("wrong_init", "the initial weights: all runs start from random ones", 0.5),
    "optimizer": ("wrong_optimizer", "the optimizer", 0.5),
    "lr": ("wrong_learning_rate", "the learning rate", 0.5),
    "batch_size": ("batch_size_ignored", "the batch size: use the one that is handed over", 0.5),
    "data": ("dataset_ignored", "the dataset: use the one that is handed over", 0.5),
    "augmentation": ("augmented", "the augmentation: these runs have none", 0.5),
    "schedule": ("wrong_schedule", "the schedule: the learning rate stays constant", 0.5),
}


def _runs_findings(seen):
    for name, call in _CALLS.items():
        if found := wrong_plan("six_runs", seen[name], wanted_plan(**call)):
            return found
    return None


def wrong_plan(todo, scene, wanted):
    """What is wrong with what `observed_plan` saw of the answer to `todo`; None if it is the runs `wanted`."""
    if found := _wrong_list(todo, scene) or _wrong_runs(scene["planned"], wanted):
        return found
    if scene["epochs changed"]:
        return "epochs_changed", f"the dict `epochs` was changed by `{todo}`: read it only, the caller uses it again", 0.7
    return None


def _wrong_list(todo, scene):
    if scene["returned"] != "list":
        return "not_a_list", f"`{todo}` returned {scene['returned']}, expected a list of six experiments", 0.3
    kinds = sorted({run["type"] for run in scene["planned"] if "type" in run})
    if kinds:
        return "not_experiments", f"the list holds objects of type {', '.join(kinds)[:80]}, expected `Experiment`s side by side", 0.2
    if len(scene["planned"]) != len(MODELS) * len(FRACTIONS):
        return "wrong_number_of_runs", f"the list holds {len(scene['planned'])} experiments, expected six: two models × three sizes", 0.3
    return None


def _wrong_runs(planned, wanted):
    if planned == wanted:
        return None
    if _sorted(planned) == _sorted(wanted):
        order = ", ".join(f"{run['model']} {run['fraction']:.4g}" for run in planned)
        return "wrong_order", f"the right runs in another order ({order}): resnet18 first, and for each model from the sixteenth to the full set", 0.7
    for field, (name, what, share) in _FIELDS.items():
        if found := _wrong_field(field, planned, wanted):
            return name, f"{found}. That is {what}", share
    for field in wanted[0]:
        if found := _wrong_field(field, planned, wanted):
            return "other_setting_changed", f"{found}: leave the settings that the exercise does not name at their defaults", 0.6
    return "wrong_runs", "the fields have the right values, but not in these combinations: six runs, each model with each size once", 0.3


def _sorted(runs):
    return sorted(runs, key=lambda run: (run["model"], run["fraction"], str(run)))


def _wrong_field(field, planned, wanted):
    """Where this field is wrong, in words. Both lists are sorted where only the order of the runs differs."""
    if sorted((run["model"], run["fraction"]) for run in planned) == sorted((run["model"], run["fraction"]) for run in wanted):
        planned, wanted = _sorted(planned), _sorted(wanted)
    ours, theirs = [run[field] for run in wanted], [run[field] for run in planned]
    if ours == theirs:
        return None
    if len({str(value) for value in ours}) == 1:
        other = next(value for value in theirs if value != ours[0])
        return f"`{field}` is {other!r}, expected {ours[0]!r}"
    return f"`{field}` is {_list(theirs)}, expected {_list(ours)}"


def _list(values):
    return "[" + ", ".join(f"{value:.6g}" if isinstance(value, (int, float)) else str(value) for value in values) + "]"


SIX_RUNS = Todo("six_runs", 4, ("dataset",), _runs_scenes, _runs_findings, keywords=("batch_size", "epochs"))


# --- draw_scaling ------------------------------------------------------------------------------

PARTS = ("train", "test")
_TABLES = {
    "cifar10": ((3125, 25_000, 50_000), ((0.91, 0.41), (0.84, 0.63), (0.78, 0.71), (0.87, 0.38), (0.81, 0.66), (0.76, 0.74))),
    "small": ((40, 320, 640), ((0.99, 0.21), (0.89, 0.33), (0.69, 0.47), (0.97, 0.18), (0.86, 0.29), (0.59, 0.52))),
}


def _table(name):
    sizes, accuracies = _TABLES[name]
    rows = [(model, size) for model in MODELS for size in sizes]
    table = pd.DataFrame(rows, columns=["model", "images"])
    table["epochs"] = [3, 2, 1] * 2
    table["test loss"] = [3 * (1 - test) for _, test in accuracies]
    for part, values in zip(PARTS, zip(*accuracies)):
        table[f"{part} accuracy"] = values
    table["gap"] = table["train accuracy"] - table["test accuracy"]
    return table


def _drawing_scenes(answer):
    def draw(name):
        table, before = _table(name), _table(name)
        with _figures_closed():
            returned = answer(table)
            if not isinstance(returned, Figure):
                return {"returned": type(returned).__name__}
            panels = [_panel(axes) for axes in returned.axes if axes.get_visible() and axes.axison]
        legend = [text.get_text() for legend in returned.legends for text in legend.get_texts()]
        labels = {"x": returned.get_supxlabel(), "y": returned.get_supylabel()}
        return {"returned": "Figure", "panels": panels, "legend": legend, "labels": labels, "table changed": not table.equals(before)}

    return {name: (lambda name=name: draw(name)) for name in _TABLES}


@contextmanager
def _on_paper():
    """Windows can only be opened by the main thread, and an answer runs in another: draw without them."""
    backend = matplotlib.get_backend()
    if backend.lower() == "agg" or "inline" in backend:
        yield
        return
    plt.switch_backend("agg")
    try:
        yield
    finally:
        plt.switch_backend(backend)


@contextmanager
def _figures_closed():
    """Figures that the answer left open would be shown once more below the cell."""
    before = set(plt.get_fignums())
    try:
        yield
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _panel(axes):
    legend = axes.get_legend()
    return {
        "title": " ".join(axes.get_title(loc) for loc in ("left", "center", "right")),
        "x label": axes.get_xlabel(),
        "y label": axes.get_ylabel(),
        "shared": [len(group.get_siblings(axes)) > 1 for group in (axes.get_shared_x_axes(), axes.get_shared_y_axes())],
        "x scale": axes.get_xscale(),
        "y limits": [float(limit) for limit in axes.get_ylim()],
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "lines": [line for line in map(_line, axes.get_lines()) if line["x"]],
        "points": [np.asarray(points.get_offsets()).tolist() for points in axes.collections if len(points.get_offsets())],
    }


def _line(line):
    xs, ys = (np.asarray(values, dtype=float).tolist() for values in (line.get_xdata(orig=False), line.get_ydata(orig=False)))
    marked = line.get_marker() not in (None, "None", "none", "", " ")
    return {"label": str(line.get_label()), "x": xs, "y": ys, "marked": marked, "drawn": line.get_linestyle() not in ("None", "none", "", " ")}


def _drawing_findings(seen):
    for name in _TABLES:
        scene = seen[name]
        if scene["returned"] != "Figure":
            kind = scene["returned"]
            return "not_a_figure", f"`draw_scaling` returned {'None' if kind == 'NoneType' else kind}, expected the matplotlib `Figure` with its panels", 0.3
        if found := _wrong_panels(scene["panels"], _table(name)) or _wrong_axes(scene):
            return found
        if scene["table changed"]:
            return "table_changed", "`draw_scaling` changed the table that it was given: work on a copy", 0.7
    return None


def _wrong_panels(panels, table):
    if len(panels) != len(MODELS):
        return "wrong_number_of_panels", f"the figure has {len(panels)} panels, expected two, one for each model", 0.3
    for panel in panels:
        if not panel["lines"]:
            return "no_lines", "a panel has no lines: plot the accuracies against the sizes with `ax.plot`", 0.2
    named = [_model_of(panel["title"]) for panel in panels]
    if sorted(map(str, named)) != sorted(MODELS):
        titles = " and ".join(repr(panel["title"].strip()) for panel in panels)
        return "no_title", f"the titles of the panels are {titles}: each names its model", 0.6
    for panel, model in zip(panels, named):
        if found := _wrong_lines(panel, model, table):
            return found
    return None


def _model_of(title):
    words = re.sub(r"[^a-z0-9]", "", title.lower())
    found = [model for model in MODELS if model in words]
    return found[0] if len(found) == 1 else None


def _wrong_lines(panel, model, table):
    """What is wrong with the numbers drawn in the panel of this model."""
    rows, others = table[table["model"] == model], table[table["model"] != model]
    lines = panel["lines"]
    if any(len(line["x"]) > len(rows) for line in lines) or len(lines) > len(PARTS):
        if len(lines) == len(PARTS):
            return "models_mixed", f"a line in the panel of {model} has {len(lines[0]['x'])} points, expected the 3 sizes of this model alone", 0.4
        return "too_many_lines", f"the panel of {model} has {len(lines)} lines, expected two: train and test", 0.4
    if len(lines) < len(PARTS):
        return "line_missing", f"the panel of {model} has {len(lines)} line, expected two: train and test", 0.4
    points = {part: _points(rows, part) for part in PARTS}
    drawn = [_rounded(zip(line["x"], line["y"])) for line in lines]
    if sorted(drawn) != sorted(points.values()):
        return _wrong_numbers(drawn, points, model, others)
    return _wrong_labels(panel, drawn, points) or _wrong_marks(panel)


def _points(rows, part):
    return _rounded(zip(rows["images"], rows[f"{part} accuracy"]))


def _rounded(points):
    """On a logarithmic axis, some libraries draw the power of the logarithm."""
    return sorted((round(float(x), 3), round(float(y), 6)) for x, y in points)


def _wrong_numbers(drawn, points, model, others):
    values, sizes = [sorted(y for _, y in line) for line in drawn], [sorted(x for x, _ in line) for line in drawn]
    wanted, images = [sorted(y for _, y in line) for line in points.values()], sorted(x for x, _ in points["train"])
    if sorted(drawn) == sorted(_points(others, part) for part in PARTS):
        return "panels_swapped", f"the panel named {model} shows the numbers of the other model", 0.4
    if all(np.allclose(sorted(values)[i], np.multiply(sorted(wanted)[i], 100)) for i in range(2)):
        return "percent", "the accuracies are drawn in percent, expected shares from 0 to 1", 0.6
    if sorted(values) == sorted(wanted) and any(size != images for size in sizes):
        return "wrong_sizes", f"the points stand at {_list(sizes[0])} on the horizontal axis, expected the numbers of training images {_list(images)}", 0.4
    return "wrong_numbers", f"the lines of {model} do not show the train and test accuracies of the table", 0.3


def _wrong_labels(panel, drawn, points):
    named_by_legend = len(panel["legend"]) == len(panel["lines"])
    for index, (line, place) in enumerate(zip(panel["lines"], drawn)):
        part, other = ("train", "test") if place == points["train"] else ("test", "train")
        label = panel["legend"][index] if named_by_legend and line["label"].startswith("_") else line["label"]
        if other in label.lower() and part not in label.lower():
            return "labels_swapped", f"the line of the {part} accuracies is labelled {label!r}", 0.5
    return None


def _wrong_marks(panel):
    if not all(line["drawn"] for line in panel["lines"]):
        return "points_without_lines", "the points are not joined: draw lines with a marker at every size", 0.7
    if not all(line["marked"] for line in panel["lines"]) and len(panel["points"]) < len(PARTS):
        return "no_markers", "the lines have no markers: mark the sizes that were really trained", 0.7
    return None


def _wrong_axes(scene):
    panels = scene["panels"]
    for panel in panels:
        for index, axis in enumerate(("x", "y")):
            named = panel[f"{axis} label"] or scene["labels"][axis] or (panel["shared"][index] and any(p[f"{axis} label"] for p in panels))
            if not str(named or "").strip():
                return "no_axis_label", f"a panel has no label on its {axis} axis: say what is drawn there", 0.7
        legend = " ".join([*panel["legend"], *scene["legend"], *(panels[0]["legend"] if panel["shared"][1] else [])]).lower()
        if not all(part in legend for part in PARTS):
            return "no_legend", f"the legend of a panel says {legend!r}, expected a legend that names the train and the test line", 0.7
        if panel["x scale"] != "log":
            return "axis_not_logarithmic", f"the horizontal axis is {panel['x scale']}, expected a logarithmic one", 0.7
        low, high = panel["y limits"]
        if not (-0.11 <= low <= 0 and 1 <= high <= 1.11):
            return "wrong_limits", f"the vertical axis runs from {low:.2f} to {high:.2f}, expected 0 to 1, so that panels and figures can be compared", 0.7
    return None


DRAW_SCALING = Todo("draw_scaling", 4, ("table",), _drawing_scenes, _drawing_findings, (plots.scaling,), around=_on_paper)
