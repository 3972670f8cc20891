"""Check of notebook 07: `augment`.

The answer augments the same small batch many times. Its images are made so that each ingredient can be measured by
itself, whatever the others do: a ramp tells by the direction in which it rises how it was turned and mirrored, a
coloured disc on grey by its place how it was shifted and by its tones what became of brightness, contrast and
saturation, and a flat grey image shows the noise. The judge looks how these measurements spread, within a batch and
from batch to batch.

A right answer fails by chance with a probability below 1e-6. With the strengths of the exercise all spreads, over 96
images, are two to four times what is demanded (at least 2.2 times in 150 trials), seven of their own standard errors
above it. What remains is the share of mirrored images, which leaves its bounds with a probability of 1e-7, and a
place in the batch that is mirrored in all or in none of 32 calls, 1.4e-9.
"""

import math
import random

import numpy as np
import torch
from torch.nn import functional as F

from labkit.checks.todo import Todo
from labkit.device import default_device

SIDE = 32
KINDS = ("ramp", "disc", "flat", "ramp", "disc", "ramp", "flat", "disc")  # read backwards it is another order
SCENES, CALLS = 4, 8  # each scene has its own time limit
EPSILON = 1e-4
# Adding this colour changes neither the mean of the channels nor their luma (ITU-R 601-2), so that an answer may
# take either of them for the grey version of an image.
COLOUR = torch.tensor([0.473, -0.185, -0.288], dtype=torch.float64)
TONE, SURROUNDINGS, STRENGTH = 0.53, 0.2, 0.5  # of the disc: its grey, that around it, and how much of `COLOUR` is added
CENTRE, DISC, CORE, RING = 10.0, 8.5, 7.2, (9.7, 11.7)  # radii in pixels: what no crop reaches, the disc, inside it, around it
HOLE = 0.06  # darker than any image of the batch: something black was put over it

_OFFSETS = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
_Y, _X = torch.meshgrid(_OFFSETS, _OFFSETS, indexing="ij")
_RADIUS = torch.hypot(_X, _Y)
_CENTRAL = (_RADIUS <= CENTRE).double()


def _places(kind):
    return [place for place, other in enumerate(KINDS) if other == kind]


def _batch():
    """float32 (8, 3, 32, 32)."""
    colour = COLOUR[:, None, None]
    images = {
        "ramp": (0.5 + 0.8 * (_X + _Y) / (2 * (SIDE - 1))).expand(3, SIDE, SIDE),
        "disc": torch.where(_RADIUS <= DISC, TONE + STRENGTH * colour, torch.full_like(_X, SURROUNDINGS)),
        "flat": torch.full((3, SIDE, SIDE), 0.5),
    }
    return torch.stack([images[kind].float() for kind in KINDS])


# --- the probe: what each call made of the batch -----------------------------------------------


def _scenes(answer):
    batch, before = _batch().to(default_device()), []

    def calls(seed):
        for start in (torch.manual_seed, np.random.seed, random.seed):
            start(seed)  # the same answer always gets the same verdict
        return [_observe(answer, batch, before) for _ in range(CALLS)]

    return {f"calls {n * CALLS + 1}–{(n + 1) * CALLS}": (lambda seed=n: calls(seed)) for n in range(SCENES)}


def _observe(answer, batch, before):
    """Facts about one call, and measurements of every image of the batch it returned; before: what earlier calls returned."""
    given = batch.clone()
    returned = answer(given)
    facts = {"input changed": given.shape != batch.shape or not torch.equal(given, batch), "returned": _describe(returned)}
    if facts["returned"] != _describe(batch) | {"dtype": facts["returned"].get("dtype")} or not returned.is_floating_point():
        return facts
    images = torch.Tensor.as_subclass(returned, torch.Tensor).detach().cpu().double()
    facts |= {"finite": bool(images.isfinite().all()), "low": images.min().item(), "high": images.max().item()}
    kept = (images == batch.cpu()).flatten(1).all(1)
    facts |= {"kept": kept.tolist(), "repeated": bool(before) and torch.equal(images, before[-1])}
    before.append(images)
    if not facts["finite"]:
        return facts
    visible = _visible(images.mean(1))
    return facts | {"ramp": _measure_ramp(images, visible), "disc": _measure_disc(images, visible), "noise": _measure_noise(before)}


