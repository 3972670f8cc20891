"""The catalogue of tests/checks/corpus as text: what a student who answers so has in a cell or a file."""

import ast
import copy
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from textwrap import indent

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from labkit.checks.notebook import answers

CORPUS = Path(__file__).parent / "checks" / "corpus"
METHODS = {"make_layer": "ResNet18"}  # exercises that ask for a method, and its class
_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Answer:
    """What a student writes for an exercise, called `name` in the catalogue, and the `finding` that it must get.

    statements: the definition of that name and all that it builds on.
    """

    todo: str
    name: str
    finding: str
    statements: tuple = field(repr=False, compare=False)

    @property
    def passed(self):
        return self.finding == "passed"

    def put_into(self, source, known=()):
        """`source`, of a cell or file, with this answer in the place of its definition of the exercise.

        known: names that are there already, of imports and constants that need not be repeated.
        """
        own = next(node for node in self.statements if getattr(node, "name", None) == self.name)
        before = [node for node in self.statements if node is not own and not _repeats(node, known)]
        return replace_definition(source, self.todo, ast.unparse(_renamed(own, self.todo)), "\n".join(map(ast.unparse, before)))


@cache
def catalogue():
    """{exercise: its `Answer`s}, in the order of the corpus: those that are functions or classes, as students write them."""
    read = [_read(path) for path in sorted(CORPUS.glob("[!_]*.py"))]
    return {found[0].todo: found for found in read}


def _read(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    todo = next(node.args[0].value for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "catalogue")
    # A method is answered by a function; a whole class in the place of ResNet18 would leave nothing of the file.
    kinds = ast.FunctionDef if todo in METHODS else _DEFINITIONS
    findings = {node.name: finding for node in tree.body if isinstance(node, kinds) and (finding := _take_finding(node))}
    found = _with_what_they_need(tree, findings)
    return [Answer(todo, name, finding, tuple(statement.node for statement in found[name].statements)) for name, finding in findings.items()]


def _take_finding(node):
    """What the decorator of an answer says that must be found, and the decorator taken off; None if it has none."""
    for decorator in node.decorator_list:
        match decorator:
            case ast.Name("right"):
                finding = "passed"
            case ast.Call(ast.Name("wrong"), [ast.Constant(finding)]):
                pass
            case _:
                continue
        node.decorator_list.remove(decorator)
        return finding
    return None


def _with_what_they_need(tree, names):
    """{name: labkit's own `Answer`} of the definitions in a module, found as in a notebook that checks each of them."""
    cells = [ast.unparse(tree), *(f'check("{name}", {name})' for name in names)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.ipynb"
        nbformat.write(new_notebook(cells=list(map(new_code_cell, cells))), path)
        return answers(path)


def replace_definition(source, todo, text, before=""):
    """`source` with `text` in the place of its definition of the exercise, and `before` ahead of the statement that this is in."""
    outer, inner = _places(source, todo)
    lines = source.split("\n")
    lines[_first_line(inner) - 1 : inner.end_lineno] = indent(text, " " * inner.col_offset).split("\n")
    lines[_first_line(outer) - 1 : _first_line(outer) - 1] = [before, "", ""] if before else []
    return "\n".join(lines)


def definition(source, todo):
    """The text of the definition of the exercise in `source`, as far to the left as it goes."""
    _, inner = _places(source, todo)
    lines = source.split("\n")[_first_line(inner) - 1 : inner.end_lineno]
    return "\n".join(line[inner.col_offset :] for line in lines)


def _places(source, todo):
    """(the statement of `source` that defines the exercise, the definition in it)."""
    outer = _named(ast.parse(source), METHODS.get(todo, todo))
    return outer, _named(outer, todo) if todo in METHODS else outer


def _named(parent, name):
    return next(node for node in parent.body if isinstance(node, _DEFINITIONS) and node.name == name)


def _first_line(node):
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def bound(source):
    """The names that the imports and assignments of `source` bind."""
    return set().union(*map(_bound, ast.parse(source).body))


def _bound(node):
    if isinstance(node, _IMPORTS):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign):
        return {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return set()


def _repeats(node, known):
    return isinstance(node, (*_IMPORTS, ast.Assign)) and _bound(node) <= set(known)


def _renamed(node, name):
    """A copy of a definition under another name, also where it speaks of itself."""
    node = copy.deepcopy(node)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == node.name:
            part.id = name
    node.name = name
    return node
