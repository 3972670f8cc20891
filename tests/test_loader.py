"""The in-memory loader: the face of `DataLoader`, and an order that (seed, epoch) alone decides."""

import pytest
import torch
from sentences import one_sentence
from torch.utils.data import DataLoader

from labkit.data import ImageSet, Loader, loader, subset
from labkit.errors import LabkitError
from labkit.transforms import AlternatingFlip, Compose, GaussianNoise, Normalize, RandomHorizontalFlip

CLASSES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def image_set():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (103, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(103) % 10, CLASSES)


def numbered(count):
    """One-pixel images, told apart by their pixel: number i is i / 255."""
    return ImageSet(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1), torch.arange(count) % 10, CLASSES)


def order(batches):
    return [round(float(x) * 255) for images, _ in batches for x in images.flatten()]


def one_pass(batches):
    images, labels = zip(*batches)
    return torch.cat(images), torch.cat(labels)


# --- the face of DataLoader --------------------------------------------------------------------


def test_the_sixteenth_of_cifar10_at_batch_256_is_13_steps():
    cifar_sized = ImageSet(torch.zeros(50_000, 3, 1, 1, dtype=torch.uint8), torch.arange(50_000) % 10, CLASSES)
    batches = loader(subset(cifar_sized, 1 / 16), batch_size=256, shuffle=True)
    sizes = [len(y) for _, y in batches]
    assert len(batches) == len(sizes) == 13
    assert sizes == [256] * 12 + [53]
    # Counted over `.dataset`, an average must come out right: it is the subset, not the set it was drawn from.
    assert len(batches.dataset) == 3_125


@pytest.mark.parametrize("batch_size", [1, 10, 102, 103])
def test_batches_are_those_of_a_dataloader_over_the_same_set(image_set, batch_size):
    ours, theirs = loader(image_set, batch_size), DataLoader(image_set, batch_size)
    assert (len(ours), ours.batch_size, len(ours.dataset)) == (len(theirs), theirs.batch_size, len(theirs.dataset))
    for (x, y), (expected_x, expected_y) in zip(ours, theirs, strict=True):
        assert x.dtype == expected_x.dtype == torch.float32 and y.dtype == expected_y.dtype == torch.int64
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)


def test_unshuffled_passes_are_all_in_the_order_of_the_set():
    batches = loader(numbered(20), 6)
    assert order(batches) == order(batches) == list(range(20))


def test_the_dataset_of_a_loader_is_the_set_it_was_given(image_set):
    assert loader(image_set, 10).dataset.digest == image_set.digest


def test_what_a_batch_is_turned_into_does_not_reach_the_set():
    image_set = numbered(20)
    before = image_set.images.clone()
    for images, labels in loader(image_set, 20):
        images.zero_()
        labels.zero_()
    assert torch.equal(image_set.images, before)
    assert image_set.labels.tolist() == [i % 10 for i in range(20)]


# --- shuffling and epochs ----------------------------------------------------------------------


def test_a_shuffled_pass_is_a_permutation_in_which_each_image_keeps_its_label():
    batches = loader(numbered(200), 16, shuffle=True)
    images, labels = one_pass(batches)
    found = (images.flatten() * 255).round().long()
    assert found.tolist() != list(range(200))
    assert sorted(found.tolist()) == list(range(200))
    assert torch.equal(found % 10, labels)


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    orders = [tuple(order(batches)) for seed in range(3) for batches in [loader(numbered(50), 16, shuffle=True, seed=seed)] * 3]
    assert len(set(orders)) == 9


def test_the_order_does_not_depend_on_the_batch_size_or_the_global_generator():
    torch.manual_seed(1)
    first = order(loader(numbered(50), 16, shuffle=True))
    torch.manual_seed(2)
    assert order(loader(numbered(50), 7, shuffle=True)) == first


def test_setting_the_epoch_gives_that_pass_of_an_uninterrupted_training(image_set):
    def make():
        return loader(image_set, 16, shuffle=True, transform=GaussianNoise(sigma=0.1), seed=4)

    uninterrupted, resumed = make(), make()
    passes = [one_pass(uninterrupted) for _ in range(4)]
    for epoch in (3, 1):
        resumed.epoch = epoch
        images, labels = one_pass(resumed)
        assert torch.equal(images, passes[epoch][0]) and torch.equal(labels, passes[epoch][1])
        assert resumed.epoch == epoch + 1


