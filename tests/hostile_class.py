"""Whole submissions of students who want points that they have not earned, or harm: real zips, and what must come of each.

A `Case` changes an honest submission. Cases that change different parts of it share a zip, so that a class of them is graded in minutes.
"""

import copy
import json
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import hostile
import nbformat
import torch
from answers import Answer
from classroom import DATA, Pool, Student, draft_of, experiments, show_runs
from hostile_answers import ATTACKS as ANSWERS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from safetensors.torch import save_file
from solutions import ROOT
from test_inbox import NO_NOTEBOOKS, PDF, REFUSED_ENTRIES, UNREADABLE, info, overlapping, zipped
from test_own_model import SEND
from test_pages import ATTACKS as MARKUP
from test_pdf import END, HEAD, stream
from test_weights import WEIGHTS, Canary, experiment, forge, read, result, rows, saved, tick
from test_weights import cell as epoch

from labkit import checks, models
from labkit.course.untrusted import shown
from labkit.experiment import key_of
from labkit.runs import RECORD
from labkit.runs import WEIGHTS as WEIGHTS_FILE
from labkit.submit import weighed

LESSONS = ("06", "08", "13")
RUBRIC = """
title = "three notebooks"
[normalization]
items = [{ points = 4, checks = ["get_mean_std"] }, { points = 5, evidence = "06_normalization", runs = 5 }]
[learning_rate]
items = [{ points = 3, checks = ["step_decay"] }, { points = 4, checks = ["cyclic"] }, { points = 2, evidence = "08_learning_rate", runs = 1 }]
[best]
items = [{ points = 2, checks = ["BestModel"] }, { points = 2, evidence = "13_best_model", runs = 1 }]
[accuracy]
items = [{ points = 5, accuracy = [[0.17, 5]], notebook = "13_best_model" }]
"""
HOME = {"get_mean_std": "06_normalization", "step_decay": "08_learning_rate", "cyclic": "08_learning_rate", "BestModel": "13_best_model"}
MEAN, STEP, CYCLIC, BEST = HOME  # the items of the rubric, by the titles that they get; those of notebooks by their names
NOTE06, NOTE08, NOTE13, ACCURACY = "06_normalization", "08_learning_rate", "13_best_model", "accuracy"
FULL = {MEAN: 4, NOTE06: 5, STEP: 3, CYCLIC: 4, NOTE08: 2, BEST: 2, NOTE13: 2, ACCURACY: 5}
PARAMETERS = {"get_mean_std": "dataset, ratio=0.3", "step_decay": "epoch, base_lr, step_size, gamma", "cyclic": "step, base_lr, max_lr, step_size"}
WRONG = {todo: f"def {todo}({parameters}):\n    raise ValueError('no idea')" for todo, parameters in PARAMETERS.items()}
LIKED = new_output("stream", name="stdout", text="get_mean_std: passed, 5 of 5 points\n")


# --- a submission ---------------------------------------------------------------------------------


@dataclass
class Handed:
    """A submission to be changed. notebooks: {stem: notebook}; files: {name in the zip: bytes}, of all but notebooks and runs; runs: {key:
    folder}, copies that may be spoiled; cited: {stem: keys}; entries: (name or `ZipInfo`, content) that come last; packed: what becomes
    of the bytes of the zip; zip: its path below the folder of the class.
    """

    student: str
    notebooks: dict
    files: dict
    runs: dict
    cited: dict
    place: dict
    entries: list = field(default_factory=list)
    packed: Callable = bytes
    zip: str = ""

    def cell(self, grade_id):
        notebooks = self.notebooks.values()
        return next(cell for notebook in notebooks for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)

    def run(self, notebook):
        """The folder of the first run that a notebook cites."""
        return self.runs[self.cited[notebook][0]]

    def show(self, notebook, *outputs):
        """A last cell with these outputs."""
        count = sum(cell.cell_type == "code" for cell in self.notebooks[notebook].cells) + 1
        self.notebooks[notebook].cells.append(new_code_cell("None", execution_count=count, outputs=list(outputs)))

    def cite(self, notebook, old, new):
        for cell in self.notebooks[notebook].cells:
            for output in cell.get("outputs", []):
                if "text" in output:
                    output.text = output.text.replace(old, new)

    def content(self):
        """The bytes of the zip."""
        notebooks = [(f"{stem}.ipynb", nbformat.writes(notebook)) for stem, notebook in self.notebooks.items()]
        runs = [(f"runs/{key}/{path.name}", path.read_bytes()) for key, folder in self.runs.items() for path in sorted(folder.iterdir())]
        return self.packed(zipped(*notebooks, *self.files.items(), *runs, *self.entries))


