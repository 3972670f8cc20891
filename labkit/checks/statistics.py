"""Check of notebook 06: `get_mean_std`.

In each channel, the pixels of the images that the probe hands over have one of two values. Whatever images an answer
draws, the mean then tells how many pixels were bright, which must be a whole number for the number of images that were
asked for, and it tells the standard deviation. So answers can be judged that draw as they like.
"""

import itertools
import math
import random

import numpy as np
import torch

from labkit.checks.todo import Todo, call_with_default
from labkit.data import imageset
from labkit.data.imageset import ImageSet

TOLERANCE = 5e-5  # float32 sums; and whether the variance is divided by n or n − 1 must not matter
LEVELS = ((26, 204), (51, 153), (0, 255))  # the two values of each channel
HEIGHT, WIDTH = 4, 5
QUARTERS = 4  # the bright pixels of an image are 0, 1, 2, 3 or 4 quarters of it
# 683 is a multiple of no usual batch size, so that a last batch is short. Of 64 images, the ratios of the other two
# scenes are no whole numbers, and the numbers of images that they may be rounded to have few divisors.
_SCENES = {"whole": (683, 1.0, 1), "part": (64, 0.45, 3), "default": (64, None, 2)}  # images, ratio, calls
_DEFAULT = 0.3


def _image_set(size):
    generator = torch.Generator().manual_seed(size)
    turns = torch.randint(QUARTERS + 1, (size, len(LEVELS), 2), generator=generator)
    # Channels that differ: one mostly dark, one mostly bright.
    quarters = torch.stack([turns[:, 0].amin(1), turns[:, 1, 0], turns[:, 2].amax(1)], 1)
    places = torch.rand(size, len(LEVELS), HEIGHT * WIDTH, generator=generator).argsort(-1)
    low, high = torch.tensor(LEVELS, dtype=torch.uint8)[:, :, None].unbind(1)
    images = torch.where(places < quarters[..., None] * HEIGHT * WIDTH // QUARTERS, high, low)
    return ImageSet(images.view(size, len(LEVELS), HEIGHT, WIDTH), torch.arange(size) % 4, ("a", "b", "c", "d"))


def _pixels(size):
    """float64 (images, channels, pixels) in [0, 1]."""
    return _image_set(size).images.double().flatten(2) / 255


def _scenes(answer):
    def draw(size, ratio, calls):
        image_set, given = _image_set(size), _image_set(size)
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(size)  # the same answer always gets the same verdict
        returned = [answer(image_set) if ratio is None else call_with_default(answer, image_set, ratio=ratio) for _ in range(calls)]
        return {"returned": returned, "changed": not (torch.equal(image_set.images, given.images) and torch.equal(image_set.labels, given.labels))}

    return {name: (lambda scene=scene: draw(*scene)) for name, scene in _SCENES.items()}


def _findings(seen):
    returned = {name: [_parts(value) for value in seen[name]["returned"]] for name in _SCENES}
    for parts in itertools.chain(*returned.values()):
        if found := _wrong_form(parts):
            return found
    numbers = {name: [tuple(map(_numbers, parts)) for parts in calls] for name, calls in returned.items()}
    if found := _wrong_whole(*numbers["whole"][0]) or _wrong_draw("part", numbers) or _wrong_draw("default", numbers):
        return found
    if any(scene["changed"] for scene in seen.values()):
        return "dataset_changed", "`get_mean_std` changed the images or labels of the dataset: it must only look", 0.6
    return None


# --- the form of what was returned -------------------------------------------------------------


def _parts(value):
    """The two halves of what was returned; one tensor or array may hold both."""
    if isinstance(value, dict) and isinstance(value.get("values"), list) and value.get("shape", [])[:1] == [2]:
        half = len(value["values"]) // 2
        rest = value | {"shape": value["shape"][1:]}
        return [rest | {"values": value["values"][:half]}, rest | {"values": value["values"][half:]}]
    return value


def _numbers(part):
    """All numbers in a tensor, array, list or number, in order; None stands for what is no number."""
    if isinstance(part, dict):
        part = part.get("values") or [None]
    if isinstance(part, list):
        return list(itertools.chain.from_iterable(map(_numbers, part)))
    return [part if isinstance(part, (int, float)) and not isinstance(part, bool) else None]


def _wrong_form(parts):
    if not isinstance(parts, list) or len(parts) != 2:
        kind = "None" if parts is None else f"{len(parts)} values" if isinstance(parts, list) else "a single value"
        return "not_two_values", f"`get_mean_std` returned {kind}, expected two: `(mean, std)`, with three numbers each", 0.2
    for name, part in zip(("mean", "std"), parts):
        numbers = _numbers(part)
        if None in numbers:
            return "not_numbers", f"the {name} is no tensor, array, tuple or list of three numbers", 0.2
        if len(numbers) != len(LEVELS):
            return _wrong_number_of_values(name, part, len(numbers))
        if not all(map(math.isfinite, numbers)):
            return "not_finite", f"the {name} is {_row(numbers)}, expected finite numbers: how many images are drawn, and what is divided by what?", 0.2
    return None


def _wrong_number_of_values(name, part, count):
    if count == 1:
        return "one_number_for_all_channels", f"the {name} is a single number, expected three, one for each channel", 0.3
    shape = f" of shape {part['shape']}" if isinstance(part, dict) and part.get("shape") else ""
    message = f"the {name} has {count} numbers{shape}, expected three, one for each channel: take it over images, rows and columns together"
    return "not_one_number_a_channel", message, 0.3


def _row(numbers):
    return "(" + ", ".join(f"{number:.4g}" for number in numbers) + ")"


# --- numbers over the whole set ----------------------------------------------------------------


def _near(numbers, values, tolerance=TOLERANCE):
    return all(abs(number - value) <= tolerance * max(1, abs(value)) for number, value in zip(numbers, _list(values)))


def _list(values):
    return values.tolist() if isinstance(values, torch.Tensor) else list(values)


def _mean_std(pixels):
    """Over all pixels of all images together."""
    together = pixels.transpose(0, 1).flatten(1)
    return together.mean(1), together.std(1, unbiased=False)


def _wrong_whole(mean, std):
    """What is wrong where all images were asked for, so that the numbers are known."""
    pixels = _pixels(_SCENES["whole"][0])
    right_mean, right_std = _mean_std(pixels)
    if _near(mean, right_mean) and _near(std, right_std):
        return None
    if _near(mean, right_std) and _near(std, right_mean):
        return "swapped", "`get_mean_std` returned (std, mean), expected (mean, std)", 0.6
    return _wrong_units(mean, std, right_mean, right_std) or _wrong_mean(mean, pixels) or _wrong_std(std, pixels)


def _wrong_units(mean, std, right_mean, right_std):
    if _near(mean, right_mean * 255):
        return "values_up_to_255", f"the mean is {_row(mean)}, that of values from 0 to 255: divide by 255", 0.5
    if _near(mean, right_mean / 255):
        return "divided_twice", f"the mean is {_row(mean)}: the images are in [0, 1] already, do not divide them by 255 again", 0.5
    if _near(mean, right_mean.flip(0)) and _near(std, right_std.flip(0)):
        return "channels_reversed", "the three numbers are in the order of the channels reversed, expected that of the images", 0.6
    if _near(mean, right_mean.mean().expand(3)):
        return "channels_mixed", f"the three means are all {mean[0]:.4f}, the mean over all channels: expected one for each channel", 0.3
    return None


def _wrong_mean(mean, pixels):
    """What is wrong with a mean of the whole set that is not that of all its images."""
    right = _mean_std(pixels)[0]
    if _near(mean, right):
        return None
    if _is_one_image(mean, pixels):
        return _ONE_IMAGE
    count = _fitting_count([mean], range(1, len(pixels) + 1))
    if count == len(pixels):
        message = "with `ratio=1.0` some images were drawn twice and others not at all: draw without replacement"
        return "with_replacement", message, 0.6
    if count:
        return "not_the_whole_set", f"with `ratio=1.0` {count} of {len(pixels)} images were looked at, expected all of them", 0.4
    if _near(mean, right, 0.03):
        message = f"the mean over the whole set is {_row(mean)}, expected {_row(right.tolist())}: a batch that is short must count less than a full one"
        return "batch_means_averaged", message, 0.5
    return "wrong_mean", f"the mean over the whole set is {_row(mean)}, expected {_row(right.tolist())}, that of all pixels of each channel", 0.2


_ONE_IMAGE = (
    "one_image",
    "the numbers are those of a single image: draw `ratio` × `len(dataset)` images, and look at all of their pixels together",
    0.2,
)


def _is_one_image(mean, pixels):
    return any(_near(mean, row) for row in pixels.mean(2))


def _wrong_std(std, pixels):
    """What is wrong with the std of the whole set, where the mean is right."""
    right = _mean_std(pixels)[1]
    for name, (values, message, share) in _std_mistakes(pixels).items():
        if any(_near(std, value) for value in values):
            return name, message, share
    within = pixels.std(2, unbiased=False).mean(0)
    if all(low < value < high + TOLERANCE for low, value, high in zip(within.tolist(), std, right.tolist())):
        message = f"the std is {_row(std)}, expected {_row(right.tolist())}: averaging the stds of batches leaves out how the batches differ"
        return "batch_stds_averaged", message + "; take the std of all pixels together", 0.5
    return "wrong_std", f"the std over the whole set is {_row(std)}, expected {_row(right.tolist())}, that of all pixels of each channel", 0.4


def _std_mistakes(pixels):
    """{finding: (what this mistake gives, with n and with n − 1 in the variance, message, share)}."""
    mean, std = _mean_std(pixels)
    together = pixels.transpose(0, 1).flatten(1)
    within, maps, of_means = ([values.std(dim, unbiased=unbiased) for unbiased in (False, True)] for values, dim in _spreads(pixels))
    return {
        "variance": ([std**2], "the std is the variance: take its square root", 0.5),
        "image_stds_averaged": (
            [value.mean(0) for value in within],
            "the std is the mean of the stds of single images, which leaves out how images differ from one another: take that of all pixels together",
            0.5,
        ),
        "image_variances_averaged": (
            [value.square().mean(0).sqrt() for value in within],
            "the std comes from the mean variance within images, which leaves out how images differ from one another: take that of all pixels together",
            0.5,
        ),
        "std_of_image_means": (of_means, "the std is that of the means of the images: it leaves out how pixels of one image differ", 0.4),
        "std_of_each_place": (
            [combine(value) for value in maps for combine in (_plain_mean, _root_mean_square)],
            "the std was taken over the images at each pixel and then averaged: take that of all pixels of all images together",
            0.5,
        ),
        "square_root_of_mean_square": (
            [together.square().mean(1).sqrt()],
            "the std is the root of the mean square: the mean was not subtracted before squaring",
            0.5,
        ),
        "mean_square_left": ([together.square().mean(1)], "the std is the mean of the squares: subtract the square of the mean, and take the root", 0.4),
        "mean_absolute_deviation": ([(together - mean[:, None]).abs().mean(1)], "the std is the mean distance from the mean: square the differences", 0.4),
        "standard_error": (
            [std / math.sqrt(count) for count in (len(pixels), together.shape[1])],
            "the std was divided by the root of a number: that is the error of the mean; expected the std of the pixels themselves",
            0.5,
        ),
        "std_up_to_255": ([std * 255], "the mean is in [0, 1], but the std is that of values from 0 to 255", 0.5),
        "one_std_for_all_channels": (
            [value.expand(3) for value in (pixels.std(), pixels.std(unbiased=False), std.mean())],
            "the three stds are the same, those of all channels together: expected one for each channel",
            0.4,
        ),
        "std_across_channels": (
            [value.expand(3) for unbiased in (False, True) for value in (pixels.std(1, unbiased=unbiased).mean(), mean.std(unbiased=unbiased))],
            "the std was taken across the channels: expected one for each channel, over images, rows and columns",
            0.4,
        ),
    }


def _spreads(pixels):
    """What the std is taken of, and over which dimension: within images, over images at each pixel, of the means of images."""
    return (pixels, 2), (pixels, 0), (pixels.mean(2), 0)


def _plain_mean(maps):
    return maps.mean(1)


def _root_mean_square(maps):
    return maps.square().mean(1).sqrt()


# --- which images were drawn -------------------------------------------------------------------


def _wrong_draw(name, numbers):
    """What is wrong where a part of the images was asked for."""
    size, ratio, _ = _SCENES[name]
    pixels, drawn = _pixels(size), numbers[name]
    means = [mean for mean, _ in drawn]
    allowed = _counts(size, _DEFAULT if ratio is None else ratio)
    return _wrong_choice(means, pixels, allowed) or _wrong_amount(name, means, size, allowed) or _wrong_relation(drawn)


def _counts(size, ratio):
    """How many images `ratio` may be, rounded down, to the nearest or up."""
    return {math.floor(ratio * size), round(ratio * size), math.ceil(ratio * size)}


def _wrong_choice(means, pixels, allowed):
    if all(_near(mean, _mean_std(pixels)[0]) for mean in means):
        return "ratio_ignored", f"the numbers are those of all {len(pixels)} images: draw the share `ratio` of them", 0.5
    if all(_is_one_image(mean, pixels) for mean in means):
        return _ONE_IMAGE
    for count in allowed:
        for place, part in (("first", pixels[:count]), ("last", pixels[-count:])):
            if all(_near(mean, _mean_std(part)[0]) for mean in means):
                return "not_random", f"the numbers are those of the {place} {count} images: draw them at random, a dataset may be sorted", 0.5
    return None


def _wrong_amount(name, means, size, allowed):
    if _fitting_count(means, sorted(allowed)):
        return None
    count = _fitting_count(means, range(1, size + 1))
    if name == "default":
        return "wrong_default", f"without `ratio`, {count or 'not'} of {size} images seem to be drawn, expected the share {_DEFAULT:g} of them", 0.6
    ratio = _SCENES[name][1]
    if count in _counts(size, _DEFAULT):
        return "ratio_fixed", f"with `ratio={ratio:g}` the share {_DEFAULT:g} of the images was drawn: use the argument", 0.5
    if count in _counts(size, 1 - ratio):
        return "other_part_drawn", f"with `ratio={ratio:g}` {count} of {size} images were drawn, the share {1 - ratio:g}: was the other part taken?", 0.5
    if count:
        return "wrong_number_of_images", f"with `ratio={ratio:g}` {count} of {size} images were drawn, expected {min(allowed)} or {max(allowed)}", 0.4
    message = f"with `ratio={ratio:g}` the mean {_row(means[0])} is not that of {min(allowed)} or {max(allowed)} images: divide by what was added up"
    return "wrong_mean", message, 0.3


def _fitting_count(means, counts):
    """The first of `counts` that fits: for so many images, the bright pixels make a whole number of quarters of an image in every mean."""
    return next((count for count in counts if all(_whole(share * count * QUARTERS) for mean in means for share in _bright(mean))), None)


def _bright(mean):
    """The share of bright pixels in each channel."""
    return [(255 * value - low) / (high - low) for value, (low, high) in zip(mean, LEVELS)]


def _whole(number):
    return abs(number - round(number)) < 5e-3


def _wrong_relation(drawn):
    """With two values, the mean says what the std is."""
    for mean, std in drawn:
        shares = _bright(mean)
        expected = [math.sqrt(max(share * (1 - share), 0)) * (high - low) / 255 for share, (low, high) in zip(shares, LEVELS)]
        if not all(abs(a - b) <= 2e-3 * (1 + b) for a, b in zip(std, expected)):
            return "wrong_std", f"the std of the drawn images is {_row(std)}, expected {_row(expected)}, that of all their pixels together", 0.4
    return None


GET_MEAN_STD = Todo("get_mean_std", 5, ("dataset",), _scenes, _findings, (imageset.get_mean_std,), defaulted=("ratio",))
