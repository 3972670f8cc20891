"""A class of submissions as honest students hand them in: right answers, wrong ones, open ones, and slips.

    python tests/classroom.py FOLDER --students 100 --seed 0

Notebooks and files are the course's own with a student's answers in them, executed as the stored outputs show; figures and tables
stay those of the course. The runs are trained, on few images. All follows from the seed, but for the times in the run records: what
was trained is kept for the rest of the process, or in the folder --runs for the next one, and with it the bytes are the same, too.
"""

import argparse
import atexit
import copy
import io
import json
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import nbformat
import torch
from answers import Answer, bound, catalogue, definition, replace_definition
from nbformat.v4 import new_code_cell, new_notebook, new_output
from solutions import LESSONS, ROOT, is_solution

from labkit import checks, data
from labkit.archive import write_zip
from labkit.checks.notebook import code
from labkit.course import release
from labkit.experiment import NORMALIZATIONS, Experiment
from labkit.runs import RECORD, WEIGHTS, RunStore, cited, run
from labkit.submit import weighed

DATA = "shapes:200/100"
FILES = {"BasicBlock": "resnet18.py", "make_layer": "resnet18.py", "BestModel": "best_model.py"}  # exercises that are answered there
CITED = {"06": 5, "07": 2, "08": 6, "09": 4}  # runs that a notebook shows; the others show one
ENDLESS = ("timeout", "output")  # findings of answers that take whatever time they are given: they would measure the deadline
_MARKER = re.compile(r"^ *### (BEGIN|END) SOLUTION\n?", re.M)
_TRAINED = re.compile(r"^(epoch +\d+/\d+ |kept as run |study .* runs finished)", re.M)
_CHECK = re.compile(r'^check\("(\w+)"', re.M)


@dataclass(frozen=True)
class Student:
    """What is decided about a student before anything is written. number: the place in the class; answers: {exercise: `Answer`}."""

    number: int
    seed: int
    answers: dict
    slip: str = ""
    hands_in_own_model: bool = False

    @property
    def id(self):
        return str(111_000_000 + 1_000 * self.number + self.random("id").randrange(1_000))

    def random(self, what):
        """A generator for one purpose, so that a change to one leaves the others alone."""
        return random.Random(f"{self.seed} {self.number} {what}")


@dataclass(frozen=True)
class Known:
    """What is known about a submission that was written.

    findings: {exercise: the finding that it must get}, of the exercises that were handed in. slip: one of `SLIPS` or "". runs: {key:
    true test accuracy} of those in the zip; cited: {stem of a notebook: keys}; own_model: the key of the run of best_model.py or "".
    """

    student: str
    path: Path
    findings: dict
    slip: str
    runs: dict
    cited: dict
    own_model: str


def write_class(folder, students, seed=0, runs=None, lessons=("",)):
    """Write the zips of so many students into `folder`; returns what is `Known` of each.

    runs: a folder that keeps the trained runs (default: one that goes with the process). lessons: beginnings of the names of the
    notebooks that are handed in.
    """
    return [write_submission(folder, plan(number, seed), runs, lessons) for number in range(students)]


def write_submission(folder, student, runs=None, lessons=("",), weights="best"):
    """Write the zip of one `Student`; returns what is `Known` of it. weights: "best" or "all", as of `labkit submit`."""
    draft = draft_of(student, Pool(Path(runs or _runs_of_this_process()).absolute()), tuple(lessons))
    if student.slip:
        SLIPS[student.slip](draft)
    path = Path(folder) / draft.zip
    write_zip(path, draft.files(weights))
    return draft.known(path)


# --- who answers what ---------------------------------------------------------------------------


