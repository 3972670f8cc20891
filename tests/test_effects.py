"""The embedded data shows what the lesson is about: the direction of each main effect, over three seeds, with a margin.

Each effect is a study of small networks on the data of the smoke profile. Compared are means over the seeds; the margin
is about half of the difference that was seen when the test was written, so that one lucky run decides nothing.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from labkit import profile
from labkit.runs import Experiment, RunStore, run

SEEDS = (0, 1, 2)
BASE = Experiment(data=profile.DATA["smoke"], model="SimpleCNN", batch_size=32, epochs=3)
PLAIN = """
from torch import nn


def Plain(num_classes):
    layers = [layer for c, d in ((3, 16), (16, 32), (32, 64)) for layer in (nn.Conv2d(c, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, num_classes))
"""


@pytest.fixture(scope="module")
def mean(tmp_path_factory):
    """`mean(experiment, measure)`: the mean of `measure(run)` over the seeds, which also draw the data anew."""
    store = RunStore(tmp_path_factory.mktemp("runs"))

    def mean(experiment, measure):
        return sum(measure(run(replace(experiment, seed=seed, data_seed=seed), store, verbose=False)) for seed in SEEDS) / len(SEEDS)

    return mean


def test_acc(finished):
    return finished.result["test_acc"]


test_acc.__test__ = False


def final_gap(finished):
    """Train minus validation accuracy after the last epoch."""
    last = finished.history.iloc[-1]
    return last["train_acc"] - last["valid_acc"]


def test_more_data_helps(mean):
    assert mean(BASE, test_acc) > mean(replace(BASE, fraction=1 / 8), test_acc) + 0.08


def test_augmentation_narrows_the_gap(mean):
    long = replace(BASE, fraction=0.5, epochs=7)
    assert mean(long, final_gap) > mean(replace(long, augmentation=("crop", "flip")), final_gap) + 0.2


def test_too_large_a_rate_fails(mean):
    chance = 0.1
    assert mean(replace(BASE, optimizer="sgd", lr=1.0), test_acc) < chance + 0.05 < mean(BASE, test_acc) - 0.1


def test_standardization_steadies_the_first_epochs(mean, tmp_path, monkeypatch):
    """Without batch norm, which would repair it, raw pixel values throw the first epochs off."""
    monkeypatch.chdir(tmp_path)
    Path("plain.py").write_text(PLAIN)
    plain = replace(BASE, model="plain.py:Plain", epochs=2)

    def first_loss(finished):
        return finished.history["train_loss"].iloc[0]

    assert mean(replace(plain, normalization="none"), first_loss) > mean(plain, first_loss) + 0.5


def test_distillation_is_not_worse_than_the_plain_student(mean):
    student = replace(BASE, model="ConvNet", fraction=0.5, epochs=5)
    taught = replace(student, teacher=replace(BASE, epochs=8), temperature=4.0, alpha=0.5)
    assert mean(taught, test_acc) > mean(student, test_acc) - 0.01