class Maker:
    """Makes honest submissions, all of the same work, below `folder`."""

    def __init__(self, folder, place):
        self.folder, self.place = Path(folder), place
        answers = {todo: Answer(todo, "solution", "passed", ()) for todo in checks.names()}
        student, pool = Student(1, 7, answers), Pool(self.folder / "pool")
        self.draft = draft_of(student, pool, LESSONS)
        trained = list(self.draft.trained.values())
        best = pool.train(replace(experiments(student)[0], model="ConvNet", fraction=1.0, epochs=8, lr=3e-3, batch_size=20))
        self.shown = {NOTE06: trained[:5], NOTE08: trained[5:6], NOTE13: [best]}
        for stem, runs in self.shown.items():
            show_runs(self.draft.notebooks[f"{stem}.ipynb"], runs)

    def honest(self, student):
        """A `Handed` of its own."""
        home = self.folder / "copies" / student
        trained = [one for runs in self.shown.values() for one in runs]
        runs = {one.run.key: home / one.run.key for one in trained}
        shown = {stem: [one.run.key for one in shown] for stem, shown in self.shown.items()}
        weights = weighed(shown, {one.run.key: one.accuracy for one in trained})
        for one in trained:
            runs[one.run.key].mkdir(parents=True)
            for name in (*RECORD, *[WEIGHTS_FILE] * (one.run.key in weights)):
                shutil.copy(one.run.path / name, runs[one.run.key])
        return Handed(
            student,
            {Path(name).stem: copy.deepcopy(notebook) for name, notebook in self.draft.notebooks.items()},
            {name: text.encode() for name, text in self.draft.sources.items()} | {f"{student}_lab3.pdf": self.draft.report},
            runs,
            shown,
            self.place,
            zip=f"{student}_lab3.zip",
        )


@dataclass(frozen=True)
class Case:
    """What is done to a submission, and what must come of it. left: {item that is changed: the points that are left of it}, of the others
    all; words: each stands in a flag, a note, a fault of a notebook, or a reason; hints: likewise in a hint. together: whether it may share
    a zip with others, which change other items.
    """

    make: Callable
    left: dict = field(default_factory=dict)
    words: tuple = ()
    hints: tuple = ()
    together: bool = True


def write(folder, maker, cases):
    """Write the zips of all cases, with honest ones between them; returns ({path: names of the cases in it}, paths of the honest ones)."""
    written, honest = {}, []
    for number, names in enumerate(_groups(cases)):
        if number % 14 == 0:
            honest.append(_write(folder, maker.honest(str(100 + number))))
        handed = maker.honest(f"{100 + number}x")
        for name in names:
            cases[name].make(handed)
        written[_write(folder, handed)] = names
    return written, honest


def _write(folder, handed):
    path = folder / handed.zip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(handed.content())
    return path


def _groups(cases):
    """Lists of cases that change different items, each for one zip."""
    groups = []
    for name, case in cases.items():
        group = next((group for group in groups if _fits(case, [cases[other] for other in group])), None)
        if group is None:
            groups.append(group := [])
        group.append(name)
    return groups


def _fits(case, others):
    apart = all(other.together and not other.left.keys() & case.left.keys() for other in others)
    return case.together and apart and len(others) < 8


def nothing(*items):
    return dict.fromkeys(items, 0)


# --- answers ----------------------------------------------------------------------------------------


def answer(todo, code, *words):
    """The student's own cell holds `code`."""

    def make(handed):
        handed.cell(todo).source = code if isinstance(code, str) else code(handed)

    return Case(make, nothing(todo), words)


