"""Handing in: every missing thing has its line, nothing is followed out of its folder, and the zip holds what it says, byte for byte."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sentences import one_sentence
from solutions import ROOT, solved_notebook
from test_cli import run_cli

from labkit import limits, printing, submit
from labkit.archive import write_zip
from labkit.course import execute, release
from labkit.runs import RECORD, WEIGHTS, Experiment, RunStore, run

RUN = (*RECORD, WEIGHTS)
ID, NAME = "111063548", "111063548_lab3"
TINY = {"data": "shapes:100/20", "model": "SimpleCNN", "batch_size": 20, "epochs": 1}
PDF = b"%PDF-1.4\nnot much\n%%EOF\n"
ANSWER = "def replace_head(model, num_classes, dropout=0.0):\n    return model"
STUB = "def replace_head(model, num_classes, dropout=0.0):\n    # TODO: write your code here, in place of the next line\n    raise NotImplementedError"
AGAIN = "in Jupyter choose Kernel > Restart Kernel and Run All Cells, then save"
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="making a link takes a right that not every user has")
needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="the browser of the test is a shell script")


def marks(name, **changes):
    return {"nbgrader": {"grade": False, "grade_id": name, "locked": False, "schema_version": 3, "solution": True, "task": False} | changes}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with one finished run."""
    store = RunStore(tmp_path_factory.mktemp("trained"))
    return run_tiny(store)


def run_tiny(store, **changes):
    return run(Experiment(**TINY | changes), store, device="cpu", verbose=False)


class Course:
    """A finished course of one notebook, one run and a report, in the folder `notebooks` of the working folder."""

    def __init__(self, key):
        self.folder, self.key = Path("notebooks"), key
        self.runs = self.folder / "runs"
        self.notebook = new_notebook(
            cells=[
                new_markdown_cell("# 01 · One"),
                new_code_cell(ANSWER, metadata=marks("replace_head"), execution_count=1),
                new_code_cell('check("replace_head", replace_head)', execution_count=2),
                new_code_cell("run(…)", execution_count=3, outputs=[new_output("stream", text=f"epoch 1/1\nkept as run {key}\n")]),
                new_markdown_cell("1. Because.", metadata=marks("discussion", grade=True, points=3)),
            ]
        )

    def save(self, name="01_one.ipynb"):
        nbformat.write(self.notebook, self.folder / name)

    def collect(self, **options):
        return submit.collect(ID, self.folder, **options)

    def missing(self, **options):
        return self.collect(**options).missing


@pytest.fixture
def course(tmp_path, monkeypatch, trained):
    monkeypatch.delenv("LABKIT_RUNS")
    monkeypatch.chdir(tmp_path)
    made = Course(trained.key)
    made.folder.mkdir()
    made.save()
    shutil.copytree(trained.path, made.runs / trained.key)
    (made.folder / f"{NAME}.pdf").write_bytes(PDF)
    return made


