"""Hyper-parameter search: what it finds, that it goes on where it was, and that a kill costs one trial at most."""

import json
import math
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import optuna
import pandas as pd
import pytest
from sentences import one_sentence
from tqdm import tqdm

import labkit
from labkit import runs
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.loops import NonFiniteLossError
from labkit.runs import RunStore
from labkit.search import LESSON, SAMPLERS, accuracy_of, choice, log_uniform, search, uniform

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["torch", "pytest", "labkit.search"])

SQUARE = {"x": uniform(-1, 1), "y": uniform(-1, 1)}


def hill(parameters, report):
    """A smooth function of the lesson's parameters: 0 at batch size 32, rate 0.01 and momentum 0.7, lower elsewhere."""
    size, rate, momentum = (parameters[name] for name in LESSON)
    return -((math.log10(rate) + 2) ** 2) - (momentum - 0.7) ** 2 - (math.log2(size) - 5) ** 2 / 20


def learning(parameters, report):
    """A training of six epochs that ends at 1 − x² − y²."""
    top = 1 - parameters["x"] ** 2 - parameters["y"] ** 2
    for epoch in range(1, 7):
        report(epoch, top * epoch / 6)
    return top


def quietly(objective, space, sampler, trials, **options):
    return search(objective, space, sampler, trials, verbose=False, **options)


def told(found):
    """The table without the column that no two searches share."""
    return found.table.drop(columns="seconds")


def same(found, other):
    pd.testing.assert_frame_equal(told(found), told(other), check_exact=True)


# --- what it tries and what it finds -----------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_trial_lies_in_the_space(sampler):
    table = quietly(hill, LESSON, sampler, 40).table
    assert list(table) == ["trial", "batch_size", "lr", "momentum", "value", "state", "epochs", "seconds"]
    assert list(table["trial"]) == list(range(1, 41)) and set(table["state"]) == {"finished"}
    assert set(table["batch_size"]) <= {8, 16, 32, 64, 128} and set(table["momentum"]) <= {0.1, 0.3, 0.5, 0.7, 0.9}
    assert table["lr"].between(1e-4, 1e-1).all() and table["lr"].nunique() > 30


def test_a_log_uniform_parameter_is_as_likely_in_each_decade():
    table = quietly(lambda parameters, report: 0.0, {"log": log_uniform(1e-4, 1e-1), "plain": uniform(1e-4, 1e-1)}, "random", 150).table
    assert [(table["log"] < edge).mean() for edge in (1e-3, 1e-2)] == pytest.approx([1 / 3, 2 / 3], abs=0.1)
    assert (table["plain"] < 1e-2).mean() == pytest.approx(0.1, abs=0.07)


@pytest.fixture(scope="module")
def reached():
    """{sampler: the mean over seeds of the best value after 60 trials}; 0 is the best there is."""
    seeds = range(10)
    return {sampler: sum(quietly(hill, LESSON, sampler, 60, seed=seed).best.value for seed in seeds) / len(seeds) for sampler in SAMPLERS}


@pytest.mark.parametrize("sampler", ["tpe", "evolution"])
def test_a_sampler_that_learns_gets_twice_as_near_to_the_optimum_as_random_search(reached, sampler):
    assert reached["random"] < 2 * reached[sampler] < 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_seed_gives_the_same_trials_again_and_another_seed_gives_others(sampler):
    first = quietly(hill, LESSON, sampler, 20)
    same(quietly(hill, LESSON, sampler, 20), first)
    reordered = quietly(hill, dict(reversed(LESSON.items())), sampler, 20).table
    pd.testing.assert_frame_equal(reordered[list(LESSON)], first.table[list(LESSON)])
    assert not quietly(hill, LESSON, sampler, 20, seed=1).table["lr"].isin(first.table["lr"]).any()


def test_the_best_is_a_finished_trial_with_its_parameters():
    found = quietly(hill, LESSON, "random", 20)
    row = found.table.loc[found.table["value"].idxmax()]
    assert found.best == (row["trial"], {name: row[name] for name in LESSON}, row["value"])
    assert hill(found.best.parameters, None) == found.best.value == found.study.best_value
    assert type(found.best.parameters["batch_size"]) is int


def test_of_equally_good_trials_the_first_is_the_best():
    assert quietly(lambda parameters, report: 0.5, SQUARE, "random", 5).best.trial == 1


