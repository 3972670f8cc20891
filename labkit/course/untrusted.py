"""Reading what someone else made, within bounds: zips and JSON that may lie about themselves.

No number in a zip is believed: bytes are counted as they come out of it, and no name in it becomes a name here.
"""

import io
import itertools
import json
import math
import re
import stat
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

from labkit import limits
from labkit.errors import Refused

_DIRECTORY = 2 << 20  # bytes of a zip's table of contents; 2,000 long names are far below
_BLOCK = 1 << 16
_LONGEST_NAME = 500
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # bits of an entry's flags: the old cipher, strong encryption, hidden headers
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the other ones pack a thousand times more bombs into a byte
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's control, format (direction of writing), surrogate and line-end characters
_FREE_RATIO = 1 << 20  # bytes up to which an entry may be packed as well as it likes
_JSON_DEPTH = 50
_JSON_VALUES = 2_000_000


@dataclass(frozen=True)
class Limits:
    """What a zip may hold. entries: files and folders; total: bytes of all that is unpacked; memory: bytes of that which is not
    written to files; ratio: unpacked over packed, of an entry.
    """

    entries: int = limits.ENTRIES
    total: int = limits.TOTAL
    memory: int = limits.MEMORY
    ratio: int = 200


LIMITS = Limits()


@dataclass(frozen=True)
class Entry:
    """A plain file in a zip. parts: its folders and its name; info: zipfile's own record of it."""

    parts: tuple
    info: zipfile.ZipInfo

    @property
    def name(self):
        return self.parts[-1]

    @property
    def folder(self):
        return self.parts[:-1]

    @property
    def shown(self):
        return shown("/".join(self.parts))


class Archive:
    """A zip that may be hostile, to be used in a `with`; raises `Refused` if it cannot be read at all.

    entries: the `Entry` of each plain file, in the order of the zip. refused: (name to show, reason) of all that is none, such as
    links and names that lead out of the folder. prepended: bytes before the first entry.
    """

    def __init__(self, path, limits=LIMITS):
        self.limits, self.left, self.memory = limits, limits.total, limits.memory
        self._file = _Cautious(path)
        try:
            self._zip = _opened(self._file)
            infos = self._zip.infolist()
            _need_honest_layout(infos, limits)
        except BaseException:
            self._file.close()
            raise
        self.prepended = min((info.header_offset for info in infos), default=0)
        self.entries, self.refused = [], []
        for info in infos:
            if problem := _problem(info, limits):
                self.refused.append((shown(info.orig_filename), problem))
            elif not info.is_dir():
                self.entries.append(Entry(_parts(info), info))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._zip.close()
        self._file.close()

    def read(self, entry, limit):
        """The bytes of `entry`; raises `Refused` if they are more than `limit` or damaged."""
        content = b"".join(self._blocks(entry, limit))
        self.memory -= len(content)
        if self.memory < 0:
            raise Refused(f"is too much: all together take more than {in_bytes(self.limits.memory)} of memory")
        return content

    def copy(self, entry, target, limit):
        """Write `entry` to `target`, which must not exist; raises `Refused`, and then leaves nothing there."""
        with open(target, "xb") as file:  # "x" follows no link
            try:
                for block in self._blocks(entry, limit):
                    file.write(block)
            except Refused:
                target.unlink()
                raise

    def _blocks(self, entry, limit):
        """The content piece by piece, counted: what the zip says about sizes is not believed."""
        size = 0
        for block in self._unpacked(entry, limit):
            size, self.left = size + len(block), self.left - len(block)
            if size > limit:
                raise Refused(f"is larger than {in_bytes(limit)}")
            if self.left < 0:
                raise Refused(f"is too much: all together unpack to more than {in_bytes(self.limits.total)}")
            yield block

    def _unpacked(self, entry, limit):
        if entry.info.file_size > limit:
            raise Refused(f"is larger than {in_bytes(limit)}")
        try:
            with self._zip.open(entry.info) as file:
                while block := file.read(_BLOCK):
                    yield block
        except Exception as error:  # zip, zlib and struct each have errors of their own
            raise Refused(f"is damaged ({type(error).__name__}: {shown(error)})") from error


