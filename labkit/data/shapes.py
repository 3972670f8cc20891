"""`shapes`: ten classes of drawn 32×32 colour images, the embedded data for a machine without a dataset.

Each image shows one shape at a random place, size and angle on a textured background, with clutter, uneven
light and noise in front. As with photographs, colour is a hint but no proof: each class leans to a hue of
its own and often wears another. Everything is drawn from seeded numpy generators in float64, so the same
images come out on every machine; the first k images are the same whatever the number asked for.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from labkit.data.imageset import ImageSet

SIZE = 32
VERSION = 1  # raise it whenever a pixel changes: run records name it
_LEAN = 0.3  # share of a class's own hue in the colour of its shape
_CHUNK = 500  # images drawn at a time: keeps the arrays inside the processor's cache


def _circle(x, y):
    return np.hypot(x, y) - 0.8


def _ring(x, y):
    return np.abs(np.hypot(x, y) - 0.68) - 0.2


def _crescent(x, y):
    return np.maximum(np.hypot(x, y) - 0.9, 0.72 - np.hypot(x - 0.42, y))


def _square(x, y):
    return np.maximum(np.abs(x), np.abs(y)) - 0.72


def _bar(x, y):
    return np.maximum(np.abs(x) - 0.95, np.abs(y) - 0.38)


def _cross(x, y):
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.9, short - 0.3)


def _edges(x, y, sides):
    """Signed distance to each edge line of a regular polygon around the origin, one corner up."""
    angles = np.pi / sides + 2 * np.pi * np.arange(sides)[:, None, None, None] / sides
    return x * np.sin(angles) - y * np.cos(angles)


def _triangle(x, y):
    return _edges(x, y + 0.1, 3).max(0) - 0.5


def _pentagon(x, y):
    return _edges(x, y, 5).max(0) - 0.72


def _star(x, y):
    # A pentagram is where at least four of the five edge lines of a pentagon have the point inside.
    return np.partition(_edges(x, y, 5), 3, axis=0)[3] - 0.32


def _heart(x, y):
    lobes = np.hypot(np.abs(x) - 0.4, y + 0.3) - 0.48
    tip = np.maximum(np.abs(x) + y - 0.75, -0.3 - y) * 0.75
    return np.minimum(lobes, np.maximum(tip, np.abs(x) - 0.86))


SHAPES = {
    "circle": _circle, "ring": _ring, "crescent": _crescent, "square": _square, "bar": _bar,
    "cross": _cross, "triangle": _triangle, "pentagon": _pentagon, "star": _star, "heart": _heart,
}  # fmt: skip


def load(num_train=50_000, num_test=10_000):
    """Draw the training and the test set; returns two `ImageSet`s whose classes take turns image by image."""
    return _draw_set(num_train, seed=1), _draw_set(num_test, seed=2)


def _draw_set(count, seed):
    per_class = -(-count // len(SHAPES))
    images = np.empty((per_class, len(SHAPES), 3, SIZE, SIZE), dtype=np.uint8)

    def draw_chunk(place):
        c, start = place
        number = min(_CHUNK, per_class - start)
        images[start : start + number, c] = _draw_images(c, number, np.random.default_rng((VERSION, seed, c, start)))

    # numpy lets go of the interpreter while it computes, and every chunk has random numbers of its own.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw_chunk, itertools.product(range(len(SHAPES)), range(0, per_class, _CHUNK))))
    labels = torch.arange(count) % len(SHAPES)
    return ImageSet(torch.from_numpy(images.reshape(-1, 3, SIZE, SIZE)[:count].copy()), labels, tuple(SHAPES))


def _draw_images(c, number, rng):
    """Draw `number` images of class c: uint8 (number, 3, 32, 32)."""
    # The chunk is always drawn whole and then cut, so that a smaller set is the beginning of a larger one.
    params, noise = rng.random((_CHUNK, 40))[:number], rng.random((_CHUNK, 3, SIZE, SIZE))[:number]
    take = iter(params.T[:, :, None, None])
    image = _background(take)
    image = _paint(image, _distance(_circle, take, 0.10, 0.20), _color(take))  # clutter
    image = _paint(image, _distance(list(SHAPES.values())[c], take, 0.30, 0.46), _class_color(c, take))
    image = _paint(image, _distance(_bar, take, 0.07, 0.18), _color(take))  # something in front of it
    light = 0.7 + 0.5 * next(take) + 0.4 * (next(take) - 0.5) * _X + 0.4 * (next(take) - 0.5) * _Y
    image = image * light[:, None] + 0.2 * (noise - 0.5)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


_Y, _X = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE - 0.5  # pixel centres, in units of the image side


def _background(take):
    """A wash from one colour to another in a random direction, with stripes over it."""
    first, second = 0.2 + 0.6 * _color(take), 0.2 + 0.6 * _color(take)
    ramp = 0.5 + (next(take) - 0.5) * 2 * _X + (next(take) - 0.5) * 2 * _Y
    wash = first + (second - first) * np.clip(ramp, 0, 1)[:, None]
    pitch = 2 + 5 * next(take)
    stripes = np.abs((_X * (next(take) - 0.5) + _Y * (next(take) - 0.5)) * 2 * pitch % 1 - 0.5)
    return wash + 0.5 * (next(take) * (stripes - 0.25))[:, None]


def _color(take):
    """A random colour for each image, (n, 3, 1, 1)."""
    return np.stack([next(take), next(take), next(take)], axis=1)


def _class_color(c, take):
    """A random colour that leans to the hue of class c."""
    hue = 6 * c / len(SHAPES)
    own = np.clip([abs(hue - 3) - 1, 2 - abs(hue - 2), 2 - abs(hue - 4)], 0, 1).reshape(3, 1, 1)
    return _LEAN * own + (1 - _LEAN) * _color(take)


def _distance(outline, take, smallest, largest):
    """Signed distance of each pixel, in pixels, to the outline at a random place, size and angle of each image."""
    scale = smallest + (largest - smallest) * next(take)
    angle = (next(take) - 0.5) * (np.pi / 3)
    room = 1 - 1.6 * scale
    x, y = _X - (next(take) - 0.5) * room, _Y - (next(take) - 0.5) * room
    cos, sin = np.cos(angle), np.sin(angle)
    return outline((cos * x + sin * y) / scale, (cos * y - sin * x) / scale) * scale * SIZE


def _paint(image, distance, color):
    """Lay `color` over the image where distance < 0, with a soft edge one pixel wide."""
    cover = np.clip(0.5 - distance, 0, 1)[:, None]
    return image + (color - image) * cover
