"""The tests' own kernels: what starts warm behaves as what starts cold, and nothing of it outlives the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_kernels
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")


def execute(*sources, **options):
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3", timeout=60, **options).execute()
    return ["".join(output.get("text", "") or str(output.data) for output in cell.outputs) for cell in notebook.cells]


def is_running(pid):
    """A process that has ended and that nobody has asked about is not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def ends_within(pid, seconds=20):
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(pid)


def test_the_packages_are_there_and_labkit_is_not():
    (loaded,) = execute("import sys\nprint('torch' in sys.modules, any(name.partition('.')[0] == 'labkit' for name in sys.modules))")
    assert loaded == "True False\n"


def test_folder_variables_and_path_are_those_of_a_cold_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_NOTE", "of now")
    (tmp_path / "beside.py").write_text("name = 'beside'")
    (shown,) = execute("import beside, os; print(os.environ['LABKIT_NOTE'], os.getcwd(), beside.name)", resources={"metadata": {"path": str(tmp_path)}})
    assert shown == f"of now {tmp_path} beside\n"


def test_a_figure_is_shown():
    (shown,) = execute("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert "image/png" in shown


def test_two_kernels_draw_different_random_numbers():
    (one,), (other,) = (execute("import numpy; print(numpy.random.rand())") for _ in range(2))
    assert one != other


def test_a_kernel_that_dies_is_noticed():
    with pytest.raises(DeadKernelError):
        execute("import os; os._exit(3)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_process_is_ended_by_a_signal_that_it_reports(number):
    process = warm_kernels.Forked([sys.executable, "-m", "this"], dict(os.environ), os.getcwd(), sys.__stderr__)
    assert process.wait() == 0 == process.poll()
    process = warm_kernels.Forked([sys.executable, "-m", "asyncio"], dict(os.environ), os.getcwd())
    process.send_signal(number)
    assert process.wait() == -number


def test_it_dies_with_the_process_that_started_it():
    start = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import warm_kernels
print(warm_kernels.Forked([sys.executable, "-m", "http.server", "0"], dict(os.environ), os.getcwd(), sys.stderr).pid, flush=True)
os.kill(os.getpid(), 9)
"""
    result = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60)
    assert ends_within(int(result.stdout)), result.stderr
