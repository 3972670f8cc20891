"""A submission is read whatever its zip holds: what is wanted is found, the rest is named, and nothing is written where it should not be."""

import io
import json
import os
import random
import stat
import struct
import sys
import time
import warnings
import zipfile
import zlib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sentences import one_sentence

from labkit import runs
from labkit.course import inbox
from labkit.course.inbox import parse_notebook, read
from labkit.course.untrusted import LIMITS, parse_json, shown

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
PDF = b"%PDF-1.7\n1 0 obj\nendobj\n%%EOF\n"
RECORDS = dict.fromkeys(inbox.RECORD, b"{}")


def notebook(*cells):
    return nbformat.writes(new_notebook(cells=list(cells) or [new_code_cell("x = 1")])).encode()


def honest(student="111", key=KEY, report=PDF):
    """{name: bytes} as `labkit submit` writes it."""
    return {
        "01_head_replacement.ipynb": notebook(),
        "02_train_test_loops.ipynb": notebook(new_code_cell("def train(): pass")),
        "resnet18.py": b"class BasicBlock: pass\n",
        f"{student}_lab3.pdf": report,
        **{f"runs/{key}/{name}": content for name, content in RECORDS.items()},
        f"runs/{key}/weights.safetensors": b"weights",
    }


def info(name, **changes):
    """A `ZipInfo` of a file with `changes` to its fields."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    for field, value in changes.items():
        setattr(entry, field, value)
    return entry


def zipped(*entries):
    """The bytes of a zip of (name or `ZipInfo`, content), in that order, names as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def submitted(tmp_path):
    """`submitted(content, name, limits)`: read a zip of these files (a dict or bytes), and see that nothing was written elsewhere."""

    def submit(content, name="111_lab3.zip", limits=LIMITS):
        outer = tmp_path / f"outer{len(list(tmp_path.iterdir()))}"
        outer.mkdir()
        (outer / name).write_bytes(content if isinstance(content, bytes) else zipped(*content.items()))
        submission = read(outer / name, outer / "scratch", limits)
        assert {path.name for path in outer.iterdir()} == {name, "scratch"}
        for path in (outer / "scratch").rglob("*"):
            assert not path.is_symlink() and (path.is_dir() or path.name in (*inbox.RECORD, *inbox.WEIGHT_FILES))
        assert inbox._LAB.fullmatch(f"{submission.student}_lab3")
        for kind, sentence in submission.notes:
            assert kind in ("missing", "refused", "ambiguous", "guessed", "ignored", "odd") and "\n" not in sentence and len(sentence) < 3000
        return submission

    return submit


def notes(submission, kind):
    return [sentence for found, sentence in submission.notes if found == kind]


def one_note(submission, kind, *words):
    """The only note of this kind holds each of `words`."""
    (sentence,) = notes(submission, kind)
    assert [word for word in words if word not in sentence] == [], sentence


# --- what is wanted is found -----------------------------------------------------------------------


