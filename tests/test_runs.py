"""The run store: trained once, read from then on, and a damaged entry named, set aside and made again."""

import contextlib
import json
import math
import resource
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupting import interrupt
from PIL import Image
from safetensors.torch import load_file
from sentences import one_sentence
from torch import nn

from labkit import data, experiment, loops, models, runs
from labkit.device import default_device
from labkit.distill import distillation_loss
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.loops import NonFiniteLossError
from labkit.runs import RunStore, run
from labkit.transforms import Normalize

REPRODUCIBLE = ("weights.safetensors", "history.jsonl", "result.json")
FINISHED = {"experiment.json", "environment.json", "history.jsonl", "timing.jsonl", "weights.safetensors", "result.json"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reproducible(folder):
    return {name: (folder / name).read_bytes() for name in REPRODUCIBLE}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two stores for the whole module, so that what many tests start from is trained once: of finished and of unfinished runs."""
    return [RunStore(tmp_path_factory.mktemp(name)) for name in ("finished", "unfinished")]


@pytest.fixture
def uninterrupted(shared):
    """`uninterrupted(experiment)`: the reproducible files of a run that nothing disturbed."""
    return lambda experiment: reproducible(run(experiment, shared[0], verbose=False).path)


@pytest.fixture
def finished(shared, tiny):
    """The finished run of `tiny()`, in this test's own store."""
    shutil.copytree(run(tiny(), shared[0], verbose=False).path, RunStore().path(tiny()))
    return run(tiny())


@pytest.fixture
def unfinished(shared, tiny):
    """The folder of a run of `tiny()` that was interrupted after two of three epochs, in this test's own store."""
    if not shared[1].path(tiny()).exists():
        interrupt(tiny(), 2, shared[1])
    return shutil.copytree(shared[1].path(tiny()), RunStore().path(tiny()))


def forbid_training(monkeypatch):
    def trained(*args, **kwargs):
        raise AssertionError("it was trained")

    monkeypatch.setattr(runs, "fit", trained)


# --- once is enough ----------------------------------------------------------------------------


def test_a_run_is_finished_and_read_from_then_on(tiny, monkeypatch):
    first = run(tiny(), verbose=False)
    assert {path.name for path in first.path.iterdir()} == FINISHED
    forbid_training(monkeypatch)
    monkeypatch.setattr(data, "load", lambda name: pytest.fail("a finished run loads no data"))
    before, start = contents(first.path), time.perf_counter()
    second = run(tiny())
    assert time.perf_counter() - start < 1
    assert second.result == first.result and contents(first.path) == before


def test_it_is_the_default_store_that_labkit_runs_names(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "elsewhere"))
    finished = run(tiny(), verbose=False)
    assert finished.path == tmp_path / "elsewhere" / tiny().key
    assert run(tiny(), RunStore(tmp_path / "named"), verbose=False).path == tmp_path / "named" / tiny().key


def test_a_run_records_a_line_an_epoch(finished):
    rows = lines(finished.path / "history.jsonl")
    assert [list(row) for row in rows] == [["epoch", "lr", "train_loss", "train_acc", "valid_loss", "valid_acc"]] * 3
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    timing = lines(finished.path / "timing.jsonl")
    assert [row["epoch"] for row in timing] == [1, 2, 3]
    assert finished.seconds == pytest.approx(sum(row["seconds"] for row in timing)) and finished.seconds > 0


def test_the_history_of_a_run_holds_the_numbers_to_the_last_bit(finished):
    assert finished.history.to_dict("records") == lines(finished.path / "history.jsonl")


def test_the_result_is_that_of_the_best_epoch(finished):
    result, rows = finished.result, lines(finished.path / "history.jsonl")
    best = min(rows, key=lambda row: row["valid_loss"])
    assert result["best_epoch"] == best["epoch"] and result["epochs"] == 3 and result["stopped_early"] is False
    assert {name: result[name] for name in best if name not in ("epoch", "lr")} == {name: best[name] for name in best if name not in ("epoch", "lr")}
    assert (result["key"], result["num_classes"], result["parameters"]) == (finished.key, 10, 94_986)
    assert 0 <= result["test_acc"] <= 1 and math.isfinite(result["test_loss"])
    assert json.loads((finished.path / "result.json").read_text()) == result | {"seal": runs.seal(result)}


