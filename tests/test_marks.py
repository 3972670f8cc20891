"""What a person writes into marks.csv counts and is never lost; no text is a formula in a spreadsheet."""

import csv

import pytest
from sentences import one_sentence

from labkit.course import rubric
from labkit.course.facts import Facts, RunFacts
from labkit.course.marks import Marks, MarksFile, write_grades
from labkit.course.rubric import Item, Part, Result

RULES = rubric.load().human
REPORT, AUGMENTATION = "report: the report", "augmentation: answers to the questions of notebook 07"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "marks.csv"


def table(path):
    """[{column: cell}] of a CSV."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def enter(path, student, **cells):
    """Write cells as a person would in a spreadsheet; names with _ for what is no identifier."""
    rows = table(path)
    next(row for row in rows if row["student"] == student).update(
        {{"report": REPORT, "augmentation": AUGMENTATION}.get(name, name): text for name, text in cells.items()}
    )
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_new_file_has_a_row_a_student_and_a_column_for_each_question_to_a_person(path):
    MarksFile(path, RULES).write({"222", "111"})
    assert [row["student"] for row in table(path)] == ["111", "222"]
    assert list(table(path)[0]) == ["student", *(rule.column for rule in RULES), "adjust", "comment"]
    assert len(RULES) == 5 and {REPORT, AUGMENTATION} < set(table(path)[0])
    assert MarksFile(path, RULES).of("111") == MarksFile(path, RULES).of("nobody") == Marks()


def test_marks_that_are_entered_meanwhile_are_not_written_over(path):
    MarksFile(path, RULES).write({"111"})
    book = MarksFile(path, RULES)
    enter(path, "111", report="27")
    entered = path.read_bytes()
    with one_sentence("was changed while it was in use", "call the command again"):
        book.write({"111", "222"})
    assert path.read_bytes() == entered
    assert MarksFile(path, RULES).of("111").points == {REPORT: 27.0}


def test_columns_without_a_name_keep_what_stands_in_them(path):
    path.write_text("student;comment;;\n111;fine;spoke on Tuesday;late\n", "utf-8-sig")
    for _ in range(2):
        MarksFile(path, RULES).write({"111", "222"})
    with open(path, encoding="utf-8-sig", newline="") as file:
        header, first, second = csv.reader(file, delimiter=";")
    assert header[-2:] == ["", ""] and first[-2:] == ["spoke on Tuesday", "late"] and second[-2:] == ["", ""]


def test_two_columns_of_one_name_are_one_sentence(path):
    path.write_text("student,adjust,adjust\n111,1,2\n")
    with one_sentence("two columns 'adjust'", "keep one"):
        MarksFile(path, RULES)


def test_what_was_entered_counts_and_stays(path):
    MarksFile(path, RULES).write({"111", "222"})
    enter(path, "111", report="27.5", augmentation=" 3 ", adjust="-2", comment="- well done, but late")
    MarksFile(path, RULES).write({"333"})
    book = MarksFile(path, RULES)
    assert book.of("111") == Marks({REPORT: 27.5, AUGMENTATION: 3.0}, -2.0, "- well done, but late")
    assert sorted(book.rows) == ["111", "222", "333"]
    before = path.read_bytes()
    for _ in range(3):
        MarksFile(path, RULES).write({"111"})
    assert path.read_bytes() == before and MarksFile(path, RULES).of("111") == book.of("111")


def test_rows_and_columns_that_nobody_asks_for_are_kept(path):
    MarksFile(path, RULES).write({"111"})
    enter(path, "111", report="20", room="A 3")
    MarksFile(path, RULES[:1]).write({"222"})
    row = table(path)[0]
    assert row["room"] == "A 3" and row[REPORT] == "20"
    assert MarksFile(path, RULES).of("111").points == {REPORT: 20.0}


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_what_spreadsheets_write_is_read(path, delimiter, ends):
    lines = [["student", REPORT, "comment"], ["111", '"27,5"', '"good; and, ""fine"""'], ["", "", ""]]
    path.write_bytes("﻿".encode() + ends.join(delimiter.join(line) for line in lines).encode())
    assert MarksFile(path, RULES).of("111") == Marks({REPORT: 27.5}, 0.0, 'good; and, "fine"')
    MarksFile(path, RULES).write({"222"})
    assert path.read_bytes().decode("utf-8-sig").startswith(f"student{delimiter}")  # so that the same spreadsheet opens it again
    assert MarksFile(path, RULES).of("111").points == {REPORT: 27.5}


