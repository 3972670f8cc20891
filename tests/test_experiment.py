"""An experiment: its key, what it refuses, and that each of its fields does what it says."""

import json
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from labkit import data, experiment, optimizers
from labkit.errors import LabkitError
from labkit.experiment import AUGMENTATIONS, Experiment
from labkit.runs import run
from labkit.schedules import Schedule

# --- the key -----------------------------------------------------------------------------------


def test_the_key_of_an_experiment_does_not_change_from_one_labkit_to_the_next():
    # A stored run is found again by this key. Whoever adds a field raises SCHEMA, and writes the new key here.
    assert experiment.SCHEMA == 1
    assert Experiment().key == "553e936910eb52d2"


CHANGES = {
    "data": "shapes", "fraction": 0.5, "valid": 0.2, "model": "resnet50", "stem": "cifar", "init": "IMAGENET1K_V1", "dropout": 0.1,
    "normalization": "unit", "augmentation": ("flip",), "optimizer": "sgd", "lr": 0.01, "momentum": 0.5, "weight_decay": 1e-4,
    "label_smoothing": 0.1, "schedule": "cosine", "step_size": 5, "gamma": 0.1, "batch_size": 128, "epochs": 5, "patience": 5,
    "monitor": "valid_acc", "data_seed": 1, "seed": 1,
}  # fmt: skip
# Fields that came later: in the record only where they have a say.
TEACHER = Experiment(model="resnet50")
LATER = {"skew": {"skew": (1, 0.5)}, "teacher": {"teacher": TEACHER}}
LATER |= {name: {"teacher": TEACHER, name: value} for name, value in {"temperature": 2.0, "alpha": 0.5}.items()}
LATER |= {name: {name: value} for name, value in {"whiten": True, "lookahead": True, "views": 2, "precision": "bfloat16"}.items()}


def test_every_field_is_part_of_the_key():
    assert CHANGES.keys() == Experiment().to_dict().keys() - {"schema"}
    keys = {Experiment(**{name: value}).key for name, value in CHANGES.items()}
    keys |= {Experiment(**changes).key for changes in LATER.values()}
    assert len(keys | {Experiment().key}) == len(CHANGES) + len(LATER) + 1
    everything = Experiment(teacher=TEACHER, skew=(1, 0.5), whiten=True, lookahead=True, views=6, precision="bfloat16").to_dict().keys() - {"schema"}
    assert everything == CHANGES.keys() | LATER.keys() == {field.name for field in fields(Experiment)}


@pytest.mark.parametrize(
    "one, other",
    [
        ({"lr": 1}, {"lr": 1.0}),
        ({"epochs": 5.0}, {"epochs": 5}),
        ({"augmentation": "crop"}, {"augmentation": ["crop"]}),
        ({"batch_size": np.int64(64)}, {"batch_size": 64}),
        ({"lr": np.float64(0.01)}, {"lr": 0.01}),
        ({"init": Path("w.pt")}, {"init": "w.pt"}),
        ({"skew": [1, 0.5]}, {"skew": (1.0, 0.5)}),
    ],
)
def test_one_experiment_written_in_two_ways_has_one_key(one, other):
    assert Experiment(**one).key == Experiment(**other).key
    assert Experiment(**one) == Experiment(**other)


def test_the_order_of_augmentations_is_part_of_the_experiment():
    assert Experiment(augmentation=("crop", "flip")).key != Experiment(augmentation=("flip", "crop")).key


def test_an_experiment_survives_its_way_through_json():
    original = Experiment(**CHANGES | {"label_smoothing": 0, "skew": (1, 0.25), "teacher": TEACHER, "alpha": 0.2})
    assert Experiment.from_dict(json.loads(json.dumps(original.to_dict()))) == original


# --- bad input ---------------------------------------------------------------------------------

ACCEPTED = {
    "model": "resnet18, resnet50, SimpleCNN, ConvNet, FastNet16, FastNet32, FastNet64, FastNet128, FILE.py:NAME",
    "stem": "imagenet, cifar",
    "schedule": "constant, step, cyclic, cosine, one_cycle",
    "optimizer": "adam, adamw, sgd, muon",
    "augmentation": "crop, shift, flip, alternating_flip, rotate, color, noise, cutout",
    "normalization": "none, unit, signed, standardize, first_image",
    "monitor": "valid_loss, valid_acc",
    "precision": "float32, bfloat16",
}


