"""`labkit submit`: what is handed in, in one zip, and before that a list of all that is missing.

Nothing of the student's code is executed for it. That an exercise is still open can be seen in its text, the stub is there;
whether an answer is right is what `labkit status` says.
"""

import ast
import json
import os
import re
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

from labkit import archive, checks, limits, models, printing
from labkit.checks import notebook as reading
from labkit.errors import LabkitError, Refused, accepted
from labkit.notebooks import LESSONS, find
from labkit.pdf import need_passive
from labkit.runs import RECORD, WEIGHTS, DamagedError, Experiment, RunStore, cited

WEIGHED = ("best", "all")  # the runs whose weights are handed in
LESSON = {"resnet18.py", "best_model.py"}  # what the notebooks of the kit import from their folder
KIT = {"check_environment.py"}  # comes with the kit and has nothing of the student in it
AGAIN = "in Jupyter choose Kernel > Restart Kernel and Run All Cells, then save"
UNANSWERED = (reading.TEXT_STUB, "YOUR ANSWER HERE")  # the second one is nbgrader's own
_NAMED = 5  # cells that are named one by one
_NAMED_FILES = 3  # the largest ones, where all together are too large
_KINDS = {".ipynb": "notebook", ".py": "source", ".pdf": "report", ".safetensors": "weights"}  # of `limits.LARGEST`; the rest are records
_FEWER = "remove cells of trainings that you do not discuss and execute their notebooks again"
_SMALLER = {
    "notebook": "print and show less in the cells with the longest outputs, and execute it again",
    "source": "keep data out of it",
    "report": "print it with smaller pictures",
    "record": "train this run for fewer epochs",
    "weights": "train a smaller network",
}


@dataclass
class Submission:
    """What can be handed in. files: {name in the zip: bytes, or the Path of a file}; missing: a sentence for each thing that
    is not as it should be; notes: what is good to know; notebooks: {name in the zip: the parsed notebook}; asked: the exercises in them.
    """

    student: str
    folder: Path
    files: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    notebooks: dict = field(default_factory=dict)
    asked: set = field(default_factory=set)

    @property
    def name(self):
        return f"{self.student}_lab3"

    @property
    def runs(self):
        """The keys of the runs in it."""
        return sorted({name.split("/")[1] for name in self.files if name.startswith("runs/")})

    @property
    def size(self):
        """Bytes of all files."""
        return sum(map(_size, self.files.values()))

    def read(self, name, path, within):
        """Take the file at `path` as `name`, with its content of now: it may be saved again while this goes on.

        Returns the bytes; None, and says so, if it is no file or does not lie in the folder `within`.
        """
        fault, content = _fault(path, within), None
        try:
            content = None if fault else path.read_bytes()
        except OSError as error:
            fault = f"cannot be read ({error.strerror}); see that you may read it"
        if fault:
            self.missing.append(f"{path} {fault}")
        else:
            self.files[name] = content
        return content


def collect(student, folder, report=None, limit=1000, weights="best"):
    """Look at everything that `student` hands in from the notebooks in `folder`; returns a `Submission`, writes nothing.

    report: a PDF or a notebook to take as the report. limit: MB that it may have. weights: "best" takes those of one run of each
    notebook, the one with the highest test accuracy, which is what grading measures, and "all" those of every run; records are taken
    of all. Raises `LabkitError` for wrong use.
    """
    accepted("weights", weights, WEIGHED)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", student):
        raise LabkitError(f"the id {student[:40]!r} is not one of 1 to 32 letters, digits, - and _; give your student number with --id")
    submission = Submission(student, Path(folder))
    report = _given(report)
    _add_notebooks(submission, report)
    _add_sources(submission, _add_runs(submission, weights))
    _add_report(submission, report)
    _check_sizes(submission, limit)
    return submission


def write(submission, folder):
    """Write the submission as a zip into `folder`, with what is missing in MISSING.txt; returns its path."""
    missing = {"MISSING.txt": _lines(submission.missing).encode()} if submission.missing else {}
    out = Path(folder) / f"{submission.name}.zip"
    archive.write_zip(out, submission.files | missing)
    return out


def hand_in(submission, folder, incomplete=False):
    """Print what is missing and, if that is nothing or `incomplete`, write the zip and say what is in it; returns whether it did."""
    if submission.missing:
        print(f"missing in the submission of {submission.student}:\n{_lines(submission.missing)}", end="")
    if submission.missing and not incomplete:
        print("nothing was written; to hand in what there is, add --incomplete")
        return False
    out = write(submission, folder)
    print(_lines(submission.notes), end="")
    print(f"{_count(submission.notebooks, 'notebook')}, {_count(submission.runs, 'run')}, {out.stat().st_size / 1e6:.1f} MB")
    print(f"your submission{' without what is missing' * bool(submission.missing)} is {out.absolute()}: hand in this file")
    return True