def plan(number, seed=0):
    """The `Student` at a place in the class of this seed."""
    student = Student(number, seed, {})
    rng = student.random("answers")
    answers = {todo: _right_answer(todo, rng) for todo in checks.names()}
    if rng.random() < 0.4:
        answers |= {todo: rng.choice(wrong_answers(todo)) for todo in rng.sample(checks.names(), rng.randint(1, 4))}
    if rng.random() < 0.15:
        answers |= {todo: open_answer(todo) for todo in rng.sample(checks.names(), rng.randint(1, 3))}
    own = answers["BestModel"].passed and bool(answers["BestModel"].statements) and rng.random() < 0.8
    # Every other student makes a slip, all of them by turns.
    slip = list(SLIPS)[number // 2 % len(SLIPS)] if number % 2 else ""
    return replace(student, answers=answers, slip=slip, hands_in_own_model=own)


def _right_answer(todo, rng):
    """The course's own, or a right one that is written differently."""
    others = [answer for answer in catalogue()[todo] if answer.passed]
    return rng.choice(others) if rng.random() < 0.5 else Answer(todo, "solution", "passed", ())


def open_answer(todo):
    """The exercise as the kit has it."""
    return Answer(todo, "open", "not_implemented", ())


def wrong_answers(todo):
    return [answer for answer in catalogue()[todo] if answer.finding not in ("passed", *ENDLESS)]


# --- notebooks and files ------------------------------------------------------------------------


@cache
def _course():
    """{name: notebook of the kit, solved and executed}, with notes in the metadata of its cells: the `stub` of one that asks for an
    answer, the names that are `bound` by another one.
    """
    return {path.name: _solved(path) for path in LESSONS}


def _solved(path):
    source = nbformat.read(path, as_version=4)
    notebook = nbformat.reads(release.exercise_notebook(path), as_version=4)
    for cell, original in zip(notebook.cells, source.cells):
        if is_solution(cell):
            cell.metadata["stub"], cell.source = cell.source, _MARKER.sub("", original.source)
        elif cell.cell_type == "code":
            cell.metadata["bound"] = bound(code(cell))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = original.outputs, original.execution_count
    return notebook


@cache
def _modules():
    """{name: (the text with the solutions, the text of the kit)} of the files that students edit."""
    paths = [ROOT / "notebooks" / name for name in sorted(set(FILES.values()))]
    return {path.name: (_MARKER.sub("", path.read_text(encoding="utf-8")), release.exercise_module(path)) for path in paths}


def _answered(solved, stub, answer, known=()):
    """The text of a cell or file with the answer in it."""
    if answer.statements:
        return answer.put_into(solved, known)
    return solved if answer.passed else replace_definition(solved, answer.todo, definition(stub, answer.todo))


def _sources(answers):
    """{name: text} of the student's Python files."""
    texts = {name: solved for name, (solved, _) in _modules().items()}
    for todo, name in FILES.items():
        texts[name] = _answered(texts[name], _modules()[name][1], answers[todo], bound(texts[name]))
    return texts


def _answer_code(notebook, answers):
    """Put the answers into the cells of a notebook, and into the outputs of its checks what the checks must find."""
    known = set()
    for cell in notebook.cells:
        stub = cell.metadata.pop("stub", "")
        if cell.cell_type != "code":
            continue
        if stub:
            todo = next(todo for todo in answers if re.search(rf"^(def|class) {todo}\b", stub, re.M))
            cell.source = _answered(cell.source, stub, answers[todo], known)
        else:
            known |= cell.metadata.pop("bound")
        if (check := _CHECK.search(cell.source)) and not answers[check[1]].passed:
            cell.outputs = [_printed(_not_yet(answers[check[1]]))]


def _not_yet(answer):
    """The first line of what `check` prints."""
    return f"{answer.todo}: not yet, 0 of {checks.points(answer.todo):g} points [{answer.finding}]\n"


def _answer_questions(notebook, accuracy):
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and is_solution(cell):
            cell.source += f"\n\nMy best run reached a test accuracy of {accuracy:.1%}."


def show_runs(notebook, trained):
    """Exchange what the trainings of a notebook have printed for what the student's printed."""
    cells = [cell for cell in notebook.cells if _TRAINED.search("".join(output.get("text", "") for output in cell.get("outputs", [])))]
    again = "".join(f"kept as run {one.run.key}\n" for one in trained)  # what is in the store already prints no more than that
    for cell in cells:
        text = "".join(one.printed for one in trained) if cell is cells[0] else again
        cell.outputs = [_printed(text), *(output for output in cell.outputs if output.output_type != "stream")]


def _printed(text):
    return new_output("stream", name="stdout", text=text)


# --- runs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A finished run and what its training printed."""

    run: object
    printed: str

    @property
    def accuracy(self):
        return self.run.result["test_acc"]


class Pool:
    """Trained runs in the folder `root`, each with what its training printed."""

    def __init__(self, root):
        self.root, self.store = root, RunStore(root)

    def train(self, experiment, best_model=""):
        """The `Trained` run of an experiment, from the folder if it is there. best_model: the text of the file of that name."""
        home = self.root / "students" / experiment.key
        home.mkdir(parents=True, exist_ok=True)
        (home / "best_model.py").write_text(best_model, encoding="utf-8")
        with chdir(home):  # the experiment of an own model names its file
            if not Path("printed.txt").exists():
                Path("printed.txt").write_text(_printed_by(run, experiment, self.store, device="cpu"), encoding="utf-8")
            return Trained(self.store.read(experiment), Path("printed.txt").read_text(encoding="utf-8"))


def _printed_by(function, *arguments, **options):
    with redirect_stdout(io.StringIO()):
        data.load(DATA)  # which says so, but only the first time
    with redirect_stdout(io.StringIO()) as printed:
        function(*arguments, **options)
    return printed.getvalue()


@cache
def _runs_of_this_process():
    folder = tempfile.mkdtemp(prefix="labkit-classroom-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def experiments(student):
    """Six small trainings, which serve all notebooks."""
    rng = student.random("experiments")
    chosen = {"model": rng.choice(("SimpleCNN", "ConvNet")), "epochs": rng.randint(1, 2), "lr": rng.choice((1e-3, 3e-3))}
    base = Experiment(data=DATA, fraction=0.1, valid=0.2, batch_size=10, **chosen, seed=rng.randrange(2**31))
    return [replace(base, normalization=name) for name in NORMALIZATIONS] + [replace(base, augmentation=("crop", "flip"))]


def _own_experiment(student):
    return replace(experiments(student)[0], model="best_model.py:BestModel")


# --- a submission -------------------------------------------------------------------------------


@dataclass
class Draft:
    """A submission before it is packed. notebooks: {name: notebook}; sources: {name: text}; trained: {key: `Trained`}, to be handed in;
    rename: from a name in the zip to the one that it has instead; junk: {name: bytes}, what nobody asked for.
    """

    student: Student
    notebooks: dict
    sources: dict
    trained: dict
    own_model: str
    zip: str
    report: bytes = b""
    rename: Callable = str
    junk: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.student.id}_lab3"

    @property
    def random(self):
        return self.student.random("slip")

    def files(self, weights):
        """{name in the zip: bytes, or the Path of a file}."""
        files = {name: nbformat.writes(notebook).encode() for name, notebook in self.notebooks.items()}
        files |= {name: text.encode() for name, text in self.sources.items()}
        files |= {f"{self.name}.pdf": self.report} if self.report else {}
        weighty = self.trained if weights == "all" else self._weighed()
        for key, one in self.trained.items():
            files |= {f"runs/{key}/{name}": one.run.path / name for name in (*RECORD, *([WEIGHTS] if key in weighty else []))}
        return {self.rename(name): content for name, content in files.items()} | self.junk

    def _weighed(self):
        shown = {name: _cited(notebook) for name, notebook in self.notebooks.items()}
        return weighed(shown, {key: one.accuracy for key, one in self.trained.items()})

    def known(self, path):
        asked = {todo for notebook in self.notebooks.values() for cell in notebook.cells for todo in _CHECK.findall(cell.source)}
        return Known(
            student=self.student.id,
            path=path,
            findings={todo: answer.finding for todo, answer in self.student.answers.items() if todo in asked},
            slip=self.student.slip,
            runs={key: one.accuracy for key, one in self.trained.items()},
            cited={re.sub(r"( \(1\)| - Copy)?\.ipynb$", "", name): _cited(notebook) for name, notebook in self.notebooks.items()},
            own_model=self.own_model if self.own_model in self.trained else "",
        )


def _cited(notebook):
    return cited("\n".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])))


