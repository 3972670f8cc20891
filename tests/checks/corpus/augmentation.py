"""Answers to `augment`."""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from corpus import catalogue
from labkit import transforms as T

right, wrong = catalogue("augment")

CROP, FLIP, ROTATION = T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.RandomRotation(15)
COLOUR, NOISE = T.ColorJitter(0.2, 0.2, 0.2), T.GaussianNoise(0.0, 0.05)
ALL = (CROP, FLIP, ROTATION, COLOUR, NOISE)


def apply(images, *transforms):
    return T.Compose(transforms)(images)


def without(images, *left_out):
    return apply(images, *(transform for transform in ALL if transform not in left_out))


# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(images):
    size = images.shape[-1]
    return T.Compose(
        [
            T.RandomCrop(size, padding=4),
            T.RandomHorizontalFlip(),
            T.RandomRotation(15, interpolation="bilinear"),
            T.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            T.GaussianNoise(sigma=0.05),
        ]
    )(images)


class Pipeline:
    __name__ = "colours_first_with_cutout"

    def __init__(self):
        self.transforms = [COLOUR, FLIP, CROP, T.RandomRotation(10), T.GaussianNoise(0, 0.03), T.Cutout(8)]

    def __call__(self, batch, generator=None):
        for transform in self.transforms:
            batch = transform(batch, generator)
        return batch


right(Pipeline())


@right
def torchvision_image_by_image(images):
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4, padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(15),
            v2.ColorJitter(0.2, 0.2, 0.2, hue=0.05),
            v2.GaussianNoise(sigma=0.05),
        ]
    )
    return torch.stack([transform(image) for image in images])


@right
def through_pil(images):
    transform = v2.Compose(
        [
            v2.ToPILImage(), v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(0.5), v2.RandomRotation((-15, 15)), v2.ColorJitter(0.2, 0.2, 0.2),
            v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        ]
    )  # fmt: skip
    changed = []
    for image in images:
        image = transform(image)
        noise = 0.05 * np.random.standard_normal(image.shape).astype(np.float32)
        changed.append(torch.clamp(image + torch.from_numpy(noise), 0, 1))
    print(len(changed), "images")
    return torch.stack(changed, dim=0)


@right
def an_affine_map_of_its_own(images):
    """Shift, flip and rotation in one sampling, colours by hand."""
    n = len(images)
    angle = (torch.rand(n) * 2 - 1) * math.radians(15)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    shift = torch.randint(-4, 5, (n, 2)) / 16
    rows = [angle.cos() * mirror, -angle.sin(), shift[:, 0], angle.sin() * mirror, angle.cos(), shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False)
    x = F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def factor():
        return (0.8 + 0.4 * torch.rand(n)).view(n, 1, 1, 1)

    x = x * factor()
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factor()
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * factor()
    return (x + torch.randn_like(x) * 0.05).clamp(0, 1)


@right
def functional_torchvision(images):
    changed = []
    for image in images.clone():
        padded = F.pad(image, (4, 4, 4, 4))
        top, left = random.randint(0, 8), random.randint(0, 8)
        image = padded[:, top : top + 32, left : left + 32]
        if random.random() < 0.5:
            image = image.flip(dims=[2])
        image = TF.rotate(image, random.uniform(-15, 15))
        image = TF.adjust_brightness(image, random.uniform(0.8, 1.2))
        image = TF.adjust_contrast(image, random.uniform(0.8, 1.2))
        image = TF.adjust_saturation(image, random.uniform(0.8, 1.2))
        changed.append((image + torch.normal(0.0, 0.05, image.shape)).clip(0, 1))
    return torch.stack(changed)


@right
def weak_changes(images):
    return apply(images, T.RandomCrop(32, 2), FLIP, T.RandomRotation(5), T.ColorJitter(0.05, 0.05, 0.05), T.GaussianNoise(0, 0.01))


@right
def strong_changes(images):
    jitter = T.ColorJitter(0.5, 0.5, 0.5, 0.1)
    return apply(images, NOISE, T.RandomCrop(32, 6), FLIP, T.RandomRotation(30, "bilinear"), jitter, T.GaussianNoise(0, 0.15), T.Cutout(16))


# --- wrong: what is missing --------------------------------------------------------------------


@wrong("no_crop")
def crop_forgotten(images):
    return without(images, CROP)


@wrong("no_crop")
def centre_cut_out(images):
    return without(F.pad(images, [4] * 4)[:, :, 4:36, 4:36], CROP)


@wrong("no_flip")
def flip_forgotten(images):
    return without(images, FLIP)


@wrong("no_rotation")
def rotation_forgotten(images):
    return without(images, ROTATION)


