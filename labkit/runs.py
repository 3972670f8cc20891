"""The run store: an experiment is trained once, resumed when it was cut off, and read from then on.

`runs/<key>/` holds
    experiment.json      the experiment, all fields
    environment.json     one entry for each session that worked on it: versions, device, data
    history.jsonl        a line an epoch
    timing.jsonl         a line an epoch: when and how long; not part of the result, which is reproducible
    resume.pt            what an unfinished training needs to go on
    weights.safetensors  the weights that were tested
    result.json          written last: where it stands, the run is finished

Every file appears by renaming a complete one, so that a kill at any moment leaves each file whole, old or new.
"""

import copy
import dataclasses
import hashlib
import json
import os
import platform
import re
import sys
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
import torchvision
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save
from torch import nn

import labkit
from labkit import data, engine, models, transforms
from labkit.device import describe, resolve
from labkit.distill import Distiller
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.loops import EarlyStopping, Progress, fit, test

__all__ = ["Experiment", "Run", "RunStore", "run"]


RECORD = ("experiment.json", "history.jsonl", "timing.jsonl", "environment.json", "result.json")  # a finished run, beside its weights
WEIGHTS = "weights.safetensors"
SEALED = ("history.jsonl", WEIGHTS)  # result.json holds their digests
# What an unfinished training began with: fact in its record, and how it is said that it has changed.
_ORIGIN = {
    "data_digest": "on other images than its dataset holds now",
    "teacher_weights": "with a teacher that has other weights now",
    "code_fingerprint": "with other code than the file of its model holds now",
}
_TRIES = 20 if sys.platform == "win32" else 1
_WHITENED = 5000  # images whose patches are looked at: millions of patches for a dozen directions


class DamagedError(LabkitError):
    """A store entry is not what it was when it was written."""


@dataclass(frozen=True)
class Run:
    """A finished run: its experiment, its folder `path` and its `result` (a dict)."""

    experiment: Experiment
    path: Path
    result: dict

    @property
    def key(self):
        return self.experiment.key

    @cached_property
    def history(self):
        """A DataFrame with a row an epoch: epoch, lr, and loss and accuracy of train and valid or test."""
        return pd.read_json(self.path / "history.jsonl", lines=True, precise_float=True)

    @cached_property
    def seconds(self):
        """Wall time of its epochs, in seconds."""
        return sum(json.loads(line)["seconds"] for line in (self.path / "timing.jsonl").read_text().splitlines())

    def model(self, device="cpu"):
        """The network with the weights that were tested, in evaluation mode."""
        with torch.random.fork_rng(devices=()):  # its start weights are random: drawing them must not move the caller's numbers
            model = self.experiment.build_model(self.result["num_classes"], untrained=True)
        model.load_state_dict(load_file(self.path / WEIGHTS))
        return model.to(device).eval()


class RunStore:
    """The runs below the folder `root` (default: LABKIT_RUNS or `runs/`)."""

    def __init__(self, root=None):
        self.root = Path(root or os.environ.get("LABKIT_RUNS", "runs"))

    def path(self, experiment):
        return self.root / experiment.key

    def read(self, experiment):
        """The finished `Run` of `experiment`, None if there is none; raises `DamagedError`."""
        folder = self.path(experiment)
        if not folder.exists():
            return None
        _check_entry(folder, experiment)
        return _read_finished(folder, experiment)

    def load(self, experiment):
        """Like `read`, but says that an entry is damaged and counts it as none."""
        try:
            return self.read(experiment)
        except DamagedError as error:
            print(f"run {experiment.key} is damaged: {error}")
            return None

    def find(self, key):
        """The finished `Run` of this key, None if there is none that this version of labkit can read."""
        try:
            experiment = Experiment.from_dict(_read_json(self.root / key / "experiment.json"))
        except (ValueError, TypeError):
            return None  # another schema version, or unreadable
        return self.load(experiment) if experiment.key == key else None

    def all(self):
        """Every finished run that this version of labkit can read."""
        for path in sorted(self.root.glob("*/experiment.json")):
            if found := self.find(path.parent.name):
                yield found

    def set_aside(self, folder, reason):
        """Rename a damaged entry, so that nothing is lost and the run can be made again."""
        number = 1
        while (target := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(target)
        print(f"run {folder.name} is damaged ({reason}); it was moved to {target} and is trained again")

    @contextmanager
    def lock(self, experiment):
        """Hold the entry for this process; another one that wants it waits. A killed process lets go by itself."""
        try:
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".locks" / f"{experiment.key}.lock")
            _acquire(lock, experiment)
        except OSError as error:
            raise _unwritable(self.root, error) from error
        try:
            yield
        finally:
            lock.release()


def _acquire(lock, experiment):
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"run {experiment.key} is being trained by another process; waiting for it")
        lock.acquire()


