"""Hyper-parameter search: which batch size, learning rate and momentum train best?

    objective = accuracy_of(Experiment(data="cifar10", epochs=10))
    found = search(objective, LESSON, "tpe", trials=15)
    found.table, found.best, found.history()
    objective.run(found.best.parameters).result["test_acc"]    # looked at when the search is over

A search is kept in `searches/<name>.jsonl` of the run store, a line for each thing that happens to it. It goes on
where it was, and several processes that give the same name share its trials. A trial is under way as long as a
process holds its lock, and the system takes the lock from a process that dies: whoever looks for a trial next takes
over what was left behind, under the same number and with the same parameters, and the run store resumes its training.

Needs Optuna (Akiba et al., "Optuna: A next-generation hyperparameter optimization framework", KDD 2019).
"""

import hashlib
import json
import math
import re
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from labkit import plots
from labkit.errors import LabkitError, accepted
from labkit.experiment import Experiment
from labkit.loops import NonFiniteLossError
from labkit.progress import progress_bar
from labkit.runs import RunStore, run

try:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
    from optuna.samplers.nsgaii import BLXAlphaCrossover
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import TrialState
except ImportError as error:
    raise LabkitError('labkit.search needs Optuna; install it with: pip install -c constraints.txt -e ".[search]"') from error

__all__ = ["LESSON", "SAMPLERS", "SearchResult", "accuracy_of", "choice", "log_uniform", "search", "uniform"]