def entries(path):
    """{name: bytes} of a zip."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and len(archive.namelist()) == len(set(archive.namelist()))
        return {name: archive.read(name) for name in archive.namelist()}


# --- what is handed in ------------------------------------------------------------------------------


def test_a_finished_course_is_handed_in_byte_for_byte(course, capsys):
    status, out, _ = run_cli(capsys, "submit", "--id", ID)
    content = entries(f"{NAME}.zip")
    record = {f"runs/{course.key}/{name}": (course.runs / course.key / name).read_bytes() for name in RUN}
    assert status == 0 and content == {"01_one.ipynb": (course.folder / "01_one.ipynb").read_bytes(), f"{NAME}.pdf": PDF} | record
    lines = out.splitlines()
    assert lines[0].startswith("- no notebook here asks for train, test, reset, ") and "replace_head" not in lines[0]
    assert lines[1:3] == [f"- the report is notebooks{os.sep}{NAME}.pdf", f"1 notebook, 1 run, {os.path.getsize(f'{NAME}.zip') / 1e6:.1f} MB"]
    assert lines[3:] == [f"your submission is {Path(f'{NAME}.zip').absolute()}: hand in this file"]


def test_weights_are_those_of_the_best_run_of_each_notebook_unless_all_are_asked_for(course, capsys):
    """A course of runs in the lab profile has gigabytes of weights."""
    store = RunStore(course.runs)
    runs = {run.key: run for run in [run_tiny(store, lr=lr) for lr in (1e-2, 1e-5, 1e-6)]}
    first, second, third = sorted(runs, key=lambda key: -runs[key].result["test_acc"])
    for name, keys in {"02_two.ipynb": (second, first), "03_three.ipynb": (second, third), "04_four.ipynb": (first,)}.items():
        course.notebook.cells[3].outputs = [new_output("stream", text="".join(f"kept as run {key}\n" for key in keys))]
        course.save(name)

    def weights():
        return {name.split("/")[1] for name in entries(f"{NAME}.zip") if name.endswith(WEIGHTS)}

    assert run_cli(capsys, "submit", "--id", ID)[0] == 0 and weights() == {course.key, first, second}
    assert all(f"runs/{third}/{name}" in entries(f"{NAME}.zip") for name in RECORD)
    assert run_cli(capsys, "submit", "--id", ID, "--weights", "all")[0] == 0 and weights() == {course.key, first, second, third}
    with one_sentence("weights", "'some'", "best, all"):
        course.collect(weights="some")


def test_the_same_work_gives_the_same_bytes(course, capsys, trained):
    assert run_cli(capsys, "submit", "--id", ID)[0] == 0
    before = Path(f"{NAME}.zip").read_bytes()
    shutil.rmtree(course.runs)
    shutil.copytree(trained.path, course.runs / trained.key, copy_function=shutil.copyfile)  # with other times and rights
    os.utime(course.folder / "01_one.ipynb", (1e9, 1e9))
    assert run_cli(capsys, "submit", "--id", ID, "--out", "elsewhere/deep")[0] == 0
    assert Path("elsewhere/deep", f"{NAME}.zip").read_bytes() == before
    assert {info.date_time for info in zipfile.ZipFile(f"{NAME}.zip").infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_one_report_notebook_stands_for_the_numbered_ones(course):
    (course.folder / "01_one.ipynb").rename(course.folder / f"{NAME}.ipynb")
    found = course.collect()
    assert found.missing == [] and set(found.notebooks) == {f"{NAME}.ipynb"} and found.runs == [course.key]


def test_a_report_notebook_beside_the_numbered_ones_is_no_numbered_one(course):
    course.save(f"{NAME}.ipynb")  # an id is a number, too
    found = course.collect()
    assert found.missing == [] and list(found.notebooks) == ["01_one.ipynb", f"{NAME}.ipynb"]


def test_copies_that_jupyter_makes_and_what_else_lies_there_stay_out(course):
    course.notebook.cells[1].execution_count = 7
    course.save("01_one-Copy1.ipynb")
    (course.folder / "secret.txt").write_text("mine")
    (course.folder / "unused.py").write_text("x = 1")
    (course.runs / course.key / "resume.pt").write_bytes(b"large")
    assert {name for name in course.collect().files if not name.startswith("runs/")} == {"01_one.ipynb", f"{NAME}.pdf"}
    assert len(course.collect().files) == 2 + len(RUN) and course.missing() == []


@pytest.mark.parametrize("where", ["named", "named from the notebooks", "beside the notebooks", "in the working folder"])
def test_where_the_runs_are(course, monkeypatch, where):
    target = {"named": "kept", "named from the notebooks": "notebooks/kept", "beside the notebooks": "notebooks/runs", "in the working folder": "runs"}[where]
    if where != "beside the notebooks":
        course.runs.rename(target)
    if where.startswith("named"):
        monkeypatch.setenv("LABKIT_RUNS", "kept")
    assert course.missing() == [] and course.collect().runs == [course.key]


def test_the_files_that_notebooks_import_or_name_go_with_them(course):
    sources = {
        "resnet18.py": "import helper", "helper.py": "import check_environment\nfrom deeper import x", "deeper.py": "x = 1",
        "ran.py": "", "named.py": "", "late.py": "", "check_environment.py": "", "unused.py": "",
    }  # fmt: skip
    for name, text in sources.items():
        (course.folder / name).write_text(text)
    texts = "import check_environment, resnet18 as net", "%run ran.py", "Experiment(model='named.py:Net')", "def f():\n    import late\n    import numpy.random"
    course.notebook.cells[3:3] = [new_code_cell(text) for text in (*texts, "def broken(:")]
    for count, cell in enumerate((cell for cell in course.notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    course.save()
    found = course.collect()
    assert found.missing == [] and {name for name in found.files if name.endswith(".py")} == set(sources) - {"check_environment.py", "unused.py"}


# --- what is missing --------------------------------------------------------------------------------


def stream(text):
    return new_output("stream", text=text)


def changed(cell, **values):
    """A change of one cell of the course's notebook."""

    def change(course):
        course.notebook.cells[cell].update(values)
        course.save()

    return change


def error(course):
    course.notebook.cells[2].outputs = [new_output("error", ename="NameError", evalue="name 'x' is not defined\nmore", traceback=["long"])]
    course.save()


def never(course):
    for cell in course.notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
    course.save()


def of_cells(number):
    """The last cells are as many new ones that were not executed."""

    def change(course):
        course.notebook.cells[2:4] = [new_code_cell("1") for _ in range(number)]
        course.save()

    return change


