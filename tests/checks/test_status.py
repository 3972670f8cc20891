"""`labkit status`: answers read out of notebooks in any state, and what the student is told about each."""

import ast
import os
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sentences import one_sentence

from labkit import checks, cli, notebooks
from labkit.checks import notebook, status
from labkit.errors import LabkitError

RIGHT = "def replace_head(model, num_classes, dropout=0.0):\n    linear = nn.Linear(model.fc.in_features, num_classes)\n"
RIGHT += "    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear\n    return model"
STUB = "def replace_head(model, num_classes, dropout=0.0):\n    raise NotImplementedError"
SIGNATURE = STUB.split("\n")[0]
CHECK = 'check("replace_head", replace_head)'


@pytest.fixture
def write(tmp_path):
    """`write(cell, …)` makes the notebook 01_one of these cells and returns its path; texts that begin with # are markdown."""

    def write(*cells, name="01_one"):
        made = [new_markdown_cell(text) if text.startswith("#") else new_code_cell(text) for text in cells]
        nbformat.write(new_notebook(cells=made), tmp_path / f"{name}.ipynb")
        return tmp_path / f"{name}.ipynb"

    return write


def standing(path, todo="replace_head"):
    """The `Standing` of one exercise of the notebook's folder."""
    return next(found for found in status.examine(path.parent) if found.todo == todo)


# --- what an answer builds on -------------------------------------------------------------------


def kept(path, todo="replace_head"):
    """The sources of the statements that are executed to get the answer, in order."""
    return [ast.unparse(statement.node) for statement in notebook.answers(path)[todo].statements]


def test_only_what_the_answer_builds_on_is_executed(write):
    path = write(
        "from torch import nn\nfrom labkit.checks import check\nprint('hello')",
        "# text",
        "DROPOUT = HALF = 0.5\nepochs = 100",
        "model = train_for_hours(epochs)",
        "def head(n):\n    model = n * 2\n    return nn.Linear(4, HALF)",
        f"{SIGNATURE}\n    return head(num_classes)",
        CHECK,
    )
    assert [line.split("\n")[0] for line in kept(path)] == [
        "from torch import nn", "DROPOUT = HALF = 0.5", "def head(n):", SIGNATURE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "definition",
    [
        "class Net:\n    size = SIZE\nNet.forward = lambda self: SIZE",
        "class Net:\n    def forward(self):\n        def inner():\n            return SIZE\n        return inner",
        "if SIZE > 1:\n    class Net:\n        pass\nelse:\n    Net = None",
        "try:\n    import nothing_of_this_name\nexcept ImportError:\n    Net = [SIZE for _ in range(3)]",
        "Net = None\nwith open('x') as file:\n    Net = {}\nNet['size'] = SIZE",
        "for Net in (SIZE, 2):\n    pass",
        "Net: int = SIZE\nNet += 1",
        "(Net, other), *rest = (SIZE, 1), 2",
        "def decorate(function):\n    return function\n@decorate\ndef Net(size=SIZE):\n    pass",
        "import os.path as Net, sys\nNet.size = SIZE",
        "def Net():\n    return later\nlater = SIZE",
    ],
)
def test_every_kind_of_definition_is_found_with_what_it_uses(write, definition):
    path = write("SIZE = 3\nunused = 4", definition, 'check("replace_head", Net)')
    assert "SIZE = 3" in kept(path) and "unused = 4" not in kept(path)
    assert len(kept(path)) >= 1 + definition.count("\nNet") + definition.count("\nlater")