def draft_of(student, pool, lessons):
    """The submission of a student who makes no slip."""
    sources = _sources(student.answers)
    trained = [pool.train(experiment) for experiment in experiments(student)]
    own = [pool.train(_own_experiment(student), sources["best_model.py"])] if student.hands_in_own_model else []
    notebooks = copy.deepcopy({name: notebook for name, notebook in _course().items() if name.startswith(lessons)})
    for name, notebook in notebooks.items():
        _answer_code(notebook, student.answers)
        _answer_questions(notebook, max(one.accuracy for one in trained))
        show_runs(notebook, own if own and name.startswith("13") else trained[: CITED.get(name[:2], 1)])
    handed_in = {one.run.key: one for one in trained + own}
    draft = Draft(student, notebooks, sources, handed_in, own[0].run.key if own else "", zip="")
    draft.zip, draft.report = f"{draft.name}.zip", _pdf([f"Report of {student.id}", *(f"{key}: {one.accuracy:.4f}" for key, one in handed_in.items())])
    return draft


def _pdf(lines):
    """A PDF of one page with these lines of plain text."""
    text = "BT /F1 12 Tf 14 TL 72 720 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    )
    written, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(written)}\n%%EOF\n"
    return f"{written}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode("ascii")


# --- slips --------------------------------------------------------------------------------------