def test_a_parameter_that_is_the_only_choice_is_kept():
    assert set(quietly(lambda p, report: p["x"], {"x": uniform(0, 1), "model": choice("ConvNet")}, "tpe", 8).table["model"]) == {"ConvNet"}


def test_one_line_is_printed_a_trial_and_nothing_of_optuna(capfd):
    verbosity = optuna.logging.get_verbosity()
    search(hill, LESSON, "tpe", 10)
    out, err = capfd.readouterr()
    assert err == "" and len(out.splitlines()) == 10
    assert out.splitlines()[0].startswith("trial  1/10  batch_size ") and "  lr " in out and "  value -" in out
    assert optuna.logging.get_verbosity() == verbosity
    quietly(hill, LESSON, "tpe", 3)
    assert capfd.readouterr() == ("", "")


# --- pruning -----------------------------------------------------------------------------------


def test_hopeless_trials_are_stopped_early_and_never_the_best():
    epochs = []

    def counted(parameters, report):
        return learning(parameters, lambda epoch, value: (epochs.append(epoch), report(epoch, value)))

    found = quietly(counted, SQUARE, "random", 30)
    pruned, finished = (found.table[found.table["state"] == state] for state in ("pruned", "finished"))
    assert len(pruned) >= 8 and len(pruned) + len(finished) == 30
    assert len(epochs) == found.table["epochs"].sum() < 30 * 6
    assert (pruned["trial"] > 5).all() and pruned["epochs"].between(2, 5).all() and (finished["epochs"] == 6).all()
    quality = 1 - found.table["x"] ** 2 - found.table["y"] ** 2
    assert quality[pruned.index].max() < quality[finished.index].max() == found.best.value
    assert pruned["value"].tolist() == pytest.approx((quality * found.table["epochs"] / 6)[pruned.index].tolist())


def test_no_trial_is_stopped_before_the_warmup_is_over():
    table = quietly(learning, SQUARE, "random", 30, warmup=4).table
    assert set(table.loc[table["state"] == "pruned", "epochs"]) == {4}


def test_evolution_breeds_from_pruned_trials_too():
    calls = []

    def all_pruned_but_five(parameters, report):
        calls.append(parameters)
        for epoch in (1, 2):
            report(epoch, float(len(calls) <= 5))
        return 1.0

    table = quietly(all_pruned_but_five, {"x": choice(*range(100)), "y": uniform(0, 1)}, "evolution", 30).table
    assert (table["state"][5:] == "pruned").all()
    assert table["x"][6:].isin(table["x"][:6]).mean() > 0.3  # drawn blindly it would be 0.06


def test_an_objective_that_reports_nothing_is_never_pruned():
    table = quietly(lambda p, report: p["x"], SQUARE, "random", 20).table
    assert set(table["state"]) == {"finished"} and set(table["epochs"]) == {0}


# --- divergence --------------------------------------------------------------------------------


