"""What a submitted notebook shows is held against what can be, and its checks are the course's own."""

import ast
import copy
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from solutions import ROOT

from labkit import checks
from labkit.checks import notebook as reading
from labkit.checks.todo import Finding
from labkit.course import evidence
from labkit.course.facts import RunFacts
from labkit.course.inbox import parse_notebook
from labkit.course.rebuild import changes, lessons, rebuild, written_answers

COURSE = lessons(ROOT / "notebooks")
NAME, LESSON = "06_normalization", COURSE["06_normalization"]
KEY = "0123456789abcdef"
ROWS = [{"epoch": n, "lr": 0.001, "train_loss": 2 / n, "train_acc": 0.1 * n, "valid_loss": 2.1 / n, "valid_acc": 0.09 * n} for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def source():
    return (ROOT / "notebooks" / f"{NAME}.ipynb").read_bytes()


@pytest.fixture
def notebook(source):
    """The course's own notebook as a student hands it in, executed from top to bottom."""
    notebook = parse_notebook(source)
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook


def cell_of(notebook, grade_id):
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def calls(notebook):
    """[(exercise, expression)] of what the rebuilt notebook checks, as labkit reads it."""
    found = [reading.check_call(node) for cell in notebook.cells for node in _statements(reading.code(cell))]  # as it is read inside
    return [(call[0], ast.unparse(call[1])) for call in found if call]


def _statements(source):
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


# --- rebuilt ---------------------------------------------------------------------------------------


def test_every_exercise_belongs_to_one_lesson_and_no_solution_is_in_one():
    checked = re.findall(r'check\("(\w+)"', " ".join(source for lesson in COURSE.values() for source in lesson.checks.values()))
    assert sorted(checked) == sorted(checks.names())
    assert "SOLUTION" not in repr(COURSE) and all(lesson.questions and lesson.tests for lesson in COURSE.values())


def test_the_checks_stand_where_their_test_cells_stood_and_all_other_cells_stay(notebook):
    rebuilt = rebuild(notebook, [LESSON])
    assert calls(rebuilt) == [("get_mean_std", "get_mean_std")]
    assert not any(cell.metadata or cell.get("outputs") for cell in rebuilt.cells) and not nbformat.validate(rebuilt)
    place = next(number for number, cell in enumerate(rebuilt.cells) if "check(" in cell.source)
    assert any("def get_mean_std" in cell.source for cell in rebuilt.cells[:place])
    assert any("Study(" in cell.source for cell in rebuilt.cells[place:])


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells.append(new_code_cell('check("get_mean_std", lambda *a: 1)')),
        lambda nb: nb.cells.insert(0, new_code_cell('x = 1; check("get_mean_std", "é"); y = 2')),
        lambda nb: nb.cells.append(new_code_cell('labkit.checks.check("get_mean_std",\n    None,\n)')),
        lambda nb: cell_of(nb, "test_get_mean_std").update(source='check("get_mean_std", other)'),
        lambda nb: cell_of(nb, "test_get_mean_std").update(cell_type="markdown"),
        lambda nb: nb.cells.remove(cell_of(nb, "test_get_mean_std")),
        lambda nb: nb.cells.append(copy.deepcopy(cell_of(nb, "test_get_mean_std"))),
        lambda nb: cell_of(nb, "test_get_mean_std").metadata.nbgrader.update(points=1000, locked=False, grade=False),
        lambda nb: cell_of(nb, "get_mean_std").metadata.update(tags=["nbval-skip", "skip-execution"]),
        lambda nb: nb.cells.append(new_code_cell('this is no python\ncheck("get_mean_std", 3)')),
        lambda nb: nb.cells.append(new_markdown_cell('check("get_mean_std", 3)')),
        lambda nb: nb.cells.append(new_code_cell('>>> >>> check("get_mean_std", 3)')),
    ],
    ids=["added", "on one line", "on many", "edited", "other type", "removed", "twice", "points", "skip tag", "no Python", "text", "prompts"],
)
def test_what_a_student_does_to_checks_marks_and_tags_has_no_say(notebook, change):
    change(notebook)
    assert calls(rebuild(notebook, [LESSON])) == [("get_mean_std", "get_mean_std")]


def test_the_rest_of_a_line_with_a_check_stays(notebook):
    notebook.cells.insert(0, new_code_cell('größe = "é"; check("get_mean_std", 1); y = 2'))
    assert rebuild(notebook, [LESSON]).cells[0].source == 'größe = "é"; None; y = 2\n'


def test_one_notebook_may_hold_several_lessons(notebook):
    rebuilt = rebuild(notebook, [COURSE["02_train_test_loops"], LESSON])
    assert [todo for todo, _ in calls(rebuilt)] == ["get_mean_std", "train", "test", "reset"]
    assert LESSON.is_in(notebook) and not COURSE["02_train_test_loops"].is_in(notebook)


def test_changed_and_missing_test_cells_are_named(notebook):
    assert list(changes(notebook, [LESSON])) == []
    cell_of(notebook, "test_get_mean_std").source += "\n\n"
    assert list(changes(notebook, [LESSON])) == []  # editors do that
    cell_of(notebook, "test_get_mean_std").source = "pass"
    assert list(changes(notebook, [LESSON])) == [("edited", "the test cell test_get_mean_std was changed")]
    notebook.cells.remove(cell_of(notebook, "test_get_mean_std"))
    assert list(changes(notebook, [LESSON])) == [("removed", "the test cell test_get_mean_std is not in it")]


