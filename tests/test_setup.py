"""One list of dependencies: pyproject.toml has the ranges, constraints.txt the versions, everything else points there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALL = '-c constraints.txt -e ".[notebooks,test]"'


def requirements():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [wanted for group in groups for wanted in map(Requirement, group) if wanted.name != "labkit"]  # one extra may contain another


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(pinned), "constraints.txt holds exact versions and nothing else"
    names = [canonicalize_name(match[1]) for match in pinned]
    assert len(names) == len(set(names))
    return dict(zip(names, (match[2] for match in pinned)))


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_a_range_whose_pinned_version_is_inside(requirement):
    assert requirement.specifier and "==" not in str(requirement.specifier), "pin in constraints.txt, not inside the package"
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_torch_is_pinned_to_the_tested_pair_and_allowed_from_the_oldest_one():
    assert (pins()["torch"], pins()["torchvision"]) == ("2.14.1", "0.29.1")
    oldest = {r.name: str(r.specifier) for r in requirements() if r.name.startswith("torch")}
    assert oldest == {"torch": ">=2.11", "torchvision": ">=0.26"}


def test_the_conda_environment_installs_the_same_and_lists_nothing_itself():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert [package.split("=")[0] for package in conda] == ["python", "pip"]
    assert " ".join(pip["pip"]) == INSTALL.replace('"', "")


def test_the_conda_environment_has_a_python_that_the_project_accepts():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = environment["dependencies"][0].split("=")[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(Version(python))


@pytest.mark.parametrize("name", ["Makefile", "README.md"])
def test_whoever_installs_says_the_same_words(name):
    assert INSTALL in (ROOT / name).read_text()


def test_ci_runs_make_test_and_nothing_else():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test"]
