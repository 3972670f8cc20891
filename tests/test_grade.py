"""A class is graded by one command: rightly, the same each time, whatever is killed in between, and beside whatever is handed in."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from classroom import DATA, open_answer, plan, write_submission
from sentences import one_sentence
from solutions import ROOT
from waiting import wait_until

from labkit import cli
from labkit.course import grade, measure, rebuild, rubric, workers
from labkit.course.facts import Facts
from labkit.course.grade import Plan, choose_box
from labkit.course.measure import Setting
from labkit.course.sandbox import Limits, Unsafe

LESSONS = ("02", "06")
RUBRIC = """
title = "two notebooks"
[code]
items = [{ points = 10, checks = ["train", "test", "reset", "get_mean_std"] }]
[normalization]
items = [{ points = 4, evidence = "06_normalization", runs = 5 }, { points = 3, human = "the answers" }]
[accuracy]
items = [{ points = 5, accuracy = [[0.01, 5]], notebook = "06_normalization" }]
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The notebooks of a short course, and its rubric beside them."""
    folder = tmp_path_factory.mktemp("course")
    for path in (ROOT / "notebooks").iterdir():
        if path.suffix == ".py" or (path.name.startswith(LESSONS) and path.suffix == ".ipynb"):
            shutil.copy(path, folder)
    (folder / "rubric.toml").write_text(RUBRIC)
    return folder


@pytest.fixture(scope="module")
def students():
    """One without a fault, and one who left two exercises open."""
    right, other = [plan(number) for number in range(40) if plan(number).slip == "" and all(answer.passed for answer in plan(number).answers.values())][:2]
    return [right, replace(other, answers=other.answers | {todo: open_answer(todo) for todo in ("train", "get_mean_std")})]


@pytest.fixture(scope="module")
def submissions(tmp_path_factory, students):
    folder = tmp_path_factory.mktemp("submissions")
    known = [write_submission(folder, student, lessons=LESSONS) for student in students]
    (folder / "notes.txt").write_text("of the TA")
    (folder / "late.rar").write_bytes(b"Rar!")
    return folder, known


def arguments(submissions, course, out, *more):
    places = ["--out", str(out), "--notebooks", str(course), "--rubric", str(course / "rubric.toml")]
    return ["grade", str(submissions), *places, "--data", DATA, "--device", "cpu", "--jobs", "2", *more]


def table(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def files(out):
    """{name: bytes} of all that is written for a person."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and ".measured" not in path.parts}


@pytest.fixture(scope="module")
def graded(submissions, course, tmp_path_factory):
    """(folder, what the command printed) of the class, graded once, with what works here as a sandbox."""
    out = tmp_path_factory.mktemp("grades")
    return out, call(arguments(submissions[0], course, out, *box_options()))


def box_options():
    """On a machine without a sandbox the rest can still be tried: these submissions are our own."""
    try:
        choose_box()
    except grade.LabkitError:
        return ["--unsafe"]
    return []


def call(words, expected=0, **variables):
    process = subprocess.run([sys.executable, "-m", "labkit.cli", *words], capture_output=True, text=True, env=os.environ | variables, timeout=300)
    assert process.returncode == expected, process.stderr[-3000:]
    return process.stdout


def facts_of(graded):
    """{student: what was kept about the submission}."""
    kept = [json.loads(path.read_text()) for path in (graded[0] / ".measured").glob("*.json")]
    return {facts["student"]: facts for facts in kept if "student" in facts}


# --- what comes out -------------------------------------------------------------------------------


def test_every_exercise_gets_its_finding_and_every_run_its_accuracy(graded, submissions):
    for known in submissions[1]:
        facts = facts_of(graded)[known.student]
        handed_in = {todo: facts["findings"][todo]["name"] for todo in known.findings}
        assert handed_in == known.findings and len(handed_in) == 4
        assert {finding["name"] for todo, finding in facts["findings"].items() if todo not in known.findings} == {"not_found"}
        assert {key: run["claimed"] for key, run in facts["runs"].items()} == known.runs
        measured = {key: run["measured"] for key, run in facts["runs"].items() if run["verdict"] != "not asked"}
        assert measured and measured.items() <= known.runs.items()
        assert not any(run["contradictions"] for run in facts["runs"].values()) and facts["notes"] == []


