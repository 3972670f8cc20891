"""The class that grading is tried on holds what it says: read as a grader reads it, and judged as one judges."""

import hashlib
import re
import sys
import zipfile
from collections import Counter
from dataclasses import replace

import nbformat
import pytest
from answers import catalogue
from classroom import SLIPS, open_answer, plan, write_class, write_submission, wrong_answers

from labkit import checks
from labkit.checks.notebook import answers
from labkit.checks.status import beside, observe
from labkit.course import inbox
from labkit.course.record import contradictions
from labkit.course.weights import evaluate
from labkit.runs import cited
from labkit.submit import collect

NOTES = {  # kinds of the notes that the inbox makes on a slip; on all others none
    "no report": {"missing"},
    "moodle": {"guessed"},
}
OWN_FILES = ("BasicBlock", "make_layer", "BestModel")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What is known of a few students, among them one for each slip."""
    folder = tmp_path_factory.mktemp("class")
    return [write_submission(folder, plan(number), weights="all") for number in (0, 1, 2, 4, *range(3, 2 * len(SLIPS), 2))]


@pytest.fixture(scope="module")
def read(written, tmp_path_factory):
    """[(`Known`, `inbox.Submission`)] of the class."""
    return [(known, inbox.read(known.path, tmp_path_factory.mktemp("read") / "scratch")) for known in written]


def printed(notebook):
    return "\n".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def digest(known):
    return hashlib.sha256(known.path.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(written, tmp_path):
    again, other = [write_submission(tmp_path / "again", plan(number), weights="all") for number in range(3)], write_class(tmp_path / "other", 2, seed=1)
    assert [(digest(a), a.path.name) for a in again] == [(digest(a), a.path.name) for a in written[:3]]
    assert not {digest(a) for a in other} & {digest(a) for a in written}
    assert not {key for a in other for key in a.runs} & {key for a in written for key in a.runs}


def test_a_folder_of_runs_gives_the_same_bytes_another_time(tmp_path):
    student = replace(plan(0), hands_in_own_model=True, answers=plan(0).answers | {"BestModel": catalogue()["BestModel"][0]})
    first, second = (write_submission(tmp_path / name, student, runs=tmp_path / "runs") for name in ("first", "second"))
    assert digest(first) == digest(second) and first.own_model in first.runs


def test_a_class_has_every_slip_and_answers_of_all_kinds():
    students = [plan(number) for number in range(100)]
    assert len({student.id for student in students}) == 100
    slips = Counter(student.slip for student in students)
    assert set(slips) == {"", *SLIPS} and slips[""] == 50
    perfect = [student for student in students if all(answer.passed for answer in student.answers.values())]
    assert 40 < len(perfect) < 70 and any(not student.slip for student in perfect)
    found = Counter(answer.finding for student in students for answer in student.answers.values())
    assert found["passed"] > 1_800 and found["not_implemented"] > 10 and len(found) > 50
    assert any(student.hands_in_own_model for student in students)


def test_no_run_is_handed_in_twice(written):
    assert max(Counter(key for known in written for key in known.runs).values()) == 1


def test_the_inbox_finds_what_was_put_in(read):
    for known, submission in read:
        assert submission.student == known.student
        assert set(submission.notebooks) == set(known.cited), known.slip
        assert set(submission.sources) == {"resnet18.py", "best_model.py"} and not submission.sources["resnet18.py"].startswith("\ufeff")
        assert (submission.report is None) == (known.slip == "no report")
        assert set(submission.runs) == set(known.runs)
        assert {kind for kind, _ in submission.notes} == NOTES.get(known.slip, set()), (known.slip, submission.notes)


def test_the_cited_runs_are_the_runs_in_the_zip(read):
    for known, submission in read:
        assert {name: cited(printed(notebook)) for name, notebook in submission.notebooks.items()} == known.cited
        shown = {key for keys in known.cited.values() for key in keys}
        lacking = shown - set(submission.runs)
        assert len(lacking) == (known.slip == "missing run") and (set(submission.runs) <= shown or known.slip == "missing notebook")


def test_the_records_are_those_of_trainings(read):
    for known, submission in read:
        for key, folder in submission.runs.items():
            assert contradictions(folder) == [], (known.student, key)


def test_the_accuracies_are_the_measured_ones(read):
    for known, submission in read[:2]:
        for key, folder in submission.runs.items():
            if key != known.own_model:
                assert evaluate(folder, "shapes:200/100").measured == pytest.approx(known.runs[key], abs=1e-9)


def test_what_a_training_printed_is_in_its_record(read):
    """Figures and tables are those of the course, but no number that is printed beside a key may belong to another training."""
    epochs = 0
    for _, submission in read[:4]:
        for notebook in submission.notebooks.values():
            for text, key in re.findall(r"((?:^epoch .*\n)+)kept as run (\w+)", printed(notebook), re.M):
                history = (submission.runs[key] / "history.jsonl").read_text().splitlines()
                losses = re.findall(r"train loss (\S+)", text)
                assert len(losses) == len(history) and all(f'"train_loss": {loss[:4]}' in row for loss, row in zip(losses, history))
                epochs += len(losses)
    assert epochs


COMPLAINTS = {  # what `labkit submit` misses in a submission with the slip
    "no report": "there is no report",
    "out of order": "it was executed as number",
    "error": "it stopped with NameError",
    "missing run": "is not in",
}


def test_labkit_submit_misses_nothing_but_what_is_open_and_the_slip(written, tmp_path, monkeypatch):
    for known in written:
        if known.slip in ("", "byte order mark", "other alphabet", "moodle", "missing notebook", *COMPLAINTS):
            monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / known.student / "runs"))
            complaints = collect(known.student, unpacked(known, tmp_path / known.student)).missing
            rest = [sentence for sentence in complaints if "is still open" not in sentence]
            assert len(rest) == (known.slip in COMPLAINTS) and all(COMPLAINTS[known.slip] in sentence for sentence in rest), rest
            assert (len(rest) < len(complaints)) == ("not_implemented" in known.findings.values())


def unpacked(known, folder):
    with zipfile.ZipFile(known.path) as archive:
        archive.extractall(folder)
    return folder


def as_files(submission, folder):
    """The notebooks and Python files of a submission as the inbox has read them, in a folder."""
    folder.mkdir()
    for name, notebook in submission.notebooks.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, text in submission.sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.glob("*.ipynb"))


def findings(paths):
    """{exercise: the name of what is found} in notebooks that stand in one folder."""
    for name in ("resnet18", "best_model"):
        sys.modules.pop(name, None)  # the one of another student
    with beside(paths[0]):
        return {todo: checks.judge(todo, observe(answer)).name for path in paths for todo, answer in answers(path).items()}


@pytest.mark.parametrize("slip", ["one notebook", "other alphabet", "byte order mark"])
def test_the_answers_get_the_findings_that_are_known(read, tmp_path, slip):
    known, submission = next(pair for pair in read if pair[0].slip == slip)
    assert findings(as_files(submission, tmp_path / "notebooks")) == known.findings


def test_every_exercise_can_be_left_open_and_answered_wrongly(tmp_path):
    for kind in ("open", "wrong"):
        answers = {todo: open_answer(todo) if kind == "open" else wrong_answers(todo)[0] for todo in checks.names()}
        student = replace(plan(0), answers=answers, hands_in_own_model=False)  # there is none
        known = write_submission(tmp_path / kind, student)
        submission = inbox.read(known.path, tmp_path / kind / "scratch")
        assert findings(as_files(submission, tmp_path / kind / "notebooks")) == known.findings
        assert set(known.findings) == set(checks.names()) and "passed" not in known.findings.values()
        shown = dict(re.findall(r"^(\w+): not yet.*\[(\w+)\]$", "\n".join(map(printed, submission.notebooks.values())), re.M))
        assert shown == known.findings
