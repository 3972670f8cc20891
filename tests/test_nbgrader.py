"""nbgrader as a real client, in an environment of its own: generate, validate and autograde notebooks of the course.

The steps and the configuration are those of docs/nbgrader.md.
"""

import json
import shutil
from pathlib import Path

import pytest
from nbgrader_course import Course, nbgrader_environment
from solutions import ROOT, SOURCES

CHOSEN = [path for path in SOURCES if path.name.startswith(("01", "03"))]  # 03 has answers in a Python file
SCORES = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db", "course") as gradebook:
    marks = [
        [student, notebook.name, grade.name, grade.auto_score, grade.max_score]
        for student in ("solved", "untouched")
        for notebook in gradebook.find_submission("lab", student).notebooks
        for grade in notebook.grades
    ]
print(json.dumps(marks))
"""


def submit(course, student, source):
    """Hand in what is in the folder `source`, with the `resnet18.py` that belongs to it."""
    shutil.copytree(source, course.submitted(student))
    if student == "solved":
        shutil.copy(ROOT / "notebooks" / "resnet18.py", course.submitted(student))


@pytest.fixture(scope="module")
def course(tmp_path_factory, request):
    course = Course(tmp_path_factory.mktemp("course"), nbgrader_environment(), request.config.labkit_runs, CHOSEN)
    course.nbgrader("generate_assignment", "lab")
    return course


def test_the_client_is_the_pinned_nbgrader_without_labkit(course):
    version = course.nbgrader("--version").split()[-1]
    assert f"nbgrader=={version}" in (ROOT / "constraints.txt").read_text().splitlines() and version == "0.9.6"
    found = course.nbgrader("-c", "import importlib.util as u; print(u.find_spec('labkit'), u.find_spec('torch'))", program="python")
    assert found == "None None\n"


def test_what_it_releases_holds_no_solution(course):
    for path in CHOSEN:
        cells = json.loads((course.folder / "release" / "lab" / path.name).read_text())["cells"]
        text = "".join("".join(cell["source"]) for cell in cells)
        assert "raise NotImplementedError()" in text or "resnet18" in text
        assert "SOLUTION" not in text and not [cell for cell in cells if cell.get("outputs")]
    assert "NotImplementedError" in (course.folder / "release" / "lab" / "resnet18.py").read_text()


def test_validate_accepts_the_solutions_and_names_the_stubs(course):
    notebook = CHOSEN[0].name
    assert "Success! Your notebook passes all the tests." in course.nbgrader("validate", notebook, cwd=course.source)
    refused = course.nbgrader("validate", notebook, cwd=course.folder / "release" / "lab")
    assert "NotImplementedError" in refused and "Success" not in refused


def test_autograde_gives_full_marks_to_the_solutions_and_none_to_the_stubs(course):
    submit(course, "solved", course.source)
    submit(course, "untouched", course.folder / "release" / "lab")
    course.nbgrader("autograde", "lab")
    marks = json.loads(course.nbgrader("-c", SCORES, program="python"))
    tests = {(student, name): (score, most) for student, _, name, score, most in marks if name.startswith("test_")}
    assert len(tests) == 2 * 5
    for (student, name), (score, most) in tests.items():
        assert score == (most if student == "solved" else 0) and most > 0, (student, name)
    assert {Path(notebook).stem for _, notebook, *_ in marks} == {path.stem for path in CHOSEN}
