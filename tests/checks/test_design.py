"""What the checks promise as a whole: the lesson's order and points, mistakes that can be told apart, rooms in order."""

import ast
import itertools
import json
from pathlib import Path

import pytest

from labkit import checks
from labkit.checks import loops

ROOT = Path(__file__).parents[2]
GRADE_IDS = {"SimpleCNN": "simple_cnn", "BasicBlock": "basic_block", "EarlyStopping": "early_stopping", "BestModel": "best_model"}


def test_the_exercises_stand_in_the_order_of_the_lesson():
    assert checks.names() == [
        "replace_head", "train", "test", "reset", "SimpleCNN", "BasicBlock", "make_layer", "six_runs", "draw_scaling", "pretrained_runs",
        "get_mean_std", "augment", "step_decay", "cyclic", "updates_per_epoch", "EarlyStopping", "top_k_accuracy", "per_class_accuracy", "distillation_loss",
        "objective",
        "BestModel",
    ]  # fmt: skip


def graded_cells():
    """{grade_id: points} of the test cells of the notebooks."""
    cells = [cell for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")) for cell in json.loads(path.read_text())["cells"]]
    marks = [cell["metadata"].get("nbgrader", {}) for cell in cells if cell["cell_type"] == "code"]
    return {mark["grade_id"]: mark["points"] for mark in marks if mark.get("grade") and mark.get("points")}


@pytest.mark.parametrize("todo", checks.names())
def test_points_are_those_of_the_test_cells(todo):
    start = f"test_{GRADE_IDS.get(todo, todo)}"
    points = [value for name, value in graded_cells().items() if name.startswith(start)]
    assert points and checks.judge(todo, {}).of == sum(points)


def clashes(values):
    """Names of different mistakes that give the same number."""
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(values, 2)
        if one != other and abs(a - b) <= 2 * loops.TOLERANCE * (1 + abs(a) + abs(b))
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["train", "test"])
def test_mistakes_in_the_averages_can_be_told_apart(part):
    batches = loops._simulate()[1] if part == "train" else loops._evaluate()
    share = loops._share(batches, "correct")
    accuracies = [("passed", share), *((name, value) for name, (value, _) in loops._accuracy_candidates(share, batches).items())]
    losses = [("passed", loops._weighted(batches, "loss"))]
    losses += [(name, value) for key in ("loss", "plain") for name, (value, _) in loops._loss_candidates(batches, key).items()]
    unseen = "after" if part == "test" else "nothing"  # in `test` there is no update
    assert clashes([entry for entry in accuracies if unseen not in entry[0]]) == []
    assert clashes([entry for entry in losses if unseen not in entry[0] and "integer" not in entry[0]]) == []


def test_mistakes_in_the_updates_can_be_told_apart():
    states = {"passed": loops._simulate()[0]} | {name: loops._simulate(**mistake)[0] for name, (mistake, _) in loops._TRAINING_MISTAKES.items()}
    same = [(a, b) for a, b in itertools.combinations(states, 2) if loops._same(states[a], states[b])]
    assert same == []


def test_nothing_below_the_checks_knows_of_them():
    for path in (ROOT / "labkit").glob("*.py"):
        if path.stem in ("cli", "submit"):  # the commands
            continue
        imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any("checks" in ast.unparse(node) for node in imported), path.name


def test_check_prints_the_verdict_and_returns_nothing(capsys):
    from corpus import train

    assert checks.check("train", train.the_lesson) is None
    assert checks.check("train", train.no_zero_grad) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: passed, 6 of 6 points"
    assert lines[1] == "train: not yet, 0 of 6 points [no_zero_grad]" and len(lines) == 3
