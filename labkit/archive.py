"""Files that appear whole or not at all, and zips that depend on names and contents alone."""

import io
import shutil
import zipfile
from contextlib import contextmanager, suppress

from labkit.errors import LabkitError

_PACKED = (".pdf", ".safetensors")  # packing them again takes long and saves next to nothing
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip can hold


def write_zip(out, files):
    """Write `files`, {name: bytes, or the Path of a file}, to the zip at the Path `out`, whose folders are made where needed.

    The same names and contents give the same bytes: no time stamps, no permissions of this machine. At every moment `out` is
    the old file or the whole new one. Raises `LabkitError`.
    """
    with _whole(out) as part, zipfile.ZipFile(part, "w") as archive:
        for name in sorted(files):
            _add(archive, name, files[name])


def write_file(out, content):
    """Write `content`, bytes or text, to the Path `out`, as `write_zip` does."""
    with _whole(out) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def _whole(out):
    """A path to write to; the file takes the place of `out` when all is written, and is gone if that fails."""
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(out)
    except OSError as error:
        raise LabkitError(f"cannot write {out} ({error.strerror or error}); name another place with --out") from error
    finally:
        with suppress(OSError):  # it is gone where all went well
            part.unlink()


def _add(archive, name, content):
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
    with _open(content) as source:
        entry.file_size = source.seek(0, io.SEEK_END)  # zipfile decides by it whether the entry needs the long form
        source.seek(0)
        with archive.open(entry, "w") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _open(content):
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        return open(content, "rb")
    except OSError as error:
        raise LabkitError(f"cannot read {content} ({error.strerror}); see that it is there and may be read") from error
