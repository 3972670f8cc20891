"""Where images come from: three sources, one `ImageSet` for each part, and the batch loader."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labkit.data import cifar10, imagefolder, shapes
from labkit.data.imageset import ImageSet, get_mean_std, skew, split, subset
from labkit.data.loader import Loader, loader
from labkit.errors import LabkitError

__all__ = ["ImageSet", "Loader", "Splits", "default_root", "fingerprint", "get_mean_std", "load", "loader", "skew", "split", "subset"]

_ACCEPTED = "cifar10, imagefolder:PATH (imagefolder:PATH@SIZE resizes), shapes (shapes:TRAIN/TEST draws fewer)"


@dataclass(frozen=True, eq=False)
class Splits:
    """What `load` returns: `.train` and `.test` (`ImageSet`s), `.valid` (None where the dataset has no validation part
    of its own), `.classes`, and the `.name` it was asked for.
    """

    train: ImageSet
    test: ImageSet
    name: str
    valid: ImageSet | None = None

    @property
    def classes(self):
        return self.train.classes


def load(name, root=None):
    """Load a dataset and print what was loaded.

    name: `cifar10` (downloaded below `root` if missing), `imagefolder:PATH` or `imagefolder:PATH@SIZE` (a folder with
    train/, test/ and perhaps validation/, in each a folder for every class; found below `root`, too),
    `shapes` (50,000 + 10,000 drawn images) or `shapes:TRAIN/TEST` with other numbers.
    root: where downloads live; default `LABKIT_DATA_ROOT` or `data/`. One dataset is never put in the
    place of another: what cannot be loaded raises `LabkitError`. A second call
    returns the same object, unless a folder of images has changed.
    """
    source, argument = parse(name, root)
    return _load(name, source, argument, Path(root or default_root()), fingerprint(name))


def default_root():
    """The folder that downloads go to."""
    return os.environ.get("LABKIT_DATA_ROOT", "data")


def fingerprint(name, root=None):
    """A cheap identity of a dataset's content (it reads no pixel), or None if the data is not on this machine."""
    source, argument = parse(name, root)
    if source == "imagefolder":
        path = argument[0]
        return imagefolder.fingerprint(path) if path.is_dir() else None
    return cifar10.CIFAR10.tgz_md5 if source == "cifar10" else f"shapes version {shapes.VERSION}"


def parse(name, root=None):
    """Split a dataset name into (source, argument); raises `LabkitError` that lists the accepted forms. root: see `load`."""
    if name == "cifar10":
        return name, None
    if name == "shapes":
        return name, (50_000, 10_000)
    if match := re.fullmatch(r"shapes:(\d+)/(\d+)", str(name)):
        return "shapes", _need_images(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"imagefolder:(.+?)(?:@(\d+))?", str(name)):
        return "imagefolder", (_folder(Path(match[1]).expanduser(), root), _need_size(name, match[2]))
    raise LabkitError(f"unknown dataset {name!r}; accepted: {_ACCEPTED}")


def _folder(path, root):
    """`path`, or the folder of that name below `root`: a dataset is then called the same from wherever it is used."""
    below = Path(root or default_root()) / path
    return below if below.is_dir() and not path.is_dir() else path


def _need_images(train, test):
    if min(train, test) < len(shapes.SHAPES):
        raise LabkitError(f"shapes:{train}/{test} asks for fewer images than there are classes; use at least {len(shapes.SHAPES)} of each")
    return train, test


def _need_size(name, size):
    if size is not None and int(size) < 1:
        raise LabkitError(f"{name} asks for images of size {size}; the size must be at least 1 pixel")
    return int(size) if size else None


@lru_cache(maxsize=2)
def _load(name, source, argument, root, content):
    parts = cifar10.load(root) if source == "cifar10" else {"imagefolder": imagefolder, "shapes": shapes}[source].load(*argument)
    train, test, *valid = parts
    splits = Splits(train, test, name, *valid)
    print(f"{name}: {_in_words(splits)}")
    return splits


def _in_words(splits):
    """How many images of what size and how many classes."""
    validation = f", {len(splits.valid):,} validation" if splits.valid else ""
    side = "×".join(map(str, reversed(splits.train.images.shape[2:])))
    return f"{len(splits.train):,} training{validation} and {len(splits.test):,} test images, {side} pixels, {len(splits.classes)} classes"
