"""The student kit as a file: what is in it, what is not, the same bytes each time, and one sentence for a source that is wrong."""

import ast
import re
import shutil
import sys
import tomllib
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from sentences import one_sentence
from solutions import LECTURES, ROOT, SOURCES, Solution, is_solution, solutions, solved, solved_notebook

from labkit import cli
from labkit.course import release

IDIOMS = ("with torch.inference_mode():", "nn.BatchNorm2d(channels),", "figure, axes = plt.subplots(")  # said so often that they give nothing away
BLANKS = re.compile(r"\s+")


@pytest.fixture(scope="module")
def kit():
    """{name: text} of the kit's files."""
    return {name: content.decode() for name, content in release.kit_files(ROOT).items()}


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):
    """The kit's notebooks, unpacked."""
    folder = tmp_path_factory.mktemp("kit")
    release.release(ROOT, folder / "kit.zip")
    zipfile.ZipFile(folder / "kit.zip").extractall(folder)
    return folder / release.FOLDER / "notebooks"


def test_the_kit_holds_what_a_student_needs_and_nothing_for_grading(kit):
    assert {"README.md", "pyproject.toml", "constraints.txt", "environment.yml", "labkit/cli.py"} <= set(kit)
    assert {"notebooks/resnet18.py", "notebooks/plain_nets.py"} <= set(kit)
    assert [name for name in kit if name.endswith(".ipynb")] == [f"notebooks/{path.name}" for path in SOURCES]
    top = {name.split("/")[0] for name in kit}
    assert top == {"README.md", ".gitignore", "pyproject.toml", "constraints.txt", "environment.yml", "labkit", "notebooks"}
    assert not any(name.startswith("labkit/course") for name in kit)


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(tmp_path):
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    shutil.copytree(ROOT / "labkit", copy / "labkit", copy_function=shutil.copyfile)  # with other times than the original's
    shutil.copytree(ROOT / "notebooks", copy / "notebooks", copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("runs", "data"))
    for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
        shutil.copyfile(ROOT / name, copy / name)
    release.release(ROOT, tmp_path / "one.zip")
    release.release(copy, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_project_file_names_no_package_that_only_maintainers_need(kit):
    project = tomllib.loads(kit["pyproject.toml"])
    source = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == source["project"]["dependencies"]
    assert set(project["project"]["optional-dependencies"]) == set(source["project"]["optional-dependencies"]) - {"test", "grading", "authoring"}
    assert set(project["tool"]) == {"setuptools"}
    assert not re.search("nbgrader|pytest|ruff", kit["pyproject.toml"]) and "notebooks,test" not in kit["constraints.txt"] + kit["environment.yml"]


def test_nothing_in_the_package_imports_what_is_not_in_the_kit(kit):
    modules = {name[:-3].replace("/", ".").removesuffix(".__init__") for name in kit if name.startswith("labkit/")}
    for name, text in kit.items():
        if name.endswith(".py") and name != "labkit/cli.py":  # the command looks first whether it is there
            imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}
            assert not [module for module in imported if module.startswith("labkit") and module not in modules], name


def test_the_readme_lists_every_exercise_and_its_two_commands_come_first(kit):
    commands = re.findall(r"^    (.+)$", kit["README.md"], re.M)
    assert commands[:2] == ['python -m pip install -c constraints.txt -e ".[notebooks]"', "python -m jupyterlab notebooks"]
    text = "\n".join(cell.source for path in SOURCES for cell in nbformat.read(path, as_version=4).cells)
    assert kit["README.md"].count(" min | ") == len(re.findall(r"^## Exercise \d", text, re.M)) >= 9


def test_lectures_go_to_the_students_as_they_are(kit):
    assert [path.stem for path in LECTURES] == ["L1_vanishing_gradients", "L2_degradation"]
    for path in LECTURES:
        source, theirs = nbformat.read(path, as_version=4), nbformat.reads(kit[f"notebooks/{path.name}"], as_version=4)
        assert [cell.source for cell in theirs.cells] == [cell.source for cell in source.cells]
        assert path.stem in kit["README.md"]
    assert kit["notebooks/plain_nets.py"] == (ROOT / "notebooks" / "plain_nets.py").read_text()


def test_the_default_profile_of_the_kit_is_lab(kit):
    assert 'DEFAULT = "lab"' in kit["labkit/profile.py"]


# --- no solution, and every solution fits ---------------------------------------------------------


def all_solutions():
    for path in SOURCES:
        for cell in filter(is_solution, nbformat.read(path, as_version=4).cells):
            yield from solutions(cell.source) if cell.cell_type == "code" else [Solution(cell.metadata.nbgrader.grade_id, cell.source)]
    for path in (ROOT / "notebooks").glob("*.py"):
        yield from solutions(path.read_text())


def telling_lines(text):
    """The lines by which a solution would be recognised, without their blanks."""
    lines = [BLANKS.sub("", line) for line in text.splitlines() if "SOLUTION" not in line and line.strip() not in IDIOMS]
    return {line for line in lines if len(line) >= 25}


@pytest.mark.parametrize("solution", list(all_solutions()), ids=lambda solution: solution.function)
def test_no_line_of_a_solution_is_in_the_notebooks_of_the_kit(kit, solution):
    student = {name: {BLANKS.sub("", line) for line in visible(name, text)} for name, text in kit.items() if name.startswith("notebooks/")}
    assert {name: shown for name, lines in student.items() if (shown := telling_lines(solution.text) & lines)} == {}