def _describe(value):
    if not isinstance(value, torch.Tensor):
        return {"type": "None" if value is None else type(value).__name__}
    plain = value.layout == torch.strided and not value.is_complex()
    return {"type": "Tensor", "shape": list(value.shape), "dtype": str(value.dtype), "device": value.device.type, "plain": plain}


def _visible(grey):
    """1.0 where nothing black was put over an image, by its padding or a cutout, and 0.0 there and beside it."""
    dark = F.avg_pool2d(grey[:, None], 3, stride=1, padding=1, count_include_pad=False) < HOLE
    return 1 - F.max_pool2d(dark.double(), 3, stride=1, padding=1)[:, 0]


def _average(maps, weights):
    return (maps * weights).sum((-2, -1)) / weights.sum((-2, -1)).clamp_min(1e-9)


def _measure_ramp(images, visible):
    """How each image rises around its centre: for all kinds, so that kinds can be told apart."""
    grey, weights = images.mean(1), visible * _CENTRAL
    level, right, down = _fit_plane(grey, weights)
    return {
        "level": level.tolist(),
        "steepness": torch.hypot(right, down).tolist(),
        "direction": torch.atan2(down, right).rad2deg().tolist(),
        "wrapped": _wrapped(grey, level, right, down).tolist(),
        "visible": _average(weights, _CENTRAL).tolist(),
    }


def _fit_plane(grey, weights):
    """(level at the centre, rise per pixel to the right, rise per pixel down) of each map, by weighted least squares."""
    axes = torch.stack([torch.ones_like(_X), _X, _Y]).flatten(1)
    weighted = axes * weights.flatten(1)[:, None]
    return torch.linalg.solve(weighted @ axes.T + 1e-6 * torch.eye(3), weighted @ grey.flatten(1)[..., None])[..., 0].unbind(1)


def _wrapped(grey, level, right, down):
    """Whether, where the plane is low, an edge lies above it by as much as the plane rises over the whole image.

    Only what comes in from the opposite edge does; padding puts black there, a constant, the edge or a mirror image.
    """
    plane = level[:, None, None] + right[:, None, None] * _X + down[:, None, None] * _Y
    rise = SIDE * torch.hypot(right, down).clamp_min(1e-9) / math.sqrt(2)
    like_the_other_side = ((grey - plane) / rise[:, None, None] - 1).abs() < 0.3
    middle = slice(11, 21)
    edges = [like_the_other_side[:, middle, :2], like_the_other_side[:, middle, -2:], like_the_other_side[:, :2, middle], like_the_other_side[:, -2:, middle]]
    left, far, top, bottom = (edge.double().mean((1, 2)) for edge in edges)
    return torch.maximum(torch.where(right > 0, left, far), torch.where(down > 0, top, bottom)) > 0.8


def _measure_disc(images, visible):
    """Where the coloured disc of each image is, how large, and its tones and those around it."""
    colour = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False).std(1)
    low, high = colour.flatten(1).quantile(torch.tensor([0.5, 0.9], dtype=torch.float64), dim=1)
    above = (colour - ((low + high) / 2)[:, None, None]) * visible
    x, y = _locate(above)
    radius = torch.hypot(_X - x[:, None, None], _Y - y[:, None, None])
    inside, around = (visible * (radius <= CORE), visible * ((radius >= RING[0]) & (radius <= RING[1])))
    tones, grey = _average(images, inside[:, None]), images.mean(1)
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "area": ((above > 0).double().sum((1, 2)) / (visible * (radius <= DISC)).sum((1, 2)).clamp_min(1)).tolist(),
        "tone": tones.mean(1).tolist(),
        "chroma": (tones.amax(1) - tones.amin(1)).tolist(),
        "hue": (tones @ COLOUR).tolist(),
        "surroundings": _average(grey, around).tolist(),
        "visible": (inside.sum((1, 2)) / (math.pi * CORE**2)).tolist(),
    }


