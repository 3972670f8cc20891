"""Executing notebooks and showing what came out, on small notebooks made for the purpose."""

import base64
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.course import execute, gallery

FIGURE = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(2, 2))\nplt.close(figure)\nfigure"
TABLE = "import pandas as pd\npd.DataFrame({'model': ['<b>net</b>'], 'accuracy': [0.5]})"


def write_notebook(folder, name, *cells):
    path = folder / f"{name}.ipynb"
    made = [new_markdown_cell(text) if text.startswith("#") else new_code_cell(text) for text in cells]
    nbformat.write(new_notebook(cells=made), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    where = "import os; print(os.environ['LABKIT_X'], os.getcwd())"
    source = write_notebook(folder, "01_shown", "# 01 · Shown <here>", "## A figure", FIGURE, "## A table", TABLE, where)
    return execute.execute(source, {"LABKIT_X": "given"})


def test_a_notebook_runs_in_its_own_folder_with_the_variables_it_is_given(executed):
    assert executed.error is None and executed.seconds > 0
    assert executed.notebook.cells[-1].outputs[0].text == f"given {executed.path.parent}\n"


def test_the_variables_do_not_stay_behind(executed, monkeypatch):
    import os

    assert "LABKIT_X" not in os.environ


def test_the_index_shows_figures_and_tables_under_their_headings(executed, tmp_path):
    gallery.write_index([executed], tmp_path / "index.html", "smoke", "shapes:10/10")
    page = (tmp_path / "index.html").read_text()
    captions = re.findall(r"<figcaption>(.+)</figcaption>", page)
    assert captions == ["A figure", "A table"]
    (image,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(image).startswith(b"\x89PNG")
    assert "01 · Shown &lt;here&gt;" in page and "&lt;b&gt;net&lt;/b&gt;" in page
    assert not re.findall(r'(?:src|href)="https?://', page)


def test_the_executed_notebook_and_its_page_are_written_beside_the_index(executed, tmp_path):
    page = execute.write(executed, tmp_path / "notebooks")
    assert page == tmp_path / "notebooks" / "01_shown.html" and "data:image/png;base64" in page.read_text()
    assert nbformat.read(tmp_path / "notebooks" / "01_shown.ipynb", as_version=4).cells[2].execution_count == 1


def test_a_failing_cell_is_named_and_what_came_before_is_kept(tmp_path):
    execution = execute.execute(write_notebook(tmp_path, "02_fails", "# Fails", "print('before')", "1 / 0", "print('after')"), {})
    assert execution.error == "cell 3: ZeroDivisionError: division by zero"
    assert execution.notebook.cells[1].outputs[0].text == "before\n" and execution.notebook.cells[3].execution_count is None


def test_a_dead_kernel_is_named(tmp_path):
    execution = execute.execute(write_notebook(tmp_path, "03_dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), {})
    assert execution.error == "cell 1: the kernel died (often: out of memory)"


def test_a_cell_that_takes_too_long_is_named(tmp_path):
    execution = execute.execute(write_notebook(tmp_path, "04_hangs", "import time; time.sleep(60)"), {}, timeout=2)
    assert execution.error == "cell 1: no result after 2 s"


def test_stored_outputs_are_the_same_each_time(tmp_path):
    source = write_notebook(tmp_path, "05_stored", "# Stored", "print(6 * 7)")
    stored = []
    for _ in range(2):
        execute.store_outputs(execute.execute(source, {}))
        stored.append(source.read_bytes())
    assert stored[0] == stored[1] and b"42" in stored[0]