def attack(name, todo, *words):
    """One of the attacks on the probe, under the name of another exercise."""
    code = re.sub(rf"\b{name}\b", todo, ANSWERS[name].cell(name)).rpartition("\n")[0]
    return answer(todo, code, *words)


def _without_secret(place):
    """The place as Python, in which the secret does not stand as it is: answers are shown on the pages."""
    return f"{place | {'secret': ''}} | {{'secret': {place['secret'][:6]!r} + {place['secret'][6:]!r}}}"


def program(name, todo, words=None):
    """One of the programs that try to get out of the sandbox; what they have found they raise."""
    case = hostile.CASES[name]

    def code(handed):
        prelude = hostile.PRELUDE.replace("json.loads(sys.argv[1])", _without_secret(handed.place))
        tell = "def tell(value):\n    raise RuntimeError(json.dumps(value))\n"
        inside = "\n".join(f"    {line}" for line in f"{prelude}{tell}{case.code}".splitlines())
        return f"def {todo}({PARAMETERS[todo]}):\n{inside}"  # a cell that binds names is executed for other exercises that use them, too

    return answer(todo, code, words or f"`{todo}` raised RuntimeError: {json.dumps(case.told)}"[:200])


FORGED = """
import json, os
own = os.environ.get("LABKIT_RESULT_FD")
for descriptor in [int(own)] if own else range(3, 64):  # written twice, neither counts
    try:
        os.write(descriptor, "".join(json.dumps(line) + "\\n" for line in LINES).encode())
    except OSError:
        pass
os._exit(0)
"""


@cache
def forged():
    """A module that writes what is observed of the course's own answer wherever it can."""
    course = nbformat.read(ROOT / "notebooks" / f"{NOTE06}.ipynb", as_version=4)
    right = next(cell.source for cell in course.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == MEAN)
    exec(right, space := {"torch": torch})
    seen = checks.probe(MEAN, space[MEAN])
    lines = [{"missing": [], "unreadable": []}, {"todo": MEAN, "observations": seen}]
    return f"LINES = {lines!r}\n{FORGED}".encode()


def shadow(*names):
    """Modules of the student's own under the names of others."""

    def make(handed):
        handed.files |= dict.fromkeys((f"{name}.py" for name in names), forged())
        handed.cell(MEAN).source = WRONG[MEAN]

    return Case(make, nothing(MEAN), ("`get_mean_std` as passed, found now",))


def module(text, *words, left=(BEST,)):
    """best_model.py with this text before its own."""

    def make(handed):
        handed.files["best_model.py"] = text.encode() + b"\n" + handed.files["best_model.py"]

    return Case(make, nothing(*left), words)


# --- notebooks --------------------------------------------------------------------------------------


def wrong(change, *words, todo=MEAN, **left):
    """A wrong answer, and what is done so that it counts as a right one."""

    def make(handed):
        handed.cell(todo).source = WRONG[todo]
        change(handed)

    return Case(make, nothing(todo) | left, words)


def notebook(change, left, *words, together=True):
    return Case(change, left, words, together=together)


def drop(grade_id):
    def change(handed):
        for book in handed.notebooks.values():
            book.cells = [cell for cell in book.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != grade_id]

    return change


def edit(grade_id, **changes):
    return lambda handed: handed.cell(grade_id).update(changes)


def mark(grade_id, /, tags=(), **changes):
    def change(handed):
        handed.cell(grade_id).metadata.update(tags=list(tags), nbgrader=dict(handed.cell(grade_id).metadata.nbgrader) | changes)

    return change


def swap_ids(handed):
    first, second = handed.cell("test_step_decay"), handed.cell("test_cyclic")
    first.metadata.nbgrader.grade_id, second.metadata.nbgrader.grade_id = "test_cyclic", "test_step_decay"


def as_markdown(handed):
    """The cell of the test becomes a text with its mark, and what passes stands below."""
    cells, old = handed.notebooks[NOTE06].cells, handed.cell("test_get_mean_std")
    cells[cells.index(old)] = new_markdown_cell(old.source, metadata=copy.deepcopy(old.metadata))


def add(handed, source, where=NOTE06):
    handed.notebooks[where].cells.append(new_code_cell(source, execution_count=1 + sum(c.cell_type == "code" for c in handed.notebooks[where].cells)))