def _count(things, name):
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def _fault(path, within):
    """Why the file at `path` is not taken, None if it is: it must lie in the folder `within`."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(within)):
        return f"is a link to a file outside of {within}; put the file itself there"
    return None if path.is_file() else "is no file that can be read; put the file itself there"


def _there(path):
    return path.exists() or path.is_symlink()  # a link to nowhere is there, too


def _lines(sentences):
    return "".join(f"- {sentence}\n" for sentence in sentences)


# --- notebooks --------------------------------------------------------------------------------------


def _add_notebooks(submission, report):
    """Every numbered notebook, and the report if it is one."""
    own = submission.folder / f"{submission.name}.ipynb"
    own = report if report and not _is_pdf(report) else own if _there(own) else None
    for path in _numbered(submission, own):
        _add_notebook(submission, path.name, path, submission.folder)
    if own:
        _add_notebook(submission, f"{submission.name}.ipynb", own, own.resolve().parent if own is report else submission.folder)
    left = [todo for todo in checks.names() if todo not in submission.asked]
    if left:
        submission.notes.append(f"no notebook here asks for {', '.join(left)}; that is fine if your course leaves it out")


def _numbered(submission, own):
    try:
        found = find(submission.folder, patterns=[LESSONS])
    except LabkitError:
        if own and submission.folder.is_dir():  # all of the lab in one notebook
            return []
        raise
    return [path for path in found if path.name != f"{submission.name}.ipynb"]  # an id may begin like a number


def _add_notebook(submission, name, path, within):
    content = submission.read(name, path, within)
    if content is None:
        return
    try:
        submission.notebooks[name] = notebook = reading.read(path, content)
        submission.asked |= set(reading.answers(path))
    except LabkitError as error:
        submission.missing.append(str(error))
        return
    submission.missing += [f"{path.name}, {sentence}" for _, sentence in faults(notebook)]


def faults(notebook):
    """Yield (kind, sentence) of what is wrong with a notebook; kind: "open", "unanswered", "order" (of execution) or "error"."""
    cells = list(enumerate(notebook.cells, 1))
    for number, cell in cells:
        yield from (("open", f"cell {number}: {_open(name)}") for name in reading.stubs(reading.code(cell)))
        if cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("solution") and _is_empty(cell.source):
            yield "unanswered", f"cell {number}: the question above it has no answer; write it into this cell"
    # Jupyter does not execute cells without a text.
    counts = {number: cell.get("execution_count") for number, cell in cells if cell.cell_type == "code" and cell.source.strip()}
    yield from (("order", sentence) for sentence in _disorder(counts))
    for number, cell in cells:
        stops = (_error(output) for output in cell.get("outputs", []) if _is_error(output))
        yield from (("error", f"cell {number}: it stopped with {error}; mend it, then {AGAIN}") for error in stops)


def _open(name):
    return f"{f'`{name}`' if name else 'an exercise'} is still open; put your code in the place of `raise NotImplementedError`"


def _is_empty(answer):
    """Whether nothing, or nothing but what stood there before, is in the answer to a question."""
    for stub in UNANSWERED:
        answer = answer.replace(stub, "")
    return not answer.strip()


def _disorder(counts):
    """counts: {number of a cell: the number that its execution had, None if it had none}."""
    never = [number for number, count in counts.items() if count is None]
    if never:
        yield f"{_never(never, len(counts))}; {AGAIN}"
    executed = [(number, count) for number, count in counts.items() if count is not None]
    for expected, (number, count) in enumerate(executed, 1):
        if count != expected:
            yield f"cell {number}: it was executed as number {count} and not as number {expected}, so not all ran once, from the top down; {AGAIN}"
            return


def _never(cells, of):
    """That these cells, of as many, were never executed."""
    if len(cells) == of:
        return "none of its cells was executed"
    if len(cells) == 1:
        return f"cell {cells[0]} was never executed"
    if len(cells) <= _NAMED:
        return f"cells {', '.join(map(str, cells))} were never executed"
    return f"{len(cells)} cells were never executed, the first one is cell {cells[0]}"


def _is_error(output):
    return output.get("output_type") == "error"


def _error(output):
    value = str(output.get("evalue", "")).strip().split("\n")[0][:100]
    return f"{output.get('ename', 'an error')}: {value}" if value else output.get("ename", "an error")


# --- runs ---------------------------------------------------------------------------------------------


def _add_runs(submission, weights):
    """Every run that a notebook cites; returns their experiments."""
    root = _store(submission.folder)
    shown = {name: cited(reading.printed(notebook)) for name, notebook in submission.notebooks.items()}
    where = {key: [name for name in shown if key in shown[name]] for keys in shown.values() for key in keys}
    runs = {key: run for key, names in where.items() if (run := _add_run(submission, root, key, names))}
    for key in runs if weights == "all" else weighed(shown, {key: run.result["test_acc"] for key, run in runs.items()}):
        submission.files[f"runs/{key}/{WEIGHTS}"] = root / key / WEIGHTS
    return [run.experiment for run in runs.values()]


def weighed(shown, accuracies):
    """The keys of the runs whose weights are handed in, in order: of each notebook the one with the highest test accuracy.

    shown: {notebook: keys of the runs that it shows}; accuracies: {key: test accuracy or None}, of those that there are.
    """
    ranked = highest_first(accuracies)
    return sorted({key for keys in shown.values() for key in [key for key in ranked if key in keys][:1]})


def highest_first(accuracies):
    """The keys of runs, that of the highest test accuracy first. accuracies: {key: test accuracy or None}."""
    return sorted(accuracies, key=lambda key: (-(accuracies[key] or 0), key))


def _store(folder):
    """The run store of notebooks in `folder`: their kernels run there, `labkit run` in the folder at hand."""
    named = os.environ.get("LABKIT_RUNS")
    places = [Path(named), folder / named] if named else [folder / "runs", Path("runs")]
    return next((place for place in places if place.is_dir()), places[0]).absolute()


def _add_run(submission, root, key, names):
    """Add the record of one run; returns the `Run`, None if it cannot be handed in."""
    cites = f"run {key}, which {' and '.join(names)} shows,"
    try:
        with chdir(submission.folder):  # as when it was trained: it may name a file there
            run = _finished(root, key)
    except LabkitError as error:
        submission.missing.append(f"{cites} {error}")
        return None
    for name in RECORD:
        submission.files[f"runs/{key}/{name}"] = root / key / name
    return run


def _finished(root, key):
    """A finished `Run`; raises `LabkitError` that says what it is instead."""
    if not (root / key).is_dir():
        raise LabkitError(f"is not in {root}; name the folder of your runs with LABKIT_RUNS, or execute the notebook again")
    for path in filter(_there, (root / key / name for name in (*RECORD, WEIGHTS))):
        if fault := _fault(path, root):
            raise LabkitError(f"cannot be handed in: its {path.name} {fault}")
    try:
        experiment = Experiment.from_dict(json.loads((root / key / "experiment.json").read_bytes()))
        if experiment.key != key:
            raise DamagedError("its experiment.json is not the experiment that its name stands for")
        run = RunStore(root).read(experiment)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error) if isinstance(error, LabkitError) else "a file of its record cannot be read"
        raise LabkitError(f"is damaged ({reason}); execute the notebook again, it trains this run once more") from error
    if run is None:
        raise LabkitError("is not finished; execute the notebook again, it goes on from the last epoch")
    return run


# --- Python files -------------------------------------------------------------------------------------


def _add_sources(submission, experiments):
    """The Python files beside the notebooks that these, their runs or one another use."""
    wanted = {path.as_posix() for experiment in experiments if (path := models.own_file(experiment.model))}
    for notebook in submission.notebooks.values():
        wanted = wanted.union(*(_named(reading.code(cell), submission.folder) for cell in notebook.cells))
    done = set(KIT)
    while todo := wanted - done:
        name = min(todo)  # in the order of their names
        done.add(name)
        wanted |= _add_source(submission, name)


def _add_source(submission, name):
    """Add a file; returns the names of those that it uses."""
    path = submission.folder / name
    if "/" in name:
        submission.missing.append(f"{name} is not beside the notebooks; put your code into a file there, and execute the notebooks again")
        return set()
    if not _there(path):
        submission.missing.append(f"{name} is not in {submission.folder}; put it beside the notebooks that import it")
        return set()
    text = (submission.read(name, path, submission.folder) or b"").decode("utf-8", "replace")
    submission.missing += [f"{name}: {_open(function)}" for function in reading.stubs(text)]
    return _named(text, submission.folder)


def _named(source, folder):
    """The files that a source imports from `folder` or names in a text (`%run own.py`, `best_model.py:BestModel`)."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    imported = {f"{name.partition('.')[0]}.py" for name in _imports(nodes)}
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    named = {name for text in texts for name in re.findall(r"[\w-]+\.py\b", text)}
    here = {name for name in imported | named if _there(folder / name)}
    packages = {f"{name[:-3]}/__init__.py" for name in imported - here - {"labkit.py"} if _there(folder / name[:-3] / "__init__.py")}
    return here | packages | (imported & LESSON)


