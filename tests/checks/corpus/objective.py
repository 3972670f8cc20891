"""Answers to `objective`."""

import random
from dataclasses import replace
from pathlib import Path

import torch

from corpus import catalogue
from labkit import runs
from labkit.runs import Experiment, RunStore, run
from labkit.search import accuracy_of

right, wrong = catalogue("objective")
BASE = Experiment(data="shapes:100/50", model="SimpleCNN", epochs=3)  # a cell of the notebook

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(parameters, report):
    def tell(progress):
        report(progress.epoch, progress.history[-1]["valid_acc"])

    finished = run(replace(BASE, optimizer="sgd", **parameters), verbose=False, on_epoch=[tell])
    return finished.result["valid_acc"]


@right
def a_lambda_and_one_line(p, r):
    return runs.run(
        Experiment(data="shapes:100/50", model="SimpleCNN", epochs=3, optimizer="sgd", **p),
        on_epoch=[lambda progress: r(progress.epoch, progress.history[-1]["valid_acc"])],
    ).result["valid_acc"]


@right
def a_class_with_a_method(parameters, report):
    class Teller:
        def __init__(self):
            self.best = 0

        def __call__(self, progress):
            row = progress.history[progress.epoch - 1]
            print(row)
            report(epoch=row["epoch"], value=row["valid_acc"])

    experiment = replace(BASE, optimizer="sgd", batch_size=parameters["batch_size"], lr=parameters["lr"], momentum=parameters["momentum"])
    finished = run(experiment, on_epoch=(Teller(),))
    return torch.tensor(finished.history.set_index("epoch")["valid_acc"][finished.result["best_epoch"]])


@right
def best_row_by_hand(parameters, report):
    seen = []

    def tell(progress):
        seen.append(progress.history[-1])
        report(len(seen), seen[-1]["valid_acc"])

    run(replace(BASE, optimizer="sgd", **parameters), store=RunStore(Path("elsewhere")), on_epoch=[tell], verbose=False)
    return min(seen, key=lambda row: row["valid_loss"])["valid_acc"]


@right
def chosen_by_accuracy(parameters, report):
    """Then the epoch with the highest accuracy is the one that is kept."""
    rates = []

    def tell(progress):
        rates.append(progress.history[-1]["valid_acc"])
        report(progress.epoch, rates[-1])

    run(replace(BASE, optimizer="sgd", monitor="valid_acc", **parameters), on_epoch=[tell])
    return max(rates)


@right
def what_pruning_leaves_is_tidied_up(parameters, report):
    try:
        return the_lesson(parameters, report)
    finally:
        print("done with", parameters)


# --- wrong -------------------------------------------------------------------------------------


def trial(parameters, report, value=lambda finished: finished.result["valid_acc"], told=lambda row: row["valid_acc"], **changes):
    """One trial, with changes."""

    def tell(progress):
        report(progress.epoch, told(progress.history[-1]))

    return value(run(replace(BASE, **{"optimizer": "sgd"} | parameters | changes), verbose=False, on_epoch=[tell]))


@wrong("test_accuracy_returned")
def chosen_by_the_test_set(parameters, report):
    return trial(parameters, report, lambda finished: finished.result["test_acc"])


@wrong("last_epoch_returned")
def the_last_row_of_the_history(parameters, report):
    return trial(parameters, report, lambda finished: finished.history["valid_acc"].iloc[-1])


@wrong("highest_accuracy_returned")
def the_luckiest_epoch(parameters, report):
    return trial(parameters, report, lambda finished: finished.history["valid_acc"].max())


@wrong("training_accuracy_returned")
def the_training_accuracy(parameters, report):
    return trial(parameters, report, lambda finished: finished.result["train_acc"])


@wrong("loss_returned")
def the_loss_to_be_minimised(parameters, report):
    return trial(parameters, report, lambda finished: finished.result["valid_loss"])


@wrong("loss_returned")
def minus_the_loss(parameters, report):
    return trial(parameters, report, lambda finished: -finished.result["valid_loss"])


@wrong("error_rate_returned")
def the_share_of_errors(parameters, report):
    return trial(parameters, report, lambda finished: 1 - finished.result["valid_acc"])


@wrong("percent_returned")
def in_percent(parameters, report):
    return trial(parameters, report, lambda finished: 100 * finished.result["valid_acc"])


@wrong("wrong_value")
def the_first_epoch(parameters, report):
    return trial(parameters, report, lambda finished: finished.history["valid_acc"].iloc[0])


@wrong("wrong_value")
def less_the_gap(parameters, report):
    return trial(parameters, report, lambda finished: 2 * finished.result["valid_acc"] - finished.result["train_acc"])


