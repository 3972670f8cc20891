"""Fetch an archive so that what stands under its final name is always whole and verified."""

import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from labkit.errors import LabkitError
from labkit.progress import progress_bar

_BLOCK = 1 << 18  # bytes read at a time
_TIMEOUT = 30  # seconds without a byte after which the server counts as gone


def fetch(url, path, md5):
    """Download `url` to `path` and verify its MD5; a file there that has the right MD5 already is kept.

    The bytes go to `<path>.part`, which is renamed only when complete and verified and removed on any
    failure. Raises `LabkitError` naming the cause: no network, cut short, wrong MD5, disk full.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if _md5(path) == md5:
                return path
            print(f"{path} is damaged or incomplete (its MD5 is not {md5}); fetching it again")
        _download(url, part)
        if (found := _md5(part)) != md5:
            raise LabkitError(f"{url} arrived with MD5 {found} instead of {md5}: the file on the server is damaged or was altered; try again or another mirror")
        part.replace(path)
    except OSError as error:
        fix = "free some disk space or choose another data folder with LABKIT_DATA_ROOT"
        raise LabkitError(f"cannot write {path}: {error.strerror or error}; {fix}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return path


def _download(url, part):
    try:
        response = urllib.request.urlopen(url, timeout=_TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError; ValueError: `url` is no address
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise LabkitError(f"cannot reach {url}: {reason}; check the network and the address, or put the file at {part.with_suffix('')} by hand") from error
    size = int(response.headers.get("Content-Length") or 0)
    with response, open(part, "wb") as file:
        received = _copy(response, file, size, url)
    if received < size:
        raise LabkitError(f"{url} was cut short after {received:,} of {size:,} bytes; run the same command again")


def _copy(response, file, size, url):
    received = 0
    with progress_bar(total=size or None, desc=f"download {Path(url).name}", unit="B", unit_scale=True) as bar:
        while block := _read(response, url, received):
            file.write(block)
            received += len(block)
            bar.update(len(block))
    return received


def _read(response, url, received):
    """Read a block; a fault here is the network's, one in `file.write` the disk's."""
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise LabkitError(f"{url} was cut short after {received:,} bytes ({error}); run the same command again") from error


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack(archive, folder, name):
    """Unpack the folder `name` of a tar archive to `folder/name`; it appears there complete or not at all.

    Members that would land outside (absolute paths, `..`, links that climb out) are refused.
    Raises `LabkitError`.
    """
    folder = Path(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as scratch:
            _extract(archive, scratch)
            _move_into_place(Path(scratch) / name, folder / name, archive)
    except OSError as error:
        raise LabkitError(f"cannot unpack {archive}: {error.strerror or error}; free some disk space in {folder}") from error


def _extract(archive, scratch):
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter=_inside)
    except tarfile.FilterError as error:
        reason = f"it holds a member that would be written outside its folder ({error})"
        raise LabkitError(f"{archive} was refused: {reason}; fetch it from its official address") from error
    except (tarfile.TarError, EOFError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise LabkitError(f"{archive} cannot be unpacked ({reason}); delete it and run the same command again") from error


def _inside(member, folder):
    """tarfile's own "data" filter, except that it would quietly make an absolute path a relative one."""
    if member.name.startswith("/"):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def _move_into_place(fresh, target, archive):
    if not fresh.is_dir():
        raise LabkitError(f"{archive} holds no folder {fresh.name}; delete it and run the same command again")
    if os.path.lexists(target):
        target.replace(fresh.with_name("replaced"))  # removed with the scratch folder, whatever it is
    fresh.replace(target)