def test_points_are_those_of_the_rubric(graded, submissions):
    rows = table(graded[0] / "grades.csv")
    right, lazy = [rows[known.student] for known in submissions[1]]
    assert [right[name] for name in ("code", "normalization", "accuracy", "points", "of", "open", "flags")] == ["10", "4", "5", "19", "22", "3", "0"]
    assert (lazy["code"], lazy["normalization"]) == (f"{round(10 * (4 + 4) / 19, 2):g}", "2")  # an open stub: not as after one clean execution


def test_a_page_a_report_and_a_row_for_each(graded, submissions):
    out, printed = graded
    assert (
        {path.stem for path in (out / "students").iterdir()}
        == {path.stem for path in (out / "reports").iterdir()}
        == {known.student for known in submissions[1]}
    )
    assert set(table(out / "marks.csv")) == {known.student for known in submissions[1]}
    assert "2 submissions graded, 0 need a look" in printed and "2 wait for a person's marks" in printed
    assert "not graded, as they are no zips: late.rar" in printed


def again(graded, course, submissions, **changes):
    """Grade once more in this process, where nothing may be measured; returns the results by student."""
    out, folder = graded[0], changes.pop("folder", submissions[0])
    setting = Setting(rebuild.lessons(course), DATA, choose_box("unsafe" if box_options() else None), frozenset({"06_normalization"}), device="cpu")
    chosen = changes.pop("rubric", rubric.load(course / "rubric.toml"))
    return grade.grade(Plan(folder, changes.pop("out", out), course, replace(setting, **changes), chosen))


