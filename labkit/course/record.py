"""What a run record claims, and whether it can be true: read as hostile input, and compared with itself."""

import itertools
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from labkit import models, runs
from labkit.course.untrusted import parse_json, read_file, shown
from labkit.errors import LabkitError, Refused
from labkit.experiment import Experiment, key_of
from labkit.loops import MONITORS, EarlyStopping

RECORD = 4_000_000  # bytes
EXPERIMENT = 100_000  # bytes of experiment.json
CLOCK = 60  # seconds by which the clock of a computer may be put right during a training
_FINDINGS_A_CHECK = 3
_STAND_IN = "shapes"  # for the data that a record names: to parse a path there would look for it on this machine


@dataclass(frozen=True)
class Claim:
    """What experiment.json says. experiment: with `shapes` in the place of every dataset; data: the name of the dataset; key: of the
    experiment as it was written.
    """

    experiment: Experiment
    data: str
    key: str


def read_claim(folder):
    """The `Claim` of the run record in `folder`; raises `Refused`."""
    content = _read(folder, "experiment.json", dict, EXPERIMENT)
    try:
        experiment = Experiment.from_dict(_on_stand_in(content))
        key = key_of(_on_own_data(experiment.to_dict(), content))
        data = str(content.get("data", Experiment.data))
    except LabkitError as problem:
        raise Refused(f"experiment.json cannot be meant: {shown(problem, 300)}") from problem
    except RecursionError as problem:
        raise Refused("experiment.json is nested too deeply") from problem
    return Claim(experiment, shown(data), key)


def _on_stand_in(content):
    if not isinstance(content, dict):
        return content
    return content | {"data": _STAND_IN} | ({"teacher": _on_stand_in(content["teacher"])} if "teacher" in content else {})


def _on_own_data(plain, content):
    """`plain`, a `to_dict`, with the names of the datasets that stand in `content`."""
    teacher = {"teacher": _on_own_data(plain["teacher"], content["teacher"])} if "teacher" in plain else {}
    return plain | {"data": content.get("data", Experiment.data)} | teacher


def read_result(folder):
    """What result.json holds, a dict; raises `Refused`."""
    return _read(folder, "result.json", dict)


def read_session(folder):
    """The last entry of environment.json, a dict; raises `Refused`."""
    sessions = _read(folder, "environment.json", list)
    if not sessions or not isinstance(sessions[-1], dict):
        raise Refused("environment.json names no session")
    return sessions[-1]


def digest_of_test_images(folder):
    """The digest of the test images that a record speaks of, None if it names none."""
    with suppress(Refused):
        return read_session(folder).get("test_digest")


def read_history(folder):
    """The lines of history.jsonl, a dict an epoch; raises `Refused`."""
    return _read_lines(folder, "history.jsonl")


def read_timing(folder):
    """The lines of timing.jsonl, a dict an epoch; raises `Refused`."""
    return _read_lines(folder, "timing.jsonl")


def _read(folder, name, kind, limit=RECORD):
    try:
        content = parse_json(read_file(Path(folder) / name, limit))
    except Refused as problem:
        raise Refused(f"{name} {problem}") from problem
    if not isinstance(content, kind):
        raise Refused(f"{name} holds a {type(content).__name__}, not a {kind.__name__}")
    return content


def _read_lines(folder, name):
    """The lines of a .jsonl file, a dict each; raises `Refused`."""
    try:
        lines = read_file(Path(folder) / name, RECORD).splitlines()
        rows = parse_json(b"[" + b",".join(lines) + b"]")
    except Refused as problem:
        raise Refused(f"{name} {problem}") from problem
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Refused(f"{name} holds no line for each epoch")
    return rows


