"""Batched augmentation: torchvision, asked image by image, is the oracle."""

import math

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as oracle

from labkit import transforms
from labkit.errors import LabkitError
from labkit.transforms import ColorJitter, Compose, Cutout, GaussianNoise, Normalize, RandomCrop, RandomHorizontalFlip, RandomRotation

GEOMETRIC = {
    "crop": RandomCrop(16, padding=4),
    "crop reflected": RandomCrop(16, padding=4, padding_mode="reflect"),
    "flip": RandomHorizontalFlip(),
    "rotate nearest": RandomRotation(45),
    "rotate bilinear": RandomRotation(45, interpolation="bilinear"),
    "cutout": Cutout(6),
}
ON_VALUES = {"colour": ColorJitter(0.4, 0.4, 0.4, 0.2), "noise": GaussianNoise(sigma=0.1)}
RANDOM = GEOMETRIC | ON_VALUES
# The same arithmetic in another order: float32 leaves a few units in the last place of numbers up to 1.
ROUNDING = {"rtol": 0, "atol": 1e-6}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=32, channels=3, height=16, width=16, dtype=torch.uint8, seed=0):
    """Random images: bytes, or floats in [0, 1]."""
    pixels = torch.randint(256, (n, channels, height, width), dtype=torch.uint8, generator=seeded(seed))
    return pixels if dtype == torch.uint8 else pixels.to(dtype) / 255


def alike(n, channels=3, dtype=torch.uint8):
    """n copies of one image."""
    return batch(1, channels, dtype=dtype).expand(n, -1, -1, -1).contiguous()


def one_by_one(function, images, *parameters):
    """Ask torchvision for each image alone, with its own parameters."""
    return torch.stack([function(image, *(p.item() for p in own)) for image, *own in zip(images, *parameters)])


def uniform(n, low, high, seed=1):
    return torch.empty(n).uniform_(low, high, generator=seeded(seed))


# --- torchvision as the oracle: geometry -------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [1, 10, 16])
def test_crop_cuts_the_windows_that_torchvision_cuts(size, dtype):
    images = batch(64, height=16, width=20, dtype=dtype)
    top = torch.randint(16 - size + 1, (64,), generator=seeded(1))
    left = torch.randint(20 - size + 1, (64,), generator=seeded(2))
    expected = one_by_one(lambda image, y, x: oracle.crop(image, y, x, size, size), images, top, left)
    assert torch.equal(transforms.crop(images, top, left, size), expected)


