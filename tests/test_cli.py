"""The command `labkit`: what it prints, and one sentence with a non-zero exit for wrong use."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from labkit import cli, doctor, requirements

WHERE = "call labkit from the folder that holds notebooks/, or name it with --notebooks"


def run_cli(capsys, *arguments):
    status = cli.main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with one notebook that prints its profile, and the working directory in it."""
    (tmp_path / "notebooks").mkdir()
    code = "import os; print(os.environ['LABKIT_PROFILE'], os.environ['LABKIT_RUNS'])"
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / "notebooks" / "01_one.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABKIT_RUNS", raising=False)
    return tmp_path


def test_run_writes_notebooks_and_index_and_says_where(course, capsys):
    status, out, _ = run_cli(capsys, "run")
    assert status == 0 and "figures and tables: build/index.html" in out
    executed = nbformat.read(course / "build" / "notebooks" / "01_one.ipynb", as_version=4)
    assert executed.cells[0].outputs[0].text == f"smoke {course / 'build' / 'runs'}\n"
    assert (course / "build" / "notebooks" / "01_one.html").exists() and (course / "build" / "index.html").exists()


def test_run_goes_on_after_a_notebook_that_fails_and_exits_with_1(course, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), course / "notebooks" / "00_fails.ipynb")
    status, out, _ = run_cli(capsys, "run")
    assert status == 1 and "stopped at cell 1: ZeroDivisionError: division by zero" in out
    assert (course / "build" / "notebooks" / "01_one.ipynb").exists()
    assert "It stopped: cell 1: ZeroDivisionError" in (course / "build" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--profile", "smok"], "labkit: unknown profile 'smok' (did you mean 'smoke'?); accepted: smoke, laptop, lab, report\n"),
        (["run", "07"], "labkit: no notebook starts with '07'; accepted: 01_one\n"),
        (["run", "--notebooks", "elsewhere"], f"labkit: there are no numbered notebooks in elsewhere; {WHERE}\n"),
        (["run", "--out", "notebooks/01_one.ipynb"], "labkit: cannot write to notebooks/01_one.ipynb (File exists); name another folder with --out\n"),
    ],
)
def test_wrong_use_is_one_sentence(course, capsys, arguments, sentence):
    assert run_cli(capsys, *arguments)[::2] == (2, sentence)


def test_an_unknown_dataset_for_the_profile_is_one_sentence(course, capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", "cifar100")
    status, _, err = run_cli(capsys, "run")
    assert status == 2 and err.startswith("labkit: unknown dataset 'cifar100'; accepted: cifar10, imagefolder:PATH") and err.count("\n") == 1


def test_doctor_says_what_is_here_and_what_to_do_about_what_is_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    status, out, _ = run_cli(capsys, "doctor")
    assert status == 0
    for topic in ("python", "labkit", "torch", "device", "free disk", "profile", "shapes", "cifar10", "resnet18 ImageNet weights"):
        assert any(line[8:].startswith(topic) for line in out.splitlines()), topic
    assert f"not in {tmp_path}" in out and "→ downloaded at first use (170 MB)" in out
    assert f"resnet18-f37072fd.pth into {tmp_path}" in out


def test_doctor_looks_where_notebooks_look(tmp_path, capsys, monkeypatch):
    """The notebooks of a kit have their data beside them, whoever calls the command does so one folder above."""
    monkeypatch.delenv("LABKIT_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("notebooks", "data").mkdir(parents=True)
    assert "data.load('cifar10', root='notebooks/data')" in run_cli(capsys, "doctor")[1]
    for present in (Path("data"), Path("notebooks", "data")):
        monkeypatch.setattr(doctor.data.cifar10, "is_present", lambda root, present=present: root == present)
        out = run_cli(capsys, "doctor")[1]
        assert any(line.split()[1:] == ["cifar10", "in", str(present.absolute())] for line in out.splitlines())


def test_doctor_fails_on_what_is_needed_and_not_on_what_is_not(capsys):
    assert doctor.report([doctor.Finding("gpu", "none", "buy one")])
    assert not doctor.report([doctor.Finding("torch", "not installed", "install it", needed=True)])
    assert "MISSING torch  not installed" in capsys.readouterr().out


def test_doctor_names_an_unknown_profile(capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "big")
    status, out, _ = run_cli(capsys, "doctor")
    assert status == 1 and "unknown profile 'big'" in out


def test_doctor_names_a_package_outside_its_range():
    from packaging.requirements import Requirement

    old = requirements.package(Requirement("numpy>=99"))
    assert old.needed and "wanted >=99" in old.found and 'pip install -c constraints.txt -e ".[notebooks]"' in old.fix
    absent = requirements.package(Requirement('nothing-of-this-name>=1; extra == "test"'))
    assert not absent.needed and absent.found == "not installed" and '".[notebooks,test]"' in absent.fix
