"""Answers to `draw_scaling`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from corpus import catalogue

try:
    import seaborn as sns
except ImportError:  # not every environment has it
    sns = None

right, wrong = catalogue("draw_scaling")

# --- right -------------------------------------------------------------------------------------


def draw(table, parts=("train", "test"), x="images", close=True, finish=None, scale="log", groups=None, fmt="o-", limits=(0, 1), legend=True, label="accuracy"):
    """The figure, with changes."""
    groups = list(table.groupby("model", sort=False)) if groups is None else groups
    figure, axes = plt.subplots(1, len(groups), figsize=(4.6 * len(groups), 3.6), squeeze=False)
    for ax, (model, rows) in zip(axes[0], groups):
        for part in parts:
            ax.plot(rows[x], rows[f"{part} accuracy"], fmt, label=part)
        ax.set_xscale(scale)
        ax.set(title=model, xlabel="training images", ylabel=label)
        if limits:
            ax.set_ylim(limits)
        if legend:
            ax.legend()
        if finish:
            finish(ax, model, rows)
    if close:
        plt.close(figure)
    return figure


@right
def the_lesson(table):
    groups = list(table.groupby("model", sort=False))
    figure, axes = plt.subplots(1, len(groups), figsize=(4.6 * len(groups), 3.6), squeeze=False, layout="constrained")
    for ax, (model, rows) in zip(axes[0], groups):
        for part, color in (("train", "tab:blue"), ("test", "tab:green")):
            ax.plot(rows["images"], rows[f"{part} accuracy"], marker="o", color=color, label=part)
        ax.set_xscale("log", base=2)
        ax.set_xticks(rows["images"], [f"{size:,}" for size in rows["images"]])
        ax.minorticks_off()
        ax.set(title=model, xlabel="training images", ylabel="accuracy", ylim=(0, 1))
        ax.grid(alpha=0.3)
        ax.legend()
    plt.close(figure)
    return figure


@right
def pyplot_subplots_left_open(table):
    fig = plt.figure(figsize=(9, 4))
    for i, name in enumerate(table["model"].unique(), start=1):
        plt.subplot(1, 2, i)
        part = table[table["model"] == name].sort_values("images", ascending=False)
        plt.semilogx(part["images"], part["test accuracy"], "s--", label="Test accuracy")
        plt.semilogx(part["images"], part["train accuracy"], "o-", label="Train accuracy")
        plt.title(f"{name}: accuracy by dataset size")
        plt.xlabel("dataset size")
        plt.ylabel("accuracy")
        plt.ylim(0, 1.05)
        plt.legend(loc="best")
    return fig


@right
def without_pyplot(df):
    figure = Figure(figsize=(8, 3))
    for ax, model in zip(figure.subplots(1, 2, sharey=True), ("resnet18", "resnet50")):
        rows = df.query("model == @model")
        ax.plot(rows.images.to_numpy(), rows["train accuracy"].to_numpy(), label="training", marker=".")
        ax.plot(rows.images.to_numpy(), rows["test accuracy"].to_numpy(), label="testing", marker="x")
        ax.set_xscale("log", base=2)
        ax.set_title(model.replace("resnet", "ResNet-"), loc="left")
        ax.set_ylim(0, 1)
        ax.legend()
    figure.supxlabel("number of training images")
    figure.axes[0].set_ylabel("accuracy")
    return figure


@right
def pandas_plot(table):
    fig, axs = plt.subplots(1, 2)
    for ax, (model, rows) in zip(axs, table.groupby("model")):
        print(model, len(rows))
        rows.plot(x="images", y=["train accuracy", "test accuracy"], ax=ax, logx=True, marker="o", ylim=(0, 1), title=model, ylabel="accuracy")
    return fig


def seaborn_lines(table):
    figure, axes = plt.subplots(1, 2, sharex=True, sharey=True)
    long = table.melt(["model", "images"], ["train accuracy", "test accuracy"], var_name="part", value_name="accuracy")
    for ax, model in zip(axes, long["model"].unique()):
        sns.lineplot(long[long["model"] == model], x="images", y="accuracy", hue="part", style="part", markers=True, ax=ax)
        ax.set(xscale="log", title=model, ylim=(0, 1))
    plt.close(figure)
    return figure


if sns is not None:
    right(seaborn_lines)


@right
def points_over_lines(table):
    def finish(ax, model, rows):
        for part in ("train", "test"):
            ax.scatter(rows["images"], rows[f"{part} accuracy"])

    return draw(table, fmt="-", finish=finish)


# --- wrong -------------------------------------------------------------------------------------


@wrong("not_a_figure")
def return_forgotten(table):
    draw(table)


@wrong("not_a_figure")
def axes_returned(table):
    return draw(table).axes


@wrong("not_a_figure")
def pyplot_show(table):
    draw(table, close=False)
    return plt.show()


@wrong("wrong_number_of_panels")
def one_panel_for_all(table):
    return draw(table, groups=[("resnet18 and resnet50", table)])


@wrong("models_mixed")
def all_rows_in_each_panel(table):
    return draw(table, groups=[(model, table) for model in table["model"].unique()])


@wrong("line_missing")
def test_line_forgotten(table):
    return draw(table, parts=("train",))


@wrong("no_axis_label")
def y_axis_without_a_label(table):
    return draw(table, label="")


@wrong("no_title")
def titles_forgotten(table):
    return draw(table, finish=lambda ax, model, rows: ax.set_title(""))


@wrong("no_title")
def same_title_twice(table):
    return draw(table, finish=lambda ax, model, rows: ax.set_title("resnet18"))


@wrong("panels_swapped")
def titles_swapped(table):
    models = table["model"].unique()[::-1]
    return draw(table, groups=[(name, rows) for name, (_, rows) in zip(models, table.groupby("model", sort=False))])


@wrong("no_legend")
def legend_forgotten(table):
    return draw(table, legend=False)


@wrong("axis_not_logarithmic")
def linear_axis(table):
    return draw(table, scale="linear")


@wrong("wrong_limits")
def limits_of_the_data(table):
    return draw(table, limits=None)


@wrong("wrong_limits")
def half_of_the_axis(table):
    return draw(table, limits=(0.5, 1))


@wrong("percent")
def percent(table):
    return draw(table.assign(**{f"{part} accuracy": 100 * table[f"{part} accuracy"] for part in ("train", "test")}), limits=(0, 100))


@wrong("wrong_sizes")
def epochs_on_the_axis(table):
    return draw(table, x="epochs")


@wrong("wrong_sizes")
def logarithm_taken_of_the_sizes(table):
    return draw(table.assign(images=np.log2(table["images"])))


@wrong("wrong_sizes")
def sizes_as_text(table):
    return draw(table.assign(images=[f"{size:,}" for size in table["images"]]), scale="linear")


@wrong("labels_swapped")
def labels_swapped(table):
    return draw(table, finish=relabel)


def relabel(ax, model, rows):
    train, test = ax.get_lines()
    train.set_label("test"), test.set_label("train")
    ax.legend()


@wrong("labels_swapped")
def names_swapped_in_the_legend(table):
    def name(ax, model, rows):
        train, test = ax.get_lines()
        train.set_label("_child0"), test.set_label("_child1")
        ax.legend([train, test], ["test", "train"])

    return draw(table, finish=name)


@wrong("no_markers")
def without_markers(table):
    return draw(table, fmt="-")


@wrong("points_without_lines")
def markers_alone(table):
    return draw(table, fmt="o")


@wrong("no_lines")
def bars(table):
    figure, axes = plt.subplots(1, 2)
    for ax, (model, rows) in zip(axes, table.groupby("model")):
        ax.bar(range(3), rows["train accuracy"])
        ax.set_title(model)
    return figure


@wrong("too_many_lines")
def the_gap_drawn_too(table):
    def finish(ax, model, rows):
        ax.plot(rows["images"], rows["gap"], "o-", label="gap")

    return draw(table, finish=finish)


@wrong("wrong_numbers")
def gap_instead_of_test(table):
    return draw(table.assign(**{"test accuracy": table["gap"]}))


@wrong("wrong_numbers")
def numbers_written_into_the_function(table):
    fixed = table.copy()
    fixed["train accuracy"], fixed["test accuracy"] = [0.9, 0.8, 0.7] * 2, [0.4, 0.5, 0.6] * 2
    return draw(fixed)


@wrong("table_changed")
def table_changed(table):
    table["images"] = table["images"] * 1
    table["error"] = 1 - table["test accuracy"]
    return draw(table)


@wrong("raises")
def column_with_another_name(table):
    return draw(table, parts=("train", "test", "valid"))