def test_crop_reaches_the_last_window_of_the_last_image():
    # One address computation serves all images: an error by one would read into the next image, or past the end.
    images = batch(3, height=7, width=9)
    corner = torch.full((3,), 2), torch.full((3,), 4)
    assert torch.equal(transforms.crop(images, *corner, 5), images[:, :, 2:, 4:])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_random_crop_with_padding_gives_windows_of_the_padded_image(mode, dtype):
    images = batch(40, height=8, width=8, dtype=dtype)
    cropped = RandomCrop(8, padding=2, padding_mode=mode)(images, seeded())
    padded = oracle.pad(images, [2, 2, 2, 2], padding_mode=mode)
    assert cropped.dtype == dtype
    for image, source in zip(cropped, padded):
        windows = [oracle.crop(source, y, x, 8, 8) for y in range(5) for x in range(5)]
        assert sum(torch.equal(image, window) for window in windows) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_horizontal_flip_mirrors_the_chosen_images_only(dtype):
    images, chosen = batch(dtype=dtype, width=11), torch.rand(32, generator=seeded()) < 0.5
    expected = torch.stack([oracle.horizontal_flip(image) if flip else image for image, flip in zip(images, chosen)])
    assert 0 < chosen.sum() < 32
    assert torch.equal(transforms.horizontal_flip(images, chosen), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (21, 34)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_rotate_turns_as_torchvision_does(interpolation, height, width, dtype):
    images, degrees = batch(24, height=height, width=width, dtype=dtype), uniform(24, -180, 180)
    mode = v2.InterpolationMode(interpolation)
    expected = one_by_one(lambda image, angle: oracle.rotate(image, angle, interpolation=mode), images, degrees)
    rotated = transforms.rotate(images, degrees, interpolation)
    assert rotated.dtype == dtype
    # Coordinates differ in the last place, so a pixel that lies on the edge between two may fall to the other one:
    # nearest, by any amount, a few pixels; bilinear, by a rounding of its value, in bytes by one.
    difference = (rotated.double() - expected.double()).abs()
    limit = 1e-4 if dtype == torch.float32 else 0
    assert (difference > limit).double().mean() < 5e-4
    if interpolation == "bilinear":
        assert difference.max() <= (1e-4 if dtype == torch.float32 else 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_quarter_turn_is_counter_clockwise_and_loses_no_pixel(interpolation):
    images = batch()
    turned = transforms.rotate(images, torch.full((32,), 90.0), interpolation)
    assert torch.equal(turned, images.rot90(1, (2, 3)))


def test_random_rotation_by_a_fixed_pair_is_that_rotation():
    images = batch()
    assert torch.equal(RandomRotation((30, 30))(images), oracle.rotate(images, 30))


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_erase_zeroes_the_square_and_only_what_of_it_lies_inside(size, dtype):
    images = batch(60, dtype=dtype) + 1  # no zero of its own
    top, left = (torch.randint(-size, 16 + 1, (60,), generator=seeded(s)) for s in (1, 2))
    expected = images.clone()
    for i, (y, x) in enumerate(zip(top.tolist(), left.tolist())):
        expected[i, :, max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)] = 0
    assert torch.equal(transforms.erase(images, top, left, size), expected)


# --- torchvision as the oracle: colour ---------------------------------------------------------

COLOUR = [("brightness", 0, 2.5), ("contrast", 0, 2.5), ("saturation", 0, 2.5), ("hue", -0.5, 0.5)]
# Where hue and saturation are not defined or jump: grey, black, white, and the corners of the colour cube.
CORNERS = torch.tensor([[r, g, b] for r in (0, 0.5, 1) for g in (0, 0.5, 1) for b in (0, 0.5, 1)])


@pytest.mark.parametrize(("name", "low", "high"), COLOUR)
def test_colour_is_adjusted_as_torchvision_does(name, low, high):
    images, factors = batch(dtype=torch.float32), uniform(32, low, high)
    expected = one_by_one(getattr(oracle, f"adjust_{name}"), images, factors)
    # A hue goes to the colour circle and back, six sectors wide; 1e-5 is a four-hundredth of a byte.
    tolerance = {"rtol": 0, "atol": 1e-5} if name == "hue" else ROUNDING
    torch.testing.assert_close(getattr(transforms, f"adjust_{name}")(images, factors), expected, **tolerance)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("name", "low", "high"), COLOUR)