def test_patience_ends_a_run_and_the_result_says_so(tiny):
    finished = run(tiny(epochs=50, patience=2, lr=0.03), verbose=False)
    assert finished.result["stopped_early"] is True
    assert finished.result["epochs"] == finished.result["best_epoch"] + 2 == len(lines(finished.path / "history.jsonl")) < 50


def test_the_environment_says_what_the_run_was_made_with(tiny, unfinished):
    run(tiny(), verbose=False)
    sessions = json.loads((unfinished / "environment.json").read_text())
    assert len(sessions) == 2  # one for each session that worked on it
    splits = data.load(tiny().data)
    expected = {
        "torch": torch.__version__, "device": str(default_device()), "data": "shapes:100/50", "data_digest": splits.train.digest,
        "test_digest": splits.test.digest, "images_fingerprint": "shapes version 1",
        "weights_fingerprint": None, "train_images": 80, "valid_images": 20, "test_images": 50,
    }  # fmt: skip
    for session in sessions:
        assert {name: session[name] for name in expected} == expected
        assert {"labkit", "python", "torchvision", "platform", "device_name", "started", "mean", "std"} <= session.keys()


def test_the_test_set_is_read_once_at_the_end_when_a_validation_part_chooses(tiny, monkeypatch):
    passes = []
    iterate = data.Loader.__iter__

    def counted(self):
        passes.append(len(self.dataset))
        return iterate(self)

    monkeypatch.setattr(data.Loader, "__iter__", counted)
    run(tiny(epochs=2), verbose=False)
    assert passes == [80, 20, 80, 20, 50]  # training, validation, training, validation, test


def test_without_a_validation_part_the_test_curve_is_drawn_and_the_last_weights_are_kept(tiny):
    finished = run(tiny(valid=0), verbose=False)
    assert list(finished.history) == ["epoch", "lr", "train_loss", "train_acc", "test_loss", "test_acc"]
    assert finished.result["best_epoch"] == 3
    last = finished.history.iloc[-1]
    assert finished.result["test_acc"] == last["test_acc"] and finished.result["train_acc"] == last["train_acc"]
    assert "valid_acc" not in finished.result


def test_the_kept_weights_reproduce_the_result(tiny, finished):
    model = finished.model()
    assert not model.training
    # A plain evaluation over raw images, normalized with what the run recorded.
    recorded = json.loads((finished.path / "environment.json").read_text())[-1]
    mean, std = (torch.tensor(recorded[name]).view(3, 1, 1) for name in ("mean", "std"))
    test_set = data.load(tiny().data).test
    logits = model((test_set.images / 255 - mean) / std)
    assert (logits.argmax(1) == test_set.labels).float().mean().item() == pytest.approx(finished.result["test_acc"])
    assert nn.functional.cross_entropy(logits, test_set.labels).item() == pytest.approx(finished.result["test_loss"], abs=1e-4)


def test_two_runs_of_one_experiment_are_identical_and_another_seed_is_another_run(tiny, uninterrupted):
    assert reproducible(run(tiny(), verbose=False).path) == uninterrupted(tiny())
    assert reproducible(run(tiny(seed=1), verbose=False).path)["weights.safetensors"] != uninterrupted(tiny())["weights.safetensors"]


def test_a_run_leaves_the_random_state_and_the_settings_outside_alone(tiny):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    settings = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    run(tiny(epochs=1), verbose=False)
    assert torch.equal(torch.rand(3), expected)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == settings


def test_a_run_does_not_depend_on_the_random_state_outside(tiny, tmp_path):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(reproducible(run(tiny(epochs=2), RunStore(tmp_path / str(seed)), verbose=False).path))
    assert found[0] == found[1]