def _unwritable(folder, error):
    return LabkitError(f"the run folder {folder} cannot be written ({error.strerror or error}); choose another one with LABKIT_RUNS")


_CITED = "kept as run"
_KEYS_A_LINE = 6


def cite(runs):
    """Print the keys of `runs`, so that who reads a notebook finds its runs in the store; see `cited`."""
    keys = list(dict.fromkeys(run.key for run in runs))
    for start in range(0, len(keys), _KEYS_A_LINE):
        print(_CITED, *keys[start : start + _KEYS_A_LINE])


def cited(text):
    """The keys that `cite` has printed, each once, in their order. text: the output of a notebook."""
    return list(dict.fromkeys(re.findall(r"[0-9a-f]{16}", " ".join(re.findall(rf"^{_CITED}.*$", text, re.M)))))


def run(experiment, store=None, device=None, verbose=True, on_epoch=()):
    """Return the finished `Run` of `experiment`: from the store if it is there, else resumed, else trained, its teacher first.

    store: a `RunStore`, default `RunStore()`. device: default `default_device()`. On the same machine a
    resumed run equals the uninterrupted one bit for bit. on_epoch: functions called with the `Progress` after
    each epoch has been saved. Wherever the run stands they are told of every epoch, in order: first of those
    that are in the store already, with a `Progress` of which only `epoch` and `history` are filled. What they
    raise ends the call; the run can be resumed. Raises `LabkitError` and, after the last good epoch has been
    kept, `NonFiniteLossError`.
    """
    finished = _run(experiment, store or RunStore(), device, verbose, on_epoch)
    if verbose:
        cite([finished])
    return finished


def _run(experiment, store, device, verbose, on_epoch):
    try:
        if finished := store.read(experiment):
            return _told(finished, on_epoch)
    except DamagedError:
        pass  # looked at again with the entry locked
    teacher = _run(experiment.teacher, store, device, verbose, ()) if experiment.teacher else None
    with store.lock(experiment):
        if finished := _or_set_aside(store, experiment, lambda: store.read(experiment)):
            return _told(finished, on_epoch)
        return _train(experiment, store, resolve(device), verbose, on_epoch, teacher)


def _told(finished, on_epoch):
    if on_epoch:
        _tell(finished.history.to_dict("records"), on_epoch)
    return finished


def _tell(history, on_epoch):
    """Call `on_epoch` for the epochs of `history`, which were trained before."""
    for epoch in range(1, len(history) + 1):
        for callback in on_epoch:
            callback(Progress(epoch, history[:epoch]))


def _or_set_aside(store, experiment, read):
    """What `read` returns; None, with the entry set aside, if it finds damage."""
    try:
        return read()
    except DamagedError as error:
        store.set_aside(store.path(experiment), error)
        return None


def _train(experiment, store, device, verbose, on_epoch, teacher):
    folder = store.path(experiment)
    with _reproducible(device, experiment.seed):
        loaders, facts = experiment.loaders(device)
        facts["teacher_weights"] = teacher.result["sha256"][WEIGHTS] if teacher else None
        facts["code_fingerprint"] = experiment.code_digest
        resume = _or_set_aside(store, experiment, lambda: _read_resume(folder, facts))
        _open_entry(folder, experiment)
        training = _Training(experiment, folder, loaders, facts, device)
        _note_session(folder, experiment, device, facts | {"engine": dataclasses.asdict(training.engine)})
        if teacher:
            training.learn_from(teacher, device)
        if resume:
            training.restore(resume)
            if verbose:
                print(f"run {experiment.key} goes on after epoch {training.progress.epoch}")
            _tell(training.progress.history, on_epoch)
        training.fit(verbose, on_epoch)
        return training.finish()


