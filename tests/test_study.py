"""Studies: a grid becomes one table; what is kept is not trained again; and neither a bad cell nor a killed process costs the others.

Every training is done by real processes. Starting one takes seconds, so what can share a study shares it.
"""

import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace

import psutil
import pytest
import torch
from interrupting import interrupt
from sentences import one_sentence
from waiting import wait_until

from labkit import models
from labkit.experiment import Experiment
from labkit.runs import RunStore, cited, run
from labkit.study import Study, grid, tasks
from labkit.study.cells import cells, in_words
from labkit.study.cluster import Cluster, NotSharedError
from labkit.study.estimate import Layout, duration, kind, make_plan, makespan
from labkit.study.local import Local
from labkit.study.records import Records
from labkit.study.tasks import Cost

REPRODUCIBLE = ("weights.safetensors", "history.jsonl", "result.json")
LONG = {"data": "shapes:100/50", "model": "ConvNet", "valid": 0.2, "batch_size": 16, "epochs": 40}  # some seconds


def reproducible(folder):
    return {name: (folder / name).read_bytes() for name in REPRODUCIBLE}


def timing(store, experiment):
    """A dict for each epoch; `ended` tells whether an epoch was trained a second time."""
    path = store.path(experiment) / "timing.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def assert_kept(store, experiment, before):
    """Of the epochs in `before`, none was trained again but the last: a kill may come before its resume state is written."""
    assert timing(store, experiment)[: len(before[:-1])] == before[:-1]


def sessions(store, experiment):
    """How many times somebody has worked on a run."""
    return len(json.loads((store.path(experiment) / "environment.json").read_text()))


def say(function, *args, **options):
    """What `function` returns, and what it prints."""
    with redirect_stdout(io.StringIO()) as out:
        return function(*args, **options), out.getvalue()


@pytest.fixture
def forbid_processes(monkeypatch):
    def started(*args):
        raise AssertionError("a process was started")

    monkeypatch.setattr("labkit.study.local._Worker.start", started)


# --- cells -------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_under_the_tuple_of_its_values(tiny):
    found = grid(tiny(), lr=[1e-2, 1e-3], schedule=["constant", "step"], augmentation=[[], ["flip"]])
    assert len(found) == 8 and list(found)[1] == (1e-2, "constant", ("flip",))
    assert found[1e-3, "step", ()] == tiny(lr=1e-3, schedule="step", augmentation=())


def test_the_cells_of_a_list_are_called_by_the_fields_that_differ(tiny):
    study = Study("s", [tiny(model="resnet18", dropout=0, epochs=2), tiny(dropout=0)])
    assert study.varied == ["model", "epochs"] and study.labels == [("resnet18", 2), ("ConvNet", 3)]


def test_every_kind_of_value_has_a_name_for_a_figure(tiny):
    values = {"augmentation": ("crop", "flip"), "skew": (1.0, 0.5), "teacher": tiny(model="resnet18"), "model": "ConvNet", "lr": 0.01}
    assert [in_words(*value) for value in values.items()] == ["crop + flip", "1 + 0.5", "teacher resnet18", "ConvNet", "lr 0.01"]
    assert [in_words(*value) for value in {"augmentation": (), "teacher": None}.items()] == ["no augmentation", "no teacher"]


def test_equal_cells_of_a_list_are_one_and_two_names_of_one_experiment_share_a_run(tiny):
    assert len(Study("s", [tiny(), tiny(), tiny(lr=1)]).cells) == 2
    study = Study("s", {"here": tiny(), "there": tiny()})
    assert study.experiments == [tiny()] and list(study.table()["label"]) == ["here", "there"]
    assert study.table()["key"].nunique() == 1