@pytest.fixture
def no_worker(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("something was measured again")

    monkeypatch.setattr(workers, "_Worker", refuse)


def test_a_second_call_measures_nothing_and_takes_marks_in(graded, submissions, course, no_worker):
    out = graded[0]
    student = submissions[1][0].student
    text = (out / "marks.csv").read_text("utf-8-sig")
    line = next(line for line in text.splitlines() if line.startswith(student))
    (out / "marks.csv").write_text(text.replace(line, f"{student},2.5,-1,=well done"), "utf-8-sig")
    try:
        result = next(result for result in again(graded, course, submissions) if result.student == student)
        assert (result.points, result.open, result.adjusted, result.comment) == (19 + 2.5 - 1, 0, -1, "=well done")
        assert "well done" in (out / result.page).read_text() and table(out / "grades.csv")[student]["comment"] == "'=well done"
    finally:
        (out / "marks.csv").write_text(text, "utf-8-sig")
        again(graded, course, submissions)


def test_marks_that_are_entered_while_it_grades_stay(graded, submissions, course, no_worker, monkeypatch):
    out, student = graded[0], submissions[1][0].student
    text = (out / "marks.csv").read_text("utf-8-sig")
    line = next(line for line in text.splitlines() if line.startswith(student))
    entered = text.replace(line, f"{student},2.5,-1,fine") + "999,,,not here\n"

    def measured(*arguments):
        (out / "marks.csv").write_text(entered, "utf-8-sig")
        return iter(())

    try:
        with monkeypatch.context() as patched:
            patched.setattr(grade, "measured", measured)
            result = next(result for result in again(graded, course, submissions) if result.student == student)
        assert (result.adjusted, result.comment) == (-1, "fine")
        assert {"2.5", "not here"} <= {cell for line in (out / "marks.csv").read_text("utf-8-sig").splitlines() for cell in line.split(",")}
    finally:
        (out / "marks.csv").write_text(text, "utf-8-sig")
        again(graded, course, submissions)


def test_another_rubric_measures_nothing_either(graded, submissions, course, no_worker, tmp_path):
    (tmp_path / "rubric.toml").write_text("[a]\nitems = [{ points = 1, checks = ['test'] }]")
    shutil.copytree(graded[0], tmp_path / "out")
    results = again(graded, course, submissions, out=tmp_path / "out", rubric=rubric.load(tmp_path / "rubric.toml"))
    assert [(result.points, result.of) for result in results] == [(1, 1)] * 2


def test_other_images_another_zip_or_another_setting_are_measured(graded, submissions, course, no_worker, tmp_path):
    shutil.copytree(graded[0], tmp_path / "out")
    for changes in ({"data": "shapes:200/50"}, {"measure": "all"}, {"tolerance": 0.1}, {"lessons": {}}):
        with pytest.raises(AssertionError, match="measured again"):
            again(graded, course, submissions, out=tmp_path / "out", **changes)


def test_two_zips_of_one_student_are_both_graded_and_flagged(graded, submissions, course, no_worker, tmp_path):
    shutil.copytree(graded[0], tmp_path / "out")
    shutil.copytree(submissions[0], tmp_path / "in")
    first = submissions[1][0]
    (tmp_path / "in" / "again").mkdir()
    shutil.copy(first.path, tmp_path / "in" / "again")
    results = [result for result in again(graded, course, submissions, out=tmp_path / "out", folder=tmp_path / "in") if result.student == first.student]
    assert [result.page for result in results] == [f"students/{first.student}.html", f"students/{first.student}.2.html"]
    assert all(result.flags[0] == f"{first.path.name} is a submission of {first.student}, too" for result in results)


# --- what is killed -------------------------------------------------------------------------------


def test_what_was_measured_before_kill_9_is_kept_and_the_grades_are_the_same(graded, submissions, course, tmp_path):
    words = arguments(submissions[0], course, tmp_path, "--jobs", "1", *box_options())
    process = subprocess.Popen([sys.executable, "-m", "labkit.cli", *words], stdout=subprocess.DEVNULL, start_new_session=True)
    first = wait_until(lambda: list((tmp_path / ".measured").glob("*.json")), seconds=120)[0]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = first.stat().st_mtime_ns
    call([*words, "--jobs", "2"])
    assert first.stat().st_mtime_ns == kept and files(tmp_path) == files(graded[0])


def test_ctrl_c_writes_the_pages_of_what_was_measured(graded, submissions, course, tmp_path, monkeypatch, capsys):
    kept = {known.path: Facts.from_dict(facts_of(graded)[known.student]) for known in submissions[1]}

    def interrupted(paths, *others):
        yield paths[0], kept[paths[0]]
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "measured", interrupted)
    assert cli.main(arguments(submissions[0], course, tmp_path, *box_options())) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert len(table(tmp_path / "grades.csv")) == len(list((tmp_path / "students").iterdir())) == 1


class Deadly(Unsafe):
    """A box that ends or holds up the process that grades, where the submission says so."""

    def run(self, command, files, readonly=None):
        if b"KILL" in files.get("resnet18.py", b""):
            os.kill(os.getpid(), signal.SIGKILL)
        if b"SLEEP" in files.get("resnet18.py", b""):
            time.sleep(600)
        if b"RAISE" in files.get("resnet18.py", b""):
            raise RuntimeError("a fault that nobody foresaw")
        return super().run(["/bin/true"], {})