@wrong("nothing_returned")
def return_forgotten(parameters, report):
    trial(parameters, report)


@wrong("not_a_number")
def the_whole_result(parameters, report):
    return trial(parameters, report, lambda finished: finished.result)


@wrong("not_a_number")
def accuracy_and_loss(parameters, report):
    return trial(parameters, report, lambda finished: (finished.result["valid_acc"], finished.result["valid_loss"]))


@wrong("momentum_without_effect")
def adam_of_the_default(parameters, report):
    return trial(parameters, report, optimizer="adam")


@wrong("parameter_ignored")
def learning_rate_written_down(parameters, report):
    return trial(parameters, report, lr=1e-2)


@wrong("parameter_ignored")
def momentum_forgotten(parameters, report):
    return trial({name: value for name, value in parameters.items() if name != "momentum"}, report)


@wrong("parameter_ignored")
def batch_size_at_least_32(parameters, report):
    return trial(parameters, report, batch_size=max(32, parameters["batch_size"]))


@wrong("no_validation")
def all_images_to_train_on(parameters, report):
    return trial(parameters, report, lambda finished: finished.result["test_acc"], lambda row: row["test_acc"], valid=0)


@wrong("other_setting_varies")
def another_seed_each_time(parameters, report):
    return trial(parameters, report, seed=random.randrange(2**31))


@wrong("other_setting_varies")
def more_epochs_for_large_batches(parameters, report):
    return trial(parameters, report, epochs=parameters["batch_size"])


@wrong("several_runs")
def mean_of_three_seeds(parameters, report):
    return sum(trial(parameters, report, seed=seed) for seed in range(3)) / 3


@wrong("nothing_trained")
def the_parameters_are_judged_unseen(parameters, report):
    value = 1 - abs(parameters["lr"] - 0.01)
    report(1, value)
    return value


@wrong("not_reported")
def never_told(parameters, report):
    return run(replace(BASE, optimizer="sgd", **parameters), verbose=False).result["valid_acc"]


@wrong("not_reported")
def another_function_is_told(parameters, report):
    return run(replace(BASE, optimizer="sgd", **parameters), on_epoch=[lambda progress: print(progress.epoch, report)]).result["valid_acc"]


@wrong("reported_late")
def told_when_all_is_over(parameters, report):
    finished = run(replace(BASE, optimizer="sgd", **parameters), verbose=False)
    for row in finished.history.to_dict("records"):
        report(row["epoch"], row["valid_acc"])
    return finished.result["valid_acc"]


@wrong("reported_late")
def told_once_at_the_end(parameters, report):
    finished = run(replace(BASE, optimizer="sgd", **parameters), verbose=False)
    report(BASE.epochs, finished.result["valid_acc"])
    return finished.result["valid_acc"]


@wrong("report_swapped")
def accuracy_first(parameters, report):
    return trial(parameters, lambda epoch, value: report(value, epoch))


@wrong("epochs_from_zero")
def epochs_counted_from_zero(parameters, report):
    return trial(parameters, lambda epoch, value: report(epoch - 1, value))


@wrong("not_every_epoch")
def every_second_epoch(parameters, report):
    return trial(parameters, lambda epoch, value: report(epoch, value) if epoch % 2 == 0 else None)


@wrong("other_measure_reported")
def training_accuracy_told(parameters, report):
    return trial(parameters, report, told=lambda row: row["train_acc"])


@wrong("other_measure_reported")
def loss_told(parameters, report):
    return trial(parameters, report, told=lambda row: row["valid_loss"])


@wrong("wrong_report")
def best_so_far_told(parameters, report):
    best = []

    def told(row):
        best.append(row["valid_acc"])
        return max(best)

    return trial(parameters, report, told=told)


@wrong("wrong_report")
def the_progress_itself(parameters, report):
    return trial(parameters, report, told=lambda row: row)


@wrong("pruning_swallowed")
def all_exceptions_caught(parameters, report):
    try:
        return trial(parameters, report)
    except Exception:
        return 0.0


@wrong("pruning_swallowed")
def report_in_a_try(parameters, report):
    def quietly(epoch, value):
        try:
            report(epoch, value)
        except Exception as error:
            print("oh:", error)

    return trial(parameters, quietly)


@wrong("reference")
def the_ready_made_one(parameters, report):
    return accuracy_of(BASE)(parameters, report)


@wrong("raises")
def parameters_as_attributes(parameters, report):
    return trial({"lr": parameters.lr}, report)


@wrong("signature")
def one_argument(parameters):
    return trial(parameters, print)