def test_seeds_repeat_each_cell_from_its_own_seed_on(tiny):
    found = cells(grid(tiny(seed=5), lr=[1e-2, 1e-3]), seeds=3)
    assert [(cell.label, cell.experiment.seed) for cell in found] == [((lr,), seed) for lr in (1e-2, 1e-3) for seed in (5, 6, 7)]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda e: grid("resnet18", lr=[1]), ["the base of a grid must be an Experiment", "'resnet18'"]),
        (lambda e: grid(e, rate=[1]), ["unknown field 'rate'", "lr"]),
        (lambda e: grid(e, lr=0.1), ["lr needs a list of values, for example lr=[0.1]"]),
        (lambda e: grid(e, model="resnet18"), ["model needs a list of values, for example model=['resnet18']"]),
        (lambda e: grid(e, lr=[]), ["lr has no values"]),
        (lambda e: grid(e, lr=[-1]), ["lr must be above 0, not -1"]),
        (lambda e: Study("s", []), ["at least one experiment"]),
        (lambda e: Study("s", e), ["a dict {label: Experiment} or a list of Experiments"]),
        (lambda e: Study("s", {"a": 3}), ["every cell of a study must be an Experiment, not 3"]),
        (lambda e: Study(" ", [e]), ["a study needs a name"]),
        (lambda e: Study("s", [e], seeds=0), ["seeds must be a whole number", "not 0"]),
        (lambda e: Study("s", [e], seeds=True), ["seeds must be a whole number", "not True"]),
        (lambda e: Study("s", grid(e, seed=[1, 2]), seeds=2), ["have seeds of their own; leave one of the two out"]),
        (lambda e: Study("s", [e]).run("cloud"), ["unknown place 'cloud'", "local, ray"]),
        (lambda e: Study("s", [e]).run(processes=0), ["processes must be a whole number", "not 0"]),
        (lambda e: Study("s", [e]).run(gpus_per_run=0.5), ["gpus_per_run with on='ray'"]),
        (lambda e: Study("s", [e]).run("ray", processes=2), ["processes goes with on='local'"]),
        (lambda e: Study("s", [e]).run("ray", gpus_per_run="all"), ["gpus_per_run must be a number of GPUs", "'all'"]),
        (lambda e: Study("s", [e]).run(device="nonsense"), ["device=nonsense cannot be used"]),
        (lambda e: Study("s", [e], store=RunStore("/proc/nowhere")).run(), ["the run folder /proc/nowhere cannot be written", "LABKIT_RUNS"]),
        (lambda e: Study("s", grid(e, lr=[1, 2])).heatmap("lr", "epochs"), ["unknown varied field 'epochs'", "accepted: lr"]),
        (lambda e: Study("s", grid(e, lr=[1, 2])).heatmap("lr", "lr"), ["give it two different fields"]),
        (lambda e: Study("s", grid(e, lr=[1, 2], gamma=[0.1, 0.2], seed=[0, 1])).heatmap("lr", "gamma"), ["lr, gamma, seed", "give it seed=…"]),
        (lambda e: Study("s", grid(e, lr=[1, 2], gamma=[0.1, 0.2], seed=[0, 1])).heatmap("lr", "gamma", seed=2), ["no cell of study s has seed=2"]),
        (lambda e: Study("s", [e]).curves("valid"), ["unknown part 'valid'", "valid_acc"]),
        (lambda e: Study("s", [e]).curves("test_acc"), ["no run of study s has test_acc yet"]),
        (lambda e: Study("s", [replace(e, valid=0)]).bars("valid_acc"), ["unknown value 'valid_acc'", "test_acc"]),
        (lambda e: Study("s", [e]).bars("train_acc", "train_loss"), ["bars of train_acc, train_loss have no common axis"]),
    ],
)
def test_what_makes_no_sense_is_one_sentence(tiny, make, words, forbid_processes):
    with one_sentence(*words):
        make(tiny())


# --- a study with a bad cell and a diverging one -----------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """(study, table, what was printed): two rates that learn and one that diverges, times two seeds, and weights that are not there."""
    base = Experiment(data="shapes:100/50", model="ConvNet", dropout=0.3, augmentation=("crop", "flip"), valid=0.2, batch_size=32, epochs=3)
    experiments = [replace(base, lr=lr) for lr in (3e-3, 1e-3, 1e30)] + [replace(base, init="nowhere.pt")]
    study = Study("mixed", experiments, seeds=2, store=RunStore(tmp_path_factory.mktemp("mixed")), smaller={"short": [replace(base, epochs=1)]})
    return study, *say(study.run, processes=2)


def good(study):
    return [e for e in study.experiments if e.lr < 1 and e.init == "random"]