def _imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


# --- the report ---------------------------------------------------------------------------------------


def _given(report):
    """The report that was asked for; raises `LabkitError` if it is not there."""
    if report is None:
        return None
    report = Path(report)
    if not _is_pdf(report) and report.suffix != ".ipynb":
        raise LabkitError(f"the report {report} is neither a PDF nor a notebook; name a file that ends in .pdf or .ipynb with --report")
    if not report.is_file():
        raise LabkitError(f"there is no file {report}; name your report with --report")
    return report


def _is_pdf(path):
    return path.suffix.lower() == ".pdf"


def _add_report(submission, given):
    """The PDF: the one that was given, else <id>_lab3.pdf, else <id>_lab3.ipynb printed, else the only PDF beside the notebooks."""
    name, folder = f"{submission.name}.pdf", submission.folder
    notebook = f"{submission.name}.ipynb"
    found = [folder / name] if _there(folder / name) else sorted(filter(_is_pdf, folder.iterdir()))
    if given and _is_pdf(given):
        _add_pdf(submission, given, given.resolve().parent)
    elif notebook in submission.files and (given or not _there(folder / name)):
        _print(submission, name, notebook, (given or folder / notebook).parent)
    elif len(found) == 1:
        _add_pdf(submission, found[0], folder)
    elif found:
        names = ", ".join(path.name for path in found)
        submission.missing.append(f"which of {names} is the report cannot be known; name it {name}, or give it with --report")
    else:
        submission.missing.append(f"there is no report; put {name} or {notebook} into {folder}, or give a PDF or a notebook with --report")


