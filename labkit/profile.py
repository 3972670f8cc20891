"""How big a notebook runs: the profile named by LABKIT_PROFILE decides on data and sizes.

    smoke   a small drawn data set, seconds a notebook: CI and a first look
    laptop  CIFAR-10, minutes a notebook on two CPU cores
    lab     CIFAR-10, minutes on a GPU: the course
    report  CIFAR-10 at full length: the figures of a report

LABKIT_DATA names other data for the profile at hand, for example imagefolder:PATH.
"""

import os
from dataclasses import dataclass

from labkit.errors import LabkitError, accepted

DEFAULT = "lab"
DATA = {"smoke": "shapes:1600/400", "laptop": "cifar10", "lab": "cifar10", "report": "cifar10"}
_NEEDED = {"smoke", DEFAULT}


@dataclass(frozen=True)
class Profile:
    """A profile's name and the dataset that its notebooks load."""

    name: str
    data: str

    def pick(self, **sizes):
        """The value for this profile, `P.pick(smoke=2, lab=10, report=50)`; a profile that is not named takes the one of lab."""
        if not _NEEDED <= sizes.keys() <= DATA.keys():
            raise LabkitError(f"pick needs a value for smoke and for lab, and takes one for each of {', '.join(DATA)}")
        return sizes.get(self.name, sizes[DEFAULT])


def current(**data):
    """The `Profile` that LABKIT_PROFILE asks for; raises `LabkitError` for an unknown name.

    data: what a notebook loads in a profile where the usual data would keep it waiting, `current(smoke="shapes:800/200")`.
    """
    name = accepted("profile", os.environ.get("LABKIT_PROFILE", DEFAULT), DATA)
    return Profile(name, os.environ.get("LABKIT_DATA", (DATA | data)[name]))
