"""Read a student's answers out of a notebook without running all of it.

The answer to an exercise is what the notebook hands to `check`. Only the statements that it builds on are executed:
its own definition, the imports and constants that this one uses, and so on. No training, no other exercise.
"""

import ast
import linecache
import re
import symtable
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from labkit.errors import LabkitError

# What `labkit release` puts in the place of a solution: an exercise that is open.
STUB = "# TODO: write your code here, in place of the next line\nraise NotImplementedError"
TEXT_STUB = "*Write your answer here.*"


@dataclass
class Statement:
    """A statement of a notebook: the names that it `binds` and `uses`, and the `cell` (from 1) it stands in."""

    node: ast.stmt
    cell: int
    binds: set
    uses: set


@dataclass
class Answer:
    """What `check(todo, …)` is given, after the first `count` of all `known` statements: `load()` executes `statements` and returns the object."""

    todo: str
    notebook: Path
    expression: ast.expr
    known: list = field(repr=False)
    count: int

    @cached_property
    def statements(self):
        """The `Statement`s that the answer builds on, in their order."""
        return _needed(self.expression, self.known[: self.count])

    def load(self):
        """Execute what the answer builds on; whatever the student's code raises comes through."""
        space = {"__name__": "__main__"}
        for statement in self.statements:
            exec(compile(ast.Module([statement.node], []), _file_name(self.notebook, statement.cell), "exec"), space)
        return eval(compile(ast.Expression(self.expression), str(self.notebook), "eval"), space)


def answers(path, cells=None):
    """{exercise: `Answer`} of the notebook at `path`, in its order; raises `LabkitError` if it is no notebook.

    cells: the sources of its cells, in plain Python, where they have been read already; `path` is then no more than a name.
    """
    statements, found = [], {}
    for number, source in enumerate(map(code, read(path).cells) if cells is None else cells, 1):
        for node in _parse(source, path, number):
            if call := check_call(node):
                todo, expression = call
                found[todo] = Answer(todo, Path(path), expression, statements, len(statements))
            else:
                statements.append(Statement(node, number, *_names(node)))
    return found


def read(path, content=None):
    """The notebook at `path`, in nbformat's version 4; content: its bytes where they have been read already. Raises `LabkitError`."""
    import nbformat  # takes seconds, which the sandbox has no need to wait for

    try:
        content = Path(path).read_bytes() if content is None else content
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
        if not all(isinstance(cell.source, str) for cell in notebook.cells):
            raise TypeError("a cell whose source is no text")
        return notebook
    except Exception as error:  # json and nbformat each have their own, and a file that is none may lack anything
        raise LabkitError(f"{path} cannot be read as a notebook ({type(error).__name__}); save it again in Jupyter, or take it from the kit") from error


def printed(notebook):
    """All that the cells of the notebook have printed."""
    return "\n".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def code(cell):
    """The source of a code cell, magics turned into calls; empty for other cells, so that numbers are kept."""
    return TransformerManager().transform_cell(cell.source) if cell.cell_type == "code" else ""


def stubs(source):
    """The qualified names of the functions of `source` that are still open: in which a bare `raise NotImplementedError` is left.

    An empty name stands for one outside of all functions. One with a message does not count: it may belong to an answer.
    """
    try:
        return list(_stubs(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return [""] if _BARE_RAISE.search(source) else []


_BARE_RAISE = re.compile(r"^\s*raise NotImplementedError *(\( *\) *)?(#.*)?$", re.M)


def _stubs(node, name=""):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and ast.unparse(child) in ("raise NotImplementedError", "raise NotImplementedError()"):
            yield name
        is_scope = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        yield from _stubs(child, f"{name}.{child.name}".lstrip(".") if is_scope else name)


def _parse(source, path, number):
    """The statements of a cell. One that is no Python becomes a statement that says so where one of its names is needed."""
    name = _file_name(path, number)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for the lines in error messages
    try:
        symtable.symtable(source, name, "exec")  # for mistakes that the parser passes over, such as `global` for an argument
        return ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        return _broken(source, f"cell {number} is no valid Python: {error}")


def _file_name(path, cell):
    return f"{Path(path).name}, cell {cell}"


def _broken(source, message):
    """In place of the cell's definitions, ones that raise."""
    lines = [line.split("(")[0].split(":")[0].split() for line in source.splitlines() if line.startswith(("def ", "class "))]
    names = {words[1] for words in lines if len(words) == 2 and words[1].isidentifier()}
    return [ast.parse(f"for {name} in (0,): raise SyntaxError({message!r})").body[0] for name in sorted(names)]


def check_call(node):
    """(exercise, expression) if the statement is `check("exercise", expression)`, else None."""
    match node:
        case ast.Expr(ast.Call(ast.Name("check") | ast.Attribute(attr="check"), [ast.Constant(str(todo)), expression], [])):
            return todo, expression
    return None


def _names(node):
    """(names that the statement binds, names that it uses), both of the notebook's global names."""
    table = symtable.symtable(ast.unparse(node), "statement", "exec")
    symbols = table.get_symbols()
    binds = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    for child in table.get_children():
        uses |= _globals(child)
    return binds | _changed(node), uses


def _globals(table):
    """The global names that a function or class, and those inside it, look up when they run."""
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return own.union(*map(_globals, table.get_children()))


def _changed(node):
    """Names of objects that an assignment changes from outside: `Net.forward = forward` belongs to the definition of `Net`."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    roots = [next(part for part in ast.walk(target) if isinstance(part, ast.Name)) for target in targets if _has_name(target)]
    return {root.id for root in roots}


def _has_name(target):
    return isinstance(target, (ast.Attribute, ast.Subscript)) and any(isinstance(part, ast.Name) for part in ast.walk(target))


def _needed(expression, statements):
    """The statements, in their order, that bind what the expression uses, what these use, and so on."""
    binding = defaultdict(set)
    for i, statement in enumerate(statements):
        for name in statement.binds:
            binding[name].add(i)
    waiting, kept = {part.id for part in ast.walk(expression) if isinstance(part, ast.Name)}, set()
    while waiting:
        more = binding.pop(waiting.pop(), set()) - kept
        kept |= more
        waiting |= set().union(*(statements[i].uses for i in more)) & binding.keys()
    return [statements[i] for i in sorted(kept)]
