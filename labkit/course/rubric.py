"""The rubric: which checks, evidence and accuracies give how many points, and what is left to a person."""

import math
import tomllib
from dataclasses import asdict, dataclass
from importlib import resources

from labkit import checks
from labkit.course.facts import Facts, not_found
from labkit.errors import LabkitError, accepted

_KINDS = {"checks": {"checks"}, "evidence": {"evidence", "runs"}, "accuracy": {"accuracy", "notebook", "start"}, "human": {"human"}}
_UNCLEAN = ("open", "order", "error", "output")  # faults of a notebook that was not executed as it should
_ACCIDENTS = ("unreadable", "seal")  # contradictions that a lost file or another end of line makes, too
_DOUBTFUL = ("printed", "verdict", "edited")  # faults of a notebook that no slip makes
_SERIOUS = ("sandbox", "refused", "odd", "ambiguous")  # notes on a zip


@dataclass(frozen=True)
class Rule:
    """An item of the rubric. kind: "checks", "evidence", "accuracy" or "human"; settings: its other entries."""

    part: str
    kind: str
    of: float
    settings: dict

    @property
    def column(self):
        """The name of a human's item in marks.csv."""
        return f"{self.part}: {self.settings['human']}"


@dataclass(frozen=True)
class Rubric:
    """title; parts: {name: (title, rules)}; text: the file."""

    title: str
    parts: dict
    text: str

    @property
    def human(self):
        """The rules that wait for a person."""
        return [rule for _, rules in self.parts.values() for rule in rules if rule.kind == "human"]

    @property
    def measured_notebooks(self):
        """The notebooks whose runs decide over an accuracy."""
        return frozenset(rule.settings["notebook"] for _, rules in self.parts.values() for rule in rules if rule.kind == "accuracy")


@dataclass(frozen=True)
class Item:
    """What a rule gave. points: None while it waits for a person; why: the sentences that it rests on."""

    kind: str
    title: str
    points: float | None
    of: float
    why: tuple


@dataclass(frozen=True)
class Part:
    """A part of the rubric, filled. points: what is given so far; open: what waits for a person."""

    name: str
    title: str
    items: tuple

    @property
    def points(self):
        return round(sum(item.points or 0 for item in self.items), 2)

    @property
    def of(self):
        return sum(item.of for item in self.items)

    @property
    def open(self):
        return sum(item.of for item in self.items if item.points is None)


@dataclass(frozen=True)
class Result:
    """All about one student. flags: what needs a look; hints: on similarity, never a verdict; page and report: files below the folder of
    the pages, report "" without one; adjusted: points that a person added or took; comment: what he wrote.
    """

    facts: Facts
    parts: tuple
    flags: tuple = ()
    hints: tuple = ()
    page: str = ""
    report: str = ""
    adjusted: float = 0.0
    comment: str = ""

    @property
    def student(self):
        return self.facts.student

    @property
    def points(self):
        return round(sum(part.points for part in self.parts) + self.adjusted, 2)

    @property
    def of(self):
        return sum(part.of for part in self.parts)

    @property
    def open(self):
        return sum(part.open for part in self.parts)


# --- reading it ---------------------------------------------------------------------------------


def load(path=None):
    """The `Rubric` in the TOML file `path`, by default the course's own; raises `LabkitError` that names what is wrong."""
    text = _text(path)
    name = path or "the rubric"
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabkitError(f"{name} is no valid TOML ({error}); mend that line") from error
    title = content.pop("title", "")
    parts = {part: _part(name, part, entry) for part, entry in content.items()}
    if not parts:
        raise LabkitError(f"{name} has no parts; write at least one, as in labkit/course/rubric.toml")
    rubric = Rubric(str(title), parts, text)
    columns = [rule.column for rule in rubric.human]
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise LabkitError(f"{name} asks a person for {twice[0]!r} twice; give the two items different words")
    return rubric


