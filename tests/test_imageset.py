"""ImageSet, and the seeded ways to take a part of one."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from labkit.data import ImageSet, get_mean_std, skew, split, subset
from labkit.errors import LabkitError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
UNEQUAL = (6, 6, 2)  # apportioning these by largest remainder takes an image from the third class as the subset grows


def numbered(labels, classes=CLASSES):
    """Images of one pixel each, whose three bytes spell the image's own number."""
    number = torch.arange(len(labels))
    pixels = torch.stack([number >> 16, number >> 8 & 255, number & 255], dim=1).to(torch.uint8)
    return ImageSet(pixels[:, :, None, None], torch.as_tensor(labels), classes)


def numbers(image_set):
    red, green, blue = image_set.images[:, :, 0, 0].long().unbind(1)
    return ((red << 16) + (green << 8) + blue).tolist()


def unequal():
    return numbered([c for c, count in enumerate(UNEQUAL) for _ in range(count)], CLASSES[: len(UNEQUAL)])


@pytest.fixture(scope="module")
def cifar_sized():
    """As many images as CIFAR-10's training set; image i is of class i % 10."""
    return numbered(torch.arange(50_000) % 10)


def images(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


# --- what an ImageSet accepts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (images(4, 3, 8, 8, dtype=torch.float32), r"uint8 tensor .* not torch\.float32; convert with"),
        (images(4, 3, 8, 8, dtype=torch.int64), r"uint8 tensor .* not torch\.int64"),
        (np.zeros((4, 3, 8, 8), np.uint8), "uint8 tensor .* not uint8"),
        ([[0]], "uint8 tensor .* not list"),
        (images(4, 8, 8), r"shape \(N, channels, height, width\), not \(4, 8, 8\)"),
        (images(4, 8, 8, 3), r"not shape \(4, 8, 8, 3\); permute \(N, H, W, C\) to \(N, C, H, W\)"),
        (images(4, 4, 8, 8), "1 or 3 channels"),
    ],
    ids=["float", "int64", "numpy", "list", "three dimensions", "channels last", "four channels"],
)
def test_images_of_a_wrong_kind_are_refused_with_the_way_out(wrong, message):
    with pytest.raises(LabkitError, match=message):
        ImageSet(wrong, [0, 0, 0, 0], CLASSES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0, 1, 10, 2], "label 10 of image 2 is outside the 10 classes 0 … 9"),
        ([0, 1, 9, -1], "label -1 of image 3 is outside"),
        ([0, 1, 2], "4 images but 3 labels"),
        ([0.0, 1.0, 2.0, 3.0], r"int64 tensor of shape \(N,\), not torch\.float32"),
        ([[0], [1], [2], [3]], r"int64 tensor of shape \(N,\), not torch\.int64 of shape \(4, 1\)"),
        (torch.tensor([0, 1, 2, 3], dtype=torch.int32), r"not torch\.int32"),
        (["cat", "dog", "cat", "dog"], "int64 tensor"),
    ],
    ids=["above", "below", "too few", "float", "column", "int32", "names"],
)
def test_labels_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(LabkitError, match=message):
        ImageSet(images(4, 3, 8, 8), wrong, CLASSES)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_images_and_a_plain_list_of_labels_are_accepted(channels):
    accepted = ImageSet(images(4, channels, 8, 8), [0, 1, 1, 9], list(CLASSES))
    assert (len(accepted), accepted.counts, accepted.classes) == (4, [1, 2, 0, 0, 0, 0, 0, 0, 0, 1], CLASSES)


def test_an_item_is_what_a_dataset_of_torchvision_gives():
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    image, label = ImageSet(pixels, [7, 3], CLASSES)[1]
    assert image.dtype == torch.float32 and type(label) is int and label == 3
    assert torch.equal(image, pixels[1].float() / 255)


def test_a_plain_dataloader_reads_it_to_the_end_and_stops():
    image_set = numbered(torch.arange(7) % 10)
    assert [len(y) for _, y in DataLoader(image_set, batch_size=3)] == [3, 3, 1]
    assert len(list(image_set)) == 7  # indexing past the end raises IndexError, which ends a plain for loop


def test_select_keeps_the_given_order_and_each_image_its_label():
    chosen = numbered(torch.arange(20) % 10).select(torch.tensor([13, 2, 19]))
    assert numbers(chosen) == [13, 2, 19]
    assert chosen.labels.tolist() == [3, 2, 9]


# --- digest ------------------------------------------------------------------------------------


def test_digest_is_that_of_the_content_not_of_the_object_or_its_memory_layout():
    pixels = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    original = ImageSet(pixels, [0, 1, 2, 3, 4], CLASSES)
    other_layout = pixels.contiguous(memory_format=torch.channels_last)
    assert original.digest == ImageSet(other_layout, [0, 1, 2, 3, 4], CLASSES).digest


def changed_pixel(pixels, labels, classes):
    pixels[3, 2, 1, 0] += 1
    return pixels, labels, classes


