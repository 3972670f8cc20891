"""Whether a PDF can do more than be read. A person opens it, outside of every sandbox."""

import re
import zlib

from labkit.course.untrusted import Refused

_ACTIVE = re.compile(rb"/(JavaScript|Launch|EmbeddedFiles?|RichMedia|SubmitForm|ImportData|XFA|GoToE)(?![A-Za-z0-9])")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")  # how a name may spell its letters
_OBJECTS = re.compile(rb"/(O|#4[Ff])(b|#62)(j|#6[Aa])(S|#53)(t|#74)(m|#6[Dd])(?![A-Za-z0-9#])")
_STREAM = re.compile(rb"\bstream\r?\n")
_LARGEST = 100_000_000  # bytes of all object streams, unpacked
_NEAR = 2_000  # bytes between the type of a stream and its beginning


def need_passive(content):
    """Raise `Refused` if the PDF in `content` (bytes) holds a program, a form that sends, or a file, or hides whether it does."""
    if re.search(rb"/Encrypt\b", content):
        raise Refused("is encrypted; hand in one without a password")
    left = _LARGEST
    _need_no_action(content)
    for objects in _OBJECTS.finditer(content):
        left -= len(unpacked := _unpacked(content, objects.end(), left))
        _need_no_action(unpacked)


def _need_no_action(content):
    # Names of this length do not come about by chance in packed bytes, so that nothing has to be parsed for it.
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), content)
    if found := _ACTIVE.search(plain):
        raise Refused(f"holds {found[1].decode()}, which a report does not need; print it to a PDF once more")


def _unpacked(content, start, limit):
    """The objects in the stream after `start`, where PDF 1.5 and later keep them packed."""
    stream = _STREAM.search(content, start, start + _NEAR)
    if stream is None:
        return b""  # the words stand in a text
    unpacker = zlib.decompressobj()
    try:
        objects = unpacker.decompress(memoryview(content)[stream.end() :], limit + 1)
    except zlib.error as error:
        raise Refused("holds objects that are not packed by deflate; print it to a PDF once more") from error
    if len(objects) > limit:
        raise Refused(f"unpacks to more than {_LARGEST // 1_000_000} MB")
    return objects
