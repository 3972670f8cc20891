"""One submission: everything that is found out about it, as `Facts`. Its code runs in the sandbox alone."""

import hashlib
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from labkit import archive, checks, data, models
from labkit.course import evidence, inbox, record, weights
from labkit.course.answers import answer_sources
from labkit.course.facts import Facts, NotebookFacts, RunFacts, not_found
from labkit.course.observe import SECONDS, Observed, observe
from labkit.course.own_model import in_sandbox
from labkit.course.rebuild import rebuild, written_answers
from labkit.course.untrusted import shown
from labkit.errors import Refused
from labkit.submit import highest_first, weighed

MEASURES = ("accuracy", "best", "all")
_CURVES = ("epoch", "lr", *(f"{part}_{what}" for part in ("train", "valid", "test") for what in ("loss", "acc")))
_DECIDING = ("seed", "model", "fraction", "batch_size", "normalization", "augmentation")
_LONGEST_ANSWER = 20_000  # characters of a written answer
_NO_WEIGHTS = "its weights are missing, and of the runs of a notebook it claims the highest accuracy"
_TRIES = 3  # records of one notebook that are measured before one agrees with its claim


@dataclass(frozen=True)
class Setting:
    """How to grade. lessons: see `rebuild.lessons`; data: the dataset whose test set decides; box: a sandbox; accuracy: the notebooks whose best run is
    asked for; measure: "accuracy" (their runs alone), "best" (of every notebook the run with the highest claim) or "all"; seconds: on the clock,
    for each exercise.
    """

    lessons: dict
    data: str
    box: object
    accuracy: frozenset = frozenset()
    measure: str = "best"
    tolerance: float = weights.TOLERANCE
    device: str = "cpu"
    seconds: float = SECONDS


def measure(path, setting, report=None, seconds=math.inf):
    """The `Facts` about the zip at `path`; the report is written to the path `report`. Raises `LabkitError` for trouble that is not the submission's.

    seconds: on the clock; when they are used up, no more weights are measured, so that all the rest is kept.
    """
    deadline = time.monotonic() + seconds
    start = time.perf_counter()
    if not (known := digest(path)):
        return Facts(inbox.student_of(path), shown(path.name), failed="the zip cannot be read; check its permissions")
    with TemporaryDirectory(prefix="labkit-grade-") as folder:
        submission = inbox.read(path, Path(folder) / "submission")
        facts = Facts(submission.student, shown(path.name), known, list(submission.notes))
        _Measuring(submission, setting, facts, deadline).all()
    if submission.report and report:
        archive.write_file(report, submission.report)
        facts.report = len(submission.report)
    facts.seconds = time.perf_counter() - start
    return facts