def visible(name, text):
    if not name.endswith(".ipynb"):
        return text.splitlines()
    cells = nbformat.reads(text, as_version=4).cells
    return [line for cell in cells for line in cell.source.splitlines()]


def test_the_search_for_leaks_finds_one(kit):
    """The solution of `replace_head`, hidden between two other lines of another notebook."""
    (solution,) = [solution for solution in all_solutions() if solution.function == "replace_head"]
    line = solution.text.splitlines()[1]
    notebook = new_notebook(cells=[new_code_cell(f"# by the way\n{line}\n# see?")])
    name = "notebooks/04_dataset_size.ipynb"
    with pytest.raises(AssertionError, match="04_dataset_size"):
        test_no_line_of_a_solution_is_in_the_notebooks_of_the_kit(kit | {name: nbformat.writes(notebook)}, solution)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_output_and_no_marker_is_left(folder, source):
    notebook = nbformat.read(folder / source.name, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert not [cell.source for cell in notebook.cells if any(marker in cell.source for marker in release.MARKERS)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_putting_the_solutions_back_gives_the_source(folder, source):
    back, original = solved_notebook(folder / source.name, source), nbformat.read(source, as_version=4)
    assert [plain(cell) for cell in back.cells] == [plain(cell) for cell in original.cells]
    assert back.metadata == original.metadata


def plain(cell):
    """A cell without its outputs and what nbgrader adds on release: checksum, cell type, and the locks of the editor."""
    metadata = {name: value for name, value in cell.metadata.items() if name not in ("deletable", "editable")}
    if "nbgrader" in metadata:
        metadata["nbgrader"] = {name: value for name, value in metadata["nbgrader"].items() if name not in ("checksum", "cell_type")}
    return cell.id, cell.cell_type, cell.source, metadata


def test_putting_the_solutions_back_gives_the_source_of_the_modules(kit):
    sources = sorted((ROOT / "notebooks").glob("*.py"))
    assert [path.name for path in sources if solutions(path.read_text())] == ["best_model.py", "resnet18.py"]
    for path in sources:
        assert solved(kit[f"notebooks/{path.name}"], path.read_text()) == path.read_text()


# --- a source that is wrong ------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    """A repository with one notebook of one solution cell; the function writes another text into it."""
    for name in ("labkit", "notebooks"):
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
        shutil.copyfile(ROOT / name, tmp_path / name)

    def write(text, solution=True):
        marks = {"grade": False, "grade_id": "f", "locked": False, "schema_version": 3, "solution": True, "task": False}
        cell = new_code_cell(text, metadata={"nbgrader": marks} if solution else {})
        nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / "01_one.ipynb")
        return tmp_path

    write("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION")
    return write


def test_a_small_source_is_released(source):
    root = source("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION")
    (cell,) = nbformat.reads(release.kit_files(root)["notebooks/01_one.ipynb"].decode(), as_version=4).cells
    assert cell.source == "def f():\n    # TODO: write your code here, in place of the next line\n    raise NotImplementedError"


@pytest.mark.parametrize(
    ("text", "solution", "words"),
    [
        ("### BEGIN SOLUTION\nx = 1", True, "cell 1: BEGIN SOLUTION and END SOLUTION do not come in pairs"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION", True, "nested begin solution"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", False, "Solution region detected in a non-solution cell"),
        ("x = 1\n# BEGIN MARK SCHEME\n# END MARK SCHEME", False, "01_one"),
    ],
)
def test_markers_that_do_not_fit_are_named_with_their_notebook(source, text, solution, words):
    with one_sentence("01_one.ipynb", words):
        release.kit_files(source(text, solution))


@pytest.mark.parametrize("text", ["x = 1\n### END SOLUTION\n", "### BEGIN HIDDEN TESTS\nx = 1\n"])
def test_a_marker_left_in_a_module_is_named(source, text):
    root = source("x = 1")
    (root / "notebooks" / "net.py").write_text(text)
    with one_sentence("notebooks/net.py", text.split("### ")[1].split("\n")[0]):
        release.kit_files(root)


def test_another_folder_is_named(tmp_path):
    (tmp_path / "notebooks").mkdir()
    with one_sentence("no numbered notebooks"):
        release.kit_files(tmp_path)
    nbformat.write(new_notebook(), tmp_path / "notebooks" / "01_one.ipynb")
    with one_sentence("has no pyproject.toml", "from the folder of the labkit repository"):
        release.kit_files(tmp_path)


def test_what_cannot_be_written_is_named_and_the_old_kit_stays(tmp_path, source):
    root = source("x = 1")
    (tmp_path / "file").write_text("not a folder")
    with one_sentence("cannot write", "--out"):
        release.release(root, tmp_path / "file" / "kit.zip")
    with one_sentence("cannot write", "--out"):
        release.release(root, tmp_path)
    release.release(root, tmp_path / "kit.zip")
    before = (tmp_path / "kit.zip").read_bytes()
    with one_sentence("do not come in pairs"):
        release.release(source("### BEGIN SOLUTION\nx = 1"), tmp_path / "kit.zip")
    assert (tmp_path / "kit.zip").read_bytes() == before and not list(tmp_path.glob("*.part"))


def test_without_nbgrader_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "labkit.course.release")
    monkeypatch.delattr("labkit.course.release")
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    assert cli.main(["release"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("labkit: nbgrader is missing; install it with:") and '".[notebooks,authoring]"' in message and message.count("\n") == 1
