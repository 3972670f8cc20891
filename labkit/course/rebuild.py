"""A submitted notebook with the course's own checks in it: what a student did to them, or to marks, tags and points, has no say."""

from dataclasses import dataclass
from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook

from labkit.checks import notebook as reading
from labkit.course.answers import tree
from labkit.notebooks import LESSONS, find


@dataclass(frozen=True)
class Lesson:
    """A notebook of the course, without solutions. checks: {grade_id of a test cell: source of the `check` cells that belong to it};
    tests: {grade_id: source of the test cell}; questions: {grade_id: …} of the cells for written answers; figures: how many it draws.
    """

    name: str
    checks: dict
    tests: dict
    questions: tuple
    figures: int

    def is_in(self, notebook):
        """Whether a notebook holds any of its cells."""
        return any(_grade_id(cell) in (*self.tests, *self.questions) for cell in notebook.cells)


def lessons(folder):
    """{name: `Lesson`} of the course's notebooks in `folder`; raises `LabkitError`."""
    return {path.stem: _lesson(path) for path in find(Path(folder), patterns=[LESSONS])}


def _lesson(path):
    waiting, checks, tests, questions, figures = [], {}, {}, [], 0
    for cell in reading.read(path).cells:
        marks = cell.metadata.get("nbgrader", {})
        figures += number_of_figures(cell)
        if cell.cell_type == "code" and _check_spans(reading.code(cell)):
            waiting.append(cell.source)
        if marks.get("locked") and marks.get("grade"):
            checks[marks["grade_id"]], waiting = "\n".join(waiting), []
            tests[marks["grade_id"]] = cell.source
        elif marks.get("solution") and cell.cell_type == "markdown":
            questions.append(marks["grade_id"])
    return Lesson(path.stem, checks, tests, tuple(questions), figures)


def number_of_figures(cell):
    """How many figures the cell shows."""
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def rebuild(notebook, lessons):
    """The notebook to probe: the code of the submitted one without its marks and its calls of `check`, and the checks of `lessons` where
    their test cells stand, or at the end.
    """
    checks = {grade_id: source for lesson in lessons for grade_id, source in lesson.checks.items()}
    sources = []
    for cell in notebook.cells:
        grade_id = _grade_id(cell)
        if grade_id in checks:
            sources.append(checks.pop(grade_id))
        elif cell.cell_type == "code" and not _is_test(grade_id, lessons):
            sources.append(_without_checks(cell))
    sources += checks.values()
    return new_notebook(cells=[new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources, 1)])


def changes(notebook, lessons):
    """Yield (kind, sentence) of what was done to the cells of the course; kind: "edited" or "removed"."""
    found = {_grade_id(cell): cell.source for cell in reversed(notebook.cells) if _grade_id(cell)}
    for lesson in lessons:
        for grade_id, source in lesson.tests.items():
            if grade_id not in found:
                yield "removed", f"the test cell {grade_id} is not in it"
            elif found[grade_id].split() != source.split():
                yield "edited", f"the test cell {grade_id} was changed"


def written_answers(notebook, lessons):
    """{grade_id: text} of the answers to the questions of `lessons`."""
    questions = {grade_id for lesson in lessons for grade_id in lesson.questions}
    return {_grade_id(cell): cell.source for cell in reversed(notebook.cells) if cell.cell_type == "markdown" and _grade_id(cell) in questions}


def _grade_id(cell):
    """The name by which nbgrader knows the cell; None for one of the student's own."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id")
    return name if isinstance(name, str) else None


def _is_test(grade_id, lessons):
    return any(grade_id in lesson.tests for lesson in lessons)


def _without_checks(cell):
    """The source of a cell with `None` in the place of each call of `check` that stands by itself."""
    source = reading.code(cell)
    spans, content = _check_spans(source), source.encode()
    if not spans:
        return cell.source  # its magics are turned into calls inside; twice, `>>> >>> check(…)` would become one of `check`
    for start, end in reversed(spans):
        content = content[:start] + b"None" + content[end:]
    return content.decode()


def _check_spans(source):
    """The (start, end) of these calls, in bytes."""
    module = tree(source)
    if module is None:
        return []
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return [(starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset) for node in module.body if reading.check_call(node)]
