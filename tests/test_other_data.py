"""A notebook on other data: a folder in the layout of Food-11, with 11 classes and larger images of many sizes."""

import colorsys

import numpy as np
import pytest
from PIL import Image
from solutions import ROOT

from labkit.course.execute import execute

NOTEBOOK = ROOT / "notebooks" / "10_early_stopping_imbalance.ipynb"
CLASSES = 11
IMAGES = {"training": 16, "validation": 3, "evaluation": 4}  # of each class


def photograph(label, rng):
    """Noise around a colour that tells the class; 40 to 71 pixels a side, seldom square."""
    colour = 255 * np.array(colorsys.hsv_to_rgb(label / CLASSES, 0.8, 0.7))
    height, width = rng.integers(40, 72, size=2)
    pixels = colour + rng.normal(0, 50, size=(height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def food(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in IMAGES.items():
        for label in range(CLASSES):
            folder = tmp_path / "food-11" / part / f"dish {label:02d}"
            folder.mkdir(parents=True)
            for number in range(count):
                photograph(label, rng).save(folder / f"{label}_{number}.png")
    return tmp_path / "food-11"


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_on_imbalance_runs_on_eleven_classes_of_larger_images(food, tmp_path):
    name = f"imagefolder:{food}@40"
    environment = {"LABKIT_PROFILE": "smoke", "LABKIT_DATA": name, "LABKIT_RUNS": str(tmp_path / "runs"), "LABKIT_PROGRESS": "off"}
    execution = execute(NOTEBOOK, environment, timeout=300)
    assert execution.error is None
    printed = "".join(output.text for output in outputs(execution.notebook) if output.output_type == "stream")
    assert f"{name}: 176 training, 33 validation and 44 test images, 40×40 pixels, 11 classes" in printed
    (by_class,) = [output.data["text/html"] for output in outputs(execution.notebook) if "images in the long tail" in str(output)]
    assert by_class.count("<tr") == 1 + CLASSES and "dish 10" in by_class