# --- bad input that only the data or the model can tell ----------------------------------------


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"batch_size": 101}, "batch size must be a whole number from 1 to 80, the size of the set, not 101"),
        ({"fraction": 0.001}, "fraction 0.001 of 100 images leaves none; use at least 0.01"),
        ({"valid": 0.001}, "valid=0.001 of 100 images leaves one part empty; use a larger set or another fraction"),
        ({"model": "SimpleCNN"}, "SimpleCNN has 10 classes and no dropout, not num_classes=10, dropout=0.3; use ConvNet"),
        ({"init": "nowhere.pt"}, "there is no weights file nowhere.pt"),
        ({"data": "imagefolder:/nowhere"}, "there is no folder /nowhere; .*"),
    ],
)
def test_what_only_the_data_or_the_model_can_tell_is_refused_in_one_sentence_too(tiny, changes, said):
    with pytest.raises(LabkitError, match=f"^{said}$"):
        run(tiny(**changes), verbose=False)
    assert list(RunStore().all()) == []


def test_weights_of_another_architecture_are_refused_and_leave_no_finished_run(tiny, tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet.pt")
    with pytest.raises(LabkitError, match="weights of another architecture"):
        run(tiny(init=str(tmp_path / "resnet.pt")), verbose=False)
    assert list(RunStore().all()) == []


def test_a_run_starts_from_the_weights_file_it_names(tiny, finished, tmp_path):
    shutil.copy(finished.path / "weights.safetensors", tmp_path / "start.safetensors")
    # A rate this small changes nothing: what the second run keeps is what it started from, but for batch norm.
    again = run(tiny(init=str(tmp_path / "start.safetensors"), lr=1e-12, epochs=1), verbose=False)
    before, after = (load_file(r.path / "weights.safetensors") for r in (finished, again))
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before if name.endswith(("weight", "bias")))


# --- a folder that cannot be written, a disk that is full ---------------------------------------