class _Cautious(io.FileIO):
    """zipfile reads a zip's table of contents in one piece, as long as the zip says that it is: nothing longer is read."""

    def read(self, size=-1):
        if size is not None and size > _DIRECTORY:
            raise Refused(f"has a table of contents of {in_bytes(size)}; hand in what `labkit submit` writes")
        return super().read(size)


def _opened(file):
    try:
        return zipfile.ZipFile(file)
    except Refused:
        raise
    except UnicodeDecodeError as error:
        raise Refused("cannot be read as a zip: a name in it is no valid UTF-8") from error
    except Exception as error:  # zip and struct have errors of their own
        raise Refused(f"cannot be read as a zip ({shown(error)}); it was cut short, or is none") from error


def _need_honest_layout(infos, limits):
    if len(infos) > limits.entries:
        raise Refused(f"holds {len(infos):,} entries, more than {limits.entries:,}; hand in what `labkit submit` writes")
    # At least this long is an entry. Where two share bytes, a small file unpacks to a huge one: D. Fifield, "A better zip bomb", 2019.
    spans = sorted((info.header_offset, info.header_offset + 30 + len(info.orig_filename) + info.compress_size) for info in infos)
    if spans and spans[0][0] < 0:
        raise Refused("cannot be read as a zip: its entries are said to lie before its beginning")
    if any(end > start for (_, end), (start, _) in itertools.pairwise(spans)):
        raise Refused("holds entries that overlap, as in a zip bomb")


def _problem(info, limits):
    """Why an entry is not taken, None if it is."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    if any(unicodedata.category(sign) in _UNSEEN for sign in name):
        return "its name holds signs that cannot be seen"
    if len(name) > _LONGEST_NAME:
        return "its name is too long"
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name) or not _parts(info):
        return "its name leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device, no file"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in _METHODS:
        return "it is packed by a method other than deflate"
    if info.file_size > max(_FREE_RATIO, limits.ratio * info.compress_size):
        return f"it unpacks to more than {limits.ratio} times its size, as a zip bomb does"
    return None


def _parts(info):
    """Folders and name; some programs for Windows write backslashes."""
    return tuple(part for part in re.split(r"[/\\]", info.orig_filename) if part not in ("", "."))


def shown(text, length=100):
    """`text` as it can stand in a sentence on one line: cut, and without signs that cannot be seen."""
    text = "".join("�" if unicodedata.category(sign) in _UNSEEN else sign for sign in str(text)[: length + 1])
    return text if len(text) <= length else text[: length - 1] + "…"


def in_bytes(size):
    """A number of bytes in words."""
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size:,} bytes"


def parse_json(content):
    """The value of JSON in UTF-8 `content` (bytes), of bounded depth and size; raises `Refused`.

    NaN and infinities become None, half a character (a lone surrogate) a question mark: both are trouble to whoever writes them down.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > _JSON_VALUES:  # a list of empty lists takes 20 times its text in memory
        raise Refused(f"holds more than {_JSON_VALUES:,} values")
    try:
        return _clean(json.loads(content.decode("utf-8-sig")), _JSON_DEPTH)
    except Refused:
        raise
    except RecursionError as error:
        raise Refused("is nested too deeply") from error
    except ValueError as error:  # of json, of UTF-8, of a number with thousands of digits
        raise Refused(f"is no valid JSON ({shown(error)})") from error


def _clean(value, depth):
    if depth < 0:
        raise Refused("is nested too deeply")
    if isinstance(value, dict):
        return {_clean(name, depth): _clean(inside, depth - 1) for name, inside in value.items()}
    if isinstance(value, list):
        return [_clean(inside, depth - 1) for inside in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_file(path, limit):
    """The bytes of a file; raises `Refused` if it is missing or larger than `limit`."""
    path = Path(path)
    if not path.is_file():
        raise Refused("is missing")
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Refused(f"is larger than {in_bytes(limit)}")
    return content
