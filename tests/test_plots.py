"""The numbers that the figures show; how they look is looked at."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from labkit import plots
from labkit.data import ImageSet
from labkit.models import SimpleCNN, resnet18


@pytest.fixture
def history():
    columns = {"train_loss": [2.0, 1.0, 0.5], "train_acc": [0.2, 0.5, 0.9], "valid_loss": [2.1, 1.5, 1.8], "valid_acc": [0.2, 0.4, 0.3]}
    return pd.DataFrame({"epoch": [1, 2, 3], "lr": [0.1] * 3, **columns})


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


@pytest.mark.parametrize("part, label", [("valid", "validation"), ("test", "test")])
def test_curves_draws_a_line_for_each_part_that_the_history_holds(history, part, label):
    history = history.rename(columns=lambda name: name.replace("valid", part))
    loss, accuracy = plots.curves(history).axes
    assert lines(loss) == {"train": [[1, 2.0], [2, 1.0], [3, 0.5]], label: [[1, 2.1], [2, 1.5], [3, 1.8]]}
    assert lines(accuracy) == {"train": [[1, 0.2], [2, 0.5], [3, 0.9]], label: [[1, 0.2], [2, 0.4], [3, 0.3]]}
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]
    assert [axes.get_ylabel() for axes in (loss, accuracy)] == ["loss", "accuracy"]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", label]


def test_scaling_shows_each_run_of_the_table(history):
    rows = [(model, n, n / 60_000, n / 90_000) for model in ("resnet18", "resnet50") for n in (3125, 25_000, 50_000)]
    table = pd.DataFrame(rows, columns=["model", "images", "train accuracy", "test accuracy"])
    panels = {axes.get_title(): axes for axes in plots.scaling(table).axes}
    assert list(panels) == ["resnet18", "resnet50"]
    for model, axes in panels.items():
        own = table[table["model"] == model]
        shown = sorted(tuple(point) for line in axes.get_lines() for point in line.get_xydata().tolist())
        assert shown == sorted((float(n), y) for part in ("train", "test") for n, y in zip(own["images"], own[f"{part} accuracy"]))
        assert [label.get_text() for label in axes.get_xticklabels()] == ["3,125", "25,000", "50,000"]


def drawn_sizes(model):
    """The sizes written below the maps, from left to right."""
    [axes] = plots.draw_model(model).axes
    texts = sorted(axes.texts, key=lambda text: text.get_position()[0])
    return [text.get_text() for text in texts if text.get_text().replace("×", "").isdigit()]


def test_draw_model_shows_the_maps_of_simple_cnn_in_the_order_of_use():
    assert drawn_sizes(SimpleCNN()) == ["3×32×32", "32×32×32", "32×16×16", "64×16×16", "64×8×8", "128×8×8", "128×4×4", "10"]


def test_draw_model_puts_equal_maps_together_and_leaves_out_the_shortcuts():
    shown = drawn_sizes(resnet18())
    assert shown == ["3×32×32", "64×16×16", "64×8×8", "64×8×8", "128×4×4", "256×2×2", "512×1×1", "512×1×1", "10"]


def test_schedule_shows_the_rate_of_every_update():
    [axes] = plots.schedule(lambda step: 0.1 / (step + 1), 4).axes
    assert axes.get_lines()[0].get_xydata().tolist() == [[0, 0.1], [1, 0.05], [2, 0.1 / 3], [3, 0.025]]


def test_show_dataset_has_a_row_of_each_class_images_of_that_class_alone():
    # Every image is a single colour that tells its class.
    labels = torch.arange(12) % 3
    pixels = (labels * 100).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    figure = plots.show_dataset(ImageSet(pixels, labels, ("a", "b", "c")), per_class=2)
    shown = [int(axes.get_images()[0].get_array().max()) for axes in figure.axes]
    assert shown == [0, 0, 100, 100, 200, 200]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["a", "b", "c"]


@pytest.mark.parametrize("count, rows", [(3, 1), (8, 1), (9, 2)])
def test_show_images_fills_rows_of_eight(count, rows):
    figure = plots.show_images(torch.rand(count, 3, 4, 4), titles=[str(number) for number in range(count)])
    assert len(figure.axes) == rows * 8
    assert [axes.get_title() for axes in figure.axes if axes.get_images()] == [str(number) for number in range(count)]


def test_bands_draw_the_mean_and_one_standard_deviation_to_both_sides():
    seeds = pd.DataFrame({0: [0.2, 0.4], 1: [0.4, 0.8]}, index=[1, 2])
    [axes] = plots.bands({"two": seeds, "one": seeds[[0]], "none": pd.DataFrame()}, "epoch", "accuracy", "title").axes
    assert lines(axes) == {"two": [[1, pytest.approx(0.3)], [2, pytest.approx(0.6)]], "one": [[1, 0.2], [2, 0.4]], "none": []}
    [band] = axes.collections  # of the one that has two columns
    [outline] = [path.vertices for path in band.get_paths()]
    at_first = sorted({y for x, y in outline.tolist() if x == 1})
    assert (at_first[0], at_first[-1]) == (pytest.approx(0.3 - 0.02**0.5), pytest.approx(0.3 + 0.02**0.5))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["two", "one", "none"]


def test_a_band_whose_line_lies_on_another_one_lets_it_be_seen():
    below = pd.DataFrame({0: [3.0, 1.0]})
    lines = {"below": below, "on it": below + 0.001, "apart": below + 0.5, "on both": below + 0.002, "shorter": below[:1], "none": pd.DataFrame()}
    [axes] = plots.bands(dict(list(lines.items())[:5]), "x", "y").axes
    assert [line.get_linestyle() for line in axes.get_lines()] == ["-", "--", "-", ":", "-"]
    [axes] = plots.bands(lines, "x", "y").axes  # more than there are colours: gaps have another meaning
    assert [line.get_linestyle() for line in axes.get_lines()] == ["-"] * 5 + ["--"]


def test_no_two_of_twenty_bands_look_alike():
    [axes] = plots.bands({number: pd.DataFrame({0: [1.0]}) for number in range(20)}, "x", "y").axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 20


def test_a_heatmap_writes_its_texts_in_the_right_places():
    numbers = pd.DataFrame([[1.0, 2.0], [3.0, float("nan")]], index=["a", "b"], columns=["c", "d"])
    texts = pd.DataFrame([["one", "two"], ["three", "diverged"]], index=["a", "b"], columns=["c", "d"])
    [axes] = plots.heatmap(numbers, texts, "rows", "columns").axes
    assert {text.get_text(): text.get_position() for text in axes.texts} == {"one": (0, 0), "two": (1, 0), "three": (0, 1), "diverged": (1, 1)}
    assert axes.get_images()[0].get_array().tolist() == [[1.0, 2.0], [3.0, None]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c", "d"] and axes.get_ylabel() == "rows"


def test_bars_have_their_errors_and_a_place_for_what_has_no_number():
    table = pd.DataFrame({"train": [0.5, float("nan")], "test": [0.25, float("nan")]}, index=["a", "b"])
    [axes] = plots.bars(table, "accuracy", errors=table / 10).axes
    assert [bar.get_height() for bar in axes.patches][::2] == [0.5, 0.25]
    segments = [path.tolist() for container in axes.containers if hasattr(container, "has_yerr") for path in container.lines[2][0].get_segments()]
    assert [[y for _, y in segment] for segment in segments[::2]] == [[pytest.approx(0.45), pytest.approx(0.55)], [pytest.approx(0.225), pytest.approx(0.275)]]
    assert axes.get_xlim()[1] > 1.4 and len(axes.get_xticklabels()) == 2


def test_a_figure_is_not_shown_a_second_time_by_pyplot(history):
    plots.curves(history)
    assert plt.get_fignums() == []