@pytest.mark.parametrize("field, names", ACCEPTED.items())
def test_an_unknown_name_is_refused_with_the_accepted_ones(field, names):
    with pytest.raises(LabkitError) as error:
        Experiment(**{field: "nosuch"})
    assert str(error.value) == f"unknown {field} 'nosuch'; accepted: {names}"


def test_a_name_that_is_nearly_right_gets_a_hint():
    with pytest.raises(LabkitError, match=r"unknown model 'resnet8' \(did you mean 'resnet18'\?\)"):
        Experiment(model="resnet8")


def test_an_unknown_dataset_is_refused_with_the_accepted_forms():
    with pytest.raises(LabkitError, match=r"unknown dataset 'cifar100'; accepted: cifar10, imagefolder:PATH .*, shapes .*"):
        Experiment(data="cifar100")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"fraction": 0}, "fraction must be above 0 and at most 1, not 0.0"),
        ({"fraction": 1.5}, "fraction must be above 0 and at most 1, not 1.5"),
        ({"valid": 1}, r"valid must be 0 \(no validation\) or a share below 1, not 1.0"),
        ({"valid": -0.1}, r"valid must be 0 \(no validation\) or a share below 1, not -0.1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, not -1"),
        ({"batch_size": 1.5}, "batch_size must be a whole number, not 1.5"),
        ({"batch_size": "64"}, "batch_size must be a whole number, not '64'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": math.inf}, "epochs must be a whole number, not inf"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"lr": 0}, "lr must be above 0, not 0.0"),
        ({"lr": -1e-3}, "lr must be above 0, not -0.001"),
        ({"lr": math.nan}, "lr must be a number, not nan"),
        ({"lr": math.inf}, "lr must be a number, not inf"),
        ({"lr": "fast"}, "lr must be a number, not 'fast'"),
        ({"momentum": 1}, "momentum must be from 0 to below 1, not 1.0"),
        ({"dropout": 1}, "dropout must be 0 or a probability below 1, not 1.0"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more, not -1.0"),
        ({"label_smoothing": 1}, "label_smoothing must be from 0 to below 1, not 1.0"),
        ({"step_size": 0}, "step_size must be at least 1 epoch, not 0"),
        ({"gamma": 0}, "gamma must be above 0 and at most 1, not 0.0"),
        ({"patience": 0}, "patience must be at least 1 epoch, or None for no early stopping, not 0"),
        ({"patience": 2.5}, "patience must be at least 1 epoch, or None for no early stopping, not 2.5"),
        ({"patience": 3, "valid": 0}, "early stopping needs validation data; set valid above 0 or patience to None"),
        ({"augmentation": None}, "augmentation must be a name or a tuple of names, not None"),
        ({"skew": 0.5}, "skew must be a tuple of shares, not 0.5"),
        ({"skew": ("a",)}, r"skew must be a tuple of shares, not \('a',\)"),
        ({"skew": (0.5, 1.5)}, r"skew must be a share from 0 to 1 for each class, not all 0, not \(0.5, 1.5\)"),
        ({"skew": (0, 0)}, r"skew must be a share from 0 to 1 for each class, not all 0, not \(0.0, 0.0\)"),
        ({"teacher": "resnet50"}, "teacher must be an Experiment or None, not str"),
        ({"teacher": TEACHER, "temperature": 0}, "temperature must be above 0, not 0.0"),
        ({"teacher": TEACHER, "alpha": 1.1}, "alpha must be from 0 to 1, not 1.1"),
        ({"teacher": TEACHER, "label_smoothing": 0.1}, "with a teacher the labels are not smoothed as well; set label_smoothing to 0"),
        ({"whiten": 1}, "whiten must be True or False, not 1"),
        ({"views": 3}, r"unknown views 3; accepted: 1, 2, 6"),
        ({"alpha": 0.5}, r"temperature and alpha say how to learn from a teacher; name one with teacher=Experiment\(…\)"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_in_one_sentence(changes, said):
    with pytest.raises(LabkitError, match=f"^{said}$"):
        Experiment(**changes)


# --- what the fields do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, kind, options",
    [
        ({"optimizer": "adam", "weight_decay": 0.01}, torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.01}),
        ({"optimizer": "adamw", "weight_decay": 0.01}, torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.01}),
        ({"optimizer": "sgd", "weight_decay": 0.01, "momentum": 0.7}, torch.optim.SGD, {"lr": 0.02, "weight_decay": 0.01, "momentum": 0.7}),
        ({"optimizer": "muon", "weight_decay": 0.01, "momentum": 0.7}, optimizers.Muon, {"lr": 0.02, "weight_decay": 0.01, "momentum": 0.7}),
    ],
)
def test_the_optimizer_has_the_numbers_of_the_experiment(tiny, changes, kind, options):
    optimizer = tiny(lr=0.02, **changes).build_optimizer(nn.Linear(1, 1))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in options} == options


