"""The student kit at work: installed by its own command, opened with open stubs, solved again, without this repository on the path."""

import json
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import nbformat
import pytest
from kit import Kit, make_environment, text_of
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook
from solutions import LECTURES, LESSONS, ROOT, SOURCES, is_solution, put_back, solutions

from labkit import checks


@pytest.fixture(scope="session")
def kit(tmp_path_factory, request):
    """The runs are those of the notebooks' own tests, which come first: the same experiment is not trained twice."""
    return Kit(tmp_path_factory.mktemp("student"), request.config.labkit_runs)


def test_the_first_command_of_the_readme_installs_the_kit(kit):
    assert kit.install.returncode == 0, kit.install.stderr
    where = kit.run(str(kit.python), "-c", "import sys, labkit; print(labkit.__file__, *sys.path, sep='\\n')")
    first, *path = where.stdout.splitlines()
    assert first == str(kit.folder / "labkit" / "__init__.py"), where.stderr
    assert str(ROOT) not in path


def test_the_second_command_serves_the_notebooks(kit):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=secret", "--allow-root"]
    server = subprocess.Popen([*kit.command(1), *options], cwd=kit.folder, env=kit.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        served = {entry["name"] for entry in fetch(f"http://127.0.0.1:{port}/api/contents?token=secret")["content"]}
    finally:
        server.terminate()
        server.wait(timeout=60)
    assert {path.name for path in SOURCES} | {"resnet18.py", "plain_nets.py"} <= served


def fetch(address, seconds=60):
    """The JSON at the address, as soon as its server is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as reply:
                return json.load(reply)
        except URLError:
            assert time.monotonic() < end, f"no answer from {address} in {seconds} s"
            time.sleep(0.2)


def test_every_exercise_is_open_at_first(kit):
    status = kit.labkit("status")
    lines = [line.split() for line in status.stdout.splitlines() if line.startswith("  ")]
    assert [(state, todo, points) for state, todo, points, *_ in lines] == [("open", todo, "0") for todo in checks.names()], status.stdout + status.stderr
    assert f"next: {checks.names()[0]} in 01_" in status.stdout


def test_the_command_offers_what_is_for_students(kit):
    listed = kit.labkit("--help").stdout
    assert "status" in listed and "submit" in listed and "doctor" in listed and "release" not in listed and "grade" not in listed
    assert kit.labkit("doctor").returncode == 0


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_stubs_raise_and_solved_again_the_notebook_runs(kit, source):
    """Every cell runs until a stub is met. It raises NotImplementedError; with its solution put in, the same cell runs.

    After the last stub the notebook is the source again (tests/test_release.py), whose cells run as tests of their own.
    """
    walk = Walk(kit, source)
    with kit.kernel(walk.notebook) as walk.client, walk.stubs_kept():
        for index, cell in enumerate(walk.notebook.cells):
            walk.execute(index, cell)
            if not walk.open:
                break
    assert walk.open == {} and walk.met == walk.expected
    assert walk.verdicts and all("[not_implemented]" in before and "passed" in after for before, after in walk.verdicts.values())


@pytest.mark.parametrize("source", LECTURES, ids=lambda path: path.stem)
def test_a_lecture_finds_all_that_it_imports(kit, source):
    """Its cells run as tests of their own; what the kit could lack is what its first cell imports."""
    notebook = nbformat.read(kit.folder / "notebooks" / source.name, as_version=4)
    first = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    with kit.kernel(notebook) as client:
        client.execute_cell(notebook.cells[first], first)


class Walk:
    """Through a notebook of the kit from top to bottom, solving what stops it.

    expected: the functions with a stub, in the order in which they must stop it. met: those that did. open: the
    solutions that have not been put in yet. verdicts: {exercise: (what `check` said first, and at last)}.
    """

    def __init__(self, kit, source):
        self.kit, self.client = kit, None
        self.notebook = nbformat.read(kit.folder / "notebooks" / source.name, as_version=4)
        self.open, self.stubs = {}, {}
        for cell, original in zip(self.notebook.cells, nbformat.read(source, as_version=4).cells):
            if is_solution(cell) and cell.cell_type == "code":
                self._note(solutions(original.source), cell)
        for path in (ROOT / "notebooks").glob("*.py"):
            if any(re.search(rf"^import {path.stem}\b", cell.source, re.M) for cell in self.notebook.cells):
                self._note(solutions(path.read_text()), kit.folder / "notebooks" / path.name)
        self.expected, self.met, self.verdicts, self.last_check = list(self.open), [], {}, None

    def _note(self, found, place):
        for solution in found:
            self.open[solution.function], self.stubs[solution.function] = solution, place

    @contextmanager
    def stubs_kept(self):
        """The files that are solved on the way get their stubs back: the other tests have the same kit."""
        before = {place: place.read_text() for place in self.stubs.values() if isinstance(place, Path)}
        try:
            yield
        finally:
            for place, text in before.items():
                place.write_text(text)

    def execute(self, index, cell):
        """Run the cell; where a stub stops it, put the solution in and run it again."""
        for _ in range(len(self.open) + 1):
            try:
                self.client.execute_cell(cell, index)
            except CellExecutionError as error:
                assert error.ename == "NotImplementedError", f"cell {index + 1}: {text_of(cell.outputs)}"
                self._solve(text_of(cell.outputs))
            else:
                break
        else:
            raise AssertionError(f"cell {index + 1} still meets a stub: {text_of(cell.outputs)}")
        if cell.cell_type == "code" and cell.source.startswith("check("):
            self.last_check = index
            self.verdicts[index] = (text_of(cell.outputs), "")

    def _solve(self, traceback):
        """Put in the solution of the function that raised, run what defines it, and ask `check` once more."""
        names = [name for name in self.open if f"in {name}(" in traceback]
        # A module that was reloaded in part shows its functions without their classes.
        function = (names or [name for name in self.open if f"in {name.split('.')[-1]}(" in traceback])[0]
        solution, place = self.open.pop(function), self.stubs[function]
        self.met.append(function)
        if hasattr(place, "cell_type"):
            place.source = put_back(place.source, solution)
            self.client.execute_cell(place, self.notebook.cells.index(place))
        else:
            place.write_text(put_back(place.read_text(), solution))
        check = self.notebook.cells[self.last_check]
        self.client.execute_cell(check, self.last_check)
        self.verdicts[self.last_check] = (self.verdicts[self.last_check][0], text_of(check.outputs))


# --- an environment that is wrong ------------------------------------------------------------------


def shown_by_first_cell(kit, setup):
    """What the first cell of a notebook shows in a kernel where the code `setup` has run."""
    notebook = nbformat.read(kit.folder / "notebooks" / SOURCES[0].name, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    with kit.kernel(new_notebook(cells=[new_code_cell(setup), first])) as client:
        client.execute_cell(client.nb.cells[0], 0)
        with pytest.raises(CellExecutionError):
            client.execute_cell(first, 1)
    return text_of(first.outputs)


def test_a_kernel_without_labkit_says_what_to_do(kit, tmp_path):
    python = make_environment(tmp_path / "bare", with_pip=False)
    result = kit.run(str(python), "-c", "import check_environment", cwd=kit.folder / "notebooks")
    message = result.stderr.split("WrongEnvironment: ")[1]
    assert message.startswith(f"labkit is not installed for this kernel. In a terminal go to {kit.folder}, run")
    assert f'"{python}" -m pip install -c constraints.txt -e ".[notebooks]"' in message and "restart the kernel" in message


def test_the_first_cell_stops_with_a_sentence_and_no_traceback(kit, tmp_path):
    """Another labkit, say last year's, is found first."""
    (tmp_path / "labkit").mkdir()
    (tmp_path / "labkit" / "__init__.py").touch()
    shown = shown_by_first_cell(kit, f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    assert shown.startswith(f"This kernel uses another labkit, the one in {tmp_path}. In a terminal go to {kit.folder}, run") and "Traceback" not in shown


def test_the_first_cell_names_a_package_that_is_too_old(kit):
    pretend = "import importlib.metadata as m; real = m.version; m.version = lambda name: '2.3.0' if name == 'torch' else real(name)"
    assert "Packages are missing or too old: torch (2.3.0, wanted >=2.11)." in shown_by_first_cell(kit, pretend)


def test_the_first_cell_says_that_torch_and_torchvision_do_not_fit_together(kit, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    forget = "sys.modules.pop('torchvision', None)"  # a warm kernel has it already
    shown = shown_by_first_cell(kit, f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {forget}")
    assert shown.startswith("PyTorch cannot be imported (operator torchvision::nms does not exist). In a terminal go to") and "Traceback" not in shown


def test_an_old_python_is_told_so_before_anything_else(kit):
    pretend = "import sys; sys.version_info = (3, 9, 1); import check_environment"
    result = kit.run(str(kit.python), "-c", pretend, cwd=kit.folder / "notebooks")
    assert "WrongEnvironment: This kernel runs Python 3.9, the notebooks need 3.11 or newer." in result.stderr
