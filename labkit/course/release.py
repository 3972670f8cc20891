"""The student kit: the notebooks without their solutions, and all that they need, made from the one source."""

import re
from pathlib import Path

import jinja2
import nbformat
import tomlkit
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader import preprocessors
from traitlets.config import Config

import labkit
from labkit.archive import write_zip
from labkit.checks.notebook import STUB, TEXT_STUB
from labkit.errors import LabkitError
from labkit.notebooks import LECTURES, find

FOLDER = "labkit-kit"  # what the zip unpacks to
EXTRAS = ("test", "grading", "authoring")  # of pyproject.toml, which students do not need
UNTRACKED = (".venv/", "/notebooks/data/", "/notebooks/runs/", "__pycache__/", "*.egg-info/")
MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "BEGIN MARK SCHEME")

# nbgrader's own order for `generate_assignment`, without what needs its database.
_STEPS = (
    preprocessors.LockCells,
    preprocessors.ClearSolutions,
    preprocessors.ClearOutput,
    preprocessors.ClearHiddenTests,
    preprocessors.ClearMarkScheme,
    preprocessors.ComputeChecksums,
    preprocessors.CheckCellMetadata,
)
_CONFIG = Config(ClearSolutions={"code_stub": {"python": STUB}, "text_stub": TEXT_STUB})
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)


def release(root, out):
    """Write the kit of the repository at `root` to the zip `out`; return the names of its files.

    The same source gives the same bytes. Raises `LabkitError` for a source that cannot be made into a kit.
    """
    files = kit_files(Path(root))
    write_zip(Path(out), {f"{FOLDER}/{name}": content for name, content in files.items()})
    return list(files)


def kit_files(root):
    """{name in the kit: bytes}, in the order of the names."""
    notebooks = find(root / "notebooks")
    _need_checkout(root)
    texts = {f"notebooks/{path.name}": exercise_notebook(path) for path in notebooks}
    texts |= {f"notebooks/{path.name}": exercise_module(path) for path in sorted((root / "notebooks").glob("*.py"))}
    _need_no_solution(texts)
    texts |= {str(path.relative_to(root).as_posix()): path.read_text(encoding="utf-8") for path in _package(root)}
    texts |= {name: _for_students((root / name).read_text(encoding="utf-8")) for name in ("constraints.txt", "environment.yml")}
    texts |= {"pyproject.toml": _project(root), "README.md": _readme(notebooks), ".gitignore": "\n".join((*UNTRACKED, ""))}
    return {name: texts[name].encode() for name in sorted(texts)}


def exercise_notebook(path):
    """The text of the notebook at `path` without solutions, outputs and hidden tests; nbgrader's metadata and checksums stay."""
    notebook = nbformat.read(path, as_version=4)
    return nbformat.writes(_preprocess(notebook, path, _STEPS)) + "\n"


def exercise_module(path):
    """The text of a Python file without its solutions."""
    cell = new_code_cell(path.read_text(encoding="utf-8"), metadata={"nbgrader": {"solution": True, "grade": False, "locked": False, "grade_id": path.stem}})
    if "SOLUTION" not in cell.source:
        return cell.source  # else nbgrader, which finds no marked part, would take all of it for the solution
    return _preprocess(new_notebook(cells=[cell]), path, [preprocessors.ClearSolutions]).cells[0].source


def _preprocess(notebook, path, steps):
    for number, cell in enumerate(notebook.cells, 1):
        if cell.source.count("BEGIN SOLUTION") != cell.source.count("END SOLUTION"):
            raise LabkitError(f"{path}, cell {number}: BEGIN SOLUTION and END SOLUTION do not come in pairs")
    resources = {"metadata": {"path": str(path.parent), "name": path.stem}}
    for step in steps:
        try:
            notebook, resources = step(config=_CONFIG).preprocess(notebook, resources)
        except Exception as error:  # nbgrader raises RuntimeError and errors of its own
            raise LabkitError(f"{path} cannot be released: {error or type(error).__name__}; see the message of nbgrader above") from error
    return notebook


def _need_checkout(root):
    for name in ("pyproject.toml", "constraints.txt", "environment.yml", "labkit"):
        if not (root / name).exists():
            raise LabkitError(f"{root.absolute()} has no {name}; call `labkit release` from the folder of the labkit repository")


def _need_no_solution(texts):
    for name, text in texts.items():
        left = [marker for marker in MARKERS if marker in text]
        if left:
            raise LabkitError(f"{name} would go to the students with the marker {left[0]!r} in it; check the spelling of the markers around it")


def _package(root):
    """The files of the package that students get: all but `course`."""
    return sorted(path for path in (root / "labkit").rglob("*.py") if path.relative_to(root).parts[1] != "course")


def _for_students(text):
    return text.replace("[notebooks,test]", "[notebooks]")


def _project(root):
    """pyproject.toml without what is there for maintainers."""
    project = tomlkit.parse((root / "pyproject.toml").read_text(encoding="utf-8"))
    for extra in EXTRAS:
        del project["project"]["optional-dependencies"][extra]
    for tool in [name for name in project["tool"] if name != "setuptools"]:
        del project["tool"][tool]
    del project["tool"]["setuptools"]["package-data"]
    return tomlkit.dumps(project)


def _readme(notebooks):
    rows = [row for path in notebooks for row in _exercises(path)]
    lectures = [path.stem for path in notebooks if path.match(LECTURES)]
    return _TEMPLATES.get_template("kit.md.jinja").render(version=labkit.__version__, rows=rows, lectures=lectures, folder=FOLDER)


def _exercises(path):
    """The exercises of a notebook: {notebook, exercise, minutes, difficulty} each."""
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for exercise, minutes, difficulty in re.findall(r"^## Exercise \d+ · (.+?)\s+\((\d+) min, ([●○]{3})\)$", text, re.M):
        yield {"notebook": path.stem, "exercise": exercise, "minutes": minutes, "difficulty": difficulty}