def beside(name, stem=NOTE06, **names):
    """A second notebook, right and clean, for the same lesson; the first one has an error in it."""

    def change(handed):
        handed.files[name] = nbformat.writes(handed.notebooks[stem]).encode()
        handed.show(stem, new_output("error", ename="Error", evalue="", traceback=[]))

    return change


def hide(handed):
    """What is right stands where only a program finds it."""
    right = "def get_mean_std(dataset, ratio=0.3):\n    from labkit import data\n    return data.get_mean_std(dataset, ratio)"
    cell = handed.cell(MEAN)
    cell.metadata["source"] = right
    handed.notebooks[NOTE06].cells.append(new_markdown_cell("see", attachments={"a.py": {"text/plain": right}}))


def all_lessons(handed):
    """A notebook of nothing but the marks of all lessons, printed as passed."""
    ids = [cell.metadata["nbgrader"]["grade_id"] for book in handed.notebooks.values() for cell in book.cells if "nbgrader" in cell.metadata]
    cells = [new_code_cell("pass", execution_count=n, metadata={"nbgrader": {"grade_id": name, "points": 1000}}) for n, name in enumerate(ids, 1)]
    cells[0].outputs = [LIKED]
    handed.files[f"{handed.student}_lab3.ipynb"] = nbformat.writes(new_notebook(cells=cells)).encode()


def no_notebook(case):
    """The notebook 08 is none."""

    def change(handed):
        del handed.notebooks[NOTE08]
        handed.files[f"{NOTE08}.ipynb"] = NO_NOTEBOOKS[case][0]

    return notebook(change, nothing(STEP, CYCLIC, NOTE08), NO_NOTEBOOKS[case][1])


def scripts(handed):
    """Script wherever a text of the student's can stand."""
    html = "".join(MARKUP).replace("\ud800", "")  # nbformat cannot write half a character
    handed.show(NOTE06, new_output("display_data", data={"text/html": html, "image/svg+xml": html, "application/javascript": html}))
    handed.cell("discussion_normalization").source += html
    handed.cell("discussion_rate").source += "<script>alert(1)</script>" * 2000
    handed.notebooks[NOTE06].cells.append(new_markdown_cell(html, metadata={"tags": [html], "nbgrader": {"grade_id": html, "points": html}}))
    handed.files[f"{html[:60].replace('/', '')}.txt"] = b"x"


def flood(handed):
    handed.show(NOTE06, new_output("stream", name="stdout", text="".join(f"kept as run {n:016x}\n" for n in range(50_000)) + "epoch  1/9  lr " * 50_000))


# --- runs -------------------------------------------------------------------------------------------


def record(spoil, stem, left, *words, seal=True):
    """The first run of a notebook is spoiled; seal: as a forger would, with a seal that fits."""

    def make(handed):
        folder = handed.run(stem)
        spoil(folder)
        if seal and (folder / "result.json").exists():
            forge(folder)

    return Case(make, left, words)


def without_weights(handed):
    for key in handed.cited[NOTE06]:
        (handed.runs[key] / WEIGHTS_FILE).unlink(missing_ok=True)


def rename(handed, stem, number=0, **changes):
    """The run becomes one of another experiment, in all places; returns its folder."""
    old = handed.cited[stem][number]
    folder = handed.runs[old]
    content = read(folder / "experiment.json") | changes
    new = key_of(content)
    (folder / "experiment.json").write_text(json.dumps(content))
    forge(folder, key=new)
    handed.runs[new] = folder.rename(folder.with_name(new))
    del handed.runs[old]
    handed.cited[stem][number] = new
    handed.cite(stem, old, new)
    return handed.runs[new]


def copies(clock):
    """One run, handed in five times under the keys of other experiments; clock: seconds by which each copy ends later."""

    def make(handed):
        first = handed.run(NOTE06)
        for number in range(1, 5):
            folder = handed.runs[handed.cited[NOTE06][number]]
            shutil.rmtree(folder)
            shutil.copytree(first, folder)
            if clock:
                rows("timing.jsonl", lambda content, n=number: [row.update(ended=row["ended"] + clock * n) for row in content])(folder)
            rename(handed, NOTE06, number, seed=number)

    return make