def written(name, text):
    def change(course):
        course.notebook.cells[2].source += "\nimport resnet18"
        course.save()
        if name:
            (course.folder / name).write_text(text)

    return change


def own_package(course):
    course.notebook.cells[2].source += "\nfrom helpers import x"
    course.save()
    (course.folder / "helpers").mkdir()
    (course.folder / "helpers" / "__init__.py").write_text("x = 1")


def of_run(name, damage):
    def change(course):
        damage(course.runs / course.key / name)

    return change


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def of_report(content, name=f"{NAME}.pdf"):
    def change(course):
        (course.folder / f"{NAME}.pdf").unlink()
        if content is not None:
            (course.folder / name).write_bytes(content)

    return change


OPEN = "`replace_head` is still open; put your code in the place of `raise NotImplementedError`"
FAULTS = {
    "an open exercise": (changed(1, source=STUB), f"01_one.ipynb, cell 2: {OPEN}"),
    "an open exercise of plain nbgrader": (changed(1, source=f"{STUB[: STUB.index('#')]}raise NotImplementedError()"), f"01_one.ipynb, cell 2: {OPEN}"),
    "an open exercise outside of a function": (changed(1, source="raise NotImplementedError"), "01_one.ipynb, cell 2: an exercise is still open; "),
    "an open exercise in a broken cell": (changed(1, source=f"def f(:\n{STUB}"), "01_one.ipynb, cell 2: an exercise is still open; "),
    "an open exercise in a method": (
        changed(1, source="class Net:\n  def f(self):\n    raise NotImplementedError"), "01_one.ipynb, cell 2: `Net.f` is still open; ",
    ),
    "an open exercise in a file": (written("resnet18.py", STUB), f"resnet18.py: {OPEN}"),
    "a question without an answer": (
        changed(4, source="*Write your answer here.*\n"), "01_one.ipynb, cell 5: the question above it has no answer; write it into this cell",
    ),
    "an empty answer": (changed(4, source=" \n"), "01_one.ipynb, cell 5: the question above it has no answer; "),
    "an empty answer of plain nbgrader": (changed(4, source="YOUR ANSWER HERE"), "01_one.ipynb, cell 5: the question above it has no answer; "),
    "a cell that was not executed": (changed(3, execution_count=None), f"01_one.ipynb, cell 4 was never executed; {AGAIN}"),
    "no cell executed": (never, f"01_one.ipynb, none of its cells was executed; {AGAIN}"),
    "two cells executed": (of_cells(2), f"01_one.ipynb, cells 3, 4 were never executed; {AGAIN}"),
    "many cells executed": (of_cells(6), f"01_one.ipynb, 6 cells were never executed, the first one is cell 3; {AGAIN}"),
    "a cell executed again": (
        changed(2, execution_count=9),
        f"01_one.ipynb, cell 3: it was executed as number 9 and not as number 2, so not all ran once, from the top down; {AGAIN}",
    ),
    "an error": (error, f"01_one.ipynb, cell 3: it stopped with NameError: name 'x' is not defined; mend it, then {AGAIN}"),
    "no notebook": (
        lambda course: (course.folder / "02_two.ipynb").write_text("no notebook"),
        f"notebooks{os.sep}02_two.ipynb cannot be read as a notebook (NotJSONError); save it again in Jupyter, or take it from the kit",
    ),
    "a notebook without cells": (
        lambda course: (course.folder / "02_two.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}'),
        f"notebooks{os.sep}02_two.ipynb cannot be read as a notebook (",
    ),
    "a file of the lesson": (written(None, ""), "resnet18.py is not in notebooks; put it beside the notebooks that import it"),
    "a package": (own_package, "helpers/__init__.py is not beside the notebooks; put your code into a file there, and execute the notebooks again"),
    "a run": (
        lambda course: shutil.rmtree(course.runs / course.key),
        "run KEY, which 01_one.ipynb shows, is not in STORE; name the folder of your runs with LABKIT_RUNS, or execute the notebook again",
    ),
    "the end of a run": (
        of_run("result.json", Path.unlink), "run KEY, which 01_one.ipynb shows, is not finished; execute the notebook again, it goes on from the last epoch",
    ),
    "true weights": (
        of_run("weights.safetensors", flip_a_byte),
        "run KEY, which 01_one.ipynb shows, is damaged (weights.safetensors is missing or not what was written); "
        "execute the notebook again, it trains this run once more",
    ),
    "a time sheet": (of_run("timing.jsonl", Path.unlink), "run KEY, which 01_one.ipynb shows, is damaged (timing.jsonl is missing); "),
    "an experiment": (
        of_run("experiment.json", lambda path: path.write_text("{")), "run KEY, which 01_one.ipynb shows, is damaged (a file of its record cannot be read); ",
    ),
    "an experiment of this version": (
        of_run("experiment.json", lambda path: path.write_text('{"schema": 0}')),
        "run KEY, which 01_one.ipynb shows, is damaged (this record has schema version 0",
    ),
    "a result": (
        of_run("result.json", lambda path: path.write_text("[]")),
        "run KEY, which 01_one.ipynb shows, is damaged (its result.json is not what was written); ",
    ),
    "a report": (
        of_report(None), f"there is no report; put {NAME}.pdf or {NAME}.ipynb into notebooks, or give a PDF or a notebook with --report",
    ),
    "a report that is one": (
        of_report(b"<html>"), f"the report notebooks{os.sep}{NAME}.pdf is no PDF; export it once more, or give another file with --report",
    ),
    "a report with something in it": (of_report(b"", "mine.PDF"), f"the report notebooks{os.sep}mine.PDF is empty; "),
}  # fmt: skip


@pytest.mark.parametrize(("break_it", "sentence"), FAULTS.values(), ids=FAULTS)
def test_each_missing_thing_is_named_with_what_to_do(course, break_it, sentence):
    assert course.missing() == []
    break_it(course)
    (found,) = course.missing()
    assert found.startswith(sentence.replace("KEY", course.key).replace("STORE", str(course.runs.absolute())))
    assert "\n" not in found and "; " in found


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        (1, {"source": f"{ANSWER}\n    raise NotImplementedError('other heads')"}),
        (1, {"source": f"# TODO: write your code here, in place of the next line\n{ANSWER}"}),
        (4, {"source": "*Write your answer here.* Because."}),
        (0, {"source": ""}),
        (3, {"outputs": [stream("kept as run 0123, see below")]}),
    ],
)
def test_what_is_there_is_not_called_missing(course, cell, values):
    changed(cell, **values)(course)
    assert course.missing() == []


