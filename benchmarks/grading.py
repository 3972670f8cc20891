"""`labkit grade` against nbgrader's `autograde` on the same notebooks, in seconds a submission.

    python benchmarks/grading.py --students 100 --nbgrader-students 4 --pairs 3

The submissions are those of tests/classroom.py. nbgrader executes their notebooks as docs/nbgrader.md says, with LABKIT_PROFILE=smoke;
a first pass that is not timed fills the run store, so that its training cells read what was trained. It grades one submission after
another: to use as many cores as labkit does, half of them go to a course and a process of its own. Where nbgrader grades fewer
submissions than labkit, they are the first ones. Both take turns (A B, B A, …), and the ratio is taken pair by pair.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from classroom import DATA, write_class
from nbgrader_course import Course, nbgrader_environment
from solutions import LESSONS, ROOT

from labkit.course import inbox
from labkit.device import describe

FOREIGN = ("one notebook", "missing notebook", "copy")  # slips with which nbgrader does not find the notebooks that it knows
PROCESSES = 2
HOURS = 6 * 3600  # seconds that nbgrader may take for a pass


class Labkit:
    """The command, on all submissions of a folder, each time into a new one."""

    def __init__(self, folder, submissions, students):
        self.folder, self.submissions, self.students, self.passes = folder, submissions, students, 0

    def grade(self):
        self.passes += 1
        out = self.folder / f"grades-{self.passes}"
        command = [sys.executable, "-m", "labkit.cli", "grade", self.submissions, "--out", out, "--data", DATA]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LABKIT_")}
        result = subprocess.run(command, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert (out / "grades.csv").exists(), result.stderr[-3000:]
        graded = len(pd.read_csv(out / "grades.csv"))
        assert graded == self.students, f"{graded} of {self.students} graded\n{result.stderr[-3000:]}"


class Nbgrader:
    """A course for each process, with its share of the submissions."""

    def __init__(self, folder, submissions, lessons):
        self.students, python = len(submissions), nbgrader_environment()
        self.courses = [Course(folder / f"course-{number}", python, folder / "runs", lessons) for number in range(min(PROCESSES, self.students))]
        for course in self.courses:
            course.nbgrader("generate_assignment", "lab")
        for number, submission in enumerate(submissions):
            _hand_in(self.courses[number % len(self.courses)], submission)

    def grade(self):
        with ThreadPoolExecutor(len(self.courses)) as pool:
            list(pool.map(lambda course: course.nbgrader("autograde", "lab", "--force", timeout=HOURS), self.courses))


def _hand_in(course, submission):
    folder = course.submitted(submission.student)
    folder.mkdir(parents=True)
    for name, notebook in submission.notebooks.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, text in submission.sources.items():
        (folder / name).write_text(text, encoding="utf-8")


def seconds(grader):
    """The wall time of a submission."""
    start = time.perf_counter()
    grader.grade()
    return (time.perf_counter() - start) / grader.students


def compare(labkit, nbgrader, pairs):
    """[(seconds of labkit, seconds of nbgrader)] a submission."""
    measured = []
    for pair in range(pairs):
        order = (labkit, nbgrader) if pair % 2 == 0 else (nbgrader, labkit)
        taken = {grader: seconds(grader) for grader in order}
        measured.append((taken[labkit], taken[nbgrader]))
        print(f"pair {pair + 1}: labkit {taken[labkit]:.2f} s, nbgrader {taken[nbgrader]:.2f} s a submission", flush=True)
    return measured


def middle(values):
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=100, help="submissions that labkit grades")
    parser.add_argument("--nbgrader-students", type=int, default=4, help="submissions that nbgrader grades, which takes minutes for each")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lessons", nargs="+", default=[""], help="beginnings of names of notebooks, such as 01 (default: all)")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for both sides: as many processes as cores
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="labkit-grading-") as name:
        folder = Path(name)
        known = write_class(folder / "class", args.students, args.seed, folder / "trained", args.lessons)
        fitting = [one for one in known if one.slip not in FOREIGN][: args.nbgrader_students]
        submissions = [inbox.read(one.path, folder / "read" / one.student) for one in fitting]
        labkit = Labkit(folder, folder / "class", len(known))
        nbgrader = Nbgrader(folder, submissions, [path for path in LESSONS if path.name.startswith(tuple(args.lessons))])
        print(f"{describe('cpu')}, {os.cpu_count()} cores; {len(known)} submissions for labkit, {len(submissions)} for nbgrader", flush=True)
        print(f"nbgrader, first pass, trainings included: {seconds(nbgrader):.2f} s a submission", flush=True)
        measured = compare(labkit, nbgrader, args.pairs)
    ours, theirs = zip(*measured)
    print(f"labkit {middle(ours)} s, nbgrader {middle(theirs)} s a submission in {len(nbgrader.courses)} processes")
    print(f"labkit is faster by {middle([b / a for a, b in measured])}, median of {args.pairs} pairs (lowest to highest)")


if __name__ == "__main__":
    main()