def diverging(parameters, report):
    if parameters["x"] > 0.5:
        raise NonFiniteLossError("the loss became nan")
    return math.nan if parameters["x"] > 0 else 1 - parameters["x"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_report_that_is_not_finite_is_divergence_too(value):
    def objective(parameters, report):
        report(1, 0.5)
        report(2, value if parameters["x"] > 0 else 0.5)
        return 0.5

    table = quietly(objective, SQUARE, "random", 12).table
    assert ((table["state"] == "diverged") == (table["x"] > 0)).all() and table["state"].nunique() == 2
    assert (table["epochs"] == table["state"].map({"finished": 2, "diverged": 1})).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trial_that_diverges_has_the_worst_value_and_does_not_stop_the_search(sampler, capsys):
    found = search(diverging, SQUARE, sampler, 30)
    table = found.table
    assert len(table) == 30 and {"finished", "diverged"} == set(table["state"])
    assert ((table["state"] == "diverged") == (table["x"] > 0)).all()
    assert (table.loc[table["state"] == "diverged", "value"] == -math.inf).all()
    assert found.best.value == table.loc[table["state"] == "finished", "value"].max()
    assert capsys.readouterr().out.count("  diverged  ") == (table["state"] == "diverged").sum()


def test_tpe_learns_to_keep_away_from_where_trials_diverge():
    table = quietly(diverging, {"x": uniform(-1, 1)}, "tpe", 40).table
    assert (table["state"][20:] == "diverged").mean() < 0.25 < (table["state"][:5] == "diverged").mean()


def test_where_all_trials_diverge_there_is_no_best_one():
    found = quietly(lambda p, report: math.inf, SQUARE, "evolution", 12)
    assert set(found.table["state"]) == {"diverged"}
    with one_sentence("every trial diverged or was pruned", "lower learning rates"):
        found.best  # noqa: B018
    found.history(), found.parallel_coordinates()
    with one_sentence("all trials have the same value"):
        found.importance()


# --- it goes on where it was -------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_of_the_same_name_goes_up_to_the_total_as_if_it_had_never_stopped(sampler):
    calls = []

    def counted(parameters, report):
        calls.append(parameters)
        return learning(parameters, report)

    for trials in (4, 15, 15, 10):
        found = quietly(counted, SQUARE, sampler, trials, name="kept")
    assert len(calls) == len(found.table) == 15
    same(found, quietly(learning, SQUARE, sampler, 15))


def test_a_search_is_kept_in_the_run_store_under_its_name(tmp_path):
    quietly(hill, LESSON, "tpe", 2, name="mine")
    quietly(hill, LESSON, "tpe", 2, name="mine", store=RunStore(tmp_path / "elsewhere"))
    for root in (RunStore().root, tmp_path / "elsewhere"):
        assert [path.name for path in (root / "searches").iterdir() if path.is_file()] == ["mine.jsonl"]
        assert list(RunStore(root).all()) == []


def test_a_search_without_name_and_key_is_not_kept():
    for _ in range(2):
        quietly(hill, LESSON, "tpe", 2)
    assert not RunStore().root.exists()


@pytest.mark.filterwarnings("error")  # Optuna warns of an epoch that is reported twice
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, LabkitError])
def test_an_error_ends_the_search_and_its_trial_is_tried_again(error, capsys):
    calls = []

    def failing(parameters, report):
        calls.append(parameters)
        if len(calls) == 3:
            report(1, 0.5)
            raise error("something else")
        return learning(parameters, report)

    with pytest.raises(error, match="something else"):
        quietly(failing, SQUARE, "tpe", 8, name="kept")
    found = quietly(failing, SQUARE, "tpe", 8, name="kept")
    assert calls[2] == calls[3] and len(calls) == 9
    assert ("interrupted in trial 3" in capsys.readouterr().out) == (error is KeyboardInterrupt)
    assert list(found.table["trial"]) == list(range(1, 9)) and set(found.table["state"]) <= {"finished", "pruned"}


def test_a_trial_left_behind_beyond_the_total_is_let_be():
    def failing(parameters, report):
        raise RuntimeError("not now")

    quietly(learning, SQUARE, "tpe", 3, name="kept")
    with pytest.raises(RuntimeError, match="not now"):
        quietly(failing, SQUARE, "tpe", 4, name="kept")
    assert len(quietly(failing, SQUARE, "tpe", 3, name="kept").table) == 3
    assert list(quietly(learning, SQUARE, "tpe", 4, name="kept").table["trial"]) == [1, 2, 3, 4]


def test_half_a_line_at_the_end_of_the_file_is_dropped():
    quietly(hill, LESSON, "tpe", 3, name="torn")
    path = RunStore().root / "searches" / "torn.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    same(quietly(hill, LESSON, "tpe", 6, name="torn"), quietly(hill, LESSON, "tpe", 6))


@pytest.mark.parametrize("content", ["no json\n", "{}\n", "3\n", '{"op_code": 99, "worker_id": "a"}\n', "\x00\x00\n"])
def test_a_damaged_file_is_one_sentence(content):
    path = RunStore().root / "searches" / "broken.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with one_sentence(f"the search file {path} is damaged", "move it away"):
        quietly(hill, LESSON, "tpe", 3, name="broken")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with one_sentence("the search folder", "cannot be written", "LABKIT_RUNS"):
        quietly(hill, LESSON, "tpe", 3, name="kept", store=RunStore(tmp_path / "file"))