@pytest.mark.parametrize("place", ["a plain file", "below a plain file", "/proc/labkit-runs"])
def test_an_unwritable_run_folder_is_one_sentence(tiny, tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    root = {"a plain file": tmp_path / "file", "below a plain file": tmp_path / "file" / "runs"}.get(place, Path(place))
    with pytest.raises(LabkitError, match=f"^the run folder {root} cannot be written \\(.+\\); choose another one with LABKIT_RUNS$"):
        run(tiny(), RunStore(root), verbose=False)


def test_a_plain_file_in_the_place_of_an_entry_is_one_sentence(tiny, tmp_path):
    store = RunStore(tmp_path)
    store.path(tiny()).write_text("in the way")
    with pytest.raises(LabkitError, match=r"cannot be written \(File exists\); choose another one with LABKIT_RUNS$"):
        run(tiny(), store, verbose=False)


@contextlib.contextmanager
def files_at_most(size):
    """Let every write beyond `size` bytes of a file fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size, file", [(200, "experiment.json"), (200_000, "resume.pt")])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(tiny, uninterrupted, size, file):
    with files_at_most(size), pytest.raises(LabkitError, match=rf"^cannot write \S+{file} \(.+\); free some disk space, then run it again"):
        run(tiny(), verbose=False)
    assert not list(RunStore().path(tiny()).glob("*.part"))
    assert reproducible(run(tiny(), verbose=False).path) == uninterrupted(tiny())


@pytest.mark.parametrize("name", ["timing.jsonl", "history.jsonl", "resume.pt"])
def test_a_disk_that_fills_up_in_the_second_epoch_costs_that_epoch_only(tiny, uninterrupted, monkeypatch, capsys, name):
    replace = Path.replace
    calls = []

    def full(self, target):
        calls.append(target.name)
        if calls.count(name) == 2 and target.name == name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(LabkitError, match=f"cannot write .*{name} .No space left on device"):
            run(tiny(), verbose=False)
    finished = run(tiny())
    assert "goes on after epoch 1" in capsys.readouterr().out
    assert [row["epoch"] for row in lines(finished.path / "timing.jsonl")] == [1, 2, 3]
    assert reproducible(finished.path) == uninterrupted(tiny())


# --- interrupted -------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [0.2, 0.0])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_goes_on_and_ends_as_the_uninterrupted_one(tiny, uninterrupted, capsys, epoch, valid):
    started = tiny(valid=valid, schedule="one_cycle", optimizer="sgd")
    folder = interrupt(started, epoch)
    assert f"interrupted; the finished epochs of run {started.key} are kept" in capsys.readouterr().out
    assert (folder / "resume.pt").exists() and not (folder / "result.json").exists()
    finished = run(started)
    assert f"run {started.key} goes on after epoch {epoch}" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FINISHED
    assert reproducible(folder) == uninterrupted(started)
    assert len(finished.history) == 3


def test_an_unfinished_run_is_no_run_yet(tiny, unfinished):
    assert RunStore().read(tiny()) is None and list(RunStore().all()) == []


def test_a_diverging_run_keeps_its_last_good_epoch_and_says_so_again(tiny, monkeypatch):
    started, loss = tiny(epochs=4), loops.Meter.averages
    calls = []

    def diverging(self):
        calls.append(1)
        return (math.nan, 0.0) if len(calls) == 3 else loss(self)  # training, validation, training

    with monkeypatch.context() as patch:
        patch.setattr(loops.Meter, "averages", diverging)
        with pytest.raises(NonFiniteLossError, match=r"epoch 2: the loss became nan .* the model has its weights of epoch 1 back"):
            run(started, verbose=False)
    folder = RunStore().path(started)
    assert len(lines(folder / "history.jsonl")) == 1 and (folder / "resume.pt").exists()
    assert run(started, verbose=False).result["epochs"] == 4


# --- on_epoch ----------------------------------------------------------------------------------


def told(experiment, **options):
    """What `on_epoch` is told while `experiment` runs: (epoch, epochs of the history, validation accuracy) each time."""
    heard = []
    run(experiment, verbose=False, on_epoch=[lambda p: heard.append((p.epoch, [row["epoch"] for row in p.history], p.history[-1]["valid_acc"]))], **options)
    return heard


@pytest.mark.parametrize("stands", ["new", "unfinished", "finished"])
def test_on_epoch_is_told_of_every_epoch_once_wherever_the_run_stands(tiny, request, stands):
    if stands != "new":
        request.getfixturevalue(stands)
    heard = told(tiny())
    rows = lines(RunStore().path(tiny()) / "history.jsonl")
    assert heard == [(epoch, list(range(1, epoch + 1)), rows[epoch - 1]["valid_acc"]) for epoch in (1, 2, 3)]


def test_on_epoch_comes_after_the_epoch_was_saved_and_does_not_change_the_run(tiny, uninterrupted):
    history, saved = RunStore().path(tiny()) / "history.jsonl", []
    run(tiny(), verbose=False, on_epoch=[lambda progress: saved.append(len(lines(history)))])
    assert saved == [1, 2, 3]
    assert reproducible(RunStore().path(tiny())) == uninterrupted(tiny())


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_what_on_epoch_raises_ends_the_call_and_leaves_a_run_that_goes_on(tiny, uninterrupted, epoch):
    def stop(progress):
        if progress.epoch == epoch:
            raise StopIteration("enough")

    for _ in range(2):  # the second time it is told of an epoch that is in the store
        with pytest.raises(StopIteration, match="enough"):
            run(tiny(), verbose=False, on_epoch=[stop])
    folder = RunStore().path(tiny())
    assert len(lines(folder / "history.jsonl")) == epoch and not (folder / "result.json").exists()
    run(tiny(), verbose=False)
    assert reproducible(folder) == uninterrupted(tiny())


def test_on_epoch_is_told_by_a_run_that_another_process_finished_meanwhile(tiny, finished, monkeypatch):
    read, first = RunStore.read, iter([None])
    monkeypatch.setattr(RunStore, "read", lambda self, experiment: next(first, read(self, experiment)))
    forbid_training(monkeypatch)
    assert [epoch for epoch, _, _ in told(tiny())] == [1, 2, 3]


# --- damage ------------------------------------------------------------------------------------


def flip_a_byte(path, share=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 0x10
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_history(folder):
    path = folder / "history.jsonl"
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 7'))


def polish_the_result(folder):
    path = folder / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"test_acc": 0.99}))


def another_experiment(folder):
    (folder / "experiment.json").write_text(json.dumps(Experiment().to_dict()))


def forget_hashes(folder):
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({name: value for name, value in result.items() if name != "sha256"}))


DAMAGE = {
    "truncated result": (lambda folder: truncate(folder / "result.json"), "result.json cannot be read"),
    "result without hashes": (forget_hashes, "result.json is not what was written"),
    "better accuracy": (polish_the_result, "result.json is not what was written"),
    "flipped byte in the weights": (lambda folder: flip_a_byte(folder / "weights.safetensors"), "weights.safetensors is missing or not what was written"),
    "edited history": (edit_history, "history.jsonl is missing or not what was written"),
    "experiment of another run": (another_experiment, "its experiment.json is not the experiment that its name stands for"),
    "truncated experiment": (lambda folder: truncate(folder / "experiment.json"), "experiment.json cannot be read"),
    "truncated environment": (lambda folder: truncate(folder / "environment.json"), "environment.json cannot be read"),
    "empty environment": (lambda folder: (folder / "environment.json").write_text("[]"), "environment.json is incomplete"),
    **{
        f"missing {name}": (lambda folder, name=name: (folder / name).unlink(), f"{name} is missing")
        for name in sorted(FINISHED - {"result.json"})
    },
}  # fmt: skip


@pytest.mark.parametrize("damage, said", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_named_set_aside_and_made_again(tiny, finished, capsys, damage, said):
    folder, before = finished.path, reproducible(finished.path)
    damage(folder)
    damaged = contents(folder)
    capsys.readouterr()
    assert list(RunStore().all()) == []  # it is not taken for a run
    again = run(tiny(), verbose=False)
    aside = folder.with_name(f"{folder.name}.damaged-1")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "it was moved to" in line]
    assert line.startswith(f"run {folder.name} is damaged (") and said in line and str(aside) in line
    assert contents(aside) == damaged
    assert reproducible(again.path) == before and again.path == folder


def test_a_second_damage_does_not_overwrite_what_was_set_aside_first(tiny):
    started, found = tiny(epochs=1), []
    for _ in range(2):
        folder = run(started, verbose=False).path
        truncate(folder / "result.json")
        found.append(contents(folder))
    run(started, verbose=False)
    assert [contents(folder.with_name(f"{folder.name}.damaged-{number}")) for number in (1, 2)] == found


def middle_of_a_tensor(path):
    """Where the values of the largest tensor of a file of torch.save lie: the middle of the largest member of the zip."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    return (largest.header_offset + largest.file_size / 2) / path.stat().st_size


UNFINISHED_DAMAGE = {
    "flipped byte in a tensor": (lambda folder: flip_a_byte(folder / "resume.pt", middle_of_a_tensor(folder / "resume.pt")), "resume.pt"),
    "truncated resume": (lambda folder: truncate(folder / "resume.pt"), "resume.pt cannot be read"),
    "empty resume": (lambda folder: (folder / "resume.pt").write_bytes(b""), "resume.pt cannot be read"),
    "experiment of another run": (another_experiment, "its experiment.json is not the experiment that its name stands for"),
    "truncated environment": (lambda folder: truncate(folder / "environment.json"), "environment.json cannot be read"),
    "empty environment": (lambda folder: (folder / "environment.json").write_text("[]"), "environment.json is incomplete"),
}


@pytest.mark.parametrize("damage, said", UNFINISHED_DAMAGE.values(), ids=UNFINISHED_DAMAGE)
def test_a_damaged_unfinished_entry_is_named_set_aside_and_begun_again(tiny, unfinished, uninterrupted, capsys, damage, said):
    damage(unfinished)
    damaged = contents(unfinished)
    finished = run(tiny())
    out = capsys.readouterr().out
    assert said in next(line for line in out.splitlines() if "is damaged" in line) and "goes on after" not in out
    assert contents(unfinished.with_name(f"{unfinished.name}.damaged-1")) == damaged
    assert reproducible(finished.path) == uninterrupted(tiny())


@pytest.mark.parametrize("share", [step / 10 for step in range(10)])
def test_a_flipped_byte_anywhere_in_the_resume_state_never_changes_the_result(tiny, unfinished, uninterrupted, share):
    # Some bytes of a zip mean nothing; a flip of any other must be found out.
    flip_a_byte(unfinished / "resume.pt", share)
    assert reproducible(run(tiny(), verbose=False).path) == uninterrupted(tiny())


@pytest.mark.parametrize("missing", ["resume.pt", "timing.jsonl", "history.jsonl", "environment.json", "experiment.json"])
def test_an_unfinished_entry_with_a_missing_file_still_ends_in_the_same_result(tiny, unfinished, uninterrupted, missing):
    (unfinished / missing).unlink()
    assert reproducible(run(tiny(), verbose=False).path) == uninterrupted(tiny())
    assert {path.name for path in unfinished.iterdir()} == FINISHED


# --- old records and changed data --------------------------------------------------------------


def test_a_record_of_another_schema_version_is_neither_misread_nor_touched(tiny, monkeypatch):
    old = run(tiny(epochs=1), verbose=False)
    before = contents(old.path)
    monkeypatch.setattr(experiment, "SCHEMA", 2)
    store = RunStore()
    assert list(store.all()) == []
    assert store.read(tiny(epochs=1)) is None
    new = run(tiny(epochs=1), verbose=False)
    assert new.path != old.path and [found.key for found in store.all()] == [new.key]
    assert contents(old.path) == before


def test_a_record_of_another_schema_version_says_which(tiny):
    with pytest.raises(LabkitError, match="this record has schema version 0, this labkit reads 1"):
        Experiment.from_dict(tiny().to_dict() | {"schema": 0})


@pytest.mark.parametrize("content", ["", "[]", '"text"', "3", '{"schema": 1, "nosuch": 2}', '{"schema": 1, "lr": -1}'])
def test_what_is_no_experiment_is_passed_over_when_the_store_is_listed(finished, content):
    stranger = RunStore().root / "0123456789abcdef"
    stranger.mkdir()
    (stranger / "experiment.json").write_text(content)
    assert [found.key for found in RunStore().all()] == [finished.key]


def test_the_store_lists_its_finished_runs_and_not_a_copy_under_another_name(tiny):
    trained = [run(tiny(epochs=1, seed=seed), verbose=False) for seed in (0, 1)]
    shutil.copytree(trained[0].path, trained[0].path.with_name("copy"))
    found = list(RunStore().all())
    assert sorted(item.key for item in found) == sorted(item.key for item in trained)
    assert {item.experiment.seed for item in found} == {0, 1}


@pytest.fixture
def image_folder(tmp_path, monkeypatch):
    """Two classes of plain colours with noise, 12 + 4 images each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for c, name in enumerate(("blue", "red")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8)
                pixels[..., 2 - 2 * c] += 100
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
    return tmp_path / "images"


def repaint(path):
    Image.new("RGB", (16, 16), "green").save(path)


def test_a_run_on_images_that_changed_under_their_name_is_set_aside(tiny, image_folder, capsys):
    started = tiny(data=f"imagefolder:{image_folder}", batch_size=8, epochs=1)
    first = run(started, verbose=False)
    assert first.result["num_classes"] == 2
    repaint(image_folder / "train" / "red" / "0.png")
    again = run(started, verbose=False)
    assert "trained on other images than" in capsys.readouterr().out
    assert first.path.with_name(f"{first.key}.damaged-1").is_dir()
    digests = [json.loads((path / "environment.json").read_text())[-1]["data_digest"] for path in (again.path, first.path.with_name(f"{first.key}.damaged-1"))]
    assert digests[0] != digests[1]
    assert run(started, verbose=False).result == again.result


def test_a_run_from_initial_weights_that_changed_under_their_name_is_set_aside(tiny, tmp_path, capsys):
    torch.save(models.ConvNet().state_dict(), tmp_path / "init.pt")
    started = tiny(init=tmp_path / "init.pt", dropout=0, epochs=1)
    first = run(started, verbose=False)
    torch.save(models.ConvNet().state_dict(), tmp_path / "init.pt")
    again = run(started, verbose=False)
    assert "it was trained on other weights than" in capsys.readouterr().out
    assert again.result["train_loss"] != first.result["train_loss"]
    (tmp_path / "init.pt").unlink()  # where the file is gone there is nothing to compare with
    assert run(started, verbose=False).result == again.result


def test_a_last_batch_of_one_image_is_refused_before_batch_norm_fails_on_it(tiny):
    with pytest.raises(LabkitError, match="batch size 33 leaves a last batch of 1 of the 100 training images, too few for batch norm; use another batch size"):
        run(tiny(model="resnet18", dropout=0, valid=0, patience=None, batch_size=33), verbose=False)


def test_label_smoothing_is_trained_with_but_not_reported(tiny):
    finished = run(tiny(label_smoothing=0.3, valid=0, patience=None, epochs=1), verbose=False)
    assert finished.history["test_loss"].iloc[-1] == finished.result["test_loss"]


def test_a_device_that_does_not_exist_is_one_sentence(tiny):
    with pytest.raises(LabkitError, match=r"^device=nonsense cannot be used .*; use cpu, cuda or mps$"):
        run(tiny(), device="nonsense")


def test_a_run_begun_on_other_images_does_not_go_on(tiny, image_folder, capsys):
    started = tiny(data=f"imagefolder:{image_folder}", batch_size=8)
    interrupt(started, epoch=1)
    repaint(image_folder / "train" / "red" / "0.png")
    capsys.readouterr()
    run(started, verbose=False)
    out = capsys.readouterr().out
    assert "begun on other images" in out and "goes on after" not in out


@pytest.mark.parametrize("lost", ["gone", "an empty mount point"])
def test_a_finished_run_can_be_read_where_its_images_are_not(tiny, image_folder, monkeypatch, lost):
    finished = run(tiny(data=f"imagefolder:{image_folder}", batch_size=8, epochs=1), verbose=False)
    shutil.rmtree(image_folder)
    if lost == "an empty mount point":
        image_folder.mkdir()
    forbid_training(monkeypatch)
    assert run(finished.experiment, verbose=False).result == finished.result
    assert [found.key for found in RunStore().all()] == [finished.key]


# --- the device --------------------------------------------------------------------------------


def test_a_device_that_cannot_be_used_is_one_sentence(tiny, monkeypatch):
    monkeypatch.setenv("LABKIT_DEVICE", "gpu")
    with pytest.raises(LabkitError, match=r"^LABKIT_DEVICE=gpu cannot be used .*; use cpu, cuda or mps$"):
        run(tiny(), verbose=False)
    assert not RunStore().path(tiny()).exists()


def test_labkit_device_names_the_device(monkeypatch):
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")


@pytest.mark.parametrize("refusals, said", [(2, None), (3, "cannot write")])
def test_a_file_that_is_open_elsewhere_is_replaced_a_little_later(monkeypatch, tmp_path, refusals, said):
    """As on Windows, where it cannot be replaced just then."""
    monkeypatch.setattr(runs, "_TRIES", 3)
    replace, refused = Path.replace, []

    def refuse(self, target):
        if len(refused) < refusals:
            refused.append(target)
            raise PermissionError(13, "it is open in another program")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with one_sentence(said) if said else contextlib.nullcontext():
        runs._write(tmp_path / "note", "text")
    assert len(refused) == refusals and [path.read_text() for path in tmp_path.iterdir()] == ([] if said else ["text"])


# --- a skewed set, and a teacher ------------------------------------------------------------------


def test_a_skewed_set_keeps_the_share_of_each_class(tiny):
    shares = (1, 0.5) + (0.25,) * 8
    parts, facts = tiny(skew=shares, valid=0, batch_size=8).loaders("cpu")
    assert parts["train"].dataset.counts == [10, 5] + [2] * 8 and facts["train_images"] == 31
    assert set(parts["test"].dataset.counts) == {5}, "the test set stays as it is"


def test_a_skew_for_another_number_of_classes_is_one_sentence(tiny):
    with one_sentence("skew needs one share a class", "10 classes, skew 3 shares"):
        tiny(skew=(1, 1, 0.5)).loaders("cpu")


def taught(tiny, **changes):
    return tiny(**{"teacher": tiny(seed=5, epochs=2), "temperature": 2.0, "alpha": 0.7, "augmentation": ()} | changes)


def test_the_teacher_is_trained_first_and_only_once(tiny, capsys):
    store = RunStore()
    student = run(taught(tiny), store)
    assert store.read(tiny(seed=5, epochs=2)).result["epochs"] == 2
    capsys.readouterr()
    again = run(taught(tiny, alpha=0.3), store)
    assert capsys.readouterr().out.count("epoch") == 3, "the student's epochs and none of the teacher's"
    assert student.result["sha256"] != again.result["sha256"]
    assert run(taught(tiny), store).result == student.result


def test_student_and_plain_network_begin_with_the_same_weights(tiny):
    """With alpha 0 the teacher has no say: what is trained is the plain network, bit for bit."""
    assert run(taught(tiny, alpha=0.0)).result["sha256"] == run(tiny(augmentation=())).result["sha256"]


def test_the_distilled_loss_is_the_one_of_the_paper(tiny):
    """One full batch and one step: the training loss of the record, computed by hand."""
    e = taught(tiny, epochs=1, batch_size=80, dropout=0.0)
    student, teacher = run(e), run(e.teacher)
    loader = e.loaders("cpu")[0]["train"]
    images, labels = next(iter(loader))
    torch.manual_seed(e.seed)
    fresh = e.build_model(10).train()
    expected = distillation_loss(fresh(images), teacher.model()(images), labels, 2.0, 0.7).item()
    assert student.history["train_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normalization", ["none", "unit", "first_image"])
def test_the_teacher_sees_images_normalized_as_in_its_own_training(tiny, normalization):
    e = taught(tiny, teacher=tiny(seed=5, epochs=2, normalization=normalization), epochs=1, batch_size=80, dropout=0.0)
    student, teacher = run(e), run(e.teacher)
    loader, (_, facts) = e.loaders("cpu")[0]["train"], e.teacher.loaders("cpu")
    images, labels = next(iter(loader))
    loader.transform, loader.epoch = Normalize(facts["mean"], facts["std"]), 0
    as_the_teacher_knows_them, same_labels = next(iter(loader))
    torch.manual_seed(e.seed)
    fresh = e.build_model(10).train()
    expected = distillation_loss(fresh(images), teacher.model()(as_the_teacher_knows_them), labels, 2.0, 0.7).item()
    assert torch.equal(labels, same_labels) and student.history["train_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_a_cut_off_student_goes_on_bit_for_bit_and_notices_another_teacher(tiny, tmp_path):
    whole, cut = RunStore(tmp_path / "whole"), RunStore(tmp_path / "cut")
    expected = run(taught(tiny), whole)
    run(taught(tiny).teacher, cut)
    interrupt(taught(tiny), 1, cut)
    state = torch.load(cut.path(taught(tiny)) / "resume.pt", weights_only=True)
    assert run(taught(tiny), cut).result == expected.result

    shutil.rmtree(cut.path(taught(tiny)))
    cut.path(taught(tiny)).mkdir()
    torch.save(state | {"teacher_weights": "another"}, cut.path(taught(tiny)) / "resume.pt")
    assert run(taught(tiny), cut).result == expected.result
    assert len(list(cut.root.glob("*.damaged-1"))) == 1


# --- a model of one's own --------------------------------------------------------------------------

NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 15 * 15, num_classes))
"""


def test_a_model_of_ones_own_is_kept_until_its_code_changes(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    e = tiny(model="net.py:Net", dropout=0.0, epochs=1)
    Path("net.py").write_text(NET)
    first = run(e)
    assert first.result["parameters"] == 4 * 28 + 900 * 10 + 10
    assert run(e).result == first.result and first.model()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    Path("net.py").write_text(NET.replace("nn.ReLU()", "nn.Tanh()"))
    capsys.readouterr()
    second = run(e)
    assert second.result["sha256"] != first.result["sha256"]
    assert "it was trained on other code than net.py:Net holds now" in capsys.readouterr().out
    Path("net.py").unlink()
    assert run(e).result == second.result, "where the file is not at hand, the record stands"


def test_an_unfinished_run_is_not_continued_with_other_code(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    e = tiny(model="net.py:Net", dropout=0.0)
    interrupt(e, 1)
    Path("net.py").write_text(NET + "\n# a comment is enough: who knows what it means\n")
    run(e)
    assert "it was begun with other code than the file of its model holds now" in capsys.readouterr().out
