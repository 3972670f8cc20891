"""The figures of the lesson. Each function returns a matplotlib `Figure`."""

import itertools
import math

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from labkit.models import layers

PARTS = {"train": "train", "valid": "validation", "test": "test"}
PALETTE = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3")
_LINE_STYLES = ("-", "--", ":", "-.")  # the next one each time that the palette is gone through, and for a line on another one
COLORS = dict(zip(PARTS, PALETTE))
_VALUES = plt.get_cmap("viridis_r")  # from light (low) to dark (high)
_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "0.92", "axes.axisbelow": True,
    "axes.titlesize": 11, "axes.labelsize": 10, "figure.dpi": 96, "savefig.dpi": 96, "figure.constrained_layout.use": True,
}  # fmt: skip


def _figure(rows=1, columns=1, size=(5.2, 3.4)) -> Figure:
    """A figure of rows × columns axes, `size` inches each, that no notebook shows a second time by itself."""
    with plt.rc_context(_STYLE):
        figure, _ = plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False)
    plt.close(figure)
    return figure


def curves(history, title=""):
    """Loss and accuracy against epochs, one line each for train, validation and test where the history has them.

    history: a DataFrame with the columns of `Run.history`.
    """
    figure = _figure(1, 2)
    for axes, measure, label in zip(figure.axes, ("loss", "acc"), ("loss", "accuracy")):
        for part, name in PARTS.items():
            if f"{part}_{measure}" in history:
                axes.plot(history["epoch"], history[f"{part}_{measure}"], marker="o", markersize=3.5, color=COLORS[part], label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[1].set_ylim(0, 1)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(title, fontsize=12)
    return figure


def scaling(table, title=""):
    """Training-set size against accuracy, train and test, one panel a model.

    table: a DataFrame with the columns model, images, train accuracy, test accuracy.
    """
    groups = list(table.groupby("model", sort=False))
    figure = _figure(1, len(groups), size=(4.6, 3.6))
    for axes, (model, rows) in zip(figure.axes, groups):
        for part in ("train", "test"):
            axes.plot(rows["images"], rows[f"{part} accuracy"], marker="o", color=COLORS[part], label=part)
            _label_points(axes, rows["images"], rows[f"{part} accuracy"], above=part == "train")
        _size_axis(axes, rows["images"])
        axes.set(title=model, xlabel="training images", ylabel="accuracy", ylim=(0, 1.05))
    figure.axes[0].legend(loc="lower right", frameon=False)
    figure.suptitle(title, fontsize=12)
    return figure


def _label_points(axes, xs, ys, above):
    for x, y in zip(xs, ys):
        offset, side = (6, "bottom") if above else (-6, "top")
        axes.annotate(f"{y:.2f}", (x, y), textcoords="offset points", xytext=(0, offset), ha="center", va=side, fontsize=8, color="0.3")


def _size_axis(axes, sizes):
    """A logarithmic axis whose only ticks are the sizes that were trained."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.margins(x=0.12)


def show_images(images, titles=None, columns=8):
    """A grid of images with a title each. images: (N, C, H, W), uint8 or float in [0, 1]."""
    rows = math.ceil(len(images) / columns)
    figure = _figure(rows, columns, size=(1.15, 1.15 if titles is None else 1.35))
    for axes in figure.axes:
        axes.axis("off")
    for index, image in enumerate(images):
        pixels = image.cpu().permute(1, 2, 0).numpy()
        figure.axes[index].imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray")
        if titles is not None:
            figure.axes[index].set_title(titles[index], fontsize=9, pad=3)
    return figure


def show_dataset(image_set, per_class=6, seed=0):
    """A row of random images for each class."""
    generator = torch.Generator().manual_seed(seed)
    figure = _figure(len(image_set.classes), per_class, size=(0.72, 0.72))
    grid = iter(figure.axes)
    for label, name in enumerate(image_set.classes):
        members = (image_set.labels == label).nonzero().squeeze(1)
        for index in members[torch.randperm(len(members), generator=generator)[:per_class]].tolist():
            axes = next(grid)
            axes.imshow(image_set.images[index].permute(1, 2, 0).cpu().numpy())
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        figure.axes[label * per_class].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def schedule(lr, num_steps, title=""):
    """A learning rate against the update; lr: a function of the step."""
    figure = _figure()
    axes = figure.axes[0]
    axes.plot(range(num_steps), [lr(step) for step in range(num_steps)], color=COLORS["train"])
    axes.set(xlabel="update", ylabel="learning rate", title=title)
    return figure


def _legend_beside(axes):
    """To the right of the axes, where it covers nothing."""
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


_ENDED = {"finished": ("o", PALETTE[0]), "pruned": ("X", PALETTE[1]), "diverged": ("v", PALETTE[3])}  # marker and colour


def search_history(table, title="", ylabel="validation accuracy"):
    """The trials of a search, one point each by how it ended, and the best finished one so far as a line.

    table: a DataFrame with the columns trial, value, state ("finished", "pruned" or "diverged"). Diverged trials have
    no value and stand on the lower edge.
    """
    figure = _figure(size=(6.4, 3.4))
    axes = figure.axes[0]
    best = table["value"].where(table["state"] == "finished").cummax().ffill()
    axes.plot(table["trial"], best, drawstyle="steps-post", color="0.45", linewidth=1.3, label="best so far")
    for state, rows in table.groupby(pd.Categorical(table["state"], list(_ENDED)), observed=True):
        heights, place = rows["value"], {}
        if state == "diverged":
            heights, place = [0.03] * len(rows), {"transform": axes.get_xaxis_transform()}  # a share of the height of the axes
        marker, color = _ENDED[state]
        axes.scatter(rows["trial"], heights, marker=marker, s=34, color=color, edgecolor="white", linewidth=0.6, zorder=3, label=state, **place)
    axes.set(xlabel="trial", ylabel=ylabel, title=title, xlim=(0.3, table["trial"].max() + 0.7))
    axes.margins(y=0.12)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _legend_beside(axes)
    return figure


def parallel_coordinates(table, scales, title="", label="validation accuracy"):
    """One line a trial, from axis to axis at its parameters, coloured by its value; pruned trials thin, diverged ones dashed in red.

    table: a DataFrame with a column for each key of `scales`, value and state. scales: {name: an object with
    position(value), from 0 to 1 on its axis, and ticks(), a list of (position, text)}.
    """
    figure = _figure(size=(1.9 * len(scales) + 1.6, 3.6))
    axes = figure.axes[0]
    values = table["value"].where(table["state"] != "diverged")
    norm = Normalize(values.min(), values.max())
    for row in table.assign(value=values).sort_values("value", na_position="first").to_dict("records"):
        style = {"color": _ENDED["diverged"][1], "linestyle": "--"} if math.isnan(row["value"]) else {"color": _VALUES(norm(row["value"]))}
        width = 1.8 if row["state"] == "finished" else 0.9
        axes.plot(range(len(scales)), [scale.position(row[name]) for name, scale in scales.items()], linewidth=width, alpha=0.85, **style)
    for x, scale in enumerate(scales.values()):
        _upright_axis(axes, x, scale.ticks())
    axes.set_xticks(range(len(scales)), scales)
    axes.set(xlim=(-0.35, len(scales) - 0.85), ylim=(-0.03, 1.03), yticks=[], title=title)
    axes.tick_params(axis="x", length=0, pad=8)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    if values.notna().any():
        figure.colorbar(ScalarMappable(norm, _VALUES), ax=axes, label=label, pad=0.02).outline.set_visible(False)
    return figure


def _upright_axis(axes, x, ticks):
    axes.plot([x, x], [0, 1], color="0.3", linewidth=1, zorder=3)
    for position, text in ticks:
        axes.plot([x - 0.02, x], [position, position], color="0.3", linewidth=1, zorder=3)
        label = axes.text(x - 0.05, position, text, ha="right", va="center", fontsize=8.5, zorder=4)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8})


def bars(table, ylabel, title="", errors=None):
    """Grouped bars: one group a row of the DataFrame `table` (labelled by its index), one colour a column.

    errors: a DataFrame of the same shape, how far each bar is uncertain to both sides; NaN draws no mark.
    """
    group = max(0.85, _width(table.index) + 0.15)
    figure = _figure(size=(max(4.5, group * len(table) + 1.4), 3.2))  # room for the legend beside it
    axes = figure.axes[0]
    width = 0.8 / len(table.columns)
    for number, (name, values) in enumerate(table.items()):
        places = [row + (number - (len(table.columns) - 1) / 2) * width for row in range(len(table))]
        spread = None if errors is None else errors[name]
        axes.bar(places, values, width, label=name, color=PALETTE[number], yerr=spread, error_kw={"elinewidth": 1, "capsize": 2.5, "ecolor": "0.3"})
    axes.set_xticks(range(len(table)), table.index)
    axes.set(xlim=(-0.6, len(table) - 0.4), ylabel=ylabel, title=title)  # a group without numbers has its place, too
    axes.grid(False, axis="x")
    if len(table.columns) > 1:
        _legend_beside(axes)
    return figure


def lines(table, xlabel, ylabel, title=""):
    """One line a column of the DataFrame `table`, against its index."""
    figure = _figure()
    axes = figure.axes[0]
    for color, (name, values) in zip(PALETTE, table.items()):
        axes.plot(table.index, values, marker="o", markersize=3.5, color=color, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if table.min(axis=None) >= 0:
        axes.set_ylim(0, None)
    axes.legend(frameon=False)
    return figure


def _width(labels):
    """About how wide the widest of the labels is, in inches."""
    return 0.08 * max(len(line) for label in labels for line in str(label).split("\n"))


def bands(lines, xlabel, ylabel, title=""):
    """One line for each entry of `lines`, {label: DataFrame}: the mean of its columns against its index, and a band of one sample
    standard deviation to both sides where it has several columns. An empty one has its label in the legend alone.
    """
    figure = _figure(size=(5.4 + _width(lines), 3.6))  # room for the legend beside it
    axes = figure.axes[0]
    means = [values.mean(axis=1) for values in lines.values()]
    for number, (label, values) in enumerate(lines.items()):
        color, mean, std = PALETTE[number % len(PALETTE)], means[number], values.std(axis=1)
        gaps = _hides(means, number) if len(means) <= len(PALETTE) else number // len(PALETTE)
        style = _LINE_STYLES[gaps % len(_LINE_STYLES)]
        axes.plot(values.index, mean, marker="o", markersize=3.5, color=color, linestyle=style, label=label)
        if values.shape[1] > 1:
            axes.fill_between(values.index, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _legend_beside(axes)
    return figure


def _hides(means, number):
    """How many of the lines before it the line of this number lies on: through gaps in it they are seen."""
    height = max(mean.max() for mean in means) - min(mean.min() for mean in means)
    return sum(bool(((mean - means[number]).abs() < 0.01 * height).all()) for mean in means[:number] if len(mean) == len(means[number]) > 0)


def heatmap(table, texts, ylabel, xlabel, title=""):
    """The numbers of the DataFrame `table` as colours, with those of `texts`, of the same shape, written in. NaN stays grey."""
    rows, columns = table.shape
    figure = _figure(size=(max(3.4, 1.15 * columns + _width(table.index) + 0.6), 0.75 * rows + 1.1))
    axes = figure.axes[0]
    axes.set_facecolor("0.93")
    low, high = table.min(axis=None), table.max(axis=None)
    image = axes.imshow(table.to_numpy(float), cmap="Blues", aspect="auto", vmin=low - 0.3 * (high - low), vmax=high + 0.2 * (high - low))
    for row, column in itertools.product(range(rows), range(columns)):
        color = "white" if image.norm(table.iloc[row, column]) > 0.6 else "0.2"
        axes.text(column, row, texts.iloc[row, column], ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(columns), table.columns)
    axes.set_yticks(range(rows), table.index)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    _white_lines_between(axes, rows, columns)
    return figure


def _white_lines_between(axes, rows, columns):
    axes.grid(False)
    axes.set_xticks([column + 0.5 for column in range(columns - 1)], minor=True)
    axes.set_yticks([row + 0.5 for row in range(rows - 1)], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


_DRAWN = {"input": "#9a9a9a", "Conv2d": PALETTE[0], "MaxPool2d": PALETTE[1], "AdaptiveAvgPool2d": PALETTE[1], "Linear": PALETTE[2]}
_SHORT = {"Conv2d": "conv", "MaxPool2d": "max-pool", "AdaptiveAvgPool2d": "average"}


def draw_model(model, input_size=(3, 32, 32), title=""):
    """The feature maps of a network from left to right: as high as the map, as thick as the logarithm of its channels.

    Layers of one kind that leave the shape as it is are drawn once, with how often they follow each other.
    """
    boxes = _boxes(model, input_size)
    figure = _figure(size=(1.08 * len(boxes) + 0.4, 2.7))
    axes = figure.axes[0]
    x = 0.0
    for kind, shape, repeats in boxes:
        x = _draw_box(axes, x, kind, shape, repeats, input_size[1])
    axes.set(xlim=(-0.1, x - 0.2), ylim=(-1.1, 1.05), title=title)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def _boxes(model, input_size):
    """[(kind, output shape, repeats), …]: the main path, without the convolutions of shortcuts."""
    boxes = [("input", tuple(input_size), 1)]
    for layer in layers(model, input_size):
        if layer.kind not in _DRAWN or "downsample" in layer.name:
            continue
        kind, shape, repeats = boxes[-1]
        if (layer.kind, layer.output_shape) == (kind, shape):
            boxes[-1] = (kind, shape, repeats + 1)
        else:
            boxes.append((layer.kind, layer.output_shape, 1))
    return boxes


def _draw_box(axes, x, kind, shape, repeats, full_height):
    """Draw one map as a block with its left edge at x; return where the next one starts."""
    channels, *sides = shape
    thickness = 0.05 * math.log2(channels) + 0.03
    side = 1.1 * sides[0] / full_height if sides else 0.0
    depth = 0.35 * max(side, 0.06)
    front = side if sides else 0.13 * math.log2(channels)  # a vector stands upright, as high as it is long
    low, high, right = -front / 2, front / 2, x + thickness
    faces = {
        1.0: [(x, low), (right, low), (right, high), (x, high)],
        0.7: [(x, high), (right, high), (right + depth, high + depth), (x + depth, high + depth)],
        0.5: [(right, low), (right + depth, low + depth), (right + depth, high + depth), (right, high)],
    }
    for shade, corners in faces.items():
        axes.fill(*zip(*corners), facecolor=_DRAWN[kind], alpha=shade, edgecolor="white", linewidth=0.8)
    name = _SHORT.get(kind, kind.lower()) + (f" ×{repeats}" if repeats > 1 else "")
    size = "×".join(map(str, shape))
    for line, text in enumerate((name, size)):
        axes.text(x + (thickness + depth) / 2, -0.82 - 0.16 * line, text, ha="center", va="baseline", fontsize=7.5, color="0.25")
    return x + max(thickness + depth + 0.2, 0.68)