def test_one_bad_cell_costs_no_other_one(mixed):
    table = mixed[1]
    assert list(table["state"]) == ["finished"] * 4 + ["diverged"] * 2 + ["failed: there is no weights file nowhere.pt"] * 2
    assert list(table["epochs"]) == [3] * 4 + [0] * 4


def test_at_the_end_one_sentence_names_the_cells_without_a_result(mixed):
    *_, outcome, _ = mixed[2].splitlines()
    assert outcome == "study mixed: 4 of 8 runs finished; diverged: random, lr 1e+30; failed: nowhere.pt, lr 0.001 (there is no weights file nowhere.pt)"


def test_it_says_before_it_starts_how_long_it_will_take_and_nothing_in_between(mixed):
    first, *others = mixed[2].splitlines()
    assert first.startswith("study mixed: 8 of 8 runs to train on ") and ", 2 runs side by side; the short size: about " in first
    assert len(others) == 2  # the outcome, and where it is kept: what the processes print goes to the log
    assert "weights file" in (mixed[0].store.root / ".studies" / "mixed.log").read_text()


def test_side_by_side_is_equal_to_one_after_another_bit_for_bit(mixed, tmp_path):
    study = mixed[0]
    assert len(good(study)) == 4
    for experiment in good(study):
        alone = run(experiment, RunStore(tmp_path), device="cpu", verbose=False)
        assert reproducible(study.store.path(experiment)) == reproducible(alone.path)


def test_the_table_starts_with_what_is_varied_and_holds_the_results(mixed):
    study, table, _ = mixed
    assert list(table) == [
        "init", "lr", "seed", "epochs", "best_epoch", "train_loss", "train_acc", "valid_loss", "valid_acc", "test_loss", "test_acc", "gap",
        "seconds", "seconds_per_update", "state", "device", "key",
    ]  # fmt: skip
    for (_, row), experiment in zip(table.iterrows(), study.experiments):
        assert (row["init"], row["lr"], row["seed"], row["key"]) == (experiment.init, experiment.lr, experiment.seed, experiment.key)
    for (_, row), experiment in zip(table.iterrows(), good(study)):
        finished = study.store.read(experiment)
        assert {name: row[name] for name in table.columns[3:11]} == {name: finished.result[name] for name in table.columns[3:11]}
        assert row["gap"] == finished.result["train_acc"] - finished.result["test_acc"]
        assert row["seconds"] == finished.seconds
        assert row["seconds_per_update"] == pytest.approx(finished.seconds / 9)  # 80 images in batches of 32, three epochs
        assert row["device"]
    assert table.loc[4:, ["test_acc", "gap", "train_loss"]].isna().all(axis=None)


def test_the_summary_is_over_the_seeds(mixed):
    study, table, _ = mixed
    summary = study.summary()
    assert list(summary)[:4] == ["init", "lr", "finished", "train_loss"] and list(summary["finished"]) == [2, 2, 0, 0]
    for row, pair in ((0, table[:2]), (1, table[2:4])):
        for name in ("test_acc", "valid_loss", "gap", "seconds"):
            assert summary[name][row] == pytest.approx(statistics.mean(pair[name]))
            assert summary[f"{name}_std"][row] == pytest.approx(statistics.stdev(pair[name]))
    mean, std = statistics.mean(table["test_acc"][:2]), statistics.stdev(table["test_acc"][:2])
    assert list(study.summary(digits=2)["test_acc"]) == [f"{mean:.2f} ± {std:.2f}", study.summary(2)["test_acc"][1], "", ""]


def test_what_is_finished_or_has_diverged_is_read_by_another_session(mixed, forbid_processes):
    study, table, _ = mixed
    learned = [e for e in study.experiments if e.init == "random" and e.seed == 0]
    again, said = say(Study("again", learned, seeds=2, store=RunStore(study.store.root)).run)
    outcome, kept = said.splitlines()
    assert outcome == "study again: 4 of 6 runs finished; diverged: lr 1e+30"
    assert cited(kept) == list(table["key"][:4]) and kept.startswith("kept as run ")
    assert list(again["state"]) == list(table["state"])[:6] and list(again["test_acc"].dropna()) == list(table["test_acc"].dropna())


def diverging(**changes):
    return Experiment(data="shapes:100/50", model="ConvNet", valid=0.2, batch_size=32, epochs=1, lr=1e30, **changes)


