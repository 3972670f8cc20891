"""The pages that `labkit grade` writes: one for each student, and the index of the class.

Nearly every text in them comes from a submission. It is escaped, cut, and freed of signs that cannot be seen wherever it is put
out; the Content-Security-Policy of a page forbids it to load anything, or to run anything but the script of ours.
"""

import base64
import hashlib
import posixpath
import statistics
from collections import Counter
from functools import cache, partial
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from labkit import archive
from labkit.course import figures
from labkit.course.untrusted import in_bytes, shown
from labkit.plots import COLORS, PARTS

_MOST_CURVES = 12
_SENTENCE, _TEXT, _LINES = 600, 20_000, 500  # characters of a sentence; characters and lines of a longer text


def write_student(result, folder):
    """Write the page of one student to `folder`/result.page; raises `LabkitError` if that cannot be done.

    result: a `labkit.course.rubric.Result`, whose `page` and `report` are named from `folder`, that of the index.
    """
    runs = _ordered(result.facts.runs)
    with_history = [run for run in runs if run.history]
    content = {
        "result": result,
        "facts": result.facts,
        "runs": runs,
        "curves": [(run, _image(figures.curves(run.history)), _last_epoch(run.history)) for run in with_history[:_MOST_CURVES]],
        "not_drawn": len(with_history[_MOST_CURVES:]),
        "claims": _claims(runs),
        "parts": {name: COLORS[part] for part, name in PARTS.items() if any(f"{part}_loss" in run.history[0] for run in with_history)},
    }
    _write(Path(folder), result.page, "student.html.jinja", **content)


def write_index(results, folder, about):
    """Write the page of the class to `folder`/index.html; raises `LabkitError` if that cannot be done.

    results: a `labkit.course.rubric.Result` for each student. about: {title: value}, in words, how they were graded.
    """
    parts = {part.name: part.title for result in results for part in result.parts}
    content = {
        "results": results,
        "about": about,
        "parts": parts,
        "parts_of": partial(_parts, names=list(parts)),
        "twice": _twice([result.student for result in results]),
        "histogram": _histogram(results),
        "measured": _best_measured,
    }
    _write(Path(folder), "index.html", "grades.html.jinja", script=_own("pages.js"), **content)


def _write(folder, page, template, script="", **content):
    style = _own("pages.css")
    link = partial(_link, start=posixpath.dirname(page))
    text = _templates().get_template(template).render(style=style, script=script, policy=_policy(style, script), link=link, **content)
    archive.write_file(folder / page, text)


@cache
def _own(name):
    """A file of this folder, which stands in a page as it is."""
    return Markup(resources.files("labkit.course").joinpath(name).read_text(encoding="utf-8"))


def _policy(style, script):
    """Everything is forbidden but embedded pictures, and the very style and script that are given."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return f"default-src 'none'; img-src data:; style-src {_hash(style)}; {scripts}base-uri 'none'; form-action 'none'"


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _link(target, start):
    """The address of `target` in a page of the folder `start`: always a relative one, whatever signs are in it."""
    return quote(posixpath.relpath(target, start or "."))


def _image(svg):
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode())


# --- what the pages show --------------------------------------------------------------------------


def _ordered(runs):
    """First the measured ones, then those that something speaks against."""
    return sorted(runs.values(), key=lambda run: (run.measured is None, run.sound, run.key))


def _last_epoch(history):
    """Curves in words."""
    row = history[-1]
    held = [(name, row.get(f"{part}_loss"), row.get(f"{part}_acc")) for part, name in PARTS.items() if f"{part}_loss" in row]
    values = [f"{name} loss {_number(loss)}, accuracy {_accuracy(accuracy)}" for name, loss, accuracy in held]
    return f"Loss and accuracy over {len(history):,} epochs. At the end: {'; '.join(values)}."


def _claims(runs):
    """(picture, what it shows) of all runs that were measured; None without any."""
    pairs = [(run.claimed, run.measured, run.verdict == "agrees") for run in runs if _is_share(run.claimed) and _is_share(run.measured)]
    if not pairs:
        return None
    agree = sum(agrees for *_, agrees in pairs)
    return _image(figures.claims(pairs)), f"Measured against claimed test accuracy of {len(pairs)} runs: {agree} agree, {len(pairs) - agree} differ."


def _histogram(results):
    """(picture, what it shows, its middle and ends) of the points of a class; None without any."""
    points, of = [result.points for result in results if _is_finite(result.points)], max((result.of for result in results), default=0)
    if not points:
        return None
    steps = figures.bins(points, of)
    counts = ", ".join(f"{_number(low)} to {_number(high)}: {count}" for low, high, count in steps if count)
    middle = f"Median {_number(statistics.median(points))}, mean {_number(statistics.fmean(points))}"
    ends = f"from {_number(min(points))} to {_number(max(points))} of {_number(of)} points"
    return _image(figures.histogram(steps)), f"Students by points, {counts}.", f"{middle}, {ends}."


def _parts(result, names):
    """The parts of a result in the order of `names`, None for one that it lacks."""
    own = {part.name: part for part in result.parts}
    return [own.get(name) for name in names]


def _twice(students):
    """Those who handed in more than once: their names alone do not tell the submissions apart."""
    return {student for student, number in Counter(students).items() if number > 1}


def _best_measured(facts):
    return max((run.measured for run in facts.runs.values() if _is_share(run.measured)), default=None)


# --- how it is put out ----------------------------------------------------------------------------


@cache
def _templates():
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("labkit.course", ""), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_put_out,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"number": _number, "accuracy": _accuracy, "text": _text, "bytes": in_bytes, "share": _share, "sortable": _sortable}
    return made


def _put_out(value):
    """What stands between {{ and }}, before it is escaped; only what was made here is `Markup`."""
    return shown(value, _SENTENCE) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(text):
    """A text of several lines, escaped."""
    lines = str(text)[:_TEXT].expandtabs(4).splitlines()
    cut = [f"… ({len(text):,} characters in all)"] if len(text) > _TEXT or len(lines) > _LINES else []
    return Markup("\n").join(escape(shown(line, _TEXT)) for line in lines[:_LINES] + cut)


def _number(value):
    """With two digits behind the point where they are needed; a dash for what is no number."""
    return f"{round(value, 2):.6g}" if _is_finite(value) else "–"


def _accuracy(value):
    return f"{value:.4f}" if _is_share(value) else "–"


def _sortable(value):
    """For the script that sorts; empty for what is no number."""
    return f"{value:.12g}" if _is_finite(value) else ""


def _share(value, of):
    """Percent of `of`, from 0 to 100, for the length of a bar."""
    return round(min(100, max(0, 100 * value / of)), 1) if _is_finite(value) and _is_finite(of) and of > 0 else 0


def _is_finite(value):
    return isinstance(value, (int, float)) and abs(value) < 1e300  # an int may be longer than a float


def _is_share(value):
    return _is_finite(value) and 0 <= value <= 1