def test_the_corner_colours_are_adjusted_as_torchvision_does(name, low, high, share):
    images, factor = CORNERS.view(-1, 3, 1, 1).expand(-1, -1, 2, 2).contiguous(), low + share * (high - low)
    expected = one_by_one(getattr(oracle, f"adjust_{name}"), images, torch.full((len(images),), factor))
    adjusted = getattr(transforms, f"adjust_{name}")(images, torch.full((len(images),), factor))
    torch.testing.assert_close(adjusted, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_colour_jitter_takes_its_four_steps_in_the_documented_order(dtype):
    images = batch(dtype=dtype)
    expected = oracle.to_dtype(images, torch.float32, scale=True)
    for name, factor in (("brightness", 1.3), ("contrast", 0.7), ("saturation", 1.6), ("hue", 0.1)):
        expected = getattr(oracle, f"adjust_{name}")(expected, factor)
    jitter = ColorJitter(brightness=(1.3, 1.3), contrast=(0.7, 0.7), saturation=(1.6, 1.6), hue=(0.1, 0.1))
    torch.testing.assert_close(jitter(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalize_is_that_of_torchvision_on_the_unit_range(dtype):
    images, mean, std = batch(dtype=dtype), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    expected = oracle.normalize(oracle.to_dtype(images, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(Normalize(mean, std)(images), expected, rtol=0, atol=1e-5)


# --- each image its own parameters -------------------------------------------------------------


def outcomes(images):
    return len({image.numpy().tobytes() for image in images})


@pytest.mark.parametrize("name", RANDOM)
def test_images_equal_to_one_another_come_out_different(name):
    least = 2 if name == "flip" else 20
    assert outcomes(RANDOM[name](alike(64), seeded())) >= least


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RandomCrop(16, padding=4), v2.RandomCrop(16, padding=4)),
        (RandomHorizontalFlip(), v2.RandomHorizontalFlip()),
        (RandomRotation(45), v2.RandomRotation(45)),
        (ColorJitter(0.4, 0.4, 0.4, 0.2), v2.ColorJitter(0.4, 0.4, 0.4, 0.2)),
    ],
    ids=["crop", "flip", "rotation", "colour"],
)
def test_torchvision_given_a_batch_draws_once_and_labkit_for_every_image(ours, theirs):
    images = alike(64, dtype=torch.float32)
    torch.manual_seed(0)
    assert outcomes(theirs(images)) == 1
    assert outcomes(ours(images, seeded())) > 1


# --- randomness --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_of_the_generator_decides_and_the_global_one_is_left_alone(name):
    images = batch(64)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (RANDOM[name](images, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_generator_the_global_one_is_used(name):
    images = batch(64)
    torch.manual_seed(5)
    first, second = RANDOM[name](images), RANDOM[name](images)
    torch.manual_seed(5)
    assert torch.equal(RANDOM[name](images), first)
    assert not torch.equal(first, second)


def test_compose_hands_the_generator_on_from_step_to_step():
    images, steps = batch(), [RandomCrop(16, padding=2), RandomHorizontalFlip(), GaussianNoise(sigma=0.2)]
    generator, by_hand = seeded(3), images
    for step in steps:
        by_hand = step(by_hand, generator)
    assert torch.equal(Compose(steps)(images, seeded(3)), by_hand)


def assert_uniform(drawn, values):
    """Each of `values` was drawn about equally often: five standard deviations, so that chance does not decide."""
    counts = torch.bincount(drawn, minlength=values)
    assert len(counts) == values
    expected = len(drawn) / values
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected), counts.tolist()


def test_crop_offsets_cover_the_whole_range_evenly_on_both_axes():
    # Pixel (y, x) has the value 9 y + x + 1, and the middle of a crop by offset (y, x) is pixel (y, x).
    image = torch.arange(1, 82, dtype=torch.uint8).view(1, 1, 9, 9)
    cropped = RandomCrop(9, padding=4)(image.expand(8_100, -1, -1, -1), seeded())
    assert_uniform(cropped[:, 0, 4, 4].long() - 1, values=81)


def test_crop_without_padding_has_as_many_places_as_there_is_room():
    image = torch.arange(24, dtype=torch.uint8).view(1, 1, 4, 6)
    cropped = RandomCrop(4)(image.expand(900, -1, -1, -1), seeded())
    assert_uniform(cropped[:, 0, 0, 0].long(), values=3)


@pytest.mark.parametrize(("p", "low", "high"), [(0.5, 0.48, 0.52), (0.2, 0.18, 0.22), (0, 0, 0), (1, 1, 1)])
def test_flip_chooses_its_share_of_the_images(p, low, high):
    image = torch.tensor([[[[0, 1]]]], dtype=torch.uint8).expand(10_000, -1, -1, -1)
    flipped = RandomHorizontalFlip(p)(image, seeded())[:, 0, 0, 0]
    assert low <= flipped.double().mean() <= high


def record(monkeypatch, name):
    """Let the function `name` of the module pass images through and note what parameters it was given."""
    seen = []
    monkeypatch.setattr(transforms, name, lambda images, values, *rest: seen.append(values) or images)
    return seen


def assert_fills(values, low, high):
    """Uniform in [low, high]: inside it, close to both ends, and with the mean and spread of the uniform law."""
    assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
    assert values.double().mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    assert values.double().std() == pytest.approx((high - low) / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize(("degrees", "low", "high"), [(15, -15, 15), ((10, 40), 10, 40), (0.5, -0.5, 0.5)])
def test_rotation_draws_its_angles_from_the_whole_range(monkeypatch, degrees, low, high):
    seen = record(monkeypatch, "rotate")
    RandomRotation(degrees)(batch(1, height=2, width=2).expand(5_000, -1, -1, -1), seeded())
    assert_fills(seen[0], low, high)


@pytest.mark.parametrize(("strength", "low", "high"), [(0.3, 0.7, 1.3), ((0.5, 0.9), 0.5, 0.9), (1.5, 0, 2.5)])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_jitter_draws_its_factors_from_the_whole_range(monkeypatch, name, strength, low, high):
    seen = record(monkeypatch, f"adjust_{name}")
    ColorJitter(**{name: strength})(batch(1, height=2, width=2).expand(5_000, -1, -1, -1), seeded())
    assert_fills(seen[0], low, high)


@pytest.mark.parametrize(("strength", "low", "high"), [(0.1, -0.1, 0.1), ((0.2, 0.5), 0.2, 0.5)])
def test_jitter_draws_its_shifts_of_hue_from_the_whole_range(monkeypatch, strength, low, high):
    seen = record(monkeypatch, "adjust_hue")
    ColorJitter(hue=strength)(batch(1, height=2, width=2).expand(5_000, -1, -1, -1), seeded())
    assert_fills(seen[0], low, high)


def test_jitter_draws_its_four_parameters_independently(monkeypatch):
    seen = [record(monkeypatch, f"adjust_{name}") for name in ("brightness", "contrast", "saturation", "hue")]
    ColorJitter(0.4, 0.4, 0.4, 0.4)(batch(1, height=2, width=2).expand(5_000, -1, -1, -1), seeded())
    correlation = torch.corrcoef(torch.stack([values for (values,) in seen]))
    assert (correlation - torch.eye(4)).abs().max() < 0.07  # five standard deviations of chance


def test_noise_has_the_mean_and_sigma_asked_for_in_every_pixel_anew():
    grey = torch.full((100, 3, 16, 16), 0.5)
    added = GaussianNoise(mean=0.05, sigma=0.08)(grey, seeded()) - grey
    assert added.mean() == pytest.approx(0.05, abs=2e-3)
    assert added.std() == pytest.approx(0.08, rel=0.02)
    assert len(added[0].unique()) > 700  # of 768 pixels of one image


def test_noise_is_clipped_to_the_unit_range_unless_told_otherwise():
    images = batch(dtype=torch.float32)
    clipped, whole = (GaussianNoise(sigma=0.5, clip=clip)(images, seeded()) for clip in (True, False))
    assert (clipped.min(), clipped.max()) == (0, 1)
    assert whole.min() < -0.5 and whole.max() > 1.5
    assert torch.equal(whole.clamp(0, 1), clipped)


@pytest.mark.parametrize("size", [4, 5])
def test_cutout_centres_its_square_on_every_pixel_equally_often(size):
    holes = Cutout(size)(torch.ones(8_000, 1, 8, 10), seeded())[:, 0] == 0
    rows, columns = holes.any(2), holes.any(1)
    # A square may reach over the border, never beyond: at least the half of it with the centre is seen.
    assert holes.sum((1, 2)).max() == size**2 and rows.sum(1).min() == columns.sum(1).min() == (size + 1) // 2
    assert torch.equal(holes, rows[:, :, None] & columns[:, None, :])
    # The first row of the hole, with one past its end for squares cut off above, tells the centre.
    last_row = 7 - rows.flip(1).int().argmax(1)
    cut_above = rows[:, 0] & (rows.sum(1) < size)
    top = torch.where(cut_above, last_row - size + 1, rows.int().argmax(1))
    assert_uniform(top + size // 2, values=8)


# --- types, memory layout, channels ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometry_keeps_the_type_of_the_images(name, dtype):
    assert GEOMETRIC[name](batch(dtype=dtype), seeded()).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ON_VALUES)
def test_what_computes_on_values_gives_float32_in_the_unit_range(name, dtype):
    images = ON_VALUES[name](batch(dtype=dtype), seeded())
    assert images.dtype == torch.float32
    assert 0 <= images.min() < 0.05 and 0.95 < images.max() <= 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalize_gives_float32(dtype):
    assert Normalize([0.5] * 3, [0.5] * 3)(batch(dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", [*RANDOM, "normalize"])
def test_the_images_given_are_never_changed(name, dtype):
    images = batch(dtype=dtype)
    before = images.clone()
    (RANDOM | {"normalize": Normalize([0.5] * 3, [0.5] * 3)})[name](images, seeded())
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_the_images_given_to_an_adjustment_are_never_changed(name):
    images = batch(dtype=torch.float32)
    before = images.clone()
    getattr(transforms, f"adjust_{name}")(images, torch.full((32,), 0.3))
    assert torch.equal(images, before)


LAYOUTS = {
    "every other image": lambda: batch(64)[::2],
    "images from the middle": lambda: batch(64)[20:52],
    "channels last": lambda: batch().contiguous(memory_format=torch.channels_last),
    "a window of a larger image": lambda: batch(height=20, width=24)[:, :, 2:18, 5:21],
    "mirrored axes": lambda: batch().transpose(2, 3),
    "one image many times": lambda: batch(1).expand(32, -1, -1, -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RANDOM)
def test_the_layout_in_memory_makes_no_difference(name, layout):
    images = LAYOUTS[layout]()
    packed = images.clone(memory_format=torch.contiguous_format)
    torch.testing.assert_close(RANDOM[name](images, seeded()), RANDOM[name](packed, seeded()), **ROUNDING)


@pytest.mark.parametrize("name", RANDOM)
def test_grey_images_stay_grey_images(name):
    out = RANDOM[name](alike(64, channels=1), seeded())
    assert out.shape == (64, 1, 16, 16)
    assert outcomes(out) > 1


@pytest.mark.parametrize(("name", "low", "high"), COLOUR)
def test_grey_images_are_adjusted_as_torchvision_does(name, low, high):
    images, factors = batch(channels=1, dtype=torch.float32), uniform(32, low, high)
    expected = one_by_one(getattr(oracle, f"adjust_{name}"), images, factors)
    torch.testing.assert_close(getattr(transforms, f"adjust_{name}")(images, factors), expected, **ROUNDING)


def test_images_need_not_be_square():
    images = batch(height=12, width=20)
    for name, shape in (("crop", (16, 16)), ("flip", (12, 20)), ("rotate nearest", (12, 20)), ("cutout", (12, 20)), ("colour", (12, 20))):
        assert RANDOM[name](images, seeded()).shape[2:] == shape


# --- bad arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "size must be a whole number of at least 1, not 0"),
        (lambda: RandomCrop(2.5), "size must be a whole number of at least 1, not 2.5"),
        (lambda: RandomCrop((8, 8)), r"size must be a whole number of at least 1, not \(8, 8\)"),
        (lambda: RandomCrop(8, padding=-1), "padding must be a whole number of at least 0, not -1"),
        (lambda: RandomCrop(8, 2, "reflet"), "did you mean 'reflect'"),
        (lambda: RandomHorizontalFlip(1.5), "p must be a probability from 0 to 1, not 1.5"),
        (lambda: RandomHorizontalFlip(-0.1), "p must be a probability from 0 to 1, not -0.1"),
        (lambda: RandomRotation(-10), r"degrees must be .* not -10"),
        (lambda: RandomRotation((10, -10)), r"degrees must be .* not \(10, -10\)"),
        (lambda: RandomRotation((1, 2, 3)), r"degrees must be .* not \(1, 2, 3\)"),
        (lambda: RandomRotation(10, "cubic"), "unknown interpolation 'cubic'; accepted: nearest, bilinear"),
        (lambda: RandomRotation(10, "biliner"), "did you mean 'bilinear'"),
        (lambda: ColorJitter(brightness=-0.1), "brightness must be .* not -0.1"),
        (lambda: ColorJitter(contrast=(1.2, 0.8)), r"contrast must be .* not \(1.2, 0.8\)"),
        (lambda: ColorJitter(saturation=(-1, 1)), r"saturation must be .* not \(-1, 1\)"),
        (lambda: ColorJitter(hue=0.6), "hue must be .* not 0.6"),
        (lambda: ColorJitter(hue=(-0.6, 0)), r"hue must be .* not \(-0.6, 0\)"),
        (lambda: GaussianNoise(sigma=-0.1), "sigma must be at least 0, not -0.1"),
        (lambda: Cutout(0), "size must be a whole number of at least 1, not 0"),
        (lambda: Normalize((0.5, 0.5, 0.5), (0.5, 0.5)), "as many means as stds"),
        (lambda: Normalize((0.5,), (0,)), "stds above 0"),
        (lambda: Normalize((), ()), "as many means as stds"),
    ],
)
def test_arguments_without_meaning_are_refused_when_the_transform_is_made(make, message):
    with pytest.raises(LabkitError, match=message):
        make()


def test_a_crop_larger_than_the_padded_image_is_refused():
    with pytest.raises(LabkitError, match="larger than the padded image of 16×16"):
        RandomCrop(25, padding=4)(batch())


def test_an_image_is_reflected_by_less_than_its_side():
    images = batch(height=3, width=9)
    assert RandomCrop(7, padding=2, padding_mode="reflect")(images).shape[2:] == (7, 7)
    with pytest.raises(LabkitError, match="padding=3 reaches further than an image of 3×9"):
        RandomCrop(7, padding=3, padding_mode="reflect")(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalize_refuses_images_with_another_number_of_channels(channels):
    # Broadcasting would make three channels of a grey image without a word.
    with pytest.raises(LabkitError, match=f"2 means but the images have {channels}"):
        Normalize((0.5, 0.5), (0.5, 0.5))(batch(channels=channels))


def test_what_normalizes_a_batch_in_inference_mode_can_be_trained_with_afterwards():
    normalize, images = Normalize((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), torch.rand(2, 3, 4, 4)
    with torch.inference_mode():
        expected = normalize(images)
    images.requires_grad_()
    normalize(images).sum().backward()
    assert torch.equal(normalize(images.detach()), expected) and images.grad is not None