def changed_label(pixels, labels, classes):
    return pixels, [0, 1, 2, 3, 5], classes


def changed_name(pixels, labels, classes):
    return pixels, labels, ("plane", *classes[1:])


def changed_shape(pixels, labels, classes):
    return pixels.view(5, 3, 2, 8), labels, classes


@pytest.mark.parametrize("change", [changed_pixel, changed_label, changed_name, changed_shape])
def test_digest_notices(change):
    pixels = torch.arange(5 * 3 * 4 * 4, dtype=torch.uint8).view(5, 3, 4, 4)
    before = ImageSet(pixels, [0, 1, 2, 3, 4], CLASSES).digest
    assert ImageSet(*change(pixels.clone(), [0, 1, 2, 3, 4], CLASSES)).digest != before


# --- subset ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "size"), [(1 / 16, 3_125), (0.5, 25_000), (1, 50_000)])
def test_the_three_sizes_of_the_scaling_study_are_exact_and_stratified(cifar_sized, fraction, size):
    part = subset(cifar_sized, fraction)
    assert len(part) == size
    assert max(part.counts) - min(part.counts) <= 1
    assert len(set(numbers(part))) == size  # no image twice
    assert [n % 10 for n in numbers(part)] == part.labels.tolist()


def test_what_does_not_divide_evenly_goes_to_the_first_classes(cifar_sized):
    # Pinned because every stored result of a sixteenth depends on it.
    assert subset(cifar_sized, 1 / 16).counts == [313] * 5 + [312] * 5


def test_a_subset_is_the_same_images_at_every_call(cifar_sized):
    assert numbers(subset(cifar_sized, 1 / 16, seed=3)) == numbers(subset(cifar_sized, 1 / 16, seed=3))


def test_a_subset_does_not_depend_on_or_disturb_the_global_generator(cifar_sized):
    torch.manual_seed(1)
    before = numbers(subset(cifar_sized, 1 / 16))
    expected = torch.Generator().manual_seed(2)
    torch.manual_seed(2)
    assert numbers(subset(cifar_sized, 1 / 16)) == before
    assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))


def test_another_seed_draws_other_images(cifar_sized):
    one, other = (set(numbers(subset(cifar_sized, 1 / 16, seed=seed))) for seed in (0, 1))
    # Two independent sixteenths share a sixteenth of their images: 195 of 3,125.
    assert 100 < len(one & other) < 300


def test_the_smaller_subset_of_a_seed_lies_inside_the_larger_one(cifar_sized):
    parts = [set(numbers(subset(cifar_sized, fraction, seed=5))) for fraction in (1 / 16, 0.1, 0.5, 1)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(parts))


def test_subsets_are_nested_for_every_size_of_an_unequal_set_too():
    image_set = unequal()
    parts = [set(numbers(subset(image_set, size / 14))) for size in range(1, 15)]
    assert [len(part) for part in parts] == list(range(1, 15))
    assert all(smaller < larger for smaller, larger in itertools.pairwise(parts))


def test_a_subset_of_an_unequal_set_keeps_its_proportions():
    image_set = numbered([0] * 600 + [1] * 300 + [2] * 100, CLASSES[:3])
    assert subset(image_set, 0.1).counts == [60, 30, 10]


def test_a_subset_comes_shuffled(cifar_sized):
    found = numbers(subset(cifar_sized, 0.5))
    assert found != sorted(found)
    assert len({n % 10 for n in found[:100]}) == 10  # not one class after the other


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, math.nan])
def test_a_fraction_outside_its_range_is_refused(cifar_sized, fraction):
    with pytest.raises(LabkitError, match=f"fraction must be above 0 and at most 1, not {fraction}"):
        subset(cifar_sized, fraction)


def test_a_fraction_that_leaves_no_image_is_refused_and_a_sufficient_one_named():
    image_set = numbered(torch.arange(20) % 10)
    with pytest.raises(LabkitError, match=r"leaves none; use at least 0\.05"):
        subset(image_set, 0.01)
    assert len(subset(image_set, 0.05)) == 1


# --- split -------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [0.1, 0.25])
def test_split_is_disjoint_complete_and_stratified(cifar_sized, valid):
    train, held_out = split(cifar_sized, valid)
    assert len(held_out) == valid * 50_000
    assert sorted(numbers(train) + numbers(held_out)) == list(range(50_000))
    assert held_out.counts == [valid * 5_000] * 10
    for part in (train, held_out):
        assert [n % 10 for n in numbers(part)] == part.labels.tolist()


def test_split_depends_on_the_seed_alone(cifar_sized):
    first, again, other = (set(numbers(split(cifar_sized, 0.1, seed)[1])) for seed in (0, 0, 1))
    assert first == again != other


def test_split_of_an_unequal_set_holds_out_every_class():
    image_set = numbered([0] * 60 + [1] * 60 + [2] * 20, CLASSES[:3])
    train, held_out = split(image_set, 0.1)
    assert (train.counts, held_out.counts) == ([54, 54, 18], [6, 6, 2])


