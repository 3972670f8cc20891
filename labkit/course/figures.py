"""The figures of a grading, as SVG that takes the colour of its text from the page around it: dark on light, or light on dark.

No text from a submission is drawn: what a figure shows of one is numbers, and words about it belong into the page.
"""

import io
import math
from functools import cache

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labkit.plots import COLORS, PALETTE, PARTS

_LARGEST = 1e6  # beyond it a loss has diverged, and would flatten the rest
_MOST_POINTS = 400  # of a line: one more is no wider than a pixel
_INK = "#555556"  # found again in the SVG, where it becomes the colour of the text
_TONES = "<style>svg { color: #444c56 } @media screen and (prefers-color-scheme: dark) { svg { color: #c3cbd4 } }</style>"
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "labkit",  # the same numbers give the same file
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 8,
    "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.grid": True, "grid.color": _INK, "grid.alpha": 0.15, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "axes.formatter.limits": (-3, 4),
}  # fmt: skip


def curves(history):
    """SVG: loss and accuracy by epoch, a line each for train, validation and test, in the colours of `labkit.plots`.

    history: a list of dicts, see `RunFacts.history`. What is no number, or beyond a million, leaves a gap. All pictures are drawn on
    one canvas: not for several threads at a time.
    """
    with matplotlib.rc_context(_STYLE):
        figure = _panels()
        for axes, measure in zip(figure.axes, ("loss", "acc")):
            for line in [*axes.lines]:
                line.remove()
            axes.relim()
            axes.set(xlim=(0, 1), ylim=(0, 1))  # where there is nothing to draw
            axes.autoscale()
            for part in PARTS:
                _line(axes, history, f"{part}_{measure}", COLORS[part])
        figure.axes[0].set_ylim(0, None)
        figure.axes[1].set_ylim(0, 1)
        return _svg(figure)


@cache
def _panels():
    """Two empty axes: to make them takes longer than to draw into them."""
    figure = Figure(figsize=(3.9, 1.6))
    axes = figure.subplots(1, 2, gridspec_kw={"left": 0.115, "right": 0.99, "bottom": 0.26, "top": 0.92, "wspace": 0.34})
    for each, label in zip(axes, ("loss", "accuracy")):
        each.set(xlabel="epoch", ylabel=label)
        each.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def _line(axes, history, name, color):
    if any(name in row for row in history):
        step = math.ceil(len(history) / _MOST_POINTS)
        epochs = range(1, len(history) + 1, step)  # counted, whatever the rows call themselves
        values = [_number(row.get(name)) for row in history[::step]]
        axes.plot(epochs, values, color=color, linewidth=1.3, marker="o" if len(values) <= 30 else "", markersize=2.5)


def _number(value):
    return float(value) if isinstance(value, (int, float)) and abs(value) < _LARGEST else math.nan


def claims(pairs):
    """SVG: measured against claimed test accuracy, a point for each run, and the diagonal on which they are the same.

    pairs: [(claimed, measured, whether they agree)], not empty, of numbers from 0 to 1.
    """
    ends = [value for claimed, measured, _ in pairs for value in (claimed, measured)]
    low, high = max(0, min(ends) - 0.05), min(1, max(ends) + 0.05)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.3, 2.9))
        axes = figure.subplots(gridspec_kw={"left": 0.15, "right": 0.97, "bottom": 0.15, "top": 0.97})
        axes.plot([low, high], [low, high], color=_INK, linewidth=0.8, zorder=1)
        for agree, marker, color, label in ((True, "o", PALETTE[0], "agrees"), (False, "X", PALETTE[3], "differs")):
            points = [pair[:2] for pair in pairs if pair[2] is agree]
            if points:
                axes.scatter(*zip(*points), s=26, marker=marker, color=color, label=label, zorder=2)
        axes.set(xlabel="claimed test accuracy", ylabel="measured test accuracy", xlim=(low, high), ylim=(low, high))
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure)


def bins(points, of, number=10):
    """[(low, high, count)]: how many of `points` fall into each of `number` equal steps from 0 to `of`; the last one has both its ends."""
    counts, edges = np.histogram(np.clip([value for value in points if math.isfinite(value)], 0, of), bins=number, range=(0, of or 1))
    return [(float(low), float(high), int(count)) for low, high, count in zip(edges, edges[1:], counts)]


def histogram(steps):
    """SVG: the number of students by points. steps: what `bins` returns."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 2.1))
        axes = figure.subplots(gridspec_kw={"left": 0.08, "right": 0.98, "bottom": 0.19, "top": 0.97})
        for low, high, count in steps:
            axes.bar((low + high) / 2, count, 0.96 * (high - low), color=PALETTE[0])
        axes.set(xlabel="points", ylabel="students", xlim=(0, steps[-1][1]), xticks=[0, *(high for _, high, _ in steps)])
        axes.grid(False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        return _svg(figure)


def _svg(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return text.getvalue().replace(_INK, "currentColor").replace("<defs>", f"<defs>{_TONES}", 1)