class Keyed:
    """An objective that says what it is, as `accuracy_of` does."""

    def __init__(self, key):
        self.key = key

    def __call__(self, parameters, report):
        return learning(parameters, report)


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"space": {"x": uniform(-1, 2), "y": uniform(-1, 1)}}, "another space"),
        ({"sampler": "random"}, "another sampler (tpe, not random)"),
        ({"seed": 1}, "another seed (0, not 1)"),
        ({"warmup": 3}, "another warmup (2, not 3)"),
        ({"objective": Keyed("b")}, "another objective (a, not b)"),
    ],
)
def test_another_search_under_the_same_name_is_refused(changes, what):
    settings = {"objective": Keyed("a"), "space": SQUARE, "sampler": "tpe", "trials": 2, "name": "taken"}
    quietly(**settings)
    with one_sentence("the search taken was made with", what, "choose another name"):
        quietly(**settings | changes)


def test_an_objective_with_a_key_names_the_search_by_all_that_decides_it():
    for key, sampler, seed in (("a", "tpe", 0), ("a", "tpe", 0), ("b", "tpe", 0), ("a", "random", 0), ("a", "tpe", 1)):
        quietly(Keyed(key), SQUARE, sampler, 2, seed=seed)
    names = [path.stem for path in (RunStore().root / "searches").glob("*.jsonl")]
    assert len(names) == 4 and sorted(name.split("-")[0] for name in names) == ["random", "tpe", "tpe", "tpe"]


# --- kill −9 and other processes ---------------------------------------------------------------