@pytest.mark.parametrize("valid", [0, 1, -0.1, 1.5, math.nan])
def test_split_refuses_a_fraction_outside_its_range(cifar_sized, valid):
    with pytest.raises(LabkitError, match="valid must be above 0 and below 1"):
        split(cifar_sized, valid)


@pytest.mark.parametrize("valid", [0.01, 0.99])
def test_split_refuses_to_leave_a_part_empty(valid):
    with pytest.raises(LabkitError, match="leaves one part empty"):
        split(numbered(torch.arange(10)), valid)


# --- skew --------------------------------------------------------------------------------------

LONG_TAIL = [5000, 3000, 1800, 1080, 648, 389, 233, 140, 84, 0]


def test_skew_gives_exactly_the_counts_asked_for(cifar_sized):
    part = skew(cifar_sized, LONG_TAIL)
    assert part.counts == LONG_TAIL
    assert len(set(numbers(part))) == sum(LONG_TAIL)
    assert [n % 10 for n in numbers(part)] == part.labels.tolist()
    assert part.classes == CLASSES  # a class without images is still a class


def test_skew_is_shuffled_and_depends_on_the_seed_alone(cifar_sized):
    first, again, other = (numbers(skew(cifar_sized, [100] * 10, seed)) for seed in (0, 0, 1))
    assert first == again
    assert set(first) != set(other)
    assert Counter(n % 10 for n in first[:200]).most_common(1)[0][1] < 60


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([10] * 9, "10 classes, 9 counts"),
        ([5_001] + [10] * 9, "class 'airplane' holds 5000 images, so its count must be a whole number from 0 to 5000, not 5001"),
        ([10] * 9 + [-1], "class 'truck' .* not -1"),
        ([0] * 10, "no image at all"),
        ([10, 2.5] + [10] * 8, "class 'automobile' .* whole number .* not 2.5"),
    ],
    ids=["too few counts", "too many images", "negative", "nothing", "fractional"],
)
def test_skew_refuses_counts_that_it_cannot_give(cifar_sized, counts, message):
    with pytest.raises(LabkitError, match=message):
        skew(cifar_sized, counts)


def test_skew_takes_the_integers_of_numpy(cifar_sized):
    assert skew(cifar_sized, np.arange(10) + 1).counts == list(range(1, 11))


# --- get_mean_std ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs():
    """Noise whose brightness and contrast differ from image to image, as those of photographs do."""
    generator = torch.Generator().manual_seed(0)
    level, spread = torch.rand(200, 3, 1, 1, generator=generator), 0.3 * torch.rand(200, 1, 1, 1, generator=generator)
    pixels = level + spread * torch.randn(200, 3, 8, 8, generator=generator)
    return ImageSet((pixels.clamp(0, 1) * 255).to(torch.uint8), torch.arange(200) % 10, CLASSES)


def test_mean_and_std_are_those_of_all_pixels_together(photographs):
    pixels = photographs.images.double().transpose(0, 1).flatten(1) / 255
    mean, std = get_mean_std(photographs, ratio=1.0)
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-12)
    assert std == pytest.approx(torch.std(pixels, dim=1, correction=0).tolist(), abs=1e-12)


def test_the_mean_of_the_stds_of_single_images_is_another_number(photographs):
    per_image = torch.std(photographs.images.double().flatten(2) / 255, dim=2, correction=0).mean(0)
    _, std = get_mean_std(photographs, ratio=1.0)
    assert all(whole > 1.5 * part for whole, part in zip(std, per_image.tolist()))


def test_mean_and_std_of_images_worked_out_by_hand():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(16).view(2, 1, 4, 4)
    # Each image is flat, so the std of each alone is 0; half of all pixels are 0, half 1.
    assert get_mean_std(ImageSet(black_and_white, [0, 1], CLASSES), ratio=1.0) == ((0.5,), (0.5,))


def test_a_sample_estimates_the_whole_and_is_fixed_by_its_seed(photographs):
    whole, sampled = get_mean_std(photographs, 1.0), get_mean_std(photographs, 0.3)
    assert sampled == get_mean_std(photographs, 0.3)
    assert sampled != get_mean_std(photographs, 0.3, seed=1)
    assert sampled != whole
    for estimate, true in zip(sampled, whole):
        assert estimate == pytest.approx(true, abs=0.08)


def test_the_sample_is_of_whole_images_and_never_empty():
    flat = torch.arange(0, 250, 25, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 4, 4).contiguous()
    mean, std = get_mean_std(ImageSet(flat, torch.arange(10), CLASSES), ratio=0.01)
    assert round(mean[0] * 255, 9) in range(0, 250, 25)
    assert std == pytest.approx((0,), abs=1e-9)


@pytest.mark.parametrize("ratio", [0, -1, 1.01])
def test_a_ratio_outside_its_range_is_refused(photographs, ratio):
    with pytest.raises(LabkitError, match="ratio must be above 0 and at most 1"):
        get_mean_std(photographs, ratio)