def digest(path):
    """SHA-256 of a file, "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


class _Measuring:
    """Fills the `Facts` of one submission, step by step."""

    def __init__(self, submission, setting, facts, deadline):
        self.submission, self.setting, self.facts, self.deadline = submission, setting, facts, deadline
        self.lessons = _assigned(submission, setting.lessons)
        twice = [name for name, lessons in self.lessons.items() if not lessons and _lesson_of(name, setting.lessons)]
        facts.notes += [("ambiguous", f"{name} is named after a lesson that another notebook stands for, and does not count") for name in twice]

    def all(self):
        self._probe()
        self.facts.runs = {key: _run_facts(key, folder) for key, folder in self.submission.runs.items()}
        self._compare_runs()
        self._note_other_images()
        self._look_at_notebooks()
        self._need_weights()
        self._weigh()
        self._try("the answers", self._read_answers)

    def _try(self, what, step, *arguments):
        """A step that parses what may be made to break parsers; what breaks costs itself."""
        try:
            return step(*arguments)
        except Exception as error:  # of IPython, ast, symtable, nbformat, on texts that nobody foresaw
            self.facts.notes.append(("refused", f"{what} could not be read ({type(error).__name__}: {shown(error)})"))
            return None

    def _probe(self):
        files = {name: text.encode() for name, text in self.submission.sources.items()}
        for name, notebook in self.submission.notebooks.items():
            if rebuilt := self._try(name, rebuild, notebook, self.lessons[name]):
                files[f"{name}.ipynb"] = nbformat.writes(rebuilt).encode()
        observed = observe(files, self.setting.box, self.setting.seconds) if files else Observed({}, tuple(checks.names()), (), None)
        self.facts.notes += [("sandbox", sentence) for sentence in observed.notes]
        findings = {todo: checks.judge(todo, seen) for todo, seen in observed.observations.items()}
        for todo in observed.missing:
            findings[todo] = not_found(todo)
        self.findings = {todo: findings[todo] for todo in checks.names() if todo in findings}
        self.facts.findings = {todo: asdict(finding) for todo, finding in self.findings.items()}

    def _look_at_notebooks(self):
        for name, notebook in self.submission.notebooks.items():
            faults = self._try(name, evidence.examine, notebook, self.lessons[name], self.facts.runs, self.findings)
            cited = evidence.cited_runs(notebook)
            for run in filter(None, map(self.facts.runs.get, cited)):
                run.notebooks.append(name)
            # A notebook that holds several lessons stands for each of them.
            for lesson in [lesson.name for lesson in self.lessons[name]] or [name]:
                self.facts.notebooks[lesson] = NotebookFacts(faults if faults is not None else [("error", f"{name} could not be read")], cited)
            answers = written_answers(notebook, self.lessons[name])
            self.facts.discussions |= {grade_id: text[:_LONGEST_ANSWER] for grade_id, text in answers.items()}

    def _read_answers(self):
        self.facts.answers = answer_sources(self.submission.notebooks, self.submission.sources)

    def _compare_runs(self):
        """A run that was trained once counts once."""
        clocks, histories = {}, {}
        for key, run in self.facts.runs.items():
            first = clocks.setdefault(run.clock or key, key)
            if first != key:
                run.contradictions.append(("copy", f"its epochs ended at the same times as those of run {first}, of which it is a copy"))
            deciding = _deciding(self.submission.runs[key])
            first, others = histories.setdefault(repr(run.history or key), (key, deciding))
            if first != key and others != deciding:
                run.contradictions.append(("copy", f"its history is that of run {first}, an experiment that must give other numbers"))

    def _note_other_images(self):
        """Of runs that are not measured, nothing else would tell that they come from an easier lab."""
        ours = data.load(self.setting.data).test.digest
        others = [key for key, folder in self.submission.runs.items() if record.digest_of_test_images(folder) != ours]
        if others:
            more = f" and {len(others) - 10} more" if len(others) > 10 else ""
            self.facts.notes.append(("odd", f"the test images of {self.setting.data} are not those of run {', '.join(others[:10])}{more}"))

    # --- weights ---

    def _need_weights(self):
        """Of each notebook they are handed in of the run that claims the most; of the others, the record alone will do."""
        shown = {name: notebook.runs for name, notebook in self.facts.notebooks.items()}
        for key in weighed(shown, {key: run.claimed for key, run in self.facts.runs.items()}):
            if not self._has_weights(self.facts.runs[key]):
                self.facts.runs[key].contradictions.append(("unreadable", _NO_WEIGHTS))

    def _has_weights(self, run):
        return any((self.submission.runs[run.key] / name).is_file() for name in inbox.WEIGHT_FILES)

    def _ranked(self, keys):
        """Of these runs those that were handed in, the highest claims first."""
        runs = {key: self.facts.runs[key] for key in keys if key in self.facts.runs}
        return [runs[key] for key in highest_first({key: run.claimed for key, run in runs.items()})]

    def _weigh(self):
        own_model = in_sandbox(self.setting.box, self.submission.sources, deadline=self.deadline)
        for runs in self._to_measure():
            for run in runs:
                if run.verdict == "not asked":
                    self._weigh_run(run, own_model)
                if run.verdict == "agrees" and self.setting.measure != "all":
                    break  # the next ones claim less

    def _weigh_run(self, run, own_model):
        if time.monotonic() > self.deadline:
            run.verdict, run.sentence = "not measured", f"run {run.key} was not measured: the time for one submission is used up"
            return
        outcome = weights.evaluate(self.submission.runs[run.key], self.setting.data, self.setting.tolerance, self.setting.device, own_model)
        run.measured, run.verdict, run.sentence = outcome.measured, outcome.verdict, outcome.sentence

    def _to_measure(self):
        """The runs to measure, a list for each notebook, the highest claims first; where there are no weights, there is nothing to measure."""
        if self.setting.measure == "all":
            return [list(filter(self._has_weights, self._ranked(self.facts.runs)))]
        wanted = self.setting.accuracy if self.setting.measure == "accuracy" else self.facts.notebooks
        ranked = [self._ranked(self.facts.notebooks[name].runs) for name in wanted if name in self.facts.notebooks]
        return [list(filter(self._has_weights, runs))[:_TRIES] for runs in ranked]


def _assigned(submission, lessons):
    """{name of a submitted notebook: the lessons that it holds}: of a numbered one its own, of others those that are nowhere else.

    For a lesson stands one notebook, or the answers of one could go with the outputs of another: that of the same name, else the first.
    """
    named, own = {}, {}
    for name in sorted(submission.notebooks, key=lambda name: (name not in lessons, name)):
        if match := _lesson_of(name, lessons):
            own[name] = [lessons[match]] if named.setdefault(match, name) == name else []
    left = [lesson for lesson in lessons.values() if [lesson] not in own.values()]
    for name in sorted(submission.notebooks.keys() - own.keys()):
        own[name] = [lesson for lesson in left if lesson.is_in(submission.notebooks[name])]
        left = [lesson for lesson in left if lesson not in own[name]]
    return own


def _lesson_of(name, lessons):
    """The name of the lesson that a notebook is named after: its whole name, or at least its number."""
    same = [lesson for lesson in lessons if lesson.lower() == name.lower()] or [lesson for lesson in lessons if name[:3] == lesson[:3]]
    return same[0] if same else None


def _run_facts(key, folder):
    """What the record in `folder` says; what cannot be read is among its contradictions."""
    facts = RunFacts(key, contradictions=record.contradictions(folder))
    try:
        claim = record.read_claim(folder)
        facts.title, facts.init = _title(claim), shown(claim.experiment.init)
        facts.own_model = models.own_file(claim.experiment.model) is not None
        facts.clock = _clock(folder)
        facts.claimed = weights.claimed_accuracy(folder)
        facts.history = [_numbers(row) for row in record.read_history(folder)]
    except Refused:
        pass  # it is among the contradictions
    return facts


def _title(claim):
    """An experiment in a few words."""
    e = claim.experiment
    share = "" if e.fraction == 1 else f", {e.fraction:.3g} of the images"
    words = [f"{shown(e.model, 60)} on {shown(claim.data, 60)}{share}", f"{e.epochs} epochs", f"{e.optimizer} {e.lr:g} {e.schedule}", f"batch {e.batch_size}"]
    return ", ".join([*words, *(["with a teacher"] if e.teacher else []), *e.augmentation])


def _deciding(folder):
    """What no two trainings that show the same numbers differ in; where it cannot be read, None."""
    with suppress(Refused):
        experiment = record.read_claim(folder).experiment
        return [getattr(experiment, name) for name in _DECIDING]


def _clock(folder):
    """SHA-256 of the times at which the epochs ended."""
    return hashlib.sha256(repr([row.get("ended") for row in record.read_timing(folder)]).encode()).hexdigest()


def _numbers(row):
    """The numbers of a line of the history."""
    return {name: row[name] for name in _CURVES if isinstance(row.get(name), (int, float)) and not isinstance(row[name], bool) and abs(row[name]) < 1e300}
