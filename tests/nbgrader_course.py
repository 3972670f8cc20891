"""An nbgrader course with notebooks of this repository, in an environment of its own: what docs/nbgrader.md says, done."""

import os
import re
import shutil
import subprocess
import sys

from kit import make_environment, write_kernel
from solutions import ROOT

from labkit.course import release


class Course:
    """An nbgrader course in `folder` with these notebooks, graded by the `python` of an environment with nbgrader; runs: the run store."""

    def __init__(self, folder, python, runs, notebooks):
        self.folder, self.python, self.runs = folder, python, runs
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nbgrader_config.py").write_text(re.search(r"```python\n(.*?)```", (ROOT / "docs" / "nbgrader.md").read_text(), re.S)[1])
        write_kernel(folder / "jupyter" / "kernels" / "python3", sys.executable)
        self.source = folder / "source" / "lab"
        self.source.mkdir(parents=True)
        for path in [*notebooks, ROOT / "notebooks" / "check_environment.py"]:
            shutil.copy(path, self.source)
        (self.source / "resnet18.py").write_text(release.exercise_module(ROOT / "notebooks" / "resnet18.py"))

    def submitted(self, student):
        """The folder of what a student has handed in."""
        return self.folder / "submitted" / student / "lab"

    def nbgrader(self, *arguments, program="nbgrader", cwd=None, timeout=1800):
        """What the command printed; fails if the command does."""
        commands = self.python.parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "PYTHON"))}
        own = {"LABKIT_PROFILE": "smoke", "LABKIT_PROGRESS": "off", "LABKIT_RUNS": str(self.runs)}
        paths = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "JUPYTER_PATH": str(self.folder / "jupyter")}
        result = subprocess.run(
            [commands / program, *arguments], cwd=cwd or self.folder, env=kept | own | paths, capture_output=True, text=True, timeout=timeout
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout


def nbgrader_environment():
    """The Python of an environment with nbgrader and nothing of labkit, installed once and kept beside the other environment."""
    folder = ROOT / ".venv-nbgrader"
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        python = make_environment(folder)
        subprocess.run([python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", "nbgrader"], check=True, timeout=900)
        (folder / ".installed").touch()
    return next(folder.glob("*/python"))
