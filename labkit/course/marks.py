"""The tables of grading: grades.csv, and marks.csv, into which a person writes and which is never lost."""

import csv
import io
import math
import re
from dataclasses import dataclass, field

from labkit.archive import write_file
from labkit.errors import LabkitError

STUDENT, ADJUST, COMMENT = "student", "adjust", "comment"
_FORMULA = tuple("=+-@＝＋－＠\t\r")  # what a spreadsheet calculates, or hides, at the beginning of a cell
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass
class Marks:
    """What a person entered for one student. points: {column of the rubric: points}; adjust: to add to the sum; comment: words for the student."""

    points: dict = field(default_factory=dict)
    adjust: float = 0.0
    comment: str = ""


class MarksFile:
    """marks.csv at `path`: a row a student, a column for each of `rules` (of a rubric, to be filled by a person), adjust and comment.

    Reads what spreadsheets write (`;` or tabs between cells, decimal commas, a byte order mark). Rows and columns that nobody asks
    for any more are kept. Raises `LabkitError` for what is no number or too many points, and then changes nothing.
    """

    def __init__(self, path, rules):
        self.path, self.rules = path, {rule.column: rule for rule in rules}
        self.columns, self.rows, self.delimiter, self._before = _read(path)
        self.marks = {student: self._marks(student, row) for student, row in self.rows.items()}

    def _marks(self, student, row):
        points = {column: self._points(student, column, row[column]) for column in self.rules if row.get(column, "").strip()}
        adjust = self._number(student, ADJUST, row[ADJUST]) if row.get(ADJUST, "").strip() else 0.0
        return Marks(points, adjust, _as_entered(row.get(COMMENT, "")))

    def _points(self, student, column, text):
        points, of = self._number(student, column, text), self.rules[column].of
        if not 0 <= points <= of:
            raise LabkitError(f"{self.path}: {student} has {text.strip()} in {column!r}, which has {of:g} points; enter 0 to {of:g}")
        return points

    def _number(self, student, column, text):
        try:
            number = float(_as_entered(text).replace(",", "."))
            if not math.isfinite(number):
                raise ValueError
        except ValueError:
            raise LabkitError(f"{self.path}: {student} has {text.strip()[:40]!r} in {column!r}; enter a number, or leave it empty") from None
        return number

    def of(self, student):
        """The `Marks` of a student."""
        return self.marks.get(student, Marks())

    def without(self, students):
        """Those who have marks or a comment and are none of `students`, in order."""
        return sorted(student for student, marks in self.marks.items() if marks != Marks() and student not in students)

    def write(self, students):
        """Add what is missing: a row for each of `students`, a column for each rule."""
        for student in students:
            self.rows.setdefault(student, {STUDENT: student})
        wanted = [STUDENT, *self.rules, ADJUST, COMMENT]
        columns = [*wanted, *(column for column in self.columns if column not in wanted)]
        rows = [[self.rows[student].get(column, "") for column in columns] for student in sorted(self.rows)]
        content = _table([[column.strip() for column in columns], *rows], self.delimiter)
        if content == self._before:  # a person may have it open
            return
        if (self.path.read_bytes() if self.path.is_file() else None) != self._before:
            raise LabkitError(f"{self.path} was changed while it was in use; call the command again, what is measured is kept")
        write_file(self.path, content)


def _read(path):
    """(columns, {student: row}, what stands between cells, the bytes) of a table; empty if there is none."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return [], {}, ",", None
    except UnicodeDecodeError:
        raise LabkitError(f"{path} is not in UTF-8; save it as CSV UTF-8") from None
    except OSError as error:
        raise LabkitError(f"{path} cannot be read ({error.strerror}); put the table back, or move what is there away") from error
    delimiter = _delimiter(text)
    lines = _lines(path, text, delimiter)
    columns = [name.strip() for name in lines[0]] if lines else []
    if lines and STUDENT not in columns:
        raise LabkitError(f"{path} has no column {STUDENT!r}; put its first line back, or move the file away to have a new one written")
    if repeated := [name for name in columns if name and columns.count(name) > 1]:
        raise LabkitError(f"{path} has two columns {repeated[0]!r}; keep one")
    columns = [name or " " * (index + 1) for index, name in enumerate(columns)]  # each column without a name has what stands in it
    return columns, _rows(path, columns, lines[1:]), delimiter, content


def _delimiter(text):
    """What stands between cells: that by which the first line names the students. Words in it may hold the other ones."""
    header = text.partition("\n")[0]
    fits = [sign for sign in ";,\t" if STUDENT in [name.strip('" \r') for name in header.split(sign)]]
    return max(fits or ";,\t", key=header.count)


def _lines(path, text, delimiter):
    """The cells of each line in which there is anything."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [line for line in reader if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise LabkitError(f"{path} is no table that can be read ({error}, in line {reader.line_num} or before); see that each quote is closed") from error


def _rows(path, columns, lines):
    rows = {}
    for line in lines:
        if len(line) > len(columns) and any(cell.strip() for cell in line[len(columns) :]):
            raise LabkitError(f"{path}: the row of {line[0][:40]!r} has more cells than the first line; put texts with commas into quotes")
        row = dict(zip(columns, line))
        student = _as_entered(row.get(STUDENT, ""))
        if not student:
            raise LabkitError(f"{path}: the row {', '.join(line)[:60]!r} names no student; enter the id or delete the row")
        if student in rows:
            raise LabkitError(f"{path}: {student} has two rows; keep one")
        rows[student] = row | {STUDENT: student}
    return rows


def write_grades(results, path):
    """Write a row for each `Result`: points, what waits for a person, each part, accuracies, and what needs a look."""
    parts = [(part.name, part.of) for part in results[0].parts] if results else []
    header = ["student", "points", "of", "open", *(name for name, _ in parts), "accuracy measured", "flags", "first flag", "hints", "zip", "comment"]
    write_file(path, _table([header, *map(_grades, results)]))


def _grades(result):
    measured = [run.measured for run in result.facts.runs.values() if run.measured is not None]
    accuracy = round(max(measured), 4) if measured else ""
    points = [part.points for part in result.parts]
    first = result.flags[0] if result.flags else ""
    flags = [len(result.flags), first, len(result.hints)]
    return [result.student, result.points, result.of, result.open, *points, accuracy, *flags, result.facts.zip, result.comment]


def _as_entered(text):
    """A cell without the apostrophe that `_cell` has put before it."""
    text = text.strip()
    return text[1:] if text[:1] == "'" and text[1:].lstrip().startswith(_FORMULA) else text


def _table(rows, delimiter=","):
    """The bytes of a CSV that spreadsheets open with the right letters, and in which no text is a formula."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue().encode("utf-8-sig")


def _cell(value):
    """The value as text; a number without a fraction as a whole one. A text that a spreadsheet would calculate gets an apostrophe."""
    if isinstance(value, (int, float)):
        return f"{value:g}" if abs(value) < 1e6 else str(value)
    text = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text.strip()) else text
