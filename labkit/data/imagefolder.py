"""A folder of images, `train/<class>/*` and `test/<class>/*`, decoded once and cached."""

import hashlib
import os
from collections import Counter
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
TRAIN, TEST = ("train", "training"), ("test", "evaluation")
_LAYOUT = "expected train/<class>/* and test/<class>/*"
_RESIZE = "name a size to resize all to, for example imagefolder:PATH@64"


def load(root, size=None):
    """Return (train, test) `ImageSet`s of the folder `root`.

    size: side in pixels to which images are resized (bilinear, antialiased); without it all must be equally large.
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
    decoded = {name: _decode_all(files, classes, size, name) for name, files in listing.items()}
    _need_one_size(decoded)
    _write_cache(root, key, decoded)
    return _image_sets(decoded, classes)


def fingerprint(root):
    """A cheap identity of the folder's content: SHA-256 over relative paths and file sizes."""
    root = Path(root)
    listing = _listing(root)
    return _digest(root, listing, b"", with_time=False)


def _listing(root):
    """{"train": …, "test": …}, the files of each as `_list` gives them."""
    return {name: _list(_find_split(root, names)) for name, names in (("train", TRAIN), ("test", TEST))}


def _find_split(root, names):
    if not root.is_dir():
        raise LabkitError(f"there is no folder {root}; give the folder that holds train/ and test/ as imagefolder:PATH")
    for name in names:
        if (root / name).is_dir():
            return root / name
    inside = sorted(entry.name for entry in root.iterdir())[:5]
    raise LabkitError(f"{root} holds no folder {names[0]}/ ({_LAYOUT}; found {', '.join(inside) or 'nothing'}); give the folder above {names[0]}/")


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
    train, test = set(listing["train"]), set(listing["test"])
    if train != test:
        odd = sorted(train ^ test)[0]
        raise LabkitError(f"class {odd!r} of {root} is in {'train' if odd in train else 'test'} only; both parts need the same class folders")
    return tuple(sorted(train))


def _digest(root, listing, start, with_time):
    sha = hashlib.sha256(start)
    for classes in listing.values():
        for files in classes.values():
            for path, size, changed in files:
                sha.update(f"{os.path.relpath(path, root)}|{size}|{changed if with_time else ''}\n".encode())
    return sha.hexdigest()


def _decode_all(classes_to_files, classes, size, name):
    paths = [path for c in classes for path, _, _ in classes_to_files[c]]
    labels = [label for label, c in enumerate(classes) for _ in classes_to_files[c]]
    # Pillow lets go of the interpreter while it decodes, so threads are enough and nothing has to be pickled.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(lambda path: _decode(path, size), paths, chunksize=64)
        images = list(progress_bar(decoded, total=len(paths), desc=f"decode {name}", unit="image"))
    _need_equal_shapes(images, paths)
    return {"images": torch.from_numpy(np.stack(images)), "labels": torch.tensor(labels)}


def _decode(path, size):
    """uint8 (3, height, width)."""
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError and more
        raise LabkitError(f"{path} cannot be read as an image ({error}); replace or delete it") from error
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # np.stack would keep the channels last in memory


def _need_equal_shapes(images, paths):
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        usual = shapes.most_common(1)[0][0]
        odd = next(i for i, image in enumerate(images) if image.shape != usual)
        raise LabkitError(f"images differ in size: most are {_side(usual)} pixels, {paths[odd]} is {_side(images[odd].shape)}; {_RESIZE}")


def _need_one_size(splits):
    train, test = (splits[name]["images"].shape for name in ("train", "test"))
    if train[2:] != test[2:]:
        raise LabkitError(f"images differ in size: those of train are {_side(train)} pixels, those of test {_side(test)}; {_RESIZE}")


def _side(shape):
    return f"{shape[-1]}×{shape[-2]}"


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
    return tuple(ImageSet(splits[name]["images"], splits[name]["labels"], classes) for name in ("train", "test"))
