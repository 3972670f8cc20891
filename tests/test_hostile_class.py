"""A class of hostile submissions, graded by one call: each is rejected with a reason, or has no points for what was tampered with,
nothing gets out, and honest work between them keeps its marks.
"""

import csv
import hashlib
import os
import re
import resource
import secrets
import shutil
import time
from dataclasses import dataclass

import hostile
import pytest
from classroom import DATA
from hostile_class import CASES, FULL, LESSONS, RUBRIC, Maker, write
from solutions import ROOT

from labkit.course import grade, measure, rebuild, rubric
from labkit.course.sandbox import MIB, Bubblewrap, Limits

WHY_NOT = Bubblewrap().available()
NEEDED = os.environ.get("LABKIT_NEED_SANDBOX")  # read here: no test sees the variables of labkit
LIMITS = Limits(seconds=90, cpu_seconds=60, memory=1536 * MIB, processes=48)


@dataclass
class Graded:
    """What came of the class. results: {path: `Result`}; cases: {path: names of the cases in it}; honest: paths; token: in the command
    lines of all that ran in a sandbox; before: {path: digest} of the folder of submissions; seconds: on the clock.
    """

    results: dict
    cases: dict
    honest: list
    out: object
    submissions: object
    outside: object
    token: str
    before: dict
    seconds: float

    def of(self, case):
        return next(self.results[path] for path, names in self.cases.items() if case in names)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    if WHY_NOT:
        (pytest.fail if NEEDED else pytest.skip)(WHY_NOT)
    folder = tmp_path_factory.mktemp("hostile")
    submissions, course, canaries = (folder / name for name in ("submissions", "course", "canaries"))
    for made in (submissions, course, canaries):
        made.mkdir()
    outside = hostile.canaries(canaries)
    cases, honest = write(submissions, Maker(folder / "made", outside.place()), CASES)
    leave_what_is_no_zip(submissions, outside)
    before = digests(submissions)
    lay_out(course)
    plan = plan_of(submissions, folder / "out", course)
    start = time.monotonic()
    results = dict(zip(grade.find(submissions), grade.grade(plan), strict=True))
    yield Graded(results, cases, honest, plan.out, submissions, outside, str(plan.setting.seconds), before, time.monotonic() - start)
    outside.close()


def leave_what_is_no_zip(submissions, outside):
    (submissions / "folder_lab3.zip").mkdir()
    (submissions / "linked_lab3.zip").symlink_to(submissions / "100_lab3.zip")
    (submissions / "secret_lab3.zip").symlink_to(outside.file)
    (submissions / "lost_lab3.zip").symlink_to("nowhere")
    (submissions / "around").symlink_to(submissions)
    os.mkfifo(submissions / "pipe_lab3.zip")


def lay_out(course):
    for path in (ROOT / "notebooks").iterdir():
        if path.suffix == ".py" or (path.name.startswith(LESSONS) and path.suffix == ".ipynb"):
            shutil.copy(path, course)
    (course / "rubric.toml").write_text(RUBRIC)


def plan_of(submissions, out, course):
    chosen = rubric.load(course / "rubric.toml")
    seconds = 10 + secrets.randbelow(10**6) / 10**8  # a number of its own, to find its processes by
    setting = measure.Setting(rebuild.lessons(course), DATA, Bubblewrap(LIMITS), chosen.measured_notebooks, device="cpu", seconds=seconds)
    return grade.Plan(submissions, out, course, setting, chosen, jobs=2, seconds=240)


def digests(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.lstat().st_mode for path in folder.rglob("*")}


def points(result):
    """{item: points}."""
    items = [item for part in result.parts for item in part.items]
    return {"accuracy" if item.kind == "accuracy" else item.title: item.points for item in items}


def said(result):
    """All that is said about a submission."""
    facts = result.facts
    faults = [sentence for notebook in facts.notebooks.values() for _, sentence in notebook.faults]
    why = [sentence for part in result.parts for item in part.items for sentence in item.why]
    return "\n".join([*result.flags, *(sentence for _, sentence in facts.notes), *faults, *why, facts.failed])


# --- what came of each ----------------------------------------------------------------------------


