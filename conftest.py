"""What every kernel and every test of this repository sees of its environment."""

import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections import Counter

import pytest
import warm_kernels

LONG = ("test_hostile_class", "test_grade", "test_study", "test_kit", "test_nbgrader")


def pytest_configure(config):
    """Run the notebooks small, silent and from an empty run store, so that what is compared was really trained.

    Several pytest processes (`-n`) share that store: what two notebooks train alike is trained once. Each kernel computes
    with one thread: two notebooks side by side are faster than one with two threads, and sums are the same everywhere.
    """
    os.environ["LABKIT_PROFILE"] = "smoke"
    os.environ["LABKIT_PROGRESS"] = "off"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": f"{2**25}", "MALLOC_TRIM_THRESHOLD_": f"{2**31 - 1}", "MALLOC_TOP_PAD_": f"{2**26}"}  # see labkit/engine.py
    os.environ.pop("LABKIT_DATA", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a shell: no child would see a Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    warm_kernels.install()
    if _is_worker(config):
        config.labkit_runs = os.environ["LABKIT_RUNS"]
    else:
        os.environ["LABKIT_RUNS"] = config.labkit_runs = tempfile.mkdtemp(prefix="labkit-test-runs-")


def pytest_collection_modifyitems(items):
    """The notebooks, then the tests that take minutes: at the end no process is to wait for another one that has just begun with these."""
    items.sort(key=lambda item: (item.path.suffix != ".ipynb", item.path.stem not in LONG))


def pytest_collection_finish():
    """What is imported by now stays: the collector need not walk through it again and again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """What the time was spent on, by part; side by side, so that the sum is more than the clock shows."""
    seconds = Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section(f"slowest of {len(seconds)} parts, {sum(seconds.values()):,.0f} s in all")
    for part, spent in seconds.most_common(15):
        terminalreporter.write_line(f"{spent:7.1f} s  {part}")


def pytest_unconfigure(config):
    if not _is_worker(config):
        shutil.rmtree(config.labkit_runs, ignore_errors=True)


def _is_worker(config):
    return hasattr(config, "workerinput")
