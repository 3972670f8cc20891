"""Imports without garbage collection: the collector works again afterwards; and processes that share what they import."""

import gc
import multiprocessing
import os
import subprocess
import sys

import pytest

from labkit import startup
from labkit.startup import fast_imports


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_rests_and_is_then_what_it_was(collecting):
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(ImportError), fast_imports():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_what_was_imported_is_not_walked_through_again():
    with fast_imports():
        made = [[] for _ in range(1000)]
    walked_through = {id(one) for one in gc.get_objects()}
    assert not walked_through & {id(one) for one in made}


def test_the_function_of_a_process_is_called_before_anything_else_is_imported():
    code = "import sys, labkit.startup; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules), 'imported too early'"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def seen(pipe):
    pipe.send((os.environ.get("LABKIT_TEST"), os.getcwd(), gc.isenabled()))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_process_sees_the_environment_of_the_moment_and_collects_garbage(method, monkeypatch):
    """Also the second one of a server, which was started with other variables."""
    monkeypatch.setattr(startup, "METHOD", method)
    ours, theirs = multiprocessing.Pipe()
    for value in ("first", "second"):
        monkeypatch.setenv("LABKIT_TEST", value)
        started = startup.process(__name__, "seen", theirs)
        started.start()
        assert ours.poll(60) and ours.recv() == (value, os.getcwd(), True)
        started.join()
        assert started.exitcode == 0


SCRIPT = """
from labkit import startup
if __name__ == "__main__":
    for _ in range(3):
        started = startup.process("counted", "tell")
        started.start()
        started.join()
        assert started.exitcode == 0
"""


@pytest.mark.skipif(startup.METHOD != "forkserver", reason="every process imports for itself on this system")
def test_what_several_processes_need_is_imported_once(tmp_path):
    (tmp_path / "counted.py").write_text("with open('log', 'a') as log: log.write('imported ')\ndef tell():\n    open('log', 'a').write('called ')\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, timeout=120, check=True)
    assert (tmp_path / "log").read_text().split() == ["imported", "called", "called", "called"]
