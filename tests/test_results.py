"""The results gallery: from the tagged cells of executed notebooks to pages that say where their numbers come from."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_cli import run_cli

from labkit.course.execute import Execution
from labkit.course.results import write_index, write_page
from labkit.runs import Experiment, RunStore, cite, cited, run

TRAIN = """
from labkit import plots
from labkit.runs import Experiment, run
finished = run(Experiment(data="shapes:100/20", model="SimpleCNN", batch_size=20, epochs=2, seed=%d))
plots.curves(finished.history)
"""
TABLE = "import pandas as pd\npd.DataFrame({'accuracy': [0.5, 0.25]}, index=['<b>', 'net'])"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with a notebook of two trainings, a table, and a figure that is not tagged."""
    cells = [
        new_markdown_cell("# 01 · Two runs"),
        new_markdown_cell("## Curves  (5 min, ●○○)"),
        *(new_code_cell(TRAIN % seed, metadata={"tags": ["results"]}) for seed in (0, 3)),
        new_markdown_cell("## A table"),
        new_code_cell(TABLE, metadata={"tags": ["nbval-ignore-output", "results"]}),
        new_code_cell("plots.curves(finished.history)"),
    ]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "01_two.ipynb")
    monkeypatch.chdir(tmp_path)
    for name in ("LABKIT_RUNS", "LABKIT_DATA", "LABKIT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
    return tmp_path


def test_a_page_holds_what_is_tagged_and_where_it_comes_from(course, capsys):
    status, out, _ = run_cli(capsys, "results", "01", "--profile", "smoke", "--caption", "drawn images")
    folder = course / "docs" / "results"
    assert status == 0, out
    assert out.endswith("results: docs/results/README.md\n")
    assert sorted(path.name for path in folder.iterdir()) == ["01_two-1.png", "01_two-2.png", "01_two.md", "README.md"]
    assert all((folder / f"01_two-{number}.png").read_bytes().startswith(b"\x89PNG") for number in (1, 2))
    page = (folder / "01_two.md").read_text()
    assert page.startswith("# 01 · Two runs\n\n## Curves\n\n![Curves](01_two-1.png)\n\n![Curves](01_two-2.png)\n\n## A table\n\n<table>\n")
    assert "<tr><th>&lt;b&gt;</th><td>0.50</td></tr>\n" in page and "style" not in page and "dataframe" not in page
    origin = page[page.index("## Where this comes from") :]
    assert "Data: drawn images; 90 training images." in origin and "Device: " in origin and "torch 2." in origin
    assert "2 runs of 2 epochs, seeds 0 and 3; " in origin
    assert origin.endswith("    labkit results 01 --profile smoke --caption 'drawn images'\n")


def test_the_cover_comes_first_and_once(tmp_path):
    def shown(content, *tags):
        output = new_output("display_data", {"image/png": base64.b64encode(content).decode()})
        return new_code_cell(outputs=[output], metadata={"tags": ["results", *tags]})

    cells = [
        new_markdown_cell("# 01 · Two\n\n## One"),
        shown(b"one"),
        new_markdown_cell("## Two"),
        shown(b"two", "cover"),
        new_markdown_cell("## Three"),
        shown(b"three"),
    ]
    execution = Execution(Path("01_two.ipynb"), new_notebook(cells=cells), 0.0)
    page = write_page(execution, tmp_path, RunStore(tmp_path), "labkit results 01", "drawn images")
    assert re.findall(r"^#+ .+|^!.+", page, re.M)[:7] == [
        "# 01 · Two", "## Two", "![Two](01_two-1.png)", "## One", "![One](01_two-2.png)", "## Three", "![Three](01_two-3.png)",
    ]  # fmt: skip
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.png"))] == [b"two", b"one", b"three"]


def test_the_command_on_a_page_names_the_data_that_were_asked_for(course, capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", "shapes:200/20")
    assert run_cli(capsys, "results", "--profile", "smoke")[0] == 0
    page = (course / "docs" / "results" / "01_two.md").read_text()
    assert page.endswith("    LABKIT_DATA=shapes:200/20 labkit results 01 --profile smoke\n") and "Data: shapes:200/20; 90 training images." in page


def test_a_second_time_nothing_is_trained_and_the_page_is_the_same(course, capsys):
    run_cli(capsys, "results", "--profile", "smoke")
    page = (course / "docs" / "results" / "01_two.md").read_text()
    times = {path: path.stat().st_mtime_ns for path in (course / "runs").glob("*/*")}
    run_cli(capsys, "results", "--profile", "smoke")
    assert (course / "docs" / "results" / "01_two.md").read_text() == page
    assert {path: path.stat().st_mtime_ns for path in (course / "runs").glob("*/*")} == times


def test_a_notebook_that_stops_leaves_its_old_page_alone(course, capsys):
    folder = course / "docs" / "results"
    folder.mkdir(parents=True)
    (folder / "01_two.md").write_text("# As it was\n")
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), course / "notebooks" / "01_two.ipynb")
    status, out, _ = run_cli(capsys, "results", "--profile", "smoke")
    assert status == 1 and "stopped at cell 1: ZeroDivisionError" in out
    assert (folder / "01_two.md").read_text() == "# As it was\n"