def test_cells_without_text_are_not_executed_by_jupyter_either(course):
    course.notebook.cells.insert(2, new_code_cell(" \n"))
    course.save()
    assert course.missing() == []


def test_all_that_is_missing_is_said_at_once_and_nothing_is_written(course, capsys):
    changed(1, source=STUB)(course)
    never(course)
    changed(4, source="")(course)
    shutil.rmtree(course.runs)
    (course.folder / f"{NAME}.pdf").unlink()
    before = sorted(Path().rglob("*"))
    status, out, _ = run_cli(capsys, "submit", "--id", ID, "--out", "new")
    first, *lines, last = out.splitlines()
    assert status == 1 and first == f"missing in the submission of {ID}:" and last == "nothing was written; to hand in what there is, add --incomplete"
    topics = ("cell 2: `replace_head` is still open", "cell 5: the question", "none of its cells", f"run {course.key}", "there is no report")
    assert len(lines) == len(topics) and all(line.startswith("- ") and topic in line for line, topic in zip(lines, topics))
    assert sorted(Path().rglob("*")) == before


def test_incomplete_writes_what_there_is_with_the_list_in_it(course, capsys):
    changed(1, source=STUB)(course)
    shutil.rmtree(course.runs)
    status, out, _ = run_cli(capsys, "submit", "--id", ID, "--incomplete")
    content = entries(f"{NAME}.zip")
    assert status == 0 and set(content) == {"01_one.ipynb", f"{NAME}.pdf", "MISSING.txt"}
    lines = content["MISSING.txt"].decode().splitlines()
    assert len(lines) == 2 and out.splitlines()[1:3] == lines and "still open" in lines[0] and f"run {course.key}" in lines[1]
    assert f"your submission without what is missing is {Path(f'{NAME}.zip').absolute()}" in out


def test_a_notebook_that_cannot_be_read_is_handed_in_as_it_is_if_asked_for(course, capsys):
    (course.folder / "01_one.ipynb").write_text("no notebook")
    assert run_cli(capsys, "submit", "--id", ID, "--incomplete")[0] == 0
    assert entries(f"{NAME}.zip")["01_one.ipynb"] == b"no notebook"


def test_what_is_too_large_is_named_with_its_largest_files(course, capsys):
    status, out, _ = run_cli(capsys, "submit", "--id", ID, "--limit", "0.2")
    size = (course.runs / course.key / "weights.safetensors").stat().st_size / 1e6
    assert status == 1 and f"MB, more than 0.2 MB (the largest: runs/{course.key}/weights.safetensors {size:.1f} MB, " in out
    assert "ask your course for another --limit" in out and not Path(f"{NAME}.zip").exists()
    assert run_cli(capsys, "submit", "--id", ID, "--limit", "0.7")[0] == 0


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("notebook", "01_one.ipynb has 0.0 MB, and grading takes 0.0 MB; print and show less"),
        ("report", f"{NAME}.pdf has 0.0 MB, and grading takes 0.0 MB; print it with smaller pictures"),
        ("record", "experiment.json has 0.0 MB, and grading takes 0.0 MB; train this run for fewer epochs"),
        ("weights", "weights.safetensors has 0.5 MB, and grading takes 0.0 MB; train a smaller network"),
    ],
)
def test_a_file_that_grading_would_refuse_is_named(course, monkeypatch, kind, sentence):
    monkeypatch.setitem(limits.LARGEST, kind, 20)
    assert any(sentence in line for line in course.missing())