def test_a_file_that_has_not_changed_is_not_written(path):
    MarksFile(path, RULES).write({"111"})
    before = path.stat().st_mtime_ns
    MarksFile(path, RULES).write({"111"})
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "cells, words",
    [
        ({"report": "31"}, ["111 has 31 in", "30 points", "enter 0 to 30"]),
        ({"report": "-1"}, ["enter 0 to 30"]),
        ({"report": "good"}, ["'good'", "enter a number, or leave it empty"]),
        ({"report": "nan"}, ["enter a number"]),
        ({"adjust": "1e999"}, ["'adjust'", "enter a number"]),
    ],
)
def test_a_mark_that_cannot_be_is_named_and_nothing_is_written(path, cells, words):
    MarksFile(path, RULES).write({"111"})
    enter(path, "111", **cells)
    before = path.read_bytes()
    with one_sentence(str(path), *words):
        MarksFile(path, RULES)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text, words",
    [
        ("id,points\n111,3\n", ["has no column 'student'"]),
        ("student,comment\n111,a\n111,b\n", ["111 has two rows"]),
        ("student,comment\n,hello\n", ["names no student"]),
        ("student,comment\n111,well, done\n", ["more cells than the first line", "quotes"]),
        ('student,comment\n111,"well done\n222,good\n', ["is no table that can be read", "line 3 or before", "each quote is closed"]),
        (f"student,comment\n111,{'x' * 200_000}\n", ["is no table that can be read", "field larger"]),
    ],
)
def test_a_table_that_cannot_be_read_is_named(path, text, words):
    path.write_text(text)
    with one_sentence(str(path), *words):
        MarksFile(path, RULES)


def test_words_of_a_rule_may_hold_what_stands_between_cells(path):
    rules = [rubric.Rule("report", "human", 5.0, {"human": "clear; short; right; complete; with figures"})]
    MarksFile(path, rules).write({"111"})
    path.write_text(path.read_text("utf-8-sig").replace("111,", "111,4"), "utf-8-sig")
    assert MarksFile(path, rules).of("111").points == {rules[0].column: 4.0}


def test_marks_of_nobody_are_known(path):
    path.write_text("student,comment,adjust\n111,,\n222,late,\n333,,-1\n444,,-2\n")
    assert MarksFile(path, RULES).without({"333", "555"}) == ["222", "444"]


def test_a_folder_in_its_place_is_named(path):
    path.mkdir()
    with one_sentence(str(path), "cannot be read", "move what is there away"):
        MarksFile(path, RULES)


def test_another_encoding_is_named(path):
    path.write_bytes("student,comment\n111,schön\n".encode("latin-1"))
    with one_sentence("UTF-8"):
        MarksFile(path, RULES)


# --- grades.csv -----------------------------------------------------------------------------------


def result(**changes):
    runs = {"k": RunFacts("k", measured=0.91234567), "l": RunFacts("l", measured=0.5)}
    parts = (Part("a", "A", (Item("checks", "x", 3.5, 4, ()), Item("human", "y", None, 6, ()))), Part("b", "B", (Item("human", "z", 2.0, 2, ()),)))
    return Result(**{"facts": Facts("111", "111_lab3.zip", runs=runs), "parts": parts, "flags": ("first", "second")} | changes)


def test_grades_hold_points_parts_and_what_waits(tmp_path):
    write_grades([result(adjusted=-0.5, comment="late")], tmp_path / "grades.csv")
    assert table(tmp_path / "grades.csv") == [
        {"student": "111", "points": "5", "of": "12", "open": "6", "a": "3.5", "b": "2", "accuracy measured": "0.9123", "flags": "2",
         "first flag": "first", "hints": "0", "zip": "111_lab3.zip", "comment": "late"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", '=HYPERLINK("http://example.org";"x")', "=cmd|' /C calc'!A0", "\u202e=1"]
)
def test_no_text_is_a_formula(tmp_path, text):
    facts = Facts("111", text, runs={})
    write_grades([result(facts=facts, flags=(text,), comment=text)], tmp_path / "grades.csv")
    row = table(tmp_path / "grades.csv")[0]
    for name in ("zip", "first flag", "comment"):
        assert row[name].lstrip()[0] not in "=+-@＝" and "\t" not in row[name] and "\r" not in row[name] and "\u202e" not in row[name]


def test_an_empty_class_has_a_header(tmp_path):
    write_grades([], tmp_path / "grades.csv")
    assert (tmp_path / "grades.csv").read_bytes().decode("utf-8-sig").startswith("student,points,of,open,accuracy measured")