def test_a_notebook_without_results_gets_no_page_unless_it_is_named(course, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), course / "notebooks" / "02_none.ipynb")
    assert run_cli(capsys, "results", "--profile", "smoke")[0] == 0
    assert [page.name for page in (course / "docs" / "results").glob("0*.md")] == ["01_two.md"]
    run_cli(capsys, "results", "02", "--profile", "smoke")
    assert (course / "docs" / "results" / "02_none.md").exists()


def test_a_page_without_runs_says_so(course, capsys):
    cells = [new_markdown_cell("# 02 · None"), new_code_cell(TABLE, metadata={"tags": ["results"]})]
    nbformat.write(new_notebook(cells=cells), course / "notebooks" / "02_none.ipynb")
    run_cli(capsys, "results", "02", "--profile", "smoke")
    assert "No training of the run store." in (course / "docs" / "results" / "02_none.md").read_text()


def test_the_index_names_every_page_with_its_first_figure(tmp_path):
    (tmp_path / "02_b.md").write_text("# 02 · Second\n\n![x](02_b-1.png)\n\n![y](02_b-2.png)\n")
    (tmp_path / "01_a.md").write_text("# 01 · First\n\nno figure\n")
    for _ in range(2):  # it is no page of its own index
        write_index(tmp_path)
    index = (tmp_path / "README.md").read_text()
    assert index.endswith("## [01 · First](01_a.md)\n\n## [02 · Second](02_b.md)\n\n![x](02_b-1.png)\n")


# --- citing ------------------------------------------------------------------------------------


def test_a_run_is_cited_when_it_is_trained_and_when_it_is_read(tmp_path, capsys):
    experiment = Experiment(data="shapes:100/20", model="SimpleCNN", batch_size=20, epochs=1)
    printed = []
    for verbose in (True, True, False):
        run(experiment, RunStore(tmp_path), device="cpu", verbose=verbose)
        printed.append(capsys.readouterr().out)
    assert [cited(text) for text in printed] == [[experiment.key], [experiment.key], []]
    assert printed[1] == f"kept as run {experiment.key}\n"


def test_what_is_cited_is_found_again_whatever_stands_around_it(capsys):
    class Kept:
        def __init__(self, number):
            self.key = f"{number:016x}"

    runs = [Kept(number) for number in range(14)]
    print("epoch 1/2  train loss 0123456789abcdef")
    cite(runs + runs[:3])
    print(f"run {'f' * 16} goes on after epoch 3")
    text = capsys.readouterr().out
    assert cited(text) == [one.key for one in runs] and max(map(len, text.splitlines())) < 120
    assert cited("") == []


def test_the_store_finds_a_run_by_its_key(tmp_path):
    store = RunStore(tmp_path)
    finished = run(Experiment(data="shapes:100/20", model="SimpleCNN", batch_size=20, epochs=1), store, device="cpu", verbose=False)
    assert store.find(finished.key).experiment == finished.experiment
    finished.path.rename(tmp_path / ("0" * 16))
    assert store.find(finished.key) is store.find("0" * 16) is store.find("nothing") is None
