"""A submission: what a student's zip holds of what was asked for, and notes on the rest.

Zips are hostile until shown otherwise. Only what is wanted is unpacked, under names that are chosen here.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from labkit.course.untrusted import LIMITS, Archive, in_bytes, parse_json, shown
from labkit.errors import LabkitError, Refused
from labkit.limits import LARGEST, MOST
from labkit.pdf import need_passive

# As in labkit.runs, whose torch is not needed here.
RECORD = ("experiment.json", "history.jsonl", "timing.jsonl", "environment.json", "result.json")
WEIGHT_FILES = ("weights.safetensors", "weights.pt")

_ID = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}"  # no first sign that a spreadsheet would calculate with
_LAB = re.compile(rf"({_ID})_lab3", re.I)
_NUMBERED = re.compile(r"\d\d_[A-Za-z0-9_-]{1,60}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_KEY = re.compile(r"[0-9a-f]{16}")
_COPY = re.compile(r"(?: ?-? ?(?:copy|kopie|copie|副本) ?\d*| ?\(\d{1,3}\))$", re.I)  # what file managers and Jupyter append
_COPIES = 10  # of a copy; names are not to be trusted
_JUNK = re.compile(r"\..*|__MACOSX|__pycache__|site-packages|thumbs\.db|desktop\.ini", re.I)


@dataclass(frozen=True)
class Submission:
    """What was handed in.

    student: the id, 1 to 32 letters, digits, - and _. notebooks: {stem: notebook in format 4}, with no more in its cells than
    source, outputs, tags and nbgrader's marks. sources: {name.py: text}. report: the bytes of the PDF, None without one.
    runs: {key: folder}, unpacked files of a run record. notes: (kind, sentence) of each thing that is not as asked for, kind being
    "missing", "refused", "ambiguous", "guessed", "ignored" or "odd".
    """

    student: str
    notebooks: dict = field(default_factory=dict)
    sources: dict = field(default_factory=dict)
    report: bytes | None = None
    runs: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def read(path, scratch, limits=LIMITS):
    """Read the zip at `path` as a `Submission`; its runs are unpacked into `scratch`, an empty folder or a new one.

    Whatever the zip holds raises nothing: what cannot be read is said in the notes. Raises `LabkitError` if there is no file at
    `path` or `scratch` cannot be used.
    """
    path, scratch = Path(path), Path(scratch)
    if not path.is_file():
        raise LabkitError(f"there is no file {path}; name the zip of a submission")
    _make_empty(scratch)
    try:
        archive = Archive(path, limits)
    except Refused as problem:
        student, notes = _student(path, [])
        return Submission(student, notes=[*notes, ("refused", f"{shown(path.name)} {problem}")])
    except OSError as error:
        raise LabkitError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    with archive:
        return _Reading(archive, path, scratch).submission()


def _make_empty(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise LabkitError(f"{folder} is not empty; give each submission a folder of its own")
    except OSError as error:
        raise LabkitError(f"the folder {folder} cannot be used ({error.strerror}); name another one") from error


class _Reading:
    """The reading of one zip: takes entries for what they seem to be, nearest to the root first, and keeps notes."""

    def __init__(self, archive, path, scratch):
        self.archive, self.scratch = archive, scratch
        self.entries = [entry for entry in archive.entries if not any(map(_JUNK.fullmatch, entry.parts))]
        self.student, self.notes = _student(path, self.entries)
        self.taken = set()

    def submission(self):
        self._note_refused()
        self._drop_duplicates()
        notebooks, sources, report = self._notebooks(), self._sources(), self._report()
        runs = self._runs()  # last: large weights must not use up what the rest needs
        self._note_ignored()
        return Submission(self.student, notebooks, sources, report, runs, self.notes)

    def note(self, kind, sentence):
        self.notes.append((kind, sentence))

    def _note_refused(self):
        self._list("refused", [f"{name}: {reason}" for name, reason in self.archive.refused], "entries were not unpacked", "; ")
        if self.archive.prepended:
            self.note("odd", f"there are {in_bytes(self.archive.prepended)} before the first entry of the zip, which nobody looked at")

    def _list(self, kind, names, what, joint=", "):
        """One note for many names: a zip must not flood the page that shows its notes."""
        if names:
            more = f"{joint}and {len(names) - 10:,} more" if len(names) > 10 else ""
            self.note(kind, f"{len(names):,} {what}: {joint.join(names[:10])}{more}")

    def _drop_duplicates(self):
        """Two entries of one name: most programs would let the later one overwrite the first."""
        last = {entry.parts: entry for entry in self.entries}
        twice = [entry.shown for entry in self.entries if last[entry.parts] is not entry]
        self._list("ambiguous", twice, "names are in the zip more than once, the last one counts")
        self.entries = list(last.values())

    def _named(self, ending, pattern):
        """{stem in lower case: entries}, of the files whose stem without the mark of a copy fits; the first of them is to be taken."""
        found = defaultdict(list)
        for entry in self.entries:
            stem, dot, suffix = entry.name.rpartition(".")
            if dot and suffix.lower() == ending and pattern.fullmatch(_original(stem)):
                found[_original(stem).lower()].append(entry)
        for entries in found.values():
            entries.sort(key=lambda entry: (len(entry.folder), bool(_COPY.search(_stem(entry))), entry.name != entry.name.lower(), entry.parts))
        return dict(sorted(found.items()))

    def _nearest(self, entries):
        """The first of `entries`, with a note on the other ones."""
        chosen, *others = entries
        self.taken.update(entries)
        if others:
            self._list("ambiguous", [entry.shown for entry in others], f"other files could be {chosen.shown}, which was taken")
        return chosen

    def _read(self, entry, limit, parse):
        """What `parse` makes of the bytes of `entry`; None, with a note, if they are refused."""
        try:
            return parse(self.archive.read(entry, limit))
        except Refused as problem:
            return self.note("refused", f"{entry.shown} {problem}")

    def _few(self, found, kind):
        self._list("refused", list(map(shown, list(found)[MOST[kind] :])), f"{kind} were left out, more than {MOST[kind]} are not read")
        return dict(list(found.items())[: MOST[kind]])

    def _notebooks(self):
        found = self._few(self._named("ipynb", _NUMBERED) | self._named("ipynb", _LAB) or self._only_notebook(), "notebooks")
        notebooks = {}
        for entries in found.values():
            entry = self._nearest(entries)
            if (notebook := self._read(entry, LARGEST["notebook"], parse_notebook)) is not None:
                notebooks[_original(_stem(entry)) if _is_asked_for(entry) else f"{self.student}_lab3"] = notebook
        if not notebooks:
            self.note("missing", "there is no notebook that can be read; hand in the numbered notebooks")
        return notebooks

    def _only_notebook(self):
        """A notebook of any name, where it is the only one."""
        only = [entry for entry in self.entries if entry.name.lower().endswith(".ipynb")]
        if len(only) != 1:
            return {}
        self.note("guessed", f"{only[0].shown} was taken for the report notebook: it is the only one")
        return {"": only}

    def _sources(self):
        """The modules; not those of a package, such as a copy of labkit."""
        homes = {above for entry in self.entries if entry.name.endswith(".ipynb") for above in _above(entry)}
        packages = {entry.folder for entry in self.entries if entry.name == "__init__.py"} - homes
        outside = {stem: [entry for entry in entries if not packages & _above(entry)] for stem, entries in self._named("py", _MODULE).items()}
        found = {stem: entries for stem, entries in outside.items() if entries}
        texts = {}
        for entries in self._few(found, "sources").values():
            entry = self._nearest(entries)
            if (text := self._read(entry, LARGEST["source"], _text)) is not None:
                texts[_original(_stem(entry)) + ".py"] = text
        if "resnet18.py" not in texts:
            self.note("missing", "there is no resnet18.py; hand in the one beside your notebooks")
        return texts

    def _report(self):
        found = self._named("pdf", _LAB) or self._named("pdf", re.compile(".*", re.S))
        entries = sorted((entry for entries in found.values() for entry in entries), key=lambda entry: (len(entry.folder), entry.parts))
        report = self._read(self._nearest(entries), LARGEST["report"], _pdf) if entries else None
        if report is None:
            self.note("missing", f"there is no report; hand it in as {self.student}_lab3.pdf")
        elif b"%%EOF" not in report[-2048:]:
            self.note("odd", "the report has no end, it may have been cut short")
        return report

    def _runs(self):
        found = defaultdict(lambda: defaultdict(list))
        for entry in self.entries:
            if entry.folder and _KEY.fullmatch(entry.folder[-1]) and entry.name in (*RECORD, *WEIGHT_FILES):
                found[entry.folder[-1]][entry.folder].append(entry)
        runs = self._few(dict(sorted(found.items())), "runs")
        folders = {key: self._run(key, folders) for key, folders in runs.items()}
        if not folders:
            self.note("missing", "there is no run record; hand in the runs that the notebooks cite")
        return folders

    def _run(self, key, folders):
        """Unpack the run `key` from the nearest of its folders: the files of one record are never mixed with those of another."""
        chosen, *others = sorted(folders, key=lambda folder: (len(folder), folder))
        if others:
            self._list("ambiguous", [shown("/".join(folder)) for folder in others], f"other folders could be {shown('/'.join(chosen))}, which was taken")
        self.taken.update(entry for entries in folders.values() for entry in entries)
        target = self.scratch / "runs" / key
        target.mkdir(parents=True)
        for entry in sorted(folders[chosen], key=lambda entry: entry.name in WEIGHT_FILES):
            self._unpack(entry, target)
        self._note_incomplete(key, {file.name for file in target.iterdir()})
        return target

    def _unpack(self, entry, target):
        name = next(name for name in (*RECORD, *WEIGHT_FILES) if name == entry.name)  # a name of ours
        try:
            self.archive.copy(entry, target / name, LARGEST["weights" if name in WEIGHT_FILES else "record"])
        except Refused as problem:
            self.note("refused", f"{entry.shown} {problem}")
        except OSError as error:
            raise LabkitError(f"cannot write {target / name} ({error.strerror}); free some disk space and read the submission again") from error

    def _note_incomplete(self, key, names):
        lacking = [name for name in RECORD if name not in names]  # of its weights, `measure` knows whether they are asked for
        if lacking:
            self.note("missing", f"the record of run {key} lacks {', '.join(lacking)}")

    def _note_ignored(self):
        rest = [entry for entry in self.entries if entry not in self.taken]
        nested = [entry.shown for entry in rest if entry.name.lower().endswith((".zip", ".7z", ".rar", ".gz", ".tar", ".tgz", ".xz"))]
        self._list("ignored", nested, "archives inside the zip were not opened")
        self._list("ignored", [entry.shown for entry in rest if entry.shown not in nested], "files were not asked for")


def _stem(entry):
    return entry.name.rpartition(".")[0]


def _above(entry):
    """The folder of `entry` and all above it."""
    return {entry.folder[:depth] for depth in range(len(entry.folder) + 1)}


def _original(stem):
    """The stem of a file without the marks of copies. One at a time: a pattern for all of them can be made to try for ever."""
    for _ in range(_COPIES):
        stem = _COPY.sub("", stem)
    return stem


def _is_asked_for(entry):
    return bool(_NUMBERED.fullmatch(_original(_stem(entry))) or _LAB.fullmatch(_original(_stem(entry))))


def student_of(path):
    """The id of a submission that cannot be read, from the name of its zip."""
    return _student(path, [])[0]


def _student(path, entries):
    """(id, notes): from the name of the zip, else from the names inside, else guessed from what the name has of one."""
    stem = _original(path.stem)
    inside = {match[1] for entry in entries if (match := _LAB.fullmatch(_original(_stem(entry)))) and entry.name.lower().endswith((".pdf", ".ipynb"))}
    named = _LAB.fullmatch(stem)
    prefixed = [student for student in inside if stem.endswith(f"_{student}_lab3")]  # Moodle puts its own words before the name
    if named and not prefixed:
        other = sorted(inside - {named[1]})
        return named[1], [("odd", f"the zip is that of {named[1]}, but files inside are named for {', '.join(other)[:100]}")] if other else []
    if len(student := prefixed or sorted(inside)) == 1:
        return student[0], [("guessed", f"the id {student[0]} was taken from the names inside the zip")]
    ending = re.search(r"([A-Za-z0-9][A-Za-z0-9-]{0,31})_lab3$", stem) or re.fullmatch(rf"({_ID})", stem)
    student = ending[1] if ending else re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-")[:32].strip("-") or "unknown"
    return student, [("guessed", f"the id {student} was guessed from the name of the zip, {shown(path.name)}; it should be ID_lab3.zip")]


def _text(content):
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("is no text in UTF-8") from error


def _pdf(content):
    need_passive(content)
    return content


# --- notebooks ---------------------------------------------------------------------------------


def parse_notebook(content):
    """The notebook (format 4) in `content` (bytes), rebuilt from its cells; raises `Refused`.

    Of a cell it keeps source, outputs, execution count, tags and nbgrader's marks, each of the type that the format wants.
    """
    notebook = parse_json(content)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise Refused("is no notebook")
    if notebook["nbformat"] != 4:
        raise Refused(f"is in notebook format {shown(notebook['nbformat'])}, not 4; open it in Jupyter and save it again")
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise Refused("is a notebook without cells")
    try:
        rebuilt = [_cell(cell) | {"id": f"cell-{number}"} for number, cell in enumerate(cells, 1)]
    except (TypeError, AttributeError, KeyError) as error:
        raise Refused("is a notebook with cells that are none; open it in Jupyter and save it again") from error
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": rebuilt})


def _cell(cell):
    if cell["cell_type"] not in ("code", "markdown", "raw"):
        raise TypeError
    rebuilt = {"cell_type": cell["cell_type"], "source": _joined(cell.get("source", "")), "metadata": _marks(cell.get("metadata", {}))}
    if cell["cell_type"] == "code":
        outputs = map(_output, cell.get("outputs", []))
        rebuilt |= {"execution_count": _count(cell), "outputs": [output for output in outputs if output]}
    return rebuilt


def _joined(text):
    """A text that the format allows to be split into lines."""
    return text if isinstance(text, str) else "".join(text if isinstance(text, list) else None)


def _count(cell):
    count = cell.get("execution_count")
    return count if type(count) is int and count >= 0 else None


def _marks(metadata):
    tags, marks = metadata.get("tags"), metadata.get("nbgrader")
    kept = {"tags": list(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and "," not in tag))} if isinstance(tags, list) else {}
    return kept | ({"nbgrader": marks} if isinstance(marks, dict) else {})


def _output(output):
    """The output, None for one of a kind that the format does not know."""
    match output["output_type"]:
        case "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            return {"output_type": "stream", "name": name, "text": _joined(output.get("text", ""))}
        case "display_data":
            return {"output_type": "display_data", "data": _bundle(output.get("data", {})), "metadata": {}}
        case "execute_result":
            return {"output_type": "execute_result", "data": _bundle(output.get("data", {})), "metadata": {}, "execution_count": _count(output)}
        case "error":
            lines = [line for line in output.get("traceback", []) if isinstance(line, str)]
            return {"output_type": "error", "ename": str(output.get("ename", "")), "evalue": str(output.get("evalue", "")), "traceback": lines}
    return None


def _bundle(data):
    """{MIME type: text}; what is shown in no text, such as the state of a widget, is left out."""
    return {kind: _joined(text) for kind, text in data.items() if "json" not in kind and isinstance(text, (str, list))}