@pytest.mark.parametrize(
    ("name", "most", "sentence"),
    [
        ("ENTRIES", 7, "these are 8 files, and grading takes 7; remove cells of trainings"),
        ("MEMORY", 1000, "notebooks and report have 0.0 MB, and grading takes 0.0 MB; print and show less"),
        ("TOTAL", 100_000, "more than the 0.1 MB that grading unpacks (the largest: runs/"),
    ],
)
def test_a_submission_that_grading_would_refuse_is_named(course, monkeypatch, name, most, sentence):
    monkeypatch.setattr(limits, name, most)
    (found,) = course.missing()
    assert sentence in found and "--limit" not in found


def test_a_report_that_grading_would_refuse_is_named(course):
    (course.folder / f"{NAME}.pdf").write_bytes(PDF + b"1 0 obj << /S /JavaScript >> endobj")
    (found,) = course.missing()
    assert "holds JavaScript, which a report does not need; print it to a PDF once more, or give another file with --report" in found


def test_code_that_was_changed_after_its_training_is_named(course):
    net = "from torch import nn\ndef Net(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))\n"
    (course.folder / "own.py").write_text(net)
    here = os.getcwd()
    os.chdir(course.folder)
    key = run(Experiment(**TINY | {"model": "own.py:Net"}), RunStore("runs"), device="cpu", verbose=False).key
    os.chdir(here)
    changed(3, outputs=[stream(f"kept as run {key}\n")])(course)
    found = course.collect()
    assert found.missing == [] and "own.py" in found.files  # the run names it, no notebook does
    (course.folder / "own.py").write_text(net + "# better\n")
    (sentence,) = course.missing()
    assert f"run {key}, which 01_one.ipynb shows, is damaged (it was trained on other code than own.py:Net holds now); execute the notebook again" in sentence


# --- wrong use --------------------------------------------------------------------------------------


@pytest.mark.parametrize("student", ["", "a" * 33, "../x", "a b", "a/b", "ü1", "1\n", "<b>", "=1+1"])
def test_an_id_that_is_none_is_one_sentence(course, student):
    with one_sentence("the id ", "1 to 32 letters, digits, - and _", "--id"):
        submit.collect(student, course.folder)


@pytest.mark.parametrize("student", ["111063548", "a-B_9", "x" * 32])
def test_an_id_names_the_zip(course, capsys, student):
    (course.folder / f"{NAME}.pdf").rename(course.folder / f"{student}_lab3.pdf")
    assert run_cli(capsys, "submit", f"--id={student}")[0] == 0
    assert f"{student}_lab3.pdf" in entries(f"{student}_lab3.zip")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--notebooks", "elsewhere"], "labkit: there are no numbered notebooks in elsewhere; "),
        (["--report", "nothing.pdf"], "labkit: there is no file nothing.pdf; name your report with --report"),
        (["--report", "report.docx"], "labkit: the report report.docx is neither a PDF nor a notebook; name a file that ends in .pdf or .ipynb with --report"),
        (["--out", "notebooks/01_one.ipynb"], "labkit: cannot write notebooks/01_one.ipynb/111063548_lab3.zip (File exists); name another place with --out"),
    ],
)
def test_wrong_use_is_one_sentence(course, capsys, arguments, words):
    status, _, err = run_cli(capsys, "submit", "--id", ID, *arguments)
    assert status == 2 and err.replace(os.sep, "/").startswith(words) and err.count("\n") == 1


def test_without_jupyter_the_command_says_what_to_install(monkeypatch, capsys):
    for module in ("labkit.submit", "labkit.checks.notebook"):
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(module)
    monkeypatch.setitem(sys.modules, "nbformat", None)
    status, _, err = run_cli(capsys, "submit", "--id", ID)
    assert status == 2 and err.startswith("labkit: nbformat is missing; install it with: ") and err.endswith('".[notebooks]"\n')


