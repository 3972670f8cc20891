"""Whether a PDF can do more than be read. A person opens it, outside of every sandbox."""

import re
import zlib

from labkit.errors import Refused

BEGIN = b"%PDF-"
_ACTIVE = re.compile(rb"/(JavaScript|Launch|EmbeddedFiles?|FileAttachment|RichMedia|Rendition|SubmitForm|ImportData|XFA|GoTo[ER])(?![A-Za-z0-9])")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")  # how a name may spell its letters
_OBJECTS = re.compile(rb"/(O|#4[Ff])(b|#62)(j|#6[Aa])(S|#53)(t|#74)(m|#6[Dd])(?![A-Za-z0-9#])")
# What printers write before packed objects. Anything else there may be a way to keep them from being looked at.
_PLAINLY_PACKED = re.compile(
    rb"<<(?:\s*/(?:Type\s*/ObjStm|(?:N|First)\s+\d+|(?:Length|Extends)\s+\d+(?:\s+\d+\s+R)?|Filter\s*(?:/FlateDecode|\[\s*/FlateDecode\s*\])))+"
    rb"\s*>>\s*stream\r?\n"
)
_LARGEST = 100_000_000  # bytes of all object streams, unpacked
_AGAIN = "print it to a PDF once more"


def need_passive(content):
    """Raise `Refused` if `content` (bytes) is no PDF, or one that holds a program, a form that sends, or a file, or hides whether it does.

    The file is searched, not parsed: what a broken one becomes in a viewer that repairs it is not foreseen.
    """
    if not content.startswith(BEGIN):
        raise Refused("is no PDF; export it once more" if content else "is empty; export it once more")
    if re.search(rb"/Encrypt\b", content):
        raise Refused("is encrypted; hand in one without a password")
    left = _LARGEST
    _need_no_action(content)
    for objects in _OBJECTS.finditer(content):
        left -= len(unpacked := _unpacked(content, objects.start(), left))
        _need_no_action(unpacked)


def _need_no_action(content):
    # Names of this length do not come about by chance in packed bytes, so that nothing has to be parsed for it.
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), content)
    if found := _ACTIVE.search(plain):
        raise Refused(f"holds {found[1].decode()}, which a report does not need; {_AGAIN}")


def _unpacked(content, kind, limit):
    """The objects in the stream whose type stands at `kind`, where PDF 1.5 and later keep them packed."""
    stream = _PLAINLY_PACKED.match(content, max(content.rfind(b"<<", 0, kind), 0))
    if stream is None:
        raise Refused(f"holds objects that are packed in a way of their own; {_AGAIN}")
    unpacker = zlib.decompressobj()
    try:
        objects = unpacker.decompress(memoryview(content)[stream.end() :], limit + 1)
    except zlib.error as error:
        raise Refused(f"holds objects that are not packed by deflate; {_AGAIN}") from error
    if len(objects) > limit:
        raise Refused(f"unpacks to more than {_LARGEST // 1_000_000} MB")
    return objects
