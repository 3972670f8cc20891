"""The figures of the lesson. Each function returns a matplotlib `Figure`."""

import math

import matplotlib.pyplot as plt
import seaborn as sns
import torch
from matplotlib.figure import Figure

from labkit.models import layers

PARTS = {"train": "train", "valid": "validation", "test": "test"}
_COLORS = dict(zip(PARTS, sns.color_palette("deep", 3)))
_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "0.92", "axes.axisbelow": True,
    "axes.titlesize": 11, "axes.labelsize": 10, "legend.frameon": False, "figure.dpi": 96, "savefig.dpi": 96, "figure.constrained_layout.use": True,
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
                axes.plot(history["epoch"], history[f"{part}_{measure}"], marker="o", markersize=3.5, color=_COLORS[part], label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[1].set_ylim(0, 1)
    figure.axes[0].legend()
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
            axes.plot(rows["images"], rows[f"{part} accuracy"], marker="o", color=_COLORS[part], label=part)
            _label_points(axes, rows["images"], rows[f"{part} accuracy"])
        _size_axis(axes, rows["images"])
        axes.set(title=model, xlabel="training images", ylabel="accuracy", ylim=(0, 1.05))
    figure.axes[0].legend(loc="lower right")
    figure.suptitle(title, fontsize=12)
    return figure


def _label_points(axes, xs, ys):
    for x, y in zip(xs, ys):
        axes.annotate(f"{y:.2f}", (x, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8, color="0.3")


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
        pixels = image.cpu().permute(1, 2, 0)
        figure.axes[index].imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray")
        if titles is not None:
            figure.axes[index].set_title(titles[index], fontsize=9, pad=3)
    return figure


def show_dataset(image_set, per_class=6, seed=0):
    """A row of random images for each class."""
    generator = torch.Generator().manual_seed(seed)
    figure = _figure(len(image_set.classes), per_class, size=(0.85, 0.85))
    grid = iter(figure.axes)
    for label, name in enumerate(image_set.classes):
        members = (image_set.labels == label).nonzero().squeeze(1)
        for index in members[torch.randperm(len(members), generator=generator)[:per_class]].tolist():
            axes = next(grid)
            axes.imshow(image_set.images[index].permute(1, 2, 0))
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        figure.axes[label * per_class].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def schedule(lr, num_steps, title=""):
    """A learning rate against the update; lr: a function of the step."""
    figure = _figure()
    axes = figure.axes[0]
    axes.plot(range(num_steps), [lr(step) for step in range(num_steps)], color=_COLORS["train"])
    axes.set(xlabel="update", ylabel="learning rate", title=title)
    return figure


_DRAWN = {"Conv2d": "#4c72b0", "MaxPool2d": "#dd8452", "AdaptiveAvgPool2d": "#dd8452", "Linear": "#55a868"}
_SHORT = {"Conv2d": "conv", "MaxPool2d": "max-pool", "AdaptiveAvgPool2d": "average", "Linear": "linear"}


def draw_model(model, input_size=(3, 32, 32), title=""):
    """The feature maps of a network from left to right: as high as the map, as wide as the logarithm of its channels.

    Layers that leave the shape as it is are drawn once, with how often they follow each other.
    """
    boxes = _boxes(model, input_size)
    figure = _figure(size=(max(6, 0.95 * len(boxes)), 3.2))
    axes = figure.axes[0]
    x = 0.0
    for kind, shape, repeats in boxes:
        x = _draw_box(axes, x, kind, shape, repeats, input_size[1])
    axes.set(xlim=(-0.3, x), ylim=(-0.85, 0.85), title=title)
    axes.axis("off")
    return figure


def _boxes(model, input_size):
    """[(kind, output shape, repeats), …]: the main path, without the convolutions of shortcuts."""
    boxes = [("input", tuple(input_size), 1)]
    for layer in layers(model, input_size):
        if layer.kind not in _DRAWN or "downsample" in layer.name or "shortcut" in layer.name:
            continue
        kind, shape, repeats = boxes[-1]
        if (layer.kind, layer.output_shape) == (kind, shape):
            boxes[-1] = (kind, shape, repeats + 1)
        else:
            boxes.append((layer.kind, layer.output_shape, 1))
    return boxes


def _draw_box(axes, x, kind, shape, repeats, full_height):
    """Draw one map with its left edge at x; return where the next one starts."""
    channels, side = shape[0], shape[1] if len(shape) == 3 else 1
    width = 0.09 * math.log2(channels) + 0.1
    height = max(0.05, side / full_height)
    if len(shape) == 1:
        height = 0.09 * math.log2(channels)
    axes.add_patch(plt.Rectangle((x, -height / 2), width, height, facecolor=_DRAWN.get(kind, "0.6"), edgecolor="white", alpha=0.9))
    size = f"{channels}×{shape[1]}×{shape[2]}" if len(shape) == 3 else f"{channels}"
    axes.text(x + width / 2, -0.58, size, ha="center", va="top", fontsize=7.5, rotation=35, color="0.3")
    name = _SHORT.get(kind, kind) + (f" ×{repeats}" if repeats > 1 else "")
    axes.text(x + width / 2, 0.56, name, ha="center", va="bottom", fontsize=8, rotation=35)
    return x + width + 0.22