@needs_shell
def test_without_the_printing_of_jupyter_the_command_says_what_to_install(course, browser, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    course.save(f"{NAME}.ipynb")
    browser(PRINTS)
    status, _, err = run_cli(capsys, "submit", "--id", ID, "--report", f"notebooks/{NAME}.ipynb")
    assert status == 2 and err.startswith("labkit: nbconvert is missing; install it with: ")


# --- which report -----------------------------------------------------------------------------------


def test_the_only_pdf_beside_the_notebooks_is_the_report(course):
    (course.folder / f"{NAME}.pdf").rename(course.folder / "mine.pdf")
    found = course.collect()
    assert found.missing == [] and found.files[f"{NAME}.pdf"] == PDF and f"the report is notebooks{os.sep}mine.pdf" in found.notes


def test_one_of_several_pdfs_must_be_named(course):
    for name in ("a.pdf", "b.pdf"):
        (course.folder / name).write_bytes(PDF)
    assert course.missing() == []
    (course.folder / f"{NAME}.pdf").unlink()
    assert course.missing() == [f"which of a.pdf, b.pdf is the report cannot be known; name it {NAME}.pdf, or give it with --report"]
    assert course.missing(report="notebooks/b.pdf") == []


def test_the_pdf_that_is_given_goes_before_the_one_that_lies_there(course):
    Path("given.pdf").write_bytes(PDF + b"given")
    assert course.collect(report="given.pdf").files[f"{NAME}.pdf"] == PDF + b"given"


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """`browser(script)` puts a shell script in the place of every browser; its arguments are in the file `arguments`."""

    def install(script):
        program = tmp_path / "bin" / "chromium"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/arguments"\nfor a; do case $a in --print-to-pdf=*) pdf="${{a#*=}}";; esac; done\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setattr(printing, "find_browser", lambda: str(program))

    return install


PRINTS = "printf '%%PDF-1.4 /CreationDate (D:20260102030405+00)' > \"$pdf\""


@needs_shell
def test_a_report_notebook_is_printed(course, browser, tmp_path):
    browser(PRINTS)
    (course.folder / f"{NAME}.pdf").unlink()
    course.save(f"{NAME}.ipynb")
    before = set(course.folder.iterdir())
    found = course.collect()
    assert found.missing == [] and found.files[f"{NAME}.pdf"] == b"%PDF-1.4 /CreationDate (D:19800101000000+00)"
    assert f"the report was printed from {NAME}.ipynb" in found.notes and set(course.folder.iterdir()) == before
    assert ("--no-sandbox" in (tmp_path / "arguments").read_text()) == (os.geteuid() == 0)


@needs_shell
@pytest.mark.parametrize(("user", "sandboxed"), [(0, False), (1000, True)])
def test_only_as_root_the_browser_has_no_sandbox(course, browser, tmp_path, monkeypatch, user, sandboxed):
    browser(PRINTS)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    printing.to_pdf(course.notebook, NAME, course.folder)
    arguments = (tmp_path / "arguments").read_text().split()
    assert ("--no-sandbox" not in arguments) == sandboxed and "--headless" in arguments and arguments[-1].startswith("file://")


@needs_shell
def test_a_report_notebook_from_elsewhere_is_printed_and_handed_in(course, browser):
    browser(PRINTS)
    course.notebook.cells[1].source = STUB
    course.save("../mine.ipynb")
    found = course.collect(report="mine.ipynb")
    assert found.files[f"{NAME}.ipynb"] == Path("mine.ipynb").read_bytes() and found.files[f"{NAME}.pdf"] != PDF
    assert found.missing == [f"mine.ipynb, cell 2: {OPEN}"]


@needs_shell
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 1", "made no PDF of 111063548_lab3; export one in Jupyter or your browser, and give it with --report"),
        ('echo "<html>" > "$pdf"', "made no PDF of 111063548_lab3; "),
        ("sleep 60 & sleep 60", "has not printed the report in 0.5 s; print it to a PDF yourself, and give that with --report"),
    ],
)
def test_a_browser_that_does_not_print_is_named_with_a_way_out(course, browser, monkeypatch, script, words):
    monkeypatch.setattr(printing, "SECONDS", 0.5)
    browser(script)
    course.save(f"{NAME}.ipynb")
    (sentence,) = course.missing(report=course.folder / f"{NAME}.ipynb")
    assert sentence.startswith("there is no report: ") and words in sentence and not list(course.folder.glob("printing-*"))


@needs_shell
def test_no_process_of_a_slow_browser_stays(course, browser, monkeypatch, tmp_path):
    monkeypatch.setattr(printing, "SECONDS", 0.5)
    browser(f'sleep 77 & echo $! > "{tmp_path}/child"; wait')
    with one_sentence("has not printed"):
        printing.to_pdf(course.notebook, NAME, course.folder)
    state = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_without_a_browser_the_way_out_is_named(course, monkeypatch):
    monkeypatch.setattr(printing, "find_browser", lambda: None)
    course.save(f"{NAME}.ipynb")
    (sentence,) = course.missing(report=course.folder / f"{NAME}.ipynb")
    assert sentence.endswith("there is no Chrome, Chromium or Edge to print the report notebook with; install one, or give a PDF of it with --report")


def test_browsers_are_found_on_the_path_and_where_installers_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path / "Program Files"))
    monkeypatch.setattr(printing.Path, "home", lambda: tmp_path / "home")
    installed = [tmp_path / "Program Files" / "Microsoft/Edge/Application/msedge.exe"]
    installed += [tmp_path / "home/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", tmp_path / "chromium"]
    for program in installed:  # each goes before the one above it
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("")
        program.chmod(0o755)
        assert printing.find_browser() == str(program)


