"""A study: a grid of experiments, one table of their runs, and the figures of the lesson."""

import math
import re
from contextlib import closing
from numbers import Real

import pandas as pd

from labkit import plots
from labkit.device import resolve
from labkit.errors import LabkitError, accepted
from labkit.progress import progress_bar
from labkit.runs import RunStore, cite
from labkit.study.cells import cells, in_words, short, spaced, varied_fields
from labkit.study.cluster import Cluster
from labkit.study.estimate import make_plan
from labkit.study.local import Local
from labkit.study.records import RESULTS, Records
from labkit.study.tasks import DIVERGED, FAILED, FINISHED, HALF_FINISHED, NOT_BEGUN

MEASURES = (*RESULTS, "gap", "seconds", "seconds_per_update")
_MEASURES = {"loss": "loss", "acc": "accuracy", "gap": "train − test accuracy", "seconds": "seconds", "seconds_per_update": "seconds per update"}
_BAR = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"


class Study:
    """A grid of experiments under a name: `run` trains what is missing, the rest reads the run store.

    experiments: {label: Experiment} or a list of Experiments; `grid` makes products. seeds: each cell is repeated with that
    many seeds, from its experiment's own one on. smaller: {name: experiments}, the same study at smaller sizes: `run` loads
    their data, too, and says before the start what they would cost. store: a `RunStore`, default `RunStore()`.

    Equal experiments are one run. Raises `LabkitError`.
    """

    def __init__(self, name, experiments, *, seeds=1, smaller=None, store=None):
        if not isinstance(name, str) or not name.strip():
            raise LabkitError(f"a study needs a name, not {name!r}")
        self.name = name
        self.cells = cells(experiments, seeds)
        self.seeds = seeds
        self.varied = [field for field in varied_fields(self.experiments) if seeds == 1 or field != "seed"]
        self.smaller = {size: _experiments(cells(group, seeds)) for size, group in (smaller or {}).items()}
        self.store = store or RunStore()
        self._records = Records(self.store)
        self._failures = {}  # {key: state}, of the last `run`

    @property
    def experiments(self):
        """The different experiments, each of which is one run."""
        return _experiments(self.cells)

    @property
    def labels(self):
        """The different labels: a string, or the tuple of the values of the varied fields."""
        return list(dict.fromkeys(cell.label for cell in self.cells))

    @property
    def measures(self):
        """The measures that the table has."""
        validated = any(e.valid for e in self.experiments)
        return [name for name in MEASURES if validated or not name.startswith("valid_")]

    # --- running -------------------------------------------------------------------------------

    def run(self, on="local", *, device=None, processes=None, gpus_per_run=None):
        """Train what is not finished yet, and return `table()`.

        on: "local", in processes of this machine, or "ray", on the Ray cluster that RAY_ADDRESS names (a local one without it).
        processes: runs side by side on this machine; None measures what is fastest. gpus_per_run: the share of a GPU for each
        run on Ray. Before it starts it says about how long it will take. A cell that fails costs no other one; a loss that
        is not finite makes the cell "diverged". Ctrl-C ends all; run it again to go on after the last finished epochs.
        Raises `LabkitError`.
        """
        executor = self._executor(accepted("place", on, ("local", "ray")), device, processes, gpus_per_run)
        self._records, self._failures = Records(self.store), {}
        if pending := {e: self._records.epochs_to_go(e) for e in self.experiments if self._records.state(e) not in (FINISHED, DIVERGED)}:
            self._train(executor, pending)
        print(f"study {self.name}: {self._outcome()}")
        cite(filter(None, map(self._records.finished, self.experiments)))
        return self.table()

    def _executor(self, on, device, processes, gpus_per_run):
        _check_number("processes", processes, int, "a whole number of runs side by side, at least 1", least=1)
        _check_number("gpus_per_run", gpus_per_run, Real, "a number of GPUs or a share of one, 0 for none", least=0)
        if (processes if on == "ray" else gpus_per_run) is not None:
            raise LabkitError("processes goes with on='local' and gpus_per_run with on='ray'; leave the other one out")
        log = self._log()
        if on == "ray":
            return Cluster(self.store.root, log, device, gpus_per_run)
        return Local(self.store.root, log, resolve(device), processes)

    def _log(self):
        """The file that the processes print to, its folder made if it is missing."""
        folder = self.store.root.absolute() / ".studies"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabkitError(f"the run folder {self.store.root} cannot be written ({error.strerror}); choose another one with LABKIT_RUNS") from error
        return folder / (re.sub(r"[^\w.-]+", "-", self.name) + ".log")

    def _train(self, executor, pending):
        with executor:
            smaller = {name: {e: self._records.epochs_to_go(e) for e in group if not self._records.finished(e)} for name, group in self.smaller.items()}
            plan = make_plan(executor, pending, smaller)
            print(f"study {self.name}: {self._standing(pending)} on {executor.place}, {plan}")
            try:
                with progress_bar(total=sum(plan.work.values()) or 1, desc=self.name, bar_format=_BAR, smoothing=0) as bar:
                    self._watch(executor, plan, bar)
            except KeyboardInterrupt:
                print(f"study {self.name}: interrupted; the finished epochs of all runs are kept, run it again to go on from there")
                raise

    def _standing(self, pending):
        begun = sum(epochs < e.epochs for e, epochs in pending.items())
        return f"{len(pending)} of {len(self.experiments)} runs to train" + (f" ({begun} half-finished)" if begun else "")

    def _watch(self, executor, plan, bar):
        """Let the executor train, enter what fails, and move the bar: it counts seconds of expected work."""
        left = {e.key: e for e in plan.order}
        begun = {key: self._records.epochs(e) for key, e in left.items()}
        with closing(executor.train(plan.order, plan.layout)) as training:  # whatever ends the loop
            for ended in training:
                if ended:
                    experiment, state = ended
                    del left[experiment.key]
                    self._failures |= {experiment.key: state} if state.startswith(FAILED) else {}
                done = {key: (self._records.epochs(e) - begun[key]) * plan.epoch[key] for key, e in left.items()}
                bar.n = sum(min(work, done.get(key, work)) for key, work in plan.work.items())
                bar.set_description_str(f"{self.name}, {len(plan.order) - len(left)} of {len(plan.order)} runs")

    def _outcome(self):
        """How the study stands, in one sentence that names the cells without a result and says why."""
        states = [self._state(cell.experiment) for cell in self.cells]
        parts = [f"{states.count(FINISHED)} of {len(states)} runs finished"]
        for state in dict.fromkeys(state for state in states if state.startswith((DIVERGED, FAILED))):
            word, _, reason = state.partition(": ")
            parts.append(f"{word}: {'; '.join(self._names_of(state))}" + (f" ({reason})" if reason else ""))
        return "; ".join(parts)

    def _names_of(self, state):
        """The labels of the runs in this state, with their seeds where other seeds of the cell are in another one."""
        for label in self.labels:
            runs = [cell.experiment for cell in self.cells if cell.label == label]
            if seeds := [str(e.seed) for e in runs if self._state(e) == state]:
                yield self._name(label) + (f" with seed {', '.join(seeds)}" if len(seeds) < len(runs) else "")

    def _state(self, experiment):
        state = self._records.state(experiment)
        return state if state in (FINISHED, DIVERGED) else self._failures.get(experiment.key, state)

    # --- reading -------------------------------------------------------------------------------

    def table(self):
        """A DataFrame with a row for each run of each cell.

        The varied fields come first (epochs as epochs_planned), then seed (where there are several), epochs, best_epoch, loss
        and accuracy of train, valid and test, gap (train_acc − test_acc), seconds, seconds_per_update (its share of evaluation
        included), state, device and key. state: "finished", "diverged", "failed: " and why (in the last `run` of this object),
        "half-finished" or "not begun"; only a finished run has results.
        """
        rows = [self._heading(cell) | self._records.row(cell.experiment) | {"state": self._state(cell.experiment)} for cell in self.cells]
        table = _frame(rows)
        table["best_epoch"] = table["best_epoch"].astype("Int64")
        return table.drop(columns=set(MEASURES) - set(self.measures))

    def summary(self, digits=None):
        """A DataFrame with a row for each cell: its varied fields, the number of its finished runs, and over those the mean and
        the sample standard deviation of each measure, as `test_acc` and `test_acc_std`; with `digits` as one text, 0.712 ± 0.011.
        """
        table = self.table()
        rows = []
        for label in self.labels:
            found = table[[cell.label == label for cell in self.cells]]
            finished = found.loc[found["state"] == FINISHED, self.measures]
            heading = found.iloc[0][: table.columns.get_loc("epochs")].to_dict()
            rows.append(heading | {"finished": len(finished)} | _spread(finished.mean(), finished.std(), digits))
        return _frame(rows).drop(columns=["seed"] if self.seeds > 1 else [])

    def _heading(self, cell):
        """The columns that say which run it is."""
        label = {"label": self._name(cell.label)} if any(isinstance(label, str) for label in self.labels) else {}
        varied = {"epochs_planned" if name == "epochs" else name: getattr(cell.experiment, name) for name in self.varied}
        return label | varied | ({"seed": cell.experiment.seed} if self.seeds > 1 else {})

    def _name(self, label, separator=", "):
        """A label for a person."""
        if isinstance(label, str):
            return label
        return separator.join(in_words(name, value) for name, value in zip(self.varied, label)) or self.experiments[0].model

    # --- figures -------------------------------------------------------------------------------

    def curves(self, part="valid_acc", title=""):
        """A `Figure`: a column of the histories against epochs, a line for each cell with the mean over its seeds and a band of
        one standard deviation to both sides, as far as all its seeds have come. Raises `LabkitError` if no run has that column.
        """
        accepted("part", part, RESULTS)
        lines = {self._caption(label): self._histories(label, part) for label in self.labels}
        if all(line.empty for line in lines.values()):
            raise LabkitError(f"no run of study {self.name} has {part} yet; run it, or ask for another part (valid_… needs valid above 0, test_… valid=0)")
        return plots.bands(lines, "epoch", _in_words(part), title)

    def heatmap(self, rows, columns, value="test_acc", title="", **fixed):
        """A `Figure`: the mean of `value` over the seeds, for two varied fields.

        fixed: a value for each other varied field. Raises `LabkitError` if a field is not varied or one is left open.
        """
        accepted("value", value, self.measures)
        for name in (rows, columns, *fixed):
            accepted("varied field", name, self.varied)
        if rows == columns or (left := set(self.varied) - {rows, columns, *fixed}):
            asked = f"{min(left)}=…" if rows != columns else "two different fields"
            raise LabkitError(f"a heatmap shows two of the varied fields ({', '.join(self.varied)}); give it {asked}")
        return plots.heatmap(*self._tables(rows, columns, value, fixed), spaced(rows), spaced(columns), title or _in_words(value))

    def bars(self, *values, title=""):
        """A `Figure`: a group of bars for each cell, a bar for each of `values` (default train_acc and test_acc) with the mean
        over its seeds and one standard deviation to both sides. Raises `LabkitError` if they are not of one measure.
        """
        values = [accepted("value", value, self.measures) for value in values or ("train_acc", "test_acc")]
        if len({value.partition("_")[2] for value in values}) > 1:
            raise LabkitError(f"bars of {', '.join(values)} have no common axis; draw losses and accuracies one by one")
        summary = self.summary().set_index(pd.Index([self._caption(label, "\n") for label in self.labels]))
        heights = summary[values].set_axis([_in_words(value) for value in values], axis=1)
        errors = summary[[f"{value}_std" for value in values]].set_axis(heights.columns, axis=1)
        return plots.bars(heights, _in_words(values[0]).split(" ", len(values) > 1)[-1], title, errors=errors)

    def _caption(self, label, separator=", "):
        """A label for a figure, which says what has no numbers."""
        states = self._states(label)
        return self._name(label, separator) + ("" if states == {FINISHED} else f"{separator}{_missing(states)}")

    def _histories(self, label, part):
        """A DataFrame with a row an epoch and a column for each seed that has this part."""
        histories = [self._records.history(cell.experiment).set_index("epoch") for cell in self.cells if cell.label == label]
        return pd.DataFrame({number: history[part] for number, history in enumerate(histories) if part in history}).dropna()

    def _tables(self, rows, columns, value, fixed):
        """Two DataFrames over the values of two fields: the mean of `value`, and the text that says it."""
        summary, found = self.summary(), []
        for number, label in enumerate(self.labels):
            experiment, (mean, std) = self._experiment(label), summary.loc[number, [value, f"{value}_std"]]
            if all(getattr(experiment, name) == wanted for name, wanted in fixed.items()):
                text = _plus_minus(mean, std, 3, "\n") or _missing(self._states(label))
                found.append((short(getattr(experiment, rows)), short(getattr(experiment, columns)), mean, text))
        if not found:
            raise LabkitError(f"no cell of study {self.name} has {', '.join(f'{name}={wanted!r}' for name, wanted in fixed.items())}")
        frame = pd.DataFrame(found, columns=["row", "column", "mean", "text"])
        order = {"index": frame["row"].unique(), "columns": frame["column"].unique()}
        return [frame.pivot(index="row", columns="column", values=what).reindex(**order) for what in ("mean", "text")]

    def _experiment(self, label):
        return next(cell.experiment for cell in self.cells if cell.label == label)

    def _states(self, label):
        return {self._state(cell.experiment) for cell in self.cells if cell.label == label}