@pytest.mark.parametrize("what", ["model", "init"])
def test_a_training_that_diverged_is_tried_again_when_its_code_or_its_weights_have_changed(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from labkit.models import ConvNet as Mine\n")
    torch.save(models.ConvNet().state_dict(), tmp_path / "start.pt")
    experiment, store = replace(diverging(), **{what: {"model": "mine.py:Mine", "init": "start.pt"}[what]}), RunStore(tmp_path / "runs")
    assert tasks.train_run(experiment, store.root, "cpu", 1) == tasks.DIVERGED and tasks.has_diverged(store, experiment)
    with open(tmp_path / {"model": "mine.py", "init": "start.pt"}[what], "ab") as file:
        file.write(b"\n")
    assert not tasks.has_diverged(store, experiment)


def test_a_student_whose_teacher_diverges_has_diverged_with_it(tmp_path):
    student, store = replace(diverging(), lr=1e-3, teacher=diverging()), RunStore(tmp_path)
    assert tasks.train_run(student, tmp_path, "cpu", 1) == tasks.DIVERGED
    assert tasks.has_diverged(store, student) and Records(store).state(student) == tasks.DIVERGED
    assert not tasks.has_diverged(store, replace(student, teacher=None))


def test_curves_show_mean_and_band_over_the_seeds(mixed):
    study = mixed[0]
    [axes] = study.curves("valid_acc").axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert list(lines) == ["random, lr 0.003", "random, lr 0.001", "random, lr 1e+30, diverged", "nowhere.pt, lr 0.001, failed"]
    histories = [study.store.read(e).history["valid_acc"] for e in good(study)[:2]]
    assert lines["random, lr 0.003"] == [[epoch, pytest.approx((a + b) / 2)] for epoch, a, b in zip((1, 2, 3), *histories)]
    assert lines["random, lr 1e+30, diverged"] == [] and len(axes.collections) == 2
    assert axes.get_ylabel() == "validation accuracy"


def test_bars_show_the_summary(mixed):
    study = mixed[0]
    [axes] = study.bars().axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[:2] == list(study.summary()["train_acc"][:2]) and heights[4:6] == list(study.summary()["test_acc"][:2])
    assert axes.get_xticklabels()[2].get_text() == "random\nlr 1e+30\ndiverged" and axes.get_ylabel() == "accuracy"
    assert study.bars("valid_loss").axes[0].get_ylabel() == "validation loss"


def test_a_heatmap_shows_two_fields_and_what_has_no_number(mixed):
    study = mixed[0]
    [axes] = study.heatmap("lr", "init", "test_acc").axes
    summary = study.summary()
    shown = axes.get_images()[0].get_array()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.003", "0.001", "1e+30"]
    assert [float(shown[row, 0]) for row in (0, 1)] == list(summary["test_acc"][:2])
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == f"{summary['test_acc'][0]:.3f}\n± {summary['test_acc_std'][0]:.3f}"
    assert texts[3:5] == ["failed", "diverged"]


# --- going on ----------------------------------------------------------------------------------


def test_a_half_finished_study_trains_the_rest_only(tiny):
    done, half, new = (tiny(seed=seed) for seed in range(3))
    store = RunStore()
    run(done, verbose=False)
    interrupt(half, epoch=2)
    before = timing(store, done), timing(store, half)
    study = Study("rest", [done, half, new])
    assert list(study.table()["state"]) == ["finished", "half-finished", "not begun"]
    table, said = say(study.run, processes=1)
    assert said.startswith("study rest: 2 of 3 runs to train (1 half-finished) on ") and list(table["epochs"]) == [3, 3, 3]
    assert timing(store, done) == before[0] and timing(store, half)[:2] == before[1] and len(timing(store, half)) == 3
    assert [sessions(store, e) for e in (done, half, new)] == [1, 2, 1]


def test_a_damaged_record_is_named_and_not_taken_for_a_result(tiny, mixed, tmp_path):
    store, [experiment, *_] = RunStore(tmp_path), good(mixed[0])
    shutil.copytree(mixed[0].store.path(experiment), store.path(experiment))
    (store.path(experiment) / "environment.json").write_text("[{")
    table, said = say(Study("s", [experiment], store=store).table)
    assert f"run {experiment.key} is damaged" in said
    assert list(table["state"]) == ["half-finished"] and table["test_acc"].isna().all()


def test_a_study_whose_worker_is_killed_loses_that_run_only_and_goes_on_with_it_later(tmp_path):
    study = Study("killed", [Experiment(**LONG), Experiment(**LONG | {"epochs": 2})], store=RunStore(tmp_path / "study"))
    long, short = study.experiments
    with Local(study.store.root, study._log(), "cpu") as executor:
        states, killed = {}, False
        for ended in executor.train([long, short], Layout(2, 1)):
            states |= [ended] if ended else []
            if not killed and len(timing(study.store, long)) > 2:
                [worker] = [w for w, index in executor.workers.busy.values() if index == 0]
                worker.process.kill()
                killed = True
    assert states == {long: "failed: its process was ended by signal 9", short: "finished"}
    before = timing(study.store, long)
    table, _ = say(study.run, processes=1)
    assert list(table["state"]) == ["finished"] * 2 and len(before) > 2
    assert_kept(study.store, long, before)
    assert reproducible(study.store.path(long)) == reproducible(run(long, RunStore(tmp_path / "alone"), device="cpu", verbose=False).path)


SCRIPT = f"""
import sys
from labkit.study import Study, grid
from labkit.experiment import Experiment
Study("child", grid(Experiment(**{LONG}), seed=[0, 1, 2])).run(processes=2, device="cpu")
"""


@contextmanager
def child_in_mid_study(store):
    """A process that runs SCRIPT, and the workers it has, when they have kept some epochs."""
    experiments = [Experiment(**LONG, seed=seed) for seed in range(3)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"LABKIT_RUNS": str(store.root)},
    )  # fmt: skip
    try:
        wait_until(lambda: sum(len(timing(store, e)) for e in experiments) > 4 or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        yield process, psutil.Process(process.pid).children(recursive=True), experiments
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_ctrl_c_ends_all_processes_and_leaves_a_study_that_goes_on(tmp_path):
    store = RunStore(tmp_path / "interrupted")
    with child_in_mid_study(store) as (process, children, experiments):
        assert len(children) >= 2
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
        said = process.communicate(timeout=60)[0]
        assert process.returncode not in (0, None)
        assert "study child: interrupted; the finished epochs of all runs are kept, run it again to go on from there\n" in said
        assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt"), said
        wait_until(lambda: not any(child.is_running() for child in children), seconds=10)
    before = [timing(store, e) for e in experiments]
    assert any(before) and not all(len(lines) == LONG["epochs"] for lines in before)
    table, _ = say(Study("child", experiments, store=store).run, device="cpu", processes=2)
    assert list(table["epochs"]) == [LONG["epochs"]] * 3 and set(table["state"]) == {"finished"}
    for experiment, lines in zip(experiments, before):
        assert_kept(store, experiment, lines)


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    with child_in_mid_study(RunStore(tmp_path)) as (process, children, _):
        process.kill()
        process.wait()
        wait_until(lambda: not any(child.is_running() for child in children), seconds=20)


def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    *_, last = process.stderr.splitlines()
    assert process.returncode == 1 and "a script has to run its study below `if __name__ == " in last


# --- how long it will take ---------------------------------------------------------------------


class Measured:
    """An executor with known costs: `cost[processes]` seconds an update, None for too little memory; everything else is free."""

    def __init__(self, cost):
        self.cost, self.probed = cost, []

    def layouts(self, num_runs):
        return [Layout(processes, 1) for processes in self.cost]

    def measure(self, experiment, layout):
        self.probed.append((experiment, layout.processes))
        update = self.cost[layout.processes]
        return Cost(0.0, update, 0.0, 0.0, 100, 50) if update and experiment.init == "random" else None


def test_the_layout_that_is_measured_as_the_fastest_is_taken(tiny):
    pending = {tiny(seed=seed): 3 for seed in range(4)}  # three updates an epoch
    plan = make_plan(Measured({1: 1.0, 2: 1.5}), pending, {"smoke": {tiny(epochs=1): 1}})
    assert plan.layout == Layout(2, 1) and plan.seconds == {Layout(1, 1): 36.0, Layout(2, 1): 27.0} and plan.smaller == {"smoke": 4.5}
    assert str(plan) == "about 27 s, 2 runs side by side (one run after another: about 36 s); the smoke size: about 4 s"
    assert make_plan(Measured({1: 1.0, 2: 2.5}), pending, {}).layout == Layout(1, 1)
    assert make_plan(Measured({1: 1.0, 2: 0.8, 4: None}), pending, {}).layout == Layout(2, 1)


def test_a_study_that_is_soon_done_is_not_measured_side_by_side(tiny):
    executor = Measured({1: 1.0, 2: 0.1})
    assert make_plan(executor, {tiny(): 3}, {}).seconds == {Layout(1, 1): 9.0} and [processes for _, processes in executor.probed] == [1]
    assert make_plan(executor, {tiny(): 3, tiny(seed=1): 1}, {}).layout == Layout(2, 1)


def test_an_update_under_a_teacher_that_is_asked_each_time_is_another_kind_and_takes_longer(tiny):
    taught = tiny(teacher=tiny(model="resnet18"))
    assert kind(taught) != kind(tiny()) and kind(replace(taught, augmentation=())) == kind(tiny())
    plain, fixed, asked = (tasks.probe(e, "cpu", 1).update for e in (tiny(), replace(taught, augmentation=()), taught))
    assert asked > 1.3 * max(plain, fixed)


def test_only_epochs_to_go_count_and_each_kind_of_training_is_probed_once(tiny):
    executor = Measured({1: 1.0})
    pending = {tiny(): 3, tiny(seed=1, lr=1): 1, tiny(batch_size=16): 2, tiny(batch_size=8, init="nowhere.pt"): 3}
    plan = make_plan(executor, pending, {})
    assert [plan.work[e.key] for e in pending] == [9.0, 3.0, 10.0, 0.0] and plan.seconds == {Layout(1, 1): 22.0}
    assert len({kind(e) for e in (tiny(), tiny(optimizer="muon"), tiny(views=6), tiny(precision="bfloat16"))}) == 4
    assert len(executor.probed) == 3 and [e.batch_size for e in plan.order] == [16, 32, 32, 8]


def test_makespan_gives_the_longest_work_to_whoever_is_free():
    assert makespan([3, 3, 2, 2, 2], 2) == 7  # 3 + 2 + 2 beside 3 + 2
    assert makespan([5, 1, 1], 8) == 5 and makespan([], 2) == 0


def test_a_duration_is_in_words():
    assert [duration(t) for t in (0.2, 8.4, 89, 100, 3600, 7200)] == ["about 1 s", "about 8 s", "about 89 s", "about 2 min", "about 60 min", "about 2.0 h"]


def test_the_measurement_touches_neither_the_run_store_nor_the_random_state(tmp_path):
    before, experiment = torch.get_rng_state(), Experiment(**LONG | {"lr": 1e30, "init": "nowhere.pt"})
    with Local(tmp_path, tmp_path / "log", "cpu") as executor:
        cost = executor.measure(experiment, Layout(1, 1))
        assert executor.measure(replace(experiment, batch_size=5000), Layout(1, 1)) is None
    assert (cost.train_images, cost.test_images) == (100, 50) and min(cost.setup, cost.update, cost.evaluation, cost.keeping) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["log"] and torch.equal(torch.get_rng_state(), before)


def test_the_estimate_is_about_what_the_study_takes(tmp_path):
    experiments = [Experiment(**LONG, seed=seed) for seed in range(4)]
    ratios = []
    for attempt in range(4):  # another program may take the processor away in the middle: one undisturbed attempt is asked for
        with Local(tmp_path / str(attempt), tmp_path / "log", "cpu") as executor:
            plan = make_plan(executor, {e: e.epochs for e in experiments}, {})
            start = time.perf_counter()
            assert {ended[1] for ended in executor.train(plan.order, plan.layout) if ended} == {"finished"}
            ratios.append((time.perf_counter() - start) / plan.seconds[plan.layout])
        if 1 / 3 < ratios[-1] < 3:
            return
    pytest.fail(f"measured / estimated: {ratios}")


# --- Ray ---------------------------------------------------------------------------------------


def test_ray_is_imported_by_nothing_else():
    code = "import sys, labkit.study; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_ray_that_is_missing_is_one_sentence(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with one_sentence("pip install ray"):
        Study("s", [tiny()]).run("ray")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_does_not_answer_is_one_sentence(tiny, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with one_sentence(f"no Ray cluster answers at {address} (", "unset RAY_ADDRESS"):
        Study("s", [tiny()]).run("ray")


@pytest.fixture(scope="module")
def ray():
    """Ray, connected to a local cluster with room for two runs."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def training_workers():
    """The processes of this program's own cluster that train now; Ray gives them the name of their task."""
    return [process for process in psutil.Process().children(recursive=True) if command(process).startswith("ray::train_run")]


def command(process):
    with suppress(psutil.NoSuchProcess):
        return "".join(process.cmdline()[:1])
    return ""


def test_ray_goes_on_with_a_run_whose_worker_is_killed_and_trains_no_epoch_twice(ray, tmp_path, monkeypatch):
    study = Study("ray", [Experiment(**LONG, seed=seed) for seed in range(3)], store=RunStore(tmp_path / "ray"))
    killed, kept, epochs = [], {}, Records.epochs

    def kill_once(records, experiment):
        """In place of the look at how far a run is: kills a worker as soon as each one that trains has kept some epochs."""
        under_way = [e for e in study.experiments if study.store.path(e).exists() and study.store.read(e) is None]
        if not killed and under_way and all(2 < len(timing(study.store, e)) < 25 for e in under_way) and (workers := training_workers()):
            killed.append(workers[0])
            workers[0].kill()
            workers[0].wait()
            kept.update({e: timing(study.store, e) for e in study.experiments})
        return epochs(records, experiment)

    monkeypatch.setattr(Records, "epochs", kill_once)
    monkeypatch.setattr("labkit.study.cluster._TICK", 0.02)
    table, said = say(study.run, "ray", gpus_per_run=0)
    assert killed and said.count("\n") == 3, said  # Ray's words on the dead worker are in the log
    assert set(table["state"]) == {"finished"} and list(table["epochs"]) == [LONG["epochs"]] * 3
    for experiment in study.experiments:
        assert_kept(study.store, experiment, kept[experiment])
    assert sorted(sessions(study.store, e) for e in study.experiments) == [1, 1, 2]  # one was taken up again
    [resumed] = [e for e in study.experiments if sessions(study.store, e) == 2]
    assert kept[resumed] and reproducible(study.store.path(resumed)) == reproducible(run(resumed, RunStore(tmp_path), "cpu", verbose=False).path)
    assert ray.is_initialized()  # it was there before the study


def test_a_bad_cell_costs_no_other_one_on_ray(ray, tiny, tmp_path):
    study = Study("bad", [tiny(), tiny(lr=1e30), tiny(batch_size=101)])
    table, _ = say(study.run, "ray", gpus_per_run=0)
    assert [state.partition(":")[0] for state in table["state"]] == ["finished", "diverged", "failed"]
    assert not list(study.store.root.glob(".shared-*"))


def test_a_worker_that_does_not_see_the_run_folder_is_one_sentence(ray, tiny, tmp_path):
    with Cluster(tmp_path, tmp_path / "log", "cpu") as executor:
        executor.token.unlink()  # as if the worker looked into a folder of its own
        with one_sentence("does not see the run folder", str(tmp_path), "LABKIT_RUNS"):
            executor.measure(tiny(), Layout(1, 1))
        with pytest.raises(NotSharedError):
            list(executor.train([tiny()], Layout(1, 1)))


def test_more_of_a_gpu_than_there_is_is_one_sentence(ray, tiny):
    gpus = ray.cluster_resources().get("GPU", 0)
    with one_sentence(f"asks for more than the {gpus:g} GPUs of the Ray cluster"):
        Study("s", [tiny()]).run("ray", gpus_per_run=gpus + 1)
    with one_sentence("gpus_per_run=1.5 is neither a share of one GPU nor a whole number"):
        Study("s", [tiny()]).run("ray", gpus_per_run=1.5)
    assert ray.is_initialized()


def test_without_a_cluster_a_local_one_is_started_and_shut_down_again(ray, tiny, monkeypatch):
    ray.shutdown()  # the cluster of the other tests: this one is the last
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    table, _ = say(Study("own", [tiny()]).run, "ray", gpus_per_run=0)
    assert list(table["state"]) == ["finished"] and not ray.is_initialized()
