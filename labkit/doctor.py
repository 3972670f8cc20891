"""`labkit doctor`: what is installed and found on this machine, and what to do about what is not."""

import shutil
from pathlib import Path

import torch
import torchvision

from labkit import data, profile, requirements
from labkit.device import default_device, describe
from labkit.errors import LabkitError
from labkit.requirements import Finding

_ROOM = 6e9  # bytes that data, weights and runs of the whole course take, generously


def examine():
    """All findings, in the order of the report."""
    return [requirements.python(), *requirements.packages(), _device(), _disk(), _profile(), *_data(), *_weights()]


def report(findings):
    """Print the findings; return True if nothing that is needed is missing."""
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = "ok" if not finding.fix else "MISSING" if finding.needed else "note"
        print(f"{mark:<8}{finding.topic:<{width}}  {finding.found}")
        if finding.fix:
            print(f"{'':<8}{'':<{width}}  → {finding.fix}")
    return not any(finding.fix and finding.needed for finding in findings)


def _device():
    try:
        device = default_device()
    except LabkitError as error:
        return Finding("device", "unusable", str(error), needed=True)
    slow = "smoke takes seconds a notebook, LABKIT_PROFILE=laptop trains on real images in minutes; for lab use a GPU or allow hours"
    return Finding("device", f"{device}: {describe(device)}", slow if device.type == "cpu" else "")


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
    yield Finding("shapes", "embedded, drawn when needed")
    *others, root = _data_roots()
    if present := [folder for folder in (root, *others) if data.cifar10.is_present(folder)]:
        yield Finding("cifar10", f"in {present[0].absolute()}")
    else:
        load = f"data.load('cifar10', root='{root.as_posix()}')"
        yield Finding("cifar10", f"not in {root.absolute()}", f'downloaded at first use (170 MB), or by: python -c "from labkit import data; {load}"')


def _data_roots():
    """Where commands look for data and, last, where notebooks do: their kernels run in the notebooks' folder."""
    root = Path(data.default_root())
    return [root, *([Path("notebooks", root)] if Path("notebooks").is_dir() and not root.is_absolute() else [])]


def _weights():
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name in ("resnet18", "resnet50"):
        url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
        present = (folder / url.rsplit("/", 1)[1]).exists()
        fix = f"downloaded at first use, or put {url} into {folder}"
        yield Finding(f"{name} ImageNet weights", f"in {folder}" if present else "not there", "" if present else fix)
