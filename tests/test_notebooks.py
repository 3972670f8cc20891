"""What every notebook must hold, whatever its topic: markers, metadata, stored outputs, and its parts."""

import ast
import re

import nbformat
import pytest
from solutions import LECTURES, LESSONS, SOURCES

from labkit.runs import cited

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


def headings(path):
    """Those of its parts."""
    return [match for cell in cells(path, "markdown") for match in re.findall(r"^## (.+)$", cell.source, re.M)]


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def graded(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if "nbgrader" in cell.metadata]


def is_ignored(cell):
    return "nbval-ignore-output" in cell.metadata.get("tags", [])


@each(SOURCES)
def test_it_is_valid_and_its_cells_have_stable_ids(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells] == [f"{path.stem[:2]}-{number:02d}" for number in range(1, len(notebook.cells) + 1)]


@each(SOURCES)
def test_it_was_executed_from_top_to_bottom_without_an_error(path):
    assert [cell.execution_count for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    assert not [output for cell in cells(path) for output in cell.outputs if output.output_type == "error" or output.get("name") == "stderr"]


@each(SOURCES[1:])
def test_every_notebook_that_trains_shows_its_runs(path):
    """By what it printed it is known which runs belong to it, when it is handed in."""
    assert cited("".join(output.get("text", "") for cell in cells(path) for output in cell.outputs))


@each(LESSONS[1:])
def test_every_lesson_that_trains_ends_with_the_loss_and_the_accuracy_on_test_images(path):
    tables = [output.get("data", {}).get("text/plain", "") + output.get("text", "") for cell in cells(path)[-12:] for output in cell.outputs]
    assert any(re.search("test[ _]loss", table) and re.search("test[ _]acc|test, other seeds", table) for table in tables)


@each(SOURCES)
def test_cells_whose_output_is_not_compared_are_followed_by_one_that_asserts(path):
    pairs = zip(cells(path), [*cells(path)[1:], None])
    ends = [after for cell, after in pairs if is_ignored(cell) and not (after and is_ignored(after))]
    assert ends and all(after and "assert" in after.source for after in ends)


@each(SOURCES)
def test_only_cells_with_an_output_are_left_out_of_the_comparison(path):
    assert all(cell.outputs for cell in cells(path) if is_ignored(cell))


@each(SOURCES)
def test_solutions_are_marked_in_solution_cells_and_nowhere_else(path):
    for cell in cells(path):
        is_solution = cell.metadata.get("nbgrader", {}).get("solution", False)
        assert cell.source.count(BEGIN) == cell.source.count(END)
        assert (BEGIN in cell.source) == is_solution


@each(SOURCES)
def test_a_solution_cell_keeps_its_signature_when_the_solution_is_cut_out(path):
    for cell in cells(path):
        if cell.metadata.get("nbgrader", {}).get("solution"):
            stub = re.sub(rf"( *){BEGIN}.*?{END}", r"\1raise NotImplementedError", cell.source, flags=re.S)
            (definition,) = ast.parse(stub).body
            assert isinstance(definition, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(definition)


@each(SOURCES)
def test_nbgrader_metadata_is_complete_and_unique(path):
    metadata = [cell.metadata.nbgrader for cell in graded(path)]
    assert len({entry.grade_id for entry in metadata}) == len(metadata)
    for entry in metadata:
        assert entry.schema_version == 3 and entry.task is False
        assert entry.locked == (not entry.solution)
        assert entry.get("points", 0) > 0 or not entry.grade


@each(LESSONS)
def test_every_exercise_says_its_time_and_difficulty_and_offers_a_hint(path):
    exercises = [cell.source for cell in cells(path, "markdown") if re.search(r"^## Exercise", cell.source, re.M)]
    assert exercises
    for text in exercises:
        assert re.search(r"^## Exercise \d+ · .+\(\d+ min, [●○]{3}\)$", text, re.M)
        assert "<details><summary>Hint" in text


@each(LESSONS)
def test_it_ends_with_discussion_and_recap(path):
    assert headings(path)[-2:] == ["Discussion", "Recap"]


@each(LECTURES)
def test_a_lecture_asks_for_nothing_and_ends_with_a_recap(path):
    assert not graded(path) and not [cell.source for cell in cells(path) if BEGIN in cell.source or cell.source.startswith("check(")]
    assert headings(path)[-1] == "Recap" and "Discussion" not in headings(path)


@each(LECTURES)
def test_a_lecture_explains_how_to_read_each_of_its_figures(path):
    """After each figure, and before the next part, stands what to read in it."""
    text = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            text += "[figure]"
        elif cell.cell_type == "markdown":
            text += cell.source
    for part in text.split("\n## "):
        assert "**What to read.**" in part.rpartition("[figure]")[2] or "[figure]" not in part


@each(SOURCES)
def test_it_shows_figures_and_stays_small(path):
    figures = [output for cell in cells(path) for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(figures) >= 2
    assert path.stat().st_size < 1_000_000


@each(SOURCES)
def test_its_code_fits_the_width_of_a_page(path):
    assert [line for cell in cells(path) for line in cell.source.splitlines() if len(line) > 104] == []
