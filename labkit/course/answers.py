"""The answers in a submission as texts: of each exercise, the functions and classes that were written for it."""

import ast
import re
from itertools import takewhile
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

import labkit
from labkit import checks
from labkit.checks import notebook as reading
from labkit.notebooks import LESSONS, find

MOST = 500_000  # characters of code in the notebooks of a submission, and in its modules; all of the course has a third of it
_MAGIC = re.compile(r"^([ \t]*)[%!].*", re.M)
NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python's parser raises


def answer_sources(notebooks, sources):
    """{exercise: source text} of the answers in a submission; nothing of it is executed.

    notebooks: {stem: parsed notebook}; sources: {name.py: text}, as in `labkit.course.inbox.Submission`. An answer is what a
    notebook hands to `check`, with the functions and classes that it builds on, as they stand there: with comments, without imports
    and constants, and without what is the answer to another exercise. That of `check("BasicBlock", scratch.BasicBlock)` stands in the
    module that the notebook imports as `scratch`. An exercise whose answer is nowhere to be found is left out.
    """
    files = [_File(stem, cells) for stem, cells in _within_limit({stem: _cells(notebooks[stem]) for stem in sorted(notebooks)})]
    asking = {todo: file for file in reversed(files) for todo in file.answers if todo in checks.names()}
    names = {todo: _name(file.answers[todo].expression) for todo, file in asking.items()}
    calls = [f'check("{todo}", {name})' for todo, name in names.items() if name]
    modules = [_File(name, [*cells, *calls]) for name, cells in _within_limit({name: [sources[name]] for name in sorted(sources)})]
    texts = {todo: _first_text(todo, [file, *_in_order_of_import(modules, file.answers[todo])], names) for todo, file in asking.items()}
    return {todo: texts[todo] for todo in checks.names() if texts.get(todo)}


def own_answers(folder):
    """{exercise: source text} of the course's own solutions, with their markers; folder: that of the solved notebooks.

    Raises `LabkitError` where there are none.
    """
    solved = {path.stem: nbformat.read(path, as_version=4) for path in find(folder, patterns=[LESSONS])}
    return answer_sources(solved, {path.name: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.py")})


def package_answers():
    """{exercise: source text} of what the package itself has under the names of exercises, such as `labkit.loops.train`."""
    asking = new_notebook(cells=[new_code_cell(f'check("{todo}", {todo})') for todo in checks.names()])
    home = Path(labkit.__file__).parent
    modules = {str(path.relative_to(home)): path for path in home.rglob("*.py") if path.relative_to(home).parts[0] not in ("checks", "course")}
    return answer_sources({"": asking}, {name: path.read_text(encoding="utf-8") for name, path in modules.items()})


def tree(source):
    """The syntax tree of a text; None for what is no Python."""
    try:
        return ast.parse(source)
    except NO_PYTHON:
        return None


def lines(source):
    """The lines of a text as Python counts them, which is not how `str.splitlines` does."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class _File:
    """A notebook or a module. cells: its texts; answers: {exercise: `labkit.checks.notebook.Answer`} of the `check` calls in them."""

    def __init__(self, name, cells):
        self.name, self.cells = name, cells
        try:
            self.answers = reading.answers(name, cells)
        except NO_PYTHON:
            self.answers = {}

    def text(self, todo, name, others):
        """The lines of the definitions that the answer builds on; "" if `name` is not defined here."""
        statements = self.answers[todo].statements if todo in self.answers else []
        written = [statement for statement in statements if _is_definition(statement, name, others)]
        if not any(name in statement.binds for statement in written):
            return ""
        return "\n".join(self._lines_of(number, written) for number in sorted({statement.cell for statement in written}))

    def _lines_of(self, number, written):
        cell = self.cells[number - 1]
        if tree(cell) is None:  # then the statements are not those of the cell
            return cell
        text = lines(cell)
        kept = {line for statement in written if statement.cell == number for line in _extent(statement.node, text)}
        return "\n".join(text[line] for line in sorted(kept))


def _within_limit(texts):
    """(name, cells) of the files before the limit: to read them takes a time in proportion to their length."""
    left = MOST
    for name, cells in texts.items():
        left -= sum(map(len, cells))
        if left >= 0:
            yield name, cells


def _cells(notebook):
    return [_plain(cell.source) if cell.cell_type == "code" else "" for cell in notebook.cells]


def _plain(source):
    """The cell, with `pass` in the place of magics: IPython, which turns these into calls, takes minutes where a cell is made for that."""
    return source if tree(source) else _MAGIC.sub(r"\1pass", source)


def _name(expression):
    """The name of what is handed in: `ResNet18` of `scratch.ResNet18`; "" where it has none."""
    match expression:
        case ast.Name(name) | ast.Attribute(attr=name) | ast.Call(ast.Name(name) | ast.Attribute(attr=name)):
            return name
    return ""


def _first_text(todo, files, names):
    others = set(names.values()) - {names[todo]}
    return next((text for file in files if (text := file.text(todo, names[todo], others))), "")


def _in_order_of_import(modules, answer):
    """The modules that the answer's notebook imports for it, then the rest."""
    parts = [part for statement in answer.statements for part in ast.walk(statement.node)]
    imported = {alias.name for part in parts if isinstance(part, ast.Import) for alias in part.names}
    imported |= {part.module for part in parts if isinstance(part, ast.ImportFrom)}
    return sorted(modules, key=lambda module: module.name.removesuffix(".py") not in imported)


def _is_definition(statement, name, others):
    if isinstance(statement.node, (ast.Import, ast.ImportFrom)):
        return False
    is_function = isinstance(statement.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return name in statement.binds or (is_function and not statement.binds & others)


def _extent(node, text):
    """The lines (from 0) of a statement: with the comments above it, and those below that are indented as its end is."""
    first, end = min(part.lineno for part in (node, *getattr(node, "decorator_list", []))) - 1, node.end_lineno
    above = takewhile(lambda line: text[line].startswith("#"), range(first - 1, -1, -1))
    below = takewhile(lambda line: re.match(r"\s+#", text[line]), range(end, len(text)))
    return [*above, *range(first, end), *below]
