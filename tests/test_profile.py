"""The profiles, and what `import labkit` must not bring with it."""

import os
import subprocess
import sys

import pytest

from labkit import profile
from labkit.errors import LabkitError


@pytest.mark.parametrize("name, data", [(None, "cifar10"), ("smoke", "shapes:1600/400"), ("laptop", "cifar10"), ("lab", "cifar10"), ("report", "cifar10")])
def test_the_profile_is_lab_unless_labkit_profile_names_another(monkeypatch, name, data):
    if name:
        monkeypatch.setenv("LABKIT_PROFILE", name)
    current = profile.current()
    assert (current.name, current.data) == (name or "lab", data)


def test_an_unknown_profile_is_refused_with_the_accepted_ones(monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "smok")
    with pytest.raises(LabkitError, match=r"^unknown profile 'smok' \(did you mean 'smoke'\?\); accepted: smoke, laptop, lab, report$"):
        profile.current()


def test_labkit_data_names_other_data_for_the_profile_at_hand(monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_DATA", "imagefolder:pictures")
    assert profile.current() == profile.Profile("smoke", "imagefolder:pictures")


def test_a_notebook_may_have_data_of_its_own_in_a_profile_but_labkit_data_wins(monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    assert profile.current(smoke="shapes:800/200").data == "shapes:800/200"
    assert profile.current(lab="imagefolder:pictures").data == "shapes:1600/400"
    monkeypatch.setenv("LABKIT_DATA", "cifar10")
    assert profile.current(smoke="shapes:800/200").data == "cifar10"


@pytest.mark.parametrize("name, size", [("smoke", 1), ("laptop", 5), ("lab", 10), ("report", 50)])
def test_pick_gives_the_size_of_the_profile(name, size):
    assert profile.Profile(name, "shapes").pick(smoke=1, laptop=5, lab=10, report=50) == size


@pytest.mark.parametrize("name, size", [("smoke", None), ("laptop", 10), ("lab", 10), ("report", 10)])
def test_a_profile_that_pick_does_not_name_takes_the_size_of_lab(name, size):
    assert profile.Profile(name, "shapes").pick(smoke=None, lab=10) == size


@pytest.mark.parametrize("sizes", [{}, {"smoke": 1}, {"lab": 2, "report": 3}, {"smoke": 1, "lab": 2, "huge": 4}])
def test_pick_needs_smoke_and_lab_and_takes_no_unknown_profile(sizes):
    with pytest.raises(LabkitError, match=r"^pick needs a value for smoke and for lab, and takes one for each of smoke, laptop, lab, report$"):
        profile.Profile("smoke", "shapes").pick(**sizes)


FOREIGN = ("IPython", "jupyter", "notebook", "ipykernel", "ipywidgets", "nbformat", "nbconvert", "nbclient", "nbgrader", "optuna", "ray")
CORE = f"""
import sys

def foreign():
    return sorted(name for name in sys.modules if name.lower().startswith({tuple(name.lower() for name in FOREIGN)}))

import labkit
assert "torch" not in sys.modules, "`import labkit` alone should be quick"
import labkit.data, labkit.device, labkit.errors, labkit.experiment, labkit.loops, labkit.metrics, labkit.models
import labkit.plots, labkit.profile, labkit.progress, labkit.runs, labkit.schedules, labkit.transforms
assert "torch" in sys.modules and not foreign(), foreign()
"""


def test_the_core_needs_and_imports_nothing_of_jupyter_grading_search_or_clusters():
    found = subprocess.run([sys.executable, "-c", CORE], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert found.returncode == 0, found.stderr