def other_key(handed):
    """The runs of one notebook as another student would hand them in: with another seed in the record."""
    rename(handed, NOTE08, seed=4711)


def upper(handed):
    key = handed.cited[NOTE13][0]
    folder = handed.runs.pop(key)
    handed.entries += [(f"runs/{key.upper()}/{path.name}", path.read_bytes()) for path in folder.iterdir()]


def twice(handed):
    """A second record under the same key, farther from the root, whose claim is higher."""
    key = handed.cited[NOTE08][0]
    other = Path(shutil.copytree(handed.runs[key], handed.runs[key].with_name("other")))
    forge(other, test_acc=1.0)
    handed.entries += [(f"old/runs/{key}/{path.name}", path.read_bytes()) for path in other.iterdir()]


def weights(case, stem=NOTE13):
    """Weights that are none, of the run that decides over the accuracy."""
    ending, make, _ = WEIGHTS[case]

    def spoil(folder):
        (folder / WEIGHTS_FILE).unlink()
        (folder / f"weights.{ending}").write_bytes(make())

    return record(spoil, stem, {NOTE13: 1, ACCURACY: 0}, f"was not measured: weights.{ending} ")


def poison(handed):
    """A pickle that deletes the canary, in every run."""
    for folder in handed.runs.values():
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        (folder / "weights.pt").write_bytes(saved(models.SimpleCNN().state_dict() | {"x": Canary(f"{handed.place['folder']}/got-out")}))