def test_the_rates_of_a_run_are_those_of_its_schedule(tiny):
    # 80 training images in batches of 32 are 3 updates an epoch; the history holds the rate of the last one.
    history = run(tiny(schedule="one_cycle", lr=0.02), verbose=False).history
    schedule = Schedule("one_cycle", 0.02, epochs=3, steps_per_epoch=3)
    assert history["lr"].tolist() == [schedule.lr(step) for step in (2, 5, 8)]
    steps = tiny(schedule="step", step_size=2, gamma=0.3, lr=0.1).build_schedule(5)
    assert [steps.lr(step) for step in (0, 9, 10)] == [0.1, 0.1, 0.1 * 0.3]


def test_label_smoothing_is_part_of_the_training_loss_and_not_of_the_test_loss(tiny):
    # Nothing is learned at this rate, so that only the loss function can make a difference.
    plain, smooth = (run(tiny(lr=1e-12, epochs=1, dropout=0, augmentation=(), label_smoothing=s), verbose=False).result for s in (0, 0.5))
    assert abs(smooth["train_loss"] - plain["train_loss"]) > 1e-3
    assert smooth["test_loss"] == pytest.approx(plain["test_loss"], abs=1e-6)


def test_the_training_part_is_a_stratified_share_less_what_is_held_out(tiny):
    loaders, facts = tiny(fraction=0.5, valid=0.2, batch_size=16).loaders("cpu")
    assert {name: loader.dataset.counts for name, loader in loaders.items()} == {"train": [4] * 10, "valid": [1] * 10, "test": [5] * 10}
    assert [facts[f"{name}_images"] for name in ("train", "valid", "test")] == [40, 10, 50]
    assert tiny(valid=0).loaders("cpu")[0].keys() == {"train", "test"}


@pytest.mark.parametrize("name, low, high", [("none", 0, 255), ("unit", 0, 1), ("signed", -1, 1)])
def test_a_fixed_normalization_maps_the_pixel_values_to_its_range(name, low, high):
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    image_set = data.ImageSet(pixels.contiguous(), torch.tensor([0]), ("a",))
    normalized = experiment.normalization(name, image_set)(image_set.images)
    assert normalized.flatten().tolist() == pytest.approx([low, high] * 3, abs=1e-5)


@pytest.mark.parametrize("name, share", [("standardize", slice(None)), ("first_image", slice(1))])
def test_a_measured_normalization_standardizes_what_it_was_measured_on(name, share):
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([60.0, 120.0, 240.0]).view(1, 3, 1, 1) * torch.linspace(0.5, 1, 400).view(-1, 1, 1, 1)
    images = (torch.rand(400, 3, 8, 8, generator=generator) * scales).to(torch.uint8)
    image_set = data.ImageSet(images, torch.zeros(400, dtype=torch.int64), ("a",))
    normalized = experiment.normalization(name, image_set)(images)[share]
    assert normalized.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=0.05)  # measured on 30% of the images
    assert normalized.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=0.05)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_changes_the_training_images_and_no_others(tiny, name):
    plain, augmented = (tiny(augmentation=names, normalization="unit", valid=0.2).loaders("cpu")[0] for names in ((), (name,)))
    first, second = (next(iter(loaders["train"])) for loaders in (plain, augmented))
    assert torch.equal(first[1], second[1]) and first[0].shape == second[0].shape
    assert (first[0] != second[0]).flatten(1).any(1).sum() > 8  # of 32
    for part in ("valid", "test"):
        assert torch.equal(next(iter(plain[part]))[0], next(iter(augmented[part]))[0])