@wrong("no_rotation")
def angle_in_radians(images):
    return apply(images, CROP, FLIP, T.RandomRotation(math.radians(15)), COLOUR, NOISE)


@wrong("no_colour")
def colours_forgotten(images):
    return without(images, COLOUR)


@wrong("no_colour")
def always_brighter(images):
    return without((images * 1.2).clamp(0, 1), COLOUR)


@wrong("no_saturation")
def brightness_and_contrast_only(images):
    return apply(images, CROP, FLIP, ROTATION, T.ColorJitter(0.2, 0.2), NOISE)


@wrong("no_contrast")
def brightness_only(images):
    return apply(images, CROP, FLIP, ROTATION, T.ColorJitter(0.2), NOISE)


@wrong("no_brightness")
def hue_only(images):
    return apply(images, CROP, FLIP, ROTATION, T.ColorJitter(hue=0.1), NOISE)


@wrong("no_noise")
def noise_forgotten(images):
    return without(images, NOISE)


@wrong("no_noise")
def one_number_of_noise_an_image(images):
    return (without(images, NOISE) + 0.05 * torch.randn(len(images), 1, 1, 1)).clamp(0, 1)


@wrong("no_crop")
def noise_only(images):
    return NOISE(images)


@wrong("unchanged")
def nothing_happens(images):
    without(images)
    return images


# --- wrong: one draw ---------------------------------------------------------------------------


@wrong("one_draw_for_the_batch")
def torchvision_on_the_batch(images):
    jitter = v2.ColorJitter(0.2, 0.2, 0.2)
    return v2.Compose([v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), v2.RandomRotation(15), jitter, v2.GaussianNoise(sigma=0.05)])(images)


@wrong("one_draw_for_the_batch")
def batch_flipped_as_a_whole(images):
    images = without(images, FLIP)
    return images.flip(-1) if random.random() < 0.5 else images


@wrong("one_draw_for_the_batch")
def one_angle_for_all(images):
    return without(TF.rotate(images, random.uniform(-15, 15)), ROTATION)


@wrong("one_draw_for_the_batch")
def one_window_for_all(images):
    top, left = np.random.randint(0, 9, size=2)
    return without(F.pad(images, [4] * 4)[:, :, top : top + 32, left : left + 32], CROP)


@wrong("one_draw_for_the_batch")
def one_change_of_colour_for_all(images):
    return apply(v2.ColorJitter(0.2, 0.2, 0.2)(apply(images, CROP, FLIP, ROTATION)), NOISE)


@wrong("same_noise_for_all")
def noise_of_one_image(images):
    return (without(images, NOISE) + 0.05 * torch.randn_like(images[0])).clamp(0, 1)


@wrong("same_every_time")
def seed_inside(images):
    torch.manual_seed(0)
    return without(images)


@wrong("same_every_time")
def fresh_generator_inside(images):
    return T.Compose(ALL)(images, torch.Generator().manual_seed(42))


@wrong("same_noise_every_time")
def noise_drawn_beforehand(images):
    noise = 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (without(images, NOISE) + noise).clamp(0, 1)


# --- wrong: flips, rotations, crops ------------------------------------------------------------


@wrong("flips_all")
def every_image_flipped(images):
    return without(images, FLIP).flip(-1)


@wrong("same_images_flipped")
def first_half_flipped(images):
    images = without(images, FLIP)
    half = len(images) // 2
    return torch.cat([images[:half].flip(-1), images[half:]])


@wrong("flip_share")
def flip_with_one_in_ten(images):
    return apply(images, CROP, T.RandomHorizontalFlip(0.1), ROTATION, COLOUR, NOISE)


@wrong("vertical_flip")
def upside_down(images):
    chosen = (torch.rand(len(images)) < 0.5).view(-1, 1, 1, 1)
    return torch.where(chosen, without(images, FLIP).flip(2), without(images, FLIP))


@wrong("vertical_flip")
def both_flips(images):
    return without(torch.stack([v2.RandomVerticalFlip()(image) for image in images]))


@wrong("rotation_too_large")
def any_angle(images):
    return apply(images, CROP, FLIP, T.RandomRotation(180), COLOUR, NOISE)


@wrong("rotation_too_large")
def up_to_ninety_degrees(images):
    return apply(images, CROP, FLIP, T.RandomRotation(90), COLOUR, NOISE)


@wrong("wrap_around")
def rolled(images):
    shifts = torch.randint(-4, 5, (len(images), 2)).tolist()
    return without(torch.stack([image.roll(shift, dims=(1, 2)) for image, shift in zip(images, shifts)]), CROP)


