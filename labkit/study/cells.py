"""The cells of a study: which experiments it compares, what they vary, and how they are called."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from labkit.errors import LabkitError, accepted
from labkit.experiment import Experiment

FIELDS = tuple(field.name for field in fields(Experiment))


@dataclass(frozen=True)
class Cell:
    """One run of a study: its `label` (a string, or the values of the fields that the study varies) and its experiment."""

    label: str | tuple
    experiment: Experiment


def grid(base, **axes):
    """Every combination of the values of `axes`, as {label: Experiment}; a label is the tuple of its values.

    base: an `Experiment`. axes: a list of values for each field to vary, `grid(base, lr=[1e-2, 1e-3], schedule=["constant", "step"])`.
    Raises `LabkitError` for an unknown field, a value that the field does not take, or an axis without values.
    """
    _need_experiment(base, "the base of a grid")
    columns = [_axis(name, values) for name, values in axes.items()]
    experiments = [replace(base, **dict(zip(axes, values))) for values in itertools.product(*columns)]
    return {tuple(getattr(e, name) for name in axes): e for e in experiments}


def _axis(name, values):
    accepted("field", name, FIELDS)
    if isinstance(values, (str, Mapping)) or not isinstance(values, Iterable):
        raise LabkitError(f"{name} needs a list of values, for example {name}=[{values!r}]")
    if not (values := list(values)):
        raise LabkitError(f"{name} has no values; give it at least one or leave it out")
    return values


def cells(experiments, seeds=1):
    """The `Cell`s of {label: Experiment} or of a list of Experiments, each with `seeds` seeds from its own one on.

    A label that is a string stays; any other becomes the tuple of the values of the varied fields. What is there twice is left out.
    """
    labelled = _labelled(experiments)
    _check_seeds([e for _, e in labelled], seeds)
    varied = varied_fields([e for _, e in labelled])
    named = [(label if isinstance(label, str) else tuple(getattr(e, name) for name in varied), e) for label, e in labelled]
    return list(dict.fromkeys(Cell(label, replace(e, seed=e.seed + offset)) for label, e in named for offset in range(seeds)))


def _labelled(experiments):
    """[(label or None, Experiment), …]"""
    if isinstance(experiments, Mapping):
        pairs = list(experiments.items())
    elif isinstance(experiments, (list, tuple)):
        pairs = [(None, e) for e in experiments]
    else:
        raise LabkitError(f"a study needs a dict {{label: Experiment}} or a list of Experiments, not {experiments!r}")
    for _, e in pairs:
        _need_experiment(e, "every cell of a study")
    if not pairs:
        raise LabkitError("a study needs at least one experiment")
    return pairs


def _need_experiment(value, what):
    if not isinstance(value, Experiment):
        raise LabkitError(f"{what} must be an Experiment, not {value!r}")


def _check_seeds(experiments, seeds):
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise LabkitError(f"seeds must be a whole number of seeds for each cell, at least 1, not {seeds!r}")
    if seeds > 1 and len({e.seed for e in experiments}) > 1:
        raise LabkitError(f"seeds={seeds} repeats each cell, but the cells have seeds of their own; leave one of the two out")


def varied_fields(experiments):
    """The names of the fields in which the experiments differ."""
    return [name for name in FIELDS if len({getattr(e, name) for e in experiments}) > 1]


def in_words(name, value):
    """A field's value for a figure: a word stands alone, a number needs the name of its field."""
    if value in ((), None):
        return f"no {name}"
    if isinstance(value, tuple):
        return short(value)
    return value if isinstance(value, str) and value != "none" else f"{spaced(name)} {short(value)}"


def spaced(name):
    """The name of a field for a person."""
    return name.replace("_", " ")


def short(value):
    """A value alone, for an axis that is named already."""
    if isinstance(value, tuple):
        return " + ".join(map(short, value)) or "none"
    if isinstance(value, Experiment):  # a teacher
        return value.model
    return f"{value:g}" if isinstance(value, float) else str(value)