def number(row, name, where):
    """The number `row[name]`; raises `Refused` that names the file `where`, if it is none."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
        raise Refused(f"{where}: {name} is {shown(repr(value), 40)}, no number")
    return value


# --- can it be true? ---------------------------------------------------------------------------


def contradictions(folder):
    """[(kind, sentence)] of what cannot be in the run record in `folder`; nothing of it is run, no weights are read.

    kind: "unreadable" (a file is missing or malformed; weights may be missing), "key", "seal", "epochs", "best", "result", "accuracy", "loss", "rate", "time"
    or "size". A record without any finding may still be made up: `labkit.course.weights.evaluate` measures.
    """
    record, found = _Record(Path(folder)), []
    for check in (_keys, _seals, _epochs, _best_epoch, _result_row, _accuracies, _losses, _rates, _times, _size):
        found += itertools.islice(_findings(check, record), _FINDINGS_A_CHECK)
    return list(dict.fromkeys(found))


def _findings(check, record):
    try:
        yield from check(record)
    except Refused as problem:
        yield "unreadable", str(problem)


class _Record:
    """The files of a run record, each read when it is needed first; raises `Refused`."""

    def __init__(self, folder):
        self.folder = folder

    @cached_property
    def claim(self):
        return read_claim(self.folder)

    @cached_property
    def result(self):
        return read_result(self.folder)

    @cached_property
    def session(self):
        return read_session(self.folder)

    @cached_property
    def history(self):
        return read_history(self.folder)

    @cached_property
    def timing(self):
        return read_timing(self.folder)

    @property
    def experiment(self):
        return self.claim.experiment

    @property
    def watched(self):
        """The part that is evaluated after every epoch: "valid", or "test" where nothing is chosen."""
        return "valid" if self.experiment.valid else "test"

    @property
    def columns(self):
        """(place, file, row) of everything that holds losses and accuracies."""
        return [*((f"epoch {n}", "history.jsonl", row) for n, row in enumerate(self.history, 1)), ("the result", "result.json", self.result)]

    def parts(self, name):
        """The parts of the data that a row of the file `name` speaks of."""
        return ("train", self.watched) if name == "history.jsonl" else dict.fromkeys(("train", self.watched, "test"))

    def images(self, part):
        """How many images a part has."""
        count = number(self.session, f"{part}_images", "environment.json")
        if count != int(count) or count < 1:
            raise Refused(f"environment.json: {part}_images is {count}, no number of images")
        return int(count)


def _keys(record):
    named = record.result.get("key")
    if named != record.claim.key:
        yield "key", f"result.json is that of run {shown(named, 20)}, experiment.json that of run {record.claim.key}"
    if record.folder.name != record.claim.key:
        yield "key", f"the folder is named {shown(record.folder.name, 20)}, its experiment.json is that of run {record.claim.key}"


def _seals(record):
    rest = {name: value for name, value in record.result.items() if name != "seal"}
    if record.result.get("seal") != runs.seal(rest):
        yield "seal", "result.json was changed after it was written: its seal does not fit"
    digests = record.result.get("sha256")
    for name in runs.SEALED:
        path = record.folder / name
        if path.is_file() and not (isinstance(digests, dict) and digests.get(name) == runs.sha256(path)):
            yield "seal", f"{name} is not the one that result.json was written for: its SHA-256 is another"


def _epochs(record):
    numbers, planned = [row.get("epoch") for row in record.history], record.experiment.epochs
    if numbers != list(range(1, len(numbers) + 1)):
        yield "epochs", f"the epochs of history.jsonl are not 1 to {len(numbers)} in order"
    if (claimed := record.result.get("epochs")) != len(numbers):
        yield "epochs", f"result.json claims {shown(claimed, 20)} epochs, history.jsonl holds {len(numbers)}"
    if len(numbers) > planned:
        yield "epochs", f"history.jsonl holds {len(numbers)} epochs, the experiment has {planned}"
    if len(numbers) < planned and record.result.get("stopped_early") is not True:
        yield "epochs", f"history.jsonl ends after {len(numbers)} of {planned} epochs, and early stopping did not end it"


def _best_epoch(record):
    """Go through the validation curve as the training did."""
    e, best, stopped = record.experiment, len(record.history), []
    if e.valid:
        stopper = EarlyStopping(e.patience, MONITORS[e.monitor])
        for epoch, row in enumerate(record.history, 1):
            stopped += [epoch] if stopper.step(number(row, e.monitor, "history.jsonl")) else []
            best = epoch if stopper.improved else best
    if (claimed := record.result.get("best_epoch")) != best:
        yield "best", f"result.json claims epoch {shown(claimed, 20)} as the best one, history.jsonl says {best}"
    if stopped and stopped[0] < len(record.history):
        yield "best", f"early stopping ends this training after epoch {stopped[0]}, history.jsonl goes on to {len(record.history)}"
    if record.result.get("stopped_early") is not bool(stopped):
        yield "best", f"result.json says stopped_early: {shown(record.result.get('stopped_early'), 20)}, by history.jsonl it is {bool(stopped)}"


def _result_row(record):
    """The result repeats the row of the best epoch."""
    best = record.result.get("best_epoch")
    if type(best) is not int or not 1 <= best <= len(record.history):
        return  # said by `_best_epoch`
    row = record.history[best - 1]
    for name in ("train_loss", "train_acc", f"{record.watched}_loss", f"{record.watched}_acc"):
        claimed, written = number(record.result, name, "result.json"), number(row, name, "history.jsonl")
        # The test set is read again at the end, with the same weights: a GPU may sum up in another order then.
        if abs(claimed - written) > (0.01 if name.startswith("test") else 0):
            yield "result", f"result.json claims {name} {claimed:.6g}, history.jsonl says {written:.6g} for epoch {best}"


def _accuracies(record):
    """An accuracy is a number of right images over all of them."""
    for place, file, row in record.columns:
        for part in record.parts(file):
            accuracy, images = number(row, f"{part}_acc", file), record.images(part)
            right = accuracy * images
            if not 0 <= accuracy <= 1:
                yield "accuracy", f"{part}_acc of {place} is {accuracy:.6g}, outside 0 to 1"
            elif abs(right - round(right)) > 1e-6 * max(1, images / 1000):
                yield "accuracy", f"{part}_acc of {place} is {accuracy:.6g}: no number of right images out of {images:,} gives that"


def _losses(record):
    """The label of an image that is taken for another class has a probability of at most one half, a cross-entropy of at least ln 2."""
    for place, file, row in record.columns:
        for part in record.parts(file):
            loss, accuracy = number(row, f"{part}_loss", file), number(row, f"{part}_acc", file)
            least = 0 if part == "train" and record.experiment.teacher else (1 - accuracy) * math.log(2)
            if loss < 0.999 * least - 1e-6:
                yield "loss", f"{part}_loss of {place} is {loss:.4g}, too small: with an accuracy of {accuracy:.4g} it is at least {least:.4g}"


def _rates(record):
    steps = math.ceil(record.images("train") / record.experiment.batch_size)
    schedule = record.experiment.build_schedule(steps)
    for epoch, row in enumerate(record.history[: record.experiment.epochs], 1):
        written = number(row, "lr", "history.jsonl")
        try:
            planned = schedule.lr(epoch * steps - 1)
        except ArithmeticError:  # so few steps that the schedule has no shape
            return
        if not math.isclose(written, planned, rel_tol=1e-6, abs_tol=1e-12):
            yield "rate", f"the learning rate of epoch {epoch} is {written:.6g}, its schedule says {planned:.6g}"


def _times(record):
    seconds = [number(row, "seconds", "timing.jsonl") for row in record.timing]
    ended = [number(row, "ended", "timing.jsonl") for row in record.timing]
    if [row.get("epoch") for row in record.timing] != [row.get("epoch") for row in record.history]:
        yield "time", "timing.jsonl and history.jsonl do not hold the same epochs"
    if min(seconds) <= 0:
        yield "time", f"epoch {seconds.index(min(seconds)) + 1} took {min(seconds):.3g} seconds"
    if any(later + CLOCK < sooner for sooner, later in itertools.pairwise(ended)):
        yield "time", "the epochs of timing.jsonl do not end one after the other"
    elif sum(seconds[1:]) > ended[-1] - ended[0] + CLOCK:
        yield "time", f"epochs that took {sum(seconds[1:]):.0f} seconds ended within {ended[-1] - ended[0]:.0f}"
    if ended[-1] > time.time() + 24 * 3600:
        yield "time", "the training ends in the future"


def _size(record):
    """The number of parameters follows from the experiment; a network of the student's own is not built here."""
    if record.experiment.model not in models.MODELS:
        return
    classes = number(record.result, "num_classes", "result.json")
    try:
        with torch.device("meta"):  # shapes without numbers
            model = record.experiment.build_model(classes, untrained=True)
    except (LabkitError, TypeError, RuntimeError) as problem:
        yield "size", f"a {record.experiment.model} for {shown(classes, 20)} classes cannot be built ({shown(problem)})"
        return
    if (claimed := record.result.get("parameters")) != models.num_parameters(model):
        yield "size", f"result.json claims {shown(claimed, 20)} parameters, {record.experiment.model} has {models.num_parameters(model):,}"
