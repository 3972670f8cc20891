"""What every kernel and every test of this repository sees of its environment."""

import os
import shutil
import tempfile

import pytest


def pytest_configure(config):
    """Run the notebooks small, silent and from an empty run store, so that what is compared was really trained.

    Several pytest processes (`-n`) share that store: what two notebooks train alike is trained once. Each kernel computes
    with one thread: two notebooks side by side are faster than one with two threads, and sums are the same everywhere.
    """
    os.environ["LABKIT_PROFILE"] = "smoke"
    os.environ["LABKIT_PROGRESS"] = "off"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("LABKIT_DATA", None)
    if _is_worker(config):
        config.labkit_runs = os.environ["LABKIT_RUNS"]
    else:
        os.environ["LABKIT_RUNS"] = config.labkit_runs = tempfile.mkdtemp(prefix="labkit-test-runs-")


@pytest.hookimpl(wrapper=True)  # before all others: xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items):
    """With --dist=loadgroup a file stays in one process, as the cells of a notebook share a kernel and tests share fixtures,
    but for the tests that name a group of their own.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    return (yield)


def pytest_unconfigure(config):
    if not _is_worker(config):
        shutil.rmtree(config.labkit_runs, ignore_errors=True)


def _is_worker(config):
    return hasattr(config, "workerinput")