def test_there_are_many_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_what_was_tampered_with_has_no_points_and_the_rest_keeps_its_own(case, graded):
    result, expected = graded.of(case), FULL | CASES[case].left
    found = points(result)
    # Others in the same zip have changed other items.
    others = {item for names in graded.cases.values() if case in names for name in names if name != case for item in CASES[name].left}
    sure = [item for item in FULL if item not in others and expected[item] is not None]
    assert {item: found[item] for item in sure} == {item: expected[item] for item in sure}
    text = said(result)
    assert [words for words in CASES[case].words if words not in text] == [], text
    assert [words for words in CASES[case].hints if words not in "\n".join(result.hints)] == [], result.hints
    assert result.facts.failed == ""


def test_honest_submissions_between_them_keep_full_marks_and_are_measured_alike(graded):
    results = [graded.results[path] for path in graded.honest]
    assert len(results) > 2 and [points(result) for result in results] == [FULL] * len(results)
    alike = [result.facts.to_dict() | dict.fromkeys(("student", "zip", "digest", "seconds")) for result in results]
    assert alike == alike[:1] * len(alike)
    assert all(result.facts.notes == [] and result.flags == () for result in results[1:])
    assert results[0].flags == ("100_lab3.zip is a submission of 100, too",)  # another student has used this name


# --- nothing gets out -----------------------------------------------------------------------------


def test_canaries_are_unharmed_and_no_process_is_left(graded):
    assert graded.outside.unharmed()
    assert hostile.left(graded.token) == []


def test_the_submissions_are_as_they_were(graded):
    assert digests(graded.submissions) == graded.before


def test_no_secret_stands_in_what_was_written(graded):
    for path in graded.out.rglob("*"):
        assert not path.is_symlink() and (path.is_dir() or hostile.SECRET.encode() not in path.read_bytes()), path


def test_links_pipes_and_folders_are_no_submissions(graded):
    found = {path.name for path in grade.left_out(graded.submissions)}
    assert found == {f"{name}_lab3.zip" for name in ("folder", "linked", "secret", "lost", "pipe")}
    assert not found & {path.name for path in graded.results}


def test_time_and_memory_are_bounded(graded):
    assert graded.seconds < 600
    # Of the largest process: those that grade, each with PyTorch, and those in sandboxes, which may take the limit.
    largest = max(resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    assert largest < LIMITS.memory + 1024 * MIB


# --- what is written ------------------------------------------------------------------------------


def test_every_submission_has_a_page_of_its_own_that_runs_nothing(graded):
    pages = {graded.out / result.page for result in graded.results.values()}
    assert len({str(page).lower() for page in pages}) == len(graded.results) and set((graded.out / "students").iterdir()) == pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(\w+)", text)
        assert not {"script", "iframe", "object", "base", "embed", "form"} & set(tags) and "Content-Security-Policy" in text
        assert set(re.findall(r'\bsrc="(\w+:|[^"]{9})', text)) <= {"data:"} and "onerror" not in re.sub(r">[^<]*<", "><", text)
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", page.stem) and page.stem.lower() != "con"


def test_the_index_runs_only_its_own_script(graded):
    text = (graded.out / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<script", text)) == 1 and text.count("<img src=x") == 0


def test_no_cell_of_a_table_is_a_formula(graded):
    for name in ("grades.csv", "marks.csv"):
        with open(graded.out / name, encoding="utf-8-sig", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@")) and not re.fullmatch(r"[+-]?[\d.]+", cell)] == []
    assert len(cells) > len(graded.results)


def test_reports_that_act_are_not_published(graded):
    published = [path.read_bytes() for path in (graded.out / "reports").iterdir()]
    assert published and all(content.startswith(b"%PDF") and b"JavaScript" not in content for content in published)


def test_a_zip_that_cannot_be_read_costs_itself_alone(tmp_path):
    """A folder stands for what raises when it is read; whoever is root may read everything else."""
    (tmp_path / "111_lab3.zip").mkdir()
    facts = measure.measure(tmp_path / "111_lab3.zip", measure.Setting({}, DATA, Bubblewrap()))
    assert (facts.student, facts.digest, facts.failed) == ("111", "", "the zip cannot be read; check its permissions")
