"""A folder of images, `train/<class>/*`, `test/<class>/*` and perhaps `validation/<class>/*`, decoded once and cached."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from labkit.data.imageset import ImageSet
from labkit.errors import LabkitError
from labkit.progress import progress_bar

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"}
FOLDERS = {"train": ("train", "training"), "test": ("test", "evaluation"), "valid": ("validation", "valid", "val")}  # the first that is there
_LAYOUT = "expected train/<class>/*, test/<class>/* and, if there is one, validation/<class>/*"
_RESIZE = "name a size to resize all to, for example imagefolder:PATH@64"


def load(root, size=None):
    """Return (train, test, valid) `ImageSet`s of the folder `root`; valid is None where it has no validation folder.

    size: side in pixels to which images are resized (bilinear, antialiased; what is not square is squeezed); without it
    all must be equally large.
    The decoded pixels are cached in `root/.labkit` (or the user's cache folder if that cannot be written)
    and used as long as no file's name, size or time of change differs. Raises `LabkitError`.
    """
    root = Path(root)
    listing = _listing(root)
    classes = _same_classes(root, listing)
    key = _digest(root, listing, f"{size} ".encode(), with_time=True)
    for cache in _cache_places(root):
        if (cached := _read_cache(cache, key)) is not None:
            return _image_sets(cached, classes)
    pattern = None if size else _pattern(listing)
    decoded = {name: _decode_all(files, classes, size, pattern, name) for name, files in listing.items()}
    _write_cache(root, key, decoded)
    return _image_sets(decoded, classes)


def fingerprint(root):
    """A cheap identity of the folder's content: SHA-256 over relative paths and file sizes."""
    root = Path(root)
    listing = _listing(root)
    return _digest(root, listing, b"", with_time=False)


def _listing(root):
    """{"train": …, "test": … and, where there is one, "valid": …}, the files of each as `_list` gives them."""
    if not root.is_dir():
        raise LabkitError(f"there is no folder {root}; give the folder that holds train/ and test/ as imagefolder:PATH, in full or below LABKIT_DATA_ROOT")
    folders = {part: next((root / name for name in names if (root / name).is_dir()), None) for part, names in FOLDERS.items()}
    for part in ("train", "test"):
        if folders[part] is None:
            raise _missing(root, part)
    return {part: _list(folder) for part, folder in folders.items() if folder}


def _missing(root, part):
    inside = ", ".join(sorted(entry.name for entry in root.iterdir())[:5])
    return LabkitError(f"{root} holds no folder {part}/ ({_LAYOUT}; found {inside or 'nothing'}); give the folder above {part}/")


def _list(folder):
    """{class: [(path, size, time of change), …]}, both sorted by name; an empty class is an error."""
    classes = {}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        images = [e for e in os.scandir(entry.path) if os.path.splitext(e.name)[1].lower() in EXTENSIONS]
        if not images:
            raise LabkitError(f"class folder {entry.path} holds no image; add images ({', '.join(sorted(EXTENSIONS))}) or remove the folder")
        classes[entry.name] = sorted((e.path, e.stat().st_size, e.stat().st_mtime_ns) for e in images)
    if not classes:
        raise LabkitError(f"{folder} holds no class folder; {_LAYOUT}")
    return classes


def _same_classes(root, listing):
    everywhere, anywhere = set.intersection(*map(set, listing.values())), set.union(*map(set, listing.values()))
    if odd := min(anywhere - everywhere, default=None):
        holding = " and ".join(part for part, classes in listing.items() if odd in classes)
        raise LabkitError(f"class {odd!r} of {root} is in {holding} only; all parts need the same class folders")
    return tuple(sorted(everywhere))


def _digest(root, listing, start, with_time):
    sha = hashlib.sha256(start)
    for classes in listing.values():
        for files in classes.values():
            for path, size, changed in files:
                name = Path(os.path.relpath(path, root)).as_posix()  # the same on every system
                sha.update(f"{name}|{size}|{changed if with_time else ''}\n".encode())
    return sha.hexdigest()


def _pattern(listing):
    """The first training image and its (width, height): without a size to resize to, all others must be as large."""
    path = next(iter(listing["train"].values()))[0][0]
    _, height, width = _decode(path).shape
    return path, (width, height)


def _decode_all(classes_to_files, classes, size, pattern, name):
    paths = [path for c in classes for path, _, _ in classes_to_files[c]]
    labels = [label for label, c in enumerate(classes) for _ in classes_to_files[c]]
    # Pillow lets go of the interpreter while it decodes, so threads are enough and nothing has to be pickled.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(lambda path: _decode(path, size, pattern), paths)
        images = list(progress_bar(decoded, total=len(paths), desc=f"decode {name}", unit="image"))
    return {"images": torch.from_numpy(np.stack(images)), "labels": torch.tensor(labels)}


def _decode(path, size=None, pattern=None):
    """uint8 (3, height, width); raises `LabkitError`, before it decodes, where the image is not as large as the `pattern`."""
    try:
        with Image.open(path) as image:
            differs = pattern and image.size != pattern[1]
            image = image if differs else image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError and more
        raise LabkitError(f"{path} cannot be read as an image ({error}); replace or delete it") from error
    if differs:
        raise LabkitError(f"images differ in size: {pattern[0]} is {_side(pattern[1])} pixels, {path} is {_side(image.size)}; {_RESIZE}")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # np.stack would keep the channels last in memory


def _side(size):
    return "×".join(map(str, size))


def _cache_places(root):
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [root / ".labkit" / "decoded.pt", user / "labkit" / place / "decoded.pt"]


def _read_cache(cache, key):
    try:
        content = torch.load(cache, weights_only=True)
        usable = content["key"] == key and content["sha256"] == _content_digest(content["splits"])
        return content["splits"] if usable else None
    except Exception:  # whatever is wrong with a cache, the images themselves are the source
        return None


def _content_digest(splits):
    """torch.load does not verify checksums: a damaged pixel would pass unnoticed without this."""
    sha = hashlib.sha256()
    for part in splits.values():
        sha.update(part["images"].numpy())
        sha.update(part["labels"].numpy())
    return sha.hexdigest()


def _write_cache(root, key, splits):
    for cache in _cache_places(root):
        part = cache.with_name(f"{cache.name}.{os.getpid()}.part")
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"key": key, "sha256": _content_digest(splits), "splits": splits}, part)
            part.replace(cache)
            return
        except (OSError, RuntimeError):  # torch reports a full disk as RuntimeError
            with suppress(OSError):
                part.unlink()
    print(f"no room to cache the decoded images of {root}: they will be decoded again next time")


def _image_sets(splits, classes):
    sets = {part: ImageSet(split["images"], split["labels"], classes) for part, split in splits.items()}
    return tuple(sets.get(part) for part in FOLDERS)