def _text(path):
    if path is None:
        return resources.files("labkit.course").joinpath("rubric.toml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabkitError(f"the rubric {path} cannot be read ({error}); name a TOML file with --rubric") from error


def _part(name, part, entry):
    if not isinstance(entry, dict) or not isinstance(entry.get("items"), list) or not entry["items"]:
        raise LabkitError(f"{name}: part {part} has no items; write items = [{{ points = …, checks = […] }}]")
    return str(entry.get("title", part)), tuple(_rule(name, part, item) for item in entry["items"])


def _rule(name, part, item):
    where = f"{name}, part {part}"
    kinds = [kind for kind in _KINDS if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        raise LabkitError(f"{where}: an item needs exactly one of {', '.join(_KINDS)}, not {item}")
    of = item.get("points")
    if isinstance(of, bool) or not isinstance(of, (int, float)) or not 0 < of < 1e6:
        raise LabkitError(f"{where}: points must be a number above 0, not {of!r}")
    for key in item.keys() - {"points"}:
        accepted(f"entry of an item ({where})", key, sorted(_KINDS[kinds[0]]))
    settings = {key: value for key, value in item.items() if key != "points"}
    _CHECKED[kinds[0]](where, settings, of)
    return Rule(part, kinds[0], float(of), settings)


def _check_checks(where, settings, of):
    names = settings["checks"]
    if not isinstance(names, list) or not names:
        raise LabkitError(f"{where}: checks must be a list of exercises, not {names!r}")
    for exercise in names:
        accepted(f"exercise ({where})", exercise, checks.names())


def _check_evidence(where, settings, of):
    runs = settings.setdefault("runs", 0)
    if not isinstance(settings["evidence"], str) or type(runs) is not int or runs < 0:
        raise LabkitError(f'{where}: evidence must be the name of a notebook and runs a whole number, such as evidence = "06_normalization", runs = 5')


def _check_accuracy(where, settings, of):
    bands = settings["accuracy"]
    fits = isinstance(bands, list) and bands and all(isinstance(band, list) and len(band) == 2 and all(map(_is_number, band)) for band in bands)
    if not fits or not all(0 <= above < 1 and 0 <= points <= of for above, points in bands):
        raise LabkitError(f"{where}: accuracy must be a list of [accuracy below 1, points up to {of:g}], such as [[0.9, 10], [0.8, 6]]")
    if not isinstance(settings.get("notebook"), str):
        raise LabkitError(f'{where}: accuracy needs the notebook whose runs count, such as notebook = "13_best_model"')
    settings["accuracy"] = sorted(bands, reverse=True)
    start = settings.setdefault("start", ["random"])
    if not isinstance(start, list) or not all(isinstance(name, str) for name in start):
        raise LabkitError(f'{where}: start must be a list of names, such as ["random"]')


def _check_human(where, settings, of):
    words = settings["human"]
    if not isinstance(words, str) or not words.strip() or len(words) > 200 or not words.isprintable():
        raise LabkitError(f"{where}: human must say on one line what to look at")
    settings["human"] = words.strip()


def need_notebooks(rubric, names):
    """Raise `LabkitError` if the rubric asks for a notebook that is none of `names`: nobody could get these points."""
    for rule in (rule for _, rules in rubric.parts.values() for rule in rules):
        name = rule.settings.get("notebook") or rule.settings.get("evidence")
        if name is not None:
            accepted(f"notebook (the rubric's part {rule.part})", name, names)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_CHECKED = {"checks": _check_checks, "evidence": _check_evidence, "accuracy": _check_accuracy, "human": _check_human}


# --- filling it ---------------------------------------------------------------------------------


def fill(rubric, facts, marks):
    """The `Part`s for a submission's `Facts`. marks: {column: points} of what a person has entered."""
    return tuple(Part(name, title, tuple(_FILLED[rule.kind](rule, facts, marks) for rule in rules)) for name, (title, rules) in rubric.parts.items())


def _fill_checks(rule, facts, marks):
    names = rule.settings["checks"]
    found = {name: facts.findings.get(name) or asdict(not_found(name)) for name in names}
    share = sum(finding["points"] for finding in found.values()) / sum(finding["of"] for finding in found.values())
    why = tuple(_checked(name, finding) for name, finding in found.items())
    return Item("checks", ", ".join(names), _points(rule, share), rule.of, why)


def _checked(name, finding):
    gave = f"{finding['points']:g} of {finding['of']:g}"
    return f"{name}: passed, {gave}" if finding["name"] == "passed" else f"{name}: {gave} [{finding['name']}] {finding['message']}"


def _fill_evidence(rule, facts, marks):
    name, needed = rule.settings["evidence"], rule.settings["runs"]
    if name not in facts.notebooks:
        return Item("evidence", name, 0.0, rule.of, (f"there is no notebook {name}",))
    notebook = facts.notebooks[name]
    runs = [facts.runs[key] for key in notebook.runs if key in facts.runs]
    if forged := [run for run in runs if is_forged(run)]:
        return Item("evidence", name, 0.0, rule.of, tuple(map(_against, forged)))
    unclean = [sentence for kind, sentence in notebook.faults if kind in _UNCLEAN]
    sound = sum(run.sound for run in runs)
    executed, kept = not unclean, min(sound / needed, 1.0) if needed else 1.0
    why = ["executed from top to bottom"] if executed else unclean
    why += [f"{sound} sound run records, {needed} are asked for"] if needed else []
    return Item("evidence", name, _points(rule, (executed + kept) / 2 if needed else float(executed)), rule.of, tuple(why))


def is_forged(run):
    """Whether a record says what cannot be, or its weights do not reach what it claims."""
    return run.verdict == "differs" or is_impossible(run)


def is_impossible(run):
    """Whether a record says what cannot be: then it does not tell either what its network has started from and learnt with."""
    return any(kind not in _ACCIDENTS for kind, _ in run.contradictions)


def _against(run):
    """What speaks against a run, in a sentence."""
    found = "; ".join(sentence for _, sentence in run.contradictions)
    what = "says what cannot be" if is_impossible(run) else "is damaged"
    return "; ".join([f"run {run.key} {what}: {found}"] * bool(found) + [run.sentence] * (run.verdict == "differs"))


def _fill_accuracy(rule, facts, marks):
    name, start = rule.settings["notebook"], rule.settings["start"]
    cited = facts.notebooks[name].runs if name in facts.notebooks else []
    runs = [facts.runs[key] for key in cited if key in facts.runs]
    allowed = [run for run in runs if run.init in start and run.measured is not None and not is_impossible(run)]
    why = [f"run {run.key} starts from {run.init}, which does not count" for run in runs if run.init not in start]
    why += [f"{_against(run)}; it does not count" for run in runs if is_impossible(run)]
    if not allowed:
        return Item("accuracy", name, 0.0, rule.of, (*why, f"no run that {name} cites could be measured"))
    best = max(allowed, key=lambda run: run.measured)
    points = next((points for above, points in rule.settings["accuracy"] if best.measured > above), 0)
    return Item("accuracy", name, float(points), rule.of, (*why, f"run {best.key} reaches {best.measured:.4f}, measured"))


def _fill_human(rule, facts, marks):
    given = marks.get(rule.column)
    return Item("human", rule.settings["human"], given, rule.of, () if given is None else ("entered by a person",))


def _points(rule, share):
    return round(rule.of * share, 2)


_FILLED = {"checks": _fill_checks, "evidence": _fill_evidence, "accuracy": _fill_accuracy, "human": _fill_human}


# --- what needs a look --------------------------------------------------------------------------


def flags(facts):
    """Sentences on what a person should look at, the gravest first."""
    found = [f"it was not graded: {facts.failed}"] if facts.failed else []
    runs = sorted(facts.runs.values(), key=is_forged, reverse=True)
    found += [_against(run) for run in runs if run.contradictions or run.verdict == "differs"]
    found += [run.sentence for run in runs if run.verdict == "not measured"]
    found += [f"`{name}`: {finding['message']}" for name, finding in facts.findings.items() if finding["name"] == "reference"]
    found += [f"{name}: {sentence}" for name, notebook in facts.notebooks.items() for kind, sentence in notebook.faults if kind in _DOUBTFUL]
    found += [sentence for kind, sentence in facts.notes if kind in _SERIOUS]
    return tuple(dict.fromkeys(found))
