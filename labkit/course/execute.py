"""Execute notebooks from top to bottom in fresh kernels and keep what they show."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from labkit.progress import progress_bar

CELL_TIMEOUT = 24 * 3600  # seconds; a full-length training cell may take hours


@dataclass
class Execution:
    """What became of one notebook: its source `path`, the executed `notebook`, `seconds`, and `error` (None if it ran through)."""

    path: Path
    notebook: nbformat.NotebookNode
    seconds: float
    error: str | None = None


def execute(path, environment, timeout=CELL_TIMEOUT):
    """Execute the notebook at `path` in its own folder, with `environment` (a dict) added to the kernel's variables.

    A cell that fails ends it; the notebook as far as it got and the error in one line are in the `Execution`.
    """
    notebook = _without_outputs(nbformat.read(path, as_version=4))
    start, started = time.perf_counter(), []
    with progress_bar(total=len(notebook.cells), desc=path.stem, unit="cell") as bar, _variables(environment):
        # The notebook's own kernelspec may not exist here: python3 is the kernel of this environment.
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}},
            on_cell_start=lambda cell, cell_index: (started.append(cell_index + 1), bar.update(cell_index + 1 - bar.n)),
            extra_arguments=["--log-level=ERROR"],  # else each kernel warns on stderr about its own transport
        )  # fmt: skip
        error = _run(client, started)
    return Execution(path, notebook, time.perf_counter() - start, error)


def _without_outputs(notebook):
    """What an earlier execution left must not stand below a cell that this one never reaches."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _run(client, started):
    """Execute; return None, or the error in one line that names the last of the cells `started`."""
    try:
        client.execute()
    except CellExecutionError as error:
        return f"cell {started[-1]}: {error.ename}: {error.evalue}"
    except CellTimeoutError:
        return f"cell {started[-1]}: no result after {client.timeout} s"
    except DeadKernelError:
        return f"cell {started[-1]}: the kernel died (often: out of memory)"
    return None


@contextmanager
def _variables(environment):
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def write(execution, folder):
    """Write the executed notebook and a page of it to `folder`; returns the page's path."""
    from nbconvert import HTMLExporter  # half a second to import, and only needed here

    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(execution.notebook, folder / execution.path.name)
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(execution.notebook, {"metadata": {"name": execution.path.stem}})
    target = folder / f"{execution.path.stem}.html"
    target.write_text(page, encoding="utf-8")
    return target


def store_outputs(execution):
    """Write the outputs into the source notebook, without what differs from one execution to the next."""
    notebook = execution.notebook
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps
    nbformat.write(notebook, execution.path)