class _Training:
    """A training under way, tied to its store entry."""

    def __init__(self, experiment, folder, loaders, facts, device):
        self.experiment, self.folder, self.loaders, self.facts = experiment, folder, loaders, facts
        self.num_classes = len(loaders["train"].dataset.classes)
        self.model = experiment.build_model(self.num_classes).to(device)
        if experiment.whiten:
            self._whiten()
        self.optimizer = experiment.build_optimizer(self.model)
        self.engine = self._choose_engine()
        self.progress = None
        self.loss_fn = nn.CrossEntropyLoss(label_smoothing=experiment.label_smoothing)

    def _whiten(self):
        """By training images as they come, without augmentation."""
        images = self.loaders["train"].dataset.images[:_WHITENED]
        models.whiten(self.model, transforms.Normalize(self.facts["mean"], self.facts["std"])(images))

    def _choose_engine(self):
        e, loader = self.experiment, self.loaders["train"]
        session = _sessions(self.folder)[-1] if (self.folder / "environment.json").exists() else {}
        recorded = session.get("engine") if session.get("device") == str(loader.device) else None
        return engine.for_training(self.model, self.optimizer, loader, e.precision, e.epochs * len(loader), recorded)

    def learn_from(self, teacher, device):
        """Train on what the network of the run `teacher` says, beside the labels; it sees images normalized as in its own training."""
        translate = _translation(self.facts, _sessions(teacher.path)[-1])
        distiller = Distiller(teacher.model(device), self.experiment.temperature, self.experiment.alpha, translate)
        self.loaders["train"], self.loss_fn = distiller.loader(self.loaders["train"]), distiller.loss

    def fit(self, verbose, on_epoch):
        e = self.experiment
        selecting = "valid" in self.loaders
        try:
            self.progress = fit(
                self.model, self.loaders["train"], self.loaders.get("valid"), self.optimizer, e.epochs,
                test_loader=None if selecting else self.loaders["test"], loss_fn=self.loss_fn, eval_loss_fn=nn.CrossEntropyLoss(),
                schedule=e.build_schedule(len(self.loaders["train"])), patience=e.patience, monitor=e.monitor,
                on_epoch=[self.save, *on_epoch], progress=self.progress, verbose=verbose, engine=self.engine,
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f"interrupted; the finished epochs of run {e.key} are kept, run it again to go on from there")
            raise

    def save(self, progress):
        """Write the epoch down: history and timing to read, resume.pt to go on from."""
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in progress.history]
        _write(self.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        timing = {"epoch": progress.epoch, "seconds": progress.history[-1]["seconds"], "ended": time.time()}
        # An epoch that was cut off after this line was written is trained again: only the lines before it are kept.
        _write(self.folder / "timing.jsonl", "".join([*self._timing(progress.epoch - 1), json.dumps(timing) + "\n"]))
        best_is_last = progress.best_epoch == progress.epoch  # then its weights are the model's: no second copy
        state = {
            "progress": vars(progress) | {"stopper": vars(progress.stopper), "best_weights": None if best_is_last else progress.best_weights},
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "device": self.loaders["train"].device.type,
            "device_rng": _device_rng(self.loaders["train"].device),
            **{name: self.facts[name] for name in _ORIGIN},
        }
        _write_with(self.folder / "resume.pt", lambda part: torch.save(state, part))

    def _timing(self, epochs):
        """The lines of the first `epochs` epochs."""
        path = self.folder / "timing.jsonl"
        return path.read_text().splitlines(keepends=True)[:epochs] if path.exists() else []

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        stopper = EarlyStopping()
        vars(stopper).update(state["progress"]["stopper"])
        self.progress = Progress(**state["progress"] | {"stopper": stopper})
        if self.progress.best_epoch == self.progress.epoch and "valid" in self.loaders:
            self.progress.best_weights = copy.deepcopy(self.model.state_dict())
        self.loaders["train"].epoch = self.progress.epoch
        torch.set_rng_state(state["rng"])
        if state["device_rng"] is not None and state.get("device", "cuda") == self.loaders["train"].device.type:
            _set_device_rng(self.loaders["train"].device, state["device_rng"])

    def finish(self):
        """Read the test set, once, and close the entry."""
        with engine.choose(self.loaders["test"].device).running(self.model):
            test_loss, test_acc = test(self.loaders["test"], self.model, nn.CrossEntropyLoss())
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        _write(self.folder / WEIGHTS, save(weights))
        best = self.progress.history[self.progress.best_epoch - 1]
        result = {
            "key": self.experiment.key, "num_classes": self.num_classes, "parameters": models.num_parameters(self.model),
            "epochs": self.progress.epoch, "stopped_early": self.progress.stopped, "best_epoch": self.progress.best_epoch,
            **{name: value for name, value in best.items() if name.startswith(("train_", "valid_"))},
            "test_loss": test_loss, "test_acc": test_acc,
            "sha256": {name: sha256(self.folder / name) for name in SEALED},
        }  # fmt: skip
        _write(self.folder / "result.json", json.dumps(result | {"seal": seal(result)}, indent=1))
        (self.folder / "resume.pt").unlink(missing_ok=True)
        return Run(self.experiment, self.folder, result)


@contextmanager
def _reproducible(device, seed):
    """Seed torch for one run and leave its state and settings outside as they were."""
    before, state = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark), _device_rng(device)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all GPUs, too
        _seed_device(device, seed)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
            if state is not None:
                _set_device_rng(device, state)


