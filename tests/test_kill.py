"""Kill −9 at any moment: a resumed run ends as the uninterrupted one, bit for bit.

Every child is a real process. They are forked from a server that has imported torch already, so that a life
costs a fraction of a second, and train on one thread, so that all of them add up in the same order.
"""

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from labkit import data
from labkit.runs import Experiment, RunStore, run

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["torch", "pytest", "labkit.runs"])

KILLS = 24
# Everything that a resumed run must take up again matters here: dropout draws from the random state, augmentation
# from that of the loader, the rate follows a schedule, patience ends the run, and the best weights are old ones.
SETTINGS = {
    "data": "shapes:100/50", "model": "ConvNet", "dropout": 0.3, "augmentation": ("crop", "flip", "noise"), "valid": 0.2,
    "schedule": "cyclic", "step_size": 3, "lr": 0.01, "batch_size": 16, "epochs": 12, "patience": 9,
}  # fmt: skip
SHORT = SETTINGS | {"epochs": 2, "patience": 1}
REPRODUCIBLE = ("weights.safetensors", "history.jsonl", "result.json")
FINISHED = {"experiment.json", "environment.json", "timing.jsonl", *REPRODUCIBLE}


# --- what the children do ----------------------------------------------------------------------


def child(root, settings, ready=None, go=None, fault=None):
    """Train below `root`, all that is printed to `root`.log; `fault` = (function, arguments) is called first."""
    log = os.open(f"{root}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout.reconfigure(line_buffering=True)
    tqdm.set_lock(threading.RLock())  # its own lock is a semaphore, which a killed process leaves behind
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C switched off
    torch.set_num_threads(1)
    experiment = Experiment(**settings)
    data.load(experiment.data)
    if ready is not None:
        ready.send("ready")
    if go is not None:
        go.wait()
    if fault is not None:
        fault[0](root, *fault[1:])
    run(experiment, RunStore(root), device="cpu")


def kill_before_change(root, number, torn=False):
    """Let this process kill itself right before its `number`-th change of a file below `root`.

    torn: only renames count, and the file that was to be renamed is cut in half first: written by half when the kill came.
    """
    numbers = itertools.count(1)

    def look(event, args):
        if not _changes_a_file(event, args, root, ("os.rename",) if torn else ("os.rename", "os.remove", "os.mkdir", "open")):
            return
        if next(numbers) == number:
            if torn:
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def _changes_a_file(event, args, root, events):
    if event not in events or not str(args[0]).startswith(str(root)):
        return False
    return event != "open" or bool(args[2] & (os.O_WRONLY | os.O_RDWR))


def start(root, settings=SETTINGS, **options):
    process = CHILDREN.Process(target=child, args=(root, settings), kwargs=options)
    process.start()
    return process


def start_ready(root, settings=SETTINGS):
    """A child that has its data and begins its run now."""
    ready, theirs = CHILDREN.Pipe(duplex=False)
    process = start(root, settings, ready=theirs)
    theirs.close()
    assert ready.recv() == "ready"
    return process


def finish(root, settings=SETTINGS, **options):
    """Let a child run to its end."""
    process = start(root, settings, **options)
    process.join(120)
    assert process.exitcode == 0, Path(f"{root}.log").read_text()


# --- what is compared --------------------------------------------------------------------------


def entry(root, settings=SETTINGS):
    return RunStore(root).path(Experiment(**settings))


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def reproducible(root, settings=SETTINGS):
    return {name: (entry(root, settings) / name).read_bytes() for name in REPRODUCIBLE}


def assert_as_uninterrupted(root, expected, settings=SETTINGS):
    folder = entry(root, settings)
    assert reproducible(root, settings) == expected
    assert len(lines(folder / "timing.jsonl")) == len(lines(folder / "history.jsonl"))
    # resume.pt is deleted after result.json was written: a kill in between leaves it behind.
    assert {path.name for path in folder.iterdir()} - {"resume.pt"} == FINISHED
    assert [path.name for path in root.iterdir() if "damaged" in path.name] == []


def wait_until(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < end, "the child has ended, or a minute has passed"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What the three reproducible files hold after a run that nothing disturbed, and the seconds it took."""
    root = tmp_path_factory.mktemp("uninterrupted")
    process, begin = start_ready(root), time.monotonic()
    process.join(120)
    seconds = time.monotonic() - begin
    result = json.loads((entry(root) / "result.json").read_text())
    assert result["stopped_early"] and result["best_epoch"] < result["epochs"], "choose settings under which patience ends the run"
    return reproducible(root), seconds


@pytest.fixture(scope="module")
def short_uninterrupted(tmp_path_factory):
    root = tmp_path_factory.mktemp("short")
    finish(root, SHORT)
    return reproducible(root, SHORT)


# --- kill −9 -----------------------------------------------------------------------------------


def test_killed_at_random_points_every_run_ends_as_the_uninterrupted_one(uninterrupted, tmp_path):
    expected, seconds = uninterrupted
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"to repeat the delays of this test: KILL_SEED={seed}")
    rng, kills = random.Random(seed), []
    for number in itertools.count():
        if len(kills) >= KILLS:
            break
        root = tmp_path / f"run-{number}"
        kills += kill_again_and_again(root, [rng.uniform(0, 0.6) * seconds for _ in range(6)])
        finish(root)
        assert_as_uninterrupted(root, expected)
    print("epochs finished at each kill:", kills)
    assert len(set(kills)) >= 4  # the kills were spread over the training


def kill_again_and_again(root, delays):
    """Start a child and kill it, once for each of `delays`; returns the number of finished epochs at each kill."""
    kills = []
    for delay in delays:
        process = start_ready(root)
        process.join(delay)
        process.kill()
        process.join()
        if process.exitcode == 0:  # it was faster
            break
        assert process.exitcode == -signal.SIGKILL, Path(f"{root}.log").read_text()
        kills.append(len(lines(entry(root) / "history.jsonl")))
    return kills


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_killed_before_each_change_of_a_file_every_run_ends_as_the_uninterrupted_one(short_uninterrupted, tmp_path, torn):
    # What a kill right after a change leaves on the disk is what a kill right before the next one leaves; after
    # the last change comes the child that is not killed any more.
    for number in itertools.count(1):
        root = tmp_path / f"run-{number}"
        process = start(root, SHORT, fault=(kill_before_change, number, torn))
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, Path(f"{root}.log").read_text()
        finish(root, SHORT)
        assert_as_uninterrupted(root, short_uninterrupted, SHORT)
    # experiment and environment, then history, timing and resume state of two epochs, then weights and result
    assert number - 1 >= (10 if torn else 20)


def test_killed_in_the_first_epoch_a_run_starts_over_without_a_word_about_damage(short_uninterrupted, tmp_path):
    root = tmp_path / "run"
    process = start_ready(root, SHORT)
    wait_until(lambda: (entry(root, SHORT) / "environment.json").exists(), process)
    process.kill()
    process.join()
    finish(root, SHORT)
    assert "damaged" not in Path(f"{root}.log").read_text()
    assert_as_uninterrupted(root, short_uninterrupted, SHORT)


# --- Ctrl-C ------------------------------------------------------------------------------------


def test_ctrl_c_leaves_a_run_that_goes_on(uninterrupted, tmp_path):
    root = tmp_path / "run"
    process = start_ready(root)
    wait_until(lambda: len(lines(entry(root) / "history.jsonl")) >= 3, process)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    log = Path(f"{root}.log").read_text()
    assert process.exitcode == 1 and "KeyboardInterrupt" in log
    assert f"interrupted; the finished epochs of run {entry(root).name} are kept, run it again to go on from there" in log
    finish(root)
    assert "goes on after epoch" in Path(f"{root}.log").read_text()
    assert_as_uninterrupted(root, uninterrupted[0])


# --- two processes -----------------------------------------------------------------------------


def sessions(root):
    """The sessions that trained: each of them enters its environment."""
    return json.loads((entry(root) / "environment.json").read_text())


def start_two_at_once(root):
    """Two children with a log each that begin at the same moment."""
    go, processes = CHILDREN.Event(), []
    for _ in range(2):
        ready, theirs = CHILDREN.Pipe(duplex=False)
        processes.append(start(root, ready=theirs, go=go))
        theirs.close()
        assert ready.recv() == "ready"
    go.set()
    return processes


def test_of_two_processes_that_start_the_same_experiment_one_trains_and_the_other_reads(uninterrupted, tmp_path):
    root = tmp_path / "run"
    processes = start_two_at_once(root)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert Path(f"{root}.log").read_text().count("epoch  1/12") == 1 and len(sessions(root)) == 1
    assert_as_uninterrupted(root, uninterrupted[0])


def test_the_process_that_waits_goes_on_with_the_run_when_the_first_is_killed(uninterrupted, tmp_path):
    root = tmp_path / "run"
    first = start_ready(root)
    wait_until(lambda: len(lines(entry(root) / "history.jsonl")) >= 1, first)
    second = start_ready(root)
    wait_until(lambda: "waiting for it" in Path(f"{root}.log").read_text(), second)
    assert first.is_alive()
    first.kill()
    second.join(120)
    assert first.exitcode == -signal.SIGKILL and second.exitcode == 0
    assert "goes on after epoch" in Path(f"{root}.log").read_text() and len(sessions(root)) == 2
    assert_as_uninterrupted(root, uninterrupted[0])
