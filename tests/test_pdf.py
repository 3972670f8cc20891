"""A report may be read, and do nothing."""

import zlib

import pytest
from sentences import one_sentence

from labkit import pdf
from labkit.pdf import need_passive

HEAD, END = b"%PDF-1.7\n", b"\n%%EOF\n"


def stream(content, kind=b"/Type /ObjStm", filtered=zlib.compress):
    return b"4 0 obj\n<< " + kind + b" /Filter /FlateDecode >>\nstream\n" + filtered(content) + b"\nendstream\nendobj\n"


@pytest.mark.parametrize(
    "body",
    [
        b"1 0 obj << /Type /Catalog /OpenAction [2 0 R /Fit] >> endobj",  # what LaTeX writes: where to begin to read
        b"1 0 obj << /A << /S /URI /URI (https://example.org) >> >> endobj",
        b"1 0 obj << /Title (On JavaScript in a text) >> endobj",
        b"1 0 obj << /LaunchPad true /XFAme 1 >> endobj",
        stream(b"<< /Type /Page >>"),
        stream(b"<< /Type /Page >>", kind=b"/N 1 /First 4/Length 7 0 R /Type/ObjStm /Extends 3 0 R"),
        stream(b"/JavaScript", kind=b"/Type /XObject"),  # packed pixels may hold any word
    ],
    ids=["open action", "link", "words", "other names", "packed objects", "more said about them", "picture"],
)
def test_what_printers_write_passes(body):
    need_passive(HEAD + body + END)


ACTIVE = "JavaScript Launch EmbeddedFiles EmbeddedFile FileAttachment RichMedia Rendition SubmitForm ImportData XFA GoToE GoToR"


@pytest.mark.parametrize("name", ACTIVE.split())
def test_what_acts_is_named(name):
    with one_sentence(f"holds {name}, which a report does not need"):
        need_passive(HEAD + f"1 0 obj << /S /{name} >> endobj".encode() + END)


def test_hidden_actions_are_found():
    with one_sentence("holds JavaScript"):
        need_passive(HEAD + b"1 0 obj << /S /J#61vaScr#69pt >> endobj" + END)
    with one_sentence("holds Launch"):
        need_passive(HEAD + stream(b"<< /S /L#61unch >>") + END)
    with one_sentence("holds JavaScript"):
        need_passive(HEAD + stream(b"<< >>") + stream(b"<< /S /JavaScript >>") + END)


LAUNCH = b"<< /S /Launch >>"
TWICE = zlib.compress(LAUNCH)


@pytest.mark.parametrize(
    "body",
    [
        stream(LAUNCH, kind=b"/Type /Obj#53tm"),
        stream(LAUNCH, kind=b"/Type /ObjStm /DecodeParms << /Predictor 12 >>"),
        stream(LAUNCH, kind=b"/DecodeParms << /Predictor 12 >> /Type /ObjStm"),
        stream(LAUNCH, kind=b"/Type /ObjStm /Padding (" + b" " * 5_000 + b")"),
        stream(LAUNCH, kind=b"/Type /ObjStm /Decoy (\nstream\n" + zlib.compress(b"<< >>") + b")"),
        stream(LAUNCH, kind=b"/Type /ObjStm % stream"),
        stream(TWICE).replace(b"/FlateDecode", b"[/FlateDecode /FlateDecode]"),
        stream(LAUNCH).replace(b"/FlateDecode", b"8 0 R"),
        b"5 0 obj /ObjStm endobj\n" + stream(LAUNCH, kind=b"/Type 5 0 R"),
        b"/ObjStm",
    ],
    ids=["escaped", "predictor", "predictor before", "far away", "decoy", "comment", "twice", "filter elsewhere", "type elsewhere", "nothing around it"],
)
def test_objects_that_are_packed_to_hide_them_are_refused(body):
    with one_sentence("packed in a way of their own", "print it to a PDF once more"):
        need_passive(HEAD + body + END)


def test_what_is_no_pdf_is_refused():
    with one_sentence("is no PDF"):
        need_passive(b"<html>")
    with one_sentence("is empty"):
        need_passive(b"")


def test_what_cannot_be_looked_into_is_refused(monkeypatch):
    with one_sentence("is encrypted", "without a password"):
        need_passive(HEAD + b"trailer << /Encrypt 5 0 R >>" + END)
    with one_sentence("not packed by deflate"):
        need_passive(HEAD + stream(b"<< >>", filtered=lambda content: content.hex().encode()) + END)
    monkeypatch.setattr(pdf, "_LARGEST", 10_000)
    with one_sentence("unpacks to more than"):
        need_passive(HEAD + stream(b" " * 6_000) + stream(b" " * 6_000) + END)