SLIPS = {}  # {name: a function that makes the slip in a `Draft`}


def slip(name):
    def enter(function):
        SLIPS[name] = function
        return function

    return enter


@slip("folder")
def _a_folder_around_everything(draft):
    draft.rename = lambda name: f"lab3 final/{name}"


@slip("macos")
def _what_macos_adds(draft):
    draft.rename = lambda name: f"{draft.name}/{name}"
    names = ("._resnet18.py", "._01_head_replacement.ipynb")
    draft.junk = {f"__MACOSX/{draft.name}/{name}": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" for name in names}
    draft.junk |= {f"{draft.name}/.DS_Store": b"\x00\x00\x00\x01Bud1"}


@slip("backslashes")
def _backslashes_of_windows(draft):
    draft.rename = lambda name: f"lab3/{name}".replace("/", "\\")


@slip("second download")
def _downloaded_twice(draft):
    draft.zip = f"{draft.name} (1).zip"


@slip("copy")
def _only_the_copy_of_a_notebook(draft):
    name = draft.random.choice(list(draft.notebooks))
    draft.notebooks[name.replace(".ipynb", draft.random.choice((" (1).ipynb", " - Copy.ipynb")))] = draft.notebooks.pop(name)


@slip("no report")
def _no_report(draft):
    draft.report = b""


@slip("missing notebook")
def _a_notebook_is_missing(draft):
    del draft.notebooks[draft.random.choice(list(draft.notebooks))]


@slip("out of order")
def _a_cell_was_executed_once_more(draft):
    cells = [cell for cell in draft.random.choice(list(draft.notebooks.values())).cells if cell.cell_type == "code"]
    draft.random.choice(cells[:-1]).execution_count = len(cells) + 1


@slip("error")
def _an_error_left(draft):
    notebook = draft.random.choice(list(draft.notebooks.values()))
    count = sum(cell.cell_type == "code" for cell in notebook.cells) + 1
    text = "name 'fnished' is not defined"
    error = new_output("error", ename="NameError", evalue=text, traceback=[f"NameError: {text}"])
    notebook.cells.append(new_code_cell("fnished.history", id="tried-out", execution_count=count, outputs=[error]))


@slip("missing run")
def _a_run_is_missing(draft):
    del draft.trained[draft.random.choice(list(draft.trained))]


@slip("one notebook")
def _all_of_the_lab_in_one_notebook(draft):
    cells = [cell for notebook in draft.notebooks.values() for cell in notebook.cells]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    draft.notebooks = {f"{draft.name}.ipynb": new_notebook(cells=cells, metadata=next(iter(draft.notebooks.values())).metadata)}


@slip("byte order mark")
def _saved_with_a_byte_order_mark(draft):
    draft.sources["resnet18.py"] = "\ufeff" + draft.sources["resnet18.py"]


@slip("other alphabet")
def _comments_in_another_alphabet(draft):
    for notebook in draft.notebooks.values():
        for cell in notebook.cells:
            if cell.cell_type == "code" and is_solution(cell):
                cell.source = f"# 我的答案：先想清楚形狀 ✅\n{cell.source}"
    draft.sources["resnet18.py"] += "\n# 完成了。Größe geprüft.\n"


@slip("moodle")
def _a_name_of_moodle(draft):
    draft.zip = f"Zoë Müller-Lüdenscheidt_{4_000 + draft.student.number}_assignsubmission_file_{draft.name}.zip"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, help="a folder that keeps the trained runs, for the same bytes another time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    known = write_class(args.folder, args.students, args.seed, args.runs)
    findings = Counter(finding for one in known for finding in one.findings.values())
    print(json.dumps({"slips": Counter(one.slip for one in known if one.slip), "findings": findings}, indent=1))
    print(f"{len(known)} submissions with {sum(len(one.runs) for one in known)} runs in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