def test_a_pass_that_was_broken_off_does_not_change_the_next(image_set):
    whole, broken = (loader(image_set, 16, shuffle=True, transform=GaussianNoise()) for _ in range(2))
    one_pass(whole)
    next(iter(broken))
    assert torch.equal(one_pass(broken)[0], one_pass(whole)[0])


def test_an_indexed_pass_says_where_each_image_stands_in_the_set(image_set):
    plain, indexed = (loader(image_set, 16, shuffle=True, transform=GaussianNoise()) for _ in range(2))
    for (images, labels), (indices, same_images, same_labels) in zip(plain, indexed.indexed(), strict=True):
        assert torch.equal(images, same_images) and torch.equal(labels, same_labels)
        assert torch.equal(image_set.labels[indices], labels)
    assert indexed.epoch == plain.epoch == 1
    places = [index for indices, *_ in loader(numbered(50), 16, shuffle=True).indexed() for index in indices.tolist()]
    assert places == order(loader(numbered(50), 16, shuffle=True))


# --- the transform -----------------------------------------------------------------------------


def test_augmentation_differs_from_epoch_to_epoch_and_from_batch_to_batch():
    flat = ImageSet(torch.full((32, 3, 4, 4), 128, dtype=torch.uint8), torch.zeros(32, dtype=torch.int64), CLASSES)
    batches = loader(flat, 16, transform=GaussianNoise(sigma=0.1))
    images = [x for _ in range(2) for x, _ in batches]
    assert len({x.numpy().tobytes() for x in images}) == 4


def test_a_transform_gets_the_uint8_batch_and_may_scale_it_itself(image_set):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    images, _ = one_pass(loader(image_set, 16, transform=Normalize(mean, std)))
    by_hand = (image_set.images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(images, by_hand, rtol=0, atol=1e-5)


def test_a_transform_that_keeps_uint8_is_scaled_afterwards(image_set):
    images, _ = one_pass(loader(image_set, 16, transform=lambda batch, generator: batch.flip(-1)))
    assert torch.equal(images, image_set.images.flip(-1) / 255)


class _Jittered(Normalize):
    """Not the class that is known to be fixed: it may draw random numbers."""


FIXED = Normalize((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    "transform, augments",
    [
        (None, False),
        (FIXED, False),
        (Compose([]), False),
        (Compose([Compose([FIXED])]), False),
        (RandomHorizontalFlip(), True),
        (Compose([RandomHorizontalFlip(), FIXED]), True),
        (lambda images, generator: images, True),
        (_Jittered((0.5,) * 3, (0.5,) * 3), True),
    ],
)
def test_a_loader_says_whether_its_images_may_differ_from_pass_to_pass(image_set, transform, augments):
    assert loader(image_set, 16, transform=transform).augments is augments


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.5, 104, "16", None])
def test_a_batch_size_outside_its_range_is_refused_with_the_range(image_set, batch_size):
    with pytest.raises(LabkitError, match=f"batch size must be a whole number from 1 to 103, the size of the set, not {batch_size!r}"):
        loader(image_set, batch_size)


def test_the_class_refuses_what_the_function_refuses(image_set):
    with pytest.raises(LabkitError, match="batch size"):
        Loader(image_set, 0)


# --- alternating flip --------------------------------------------------------------------------


def mirrored(batches):
    """Which images of a set of (0, 1) rows come as (1, 0)."""
    passed = sorted((int(index), bool(image[0, 0, 0] > image[0, 0, 1])) for indices, images, _ in batches.indexed() for index, image in zip(indices, images))
    return torch.tensor([flipped for _, flipped in passed])


@pytest.mark.parametrize("nested", [False, True])
def test_every_image_is_mirrored_in_every_second_epoch_and_half_of_them_in_each(nested):
    rows = ImageSet(torch.tensor([0, 255], dtype=torch.uint8).expand(1000, 1, 1, 2).contiguous(), torch.arange(1000) % 10, CLASSES)
    transform = Compose([Compose([AlternatingFlip()])]) if nested else AlternatingFlip()
    first, second, third = (mirrored(batches) for batches in [loader(rows, 64, shuffle=True, transform=transform)] * 3)
    assert torch.equal(first, third) and torch.equal(first, ~second)
    assert 440 < first.sum() < 560 and 440 < (first[1:] != first[:-1]).sum() < 560, "as by chance"


def test_outside_a_loader_it_does_not_know_its_place():
    with one_sentence("has to know epoch and image", "use it in a Loader"):
        AlternatingFlip()(torch.zeros(2, 3, 4, 4))