@pytest.mark.skipif(printing.find_browser() is None, reason="no browser is installed here")
def test_a_true_browser_prints_the_same_bytes_each_time_and_no_path_of_this_machine(course):
    course.notebook.cells[0].source = "# Printed\n\n[next](02_two.ipynb) [site](https://example.org/x)"
    course.notebook.cells[1].source = f"text = '{'x' * 300} end'"
    first, second = (printing.to_pdf(course.notebook, NAME, course.folder) for _ in range(2))
    assert first == second and first.startswith(b"%PDF-") and first.rstrip().endswith(b"%%EOF")
    assert b"https://example.org/x" in first and b"02_two" not in first and b"printing-" not in first
    assert b"/Title (111063548_lab3)" in first and sorted(path.name for path in course.folder.iterdir()) == ["01_one.ipynb", f"{NAME}.pdf", "runs"]


# --- links that lead elsewhere ------------------------------------------------------------------------


@needs_links
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("notebooks/01_one.ipynb", "01_one.ipynb is a link to a file outside of notebooks; put the file itself there"),
        ("notebooks/02_two.ipynb", "02_two.ipynb is a link to a file outside of notebooks; "),
        (f"notebooks/{NAME}.ipynb", f"{NAME}.ipynb is a link to a file outside of notebooks; "),
        (f"notebooks/{NAME}.pdf", f"{NAME}.pdf is a link to a file outside of notebooks; "),
        ("notebooks/resnet18.py", "resnet18.py is a link to a file outside of notebooks; "),
        *((f"notebooks/runs/KEY/{name}", f"cannot be handed in: its {name} is a link to a file outside of ") for name in RUN),
    ],
)
def test_a_link_to_elsewhere_is_refused(course, tmp_path, name, words):
    secret = b'{"password": "canary"}'
    (tmp_path / "secret").write_bytes(secret)
    if name.endswith("resnet18.py"):
        course.notebook.cells[2].source = "import resnet18"
        course.save()
    link = Path(name.replace("KEY", course.key))
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "secret")
    found = course.collect()
    assert len(found.missing) == 1 and words in found.missing[0]
    assert link.name not in found.files and not any(b"canary" in content for content in entries(submit.write(found, tmp_path)).values())


@needs_links
def test_a_run_that_is_a_link_to_elsewhere_is_refused(course, trained):
    shutil.rmtree(course.runs / course.key)
    (course.runs / course.key).symlink_to(trained.path)
    (sentence,) = course.missing()
    assert "cannot be handed in: its experiment.json is a link to a file outside of " in sentence and course.collect().runs == []


@needs_links
@pytest.mark.parametrize("target", ["nothing", "02_two.ipynb", "runs"])
def test_a_link_to_nothing_to_itself_or_to_a_folder_is_no_file(course, target):
    (course.folder / "02_two.ipynb").symlink_to(target)
    assert course.missing() == [f"notebooks{os.sep}02_two.ipynb is no file that can be read; put the file itself there"]


@needs_links
def test_what_is_given_by_name_and_a_store_elsewhere_may_be_links(course, tmp_path):
    course.runs.rename(tmp_path / "large-disk")
    course.runs.symlink_to(tmp_path / "large-disk")
    (tmp_path / "real.pdf").write_bytes(PDF + b"real")
    (tmp_path / "link.pdf").symlink_to(tmp_path / "real.pdf")
    found = course.collect(report="link.pdf")
    assert found.missing == [] and found.runs == [course.key] and found.files[f"{NAME}.pdf"] == PDF + b"real"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_never_ends_is_not_read(course):
    os.mkfifo(course.folder / "02_two.ipynb")
    (course.runs / course.key / "weights.safetensors").unlink()
    os.mkfifo(course.runs / course.key / "weights.safetensors")
    assert [sentence.split("; ")[0].split("/")[-1] for sentence in course.missing()] == [
        "02_two.ipynb is no file that can be read",
        f"run {course.key}, which 01_one.ipynb shows, cannot be handed in: its weights.safetensors is no file that can be read",
    ]


# --- an old zip is only replaced by a whole one -------------------------------------------------------


