"""`labkit status`: every exercise as open, failing or passed, with its points."""

import os
import shutil
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkit import checks
from labkit.checks.guard import run_scene
from labkit.checks.notebook import answers
from labkit.checks.todo import Finding
from labkit.errors import LabkitError
from labkit.notebooks import LESSONS, find

SECONDS = 60  # of processor time, for what an answer builds on: imports may take a while, a training must not


@dataclass(frozen=True)
class Standing:
    """How an exercise stands. notebook: the file's name without its ending; state: "open", "failing" or "passed"."""

    todo: str
    notebook: str
    finding: Finding

    @property
    def state(self):
        return {"passed": "passed", "not_implemented": "open", "not_found": "open"}.get(self.finding.name, "failing")


def examine(folder):
    """Yield the `Standing` of every exercise of the notebooks in `folder`, one after the other; raises `LabkitError`."""
    missing = checks.names()
    for path in map(Path.absolute, find(folder, patterns=[LESSONS])):
        with beside(path):
            for todo, answer in _readable_answers(path).items():
                if todo in missing:
                    missing.remove(todo)
                    yield Standing(todo, path.stem, _judge(answer))
    for todo in missing:
        message = f'no notebook has a cell `check("{todo}", …)`; take the cell from the kit again'
        yield Standing(todo, "", Finding("not_found", message, 0, checks.points(todo)))


def _readable_answers(path):
    try:
        return answers(path)
    except LabkitError as error:
        print(f"{path.stem}\n  {error}")
        return {}


def _judge(answer):
    return checks.judge(answer.todo, observe(answer))


def observe(answer):
    """What `checks.probe` sees of an `Answer` from a notebook; where its own cell already fails, how."""
    loaded = []
    outcome = run_scene(lambda: loaded.append(answer.load()), seconds=SECONDS)
    return checks.probe(answer.todo, loaded[0]) if loaded else {"look": outcome}


@contextmanager
def beside(path):
    """Stand in the notebook's folder, as its kernel does, on the small data."""
    folder, paths, environment = Path.cwd(), list(sys.path), dict(os.environ)
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent.absolute()))
    os.environ.update(LABKIT_PROFILE="smoke", LABKIT_PROGRESS="off")
    os.environ.pop("LABKIT_DATA", None)
    try:
        yield
    finally:
        os.chdir(folder)
        sys.path[:] = paths
        os.environ.clear()
        os.environ.update(environment)


def show(standings):
    """Print the standings as they come, by notebook, and the sum of the points."""
    notebook, seen = None, []
    for standing in standings:
        if standing.notebook != notebook:
            notebook = standing.notebook
            print(notebook or "in no notebook")
        print(_line(standing), flush=True)
        seen.append(standing)
    points, of = (sum(getattr(standing.finding, name) for standing in seen) for name in ("points", "of"))
    print(f"\n{points:g} of {of:g} points{_next(seen)}")


def _line(standing):
    finding = standing.finding
    line = f"  {standing.state:<8} {standing.todo:<22} {finding.points:>4g} of {finding.of:g}"
    if standing.state == "passed" or finding.name == "not_implemented":
        return line
    width = min(shutil.get_terminal_size().columns, 100)
    return f"{line}  [{finding.name}]\n" + textwrap.fill(finding.message, width, initial_indent=" " * 11, subsequent_indent=" " * 11)


def _next(standings):
    first = next((standing for standing in standings if standing.state != "passed"), None)
    return f"; next: {first.todo}" + (f" in {first.notebook}" if first.notebook else "") if first else ", all of them"