def _add_pdf(submission, path, within):
    name = f"{submission.name}.pdf"
    content = submission.read(name, path, within)
    if content is None:
        return
    try:
        need_passive(content)
        submission.notes.append(f"the report is {path}")
    except Refused as problem:
        del submission.files[name]
        submission.missing.append(f"the report {path} {problem}, or give another file with --report")


def _print(submission, name, notebook, folder):
    if notebook not in submission.notebooks:  # it cannot be read, which has been said
        return
    try:
        submission.files[name] = printing.to_pdf(submission.notebooks[notebook], submission.name, folder)
        submission.notes.append(f"the report was printed from {notebook}")
    except LabkitError as error:
        submission.missing.append(f"there is no report: {error}")


def _size(content):
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _check_sizes(submission, limit):
    """Against what the course wants, and what grading takes."""
    for name, content in submission.files.items():
        kind = _KINDS.get(Path(name).suffix, "record")
        if _size(content) > limits.LARGEST[kind]:
            submission.missing.append(f"{name} has {_in_mb(_size(content))}, and grading takes {_in_mb(limits.LARGEST[kind])}; {_SMALLER[kind]}")
    read = sum(_size(content) for name, content in submission.files.items() if _KINDS.get(Path(name).suffix) in ("notebook", "source", "report"))
    if read > limits.MEMORY:
        submission.missing.append(f"notebooks and report have {_in_mb(read)}, and grading takes {_in_mb(limits.MEMORY)}; {_SMALLER['notebook']}")
    if len(submission.files) > limits.ENTRIES:
        submission.missing.append(f"these are {len(submission.files):,} files, and grading takes {limits.ENTRIES:,}; {_FEWER}")
    if submission.size > min(limit * 1e6, limits.TOTAL):
        submission.missing.append(_too_much(submission, limit))


def _too_much(submission, limit):
    largest = sorted(submission.files, key=lambda name: -_size(submission.files[name]))[:_NAMED_FILES]
    sizes = ", ".join(f"{name} {_in_mb(_size(submission.files[name]))}" for name in largest)
    of_course = limit * 1e6 <= limits.TOTAL
    most = f"{limit:g} MB" if of_course else f"the {_in_mb(limits.TOTAL)} that grading unpacks"
    other = "ask your course for another --limit" if of_course else "hand in fewer weights"
    return f"the files have {_in_mb(submission.size)}, more than {most} (the largest: {sizes}); {_FEWER}, or {other}"


def _in_mb(size):
    return f"{size / 1e6:.1f} MB"
