"""The benchmarks run, and measure what the lesson uses. What they find is for a quiet machine."""

import subprocess
import sys

import nbformat
import pytest
from solutions import ROOT

from labkit import profile
from labkit.runs import Experiment

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_the_fast_recipe_is_the_one_of_notebook_13(benchmarks):
    from minutes import FAST

    cells = nbformat.read(ROOT / "notebooks" / "13_best_model.ipynb", as_version=4).cells
    space = {"P": profile.Profile("laptop", "shapes:100/50"), "Experiment": Experiment}
    exec(next(cell.source for cell in cells if cell.source.startswith("RECIPE =")), space)
    assert {name: getattr(space["RECIPE"], name) for name in FAST} == FAST


def test_the_table_has_a_line_for_each_measurement(tmp_path):
    small = "--images 256 --turns 1 --cases ConvNet:32 --data shapes:300/50 --target 0.01"
    done = subprocess.run([sys.executable, BENCHMARKS / "speed.py", *small.split()], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].split(":")[0].strip() for line in lines] == [
        "1,000 images", "1,000 images", "updates of an epoch", "epoch", "to 1% on shapes",
    ]  # fmt: skip
    assert all(line.count("|") == 7 and "nan" not in line for line in lines)