def child(root, objective, trials, fault=None):
    """Search below `root`, all that is printed to `root`.log; `fault` is called first with `root`."""
    log = os.open(f"{root}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout.reconfigure(line_buffering=True)
    tqdm.set_lock(threading.RLock())  # its own lock is a semaphore, which a killed process leaves behind
    if fault is not None:
        fault[0](root, *fault[1:])
    search(objective, SQUARE, "tpe", trials, name="shared", store=RunStore(root))


def start(*arguments):
    process = CHILDREN.Process(target=child, args=arguments)
    process.start()
    return process


def evaluations(root):
    """What `logged` was called with below `root`, over all processes."""
    return [tuple(json.loads(line)) for line in Path(f"{root}.calls").read_text().splitlines()]


class Logged:
    """`learning`, with a line a call in `root`.calls; kills its process when trial `kill` reaches epoch 3, the first time."""

    def __init__(self, root, kill=None, seconds=0.0):
        self.root, self.kill, self.seconds = root, kill, seconds

    def __call__(self, parameters, report):
        with open(f"{self.root}.calls", "a") as file:
            file.write(json.dumps(list(parameters.values())) + "\n")
        time.sleep(self.seconds)

        def watched(epoch, value):
            report(epoch, value)
            if epoch == 3 and len(evaluations(self.root)) == self.kill:
                os.kill(os.getpid(), signal.SIGKILL)

        return learning(parameters, watched)


def test_a_killed_search_loses_the_trial_under_way_and_tries_it_again(tmp_path):
    root = tmp_path / "killed"
    process = start(root, Logged(root, kill=4), 10)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, Path(f"{root}.log").read_text()
    found = quietly(Logged(root), SQUARE, "tpe", 10, name="shared", store=RunStore(root))
    calls = evaluations(root)
    assert len(calls) == 11 and calls[3] == calls[4] and len(set(calls)) == 10
    same(found, quietly(learning, SQUARE, "tpe", 10))


def kill_before_write(root, number):
    """Let this process kill itself right before it opens a file below `root` to write for the `number`-th time."""
    writes = []

    def look(event, args):
        if event == "open" and str(args[0]).startswith(str(root)) and str(args[0]).endswith(".jsonl") and args[2] & (os.O_WRONLY | os.O_RDWR):
            writes.append(args[0])
            if len(writes) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def test_killed_before_any_line_of_its_file_a_search_ends_as_if_undisturbed(tmp_path):
    expected = quietly(learning, SQUARE, "tpe", 2)
    for number in range(1, 100):
        root = tmp_path / f"search-{number}"
        process = start(root, learning, 2, (kill_before_write, number))
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, Path(f"{root}.log").read_text()
        same(quietly(learning, SQUARE, "tpe", 2, name="shared", store=RunStore(root)), expected)
    # the file, the study and what it was made with; for each trial its beginning, 6 epochs, state, seconds and end
    assert number - 1 >= 3 + 2 * 10


def test_processes_that_share_a_search_keep_the_total_and_run_nothing_twice(tmp_path):
    root = tmp_path / "shared"
    processes = [start(root, Logged(root, seconds=0.05), 16) for _ in range(3)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0], Path(f"{root}.log").read_text()
    assert len(evaluations(root)) == len(set(evaluations(root))) == 16
    found = quietly(Logged(root), SQUARE, "tpe", 16, name="shared", store=RunStore(root))
    assert len(evaluations(root)) == 16 and list(found.table["trial"]) == list(range(1, 17))
    lines = [line for line in Path(f"{root}.log").read_text().splitlines() if "value" in line]
    assert sorted(int(line.split()[1].split("/")[0]) for line in lines) == list(range(1, 17))


def test_a_process_waits_for_the_trial_of_another_and_takes_it_over_when_that_one_is_killed(tmp_path, capsys):
    root = tmp_path / "waiting"
    process = start(root, Logged(root, seconds=600), 1)
    end = time.monotonic() + 60
    while not Path(f"{root}.calls").exists():
        assert process.is_alive() and time.monotonic() < end, Path(f"{root}.log").read_text()
        time.sleep(0.01)
    killer = threading.Timer(0.5, process.kill)
    killer.start()
    found = quietly(Logged(root), SQUARE, "tpe", 1, name="shared", store=RunStore(root))
    killer.join()
    process.join()
    assert capsys.readouterr().out == "trial 1 is being worked on by another process; waiting for it\n"
    assert len(found.table) == 1 and len(evaluations(root)) == 2 and len(set(evaluations(root))) == 1


# --- over experiments --------------------------------------------------------------------------

RATES = {"lr": log_uniform(1e-3, 1e-1), "momentum": choice(0.1, 0.5, 0.9)}


@pytest.fixture
def trainings(monkeypatch):
    """The experiments that are trained, one entry each time `fit` begins."""
    started, fit = [], runs._Training.fit

    def counted(self, *arguments):
        started.append(self.experiment)
        return fit(self, *arguments)

    monkeypatch.setattr(runs._Training, "fit", counted)
    return started


def test_a_search_over_experiments_trains_each_trial_once_and_chooses_by_validation(tiny, trainings):
    objective = accuracy_of(tiny())
    found = quietly(objective, RATES, "tpe", 7)
    assert len(trainings) == len({e.key for e in trainings}) == 7
    assert [(e.optimizer, e.lr, e.momentum, e.epochs) for e in trainings] == [("sgd", row.lr, row.momentum, 3) for row in found.table.itertuples()]
    finished = found.table[found.table["state"] == "finished"]
    for row in finished.to_dict("records"):
        assert objective.run({name: row[name] for name in RATES}).result["valid_acc"] == row["value"]
    best = objective.run(found.best.parameters)
    assert best.result["valid_acc"] == found.best.value == finished["value"].max() and 0 <= best.result["test_acc"] <= 1
    trainings.clear()
    same(quietly(objective, RATES, "tpe", 7), found)
    assert trainings == []


def test_a_new_search_over_trials_that_are_in_the_store_prunes_as_the_first_and_trains_nothing(tiny, trainings):
    first = quietly(accuracy_of(tiny(epochs=4)), RATES, "random", 10, name="first", warmup=1)
    state = first.table["state"]
    assert {"finished", "pruned"} == set(state) and len(trainings) == 10
    trainings.clear()
    second = quietly(accuracy_of(tiny(epochs=4)), RATES, "random", 10, name="second", warmup=1)
    same(second, first)
    assert trainings == []  # a pruned trial is pruned again by the epochs that are in the store
    pruned = first.table.loc[state == "pruned"].iloc[0]
    finished = accuracy_of(tiny(epochs=4)).run({name: pruned[name] for name in RATES})
    assert finished.result["epochs"] == 4 and len(finished.history) == 4  # its run goes on when it is wanted


def test_a_rate_that_makes_the_loss_diverge_is_named_so(tiny):
    found = quietly(accuracy_of(tiny(epochs=1)), {"lr": choice(1e-3, 1e20), "momentum": choice(0.9)}, "random", 6)
    assert dict(zip(found.table["lr"], found.table["state"])) == {1e-3: "finished", 1e20: "diverged"}
    assert found.best.parameters["lr"] == 1e-3


def train_and_die(tiny_settings, root):
    """Search over experiments and die in the second epoch of the second trial."""
    tqdm.set_lock(threading.RLock())
    save, saved = runs._Training.save, []

    def save_and_die(self, progress):
        save(self, progress)
        saved.append(progress.epoch)
        if len(saved) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    runs._Training.save = save_and_die
    store = RunStore(root)
    quietly(accuracy_of(Experiment(**tiny_settings), store, "cpu"), RATES, "tpe", 3, store=store)


def test_a_killed_search_resumes_the_training_under_way(tiny, tmp_path, trainings):
    settings = {name: value for name, value in tiny().to_dict().items() if name != "schema"}
    process = CHILDREN.Process(target=train_and_die, args=(settings, tmp_path / "killed"))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    store = RunStore(tmp_path / "killed")
    found = quietly(accuracy_of(tiny(), store, "cpu"), RATES, "tpe", 3, store=store)
    assert len(trainings) == 2  # the second, from its third epoch on, and the third
    sessions = json.loads((store.path(trainings[0]) / "environment.json").read_text())
    assert len(sessions) == 2 and len(list(store.all())) == 3
    undisturbed = RunStore(tmp_path / "undisturbed")
    same(found, quietly(accuracy_of(tiny(), undisturbed, "cpu"), RATES, "tpe", 3, store=undisturbed))


def test_a_trial_keeps_the_base_experiments_other_fields(tiny):
    base = tiny(seed=3)
    assert accuracy_of(base).experiment({"lr": 0.5}) == tiny(seed=3, lr=0.5)
    assert accuracy_of(base).experiment({"momentum": 0.5}) == tiny(seed=3, momentum=0.5, optimizer="sgd")
    assert accuracy_of(base).experiment({"momentum": 0.5, "optimizer": "adam"}) == tiny(seed=3, momentum=0.5)


# --- figures -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    """A search with finished, pruned and diverged trials in which x decides and y does not."""

    def objective(parameters, report):
        if parameters["x"] > 0.7:
            raise NonFiniteLossError("the loss became nan")
        return learning({"x": parameters["x"], "y": 0}, report)

    found = quietly(objective, SQUARE | {"lr": log_uniform(1e-4, 1e-1), "size": choice(8, 16)}, "random", 30)
    assert set(found.table["state"]) == {"finished", "pruned", "diverged"}
    return found


def test_history_shows_every_trial_by_how_it_ended_and_the_best_so_far(mixed):
    [axes] = mixed.history("title").axes
    shown = {points.get_label(): points.get_offsets()[:, 0].tolist() for points in axes.collections}
    table = mixed.table
    assert shown == {state: table.loc[table["state"] == state, "trial"].tolist() for state in ("finished", "pruned", "diverged")}
    [line] = axes.get_lines()
    best = table["value"].where(table["state"] == "finished").cummax().ffill()
    assert line.get_xdata().tolist() == table["trial"].tolist() and line.get_ydata()[-1] == mixed.best.value
    assert [y for y in line.get_ydata() if y == y] == best.dropna().tolist()


def test_parallel_coordinates_draws_a_line_a_trial_across_all_parameters(mixed):
    axes, bar = mixed.parallel_coordinates().axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 4]
    assert len(lines) == 30 and sum(line.get_linestyle() == "--" for line in lines) == (mixed.table["state"] == "diverged").sum()
    best = lines[-1].get_ydata()  # drawn last, on top
    row = mixed.best.parameters
    assert best == pytest.approx([(row["x"] + 1) / 2, (row["y"] + 1) / 2, (math.log10(row["lr"]) + 4) / 3, {8: 0.25, 16: 0.75}[row["size"]]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "lr", "size"]
    assert {"8", "16", "$10^{-3}$"} <= {text.get_text() for text in axes.texts} and bar.get_ylabel() == "validation accuracy"


def test_importance_shows_what_decides(mixed):
    [axes] = mixed.importance().axes
    shares = {label.get_text(): bar.get_height() for label, bar in zip(axes.get_xticklabels(), axes.patches)}
    assert sum(shares.values()) == pytest.approx(1) and shares.keys() == mixed.space.keys()
    assert shares["x"] > 0.5 == max(0.5, *(share for name, share in shares.items() if name != "x"))


def test_importance_of_too_few_trials_is_refused():
    with one_sentence("importance needs at least 10 finished trials, not 9", "larger number of trials"):
        quietly(hill, LESSON, "tpe", 9).importance()


def test_no_figure_is_shown_a_second_time_by_pyplot(mixed):
    mixed.history(), mixed.parallel_coordinates(), mixed.importance()
    assert plt.get_fignums() == []


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: choice(), ["choice needs numbers or names", "nothing"]),
        (lambda: choice([8, 16]), ["choice needs numbers or names", "[8, 16]"]),
        (lambda: choice(8, 16, 8), ["choice(8, 16, 8) names a value twice"]),
        (lambda: uniform(1, 1), ["uniform(1, 1) must go from a lower to a higher number"]),
        (lambda: uniform("a", 1), ["uniform needs two numbers", "'a'"]),
        (lambda: uniform(0, math.inf), ["uniform needs two numbers"]),
        (lambda: log_uniform(0, 1), ["log_uniform(0, 1) must go from", "above 0"]),
        (lambda: log_uniform(1e-1, 1e-4), ["log_uniform(0.1, 0.0001) must go from a lower"]),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_sentence(make, words):
    with one_sentence(*words):
        make()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"space": {}}, ["a space is a dict", "LESSON", "{}"]),
        ({"space": ["lr"]}, ["a space is a dict"]),
        ({"space": {"lr": 0.1}}, ["the space must say choice", "'lr'", "0.1"]),
        ({"space": {"value": choice(1, 2)}}, ["cannot be named 'value'"]),
        ({"space": {1: choice(1, 2)}}, ["cannot be named 1"]),
        ({"sampler": "tpee"}, ["unknown sampler 'tpee'", "did you mean 'tpe'", "tpe, evolution, random"]),
        ({"trials": 0}, ["trials must be a whole number from 1, not 0"]),
        ({"trials": 2.5}, ["trials must be a whole number from 1, not 2.5"]),
        ({"seed": -1}, ["seed must be a whole number from 0, not -1"]),
        ({"warmup": True}, ["warmup must be a whole number from 1, not True"]),
        ({"name": "../up"}, ["a search is named by letters", "'../up'"]),
        ({"name": ""}, ["a search is named by letters"]),
        ({"objective": lambda parameters, report: None}, ["the objective must return a number", "not None"]),
        ({"objective": lambda parameters, report: report(0.5, 1)}, ["report(epoch, value) needs an epoch that counts from 1, not 0.5"]),
        ({"objective": lambda parameters, report: report(1, "high")}, ["report(epoch, value) needs a number", "'high'"]),
        ({"objective": 3}, ["the objective must be a function of (parameters, report), not 3"]),
    ],
)
def test_a_search_that_makes_no_sense_is_one_sentence(changes, words):
    with one_sentence(*words):
        quietly(**{"objective": hill, "space": LESSON, "sampler": "tpe", "trials": 2} | changes)