def test_an_honest_submission_is_read_without_a_note(submitted):
    submission = submitted(honest())
    assert submission.notes == [] and submission.student == "111"
    assert list(submission.notebooks) == ["01_head_replacement", "02_train_test_loops"]
    assert submission.notebooks["02_train_test_loops"].cells[0].source == "def train(): pass"
    assert submission.sources == {"resnet18.py": "class BasicBlock: pass\n"} and submission.report == PDF
    assert list(submission.runs) == [KEY]
    assert {path.name for path in submission.runs[KEY].iterdir()} == {*inbox.RECORD, "weights.safetensors"}
    assert (submission.runs[KEY] / "weights.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("folder", ["lab3/", "lab3/my work/deep/", "作業三/", "lab3\\work\\"])
def test_folders_around_it_change_nothing(submitted, folder):
    files = {folder + name: content for name, content in honest().items()}
    junk = {"__MACOSX/lab3/._resnet18.py": b"\0", "lab3/.DS_Store": b"\0", "lab3/.ipynb_checkpoints/01_head_replacement-checkpoint.ipynb": notebook()}
    submission, plain = submitted(files | junk), submitted(honest())
    assert (submission.notebooks, submission.sources, submission.notes) == (plain.notebooks, plain.sources, [])
    assert list(submission.runs) == [KEY]


@pytest.mark.parametrize("copy", ["{} (1)", "{} - Copy", "{}-Copy1", "{} copy", "{}(2)", "{} - Copy (3)", "{} copy 2", "{} - 副本"])
def test_a_copy_gives_way_to_its_original_and_stands_in_where_there_is_none(submitted, copy):
    name = copy.format("02_train_test_loops") + ".ipynb"
    both = submitted({name: notebook(new_code_cell("copy"))} | honest())
    assert both.notebooks["02_train_test_loops"].cells[0].source == "def train(): pass"
    one_note(both, "ambiguous", "1 other files could be 02_train_test_loops.ipynb, which was taken", name)
    files = honest()
    alone = submitted({name: files.pop("02_train_test_loops.ipynb")} | files)
    assert list(alone.notebooks) == ["01_head_replacement", "02_train_test_loops"] and alone.notes == []


@pytest.mark.parametrize("name", ["copy " * 90 + "x.py", " - Copy" * 60 + "x.ipynb", "(1)" * 150 + ".pdf", "copy" * 100 + "1" * 90 + "x.py"])
def test_no_name_of_copies_takes_long(submitted, name):
    start = time.perf_counter()
    submission = submitted({name: b"x = 1\n"} | honest())
    assert time.perf_counter() - start < 5 and list(submission.notebooks) == ["01_head_replacement", "02_train_test_loops"]


def test_of_two_files_the_one_nearest_the_root_is_taken(submitted):
    submission = submitted({"old/resnet18.py": b"old = 1\n", "old/older/resnet18.py": b"older = 1\n"} | honest())
    assert submission.sources["resnet18.py"] == "class BasicBlock: pass\n"
    one_note(submission, "ambiguous", "2 other files could be resnet18.py", "old/resnet18.py", "old/older/resnet18.py")


def test_names_that_differ_in_case_alone_are_one_name(submitted):
    submission = submitted({"ResNet18.py": b"other = 1\n"} | honest())
    assert submission.sources == {"resnet18.py": "class BasicBlock: pass\n"}
    one_note(submission, "ambiguous", "ResNet18.py")


def test_of_two_entries_with_one_name_the_last_counts(submitted):
    submission = submitted(zipped(("resnet18.py", b"first = 1\n"), *honest().items()))
    assert submission.sources == {"resnet18.py": "class BasicBlock: pass\n"}
    one_note(submission, "ambiguous", "1 names are in the zip more than once, the last one counts: resnet18.py")


def test_the_files_of_one_record_come_from_one_folder(submitted):
    submission = submitted(honest() | {f"old/runs/{KEY}/weights.pt": b"old", f"old/runs/{KEY}/result.json": b"old"})
    assert not (submission.runs[KEY] / "weights.pt").exists() and (submission.runs[KEY] / "result.json").read_bytes() == b"{}"
    one_note(submission, "ambiguous", f"runs/{KEY}, which was taken: old/runs/{KEY}")


def test_modules_of_a_package_are_no_answers(submitted):
    package = {"kit/labkit/__init__.py": b"", "kit/labkit/models.py": b"", "kit/labkit/checks/__init__.py": b"", "kit/labkit/checks/best.py": b""}
    submission = submitted(honest() | package | {"best_model.py": b"best = 1\n"})
    assert set(submission.sources) == {"resnet18.py", "best_model.py"}
    one_note(submission, "ignored", "4 files were not asked for", "kit/labkit/models.py")
    assert set(submitted(honest() | {"__init__.py": b""}).sources) == {"resnet18.py", "__init__.py"}  # beside the notebooks: no package


def test_one_notebook_of_any_name_is_the_report_notebook(submitted):
    files = {name: content for name, content in honest().items() if not name.endswith(".ipynb")}
    assert list(submitted(files | {"111_lab3.ipynb": notebook()}).notebooks) == ["111_lab3"]
    guessed = submitted(files | {"my lab.ipynb": notebook()})
    assert list(guessed.notebooks) == ["111_lab3"]
    one_note(guessed, "guessed", "my lab.ipynb was taken for the report notebook")
    unclear = submitted(files | {"my lab.ipynb": notebook(), "my lab 2.ipynb": notebook()})
    assert unclear.notebooks == {}
    one_note(unclear, "missing", "no notebook that can be read")


def test_what_is_missing_is_named(submitted):
    assert submitted({"readme.txt": b"hello"}).notes == [
        ("missing", "there is no notebook that can be read; hand in the numbered notebooks"),
        ("missing", "there is no resnet18.py; hand in the one beside your notebooks"),
        ("missing", "there is no report; hand it in as 111_lab3.pdf"),
        ("missing", "there is no run record; hand in the runs that the notebooks cite"),
        ("ignored", "1 files were not asked for: readme.txt"),
    ]
    files = honest()
    del files[f"runs/{KEY}/history.jsonl"], files[f"runs/{KEY}/timing.jsonl"]
    one_note(submitted(files), "missing", f"run {KEY} lacks history.jsonl, timing.jsonl")
    files = honest()
    del files[f"runs/{KEY}/weights.safetensors"]  # not all are asked for
    assert submitted(files).notes == []


@pytest.mark.parametrize(
    ("name", "inside", "student", "note"),
    [
        ("111063548_lab3.zip", "111063548", "111063548", None),
        ("111063548_lab3 (1).zip", "111063548", "111063548", None),
        ("a-b_C_lab3.zip", "a-b_C", "a-b_C", None),
        ("upload.zip", "111", "111", "guessed"),
        ("Wang Li_12345_assignsubmission_file_111_lab3.zip", "111", "111", "guessed"),
        ("Wang_9_111_lab3.zip", "111", "111", "guessed"),
        ("Wang Li_12345_assignsubmission_file_111_lab3.zip", None, "111", "guessed"),
        ("111.zip", None, "111", "guessed"),
        ("222_lab3.zip", "111", "222", "odd"),
        ("=HYPERLINK(1).zip", None, "HYPERLINK", "guessed"),
        ("-1+1_lab3.zip", None, "1", "guessed"),
        ("<script>alert(1)<_lab3.zip", None, "script-alert-1-_lab3", "guessed"),
        ("@SUM(A1)_lab3.zip", None, "SUM-A1-_lab3", "guessed"),
        ("..zip", None, "unknown", "guessed"),
        ("學生.zip", None, "unknown", "guessed"),
        ("x" * 200 + ".zip", None, "x" * 32, "guessed"),
        ("１２３_lab3.zip", None, "_lab3", "guessed"),
        ("111\u202e_lab3.zip", None, "111-_lab3", "guessed"),
    ],
)
def test_the_id_comes_from_the_name_of_the_zip_or_from_inside(submitted, name, inside, student, note):
    submission = submitted(honest(inside) if inside else {"resnet18.py": b""}, name)
    assert submission.student == student
    found = [kind for kind, sentence in submission.notes if "id " in sentence or "zip is that" in sentence]
    assert found == ([note] if note else [])


def test_ids_inside_that_are_none_are_not_believed(submitted):
    for hostile in ("../../x", "=cmd", "a b", "<b>", "x" * 40):
        assert submitted({f"{hostile}_lab3.pdf": PDF}, "work.zip").student == "work"


# --- hostile names and kinds of entries ------------------------------------------------------------

LINK = (stat.S_IFLNK | 0o777) << 16
REFUSED_ENTRIES = {
    "traversal": ("../../resnet18.py", {}, "leads out of the folder"),
    "traversal inside": ("a/../../resnet18.py", {}, "leads out of the folder"),
    "traversal with backslashes": ("..\\..\\resnet18.py", {}, "leads out of the folder"),
    "absolute": ("/etc/resnet18.py", {}, "leads out of the folder"),
    "absolute with a backslash": ("\\resnet18.py", {}, "leads out of the folder"),
    "drive": ("C:\\resnet18.py", {}, "leads out of the folder"),
    "drive without a folder": ("c:resnet18.py", {}, "leads out of the folder"),
    "share": ("\\\\host\\share\\resnet18.py", {}, "leads out of the folder"),
    "no name": ("./.", {}, "leads out of the folder"),
    "link": ("resnet18.py", {"external_attr": LINK}, "a link or a device"),
    "device": ("resnet18.py", {"external_attr": (stat.S_IFCHR | 0o666) << 16}, "a link or a device"),
    "pipe": ("resnet18.py", {"external_attr": (stat.S_IFIFO | 0o666) << 16}, "a link or a device"),
    "control": ("res\nnet18.py", {}, "signs that cannot be seen"),
    "escape": ("\x1b[31mresnet18.py", {}, "signs that cannot be seen"),
    "right to left": ("\u202eyp.81tenser.py", {}, "signs that cannot be seen"),
    "too long": ("x" * 600 + "/resnet18.py", {}, "name is too long"),
    "method": ("resnet18.py", {"compress_type": zipfile.ZIP_LZMA}, "other than deflate"),
    "bzip2": ("resnet18.py", {"compress_type": zipfile.ZIP_BZIP2}, "other than deflate"),
}


@pytest.mark.parametrize("case", REFUSED_ENTRIES)
def test_an_entry_that_is_no_plain_file_of_the_folder_is_refused_and_the_rest_is_read(submitted, case):
    name, changes, words = REFUSED_ENTRIES[case]
    files = honest()
    del files["resnet18.py"]
    submission = submitted(zipped(*files.items(), (info(name, **changes), b"/etc/passwd")))
    assert submission.sources == {} and len(submission.notebooks) == 2 and list(submission.runs) == [KEY]
    one_note(submission, "refused", "1 entries were not unpacked", words)


def test_a_link_in_the_place_of_a_run_file_or_folder_is_not_followed(submitted, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    files = {name: content for name, content in honest().items() if "result.json" not in name}
    submission = submitted(
        zipped(
            (info(f"runs/{KEY}", external_attr=LINK), str(secret)),
            (info(f"runs/{KEY}/result.json", external_attr=LINK), str(secret / "result.json")),
            *files.items(),
        )
    )
    assert not (submission.runs[KEY] / "result.json").exists() and list(secret.iterdir()) == []
    one_note(submission, "missing", "lacks result.json")


def test_an_encrypted_entry_is_refused(submitted):
    content = bytearray(zipped(*honest().items()))
    offset = content.index(b"PK\x01\x02")
    content[offset + 8] |= 1  # the flag of the first entry in the table of contents
    one_note(submitted(bytes(content)), "refused", "01_head_replacement.ipynb: it is encrypted")


def test_a_zip_in_the_zip_is_not_opened(submitted):
    submission = submitted({"more.zip": zipped(*honest().items()), "111_lab3.zip": zipped(*honest().items())})
    assert submission.notebooks == {} and submission.runs == {}
    one_note(submission, "ignored", "2 archives inside the zip were not opened: more.zip, 111_lab3.zip")


def test_many_refused_or_ignored_files_make_one_note(submitted):
    submission = submitted(zipped(*honest().items(), *((f"../{n}.py", b"") for n in range(500)), *((f"{n}.dat", b"") for n in range(500))))
    one_note(submission, "refused", "500 entries were not unpacked", "and 490 more")
    one_note(submission, "ignored", "500 files were not asked for", "and 490 more")


# --- bombs and lies --------------------------------------------------------------------------------


def patched(content, name, **fields):
    """The zip with other numbers for the entry `name` in its table of contents and before its content: crc, packed, size."""
    content, places = bytearray(content), {"crc": (16, 14), "packed": (20, 18), "size": (24, 22)}
    central = content.index(b"PK\x01\x02")
    while content[central + 46 : central + 46 + len(name)] != name.encode():
        central = content.index(b"PK\x01\x02", central + 4)
    local = struct.unpack_from("<L", content, central + 42)[0]
    for field, value in fields.items():
        for start, place in zip((central, local), places[field]):
            struct.pack_into("<L", content, start + place, value)
    return bytes(content)


def peak_memory(call):
    """What `call()` returns, and the most memory that Python took for it, in bytes."""
    import tracemalloc

    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_declared_bomb_is_refused_before_it_is_unpacked(submitted):
    bomb = zipped(*{**honest(), f"runs/{KEY}/history.jsonl": b"0" * 60_000_000}.items())
    submission, memory = peak_memory(lambda: submitted(bomb))
    one_note(submission, "refused", "history.jsonl: it unpacks to more than 200 times its size, as a zip bomb does")
    assert memory < 10_000_000 and not (submission.runs[KEY] / "history.jsonl").exists()


def test_a_bomb_that_says_it_is_small_gives_no_more_than_it_says(submitted):
    bomb = zipped(*{**honest(), f"runs/{KEY}/history.jsonl": b"0" * 60_000_000}.items())
    submission, memory = peak_memory(lambda: submitted(patched(bomb, f"runs/{KEY}/history.jsonl", size=1000)))
    one_note(submission, "refused", "history.jsonl is damaged", "CRC")
    assert memory < 10_000_000 and not (submission.runs[KEY] / "history.jsonl").exists()


def test_bytes_are_counted_as_they_come_not_as_they_are_declared(submitted, monkeypatch):
    """Even if zipfile believed the header: the count is ours."""
    content = zipped(*honest().items())
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, entry: io.BytesIO(b"0" * 5_000_000))
    submission = submitted(content)
    assert f"runs/{KEY}/history.jsonl is larger than 4 MB" in notes(submission, "refused")
    assert [path.name for path in submission.runs[KEY].iterdir()] == ["weights.safetensors"]


def test_sizes_have_limits_each_and_together(submitted, monkeypatch):
    noise = random.Random(0).randbytes(3000)
    monkeypatch.setitem(inbox.LARGEST, "source", 1000)
    one_note(submitted(honest() | {"resnet18.py": b"#" + noise}), "refused", "resnet18.py is larger than 1,000 bytes")
    weights = {f"runs/{KEY}/weights.safetensors": noise, f"runs/{OTHER}/weights.safetensors": noise}
    submission = submitted(honest() | weights, limits=type(LIMITS)(total=5000))
    assert any("together unpack to more than 5,000 bytes" in sentence for sentence in notes(submission, "refused"))
    assert len(submission.notebooks) == 2 and submission.report == PDF  # the large files come last
    submission = submitted(honest(report=PDF + noise + b"%%EOF"), limits=type(LIMITS)(memory=3000))
    one_note(submission, "refused", "111_lab3.pdf is too much: all together take more than 3,000 bytes of memory")


def overlapping(copies):
    """A zip whose `copies` entries all share the bytes of one: small, and huge when unpacked."""
    content = zlib.compress(b"x" * 1000)[2:-4]
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, zlib.crc32(b"x" * 1000), len(content), 1000, 4, 0) + b"a.py" + content
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, zlib.crc32(b"x" * 1000), len(content), 1000, 4, 0, 0, 0, 0, 0, 0) + b"a.py"
    return local + entry * copies + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[min(copies, 65535)] * 2, len(entry) * copies, len(local), 0)


