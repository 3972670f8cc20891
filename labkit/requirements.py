"""Is what labkit needs installed, and in the right version? Works where nothing but Python itself is there."""

import importlib.metadata
import platform
import sys
from dataclasses import dataclass

PYTHON = (3, 11)


@dataclass
class Finding:
    """One line of a report. `fix` says what to do, empty where all is well; `needed`: without it nothing runs."""

    topic: str
    found: str
    fix: str = ""
    needed: bool = False


def install(extra="notebooks"):
    """The command that installs labkit from its folder, for this very Python."""
    extras = extra if extra == "notebooks" else f"notebooks,{extra}"
    return f'"{sys.executable}" -m pip install -c constraints.txt -e ".[{extras}]"'


def python():
    """This Python against the oldest one that labkit runs on."""
    wanted = ".".join(map(str, PYTHON))
    return Finding("python", platform.python_version(), "" if sys.version_info >= PYTHON else f"install Python {wanted} or newer", needed=True)


def packages():
    """A `Finding` for labkit and for each of its requirements, against the ranges of pyproject.toml."""
    try:
        version, texts = importlib.metadata.version("labkit"), importlib.metadata.requires("labkit")
        from packaging.requirements import Requirement
    except importlib.metadata.PackageNotFoundError:
        yield Finding("labkit", "not installed, only found on the path", f"for a full check: {install()}")
        return
    except ImportError:
        yield Finding("packaging", "not installed", install(), needed=True)
        return
    yield Finding("labkit", version)
    for requirement in map(Requirement, texts):
        if requirement.name != "labkit":  # one extra may contain another
            yield package(requirement)


def package(requirement):
    """The `Finding` for one `packaging.requirements.Requirement`; one that belongs to an extra is not needed by all."""
    extra = str(requirement.marker).split('"')[1] if requirement.marker else ""
    topic = requirement.name + (f" [{extra}]" if extra else "")
    fix = install(extra or "notebooks")
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(topic, "not installed", fix, needed=not extra)
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(topic, version)
    return Finding(topic, f"{version}, wanted {requirement.specifier}", fix, needed=not extra)
