"""`labkit grade`: a folder of zips becomes a table, a page for each student and an index. It goes on where it was killed."""

import hashlib
import json
import re
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import labkit
from labkit import archive, data
from labkit.course import pages, rubric, similar
from labkit.course.answers import own_answers
from labkit.course.facts import Facts
from labkit.course.marks import MarksFile, write_grades
from labkit.course.measure import digest
from labkit.course.sandbox import Bubblewrap, Docker, Unsafe
from labkit.course.untrusted import shown
from labkit.course.workers import measured
from labkit.errors import LabkitError, accepted
from labkit.progress import progress_bar

_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.I)  # no file of Windows can have one of these names
SECONDS = 1800  # on the clock, for one submission: past its sandbox's own limits and the measuring of its weights
_OTHERS = (".7z", ".rar", ".tar", ".gz", ".tgz", ".ipynb")  # what students hand in where a zip was asked for


@dataclass(frozen=True)
class Plan:
    """What to grade and where to write. submissions, out, notebooks (the course's own): folders; setting: see `measure.Setting`;
    rubric: a `Rubric`; jobs: how many submissions at a time; seconds: for each; again: measure all of them anew.
    """

    submissions: Path
    out: Path
    notebooks: Path
    setting: object
    rubric: object
    jobs: int = 1
    seconds: float = SECONDS
    again: bool = False


def find(folder):
    """The zips below `folder`, in the order of their names; raises `LabkitError`."""
    if not folder.is_dir():
        raise LabkitError(f"there is no folder {folder}; name the one with the submissions")
    zips = sorted(path for path in folder.rglob("*") if _is_zip(path) and "__MACOSX" not in path.parts)
    if not zips:
        raise LabkitError(f"there is no zip in {folder}; name the folder that the students' zips are in")
    return zips


def _is_zip(path):
    """Not a link: unpacking what a class has handed in may leave links to any file of this machine, or to the zip of another student."""
    return path.suffix.lower() == ".zip" and path.is_file() and not path.is_symlink()


def left_out(folder):
    """What else looks like a submission."""
    return sorted(path for path in folder.rglob("*") if _is_no_zip(path))


def _is_no_zip(path):
    ending = path.suffix.lower()
    return (ending in _OTHERS and path.is_file()) or (ending == ".zip" and not _is_zip(path))


def grade(plan):
    """Grade all of it, or the rest; returns the `Result`s. Raises `LabkitError`, and then keeps what is measured already."""
    zips = find(plan.submissions)
    _marks(plan)  # before hours of work: the file may hold mistakes
    data.load(plan.setting.data)  # says what it is, and fails here if it does
    store = _Store(plan)
    todo = [path for path in zips if store.read(path) is None]
    try:
        with progress_bar(total=len(zips), initial=len(zips) - len(todo), unit="zip", desc="grading") as bar:
            for path, facts in measured(todo, plan.setting, plan.jobs, plan.seconds, store.report):
                store.keep(path, facts)
                bar.update()
    finally:
        results = _write(plan, store, zips)
    return results


# --- what is measured already -------------------------------------------------------------------


class _Store:
    """The facts that were measured, below `out/.measured`: a file for each zip, by name and bytes, and each way of measuring it."""

    def __init__(self, plan):
        self.folder = plan.out / ".measured"
        self.code = _code()
        self.way = _way(plan.setting, self.code)
        self.again = plan.again
        self.known, self.files = {}, {}

    def read(self, path):
        """The `Facts` about the zip at `path`; None if they have to be measured."""
        if path not in self.known and not self.again:
            with suppress(OSError, ValueError, TypeError, KeyError):
                self.known[path] = Facts.from_dict(json.loads(self._file(path).read_bytes()))
        return self.known.get(path)

    def keep(self, path, facts):
        self.known[path] = facts
        if not facts.failed:  # a failure is tried again the next time
            archive.write_file(self._file(path), json.dumps(facts.to_dict()))

    def report(self, path):
        """Where the report of the zip at `path` is kept."""
        return self._file(path).with_suffix(".pdf")

    def _file(self, path):
        if path not in self.files:  # to read a zip may mean to read hundreds of megabytes
            said = f"{digest(path)} {path.name} {self.way}".encode(errors="surrogateescape")  # a name on disk may be any bytes
            self.files[path] = self.folder / f"{hashlib.sha256(said).hexdigest()[:32]}.json"
        return self.files[path]


def _code():
    """SHA-256 of labkit's own files."""
    files = (path for path in Path(labkit.__file__).parent.rglob("*") if path.suffix in (".py", ".jinja", ".css", ".js"))
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(files))).hexdigest()


def _way(setting, code):
    """What decides over the facts besides the zip: the setting, the images and the code."""
    wanted = sorted(setting.accuracy) if setting.measure == "accuracy" else []  # elsewhere it does not decide
    said = [setting.data, data.fingerprint(setting.data), wanted, setting.measure, setting.tolerance, setting.seconds, repr(setting.lessons)]
    return hashlib.sha256(repr([*said, type(setting.box).__name__, setting.box.limits, code]).encode()).hexdigest()