def test_entries_that_share_their_bytes_are_a_bomb(submitted):
    assert list(submitted(overlapping(1)).sources) == ["a.py"]
    submission = submitted(overlapping(2))
    assert submission.sources == {} and submission.student == "111"
    assert submission.notes == [("refused", "111_lab3.zip holds entries that overlap, as in a zip bomb")]


def test_a_zip_of_thousands_of_entries_is_refused_before_it_is_read(submitted):
    submission = submitted(zipped(*((f"{n}", b"") for n in range(2001))))
    one_note(submission, "refused", "holds 2,001 entries, more than 2,000; hand in what `labkit submit` writes")
    submission, memory = peak_memory(lambda: submitted(overlapping(200_000)))
    one_note(submission, "refused", "has a table of contents of 10 MB")
    assert memory < 60_000_000  # the zip itself is 10 MB


def truncated(content):
    return content[: len(content) // 2]


def with_end(content, **fields):
    """The zip with other numbers in its last record: entries, directory (its size), offset."""
    content, end = bytearray(content), content.rindex(b"PK\x05\x06")
    for field, value in fields.items():
        struct.pack_into("<H" if field == "entries" else "<L", content, end + {"entries": 10, "directory": 12, "offset": 16}[field], value)
    return bytes(content)


def zip64(size, offset):
    """A zip whose table of contents is said to be `size` bytes at `offset`, in the fields for large zips."""
    content = zipped(*honest().items())
    end = content.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return with_end(content[:end] + record + locator + content[end:], entries=0xFFFF, directory=0xFFFFFFFF, offset=0xFFFFFFFF)


def huge_entry():
    """An entry that is 2^62 bytes long in its fields for large files."""
    content = bytearray(zipped((info("resnet18.py", extra=struct.pack("<2H2Q", 1, 16, 2**62, 2**62)), b"x = 1\n")))
    struct.pack_into("<2L", content, content.index(b"PK\x01\x02") + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    return bytes(content)


def bad_utf8():
    return zipped(("é.py", b""), *honest().items()).replace("é.py".encode(), b"\xff\xfe.py")


UNREADABLE = {
    "no zip": (lambda: b"hello", "cannot be read as a zip"),
    "empty file": (lambda: b"", "cannot be read as a zip"),
    "rar": (lambda: b"Rar!\x1a\x07\x00" + b"\0" * 100, "cannot be read as a zip"),
    "cut short": (lambda: truncated(zipped(*honest().items())), "it was cut short, or is none"),
    "only the last record": (lambda: b"PK\x05\x06" + b"\xff" * 18, "111_lab3.zip"),
    "long directory": (lambda: with_end(zipped(*honest().items()), directory=0x7FFFFFFF), "111_lab3.zip"),
    "directory elsewhere": (lambda: with_end(zipped(*honest().items()), offset=0x7FFFFFFF), "cannot be read as a zip"),
    "zip64 long directory": (lambda: zip64(2**62, 0), "111_lab3.zip"),
    "zip64 directory elsewhere": (lambda: zip64(100, 2**63), "cannot be read as a zip"),
    "invalid utf-8": (bad_utf8, "a name in it is no valid UTF-8"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_zip_that_cannot_be_read_gives_a_submission_of_notes(submitted, case):
    make, words = UNREADABLE[case]
    submission, memory = peak_memory(lambda: submitted(make()))
    assert (submission.student, submission.notebooks, submission.sources, submission.report, submission.runs) == ("111", {}, {}, None, {})
    one_note(submission, "refused", words)
    assert memory < 10_000_000


def test_an_entry_of_exabytes_is_refused(submitted):
    submission = submitted(huge_entry())
    assert submission.sources == {} and len(notes(submission, "refused")) == 1


def test_bytes_before_the_zip_are_named(submitted):
    submission = submitted(b"#!/bin/sh\nrm -rf /\n" + zipped(*honest().items()))
    assert len(submission.notebooks) == 2
    one_note(submission, "odd", "19 bytes before the first entry")


def test_a_damaged_entry_is_named_and_the_rest_is_read(submitted):
    submission = submitted(patched(zipped(*honest().items()), "resnet18.py", crc=1))
    assert submission.sources == {} and len(submission.notebooks) == 2
    one_note(submission, "refused", "resnet18.py is damaged (BadZipFile: Bad CRC-32")


def test_whatever_byte_is_wrong_nothing_is_raised(submitted):
    """Zips with bytes changed, cut out or doubled."""
    whole, draw = zipped(*honest().items()), random.Random(1)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3, 30))):
            place = draw.randrange(len(content) // 2 if draw.random() < 0.3 else 0, len(content))
            match draw.randrange(3):
                case 0:
                    content[place] = draw.randrange(256)
                case 1:
                    del content[place : place + draw.randrange(1, 20)]
                case 2:
                    content[place:place] = content[place : place + draw.randrange(1, 20)]
        submitted(bytes(content))


# --- hostile content -------------------------------------------------------------------------------


def cells(*cells, **changes):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)} | changes).encode()