def test_magics_are_left_out_and_cells_keep_their_numbers(write):
    path = write("%load_ext autoreload\n%autoreload 2\n!ls\nfrom torch import nn", "# text", f"{SIGNATURE}\n    1 / 0", CHECK)
    finding = standing(path).finding
    assert finding.name == "raises" and "ZeroDivisionError: division by zero at `1 / 0`" in finding.message


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "state", "name", "words"),
    [
        (("from torch import nn", RIGHT, CHECK), "passed", "passed", ""),
        ((STUB, CHECK), "open", "not_implemented", ""),
        (("from torch import nn", RIGHT.replace("dropout > 0", "dropout < 0"), CHECK), "failing", "dropout_ignored", "Dropout"),
        ((RIGHT, CHECK), "failing", "raises", "NameError: name 'nn' is not defined"),
        ((CHECK,), "failing", "raises", "name 'replace_head' is not defined"),
        ((f"{SIGNATURE[:-1]}\n    return", CHECK), "failing", "raises", "cell 1 is no valid Python: expected ':'"),
        (("replace_head = 3", CHECK), "failing", "not_callable", "int"),
        (("replace_head = 1 / 0", CHECK), "failing", "raises", "division by zero"),
        (("import sys\nreplace_head = sys.exit()", CHECK), "failing", "raises", "SystemExit"),
        (("from torch import nn", RIGHT), "open", "not_found", 'no notebook has a cell `check("replace_head", …)`'),
    ],
)
def test_states(write, cells, state, name, words):
    found = standing(write(*cells))
    assert (found.state, found.finding.name) == (state, name), found.finding.message
    assert words in found.finding.message
    assert found.finding.points == (found.finding.of if state == "passed" else found.finding.points) <= found.finding.of


def test_what_the_answer_builds_on_may_not_take_for_ever(write, monkeypatch):
    monkeypatch.setattr(status, "SECONDS", 0.3)
    found = standing(write("while True:\n    replace_head = 1", CHECK))
    assert found.finding.name == "timeout"


def test_an_answer_in_a_file_beside_the_notebook(write, tmp_path, monkeypatch):
    (tmp_path / "own_heads_for_status.py").write_text(f"from torch import nn\n\n{RIGHT}\n")
    monkeypatch.chdir("/")
    assert standing(write("import own_heads_for_status as own", 'check("replace_head", own.replace_head)')).state == "passed"


def test_surroundings_are_as_before(write):
    before = os.getcwd(), list(sys.path), dict(os.environ)
    standing(write("import os, sys\nos.environ['MESS'] = '1'\nsys.path.append('mess')\nos.chdir('/')\nfrom torch import nn", RIGHT, CHECK))
    assert (os.getcwd(), list(sys.path), dict(os.environ)) == before


# --- the command ----------------------------------------------------------------------------------


def test_the_command_lists_everything_and_sums_up(write, capsys):
    path = write("from torch import nn", RIGHT, CHECK)
    write("def train(dataloader, model, loss_fn, optimizer):\n    raise NotImplementedError", 'check("train", train)', name="02_two")
    write("this is no notebook", name="02_two-Copy1").write_text("copies that Jupyter makes are not looked at")
    assert cli.main(["status", "--notebooks", str(path.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["01_one", "  passed   replace_head              8 of 8", "02_two", "  open     train                     0 of 6"]
    total = sum(checks.judge(todo, {}).of for todo in checks.names())
    assert lines[-1] == f"8 of {total:g} points; next: train in 02_two"
    assert sum(line.startswith("  open") for line in lines) == len(checks.names()) - 1


def test_a_failing_exercise_is_shown_with_its_finding_in_lines_that_fit(write, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    path = write("from torch import nn", RIGHT.replace("return model", "return model.fc"), CHECK)
    assert cli.main(["status", "--notebooks", str(path.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  failing  replace_head") and lines[1].endswith("]")
    assert lines[2].startswith(" " * 11) and max(map(len, lines[2:4])) <= 60


def test_a_damaged_notebook_is_named_and_the_others_are_read(write, capsys):
    path = write("from torch import nn", RIGHT, CHECK)
    write(name="02_broken").write_text('{"cells": [')
    assert cli.main(["status", "--notebooks", str(path.parent)]) == 0
    out = capsys.readouterr().out
    assert "passed   replace_head" in out and "02_broken.ipynb cannot be read as a notebook" in out and "take it from the kit" in out


def test_no_notebooks_is_one_sentence(tmp_path, capsys):
    with one_sentence("there are no numbered notebooks in"):
        list(status.examine(tmp_path))
    assert cli.main(["status", "--notebooks", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_notebooks_are_found_by_the_beginning_of_their_names(write, tmp_path):
    for name in ("01_a", "02_b", "10_c", "draft", "02_b-Copy1"):
        write(name=name)
    assert [path.stem for path in notebooks.find(tmp_path)] == ["01_a", "02_b", "10_c"]
    assert [path.stem for path in notebooks.find(tmp_path, ["10", "01"])] == ["01_a", "10_c"]
    with pytest.raises(LabkitError, match="no notebook starts with '07'; accepted: 01_a, 02_b, 10_c"):
        notebooks.find(tmp_path, ["07"])