def _seed_device(device, seed):
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _device_rng(device):
    """The state of the generator of a GPU, None for the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _set_device_rng(device, state):
    torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.mps.set_rng_state(state)


def _translation(ours, theirs):
    """The `Normalize` that makes of images normalized by the facts `ours` those normalized by `theirs`; None where they are the same."""
    if (list(ours["mean"]), list(ours["std"])) == (list(theirs["mean"]), list(theirs["std"])):
        return None
    mean = [(their - our) / std for their, our, std in zip(theirs["mean"], ours["mean"], ours["std"])]
    return transforms.Normalize(mean, [their / our for their, our in zip(theirs["std"], ours["std"])])


def _open_entry(folder, experiment):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "experiment.json", json.dumps(experiment.to_dict(), indent=1))
    except OSError as error:
        raise _unwritable(folder, error) from error


def _note_session(folder, experiment, device, facts):
    sessions = _sessions(folder) if (folder / "environment.json").exists() else []
    _write(folder / "environment.json", json.dumps([*sessions, _environment(experiment, device) | facts], indent=1))


def _environment(experiment, device):
    return {
        "labkit": labkit.__version__, "python": platform.python_version(), "torch": torch.__version__,
        "torchvision": torchvision.__version__, "platform": platform.platform(), "device": str(device),
        "device_name": describe(device), "data": experiment.data, "images_fingerprint": data.fingerprint(experiment.data),
        "weights_fingerprint": experiment.init_digest,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip


def _check_entry(folder, experiment):
    """What a finished and an unfinished entry must have in common; raises `DamagedError`."""
    path = folder / "experiment.json"
    if path.exists() and _read_json(path) != experiment.to_dict():
        raise DamagedError("its experiment.json is not the experiment that its name stands for")
    if (folder / "environment.json").exists():
        _sessions(folder)


def _sessions(folder):
    """The entries of environment.json, a dict each; raises `DamagedError`."""
    sessions = _read_json(folder / "environment.json")
    if not isinstance(sessions, list) or not sessions or not all(isinstance(session, dict) for session in sessions):
        raise DamagedError("its environment.json is incomplete")
    return sessions


def _read_finished(folder, experiment):
    """The finished run in `folder`, None if it is not finished; raises `DamagedError`."""
    if not (folder / "result.json").exists():
        return None
    result = _read_json(folder / "result.json")
    for name in ("experiment.json", "environment.json", "timing.jsonl"):
        if not (folder / name).is_file():
            raise DamagedError(f"{name} is missing")
    if not isinstance(result, dict) or result.pop("seal", None) != seal(result):
        raise DamagedError("its result.json is not what was written")
    for name in SEALED:
        if not (folder / name).is_file() or sha256(folder / name) != result["sha256"][name]:
            raise DamagedError(f"{name} is missing or not what was written")
    _need_same_data(folder, experiment)
    return Run(experiment, folder, result)


def _need_same_data(folder, experiment):
    """Images, initial weights and code can change under their name; where they can be looked at, they must be what was used."""
    recorded = _sessions(folder)[-1]
    sources = {
        "images": (experiment.data, _fingerprint(experiment)),
        "weights": (experiment.init, experiment.init_digest),
        "code": (experiment.model, experiment.code_digest),
    }
    for what, (name, present) in sources.items():
        if None not in (recorded.get(f"{what}_fingerprint"), present) and recorded[f"{what}_fingerprint"] != present:
            raise DamagedError(f"it was trained on other {what} than {name} holds now")


def _fingerprint(experiment):
    try:
        return data.fingerprint(experiment.data)
    except LabkitError:  # an empty mount point, a folder being copied: nothing to compare with
        return None


def _read_resume(folder, facts):
    """The state in resume.pt, None if there is none; raises `DamagedError`."""
    path = folder / "resume.pt"
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums, zipfile does
            damaged = archive.testzip()
        state = torch.load(path, map_location="cpu", weights_only=True) if damaged is None else None
    except Exception as error:  # zip, pickle and torch each have errors of their own
        raise DamagedError(f"its resume.pt cannot be read: {error}") from error
    if state is None:
        raise DamagedError("its resume.pt fails its checksum")
    for name, what in _ORIGIN.items():
        if state.get(name) != facts[name]:
            raise DamagedError(f"it was begun {what}")
    return state


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedError(f"its {path.name} cannot be read") from error


def seal(result):
    """SHA-256 of the other fields: finds accidents, not forgers."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path, content):
    """Write text or bytes so that `path` is the old file or the whole new one, at every moment."""
    content = content.encode() if isinstance(content, str) else content
    _write_with(path, lambda part: part.write_bytes(content))


def _write_with(path, write):
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        _replace(part, path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise LabkitError(f"cannot write {path} ({reason}); free some disk space, then run it again to go on from the last epoch") from error


def _replace(part, path):
    """On Windows a file that is open somewhere, as for a study's progress or a virus scanner, cannot be replaced just then."""
    for _ in range(_TRIES - 1):
        with suppress(PermissionError):
            return part.replace(path)
        time.sleep(0.05)
    return part.replace(path)
