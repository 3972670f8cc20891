"""Which processor the work runs on, and its name for the records."""

import os
import platform
from pathlib import Path

import torch

from labkit.errors import LabkitError


def default_device():
    """The `torch.device` named by LABKIT_DEVICE, else the GPU if there is one, else the CPU; raises `LabkitError`."""
    if wanted := os.environ.get("LABKIT_DEVICE"):
        return resolve(wanted, "LABKIT_DEVICE")
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def resolve(device=None, origin="device"):
    """`device` (a name or a `torch.device`, None for the default one) as a `torch.device` that works here; raises `LabkitError`."""
    if device is None:
        return default_device()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LabkitError(f"{origin}={device} cannot be used ({str(error).splitlines()[0]}); use cpu, cuda or mps") from error
    return torch.device(device)


def describe(device, threads=True):
    """The device in words: the GPU's name, or the processor's and, unless `threads` is False, the number of threads in use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return _processor() + (f", {count} thread{'s' if count > 1 else ''}" if threads else "")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
