"""Answers to `six_runs`."""

from itertools import product

from corpus import catalogue
from labkit.runs import Experiment

right, wrong = catalogue("six_runs")
FRACTIONS = {"sixteenth": 1 / 16, "half": 1 / 2, "full": 1.0}  # a cell of the notebook

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs)


def plan(dataset, batch_size, epochs, models=("resnet18", "resnet50"), fractions=FRACTIONS, **changes):
    """The six runs, with changes."""
    settings = {"data": dataset, "valid": 0, "init": "random", "optimizer": "adam", "lr": 1e-3, "batch_size": batch_size}
    return [
        Experiment(**settings | {"fraction": fraction, "model": model, "epochs": epochs[size]} | changes)
        for model in models
        for size, fraction in fractions.items()
    ]  # fmt: skip


@right
def nested_loops_and_append(dataset, batch_size, epochs):
    runs = []
    for m in ["resnet18", "resnet50"]:
        for s in ["sixteenth", "half", "full"]:
            e = Experiment(data=dataset, model=m, fraction=FRACTIONS[s], valid=0.0, batch_size=batch_size, epochs=epochs[s])
            print(e.key)
            runs.append(e)
    return runs


@right
def numbers_written_out(dataset, batch_size, epochs):
    def one(model, fraction, size):
        return Experiment(model=model, fraction=fraction, epochs=epochs[size], data=dataset, valid=0, lr=0.001, batch_size=batch_size, augmentation=[])

    return [
        one("resnet18", 0.0625, "sixteenth"), one("resnet18", 0.5, "half"), one("resnet18", 1, "full"),
        one("resnet50", 0.0625, "sixteenth"), one("resnet50", 0.5, "half"), one("resnet50", 1, "full"),
    ]  # fmt: skip


@right
def a_product_in_a_tuple(dataset, batch_size, epochs):
    pairs = product(("resnet18", "resnet50"), FRACTIONS)
    shares = {"sixteenth": 3_125 / 50_000, "half": 25_000 / 50_000, "full": 1}
    shared = {"data": dataset, "batch_size": batch_size, "valid": 0, "schedule": "constant"}
    return tuple(Experiment(model=model, fraction=shares[size], epochs=epochs[size], **shared) for model, size in pairs)


# --- wrong -------------------------------------------------------------------------------------


@wrong("wrong_order")
def sizes_outside(dataset, batch_size, epochs):
    return sorted(plan(dataset, batch_size, epochs), key=lambda e: e.fraction)


@wrong("wrong_order")
def full_set_first(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, fractions=dict(reversed(FRACTIONS.items())))


@wrong("wrong_order")
def big_model_first(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, models=("resnet50", "resnet18"))


@wrong("wrong_number_of_runs")
def one_model(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, models=("resnet18",))


@wrong("wrong_number_of_runs")
def return_inside_the_loop(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs)[:1]


@wrong("wrong_fractions")
def a_tenth(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, fractions={"sixteenth": 0.1, "half": 0.5, "full": 1.0})


@wrong("wrong_fractions")
def the_full_set_always(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, fraction=1.0)


@wrong("wrong_models")
def the_small_model_twice(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, models=("resnet18", "resnet18"))


@wrong("wrong_epochs")
def the_same_epochs_for_all(dataset, batch_size, epochs):
    return plan(dataset, batch_size, dict.fromkeys(epochs, epochs["full"]))


@wrong("wrong_epochs")
def ten_epochs(dataset, batch_size, epochs):
    return plan(dataset, batch_size, dict.fromkeys(epochs, 10))


@wrong("validation_held_out")
def validation_part_of_the_default(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, valid=0.1)


@wrong("wrong_init")
def pretrained(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, init="IMAGENET1K_V1")


@wrong("wrong_optimizer")
def sgd(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, optimizer="sgd")


@wrong("wrong_learning_rate")
def learning_rate_too_large(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, lr=1e-2)


@wrong("batch_size_ignored")
def batch_size_of_the_default(dataset, batch_size, epochs):
    return plan(dataset, 256, epochs)


@wrong("dataset_ignored")
def cifar10_always(dataset, batch_size, epochs):
    return plan("cifar10", batch_size, epochs)


@wrong("augmented")
def with_crops_and_flips(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, augmentation=("crop", "flip"))


@wrong("wrong_schedule")
def with_a_schedule(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, schedule="cosine")


@wrong("other_setting_changed")
def another_stem(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, stem="cifar")


@wrong("other_setting_changed")
def a_seed_for_each_run(dataset, batch_size, epochs):
    return [Experiment(**{k: v for k, v in e.to_dict().items() if k != "schema"} | {"seed": i}) for i, e in enumerate(plan(dataset, batch_size, epochs))]


@wrong("wrong_epochs")
def epochs_mixed_up(dataset, batch_size, epochs):
    numbers = list(epochs.values())
    return plan(dataset, batch_size, dict(zip(epochs, numbers[::-1])))


@wrong("not_experiments")
def dicts(dataset, batch_size, epochs):
    return [e.to_dict() for e in plan(dataset, batch_size, epochs)]


@wrong("not_experiments")
def a_list_for_each_model(dataset, batch_size, epochs):
    runs = plan(dataset, batch_size, epochs)
    return [runs[:3], runs[3:]]


@wrong("not_a_list")
def a_generator(dataset, batch_size, epochs):
    yield from plan(dataset, batch_size, epochs)


@wrong("not_a_list")
def a_dict_of_runs(dataset, batch_size, epochs):
    return {e.key: e for e in plan(dataset, batch_size, epochs)}


@wrong("not_a_list")
def return_forgotten(dataset, batch_size, epochs):
    plan(dataset, batch_size, epochs)


@wrong("epochs_changed")
def epochs_taken_out_of_the_dict(dataset, batch_size, epochs):
    runs = plan(dataset, batch_size, epochs)
    epochs.clear()
    return runs


@wrong("raises")
def model_without_a_name(dataset, batch_size, epochs):
    return plan(dataset, batch_size, epochs, models=("ResNet-18", "ResNet-50"))


@wrong("signature")
def parameters_with_other_names(dataset, size, epochs):
    return plan(dataset, size, epochs)