# --- writing ------------------------------------------------------------------------------------


def _marks(plan):
    return MarksFile(plan.out / "marks.csv", plan.rubric.human)


def _write(plan, store, zips):
    """Points, pages and tables from the facts that there are; returns the `Result`s."""
    book = _marks(plan)  # somebody may have entered marks meanwhile
    found = {path: facts for path in zips if (facts := store.known.get(path))}
    hints = similar.hints(list(found.values()), own_answers(plan.notebooks))
    names = _names(found)
    results = []
    for number, (path, facts) in enumerate(found.items()):
        marks = book.of(facts.student)
        twins = [other for other in found if other != path and found[other].student == facts.student]
        flags = (*(f"{shown(other.name)} is a submission of {facts.student}, too" for other in twins), *rubric.flags(facts))
        parts, report = rubric.fill(plan.rubric, facts, marks.points), _publish(store.report(path), plan.out, names[path]) if facts.report else ""
        page = f"students/{names[path]}.html"
        results.append(rubric.Result(facts, parts, flags, tuple(hints.get(number, ())), page, report, marks.adjust, marks.comment))
    _write_pages(plan, store, results)
    pages.write_index(results, plan.out, _about(plan, zips, results))
    write_grades(results, plan.out / "grades.csv")
    book.write({result.student for result in results})
    return results


def _write_pages(plan, store, results):
    """Write the pages of those students of whom anything has changed: drawing takes longer than all the rest here."""
    path = store.folder / "pages.json"
    before = json.loads(path.read_bytes()) if path.is_file() else {}
    now = {result.page: hashlib.sha256(f"{store.code} {result}".encode()).hexdigest() for result in results}
    for result in results:
        if before.get(result.page) != now[result.page] or not (plan.out / result.page).is_file():
            pages.write_student(result, plan.out)
    archive.write_file(path, json.dumps(now))


def _names(found):
    """{path: a name for its pages}: the student's id, with a number where he handed in more than once."""
    seen, names = Counter(), {}
    for path, facts in found.items():
        seen[facts.student.lower()] += 1  # some file systems know no capitals
        number, name = seen[facts.student.lower()], f"{facts.student}_" if _DEVICE.fullmatch(facts.student) else facts.student
        names[path] = name if number == 1 else f"{name}.{number}"
    return names


def _publish(kept, out, name):
    """Put a report where the pages link to it; returns its path below `out`, "" if it is gone."""
    target = out / "reports" / f"{name}.pdf"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(kept, target)
    except FileNotFoundError:
        return ""
    return f"reports/{name}.pdf"


def _about(plan, zips, results):
    """What was done, in words."""
    runs = [run for result in results for run in result.facts.runs.values()]
    return {
        "submissions": f"{len(results)} of {len(zips)}",
        "rubric": plan.rubric.title,
        "test set": plan.setting.data,
        "run records": f"{len(runs)}, measured {sum(run.measured is not None for run in runs)}",
        "allowed between claimed and measured": f"{plan.setting.tolerance:g} and one image",
        "sandbox": type(plan.setting.box).__name__,
    }


def summarize(results, plan):
    """Print what came out, and what is left to do."""
    book = _marks(plan)
    print(f"{len(results)} submissions graded, {sum(bool(result.flags) for result in results)} need a look; pages: {plan.out / 'index.html'}")
    if waiting := sum(bool(result.open) for result in results):
        print(f"{waiting} wait for a person's marks: enter them in {book.path}, then call the same command again")
    if strangers := book.without({result.student for result in results}):
        print(f"{book.path} has marks of {_some(strangers)}, of whom no submission was graded; see that the ids are those of the zips")
    if others := left_out(plan.submissions):
        print(f"not graded, as they are no zips: {_some([path.name for path in others])}")


def _some(names):
    return f"{', '.join(map(shown, names[:10]))}{' …' if len(names) > 10 else ''}"


# --- the sandbox --------------------------------------------------------------------------------

_BOXES = {"bubblewrap": Bubblewrap, "docker": Docker, "unsafe": Unsafe}


def choose_box(kind=None):
    """A sandbox that works here: the one that is asked for, else Bubblewrap or Docker. Raises `LabkitError` that says what to install."""
    if kind is not None:
        box = _BOXES[accepted("sandbox", kind, _BOXES)]()
        if reason := box.available():
            raise LabkitError(reason)
        return box
    reasons = []
    for box in (Bubblewrap(), Docker()):
        if not (reason := box.available()):
            return box
        reasons.append(reason)
    raise LabkitError(f"there is no sandbox for the students' code: {'; '.join(reasons)}; --unsafe grades without one, with all your files open to that code")
