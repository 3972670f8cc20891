"""An image set as one uint8 tensor, and the seeded ways to take a part of it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import torch

from labkit.errors import LabkitError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels that are already in memory.

    images: uint8 tensor (N, channels, height, width), labels: int64 tensor (N,) with values
    0 … len(classes) − 1, classes: their names. Indexing gives what `DataLoader` expects of a
    dataset: a float image in [0, 1] and an int label. Raises `LabkitError` if the parts do not fit.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple

    def __post_init__(self):
        object.__setattr__(self, "labels", _as_labels(self.labels))
        object.__setattr__(self, "classes", tuple(self.classes))
        _check_images(self.images)
        _check_labels(self.labels, len(self.images), len(self.classes))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].float() / 255, int(self.labels[index])

    def select(self, indices):
        """Return the `ImageSet` of the images at `indices` (int64 tensor), in that order."""
        return ImageSet(self.images[indices], self.labels[indices], self.classes)

    def to(self, device):
        """Return the same set with images and labels on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)

    @property
    def counts(self):
        """Number of images of each class, a list of len(classes) ints."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    @cached_property
    def digest(self):
        """SHA-256 over shape, pixels, labels and class names: two sets agree only if all of these do."""
        sha = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        sha.update(self.images.cpu().contiguous().numpy())
        sha.update(self.labels.cpu().contiguous().numpy())
        return sha.hexdigest()


def _check_images(images):
    if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        raise LabkitError(f"images must be a uint8 tensor with values 0 … 255, not {found}; convert with (x * 255).round().to(torch.uint8)")
    if images.ndim != 4:
        raise LabkitError(f"images must have the shape (N, channels, height, width), not {tuple(images.shape)}")
    if images.shape[1] not in (1, 3):
        raise LabkitError(f"images must have 1 or 3 channels in dimension 1, not shape {tuple(images.shape)}; permute (N, H, W, C) to (N, C, H, W)")


def _as_labels(labels):
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LabkitError(f"labels must be an int64 tensor of shape (N,) or a list of ints ({error})") from error


def _check_labels(labels, num_images, num_classes):
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise LabkitError(f"labels must be an int64 tensor of shape (N,), not {labels.dtype} of shape {tuple(labels.shape)}")
    if len(labels) != num_images:
        raise LabkitError(f"{num_images} images but {len(labels)} labels; each image needs exactly one label")
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        index = int(outside.nonzero()[0])
        raise LabkitError(f"label {int(labels[index])} of image {index} is outside the {num_classes} classes 0 … {num_classes - 1}")


def subset(image_set, fraction, seed=0):
    """Draw one fixed, stratified part of the set: `round(fraction × N)` images, every class in proportion.

    For one seed the smaller subset is contained in the larger one, so a study of data size only ever
    adds images. fraction: 0 < fraction ≤ 1. The result is shuffled. Raises `LabkitError`.
    """
    if not 0 < fraction <= 1:
        raise LabkitError(f"fraction must be above 0 and at most 1, not {fraction}")
    total = round(fraction * len(image_set))
    if total == 0:
        raise LabkitError(f"fraction {fraction} of {len(image_set)} images leaves none; use at least {1 / len(image_set):.2g}")
    return image_set.select(_draw(image_set, _proportional(image_set.counts, total), seed))


def split(image_set, valid, seed=0):
    """Split into (training part, validation part), stratified; `valid` is the validation fraction, 0 < valid < 1."""
    if not 0 < valid < 1:
        raise LabkitError(f"valid must be above 0 and below 1, not {valid}")
    total = round(valid * len(image_set))
    if total in (0, len(image_set)):
        raise LabkitError(f"valid={valid} of {len(image_set)} images leaves one part empty; use a larger set or another fraction")
    held_out = _draw(image_set, _proportional(image_set.counts, total), seed)
    rest = torch.ones(len(image_set), dtype=torch.bool)
    rest[held_out] = False
    return image_set.select(rest.nonzero().squeeze(1)), image_set.select(held_out)


def skew(image_set, counts, seed=0):
    """Draw an imbalanced set: `counts[c]` images of class c, shuffled. Raises `LabkitError` if a class has fewer."""
    if len(counts) != len(image_set.classes):
        raise LabkitError(f"skew needs one count a class: {len(image_set.classes)} classes, {len(counts)} counts")
    for name, wanted, held in zip(image_set.classes, counts, image_set.counts):
        if not isinstance(wanted, Integral) or not 0 <= wanted <= held:
            raise LabkitError(f"class {name!r} holds {held} images, so its count must be a whole number from 0 to {held}, not {wanted}")
    if sum(counts) == 0:
        raise LabkitError("skew was asked for no image at all; give at least one class a count above 0")
    return image_set.select(_draw(image_set, list(counts), seed))


def get_mean_std(image_set, ratio=0.3, seed=0):
    """Mean and standard deviation of each channel, over all pixels of a random `ratio` of the images, in [0, 1] units.

    Returns two tuples of `channels` floats. The std is that of all pixels together: averaging the stds of
    single images would leave out how images differ from one another. Exact: counted from histograms.
    """
    if not 0 < ratio <= 1:
        raise LabkitError(f"ratio must be above 0 and at most 1, not {ratio}")
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(image_set), generator=generator)[: max(1, round(ratio * len(image_set)))]
    pixels = image_set.images[sample.to(image_set.images.device)].transpose(0, 1).flatten(1)
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in pixels:
        share = torch.bincount(channel, minlength=256).cpu().double() / channel.numel()
        means.append(float((share * values).sum()))
        stds.append(float((share * (values - means[-1]) ** 2).sum().sqrt()))
    return tuple(means), tuple(stds)


def _proportional(counts, total):
    """Share `total` out over the classes in proportion to `counts` (Sainte-Laguë): a larger total never takes from a class."""
    turns = torch.cat([(torch.arange(count, dtype=torch.float64) + 0.5) / count for count in counts])
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    first = turns.argsort(stable=True)[:total]
    return torch.bincount(owners[first], minlength=len(counts)).tolist()


def _draw(image_set, counts, seed):
    """Indices of `counts[c]` images of each class c, as a prefix of one seeded permutation a class, then shuffled."""
    generator = torch.Generator().manual_seed(seed)
    labels = image_set.labels.cpu()
    chosen = []
    for c, count in enumerate(counts):
        members = (labels == c).nonzero().squeeze(1)
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    chosen = torch.cat(chosen)
    return chosen[torch.randperm(len(chosen), generator=generator)]
