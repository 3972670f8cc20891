"""What all tests share: surroundings of their own, and an experiment small enough to train in a test."""

import os

import pytest
import torch

from labkit.experiment import Experiment

DATA = "shapes:100/50"  # 20 of the 100 are held out for validation


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch, tmp_path):
    """No test reads the settings of the person who runs it, or writes into that person's run store."""
    for name in [name for name in os.environ if name.startswith("LABKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors of a few kilobytes gain nothing from threads, and on a busy machine threads that wait for one another lose much."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """`tiny(epochs=5)`: an experiment of a fraction of a second, with dropout, augmentation and a validation part."""
    settings = {
        "data": DATA, "model": "ConvNet", "dropout": 0.3, "augmentation": ("crop", "flip"), "valid": 0.2,
        "batch_size": 32, "epochs": 3, "lr": 3e-3,
    }  # fmt: skip
    return lambda **changes: Experiment(**settings | changes)
