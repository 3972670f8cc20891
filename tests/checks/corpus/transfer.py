"""Answers to `pretrained_runs`."""

from dataclasses import replace
from itertools import product
from pathlib import Path

from corpus import catalogue
from labkit.models import build
from labkit.runs import Experiment

right, wrong = catalogue("pretrained_runs")
FRACTIONS = {"sixteenth": 1 / 16, "half": 1 / 2, "full": 1.0}  # a cell of the notebook


def plan(dataset, batch_size, epochs, models=("resnet18", "resnet50"), fractions=FRACTIONS, **changes):
    """The six runs of notebook 04, with changes."""
    settings = {"data": dataset, "valid": 0, "optimizer": "adam", "lr": 1e-3, "batch_size": batch_size}
    return [
        Experiment(**settings | {"fraction": fraction, "model": model, "epochs": epochs[size]} | changes)
        for model in models
        for size, fraction in fractions.items()
    ]  # fmt: skip


# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init)


@right
def the_six_runs_with_another_start(dataset, batch_size, epochs, init):
    return [replace(experiment, init=init) for experiment in plan(dataset, batch_size, epochs)]


@right
def nested_loops_and_append(dataset, batch_size, epochs, init):
    runs = []
    for m in ["resnet18", "resnet50"]:
        for s in ["sixteenth", "half", "full"]:
            runs.append(Experiment(data=dataset, model=m, init=init, fraction=FRACTIONS[s], valid=0.0, batch_size=batch_size, epochs=epochs[s]))
    return runs


@right
def a_product_in_a_tuple(dataset, batch_size, epochs, init):
    shared = {"data": dataset, "batch_size": batch_size, "valid": 0, "init": init}
    sizes = {"sixteenth": 0.0625, "half": 0.5, "full": 1}
    return tuple(Experiment(model=model, fraction=sizes[size], epochs=epochs[size], **shared) for model, size in product(("resnet18", "resnet50"), sizes))


@right
def a_function_for_one_run(dataset, batch_size, epochs, init):
    def one(model, size):
        return Experiment(data=dataset, fraction=FRACTIONS[size], valid=0, model=model, init=init, batch_size=batch_size, epochs=epochs[size])

    print("six runs from", init)
    small, big = ([one(model, size) for size in FRACTIONS] for model in ("resnet18", "resnet50"))
    return small + big


@right
def a_path_where_it_is_a_file(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=Path(init) if "." in init else init)


# --- wrong -------------------------------------------------------------------------------------


@wrong("start_forgotten")
def init_forgotten(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs)


@wrong("start_forgotten")
def random_copied_from_notebook_04(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init="random")


@wrong("start_forgotten")
def replace_without_keeping_its_result(dataset, batch_size, epochs, init):
    runs = plan(dataset, batch_size, epochs)
    for experiment in runs:
        replace(experiment, init=init)
    return runs


@wrong("init_ignored")
def the_name_written_out(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init="IMAGENET1K_V1")


@wrong("init_ignored")
def the_newer_weights(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init="IMAGENET1K_V2")


@wrong("init_ignored")
def the_name_as_a_string(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init="init")


@wrong("init_ignored")
def in_lower_case(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init.lower() if init.isupper() else init)


@wrong("start_of_one_model")
def resnet50_left_random(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, models=("resnet18",), init=init) + plan(dataset, batch_size, epochs, models=("resnet50",))


@wrong("start_of_one_model")
def better_weights_for_resnet50(dataset, batch_size, epochs, init):
    starts = {"resnet18": init, "resnet50": "IMAGENET1K_V2"}
    return [replace(experiment, init=starts[experiment.model]) for experiment in plan(dataset, batch_size, epochs)]


@wrong("start_of_some_sizes")
def only_the_small_set_pretrained(dataset, batch_size, epochs, init):
    return [replace(e, init=init) if e.fraction < 0.1 else e for e in plan(dataset, batch_size, epochs)]


@wrong("wrong_number_of_runs")
def both_starts_side_by_side(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs) + plan(dataset, batch_size, epochs, init=init)


@wrong("wrong_number_of_runs")
def resnet18_alone(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, models=("resnet18",), init=init)


@wrong("wrong_learning_rate")
def a_small_rate_for_fine_tuning(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init, lr=1e-4)


@wrong("wrong_optimizer")
def sgd_for_fine_tuning(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init, optimizer="sgd")


@wrong("wrong_epochs")
def shorter_because_it_learns_faster(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, {size: max(1, number // 2) for size, number in epochs.items()}, init=init)


@wrong("wrong_fractions")
def a_tenth(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, fractions={"sixteenth": 0.1, "half": 0.5, "full": 1.0}, init=init)


@wrong("wrong_order")
def big_model_first(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, models=("resnet50", "resnet18"), init=init)


@wrong("wrong_order")
def sizes_outside(dataset, batch_size, epochs, init):
    return sorted(plan(dataset, batch_size, epochs, init=init), key=lambda experiment: experiment.fraction)


@wrong("validation_held_out")
def validation_part_of_the_default(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init, valid=0.1)


@wrong("batch_size_ignored")
def batch_size_of_the_default(dataset, batch_size, epochs, init):
    return plan(dataset, 256, epochs, init=init)


@wrong("dataset_ignored")
def cifar10_always(dataset, batch_size, epochs, init):
    return plan("cifar10", batch_size, epochs, init=init)


@wrong("other_setting_changed")
def the_stem_for_small_images(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init, stem="cifar")


@wrong("augmented")
def with_crops_and_flips(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, init=init, augmentation=("crop", "flip"))


@wrong("not_experiments")
def networks(dataset, batch_size, epochs, init):
    return [build("ConvNet") for _ in epochs for _ in range(2)]


@wrong("not_a_list")
def return_forgotten(dataset, batch_size, epochs, init):
    plan(dataset, batch_size, epochs, init=init)


@wrong("epochs_changed")
def epochs_taken_out_of_the_dict(dataset, batch_size, epochs, init):
    sizes = list(epochs)
    numbers = {size: epochs.pop(size) for size in sizes}
    return plan(dataset, batch_size, numbers, init=init)


@wrong("raises")
def a_name_that_does_not_exist(dataset, batch_size, epochs, init):
    return plan(dataset, batch_size, epochs, weights=init)


@wrong("signature")
def init_is_no_parameter(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, init="IMAGENET1K_V1")