def random_weights(claim, value=None):
    def spoil(folder):
        state = models.build(read(folder / "experiment.json")["model"]).state_dict()
        if value is not None:
            state = {name: tensor.fill_(value) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        save_file(state, folder / WEIGHTS_FILE)
        forge(folder, test_acc=claim)

    return spoil


def own_network(text, *words, left=None):
    """A network of the student's own, that cheats when it is measured."""

    def make(handed):
        rename(handed, NOTE13, model="own_net.py:Net")
        handed.files["own_net.py"] = text.encode()

    return Case(make, {NOTE13: 1, ACCURACY: 0} if left is None else left, words)


# --- zips and names ---------------------------------------------------------------------------------


def unreadable(make, *words):
    return Case(lambda handed: setattr(handed, "packed", lambda _: make()), nothing(*FULL), words, together=False)


def entry(name, words, **changes):
    """An entry that leads elsewhere, beside the honest ones."""
    return Case(lambda handed: handed.entries.append((info(name, **changes), b"import os")), {}, (f"{shown(name)}: ", words))


def bare(name):
    """Hardly anything, in a zip of this name."""

    def make(handed):
        handed.notebooks, handed.runs, handed.files, handed.zip = {}, {}, {"notes.txt": b"x"}, f"{handed.student}/{name}"

    return Case(make, nothing(*FULL), ("there is no notebook that can be read",), together=False)


def renamed(name):
    return Case(lambda handed: setattr(handed, "zip", name), {}, ("100_lab3.zip is a submission of 100, too", "files inside are named for"), together=False)


def report(content, *words):
    def make(handed):
        handed.files[f"{handed.student}_lab3.pdf"] = content

    return Case(make, {"report": 0}, words)


LINK = (stat.S_IFLNK | 0o777) << 16
CASES = {
    # --- answers that attack the probe -------------------------------------------------------------
    "exits": attack("replace_head", MEAN, "exit status 0"),
    "patches the probe": attack("train", STEP, "it changed labkit.checks.probe"),
    "patches json and builtins": attack("get_mean_std", CYCLIC),
    "clears the list of checks": attack("objective", MEAN),
    "patches a method": attack("BestModel", STEP, "it changed labkit.checks.todo.Todo.probe"),
    "floods what it prints": attack("draw_scaling", CYCLIC),
    "sleeps with all signals blocked": attack("pretrained_runs", MEAN, "given up after"),
    "leaves a child that writes": attack("augment", STEP),
    "takes all memory": attack("updates_per_epoch", CYCLIC, "MemoryError"),
    "equals everything": Case(attack("step_decay", STEP).make, {STEP: 0.6}),  # what any wrong number gets
    "loops": answer(CYCLIC, "def cyclic(step, base_lr, max_lr, step_size):\n    while True:\n        pass", "look for a loop that does not end"),
    "catches all and loops": answer(
        STEP,
        f"def step_decay({PARAMETERS[STEP]}):\n    while True:\n        try:\n            sum(range(10**4))\n        except BaseException:\n            pass",
    ),
    "crashes": answer(MEAN, "import ctypes\ndef get_mean_std(dataset, ratio=0.3):\n    ctypes.string_at(0)", "signal 11"),
    "forks a bomb": Case(  # it may end the whole run
        answer(CYCLIC, "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        cyclic = 1").make, {CYCLIC: 0, BEST: None}
    ),
    "asks for the module of the grader": answer(STEP, "import labkit.course.rubric as step_decay", "ModuleNotFoundError"),
    "is labkit's own": answer(MEAN, "from labkit.data import get_mean_std", "is labkit's own"),
    "calls labkit's own": answer(
        MEAN, f"import labkit.data\ndef get_mean_std({PARAMETERS[MEAN]}):\n    return labkit.data.get_mean_std(dataset, ratio)", "uses labkit's own"
    ),
    "calls a shell": answer(CYCLIC, lambda handed: f"cyclic = !rm {handed.place['file']}", "get_ipython"),
    "is a bomb for the parser": answer(MEAN, "get_mean_std = " + "(" * 5000 + ")" * 5000),
    "holds half a character": answer(STEP, "step_decay = '\\ud800'\n\x00"),
    # --- what may not be reached -------------------------------------------------------------------
    "reads the password file": program("reads the password file", MEAN),
    "reads a file outside": program("reads a file outside", STEP),
    "reads the course's own files": program("reads the course's own files", CYCLIC),
    "reads environment variables": program("reads environment variables", MEAN, "Permission denied: '/proc/1/environ'"),
    "connects to this machine": program("connects to this machine", STEP),
    "connects to the world": program("connects to the world", CYCLIC),
    "connects to an abstract socket": program("connects to an abstract socket", MEAN),
    "connects to a socket in a folder": program("connects to a socket in a folder", STEP),
    "leaves a link to a file outside": program("leaves a link to a file outside", CYCLIC),
    "makes forbidden system calls": program("makes forbidden system calls", MEAN),
    # --- modules -----------------------------------------------------------------------------------
    "a labkit of its own": shadow("labkit"),
    "modules of others": shadow("json", "torch", "numpy", "sitecustomize", "usercustomize", "ctypes", "select", "typing"),
    "a module that forges": Case(lambda handed: handed.files.update({"best_model.py": forged()}), nothing(BEST), ("`BestModel`",)),
    "a module that prints verdicts": module("print('BestModel: passed, 4 of 4 points\\nget_mean_std: passed, 5 of 5 points')", left=()),
    "a module that patches": module("import labkit.checks\nlabkit.checks.probe = labkit.checks.judge = lambda *a: {}", "it changed labkit.checks."),
    # --- tests and marks ---------------------------------------------------------------------------
    "deletes a test": wrong(drop("test_get_mean_std"), "the test cell test_get_mean_std is not in it", **{NOTE06: 2.5}),
    "edits a test": wrong(edit("test_step_decay", source="assert True"), "the test cell test_step_decay was changed", todo=STEP),
    "makes a test a text": wrong(as_markdown, "`get_mean_std` as passed, found now", **{NOTE06: 2.5}),
    "skips a locked cell by tags": wrong(mark("test_get_mean_std", tags=["raises-exception", "skip-execution", "nbval-skip"], points=1e9, locked=False)),
    "gives itself points": wrong(mark("test_cyclic", points=10**9, grade=True, solution=True), todo=CYCLIC),
    "swaps the marks of tests": Case(swap_ids, nothing(CYCLIC), ("test_cyclic was changed", "test_step_decay was changed")),
    "marks its answer as a test": Case(mark(MEAN, grade_id="test_get_mean_std"), nothing(MEAN), ("test_get_mean_std was changed",)),
    "defines check": wrong(lambda handed: add(handed, "def check(todo, answer):\n    print(f'{todo}: passed')\ncheck('step_decay', 1)", NOTE08), todo=STEP),
    "hides a check behind prompts": wrong(
        lambda handed: add(handed, ">>> >>> check('cyclic', lambda *a, **k: __import__('labkit.schedules').schedules.cyclic(*a, **k))", NOTE08), todo=CYCLIC
    ),
    "edits an output": wrong(lambda handed: handed.show(NOTE06, LIKED), "it shows `get_mean_std` as passed, found now"),
    "hides its answer": wrong(hide),
    "leaves the answer open": Case(
        edit(STEP, source=f"def step_decay({PARAMETERS[STEP]}):\n    raise NotImplementedError"), {STEP: 0, NOTE08: 1}, ("is still open",)
    ),
    "a second notebook in capitals": Case(
        beside("06_NORMALIZATION.ipynb"), {NOTE06: 2.5}, ("other files could be 06_normalization.ipynb", "06_NORMALIZATION.ipynb")
    ),
    "a second notebook of another name": Case(beside("06_zz.ipynb"), {NOTE06: 2.5}, ("06_zz is named after a lesson",)),
    "one notebook for all lessons": Case(all_lessons, {}, ()),
    "was executed in no order": Case(lambda handed: handed.cell("test_cyclic").update(execution_count=999), {NOTE08: 1}, ("executed",)),
    "script in all texts": Case(scripts, {}, ()),
    "floods its outputs": Case(flood, {}, ("it cites run 0000000000000000, which was not handed in", "more of this kind")),
    "a notebook that is no json": no_notebook("text"),
    "a notebook that is too deep": no_notebook("deep"),
    "a notebook of lists": no_notebook("cell list"),
    "a notebook of another format": no_notebook("format 3"),
    # --- records -----------------------------------------------------------------------------------
    "claims too much": record(result(test_acc=0.96), NOTE13, {NOTE13: 0, ACCURACY: 5}, "claims a test accuracy of 0.9600, its weights reach"),
    "accuracy above 1": record(epoch(0, train_acc=1.7), NOTE06, nothing(NOTE06), "train_acc of epoch 1 is 1.7, outside 0 to 1"),
    "too good a loss": record(result(test_loss=1e-9), NOTE08, nothing(NOTE08), "test_loss of the result is 1e-09, too small"),
    "more epochs than there were": record(result(epochs=300), NOTE06, nothing(NOTE06), "result.json claims 300 epochs"),
    "a training in the future": record(tick(-1, ended=4e9), NOTE08, nothing(NOTE08), "ends in the future"),
    "another size": record(result(parameters=5), NOTE13, nothing(NOTE13, ACCURACY), "result.json claims 5 parameters"),
    "an edited experiment": record(experiment(seed=99), NOTE13, nothing(NOTE13, ACCURACY), "its experiment.json is that of run"),
    "no numbers": record(epoch(0, train_acc=float("nan"), lr=float("inf")), NOTE06, {NOTE06: 4.5}, "train_acc is None, no number"),
    "huge numbers": record(result(test_acc=10**400, epochs=10**30), NOTE08, nothing(NOTE08), "result.json claims 1"),
    "a result edited by hand": record(
        lambda f: (f / "result.json").write_text(json.dumps(read(f / "result.json") | {"seconds": 1})),
        NOTE06, {NOTE06: 4.5}, "its seal does not fit", seal=False,
    ),
    "no weights": Case(without_weights, {NOTE06: 4.5}, ("its weights are missing",)),
    "other images": record(
        lambda f: (f / "environment.json").write_text(json.dumps([read(f / "environment.json")[-1] | {"test_digest": "0" * 64}])),
        NOTE08, {NOTE08: 2}, f"the test images of {DATA} are not those of run",
    ),
    "another dataset": Case(lambda handed: rename(handed, NOTE08, data="imagefolder:/etc"), {NOTE08: 2}),
    "the run of another student": Case(other_key, {NOTE08: 2}, hints=("also in the submission of",)),
    "one run as five": Case(copies(0), nothing(NOTE06), ("ended at the same times as those of run",)),
    "one run as five, at other times": Case(copies(100), nothing(NOTE06), ("its history is that of run",)),
    "a key in capitals": Case(upper, {NOTE13: 1, ACCURACY: 0}, ("which was not handed in",)),
    "two records of one key": Case(twice, {NOTE08: 2}, ("other folders could be runs/",)),
    # --- weights -----------------------------------------------------------------------------------
    "random weights": record(random_weights(0.9), NOTE13, nothing(NOTE13, ACCURACY), "claims a test accuracy of 0.9000"),
    "weights that are not finite": record(random_weights(0.9, float("nan")), NOTE13, nothing(NOTE13, ACCURACY), "values that are not finite"),
    "poisoned weights": Case(poison, {NOTE06: 3.5, NOTE08: 1, NOTE13: 1, ACCURACY: 0}, ("holds more than a state dict",)),
    **{
        f"weights: {case}": weights(case)
        for case in ("st shape beyond the bytes", "st cut short", "pt eval", "pt zip bomb", "pt strided bomb", "pt torchscript", "pt deep")
    },
    # --- networks of the student's own ---------------------------------------------------------------
    "a network that ends the program": own_network("import os\nos._exit(0)", "ended the program before there were logits"),
    "a network that forges logits": own_network(
        f"import os\n{SEND}send(b'logits\\n' + bytes(4000))\nos._exit(0)", "its weights reach 0.1", left=nothing(NOTE13, ACCURACY)
    ),
    "a network that floods": own_network("while True:\n    print('x' * 10_000)", "wrote more than"),
    # --- zips --------------------------------------------------------------------------------------
    **{f"zip: {case}": unreadable(make, words) for case, (make, words) in UNREADABLE.items() if words != "111_lab3.zip"},
    "zip: overlapping entries": unreadable(lambda: overlapping(2), "entries that overlap"),
    "zip: thousands of entries": unreadable(lambda: zipped(*((f"{n}", b"") for n in range(2001))), "holds 2,001 entries"),
    "zip: nothing in it": unreadable(lambda: zipped(), "there is no notebook that can be read"),
    "zip: a bomb": Case(lambda handed: handed.entries.append(("09_batch_size.ipynb", b" " * 60_000_000)), {}, ("as a zip bomb does",)),
    **{f"entry: {case}": entry(name, words, **changes) for case, (name, changes, words) in REFUSED_ENTRIES.items() if case not in ("lzma", "bzip2", "method")},
    "a link to a file outside": Case(
        lambda handed: handed.entries.append((info("resnet50.py", external_attr=LINK), handed.place["file"])), {}, ("a link or a device",)
    ),
    # --- names -------------------------------------------------------------------------------------
    "name: a formula": bare("=HYPERLINK(\"http:&#47;&#47;x\",\"y\")_lab3.zip"),
    "name: a command": bare("@SUM(1+1)*cmd|' C'!A0_lab3.zip"),
    "name: the index": bare("index_lab3.zip"),
    "name: a device": bare("CON_lab3.zip"),
    "name: dots": bare(".._lab3.zip"),
    "name: markup": bare("<img src=x onerror=alert(1)>_lab3.zip"),
    "name: unseen signs": bare("1\u202e1\n1_lab3.zip"),
    "name: no valid text": bare("1\udcff1_lab3.zip"),
    "name: too long": bare("9" * 200 + "_lab3.zip"),
    "name: in capitals": bare("INDEX_LAB3.ZIP"),
    "name: the same in small letters": bare("ann_lab3.zip"),
    "name: the same in large letters": bare("ANN_lab3.zip"),
    "name: of another student": renamed("again/100_lab3.zip"),
    # --- reports -----------------------------------------------------------------------------------
    "report: a script": report(HEAD + b"1 0 obj << /S /J#61vaScript /JS (app.alert(1)) >> endobj" + END, "holds JavaScript"),
    "report: a hidden program": report(HEAD + stream(b"<< /S /Launch /F (cmd.exe) >>") + END, "holds Launch"),
    "report: a page": report(b"<html><script>alert(1)</script></html>", "is no PDF"),
    "report: cut short": report(PDF[:-7], "has no end"),
}  # fmt: skip
