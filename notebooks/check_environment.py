"""Imported by the first cell of every notebook: where it cannot run here, one sentence says why and what to do."""

import importlib.util
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parents[1]


class WrongEnvironment(Exception):
    """Jupyter shows its sentence alone, without a traceback."""

    def _render_traceback_(self):
        return [str(self)]


def check():
    """Raise `WrongEnvironment` unless this kernel has the kit's own labkit and all that it needs."""
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python finds this file, too)
        version = ".".join(map(str, sys.version_info[:2]))
        raise WrongEnvironment(
            f"This kernel runs Python {version}, the notebooks need 3.11 or newer. Install it, set up the kit again as its README says, "
            "and start Jupyter from there."
        )
    spec = importlib.util.find_spec("labkit")
    if spec is None:
        raise _to_install("labkit is not installed for this kernel")
    found = Path(spec.origin).resolve().parents[1]
    if (KIT / "labkit").is_dir() and found != KIT:
        raise _to_install(f"This kernel uses another labkit, the one in {found}")
    from labkit.requirements import packages

    missing = [f"{finding.topic} ({finding.found})" for finding in packages() if finding.needed and finding.fix]
    if missing:
        raise _to_install(f"Packages are missing or too old: {', '.join(missing)}")
    _import_torch()


def _import_torch():
    """Before all others, as it takes longest; and here two versions that do not belong together are seen first."""
    from labkit.startup import fast_imports

    try:
        with fast_imports():
            import torchvision  # noqa: F401 (that it can be imported is what is asked)
    except (ImportError, OSError, RuntimeError) as error:
        raise _to_install(f"PyTorch cannot be imported ({str(error).splitlines()[0]})") from error


def _to_install(problem):
    command = f'"{sys.executable}" -m pip install -c constraints.txt -e ".[notebooks]"'
    return WrongEnvironment(f"{problem}. In a terminal go to {KIT}, run\n\n    {command}\n\nand restart the kernel (menu Kernel, Restart).")


check()