def _locate(above):
    """(x, y) of the disc in each map, whole numbers of pixels from the centre: where what is above 0 fits it best, and what is below fits around it."""
    reach = math.ceil(RING[1])
    radius = _RADIUS[SIDE // 2 - reach : SIDE // 2 + reach, SIDE // 2 - reach : SIDE // 2 + reach]
    disc = torch.where(radius <= DISC, 1.0, -1.0) * (radius <= RING[1])
    place = F.conv2d(above[:, None].float(), disc[None, None].float(), padding=reach).flatten(1).argmax(1)
    return (place % (SIDE + 1) - SIDE / 2).double(), (place // (SIDE + 1) - SIDE / 2).double()


def _measure_noise(returned):
    """Of the two flat images of the latest batch: how strong the noise is, how it is distributed, and how alike that of two images is."""
    residual = _residual(returned[-1])
    earlier = _residual(returned[-2]) if len(returned) > 1 else torch.zeros_like(residual)
    steps = residual.diff(dim=-1)
    return {
        "strength": _usual_step(steps).tolist(),
        "grey strength": _usual_step(steps.mean(1, keepdim=True)).tolist(),
        "fourth moment": _moment(steps, 4).tolist(),
        "third moment": _moment(residual, 3).tolist(),
        "within": _likeness(residual[0], residual[1]),
        "between": _likeness(residual[0], earlier[0]),
    }


def _residual(images):
    """(2, 3, rows, columns): the centre of the flat images, less the mean of each channel."""
    flat = images[_places("flat")][:, :, 8:24, 8:24]
    return flat - flat.mean((2, 3), keepdim=True)


def _usual_step(steps):
    """The standard deviation of the noise by the median of the differences of neighbours, which no edge of a cutout disturbs."""
    return steps.abs().flatten(1).median(1).values / 0.6745 / math.sqrt(2)


def _moment(values, order):
    """Of each image: 3 and 0 are those of a normal distribution, for the orders 4 and 3."""
    values = values.flatten(1)
    return ((values / values.std(1, keepdim=True).clamp_min(1e-9)) ** order).mean(1)


def _likeness(one, other):
    """Their correlation, from −1 to 1; 0 where there is no noise."""
    return (F.normalize(one.flatten(), dim=0) @ F.normalize(other.flatten(), dim=0)).item()


# --- the judge ---------------------------------------------------------------------------------


def _findings(seen):
    calls = [call for scene in seen.values() for call in scene]
    if len(calls) != SCENES * CALLS:
        raise ValueError("some calls are missing")
    return (
        _wrong_form(calls)
        or _wrong_copy(calls)
        or _wrong_range(calls)
        or _wrong_images(calls)
        or _wrong_geometry(calls)
        or _missing(calls)
        or _wrong_flips(calls)
        or _wrong_noise(calls)
        or _incomplete_colour(calls)
    )


def _table(calls, part, name, kind=None):
    """A measurement as a float64 tensor (calls, images of this kind)."""
    values = torch.tensor([call[part][name] for call in calls], dtype=torch.float64)
    if not values.isfinite().all():  # the returned images were: these numbers are not measured
        raise ValueError(f"{name} is not finite")
    return values if kind is None else values[:, _places(kind)]


def _wrong_form(calls):
    """The type, shape, dtype and device of what was returned."""
    shape = [len(KINDS), 3, SIDE, SIDE]
    for call in calls:
        returned = call["returned"]
        if returned["type"] != "Tensor":
            return "not_a_tensor", f"`augment` returned {returned['type']}, expected a tensor of shape (N, 3, height, width), like the batch", 0.2
        if returned["shape"] != shape:
            return "wrong_shape", _about_shape(returned["shape"], shape), 0.2
        if "finite" not in call:
            return _wrong_tensor(returned)
        if not call["finite"]:
            return "not_finite", "some of the returned values are not finite: look at what is divided by what", 0.2
    return None


def _about_shape(seen, shape):
    message = f"a batch of shape {shape} came back as {seen[:6]}, expected the same shape"
    if seen[:2] == shape[:2] and len(seen) == len(shape):
        smaller = seen[2] < SIDE
        return message + (": pad before the crop, so that images keep their size" if smaller else ": after the padding, cut a window of the old size")
    return message


def _wrong_tensor(returned):
    if not returned["plain"] or returned["device"] == "meta":
        return "not_a_tensor", "`augment` returned a tensor without ordinary real values, expected a batch like the one that was handed in", 0.2
    if "float" not in returned["dtype"]:
        return "wrong_dtype", f"the returned images are {returned['dtype']}, expected float values in [0, 1]", 0.4
    return "wrong_device", f"the returned images are on the device {returned['device']}: leave them where the batch is", 0.5


def _wrong_copy(calls):
    """The batch that was handed in, and what is the same from call to call."""
    if any(call["input changed"] for call in calls):
        return "input_changed", "the batch that was handed in was changed: other code still uses it, so work on a copy", 0.6
    kept = torch.tensor([call["kept"] for call in calls])
    if kept.all():
        return "unchanged", "the returned images are those that were handed in: return what the transforms made of them", 0
    if all(call["repeated"] for call in calls[1:]):
        return "same_every_time", "every call gives the same images: is a seed set, or are the random numbers drawn only once?", 0.4
    ramps = kept.all(0)[_places("ramp")]
    if ramps.any() and not ramps.all():
        return "only_some_images", "some images of the batch always come back as they were, others do not: change every image of the batch", 0.3
    return None


def _wrong_range(calls):
    low, high = min(call["low"] for call in calls), max(call["high"] for call in calls)
    level = _table(calls, "ramp", "level", "flat").median().item()
    strength = _strength(calls)
    span = f"the returned values reach from {low:.2f} to {high:.2f}, expected values in [0, 1]"
    if high > 2 and level > 2:
        return "values_up_to_255", f"{span}: the images are floats, keep them between 0 and 1", 0.4
    if low < -0.1 and level < 0.3:
        return "normalised", f"{span}: standardizing is not part of the augmentation, it comes after it", 0.5
    if strength > 0.18:
        return "noise_too_strong", f"the noise has a standard deviation of about {strength:.2f}, expected 0.05: is it the variance that was meant?", 0.5
    if low < -EPSILON or high > 1 + EPSILON:
        return "outside_range", f"{span}: clip them after the last change", 0.6
    return None


def _strength(calls):
    """The usual standard deviation of the noise: the median, as a cutout may have hit some of the images."""
    return _table(calls, "noise", "strength").median().item()


def _wrong_images(calls):
    """Images that are not where they were, or that cannot be recognised."""
    chroma, hue, tone, around = (_table(calls, "disc", name) for name in ("chroma", "hue", "tone", "surroundings"))
    coloured, disc = chroma > 0.1, torch.tensor([kind == "disc" for kind in KINDS])
    moved = (coloured.sum(1) == disc.sum()) & (coloured != disc).any(1)
    if _share(moved) > 0.3 or _table(calls, "ramp", "steepness", "flat").median() > 0.006:
        return "shuffled", "images came back in places of others: their labels stay behind, so every image must keep its place in the batch", 0.3
    lost = "unrecognisable", "most images cannot be recognised any more: look at some of them, with one ingredient after the other switched on", 0.2
    if _table(calls, "ramp", "steepness", "ramp").median() < 0.005:
        return lost
    if chroma[:, disc].median() < 0.1:
        return "grey", "the images have lost their colours: the saturation changes by up to 20%, and not down to 0", 0.4
    if (tone - around)[:, disc].median() < 0.08:
        return lost
    if _share(hue[:, disc] < 0) > 0.9:
        return "channels_swapped", "red has become another colour in all images: keep the order of the channels", 0.4
    return None


def _wrong_geometry(calls):
    directions, usable = _directions(calls)
    directions = directions[usable]
    if _share((directions % 90 - 45).abs() > 36) > 0.05:
        return "rotation_too_large", "many images are turned by more than 30 degrees, expected 15 at most, to either side", 0.5
    if _share(directions < 0) > 0.05:
        message = "some images stand on their heads: flip left and right only (the width is the last dimension), and turn by 15 degrees at most"
        return "vertical_flip", message, 0.5
    if _share(_table(calls, "ramp", "wrapped", "ramp")[usable]) > 0.05:
        return "wrap_around", "what leaves an image at one edge comes in at the opposite one: pad the image and cut a window, do not roll it", 0.5
    return _wrong_window(calls)


def _share(chosen):
    return chosen.double().mean().item()


def _directions(calls):
    """In degrees, to where each of the ramps rises: 45 is down to the right, as at first. And which can be relied on."""
    return _table(calls, "ramp", "direction", "ramp"), _usable(_table(calls, "ramp", "visible", "ramp"))


def _mirrored(directions):
    return directions.abs() > 90


def _usable(visible):
    """Leave out images that are mostly covered where something is measured, unless hardly any would be left."""
    usable = visible > 0.4
    return usable if _share(usable) > 0.1 else torch.ones_like(usable)


def _discs(calls):
    """{measurement: (calls, 3)} of the discs, and which can be relied on."""
    discs = {name: _table(calls, "disc", name, "disc") for name in ("x", "y", "area", "tone", "chroma", "surroundings", "visible")}
    return discs, _usable(discs["visible"])


def _wrong_window(calls):
    discs, usable = _discs(calls)
    size = discs["area"][usable].median().sqrt()
    if not 0.92 < size < 1.08:
        return "zoomed", f"things in the images have {size:.2f} times their size: cut a window of the old size out of the padded image, without scaling it", 0.5
    reach = torch.maximum(discs["x"].abs(), discs["y"].abs())[usable].quantile(0.9)
    if reach > 7.5:
        return "crop_too_large", f"images are shifted by {reach:.0f} pixels and more, expected up to 4", 0.5
    return None


# --- how much the ingredients vary -------------------------------------------------------------

# The least standard deviation that counts as varying: of the place in pixels, of the angle in degrees, of the
# logarithms of the factors.
_LEAST = {"crop": 0.45, "rotation": 1.5, "brightness": 0.02, "contrast": 0.015, "saturation": 0.02}
_ABSENT = {
    "crop": "the images are never shifted, or all by the same amount: pad them by 4 pixels and cut a window at a random place",
    "flip": "no image is ever flipped: left and right are swapped in half of them",
    "rotation": "the images are not turned, or by less than a few degrees: angles go up to 15 degrees (not radians) to both sides",
    "colour": "the colours do not change at random: brightness, contrast and saturation vary by up to 20%",
    "noise": "there is no noise: every value of every image gets a random number of its own, of standard deviation 0.05",
}


def _variances(calls):
    """{ingredient: (variance within batches, variance over all)}, less what the noise of the pixels makes of them."""
    discs, usable = _discs(calls)
    spreads = {"crop": _variances_of_places(discs, usable), "rotation": _variances_of_turns(*_directions(calls))}
    spreads |= {name: (_within(values, usable), _overall(values, usable)) for name, values in _factors(discs).items()}
    # Where the noise is strong, what it makes is not known well, and nothing is said to be missing that it may hide.
    margin = {name: (1 - 4 * math.sqrt(2 / max(1, usable.sum().item() - len(calls)))) * value for name, value in _noise_variances(calls).items()}
    return {name: tuple(value - margin[name] for value in values) for name, values in spreads.items()}


def _variances_of_places(discs, usable):
    """Within a batch it is the distance from the centre that counts: flips and rotations after a common crop do not change it."""
    return _within(torch.hypot(discs["x"], discs["y"]), usable), (_overall(discs["x"], usable) + _overall(discs["y"], usable)) / 2


def _variances_of_turns(directions, usable):
    """Within a batch it is the smaller of two: a flip after a common rotation turns it to the other side."""
    turns = directions % 90 - 45
    as_before = torch.where(_mirrored(directions), -turns, turns)
    return min(_within(turns, usable), _within(as_before, usable)), _overall(turns, usable)


def _within(values, usable):
    """The variance within calls of the usable values, pooled."""
    counts = usable.sum(1, keepdim=True)
    means = torch.where(usable, values, 0).sum(1, keepdim=True) / counts.clamp_min(1)
    squares = torch.where(usable, (values - means) ** 2, 0).sum()
    return (squares / (counts - 1).clamp_min(0).sum().clamp_min(1)).item()


def _overall(values, usable):
    return values[usable].var().item()


def _factors(discs):
    """The logarithms of what each of the three changes of colour, and none of the others, changes.

    Contrast leaves the mean of an image as it is; a seventh of the disc's tone is that mean, black padding included.
    """
    tone, around = discs["tone"], discs["surroundings"]
    step = (tone - around).clamp_min(1e-3)
    return {
        "brightness": torch.lerp(around, tone, 1 / 7).clamp_min(1e-3).log(),
        "contrast": (step / (tone + around).clamp_min(1e-3)).log(),
        "saturation": (discs["chroma"].clamp_min(1e-3) / step).log(),
    }


def _noise_variances(calls):
    """How much these measurements vary for the noise alone, by the propagation of errors; tones are those that the disc has at first."""
    noise, grey = (_table(calls, "noise", name).median().item() ** 2 for name in ("strength", "grey strength"))
    core, ring = math.pi * CORE**2, math.pi * (RING[1] ** 2 - RING[0] ** 2)
    tone, around, chroma = TONE, SURROUNDINGS, STRENGTH * (COLOUR.max() - COLOUR.min()).item()
    of_tone, of_around, step = grey / core, grey / ring, tone - around
    steepness = _table(calls, "ramp", "steepness", "ramp").median().item()
    contrast = (2 / (tone + around) / step) ** 2 * (around**2 * of_tone + tone**2 * of_around)
    return {
        "crop": 0.0,
        "rotation": math.degrees(1) ** 2 * grey / (_X**2 * _CENTRAL).sum().item() / steepness**2,
        "brightness": of_around / around**2,
        "contrast": contrast,
        "saturation": 2 * noise / core / chroma**2 + (of_tone + of_around) / step**2,
    }


def _missing(calls):
    """Ingredients that are absent, or the same for all images of a batch."""
    variances = _variances(calls)
    absent = {name for name, (_, total) in variances.items() if total < _LEAST[name] ** 2}
    shared = {name for name, (within, _) in variances.items() if within < _LEAST[name] ** 2} - absent
    mirrored, strength = _mirrored(_directions(calls)[0]), _strength(calls)
    if not mirrored.any():
        absent.add("flip")
    elif (mirrored == mirrored[:, :1]).all() and not mirrored.all():
        shared.add("flip")
    if strength < 1e-3:
        absent.add("noise")
    return _absent(absent) or _shared(shared)


_COLOURS = {"brightness", "contrast", "saturation"}


def _absent(absent):
    if absent >= _COLOURS:
        absent = absent | {"colour"}
    missing = [name for name in _ABSENT if name in absent]
    if not missing:
        return None
    message = _ABSENT[missing[0]]
    if missing[1:]:
        message += f". Missing as well: {', '.join(missing[1:])}"
    return f"no_{missing[0]}", message, 0.16 * (len(_ABSENT) - len(missing))


def _shared(shared):
    if not shared:
        return None
    names = ", ".join(name for name in (*_LEAST, "flip") if name in shared)
    message = f"all images of a batch are changed alike ({names}), as if by one draw: every image needs random numbers of its own"
    return "one_draw_for_the_batch", message, 0.4


def _wrong_flips(calls):
    directions, usable = _directions(calls)
    mirrored = _mirrored(directions)
    share = _share(mirrored[usable])
    if mirrored.all():
        return "flips_all", "every image is flipped: only half of them are, by a random choice", 0.6
    if mirrored.all(0).any() or not mirrored.any(0).all():
        return "same_images_flipped", "it is always the same images of the batch that are flipped: choose by random numbers", 0.6
    if not 0.23 < share < 0.77:
        return "flip_share", f"{share:.0%} of the images were flipped, expected about half", 0.7
    return None


def _wrong_noise(calls):
    strength = _strength(calls)
    alike = {name: _table(calls, "noise", name).median().item() for name in ("within", "between", "third moment", "fourth moment")}
    if strength < 4e-3:
        return "noise_too_weak", f"the noise has a standard deviation of {strength:.4f}, expected 0.05 in the units of images in [0, 1]", 0.6
    if alike["between"] > 0.5:
        return "same_noise_every_time", "the noise is the same at every call: draw new numbers, and set no seed", 0.5
    if alike["within"] > 0.5:
        return "same_noise_for_all", "all images of a batch get the same noise: draw a number for every value of every image", 0.5
    if alike["fourth moment"] < 2.7 or alike["third moment"] > 0.6:  # holes, as cutout makes them, raise the one and lower the other
        return "noise_not_gaussian", "the noise does not follow a normal distribution: its values are spread evenly, or to one side", 0.6
    return None


def _incomplete_colour(calls):
    variances = _variances(calls)
    for name in ("brightness", "contrast", "saturation"):
        if variances[name][1] < _LEAST[name] ** 2:
            return f"no_{name}", f"the {name} of the images does not change: brightness, contrast and saturation all vary by up to 20%", 0.8
    if variances["brightness"][1] > 0.5**2:
        return "colour_too_strong", "the brightness of the images varies far too much, expected by up to 20%", 0.6
    return None


AUGMENT = Todo("augment", 8, ("images",), _scenes, _findings)
