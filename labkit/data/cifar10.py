"""CIFAR-10 through torchvision's own class, fetched and verified before torchvision reads it."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torchvision.datasets import CIFAR10

from labkit.data.download import fetch, unpack
from labkit.data.imageset import ImageSet
from labkit.errors import LabkitError

_BYTES_NEEDED = 360_000_000  # the archive, 170 MB, and its content, 186 MB


def load(root):
    """Return (train, test) `ImageSet`s of CIFAR-10 below `root`, downloading what is missing or damaged.

    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    `LABKIT_CIFAR10_URL` names a mirror of the archive; its MD5 must still be torchvision's. Raises `LabkitError`.
    """
    root = Path(root)
    if not is_present(root):
        _need_room(root)
        with _alone(root):
            if not is_present(root):  # another process may have fetched it while this one waited
                _fetch(root)
    train, test = (CIFAR10(root, train=train, download=False) for train in (True, False))
    return _image_set(train), _image_set(test)


@contextmanager
def _alone(root):
    """Two notebooks that start at once fetch the archive once."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".cifar10.lock")
        lock.acquire()
    except OSError as error:
        raise LabkitError(f"the data folder {root} cannot be written ({error.strerror or error}); choose another one with LABKIT_DATA_ROOT") from error
    try:
        yield
    finally:
        lock.release()


def is_present(root):
    """Whether torchvision finds every file of CIFAR-10 below `root` with the right MD5."""
    try:
        CIFAR10(root, train=False, download=False)
    except RuntimeError:
        return False
    return True


def _fetch(root):
    archive = root / CIFAR10.filename
    if (root / CIFAR10.base_folder).exists():
        print(f"{root / CIFAR10.base_folder} is damaged or incomplete; unpacking it again")
    fetch(os.environ.get("LABKIT_CIFAR10_URL") or CIFAR10.url, archive, CIFAR10.tgz_md5)
    unpack(archive, root, CIFAR10.base_folder)
    if not is_present(root):
        raise LabkitError(f"{archive} is whole but its content is not CIFAR-10; delete it and run the same command again")


def _need_room(root):
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < _BYTES_NEEDED:
        fix = "free some disk space or choose another data folder with LABKIT_DATA_ROOT"
        raise LabkitError(f"CIFAR-10 needs {_BYTES_NEEDED / 1e6:.0f} MB and {existing} has {free / 1e6:.0f} MB left; {fix}")


def _image_set(dataset):
    images = torch.from_numpy(np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2)))
    return ImageSet(images, torch.tensor(dataset.targets), tuple(dataset.classes))
