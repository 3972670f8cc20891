"""The source notebooks, their solutions, and how these fit into the stubs of the kit."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from labkit import notebooks
from labkit.checks.notebook import STUB

ROOT = Path(__file__).parents[1]
SOURCES = notebooks.paths(ROOT / "notebooks")
LESSONS = notebooks.paths(ROOT / "notebooks", notebooks.LESSONS)  # those with exercises
LECTURES = notebooks.paths(ROOT / "notebooks", notebooks.LECTURES)
REGION = re.compile(r"^ *### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION$", re.S | re.M)
_STUB = re.compile("\n".join(rf" *{re.escape(line)}" for line in STUB.split("\n")))


@dataclass(frozen=True)
class Solution:
    """What stands in the place of one stub. function: the qualified name of the one that it completes; text: with its markers."""

    function: str
    text: str


def solutions(source):
    """The `Solution`s of a cell or file, from top to bottom."""
    return [Solution(_function_around(source, match.start()), match[0]) for match in REGION.finditer(source)]


def _function_around(source, position):
    """Its qualified name: `SimpleCNN.forward`."""
    line = source[:position].count("\n") + 1
    around = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "body") and getattr(node, "lineno", line + 1) <= line <= node.end_lineno]
    return ".".join(node.name for node in around if isinstance(node, (ast.ClassDef, ast.FunctionDef)))


def put_back(stub, solution):
    """The text with the first open stub replaced; fails if there is none."""
    text, count = _STUB.subn(lambda match: solution.text, stub, count=1)
    assert count == 1, f"no stub is left for {solution.function}"
    return text


def solved(stub, source):
    """The text of the stub with all solutions of the source put back."""
    for solution in solutions(source):
        stub = put_back(stub, solution)
    return stub


def solved_notebook(kit_path, source_path):
    """The notebook of the kit with the solutions of the source put back, code and written answers."""
    notebook, source = nbformat.read(kit_path, as_version=4), nbformat.read(source_path, as_version=4)
    answers = {cell.metadata.nbgrader.grade_id: cell.source for cell in source.cells if is_solution(cell)}
    for cell in notebook.cells:
        if is_solution(cell):
            answer = answers[cell.metadata.nbgrader.grade_id]
            cell.source = solved(cell.source, answer) if cell.cell_type == "code" else answer
    return notebook


def is_solution(cell):
    return cell.metadata.get("nbgrader", {}).get("solution", False)