# --- the space ---------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Choice:
    """One of `values`, none of them nearer to another."""

    values: tuple

    def __repr__(self):
        return f"choice({', '.join(map(repr, self.values))})"

    def suggest(self, trial, name):
        return trial.suggest_categorical(name, self.values)

    def position(self, value):
        """Where `value` stands on an axis from 0 to 1."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def ticks(self):
        """[(position, text), …]"""
        return [(self.position(value), str(value)) for value in self.values]

    def text(self, value):
        """As wide as the widest value, so that the lines of a search align."""
        return str(value).rjust(max(len(str(other)) for other in self.values))


@dataclass(frozen=True, repr=False)
class Range:
    """A number from `low` to `high`, as likely in each stretch of equal length or, with `log`, of equal ratio."""

    low: float
    high: float
    log: bool = False

    def __repr__(self):
        return f"{'log_' if self.log else ''}uniform({self.low!r}, {self.high!r})"

    def suggest(self, trial, name):
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def position(self, value):
        """Where `value` stands on an axis from 0 to 1."""
        low, high, value = map(math.log10 if self.log else float, (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self):
        """[(position, text), …]: the powers of ten within, or the ends and three between where there are fewer than two."""
        decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1) if self.log else ()
        if len(decades) > 1:
            return [(self.position(10.0**exponent), f"$10^{{{exponent}}}$") for exponent in decades]
        return [(self.position(value), f"{value:.3g}") for value in (np.geomspace if self.log else np.linspace)(self.low, self.high, 5).tolist()]

    def text(self, value):
        return f"{value:.2e}" if self.log else f"{value:.3f}"


def choice(*values):
    """A parameter that is one of `values`: numbers, names, True, False or None."""
    if not values or not all(value is None or isinstance(value, (bool, int, float, str)) for value in values):
        raise LabkitError(f"choice needs numbers or names, such as choice(8, 16, 32), not {', '.join(map(repr, values)) or 'nothing'}")
    if len(set(values)) < len(values):
        raise LabkitError(f"choice({', '.join(map(repr, values))}) names a value twice; give each once")
    return Choice(values)


def uniform(low, high):
    """A parameter from `low` to `high`."""
    return _range(low, high, log=False)


def log_uniform(low, high):
    """A positive parameter from `low` to `high` whose order of magnitude is what matters, such as a learning rate."""
    return _range(low, high, log=True)


def _range(low, high, log):
    name = "log_uniform" if log else "uniform"
    if not all(isinstance(end, Real) and not isinstance(end, bool) and math.isfinite(end) for end in (low, high)):
        raise LabkitError(f"{name} needs two numbers, such as {name}(1e-4, 1e-1), not {low!r} and {high!r}")
    if low >= high or (log and low <= 0):
        raise LabkitError(f"{name}({low!r}, {high!r}) must go from a lower to a higher {'number above 0' if log else 'number'}")
    return Range(float(low), float(high), log)


LESSON = {"batch_size": choice(8, 16, 32, 64, 128), "lr": log_uniform(1e-4, 1e-1), "momentum": choice(0.1, 0.3, 0.5, 0.7, 0.9)}

_BESIDE = ("trial", "value", "state", "epochs", "seconds")  # the columns of the table that are no parameters


def _check_space(space):
    if not isinstance(space, dict) or not space:
        raise LabkitError(f"a space is a dict from names to choice(…), uniform(…) or log_uniform(…), such as LESSON, not {space!r}")
    for name, parameter in space.items():
        if not isinstance(parameter, (Choice, Range)):
            raise LabkitError(f"the space must say choice(…), uniform(…) or log_uniform(…) for {name!r}, not {parameter!r}")
        if not isinstance(name, str) or name in _BESIDE:
            raise LabkitError(f"a parameter cannot be named {name!r}; use a name other than {', '.join(_BESIDE)}")


# --- samplers and pruner -----------------------------------------------------------------------


def _evolution(seed):
    # CMA-ES adapts a normal distribution: it has nothing to say about batch sizes and momenta out of a set, and would
    # draw them at random. A genetic algorithm takes either parent's. A course pays for tens of trials: small
    # generations see several rounds of selection. The rate blends on its log scale, else mutation alone would move it.
    return NSGAIISampler(population_size=6, crossover=BLXAlphaCrossover(alpha=0.5), seed=seed)


def _tpe(seed):
    # Five random trials (ten by default) leave most of a short search to the model. `multivariate` sees that rate and
    # momentum depend on each other, `constant_liar` keeps processes from trying the same place at the same time.
    return TPESampler(n_startup_trials=5, multivariate=True, constant_liar=True, seed=seed)


SAMPLERS = {"tpe": _tpe, "evolution": _evolution, "random": RandomSampler}


def _sampler(name, seed, number):
    """The sampler of trial `number`: each has a seed of its own, so that a search that goes on draws what it would have drawn."""
    return SAMPLERS[name](seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def _pruner(warmup):
    # A median of five finished trials is the least worth the name.
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)


# --- the search --------------------------------------------------------------------------------


def search(objective, space, sampler, trials, *, name=None, seed=0, warmup=2, store=None, verbose=True):
    """Try parameters out of `space` until `trials` of them are finished; return the `SearchResult`.

    objective: a function of (parameters, report) that returns the value to maximise, such as a validation accuracy;
    parameters: a dict; report(epoch, value), epoch from 1, may be called after each epoch and ends a hopeless trial,
    by an exception that the objective must let through. space: {name: `choice`, `uniform` or `log_uniform`}.
    sampler: what draws the parameters,
        "tpe"        from where good trials are denser than bad ones: tree-structured Parzen estimator
                     (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011), multivariate
                     (Falkner et al., "BOHB", ICML 2018)
        "evolution"  by crossing and mutating the best: NSGA-II, with one objective an elitist genetic algorithm
                     (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002), and blend crossover
                     (Eshelman & Schaffer, "Real-coded genetic algorithms and interval-schemata", FOGA 2, 1993)
        "random"     blindly (Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012)
    trials: how many shall have finished, in earlier calls and other processes, too. name: searches of one name are one
    search; None: a name made of all that decides it if the objective has a `key`, as `accuracy_of` does, else the
    search is not kept, as nobody could tell whether the function is still the same. seed: one process with one seed
    gives the same trials again. warmup: the first epoch after which a trial may be stopped, if its best value is below
    the median of the finished trials at that epoch (Golovin et al., "Google Vizier", KDD 2017). store: the `RunStore`
    that the search is kept in. verbose: print a line a trial.

    A trial is finished, pruned (stopped early), or diverged: its loss or a value became infinite or not a number, which
    counts as the value −inf. Other exceptions end the search and leave the trial to be tried again.
    Raises `LabkitError`.
    """
    if not callable(objective):
        raise LabkitError(f"the objective must be a function of (parameters, report), not {objective!r}")
    _check_space(space)
    accepted("sampler", sampler, SAMPLERS)
    for what, value, least in (("trials", trials, 1), ("seed", seed, 0), ("warmup", warmup, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise LabkitError(f"{what} must be a whole number from {least}, not {value!r}")
    key = getattr(objective, "key", None)
    made_with = {"space": {n: repr(p) for n, p in space.items()}, "sampler": sampler, "seed": seed, "warmup": warmup, "objective": key}
    name = _check_name(name) if name is not None or key is None else f"{sampler}-{_digest(made_with)}"
    with _quiet(), _open(name, store or RunStore()) as (storage, locks):
        under_way = _Search(storage, locks, space, made_with)
        under_way.go_on(objective, trials, verbose)
        return SearchResult(under_way.study, dict(space))


class Best(NamedTuple):
    """The best finished trial: its number in the table, its parameters (a dict) and its value."""

    trial: int
    parameters: dict
    value: float


@dataclass(frozen=True)
class SearchResult:
    """What a search has found: the Optuna `study` and the `space`, and what can be told of them."""

    study: optuna.Study
    space: dict

    @property
    def table(self):
        """A DataFrame with a row a finished trial: trial (from 1), its parameters, value, state, epochs and seconds.

        value: what was returned, the last reported value of a pruned trial, −inf of a diverged one. epochs: the last
        one reported. seconds: wall time in the process that ended it; a run that was in the store took none.
        """
        rows = [_row(trial, self.space) for trial in _finished(self.study)]
        return pd.DataFrame(rows, columns=["trial", *self.space, "value", "state", "epochs", "seconds"])

    @property
    def best(self):
        """The `Best` trial, of those that were neither pruned nor diverged; raises `LabkitError` if there is none."""
        whole = self._whole()
        if not whole:
            raise LabkitError("every trial diverged or was pruned, so none is the best; search lower learning rates")
        best = max(whole, key=lambda trial: trial.value)
        return Best(best.number + 1, {name: best.params[name] for name in self.space}, best.value)

    def _whole(self):
        return [trial for trial in _finished(self.study) if trial.user_attrs["state"] == "finished"]

    def history(self, title="", ylabel="validation accuracy"):
        """A Figure: every trial, and the best value so far."""
        return plots.search_history(self.table, title, ylabel)

    def parallel_coordinates(self, title="", label="validation accuracy"):
        """A Figure: one line a trial across the parameters, coloured by its value."""
        return plots.parallel_coordinates(self.table, self.space, title, label)

    def importance(self, title=""):
        """A Figure: the share of each parameter in what sets the best quarter of the trials apart.

        PED-ANOVA (Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary
        subspaces", IJCAI 2023), over all trials: pruned ones with their last value, diverged ones as the worst.
        Raises `LabkitError` for fewer than 10 trials.
        """
        table = self.table
        if len(table) < _ENOUGH:
            raise LabkitError(f"importance needs at least {_ENOUGH} finished trials, not {len(table)}; go on with a larger number of trials")
        values = table["value"].where(table["state"] != "diverged")
        if values.nunique() < 2:
            raise LabkitError("all trials have the same value, so no parameter makes a difference; search a wider space")
        figure = plots.bars(pd.DataFrame({"importance": _importances(_finished(self.study), values.fillna(values.min()))}), "importance", title)
        figure.axes[0].set_ylim(0, 1)
        return figure


_ENOUGH = 10  # of which the best quarter is three


def _importances(trials, values):
    """{parameter: share}, the largest first. values: one a trial; all that counts is their order."""
    with _quiet():
        study = optuna.create_study(direction="maximize")
        for trial, value in zip(trials, values):
            study.add_trial(optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=value))
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25))


# --- the objective over experiments ------------------------------------------------------------


@dataclass(frozen=True)
class Accuracy:
    """The validation accuracy of an experiment's best epoch as an objective; see `accuracy_of`."""

    base: Experiment
    store: RunStore
    device: object = None

    @property
    def key(self):
        return self.base.key

    def experiment(self, parameters):
        """The base experiment with `parameters` in place of its own."""
        for name in parameters:
            accepted("parameter", name, [field.name for field in fields(Experiment)])
        sgd = {"optimizer": "sgd"} if "momentum" in parameters else {}  # no other optimizer has one
        return replace(self.base, **sgd | parameters)

    def run(self, parameters, on_epoch=()):
        """The finished `Run` of `parameters`, read where it is in the store; on_epoch: see `labkit.runs.run`."""
        return run(self.experiment(parameters), self.store, self.device, verbose=False, on_epoch=on_epoch)

    def __call__(self, parameters, report):
        def tell(progress):
            report(progress.epoch, progress.history[-1]["valid_acc"])

        return self.run(parameters, on_epoch=[tell]).result["valid_acc"]


def accuracy_of(experiment, store=None, device=None):
    """The objective that `search` needs, over the `Experiment` that each trial replaces some fields of.

    Its value is the validation accuracy of the epoch whose weights are kept; the test set decides nothing. Momentum as
    a parameter means SGD. store, device: see `labkit.runs.run`; what is in the store costs nothing. `.run(parameters)`
    gives the finished run of a trial. Raises `LabkitError` for an experiment without validation part.
    """
    if not isinstance(experiment, Experiment):
        raise LabkitError(f"accuracy_of needs an Experiment, not {experiment!r}")
    if experiment.valid == 0:
        raise LabkitError("a search chooses by validation accuracy; set valid above 0")
    return Accuracy(experiment, store or RunStore(), device)


# --- working on a search -----------------------------------------------------------------------

_STUDY = "search"  # the name within its file, which holds no other


def _check_name(name):
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)):
        raise LabkitError(f"a search is named by letters, digits, '.', '-' and '_', not {name!r}")
    return name