def code(**changes):
    return {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": ""} | changes


NO_NOTEBOOKS = {
    "empty": (b"", "is no valid JSON"),
    "text": (b"hello", "is no valid JSON"),
    "binary": (bytes(range(256)), "is no valid JSON"),
    "list": (b"[]", "is no notebook"),
    "number": (b"1e999", "is no notebook"),
    "deep": (b"[" * 100_000, "is nested too deeply"),
    "deep dicts": (b'{"a":' * 100_000, "is nested too deeply"),
    "deep metadata": (cells(code(metadata=json.loads('{"a":' * 200 + "1" + "}" * 200))), "is nested too deeply"),
    "many values": (b"[" + b"[]," * 2_000_001 + b"1]", "holds more than 2,000,000 values"),
    "huge number": (b'{"nbformat": ' + b"9" * 5000 + b"}", "is no valid JSON"),
    "format 3": (cells(nbformat=3, worksheets=[]), "is in notebook format 3, not 4; open it in Jupyter and save it again"),
    "format 5": (cells(nbformat=5), "is in notebook format 5"),
    "format text": (cells(nbformat="4"), "is no notebook"),
    "no cells": (json.dumps({"nbformat": 4}).encode(), "is a notebook without cells"),
    "cells text": (json.dumps({"nbformat": 4, "cells": "abc"}).encode(), "is a notebook without cells"),
    "cell text": (cells("abc"), "with cells that are none"),
    "cell list": (cells([]), "with cells that are none"),
    "cell null": (cells(None), "with cells that are none"),
    "cell of no type": (cells({"source": "x"}), "with cells that are none"),
    "cell of another type": (cells(code(cell_type="heading")), "with cells that are none"),
    "type list": (cells(code(cell_type=["code"])), "with cells that are none"),
    "source number": (cells(code(source=1)), "with cells that are none"),
    "source dict": (cells(code(source={"a": "b"})), "with cells that are none"),
    "source of numbers": (cells(code(source=[1, 2])), "with cells that are none"),
    "metadata list": (cells(code(metadata=[])), "with cells that are none"),
    "outputs number": (cells(code(outputs=5)), "with cells that are none"),
    "output text": (cells(code(outputs=["x"])), "with cells that are none"),
    "output null": (cells(code(outputs=[None])), "with cells that are none"),
    "stream number": (cells(code(outputs=[{"output_type": "stream", "text": 5}])), "with cells that are none"),
    "data list": (cells(code(outputs=[{"output_type": "display_data", "data": []}])), "with cells that are none"),
    "traceback number": (cells(code(outputs=[{"output_type": "error", "traceback": 5}])), "with cells that are none"),
}


@pytest.mark.parametrize("case", NO_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_in_a_sentence(case):
    content, words = NO_NOTEBOOKS[case]
    with one_sentence(words):
        parse_notebook(content)


def test_a_refused_notebook_is_a_note(submitted):
    submission = submitted(honest() | {"02_train_test_loops.ipynb": b"[" * 100_000})
    assert list(submission.notebooks) == ["01_head_replacement"]
    one_note(submission, "refused", "02_train_test_loops.ipynb is nested too deeply")


def test_an_honest_notebook_keeps_what_grading_reads():
    marks = {"grade": True, "grade_id": "q", "locked": False, "points": 2, "schema_version": 3, "solution": True, "task": False}
    outputs = [
        new_output("stream", name="stdout", text="kept as run 0123456789abcdef\n"),
        new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"}),
        new_output("execute_result", {"text/html": "<table>"}, execution_count=3),
        new_output("error", ename="ValueError", evalue="no", traceback=["a", "b"]),
    ]
    whole = new_notebook(
        cells=[new_markdown_cell("## Discussion", metadata={"nbgrader": marks}), new_code_cell("x = 1\ny", outputs=outputs, execution_count=3)]
    )
    whole.cells[1].metadata.tags = ["results"]
    split = nbformat.writes(whole).encode()  # with lists of lines, as Jupyter saves it
    read_back = parse_notebook(split)
    nbformat.validate(read_back)
    for kept, cell in zip(read_back.cells, whole.cells):
        assert {name: value for name, value in kept.items() if name != "id"} == {name: value for name, value in cell.items() if name != "id"}


LENIENT = {
    "no metadata": {"cell_type": "code", "source": "x"},
    "nan": code(metadata={"nbgrader": {"points": float("nan")}}),
    "infinite": code(metadata={"nbgrader": {"points": float("inf")}}),
    "half a character": code(source="\ud800"),
    "count text": code(execution_count="7"),
    "count negative": code(execution_count=-1),
    "count huge": code(execution_count=10**30),
    "tags wild": code(metadata={"tags": ["a", "a", 5, "b,c"], "collapsed": "perhaps", "name": 5}),
    "marks text": code(metadata={"nbgrader": "all points"}),
    "output of another kind": code(outputs=[{"output_type": "magic"}]),
    "stream of another name": code(outputs=[{"output_type": "stream", "name": "<b>", "text": ["a", "b"]}]),
    "stream without text": code(outputs=[{"output_type": "stream"}]),
    "widget": code(outputs=[{"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {"a": 1}, "text/plain": ["b"], "x": 5}}]),
    "error without words": code(outputs=[{"output_type": "error", "ename": ["x"], "traceback": [1, "a"]}]),
    "markdown with outputs": {"cell_type": "markdown", "source": ["# a\n", "b"], "outputs": [], "attachments": {"a": 5}},
    "raw": {"cell_type": "raw", "source": "x", "metadata": {"format": 7}},
}


@pytest.mark.parametrize("case", LENIENT)
def test_small_faults_are_mended_and_what_comes_out_is_valid(case):
    parsed = parse_notebook(cells(LENIENT[case], LENIENT[case], metadata="x", nbformat_minor=99))
    nbformat.validate(parsed)
    nbformat.writes(parsed).encode("utf-8")
    assert "NaN" not in nbformat.writes(parsed) and "Infinity" not in nbformat.writes(parsed)
    assert len({cell.id for cell in parsed.cells}) == 2


@pytest.mark.parametrize(
    ("report", "note"),
    [
        (b"<html>", ("refused", "111_lab3.pdf is no PDF; export it once more")),
        (b"", ("refused", "111_lab3.pdf is empty; export it once more")),
        (b"PK\x03\x04%PDF-", ("refused", "111_lab3.pdf is no PDF; export it once more")),
        (PDF[:-6], ("odd", "the report has no end, it may have been cut short")),
    ],
)
def test_a_report_that_is_none_is_named(submitted, report, note):
    submission = submitted(honest(report=report))
    assert note in submission.notes and (submission.report is None) == (note[0] == "refused")


def test_of_several_pdfs_that_of_the_name_is_the_report(submitted):
    assert submitted(honest() | {"paper.pdf": PDF + b"other", "notes/slides.pdf": PDF}).report == PDF
    files = honest()
    files["final report.pdf"] = files.pop("111_lab3.pdf")
    assert submitted(files).report == PDF


def test_a_module_in_another_encoding_is_refused(submitted):
    one_note(submitted(honest() | {"resnet18.py": "# 學".encode("big5")}), "refused", "resnet18.py is no text in UTF-8")


def test_a_flood_of_notebooks_modules_or_runs_is_cut(submitted):
    many = {f"{n:02}_x{m}.ipynb": notebook() for n in range(30) for m in range(2)} | {f"m{n}.py": b"" for n in range(60)}
    runs = {f"runs/{n:016x}/result.json": b"{}" for n in range(520)}
    submission = submitted(many | runs | {"resnet18.py": b""})
    assert (len(submission.notebooks), len(submission.sources), len(submission.runs)) == (50, 50, 500)
    assert [sentence.split(":")[0] for sentence in notes(submission, "refused")] == [
        "10 notebooks were left out, more than 50 are not read",
        "11 sources were left out, more than 50 are not read",
        "20 runs were left out, more than 500 are not read",
    ]


# --- whose fault it is -----------------------------------------------------------------------------


def test_what_the_grader_does_wrong_is_one_sentence(tmp_path):
    with one_sentence("there is no file", "name the zip"):
        read(tmp_path / "missing_lab3.zip", tmp_path / "scratch")
    with one_sentence("there is no file"):
        read(tmp_path, tmp_path / "scratch")
    (tmp_path / "1_lab3.zip").write_bytes(zipped(*honest("1").items()))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "runs").symlink_to(tmp_path)
    with one_sentence("is not empty", "a folder of its own"):
        read(tmp_path / "1_lab3.zip", tmp_path / "used")
    with one_sentence("cannot be used"):
        read(tmp_path / "1_lab3.zip", tmp_path / "1_lab3.zip" / "x")


def test_a_run_has_the_files_that_the_run_store_writes():
    assert (*inbox.RECORD, inbox.WEIGHT_FILES[0]) == (*runs.RECORD, runs.WEIGHTS)


def test_reading_a_submission_does_not_import_torch():
    import subprocess

    command = [sys.executable, "-c", "import labkit.course.inbox, sys; sys.exit('torch' in sys.modules)"]
    assert subprocess.run(command, env=os.environ).returncode == 0


def test_a_name_is_shown_on_one_line():
    assert shown("a\nb\u202ec\u2028d") == "a�b�c�d"
    assert shown("x" * 500) == "x" * 99 + "…"


def test_numbers_that_are_none_become_none():
    assert parse_json(b'{"a": NaN, "b": [Infinity, -Infinity, 1e999], "c": 1.5}') == {"a": None, "b": [None, None, None], "c": 1.5}
