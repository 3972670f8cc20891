"""What every kernel and every test of this repository sees of its environment."""

import os
import shutil
import tempfile


def pytest_configure(config):
    """Run the notebooks small, silent and from an empty run store, so that what is compared was really trained."""
    os.environ["LABKIT_PROFILE"] = "smoke"
    os.environ["LABKIT_PROGRESS"] = "off"
    os.environ["LABKIT_RUNS"] = config.labkit_runs = tempfile.mkdtemp(prefix="labkit-test-runs-")
    os.environ.pop("LABKIT_DATA", None)


def pytest_unconfigure(config):
    shutil.rmtree(config.labkit_runs, ignore_errors=True)