def _digest(made_with):
    return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:8]


@contextmanager
def _quiet():
    """Without Optuna's own lines, and what it calls experimental (up to version 4) has kept its meaning since."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _open(name, store):
    """(Optuna's storage, a folder for locks) of a search; without a name it lives in memory."""
    if name is None:
        with TemporaryDirectory(prefix="labkit-search-") as locks:
            yield _begun(optuna.storages.InMemoryStorage()), Path(locks)
        return
    path, locks = store.root / "searches" / f"{name}.jsonl", store.root / "searches" / ".locks" / name
    with _writable(path.parent):
        locks.mkdir(parents=True, exist_ok=True)
        storage = _load(path, FileLock(locks / "journal.lock"))
    yield storage, locks


def _load(path, lock):
    """The storage in the journal `path`, new if there is none."""
    with lock:
        _drop_torn_line(path)
    backend = JournalFileBackend(str(path), lock_obj=lock)  # its own kind of lock would outlive a killed process by 30 s
    try:
        return _begun(JournalStorage(backend))
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:  # whatever Optuna stumbles over
        raise LabkitError(f"the search file {path} is damaged ({error}); move it away or choose another name") from error


def _begun(storage):
    """The storage, with the one study that it is for."""
    optuna.create_study(storage=storage, study_name=_STUDY, direction="maximize", load_if_exists=True)
    return storage


def _drop_torn_line(path):
    """A full disk can leave half a line, to which the next one would be glued."""
    content = path.read_bytes() if path.exists() else b""
    if not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


@contextmanager
def _writable(folder):
    try:
        yield
    except OSError as error:
        raise LabkitError(f"the search folder {folder} cannot be written ({error.strerror or error}); make room or choose another LABKIT_RUNS") from error


class _Search:
    """A search that this process works on.

    Trials are begun, looked at and ended with the search locked, so that their total is kept. Who works on a trial
    holds the trial's own lock: a trial under way whose lock is free was left behind.
    """

    def __init__(self, storage, locks, space, made_with):
        self.storage, self.locks, self.space, self.made_with = storage, locks, space, made_with
        pruner = _pruner(made_with["warmup"])
        self.study = optuna.load_study(study_name=_STUDY, storage=storage, sampler=self._sampler(0), pruner=pruner)
        with self.locked():
            if "made_with" not in self.study.user_attrs:
                self.study.set_user_attr("made_with", made_with)
        self._need_same(self.study.user_attrs["made_with"])

    def _need_same(self, recorded):
        for what, wanted in self.made_with.items():
            if recorded.get(what) != wanted:
                raise LabkitError(f"the search {self.locks.name} was made with another {what} ({recorded.get(what)}, not {wanted}); choose another name")

    def _sampler(self, number):
        return _sampler(self.made_with["sampler"], self.made_with["seed"], number)

    @contextmanager
    def locked(self):
        """No other process writes meanwhile."""
        with _writable(self.locks), self._lock("search"):
            yield

    def _lock(self, what):
        return FileLock(self.locks / f"{what}.lock")

    def go_on(self, objective, trials, verbose):
        """Work on trials until `trials` of them have finished."""
        with progress_bar(desc="search", total=trials) as bar:
            while claimed := self._claim(trials):
                trial, lock = claimed
                try:
                    row = self._perform(objective, trial)
                except KeyboardInterrupt:
                    print(f"interrupted in trial {trial.number + 1}; the finished ones are kept if the search has a name, search again to go on from there")
                    raise
                finally:
                    lock.release()
                if verbose:
                    bar.write(_line(row, self.space, trials))
                bar.n = len(_finished(self.study))
                bar.refresh()

    def _claim(self, trials):
        """A trial for this process to work on, and its lock, held; None when `trials` have finished."""
        while True:
            with self.locked():
                known = self.study.get_trials(deepcopy=False)
                under_way = [trial.number for trial in known if not trial.state.is_finished()]
                if len(known) - len(under_way) >= trials:
                    return None
                for number in under_way:
                    if lock := self._try_lock(number):
                        return self._trial(number), lock
                if len(known) < trials:
                    self._begin(known)
                    return self._trial(len(known)), self._try_lock(len(known))
            self._wait_for(under_way[0])

    def _try_lock(self, number):
        """The lock of a trial, held; None if another process holds it."""
        lock = self._lock(f"trial-{number}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _begin(self, known):
        """Draw the next trial aside and write it down at once: a kill leaves it with all its parameters, or none of it."""
        draft = optuna.create_study(direction="maximize", sampler=self._sampler(len(known)))
        draft.add_trials(map(_as_whole, known) if self.made_with["sampler"] == "evolution" else known)
        trial = draft.ask()
        for name, parameter in sorted(self.space.items()):
            parameter.suggest(trial, name)
        self.study.add_trial(draft.get_trials(deepcopy=False)[-1])

    def _trial(self, number):
        study_id = self.storage.get_study_id_from_name(_STUDY)
        return optuna.Trial(self.study, self.storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _wait_for(self, number):
        print(f"trial {number + 1} is being worked on by another process; waiting for it")
        with self._lock(f"trial-{number}"):
            pass  # it has ended, well or not: look again

    def _perform(self, objective, trial):
        """Work on a trial to its end; return its row of the table."""
        start = time.perf_counter()
        state, value = _evaluate(objective, {name: trial.params[name] for name in self.space}, self._reporter(trial))
        with self.locked():
            trial.set_user_attr("state", state)
            trial.set_user_attr("seconds", time.perf_counter() - start)
            ended = self.study.tell(trial, value, TrialState.PRUNED if state == "pruned" else TrialState.COMPLETE)
        return _row(ended, self.space)

    def _reporter(self, trial):
        reported = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)  # by a process that left the trial behind

        def report(epoch, value):
            if isinstance(epoch, bool) or not isinstance(epoch, Integral) or epoch < 1:
                raise LabkitError(f"report(epoch, value) needs an epoch that counts from 1, not {epoch!r}")
            value = _finite(value, "report(epoch, value) needs")
            if epoch not in reported:
                reported.add(int(epoch))
                with self.locked():
                    trial.report(value, int(epoch))
            if trial.should_prune():
                raise optuna.TrialPruned

        return report


def _as_whole(trial):
    """A pruned trial as a finished one with its last value: NSGA-II counts no others, and would wait long for a generation."""
    if trial.state != TrialState.PRUNED:
        return trial
    return optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, system_attrs=trial.system_attrs, value=trial.value)


def _evaluate(objective, parameters, report):
    """Call the objective; return (state, value)."""
    try:
        return "finished", _finite(objective(parameters, report), "the objective must return")
    except optuna.TrialPruned:
        return "pruned", None
    except NonFiniteLossError:
        return "diverged", -math.inf


def _finite(value, needed):
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise LabkitError(f"{needed} a number, the value to maximise, not {value!r}") from error
    if not math.isfinite(number):
        raise NonFiniteLossError(f"the value became {number}")
    return number


def _finished(study):
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _row(trial, space):
    """A finished trial's row of the table."""
    return {
        "trial": trial.number + 1,
        **{name: trial.params[name] for name in space},
        "value": trial.value,
        "state": trial.user_attrs["state"],
        "epochs": max(trial.intermediate_values, default=0),
        "seconds": trial.user_attrs["seconds"],
    }


def _line(row, space, trials):
    """One line for one trial: what a student reads while waiting."""
    parameters = [f"{name} {parameter.text(row[name])}" for name, parameter in space.items()]
    value = "diverged" if row["state"] == "diverged" else f"value {row['value']:.4f}"
    stopped = [f"pruned after epoch {row['epochs']}"] if row["state"] == "pruned" else []
    return "  ".join([f"trial {row['trial']:>{len(str(trials))}}/{trials}", *parameters, value, *stopped, f"{row['seconds']:.1f} s"])