def test_a_submission_that_ends_its_process_costs_itself_alone(course, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for student, word in {"1": "KILL", "2": "SLEEP", "3": "", "4": "RAISE", "5": ""}.items():
        with zipfile.ZipFile(tmp_path / "in" / f"{student}_lab3.zip", "w") as archive:
            archive.writestr("resnet18.py", word)
    setting = Setting({}, DATA, Deadly(Limits()), device="cpu")
    plan = Plan(tmp_path / "in", tmp_path / "out", course, setting, rubric.load(course / "rubric.toml"), jobs=2, seconds=4)
    results = grade.grade(plan)
    assert [result.facts.failed for result in results] == [
        "the process that graded it ended (SIGKILL)", "it took longer than 4 seconds", "", "RuntimeError: a fault that nobody foresaw", "",
    ]  # fmt: skip
    assert [result.flags for result in results if not result.facts.failed] == [(), ()]
    assert len(list((tmp_path / "out" / ".measured").glob("*.json"))) == 3  # two submissions and the list of pages
    kept = {plan.submissions / result.facts.zip: result.facts for result in results}
    tried = []
    monkeypatch.setattr(grade, "measured", lambda paths, *others: tried.extend(paths) or ((path, kept[path]) for path in paths))
    assert [result.facts.failed for result in grade.grade(plan)] == [result.facts.failed for result in results]
    assert [path.name for path in tried] == ["1_lab3.zip", "2_lab3.zip", "4_lab3.zip"], "what failed is tried again"


def test_another_notebook_for_the_accuracy_measures_anew_only_where_it_decides(graded, submissions, course, no_worker):
    again(graded, course, submissions, accuracy=frozenset({"02_train_test_loops"}))
    with pytest.raises(AssertionError, match="measured again"):
        again(graded, course, submissions, measure="accuracy")


def test_what_is_known_is_kept_when_the_time_for_weights_is_used_up(course, submissions):
    setting = Setting(rebuild.lessons(course), DATA, choose_box("unsafe" if box_options() else None), device="cpu")
    facts = measure.measure(grade.find(submissions[0])[0], setting, seconds=0)
    known = next(known for known in submissions[1] if known.student == facts.student)
    assert {todo: facts.findings[todo]["name"] for todo in known.findings} == known.findings
    verdicts = {(run.verdict, run.measured) for run in facts.runs.values()}
    assert ("not measured", None) in verdicts and verdicts <= {("not measured", None), ("not asked", None)}
    assert any("the time for one submission is used up" in flag for flag in rubric.flags(facts))


# --- wrong use ------------------------------------------------------------------------------------


def sentence(capsys, *words):
    """What the command says about wrong use, in one line."""
    assert cli.main(["grade", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("labkit: ")
    return error


def test_wrong_use_is_one_sentence_each(capsys, course, submissions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    fine = ["--unsafe", "--notebooks", str(course), "--rubric", str(course / "rubric.toml"), "--data", DATA, "--out", "out"]
    assert "there is no folder nowhere" in sentence(capsys, "nowhere", *fine)
    assert "there is no zip in empty" in sentence(capsys, "empty", *fine)
    assert "accepted: accuracy, best, all" in sentence(capsys, "empty", *fine, "--measure", "some")
    assert "the rubric none.toml cannot be read" in sentence(capsys, "empty", *fine, "--rubric", "none.toml")
    Path("other.toml").write_text('[a]\nitems = [{ points = 1, evidence = "06_normalisation" }]')
    assert "unknown notebook (the rubric's part a) '06_normalisation' (did you mean '06_normalization'?)" in sentence(
        capsys, "empty", *fine, "--rubric", "other.toml"
    )
    assert "no numbered notebooks in empty" in sentence(capsys, "empty", "--unsafe", "--notebooks", "empty", "--out", "out")
    assert "device=tpu cannot be used" in sentence(capsys, "empty", *fine, "--device", "tpu")
    for tolerance in ("nan", "-1", "1"):
        assert f"--tolerance is {tolerance}; give a number from 0" in sentence(capsys, "empty", *fine, f"--tolerance={tolerance}")
    assert "unknown dataset 'cifar'" in sentence(capsys, str(submissions[0]), *fine[:-4], "--data", "cifar", "--out", "out")
    (tmp_path / "file").touch()
    assert "cannot write to file" in sentence(capsys, "empty", *fine[:-1], "file")


def test_marks_that_cannot_be_stop_it_before_anything_is_measured(submissions, course, tmp_path, no_worker):
    (tmp_path / "marks.csv").write_text("student,normalization: the answers\n111,many\n")
    with one_sentence("'many'", "enter a number"):
        again((tmp_path,), course, submissions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marks.csv"]


def test_without_a_sandbox_it_refuses_and_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with one_sentence("there is no sandbox for the students' code", "bubblewrap", "docker", "--unsafe"):
        choose_box()
    with one_sentence("docker is missing"):
        choose_box("docker")


def test_the_ways_to_measure_are_those_that_are_documented():
    text = (ROOT / "docs" / "grading.md").read_text()
    assert all(f"`{way}`" in text or f"--measure {way}" in text for way in measure.MEASURES)
    assert Path(rubric.__file__).with_name("rubric.toml").is_file() and "labkit/course/rubric.toml" in text
