"""A student's machine: the kit unpacked in a folder of its own, an environment of its own, and kernels that run in it."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from contextlib import contextmanager

from nbclient import NotebookClient
from solutions import ROOT

from labkit.course import release


class Kit:
    """The kit in `folder`, installed by the first command of its README into an environment of its own.

    The packages that the command asks for are lent from the environment of the tests; labkit is not: a .pth file adds
    their folder to the path, but what a .pth file in there adds (this repository) stays out.
    """

    def __init__(self, parent, runs):
        release.release(ROOT, parent / "kit.zip")
        zipfile.ZipFile(parent / "kit.zip").extractall(parent)
        self.folder, self.runs = parent / release.FOLDER, runs
        self.python = make_environment(parent / "venv", sysconfig.get_path("purelib"))
        self._write_kernel(parent / "jupyter")
        self.install = self.run(*self.command(0))

    def command(self, number):
        """A command of the README, for the Python of the environment."""
        line = re.findall(r"^    (.+)$", (self.folder / "README.md").read_text(), re.M)[number]
        program, *arguments = line.replace('"', "").split()
        assert program == "python"
        return [str(self.python), *arguments]

    def run(self, *command, cwd=None):
        return subprocess.run(command, cwd=cwd or self.folder, env=self.environment(), capture_output=True, text=True, timeout=600)

    def labkit(self, *arguments):
        return self.run(str(self.python), "-m", "labkit.cli", *arguments)

    def environment(self):
        """The variables that a student's shell has: none of labkit's own but for the small data, and no path to this repository."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "PYTHON", "JUPYTER"))}
        return kept | {"LABKIT_PROFILE": "smoke", "LABKIT_PROGRESS": "off", "LABKIT_RUNS": str(self.runs)}

    def _write_kernel(self, folder):
        write_kernel(folder / "kernels" / "kit", self.python)
        self.jupyter_path = folder

    @contextmanager
    def kernel(self, notebook):
        """A `NotebookClient` with a running kernel of this kit, in its notebooks' folder."""
        before, inside = dict(os.environ), self.environment() | {"JUPYTER_PATH": str(self.jupyter_path)}
        os.environ.clear()
        os.environ.update(inside)
        resources = {"metadata": {"path": str(self.folder / "notebooks")}}
        try:
            client = NotebookClient(notebook, kernel_name="kit", timeout=600, resources=resources, extra_arguments=["--log-level=ERROR"])
            with client.setup_kernel():
                yield client
        finally:
            os.environ.clear()
            os.environ.update(before)


def make_environment(folder, packages=None, with_pip=True):
    """A new environment in `folder`, with the packages in the folder `packages` visible; returns its Python."""
    venv.create(folder, with_pip=with_pip)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if packages:
        site = next(folder.glob("lib/**/site-packages"))
        (site / "lent.pth").write_text(f"{packages}\n")
    return python


def write_kernel(folder, python):
    """Make the kernel `folder.name`, which runs `python`, for whoever has the folder above `kernels/` in JUPYTER_PATH."""
    folder.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": folder.name, "language": "python"}))


def text_of(outputs):
    """All that a cell printed or showed as text, without colours."""
    parts = [output.get("text") or "\n".join(output.get("traceback", [])) or output.get("data", {}).get("text/plain", "") for output in outputs]
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(parts))