def test_a_failure_half_way_leaves_the_old_zip(course, capsys):
    assert run_cli(capsys, "submit", "--id", ID)[0] == 0
    before = Path(f"{NAME}.zip").read_bytes()
    found = course.collect()
    (course.runs / course.key / "weights.safetensors").unlink()  # the last one that is written
    with one_sentence("cannot read ", "weights.safetensors", "No such file"):
        submit.write(found, Path())
    assert Path(f"{NAME}.zip").read_bytes() == before and not list(Path().glob("*.part"))


def test_an_interruption_leaves_the_old_zip_too(tmp_path, monkeypatch):
    write_zip(tmp_path / "x.zip", {"a": b"1"})
    before = (tmp_path / "x.zip").read_bytes()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_zip(tmp_path / "x.zip", {"a": b"2"})
    assert (tmp_path / "x.zip").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["x.zip"]


# --- from the kit to the zip, as a student does it ----------------------------------------------------

TRAIN = """from resnet18 import width
from labkit.runs import Experiment, run
finished = run(Experiment(data="shapes:100/20", model="SimpleCNN", batch_size=20, epochs=1, lr=width()))"""


def solution(text):
    return f"    ### BEGIN SOLUTION\n    {text}\n    ### END SOLUTION"


@pytest.fixture
def repository(tmp_path):
    """A course of two notebooks and a file, solved, in a repository of its own."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "labkit", root / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "notebooks").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
        shutil.copyfile(ROOT / name, root / name)
    head = "def replace_head(model, num_classes, dropout=0.0):\n" + solution("return num_classes")
    discussion = new_markdown_cell("Because.", metadata=marks("discussion", grade=True, points=3))
    one = new_code_cell(head, metadata=marks("head")), new_code_cell("print(replace_head(None, 7))"), discussion
    twice = "def twice(x):\n" + solution("return 2 * x")
    two = new_code_cell(TRAIN), new_code_cell(twice, metadata=marks("twice")), new_code_cell("twice(finished.result['epochs'])")
    for name, cells in {"01_one": one, "02_two": two}.items():
        nbformat.write(new_notebook(cells=list(cells)), root / "notebooks" / f"{name}.ipynb")
    (root / "notebooks" / "resnet18.py").write_text("def width():\n" + solution("return 1e-3") + "\n")
    return root


def test_from_the_kit_to_the_zip(repository, tmp_path, monkeypatch):
    release.release(repository, tmp_path / "kit.zip")
    zipfile.ZipFile(tmp_path / "kit.zip").extractall(tmp_path)
    kit = tmp_path / release.FOLDER
    notebooks = kit / "notebooks"
    monkeypatch.delenv("LABKIT_RUNS")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(kit), sysconfig.get_path("purelib"))))

    def labkit(*arguments):
        """With the package of the kit: -S keeps the .pth file out that leads to this repository."""
        return subprocess.run([sys.executable, "-S", "-m", "labkit.cli", *arguments], cwd=kit, capture_output=True, text=True, timeout=600)

    offered = labkit("--help").stdout
    assert "submit" in offered and "release" not in offered
    untouched = labkit("submit", "--id", ID)
    assert untouched.returncode == 1 and not list(kit.glob("*.zip")), untouched.stderr
    assert [line.split("; ")[0] for line in untouched.stdout.splitlines()[1:-1]] == [
        "- 01_one.ipynb, cell 1: `replace_head` is still open",
        "- 01_one.ipynb, cell 3: the question above it has no answer",
        "- 01_one.ipynb, none of its cells was executed",
        "- 02_two.ipynb, cell 2: `twice` is still open",
        "- 02_two.ipynb, none of its cells was executed",
        "- resnet18.py: `width` is still open",
        "- there is no report",
    ]

    (notebooks / "resnet18.py").write_text("def width():\n    return 1e-3\n")
    for path in sorted(notebooks.glob("*.ipynb")):
        nbformat.write(solved_notebook(path, repository / "notebooks" / path.name), path)
        execution = execute.execute(path, {"LABKIT_PROGRESS": "off"})
        assert execution.error is None
        nbformat.write(execution.notebook, path)
    (notebooks / "report.pdf").write_bytes(PDF)

    done = labkit("submit", "--id", ID)
    assert done.returncode == 0, done.stdout + done.stderr
    (key,) = (path.name for path in (notebooks / "runs").iterdir() if not path.name.startswith("."))
    content = entries(kit / f"{NAME}.zip")
    files = {name: notebooks / name for name in ("01_one.ipynb", "02_two.ipynb", "resnet18.py", *(f"runs/{key}/{name}" for name in RUN))}
    assert content == {name: path.read_bytes() for name, path in files.items()} | {f"{NAME}.pdf": PDF}
    assert "2 notebooks, 1 run, " in done.stdout and done.stdout.endswith(f"{NAME}.zip: hand in this file\n")
