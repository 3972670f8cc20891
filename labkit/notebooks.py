"""Which notebooks the course has: the numbered ones with exercises, and the lecture demonstrations without."""

from pathlib import Path

from labkit.errors import LabkitError

LESSONS = "[0-9]*.ipynb"
LECTURES = "L[0-9]*.ipynb"


def paths(folder, *patterns):
    """The notebooks of `folder` that fit one of `patterns` (default: all of the course), in the order in which they are read.

    The copies that Jupyter makes beside a notebook are none of them.
    """
    return [path for pattern in patterns or (LESSONS, LECTURES) for path in sorted(Path(folder).glob(pattern)) if "-Copy" not in path.stem]


def find(folder, names=(), patterns=()):
    """The notebooks of `folder` whose file name starts with one of `names` (all without names); patterns: as for `paths`.

    Raises `LabkitError` where there are none, or none of a name.
    """
    everything = paths(folder, *patterns)
    if not everything:
        raise LabkitError(f"there are no numbered notebooks in {folder}; call labkit from the folder that holds notebooks/, or name it with --notebooks")
    for name in names:
        if not any(path.name.startswith(name) for path in everything):
            raise LabkitError(f"no notebook starts with {name!r}; accepted: {', '.join(path.stem for path in everything)}")
    return [path for path in everything if not names or path.name.startswith(tuple(names))]