def _experiments(found):
    """The different experiments of cells, in order."""
    return list(dict.fromkeys(cell.experiment for cell in found))


def _check_number(name, value, kind, wanted, least):
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or value < least):
        raise LabkitError(f"{name} must be {wanted}, not {value!r}")


def _frame(rows):
    """A DataFrame of dicts, in which a whole number beside a None stays one."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return pd.DataFrame({name: pd.Series(values, dtype=object if None in values else None) for name, values in columns.items()})


def _spread(mean, std, digits):
    """Of each measure its mean and standard deviation, or both in one text."""
    if digits is None:
        return {column: number for name in mean.index for column, number in ((name, mean[name]), (f"{name}_std", std[name]))}
    return {name: _plus_minus(mean[name], std[name], digits) for name in mean.index}


def _plus_minus(mean, std, digits, separator=" "):
    """0.712 ± 0.011; without the second part where there was one value, empty where there was none."""
    if math.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f"{separator}± {std:.{digits}f}")


def _missing(states):
    """Why a cell has no number, or not all: the worst of the states of its runs, in one word."""
    words = {state.partition(":")[0] for state in states}
    return next(word for word in (FAILED, DIVERGED, HALF_FINISHED, NOT_BEGUN) if word in words)


def _in_words(value):
    """A measure for the axis of a figure: `valid_acc` is the validation accuracy."""
    part, _, measure = value.partition("_")
    return f"{plots.PARTS[part]} {_MEASURES[measure]}" if part in plots.PARTS else _MEASURES[value]