@wrong("wrong_shape")
def crop_without_padding(images):
    return without(T.RandomCrop(28)(images), CROP)


@wrong("wrong_shape")
def padding_without_crop(images):
    return without(F.pad(images, [4] * 4), CROP)


@wrong("zoomed")
def small_window_enlarged(images):
    return without(F.interpolate(T.RandomCrop(28)(images), size=32, mode="bilinear"), CROP)


@wrong("zoomed")
def resized_crop(images):
    return without(torch.stack([v2.RandomResizedCrop(32, antialias=True)(image) for image in images]), CROP)


@wrong("crop_too_large")
def padding_of_half_an_image(images):
    return apply(images, T.RandomCrop(32, 16), FLIP, ROTATION, COLOUR, NOISE)


# --- wrong: values -----------------------------------------------------------------------------


@wrong("noise_too_strong")
def noise_of_one_half(images):
    return apply(images, CROP, FLIP, ROTATION, COLOUR, T.GaussianNoise(0, 0.5))


@wrong("noise_too_strong")
def standard_normal_noise_not_clipped(images):
    return without(images, NOISE) + torch.randn_like(images)


@wrong("noise_too_strong")
def variance_of_five_hundredths(images):
    return apply(images, CROP, FLIP, ROTATION, COLOUR, T.GaussianNoise(0, math.sqrt(0.05)))


@wrong("noise_too_weak")
def strength_squared(images):
    return apply(images, CROP, FLIP, ROTATION, COLOUR, T.GaussianNoise(0, 0.05**2))


@wrong("noise_not_gaussian")
def rand_instead_of_randn(images):
    return (without(images, NOISE) + 0.05 * torch.rand_like(images)).clamp(0, 1)


@wrong("outside_range")
def not_clipped(images):
    return without(images, NOISE) + 0.05 * torch.randn_like(images)


@wrong("normalised")
def standardized_at_the_end(images):
    return T.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))(without(images))


@wrong("values_up_to_255")
def scaled_to_255(images):
    return without(images) * 255


@wrong("wrong_dtype")
def bytes_returned(images):
    return (without(images) * 255).round().to(torch.uint8)


@wrong("grey")
def without_colours(images):
    return without(images).mean(1, keepdim=True).repeat(1, 3, 1, 1)


@wrong("colour_too_strong")
def brightness_from_nothing_to_double(images):
    return apply(images, CROP, FLIP, ROTATION, T.ColorJitter(1.0, 0.2, 0.2), NOISE)


@wrong("channels_swapped")
def blue_first(images):
    return without(images).flip(1)


# --- wrong: the batch --------------------------------------------------------------------------


@wrong("input_changed")
def noise_added_in_place(images):
    images += 0.05 * torch.randn_like(images)
    return without(images.clamp(0, 1), NOISE)


@wrong("input_changed")
def written_back(images):
    for i, image in enumerate(images):
        images[i] = without(image[None])[0]
    return images


@wrong("shuffled")
def in_another_order(images):
    return without(images)[torch.randperm(len(images))]


@wrong("shuffled")
def batch_reversed(images):
    return torch.stack([without(image[None])[0] for image in images][::-1])


@wrong("shuffled")
def always_the_first_image(images):
    return torch.cat([without(images[:1]) for _ in images])


@wrong("only_some_images")
def half_of_the_batch_left_as_it_is(images):
    images = images.clone()
    half = len(images) // 2
    images[:half] = without(images[:half])
    return images


@wrong("only_some_images")
def one_image_changed(images):
    images = images.clone()
    i = 0
    images[i] = without(images[i : i + 1])[0]
    return images


@wrong("not_a_tensor")
def a_list(images):
    return [without(image[None])[0] for image in images]


@wrong("not_a_tensor")
def an_array(images):
    return without(images).numpy()


@wrong("not_a_tensor")
def return_forgotten(images):
    without(images)


@wrong("wrong_shape")
def channels_last(images):
    return without(images).permute(0, 2, 3, 1)


@wrong("wrong_shape")
def first_image_only(images):
    for image in images:
        return without(image[None])


@wrong("not_finite")
def divided_by_a_spread_of_zero(images):
    spread = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    return without((images - images.amin((1, 2, 3), keepdim=True)) / spread)


@wrong("unrecognisable")
def rows_and_channels_mixed(images):
    shuffled = images.reshape(len(images), -1)[:, torch.randperm(images[0].numel())]
    return without(shuffled.reshape(images.shape))


@wrong("raises")
def one_image_expected(images):
    return v2.ToPILImage()(images)


@wrong("signature")
def a_strength_as_well(images, strength):
    return apply(images, *ALL)
