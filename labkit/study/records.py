"""What the run store says about an experiment, finished or not."""

import json
import math
from contextlib import suppress

import pandas as pd

from labkit.plots import PARTS
from labkit.study.tasks import DIVERGED, FINISHED, HALF_FINISHED, NOT_BEGUN, has_diverged

RESULTS = tuple(f"{part}_{measure}" for part in PARTS for measure in ("loss", "acc"))


class Records:
    """Reads the entries of a `RunStore`. What is finished is read once, as that checks all the bytes of the weights."""

    def __init__(self, store):
        self.store = store
        self._finished = {}

    def finished(self, experiment):
        """The finished `Run`, None if there is none."""
        key = experiment.key
        if key not in self._finished and (found := self.store.load(experiment)):
            self._finished[key] = found
        return self._finished.get(key)

    def state(self, experiment):
        """Where it stands: "finished", "diverged", "half-finished" or "not begun"."""
        if self.finished(experiment):
            return FINISHED
        if has_diverged(self.store, experiment):
            return DIVERGED
        return HALF_FINISHED if self.epochs(experiment) else NOT_BEGUN

    def epochs(self, experiment):
        """The number of epochs that are kept."""
        return len(self._timing(experiment))

    def epochs_to_go(self, experiment):
        """The number of epochs that a training would still take."""
        resumable = (self.store.path(experiment) / "resume.pt").exists()
        return experiment.epochs - (self.epochs(experiment) if resumable else 0)

    def history(self, experiment):
        """The columns of `Run.history`, for the epochs that are kept."""
        path = self.store.path(experiment) / "history.jsonl"
        return pd.read_json(path, lines=True, precise_float=True) if path.exists() else pd.DataFrame({"epoch": []})

    def row(self, experiment):
        """The columns of a study's table that say what became of it."""
        run, timing, environment = self.finished(experiment), self._timing(experiment), self._environment(experiment)
        result = run.result if run else {}
        seconds = sum(line["seconds"] for line in timing)
        updates = len(timing) * math.ceil(environment.get("train_images", 0) / experiment.batch_size)
        return {
            "epochs": len(timing), "best_epoch": result.get("best_epoch"), **{name: result.get(name, math.nan) for name in RESULTS},
            "gap": result.get("train_acc", math.nan) - result.get("test_acc", math.nan),
            "seconds": seconds, "seconds_per_update": seconds / updates if updates else math.nan,
            "state": self.state(experiment), "device": environment.get("device_name", ""), "key": experiment.key,
        }  # fmt: skip

    def _timing(self, experiment):
        """A dict for each epoch."""
        return self._parse(experiment, "timing.jsonl", lambda text: [json.loads(line) for line in text.splitlines()]) or []

    def _environment(self, experiment):
        """Of the last session that worked on it."""
        return self._parse(experiment, "environment.json", lambda text: json.loads(text)[-1]) or {}

    def _parse(self, experiment, name, parse):
        """What a file says, None if it is missing or damaged: the store sees to that when the run is trained."""
        with suppress(OSError, ValueError, LookupError):
            return parse((self.store.path(experiment) / name).read_text())