def test_written_answers_are_found(notebook):
    answers = written_answers(notebook, [LESSON])
    assert list(answers) == ["discussion_normalization"] and answers["discussion_normalization"].startswith("1. To 0.2470.")


# --- evidence --------------------------------------------------------------------------------------


def run_facts(**changes):
    return {KEY: RunFacts(**{"key": KEY, "history": ROWS} | changes)}


def lines(rows, cited=KEY):
    epochs = [
        f"epoch {row['epoch']}/3  lr {row['lr']:.2e}  train loss {row['train_loss']:.4f} acc {row['train_acc']:.4f}  "
        f"valid loss {row['valid_loss']:.4f} acc {row['valid_acc']:.4f}  2.1 s\n"
        for row in rows
    ]
    return "".join(epochs) + (f"kept as run {cited}\n" if cited else "")


def show(notebook, text):
    """A last cell that printed `text`."""
    count = max(cell.execution_count for cell in notebook.cells if cell.cell_type == "code") + 1
    notebook.cells.append(new_code_cell("run(base)", execution_count=count, outputs=[new_output("stream", text=text)]))


def faults(notebook, runs=None, findings=None):
    return evidence.examine(notebook, [LESSON], runs or {}, findings or {})


def own(notebook):
    """Forget the runs that the course's notebook cites."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = re.sub(r"kept as run.*", "", output["text"])
    return notebook


def test_an_honest_notebook_has_no_fault(notebook):
    show(own(notebook), lines(ROWS))
    assert faults(notebook, run_facts()) == []
    assert evidence.cited_runs(notebook) == [KEY]


@pytest.mark.parametrize(
    "text",
    [
        lines(ROWS[1:]),  # it went on after the first epoch
        f"kept as run {KEY}\n",
        lines(ROWS, None) + lines([row | {"train_loss": 9.0} for row in ROWS], None) + lines(ROWS),  # others before it
        "epoch of great trainings\n" + lines(ROWS),
        lines([row | {"train_loss": 9.0} for row in ROWS], "0" * 16) + lines(ROWS),
    ],
    ids=["resumed", "not trained", "several", "words", "another run"],
)
def test_what_an_honest_training_prints_agrees_with_its_record(notebook, text):
    show(own(notebook), text)
    assert [kind for kind, _ in faults(notebook, run_facts()) if kind != "uncited"] == []


@pytest.mark.parametrize("name", ["lr", "train_loss", "train_acc", "valid_loss", "valid_acc"])
def test_printed_numbers_that_the_record_does_not_hold_are_named(notebook, name):
    show(own(notebook), lines([ROWS[0], ROWS[1] | {name: 0.777}, ROWS[2]]))
    place = len(notebook.cells)
    assert faults(notebook, run_facts()) == [("printed", f"cell {place} prints an epoch 2 of run {KEY} that its history.jsonl does not have")]


def test_an_epoch_that_the_record_does_not_hold_is_named(notebook):
    show(own(notebook), lines([*ROWS, ROWS[2] | {"epoch": 4}]))
    assert "an epoch 4 of run" in faults(notebook, run_facts())[0][1]


def test_runs_that_were_not_handed_in_are_named(notebook):
    show(own(notebook), lines(ROWS))
    assert faults(notebook) == [("uncited", f"it cites run {KEY}, which was not handed in")]


def test_figures_that_were_deleted_are_missed(notebook):
    for cell in own(notebook).cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if "image/png" not in output.get("data", {})]
    assert faults(notebook) == [("output", f"it shows 0 figures, the course's own has {LESSON.figures}")] and LESSON.figures > 3


def test_a_verdict_that_is_another_one_now_is_named(notebook):
    failing = {"get_mean_std": Finding("mean_of_stds", "…", 0, 5)}
    assert faults(own(notebook), findings=failing) == [("verdict", "it shows `get_mean_std` as passed, found now: mean_of_stds")]
    assert faults(notebook, findings={"get_mean_std": Finding("passed", "passed", 5, 5)}) == []


def test_the_order_of_execution_open_stubs_and_errors_are_named(notebook):
    own(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[3].execution_count = 40
    code[5].outputs = [new_output("error", ename="ValueError", evalue="x", traceback=[])]
    cell_of(notebook, "get_mean_std").source = "def get_mean_std(dataset, ratio=0.3):\n    raise NotImplementedError"
    cell_of(notebook, "discussion_normalization").source = reading.TEXT_STUB
    assert {kind for kind, _ in faults(notebook)} == {"open", "unanswered", "order", "error"}


def test_of_many_faults_some_are_said(notebook):
    own(notebook)
    for number in range(500):
        show(notebook, f"kept as run {KEY[:-3]}{number:03d}\n")
    found = faults(notebook)
    assert len(found) == 6 and found[-1] == ("uncited", "and 495 more of this kind")


def test_histories_that_hold_no_numbers_break_nothing(notebook):
    show(own(notebook), lines(ROWS))
    for history in ([], [{}], [{"epoch": 1}], [{"epoch": 1, "train_loss": 2.0}]):
        assert isinstance(faults(notebook, run_facts(history=history)), list)
