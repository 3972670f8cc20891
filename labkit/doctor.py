"""`labkit doctor`: what is installed and found on this machine, and what to do about what is not."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from packaging.requirements import Requirement

import labkit
from labkit import data, profile
from labkit.device import default_device, describe
from labkit.errors import LabkitError

_ROOM = 5e9  # bytes that data, weights and runs of the whole course take, generously
_INSTALL = 'pip install -c constraints.txt -e ".[notebooks,test]"'


@dataclass
class Finding:
    """One line of the report. `fix` says what to do, empty where all is well; `needed`: without it nothing runs."""

    topic: str
    found: str
    fix: str = ""
    needed: bool = False


def examine():
    """All findings, in the order of the report."""
    return [_python(), *_packages(), _device(), _disk(), _profile(), *_data(), *_weights()]


def report(findings):
    """Print the findings; return True if nothing that is needed is missing."""
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = "ok" if not finding.fix else "MISSING" if finding.needed else "note"
        print(f"{mark:<8}{finding.topic:<{width}}  {finding.found}")
        if finding.fix:
            print(f"{'':<8}{'':<{width}}  → {finding.fix}")
    return not any(finding.fix and finding.needed for finding in findings)


def _python():
    version = platform.python_version_tuple()
    old = (int(version[0]), int(version[1])) < (3, 11)
    return Finding("python", platform.python_version(), "install Python 3.11 or newer" if old else "", needed=True)


def _packages():
    """labkit itself and each of its requirements, against the ranges of pyproject.toml."""
    try:
        requirements = [Requirement(text) for text in importlib.metadata.requires("labkit")]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("labkit", f"{labkit.__version__}, not installed but found on the path", f"for a full check: {_INSTALL}")
        return
    yield Finding("labkit", labkit.__version__)
    for requirement in requirements:
        extra = "" if requirement.marker is None else str(requirement.marker).split('"')[1]
        yield _package(requirement, extra)


def _package(requirement, extra):
    topic = requirement.name + (f" [{extra}]" if extra else "")
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(topic, "not installed", _INSTALL, needed=not extra)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(topic, version if fits else f"{version}, wanted {requirement.specifier}", "" if fits else _INSTALL, needed=not extra)


def _device():
    try:
        device = default_device()
    except LabkitError as error:
        return Finding("device", "unusable", str(error), needed=True)
    slow = "the smoke profile runs well here; for the lab profile use a GPU or allow hours" if device.type == "cpu" else ""
    return Finding("device", f"{device}: {describe(device)}", slow)


def _disk():
    free = shutil.disk_usage(Path.cwd()).free
    return Finding("free disk", f"{free / 1e9:.1f} GB", f"the whole course needs about {_ROOM / 1e9:.0f} GB; make room" if free < _ROOM else "")


def _profile():
    try:
        current = profile.current()
        data.parse(current.data)
    except LabkitError as error:
        return Finding("profile", "unusable", str(error), needed=True)
    return Finding("profile", f"{current.name}, data {current.data}")


def _data():
    root = Path(data.default_root())
    yield Finding("shapes", "embedded, drawn when needed")
    present = data.cifar10.is_present(root)
    fix = "downloaded at first use (170 MB), or by: python -c \"from labkit import data; data.load('cifar10')\""
    yield Finding("cifar10", f"in {root.absolute()}" if present else f"not in {root.absolute()}", "" if present else fix)


def _weights():
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name in ("resnet18", "resnet50"):
        url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
        present = (folder / url.rsplit("/", 1)[1]).exists()
        fix = f"downloaded at first use, or put {url} into {folder}"
        yield Finding(f"{name} ImageNet weights", f"in {folder}" if present else "not there", "" if present else fix)