def test_an_experiment_that_cannot_be_searched_is_one_sentence(tiny):
    with one_sentence("a search chooses by validation accuracy", "set valid above 0"):
        accuracy_of(tiny(valid=0))
    with one_sentence("accuracy_of needs an Experiment", "'cifar10'"):
        accuracy_of("cifar10")
    with one_sentence("unknown parameter 'rate'", "lr"):
        quietly(accuracy_of(tiny()), {"rate": choice(1, 2)}, "tpe", 2)


# --- without Optuna ----------------------------------------------------------------------------

WITHOUT = """
import importlib, sys
sys.modules["optuna"] = None  # as if it was not installed
for name in sys.argv[1:]:
    importlib.import_module(name)
try:
    import labkit.search
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_every_other_module_works_without_optuna_and_search_says_what_to_install():
    names = [module.name for module in pkgutil.walk_packages(labkit.__path__, "labkit.")]
    others = [name for name in names if name != "labkit.search"]
    assert {"labkit.runs", "labkit.plots", "labkit.cli"} <= set(others)
    done = subprocess.run([sys.executable, "-c", WITHOUT, *others], capture_output=True, text=True, check=True)
    assert done.stdout == 'LabkitError labkit.search needs Optuna; install it with: pip install -c constraints.txt -e ".[search]"\n'
