"""How big a notebook runs: the profile named by LABKIT_PROFILE decides on data and sizes.

    smoke   a small drawn data set, seconds a notebook: CI and a first look
    lab     CIFAR-10, minutes on a GPU: the course
    report  CIFAR-10 at full length: the figures of a report

LABKIT_DATA names other data for the profile at hand, for example imagefolder:PATH.
"""

import os
from dataclasses import dataclass

from labkit.errors import LabkitError, accepted

DEFAULT = "lab"
DATA = {"smoke": "shapes:1600/400", "lab": "cifar10", "report": "cifar10"}


@dataclass(frozen=True)
class Profile:
    """A profile's name and the dataset that its notebooks load."""

    name: str
    data: str

    def pick(self, **sizes):
        """The value for this profile: `P.pick(smoke=2, lab=10, report=50)`."""
        if sizes.keys() != DATA.keys():
            raise LabkitError(f"pick needs a value for each profile: {', '.join(DATA)}")
        return sizes[self.name]


def current():
    """The `Profile` that LABKIT_PROFILE asks for; raises `LabkitError` for an unknown name."""
    name = accepted("profile", os.environ.get("LABKIT_PROFILE", DEFAULT), DATA)
    return Profile(name, os.environ.get("LABKIT_DATA", DATA[name]))
