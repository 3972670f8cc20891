"""A loader with the face of `DataLoader` that gathers and augments a whole batch at once."""

import math

import torch

from labkit.errors import LabkitError
from labkit.transforms import Compose, Normalize, apply


class Loader:
    """Iterate over an `ImageSet` in batches of (images, labels).

    images: float32 (batch, channels, height, width) on `device`; without a `transform` that scales them,
    pixel values are in [0, 1]. labels: int64 (batch,). The last batch may be short.

    Order and augmentation of an epoch depend on (seed, epoch) alone. `epoch` counts up by itself with
    every pass and may be set, which is all that a resumed training needs.
    """

    def __init__(self, dataset, batch_size, shuffle=False, transform=None, device=None, seed=0):
        _check_batch_size(batch_size, len(dataset))
        self.device = torch.device(device or "cpu")
        self.dataset = dataset.to(self.device)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.transform = transform
        self.seed = seed
        self.epoch = 0

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        for _, images, labels in self.indexed():
            yield images, labels

    def indexed(self):
        """One pass as (indices, images, labels); indices: int64 (batch,), the places of the images in `dataset`."""
        epoch = self.epoch
        order, generator = self._plan(epoch)
        self.epoch += 1
        for indices in order.split(self.batch_size):
            images = self.dataset.images.index_select(0, indices)
            yield indices, self._finish(images, generator, (epoch, indices)), self.dataset.labels.index_select(0, indices)

    @property
    def augments(self):
        """Whether an image may look different in each pass; False only for transforms that are known to be fixed."""
        return not _is_fixed(self.transform)

    def _plan(self, epoch):
        """The order of the images in this epoch, and the generator that its augmentation draws from."""
        # Two integers make one seed: consecutive epochs of one seed never share a stream with another seed's.
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + epoch)
        if self.shuffle:
            return torch.randperm(len(self.dataset), generator=generator, device=self.device), generator
        return torch.arange(len(self.dataset), device=self.device), generator

    def _finish(self, images, generator, place):
        if self.transform is not None:
            images = apply(self.transform, images, generator, place)
        return images if images.is_floating_point() else images.float().div_(255)


def loader(image_set, batch_size, shuffle=False, transform=None, device=None, seed=0):
    """Make a `Loader`; raises `LabkitError` unless 1 ≤ batch_size ≤ len(image_set)."""
    return Loader(image_set, batch_size, shuffle, transform, device, seed)


def _is_fixed(transform):
    """Exact types: a subclass may draw random numbers."""
    if type(transform) is Compose:
        return all(map(_is_fixed, transform.transforms))
    return transform is None or type(transform) is Normalize


def _check_batch_size(batch_size, num_images):
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= num_images:
        raise LabkitError(f"batch size must be a whole number from 1 to {num_images}, the size of the set, not {batch_size!r}")
